"""ArgMax, BatchReindex, Crop, Filter, Tile, Reduction and Parameter: known values, plain formulas, what they refuse."""

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.solver.evaluate import evaluate


def forward(kind, *xs, **params):
    net = layer_net(kind, *(np.shape(x) for x in xs), **params)
    return net, net.forward(**{f"x{i}": x for i, x in enumerate(xs)})


def run(kind, *xs, dy=None, **params):
    """y and the gradient of x0, for dy (random when it is not given)."""
    net, tops = forward(kind, *xs, **params)
    y = tops["y"].copy()
    dy = np.random.default_rng(1).standard_normal(y.shape) if dy is None else np.asarray(dy, float)
    return y, dy, net.backward(y=dy)["x0"].copy()


def randn(*shape):
    return np.random.default_rng(0).standard_normal(shape)


# ArgMax


@pytest.mark.parametrize(
    ("params", "y"),
    [
        ({}, [[[3]], [[2]]]),
        ({"top_k": 3}, [[[3, 1, 0]], [[2, 1, 0]]]),
        ({"top_k": 2, "out_max_val": True}, [[[3, 1], [5, 5]], [[2, 1], [0, 0]]]),
        ({"axis": 1}, [[3], [2]]),
        ({"axis": 1, "top_k": 4}, [[3, 1, 0, 2], [2, 1, 0, 3]]),
        ({"axis": 0}, [[0, 0, 1, 0]]),
        ({"axis": -1, "top_k": 2, "out_max_val": True}, [[5, 5], [0, 0]]),
        ({"axis": 0, "top_k": 2, "out_max_val": True}, [[2, 5, 0, 5], [0, 0, -1, -1000]]),
    ],
)
def test_argmax_of_equal_values_the_larger_index_is_first(params, y):
    _, tops = forward("ArgMax", [[2, 5, -1, 5], [0, 0, 0, -1000]], **params)
    assert tops["y"].tolist() == y


@pytest.mark.parametrize("top_k", [1, 2, 3])
@pytest.mark.parametrize("axis", [None, 0, 1, 2, -1])
def test_argmax_in_loops(axis, top_k):
    x = np.random.default_rng(0).integers(0, 3, (4, 3, 5)).astype(float)  # many equal values
    _, tops = forward("ArgMax", x, top_k=top_k, **({} if axis is None else {"axis": axis}))
    rows = x.reshape(4, -1) if axis is None else np.moveaxis(x, axis, -1)
    expected = np.empty((*rows.shape[:-1], top_k))
    for place in np.ndindex(rows.shape[:-1]):
        pairs = sorted(((v, i) for i, v in enumerate(rows[place])), reverse=True)
        expected[place] = [i for _, i in pairs[:top_k]]
    expected = expected.reshape(4, 1, top_k) if axis is None else np.moveaxis(expected, -1, axis)
    np.testing.assert_array_equal(tops["y"], expected)


def test_argmax_of_odd_numbers_and_shapes():
    x = [[np.nan, np.inf, 0], [-np.inf, -np.inf, -np.inf], [-1000, 1000, np.nan]]
    assert forward("ArgMax", x, top_k=2)[1]["y"].reshape(3, 2).tolist() == [[0, 1], [2, 1], [2, 1]]
    assert forward("ArgMax", randn(2, 3, 4, 5, 6))[1]["y"].shape == (2, 1, 1, 1, 1)
    assert forward("ArgMax", np.zeros((0, 3)))[1]["y"].shape == (0, 1, 1)
    assert forward("ArgMax", randn(3))[1]["y"].tolist() == [[[0]]] * 3


def test_argmax_of_more_than_one_block():
    x = randn(6, 300, 300)
    np.testing.assert_array_equal(forward("ArgMax", x, axis=1)[1]["y"][:, 0], x.argmax(axis=1))


# BatchReindex


def test_batch_reindex_takes_examples_and_adds_their_gradients():
    x = [[1, 10], [2, 20], [3, 30]]
    y, _, dx = run("BatchReindex", x, [2, 0, 2, 2], dy=[[1, 2], [10, 20], [100, 200], [1000, 2000]])
    assert y.tolist() == [[3, 30], [1, 10], [3, 30], [3, 30]]
    assert dx.tolist() == [[10, 20], [0, 0], [1101, 2202]]


@pytest.mark.parametrize("count", [0, 1, 3, 50])
@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 2, 3, 2), (1, 2), (4, 0)])
def test_batch_reindex_in_loops(shape, count):
    numbers = np.random.default_rng(3).integers(0, shape[0], count)
    x = randn(*shape)
    y, dy, dx = run("BatchReindex", x, numbers)
    expected = np.zeros(shape)
    for k, n in enumerate(numbers):
        np.testing.assert_array_equal(y[k], x[n])
        expected[n] += dy[k]
    np.testing.assert_allclose(dx, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("number", "word"), [(-1, "-1"), (3, "3"), (1.5, "1.5"), (np.nan, "nan"), (np.inf, "inf")])
