"""A trained net answers: as the net itself would, through the data's own preprocessing, without the data."""

import nettrain
import numpy as np
import pytest
from nettrain.spec.errors import NettrainError

SPEC = {
    "name": "small",
    "solver": {"base_lr": 0.1, "max_iter": 30},
    "layers": [
        {
            "name": "d",
            "type": "Data",
            "source": "set.npz",
            "batch_size": {"train": 8, "test": 3},
            "top": ["data", "label"],
            "transform": {"scale": 0.5, "mean_value": 1},
        },
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
        {"name": "accuracy", "type": "Accuracy", "bottom": ["ip", "label"], "include": "TEST"},
    ],
}


@pytest.fixture
def run(workdir):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    np.savez("set.npz", data=rng.standard_normal((60, 4)) + 2 * labels[:, None], label=labels)
    nettrain.get_solver(SPEC, out="run").solve()
    (workdir / "set.npz").unlink()  # a model is used where its data is not
    return "run"


def test_it_predicts_what_the_net_computes(run):
    model = nettrain.load(run)
    x = np.random.default_rng(1).standard_normal((7, 4))  # no multiple of the batch
    weights, bias = (blob.data for blob in model.net.params["ip"])
    scores = (x - 1) * 0.5 @ weights.T + bias
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert np.allclose(model.predict_proba(x), expected, atol=1e-6)
    assert model.predict(x).tolist() == scores.argmax(axis=1).tolist()
    assert model.predict(x[:1]).shape == (1,)
    assert np.array_equal(model.predict(x), model.predict(x))


def test_a_file_is_read_as_a_set_is_and_needs_no_labels(run):
    x = np.random.default_rng(1).standard_normal((5, 4))
    np.savez("new.npz", data=x)
    model = nettrain.load(run)
    assert np.array_equal(model.predict("new.npz"), model.predict(x))
    names = [name for answers in model.answer("new.npz") for name in answers.names]
    assert names == ["0", "1", "2", "3", "4"]


def test_what_it_cannot_be_given_is_said(run):
    model = nettrain.load(run)
    with pytest.raises(NettrainError, match="has examples of 5; the net was trained on 4"):
        model.predict(np.zeros((2, 5)))
    with pytest.raises(NettrainError, match="must be an array of numbers"):
        model.predict([["a"]])
    with pytest.raises(NettrainError, match="this net needs examples for data; got x"):
        model.predict({"x": np.zeros((2, 4))})
    with pytest.raises(NettrainError, match="there is no run or snapshot nowhere"):
        nettrain.load("nowhere")
