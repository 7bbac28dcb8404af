"""A trained net answers: as the net itself would, through the data's own preprocessing, without the data."""

import nettrain
import numpy as np
import pytest
from helpers import layer
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


# Every kind of source: what is predicted without the data is what the net computes on it.


def served(layers, weights=None, **options):
    """A model of a net that was trained for one iteration, or not at all."""
    spec = {"name": "s", "solver": {"base_lr": 0.01, "max_iter": 1}, "layers": layers}
    if weights is not None:
        return nettrain.load(spec, weights=weights)
    solver = nettrain.get_solver(spec, out="kind", **options)
    solver.solve()
    return nettrain.load("kind", allow_python=options.get("allow_python", False))


def scores_of(model, x, layer="ip"):
    weights, bias = (blob.data for blob in model.net.params[layer])
    return np.asarray(x).reshape(len(x), -1) @ weights.T + bias


LOSS = layer("loss", "EuclideanLoss", ["ip", "t"])


def test_hdf5(workdir):
    h5py = pytest.importorskip("h5py")
    x, t = np.random.default_rng(0).standard_normal((6, 3)), np.zeros((6, 2))
    for name, count in (("a", 6), ("new", 5)):
        with h5py.File(f"{name}.h5", "w") as file:
            file["x"] = x[:count]
            if name == "a":
                file["t"] = t
    (workdir / "list.txt").write_text("a.h5")
    model = served([layer("d", "HDF5Data", top=["x", "t"], source="list.txt", batch_size=4), IP_X, LOSS])
    (workdir / "a.h5").unlink()
    assert np.allclose(model.predict(x), scores_of(model, x), atol=1e-6)
    assert np.allclose(model.predict("new.h5"), model.predict(x)[:5], atol=1e-6)  # and no targets
    with pytest.raises(NettrainError, match="examples for `x` must be N x 3, got 2 x 4"):
        model.predict(np.zeros((2, 4)))
    with pytest.raises(NettrainError, match=r"not found: none\.h5"):
        model.predict("none.h5")


IP_X = layer("ip", "InnerProduct", "x", num_output=2)


def test_weights_of_a_spec_whose_inputs_a_program_fills(workdir):
    layers = [layer("d", "Input", top=["x", "t"], shape=[[4, 3], [4, 2]]), IP_X, LOSS]
    nettrain.Net({"layers": layers}).save("w.npz")
    model, x = served(layers, "w.npz"), np.ones((6, 3))
    assert model.inputs == ["x"]
    assert np.allclose(model.predict(x), scores_of(model, x))
    memory = [layer("d", "MemoryData", top=["x", "t"], batch_size=4, channels=3, height=1, width=1), IP_X]
    model = served([*memory, layer("loss", "SoftmaxWithLoss", ["ip", "t"])], "w.npz")
    assert model.predict(x.reshape(6, 3, 1, 1)).tolist() == scores_of(model, x).argmax(axis=1).tolist()
    with pytest.raises(NettrainError, match="a spec has no weights"):
        nettrain.load({"layers": layers})


def test_several_inputs_and_outputs(workdir):
    np.savez("a.npz", data=np.ones((4, 3)), label=np.arange(4) % 2)
    np.savez("b.npz", data=np.ones((4, 2)), label=np.ones((4, 2)))
    layers = [
        layer("a", "Data", top=["x", "label"], source="a.npz", batch_size=3, split=0),
        layer("b", "Data", top=["z", "t"], source="b.npz", batch_size=3, split=0),
        layer("both", "Concat", ["x", "z"]),
        layer("ip", "InnerProduct", "both", num_output=2),
        layer("fit", "InnerProduct", "both", num_output=2),
        layer("square", "EuclideanLoss", ["fit", "t"], loss_weight=0.5),
        layer("loss", "SoftmaxWithLoss", ["ip", "label"]),
    ]
    model = served(layers)
    both = np.random.default_rng(1).standard_normal((5, 5))
    given = {"x": both[:, :3], "z": both[:, 3:]}
    assert model.main == "prob"  # its loss weighs more
    assert model.predict(given).tolist() == scores_of(model, both).argmax(axis=1).tolist()
    assert np.allclose(model.predict(given, output="fit"), scores_of(model, both, "fit"), atol=1e-5)
    with pytest.raises(NettrainError, match="needs examples for x, z; give a mapping"):
        model.predict(both)
    with pytest.raises(NettrainError, match="no output `fot`; did you mean `fit`"):
        model.predict(given, output="fot")
    with pytest.raises(NettrainError, match="`fit` of this net has values, not classes"):
        model.predict_proba(given, output="fit")