def test_batch_reindex_checks_its_numbers(number, word):
    with pytest.raises(
        nettrain.NettrainError, match=rf"number {word} at position 1 is not one of the 3 examples \(0..2\)"
    ):
        forward("BatchReindex", randn(3, 2), [0, number])


# Crop


@pytest.mark.parametrize(
    ("params", "part"),
    [
        ({}, np.s_[:, :, :2, :3]),
        ({"offset": 1}, np.s_[:, :, 1:3, 1:4]),
        ({"offset": [2, 0]}, np.s_[:, :, 2:4, :3]),
        ({"axis": -1, "offset": [2]}, np.s_[:, :, :, 2:5]),
        ({"axis": 1, "offset": [2, 0, 1]}, np.s_[:, 2:3, :2, 1:4]),
        ({"axis": 0}, np.s_[:1, :1, :2, :3]),
    ],
)
def test_crop(params, part):
    x = randn(2, 3, 4, 5)
    net, tops = forward("Crop", x, np.zeros((1, 1, 2, 3)), **params)
    np.testing.assert_array_equal(tops["y"], x[part])
    dy, expected = randn(*tops["y"].shape), np.zeros(x.shape)
    expected[part] = dy
    net.blobs["x0"].diff[...] = net.blobs["x1"].diff[...] = 7
    diffs = net.backward(y=dy)
    np.testing.assert_array_equal(diffs["x0"], expected)
    assert not diffs["x1"].any()


# Filter


def test_filter_keeps_what_is_selected():
    net, tops = forward("Filter", [[1, 2], [3, 4], [5, 6]], [7, 8, 9], [0, -1, 0.5], top=["y", "z"])
    assert tops["y"].tolist() == [[3, 4], [5, 6]]
    assert tops["z"].tolist() == [8, 9]
    diffs = net.backward(y=[[1, 2], [3, 4]], z=[5, 6])
    assert diffs["x0"].tolist() == [[0, 0], [1, 2], [3, 4]]
    assert diffs["x1"].tolist() == [0, 5, 6]
    tops = net.forward(x2=[1, 0, np.nan])  # as in C, a NaN is not zero
    assert tops["z"].tolist() == [7, 9]


def filtered(rows=4):
    layers = [
        {"name": "x", "type": "Input", "shape": [rows, 3], "top": "x"},
        {"name": "label", "type": "Input", "shape": [rows]},
        {"name": "s", "type": "Input", "shape": [rows]},
        {"name": "kept", "type": "Filter", "bottom": ["x", "label", "s"], "top": ["kx", "kl"]},
        {"name": "ip", "type": "InnerProduct", "bottom": "kx", "num_output": 2},
        {"name": "relu", "type": "ReLU", "top": "ip"},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "kl"]},
    ]
    return nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")


def test_layers_behind_a_filter_follow_its_number_of_examples():
    net, x, label = filtered(), randn(4, 3), np.array([0, 1, 1, 0])
    for selector in ([0, 1, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0], [0, 0, 1, 0]):
        kept = np.flatnonzero(selector)
        net.clear_param_diffs()
        net.forward(x=x, label=label, s=selector)
        dx = net.backward()["x"].copy()
        dw, loss = net.params["ip"][0].diff.copy(), net.loss
        plain = filtered(len(kept))
        for mine, theirs in zip(plain.params["ip"], net.params["ip"], strict=True):
            mine.data[...] = theirs.data
        plain.clear_param_diffs()
        plain.forward(x=x[kept], label=label[kept], s=np.ones(len(kept)))
        expected = np.zeros((4, 3))
        expected[kept] = plain.backward()["x"]
        np.testing.assert_allclose(dx, expected, rtol=1e-12)
        np.testing.assert_allclose(dw, plain.params["ip"][0].diff, rtol=1e-12)
        assert loss == pytest.approx(plain.loss)
        assert dw.any() == bool(len(kept))


# Tile


@pytest.mark.parametrize("tiles", [1, 3])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 1), (0, 3, 2), (3, 2, 0)])
def test_tile_is_numpys(shape, axis, tiles):
    x, times = randn(*shape), np.ones(3, int)
    times[axis] = tiles
    y, dy, dx = run("Tile", x, axis=axis, tiles=tiles)
    np.testing.assert_array_equal(y, np.tile(x, times))
    expected = sum(np.split(dy, tiles, axis=axis))
    np.testing.assert_allclose(dx, expected, rtol=1e-12)


# Reduction


@pytest.mark.parametrize(
    ("operation", "y", "dx"),
    [
        ("SUM", -4, [10, 10, 10]),
        ("ASUM", 16, [10, -10, 0]),
        ("SUMSQ", 136, [120, -200, 0]),
        ("MEAN", -4 / 3, [10 / 3] * 3),
    ],
)
def test_reductions(operation, y, dx):
    got, _, gradient = run("Reduction", [6, -10, 0], dy=5, operation=operation, coeff=2)
    assert float(got) == pytest.approx(2 * y)
    np.testing.assert_allclose(gradient, dx)
    assert got.shape == ()


