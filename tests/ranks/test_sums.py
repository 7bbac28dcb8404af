"""The gradient of an update's batches, and what is random in a batch: both follow from the batches' numbers alone."""

import nettrain
import numpy as np
import pytest
from helpers import layer


def long_short(seed=1701, **solver):
    """An LSTM, whose gradient is added up over its steps, and Dropout."""
    layers = [
        layer("task", "CopyTask", top=["x", "t", "cont"], batch_size=3, bits=4, max_length=6),
        layer("lstm", "LSTM", ["x", "cont"], num_output=9, weight_filler="xavier"),
        layer("drop", "Dropout", "lstm", "lstm"),
        layer("out", "InnerProduct", "lstm", num_output=4, axis=2, weight_filler="xavier"),
        layer("loss", "SigmoidCrossEntropyLoss", ["out", "t"], ignore_label=-1),
    ]
    keys = {"base_lr": 0.1, "max_iter": 4, "random_seed": seed}
    return nettrain.get_solver({"solver": keys | solver, "layers": layers}, out="run")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_gradient_is_that_of_each_batch_from_zero_added_in_their_order(count):
    together, alone = long_short(iter_size=count), long_short()
    together.step(1)  # the second update's batches are not numbered from 0
    alone.net.flat.data[...] = together.net.flat.data
    alone.net.set_layer_states(together.net.layer_states())
    gradients, losses = [], []
    for number in range(count, 2 * count):
        alone.net.batch = number
        alone.net.clear_param_diffs()
        losses.append(alone.net.forward_backward())
        gradients.append(alone.net.flat.diff.copy())
    loss = together.gradient()
    expected = gradients[0]
    for gradient in gradients[1:]:
        expected = expected + gradient
    assert together.net.flat.diff.tobytes() == expected.tobytes()
    assert loss == sum(losses) / count
    assert np.abs(expected).max() > 1e-3


def test_what_is_random_in_a_batch_follows_from_its_number():
    net, other = (
        nettrain.Net(
            {
                "layers": [
                    layer("x", "DummyData", shape=[4, 30], data_filler="gaussian"),
                    layer("y", "Dropout", "x"),
                ]
            },
            "TRAIN",
        )
        for _ in range(2)
    )
    net.forward()
    batches = []
    for _ in range(5):
        seen = net.forward(blobs=["x"])
        batches.append({name: array.copy() for name, array in seen.items()})
    assert len({batch["y"].tobytes() for batch in batches}) == 5
    other.batch = 4
    again = other.forward(blobs=["x"])
    assert all(np.array_equal(again[name], batches[3][name]) for name in ("x", "y"))
    one, two = (net.forward(start="y")["y"] != 0 for _ in range(2))
    assert net.batch == 6
    assert not np.array_equal(one, two)