def test_a_sequence_goes_on_from_batch_to_batch_and_begins_anew_with_each_call(workdir):
    x = np.random.default_rng(0).standard_normal((6, 2, 3)).astype("f4")
    cont = np.ones((6, 2), "f4")
    layers = [
        layer("d", "Input", top=["x", "cont"], shape=[[4, 2, 3], [4, 2]]),
        layer("h", "LSTM", ["x", "cont"], num_output=2, weight_filler={"type": "uniform", "min": -1, "max": 1}),
    ]
    net = nettrain.Net({"layers": layers})
    net.save("w.npz")
    whole = net.forward(x=x, cont=cont)["h"].copy()  # in one piece
    model = served(layers, "w.npz")
    for _ in range(2):
        assert np.allclose(model.predict({"x": x, "cont": cont}), whole, atol=1e-6)


def test_labels_that_are_each_a_yes_or_no_and_classes_of_pixels(workdir):
    rng = np.random.default_rng(0)
    np.savez("many.npz", data=rng.standard_normal((5, 3)), label=rng.integers(0, 2, (5, 2)))
    data = layer("d", "Data", top=["x", "t"], source="many.npz", batch_size=2, split=0)
    model = served([data, IP_X, layer("loss", "SigmoidCrossEntropyLoss", ["ip", "t"])])
    x = rng.standard_normal((3, 3))
    assert np.array_equal(model.predict(x), (scores_of(model, x) > 0).astype(int))
    np.savez("maps.npz", data=rng.standard_normal((4, 2, 3, 3)), label=rng.integers(0, 3, (4, 3, 3)))
    data = layer("d", "Data", top=["x", "t"], source="maps.npz", batch_size=2, split=0)
    conv = layer("ip", "Convolution", "x", num_output=3, kernel_size=1)
    model = served([data, conv, layer("loss", "SoftmaxWithLoss", ["ip", "t"])])
    x = rng.standard_normal((3, 2, 3, 3)).astype("f4")
    kernel, bias = (blob.data for blob in model.net.params["ip"])
    maps = np.einsum("mc,nchw->nmhw", kernel[:, :, 0, 0], x) + bias[:, None, None]
    assert np.array_equal(model.predict(x), maps.argmax(axis=1))


def test_image_files_and_one_that_is_damaged(workdir):
    image = pytest.importorskip("PIL.Image")
    for i in range(5):
        image.new("RGB", (4, 4), (10 * i, 0, 255 - 9 * i)).save(f"{i}.png")
    (workdir / "bad.png").write_bytes(b"nothing")
    (workdir / "list.txt").write_text("".join(f"{i}.png {i % 2}\n" for i in range(5)))
    data = layer("d", "ImageData", top=["x", "t"], source="list.txt", batch_size=3, transform={"scale": 0.01})
    model = served([data, IP_X, layer("loss", "SoftmaxWithLoss", ["ip", "t"])])
    (workdir / "list.txt").unlink()
    files, refused = ["4.png", "bad.png", "0.png", "1.png"], []
    said = list(model.answer(files, lambda file, error: refused.append((file, str(error)))))
    assert [name for answers in said for name in answers.names] == ["4.png", "0.png", "1.png"]
    assert refused == [("bad.png", refused[0][1])]
    assert "bad.png is not an image" in refused[0][1]
    pixels = np.stack([np.broadcast_to([255 - 9 * i, 0, 10 * i], (4, 4, 3)).transpose(2, 0, 1) for i in (4, 0, 1)])
    expected = model.predict_proba(pixels)
    assert np.allclose(np.concatenate([answers.outputs["prob"] for answers in said]), expected)
    assert np.allclose(
        np.log(expected[:, 0] / expected[:, 1]), np.diff(scores_of(model, pixels * 0.01))[:, 0] * -1, atol=1e-4
    )
    with pytest.raises(NettrainError, match=r"bad\.png is not an image"):
        model.predict(files)


