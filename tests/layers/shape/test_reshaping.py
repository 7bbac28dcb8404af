"""Reshape and Flatten: the shapes they give, that values keep their order, and what they refuse."""

from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net

reshaping_net = partial(layer_net, {}, inputs="x")


def check_values_keep_their_order(net, shape, expected):
    assert net.blobs["y"].shape == expected
    x = np.arange(float(np.prod(shape))).reshape(shape)
    np.testing.assert_array_equal(net.forward(x=x)["y"], x.reshape(expected))
    np.testing.assert_array_equal(net.backward(y=10 * x.reshape(expected))["x"], 10 * x)


@pytest.mark.parametrize(
    ("shape", "params", "expected"),
    [
        ((2, 3, 4), {"shape": [4, 3, 2]}, (4, 3, 2)),
        ((2, 3, 4), {"shape": [24]}, (24,)),
        ((2, 3, 4), {"shape": {"dim": [6, 4]}}, (6, 4)),
        ((2, 3, 4), {"shape": [-1]}, (24,)),
        ((2, 3, 4), {"shape": [0, -1]}, (2, 12)),
        ((2, 3, 4), {"shape": [-1, 0]}, (8, 3)),  # the 0 copies axis 1
        ((2, 3, 4), {"shape": [-1, 0, 0]}, (2, 3, 4)),
        ((2, 3, 4), {"shape": [0, 0, 2, -1]}, (2, 3, 2, 2)),
        ((2, 3, 4), {"shape": [0, 0, 0, 1, 1]}, (2, 3, 4, 1, 1)),
        ((2, 3, 4), {"shape": [6, 4], "axis": 0}, (6, 4)),
        ((2, 3, 4), {"shape": [-1], "axis": 1}, (2, 12)),
        ((2, 3, 4), {"shape": [0, 2, 2], "axis": 1}, (2, 3, 2, 2)),  # the 0 copies axis 1 + 0
        ((2, 3, 4), {"shape": [2, 2], "axis": 2}, (2, 3, 2, 2)),
        ((2, 3, 4), {"shape": [2, -1], "axis": -2}, (2, 3, 2, 2)),  # -2: before the last axis
        ((2, 3, 4), {"shape": [1], "axis": -1}, (2, 3, 4, 1)),  # -1: after the last axis
        ((2, 3, 4), {"shape": [1, 1], "axis": 3}, (2, 3, 4, 1, 1)),
        ((2, 3, 4), {"shape": [1], "axis": 0, "num_axes": 0}, (1, 2, 3, 4)),
        ((2, 3, 4), {"shape": [1], "axis": 1, "num_axes": 0}, (2, 1, 3, 4)),
        ((2, 3, 4), {"shape": [6], "axis": 0, "num_axes": 2}, (6, 4)),
        ((2, 6, 4), {"shape": [0, 3, -1], "axis": 0, "num_axes": 2}, (2, 3, 2, 4)),
        ((2, 6, 4), {"shape": [3, -1], "axis": 1, "num_axes": 1}, (2, 3, 2, 4)),
        ((2, 1, 4), {"shape": [], "axis": 1, "num_axes": 1}, (2, 4)),
        ((1, 1), {"shape": []}, ()),
        ((), {"shape": [1, 1]}, (1, 1)),
        ((0, 3, 4), {"shape": [0, 12]}, (0, 12)),
    ],
)
def test_reshape(shape, params, expected):
    check_values_keep_their_order(reshaping_net(shape, type="Reshape", **params), shape, expected)


@pytest.mark.parametrize(
    ("shape", "params", "expected"),
    [
        ((2, 3, 4, 5), {}, (2, 60)),
        ((2, 3, 4, 5), {"axis": 0}, (120,)),
        ((2, 3, 4, 5), {"axis": 2}, (2, 3, 20)),
        ((2, 3, 4, 5), {"axis": 3}, (2, 3, 4, 5)),
        ((2, 3, 4, 5), {"axis": -2}, (2, 3, 20)),
        ((2, 3, 4, 5), {"end_axis": 2}, (2, 12, 5)),
        ((2, 3, 4, 5), {"end_axis": -2}, (2, 12, 5)),
        ((2, 3, 4, 5), {"axis": 0, "end_axis": -3}, (6, 4, 5)),
        ((2, 3, 4, 5), {"axis": -3, "end_axis": -2}, (2, 12, 5)),
        ((2, 3, 4, 5), {"axis": 2, "end_axis": 2}, (2, 3, 4, 5)),
        ((2, 3), {}, (2, 3)),
        ((5,), {"axis": 0}, (5,)),
        ((0, 3, 4), {}, (0, 12)),
        ((2, 0, 4), {}, (2, 0)),
    ],
)
def test_flatten(shape, params, expected):
    check_values_keep_their_order(reshaping_net(shape, type="Flatten", **params), shape, expected)


@pytest.mark.parametrize(
    ("layer", "first", "second"),
    [
        ({"type": "Reshape", "shape": [0, -1]}, (2, 12), (5, 6)),
        ({"type": "Reshape", "shape": [-1, 2]}, (12, 2), (15, 2)),
        ({"type": "Flatten"}, (2, 12), (5, 6)),
    ],
)
def test_the_shape_follows_the_bottom(layer, first, second):
    net = reshaping_net((2, 3, 4), **layer)
    assert net.forward(x=np.zeros((2, 3, 4)))["y"].shape == first
    assert net.forward(x=np.zeros((5, 3, 2)))["y"].shape == second