@pytest.mark.parametrize("operation", ["SUM", "ASUM", "SUMSQ", "MEAN"])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 1, 1), (0, 3, 2), (3, 2, 0), (3, 400, 300), (2, 2, 300000)])
def test_reductions_of_any_axes(shape, axis, operation):
    x = randn(*shape)
    axes = tuple(range(axis % 3, 3))
    y, dy, dx = run("Reduction", x, axis=axis, operation=operation, coeff=-0.5)
    values, slopes = {
        "SUM": (x, np.ones(shape)),
        "MEAN": (x, np.ones(shape)),
        "ASUM": (abs(x), np.sign(x)),
        "SUMSQ": (x * x, 2 * x),
    }[operation]
    factor = -0.5 / (max(1, np.prod([shape[i] for i in axes])) if operation == "MEAN" else 1)
    np.testing.assert_allclose(y, factor * values.sum(axis=axes), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(dx, factor * slopes * np.expand_dims(dy, axes), rtol=1e-12)


def test_a_long_sum_of_float32_loses_no_digits():
    net = layer_net("Reduction", (2, 1 << 22), dtype="float32", axis=1)
    assert net.forward(x0=np.full((2, 1 << 22), 1.1))["y"].tolist() == pytest.approx([4613734.5] * 2, rel=1e-6)


def test_a_reduction_may_be_a_loss():
    layers = [
        {"name": "x", "type": "Input", "shape": [3]},
        {"name": "p", "type": "Reduction", "operation": "SUMSQ", "loss_weight": 0.5},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, dtype="float64")
    net.forward(x=[1, 2, -3])
    assert net.loss == 7
    assert net.backward()["x"].tolist() == [1, 2, -3]


# Parameter


def test_a_parameter_is_a_learned_blob_that_starts_at_zero():
    net = layer_net("Parameter", shape=[2, 3])
    assert net.forward()["y"].tolist() == [[0] * 3] * 2
    net.params["y"][0].data[...] = randn(2, 3)
    np.testing.assert_array_equal(net.forward()["y"], randn(2, 3))
    net.clear_param_diffs()
    for _ in range(2):  # gradients add up
        net.backward(y=np.ones((2, 3)))
    assert net.params["y"][0].diff.tolist() == [[2] * 3] * 2


def test_a_parameter_is_filled_and_trained():
    layers = [
        {"name": "w", "type": "Parameter", "shape": {"dim": [2]}, "filler": 3},
        {"name": "loss", "type": "Reduction", "operation": "SUMSQ", "loss_weight": 1},
    ]
    solver = nettrain.get_solver({"solver": {"base_lr": 0.25, "max_iter": 9}, "layers": layers})
    solver.step(2)
    assert solver.net.params["w"][0].data.tolist() == [0.75, 0.75]  # w - 0.25 * 2 w, twice


# Scores over a test set


def evaluated(*layers):
    data = {"name": "data", "type": "Data", "top": ["data", "label"], "source": "digits", "batch_size": 100}
    net = nettrain.Net({"layers": [data, *layers]}, phase="TEST", dtype="float64")
    return net, evaluate(net)


def test_an_argmax_is_averaged_over_examples_and_not_taken_for_a_score():
    net, scores = evaluated(
        {"name": "best", "type": "ArgMax", "bottom": "data"}, {"name": "q", "type": "Silence", "bottom": "label"}
    )
    best = [p.argmax() for _, _ in net.passes() for p in net.blobs["data"].data.reshape(-1, 64)[:, ::-1]]
    assert np.ravel(scores["best"]) == pytest.approx(63 - np.mean(best))


def test_what_a_filter_keeps_is_averaged_over_what_it_kept():
    _, scores = evaluated({"name": "kept", "type": "Filter", "bottom": ["label", "label"]})
    net, _ = evaluated({"name": "q", "type": "Silence", "bottom": ["data", "label"]})
    labels = np.concatenate([net.blobs["label"].data.copy() for _ in net.passes()])
    assert scores["kept"] == pytest.approx(labels[labels != 0].mean())


def test_what_keeps_nothing_has_no_mean():
    zero = {"name": "none", "type": "DummyData", "shape": [5]}
    layers = [zero, {"name": "x", "type": "DummyData", "shape": [5, 2]}]
    layers.append({"name": "kept", "type": "Filter", "bottom": ["x", "none"]})
    assert np.isnan(evaluate(nettrain.Net({"layers": layers}), 3)["kept"]).all()


def test_a_parameter_is_no_row_for_each_example():
    parameter = {"name": "w", "type": "Parameter", "shape": [2, 2], "filler": 3}
    _, scores = evaluated(parameter, {"name": "t", "type": "Tile", "tiles": 2})
    assert scores["t"] == [[3] * 4] * 2