def test_what_the_net_reads_besides_examples_is_given_too(workdir):
    np.savez("set.npz", data=np.ones((4, 3)), label=np.zeros((4, 2)), extra=np.arange(8.0).reshape(4, 2))
    layers = [
        layer("d", "Data", top=["x", "t", "extra"], source="set.npz", batch_size=3, split=0),
        layer("first", "InnerProduct", "x", num_output=2),
        layer("ip", "Eltwise", ["first", "extra"]),
        LOSS,
    ]
    model, x, extra = served(layers), np.ones((4, 3)), np.arange(8.0).reshape(4, 2)
    expected = scores_of(model, x, "first") + extra
    assert np.allclose(model.predict({"x": x, "extra": extra}), expected)
    assert np.allclose(model.predict("set.npz"), expected)
    with pytest.raises(NettrainError, match="the net also reads `extra`: the array has no array of that name"):
        model.predict(x)


def test_an_older_run_needs_its_data(run, workdir):
    from nettrain.solver.snapshot import read_snapshot, write_snapshot

    found = read_snapshot(workdir / "run" / "iter_30.npz")
    (workdir / "old").mkdir()
    write_snapshot(workdir / "old" / "iter_30.npz", found.params, found.history, found.state | {"fitted": {}})
    with pytest.raises(NettrainError, match=r"data file not found: set\.npz"):
        nettrain.load("old")
    np.savez("set.npz", data=np.ones((9, 4)), label=np.arange(9) % 3)
    x = np.ones((2, 4))
    assert np.array_equal(nettrain.load("old").predict(x), nettrain.load("run/iter_30.npz").predict(x))
    spec = {"layers": SPEC["layers"]}
    (workdir / "set.npz").unlink()
    assert np.array_equal(nettrain.load(spec, weights="run/iter_30.npz").predict(x), nettrain.load("run").predict(x))


def test_inputs_need_as_many_examples_and_a_class_without_a_name_has_its_number(workdir):
    inputs = [{"name": name, "type": "Input", "top": name, "shape": [2, 3]} for name in "ab"]
    layers = [
        {"name": "ip", "type": "InnerProduct", "bottom": "a", "num_output": 3},
        {"name": "sum", "type": "Eltwise", "bottom": ["ip", "b"]},
        {"name": "prob", "type": "Softmax", "bottom": "sum"},
    ]
    nettrain.Net({"layers": [*inputs, *layers]}, "TEST").save("w.npz")
    model = nettrain.load({"layers": [*inputs, *layers]}, weights="w.npz")
    with pytest.raises(NettrainError, match="every input needs the same number of examples, got a 5, b 3"):
        model.predict({"a": np.ones((5, 3)), "b": np.ones((3, 3))})
    model.classes = ("cat", "dog")
    assert model.decide("prob", np.eye(3)).tolist() == ["cat", "dog", "2"]
    assert model.decide("prob", np.eye(3)[:2]).tolist() == ["cat", "dog"]
    assert model.decide("prob", np.empty((0, 3))).shape == (0,)


@pytest.mark.parametrize("order", [["ip", "wanted"], ["wanted", "ip"]])
def test_what_a_distance_compares_with_is_no_answer(workdir, order):
    np.savez("set.npz", data=np.eye(3), label=np.eye(3))
    layers = [
        {"name": "d", "type": "Data", "source": "set.npz", "batch_size": 3, "top": ["data", "label"], "split": 0},
        {"name": "wanted", "type": "Power", "bottom": "label", "scale": 2},
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
        {"name": "loss", "type": "EuclideanLoss", "bottom": order},
    ]
    nettrain.Net({"layers": layers}, "TEST").save("w.npz")
    assert nettrain.load({"layers": layers}, weights="w.npz").outputs == ["ip"]