@pytest.mark.parametrize(
    ("shape", "params", "words"),
    [
        ((2, 3, 4), {}, "needs `shape`"),
        ((2, 3, 4), {"shape": [5, 5]}, "2 x 3 x 4 has 24 values, 5 x 5 has 25"),
        ((2, 3, 4), {"shape": [5, -1]}, "2 x 3 x 4 has 24 values, not a multiple of 5"),
        ((2, 3, 4), {"shape": [-1, 2, -1]}, "shape may have only one -1"),
        ((2, 3, 4), {"shape": [2, -2]}, "must be an integer >= -1, got -2"),
        ((2, 3, 4), {"shape": "flat"}, "must be a shape such as"),
        ((2, 3, 4), {"shape": [1, 1, 24, 0]}, "the 0 at position 3 copies axis 3, which 2 x 3 x 4 does not have"),
        ((2, 3, 4), {"shape": [4, 0], "axis": 2}, "the 0 at position 1 copies axis 3, which 2 x 3 x 4 does not have"),
        ((2, 3, 4), {"shape": [1], "axis": 4}, "axis 4 is outside 2 x 3 x 4"),
        ((2, 3, 4), {"shape": [1], "axis": -5}, "axis -5 is outside 2 x 3 x 4"),
        ((2, 3, 4), {"shape": [12], "axis": 1, "num_axes": 3}, "3 axes from axis 1 on are more than 2 x 3 x 4 has"),
        ((2, 3, 4), {"shape": [12], "num_axes": -2}, "num_axes must be an integer >= -1"),
        ((0, 3, 4), {"shape": [0, -1]}, "0 x 3 x 4 has 0 values"),  # anything could stand for the -1
    ],
)
def test_what_reshape_refuses(shape, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        reshaping_net(shape, type="Reshape", **params)


@pytest.mark.parametrize(
    ("shape", "params", "words"),
    [
        ((2, 3, 4), {"axis": 3}, "axis 3 of 2 x 3 x 4: there are axes -3 to 2"),
        ((2, 3, 4), {"end_axis": 5}, "axis 5 of 2 x 3 x 4"),
        ((2, 3, 4), {"axis": 2, "end_axis": 1}, "axis 2 comes after end_axis 1 of 2 x 3 x 4"),
        ((4,), {}, "axis 1 of 4: there are axes -1 to 0"),
        ((), {"axis": 0}, "axis 0 of a scalar, which has no axes"),
    ],
)
def test_what_flatten_refuses(shape, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        reshaping_net(shape, type="Flatten", **params)


def test_a_batch_that_no_longer_fits():
    net = reshaping_net((2, 6), type="Reshape", shape=[3, 4])
    with pytest.raises(nettrain.ShapeError, match="2 x 5 has 10 values, 3 x 4 has 12"):
        net.forward(x=np.zeros((2, 5)))


GRAPHS = {
    "alone": [("r", "?", "b", "r"), ("y", "Sigmoid", "r", "y")],
    "in place after it": [("r", "?", "b", "r"), ("relu", "ReLU", "r", "r"), ("y", "TanH", "r", "y")],
    "in place before it": [("relu", "ReLU", "b", "b"), ("r", "?", "b", "r"), ("y", "TanH", "r", "y")],
    "its bottom read before": [("s", "Sigmoid", "b", "s"), ("r", "?", "b", "r"), ("y", "Eltwise", ["s", "r"], "y")],
    "its bottom read after": [("r", "?", "b", "r"), ("s", "Sigmoid", "b", "s"), ("y", "Eltwise", ["s", "r"], "y")],
    "both read twice": [
        ("r", "?", "b", "r"),
        ("relu", "ReLU", "r", "r"),
        ("p", "Eltwise", ["b", "r"], "p"),
        ("q", "Eltwise", ["p", "b"], "q"),
        ("y", "Eltwise", ["q", "r"], "y"),
    ],
    "twice in a row": [("r", "?", "b", "r"), ("t", "?", "r", "t"), ("y", "Eltwise", ["t", "r"], "y")],
    "named like its bottom": [("r", "?", "b", "b"), ("relu", "ReLU", "b", "b"), ("y", "TanH", "b", "y")],
    "in place before and after": [
        ("sig", "Sigmoid", "b", "b"),
        ("r", "?", "b", "r"),
        ("relu", "Dropout", "r", "r"),
        ("y", "Eltwise", ["r", "b"], "y"),
    ],
}


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_memory_is_passed_on_and_gradients_are_as_if_it_were_copied(graph, phase):
    """Reshape to the same shape beside Power with nothing to do, which copies."""
    results = []
    x, dy = np.random.default_rng(1).standard_normal((2, 3, 4))
    for passing in ({"type": "Reshape", "shape": [3, 4]}, {"type": "Power"}):
        layers = [
            {"name": "x", "type": "Input", "shape": [3, 4]},
            {"name": "b", "type": "InnerProduct", "num_output": 4, "weight_filler": "gaussian"},
        ]
        for name, kind, bottom, top in GRAPHS[graph]:
            layer = {"name": name, "bottom": bottom, "top": top}
            layers.append(layer | (passing if kind == "?" else {"type": kind}))
        net = nettrain.Net({"force_backward": True, "layers": layers}, phase=phase, dtype="float64")
        for _ in range(2):
            net.clear_param_diffs()
            y = net.forward(x=x)["y"].copy()
            net.backward(y=dy)
        results.append([y, net.flat.diff.copy(), net.blobs["x"].diff.copy()])
        if passing["type"] == "Reshape" and graph == "alone":
            assert net.blobs["r"].shares_data_with(net.blobs["b"])
            assert net.blobs["r"].shares_diff_with(net.blobs["b"])
    for mine, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12, atol=1e-14)
