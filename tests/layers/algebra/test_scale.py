"""Scale: known values, slow loops for every place of s, two bottoms, memory and threads, what it refuses."""

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel


def scale_net(shape, s_shape=None, **params):
    shapes = [shape] if s_shape is None else [shape, s_shape]
    return layer_net("Scale", *shapes, inputs="x s", name="scale", top="y", **params)


def slow_scale(x, s, b, axis, dy):
    """One element at a time: y, dx, ds, db."""
    y, dx, ds, db = np.zeros(x.shape), np.zeros(x.shape), np.zeros(s.shape), np.zeros(s.shape)
    for place in np.ndindex(x.shape):
        own = place[axis : axis + s.ndim]
        y[place] = x[place] * s[own] + b[own]
        dx[place] = dy[place] * s[own]
        ds[own] += dy[place] * x[place]
        db[own] += dy[place]
    return y, dx, ds, db


def check_against_loops(net, axis):
    """Forward and backward on random numbers, from random gradients of the parameters, which are added to."""
    rng = np.random.default_rng(2)
    two = "s" in net.blobs
    names = ["x", "s"] if two else ["x"]
    for blob in [net.blobs[name] for name in names] + net.params.get("scale", []):
        blob.data[...] = rng.standard_normal(blob.shape)
    blobs = net.params.get("scale", [])
    before = [rng.standard_normal(blob.shape) for blob in blobs]
    for blob, values in zip(blobs, before, strict=True):
        blob.diff[...] = values
    x, s = net.blobs["x"].data.copy(), (net.blobs["s"] if two else blobs[0]).data.copy()
    biased = len(blobs) == 2 - two
    b = blobs[-1].data.copy() if biased else np.zeros(s.shape)
    dy = rng.standard_normal(x.shape)
    y = net.forward()["y"].copy()
    net.backward(y=dy)
    added = [blob.diff - values for blob, values in zip(blobs, before, strict=True)]
    expected_y, dx, ds, db = slow_scale(x, s, b, axis, dy)
    np.testing.assert_allclose(y, expected_y, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(net.blobs["x"].diff, dx, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(net.blobs["s"].diff if two else added[0], ds, rtol=1e-10, atol=1e-12)
    if biased:
        np.testing.assert_allclose(added[-1], db, rtol=1e-10, atol=1e-12)


def test_known_values():
    net = scale_net((1, 2, 2), bias_term=True)
    for blob, values in zip(net.params["scale"], ([2, -3], [10, 20]), strict=True):
        blob.data[...] = values
    assert net.forward(x=[[[1, 2], [3, 4]]])["y"].tolist() == [[[12, 14], [11, 8]]]
    assert net.backward(y=[[[1, 10], [100, 1000]]])["x"].tolist() == [[[2, 20], [-300, -3000]]]
    assert [blob.diff.tolist() for blob in net.params["scale"]] == [[21, 4300], [11, 1100]]


def test_first_values_leave_x_as_it_is():
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    net = scale_net((2, 3, 4), bias_term=True)
    np.testing.assert_array_equal(net.forward(x=x)["y"], x)
    assert [blob.data.tolist() for blob in net.params["scale"]] == [[1, 1, 1], [0, 0, 0]]


def test_fillers():
    net = scale_net((2, 3), bias_term=True, filler=0.25, bias_filler={"value": -2})
    assert net.forward(x=[[4, 8, 0], [0, 0, 12]])["y"].tolist() == [[-1, 0, -2], [-2, -2, 1]]


# (shape, axis, num_axes, axis from the front, shape of s)
PLACES = [
    ((2, 3, 4, 5), 1, 1, 1, (3,)),
    ((2, 3, 6, 7), 1, 1, 1, (3,)),  # more than 32 elements of a channel lie together
    ((2, 3, 4, 5), -3, 1, 1, (3,)),
    ((2, 3, 4, 5), 1, 2, 1, (3, 4)),
    ((2, 3, 4, 5), 1, -1, 1, (3, 4, 5)),
    ((2, 3, 4, 5), 0, -1, 0, (2, 3, 4, 5)),
    ((2, 3, 4, 5), 0, 1, 0, (2,)),
    ((2, 3, 4, 5), 0, 2, 0, (2, 3)),
    ((2, 3, 4, 5), 2, 1, 2, (4,)),
    ((2, 3, 4, 5), 3, 1, 3, (5,)),
    ((2, 3, 4, 5), -1, -1, 3, (5,)),
    ((2, 3, 4, 5), 1, 0, 0, ()),
    ((5,), 0, 1, 0, (5,)),
    ((5,), 0, 0, 0, ()),
    ((1, 2), 1, 1, 1, (2,)),
    ((3, 1, 2), 1, 1, 1, (1,)),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("bias_term", [False, True])
@pytest.mark.parametrize(("shape", "axis", "num_axes", "first", "s_shape"), PLACES)
def test_every_place_of_s(shape, axis, num_axes, first, s_shape, bias_term, channels_last):
    net = scale_net(shape, axis=axis, num_axes=num_axes, bias_term=bias_term, channels_last=channels_last)
    assert [blob.shape for blob in net.params["scale"]] == [s_shape] * (1 + bias_term)
    check_against_loops(net, first)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("bias_term", [False, True])
@pytest.mark.parametrize(("shape", "axis", "num_axes", "first", "s_shape"), PLACES)
def test_s_as_a_bottom(shape, axis, num_axes, first, s_shape, bias_term, channels_last):
    net = scale_net(shape, s_shape, axis=axis, bias_term=bias_term, channels_last=channels_last)
    assert [blob.shape for blob in net.params.get("scale", [])] == [s_shape] * bias_term
    check_against_loops(net, first)


def test_num_axes_is_ignored_with_two_bottoms():
    check_against_loops(scale_net((2, 3, 4), (3, 4), num_axes=1), 1)
    check_against_loops(scale_net((2, 3, 4), (3,), num_axes=0), 1)


def test_the_layout_of_the_bottom_is_kept_for_a_factor_of_each_channel():
    assert scale_net((2, 3, 4, 5), channels_last=True).blobs["y"].channels_last
    assert not scale_net((2, 3, 4, 5)).blobs["y"].channels_last


@pytest.mark.parametrize("value", [1000, -1000, 0])
def test_extreme_values(value):
    net = scale_net((2, 3), bias_term=True, filler=1000, bias_filler=-1000, dtype="float32")
    np.testing.assert_array_equal(net.forward(x=np.full((2, 3), value))["y"], 1000 * value - 1000)


LARGE = [((27, 24, 30, 31), False), ((19, 24, 30, 31), True), ((17003, 24), False), ((1501, 40, 3, 2), False)]


@pytest.mark.parametrize("two", [False, True])
@pytest.mark.parametrize(("shape", "channels_last"), LARGE, ids=str)
def test_the_same_bits_with_any_number_of_threads(shape, channels_last, two):
    rng = np.random.default_rng(6)
    C = shape[1]
    x, dy = (1 + rng.standard_normal(shape, np.float32) for _ in range(2))
    s, b = rng.standard_normal((2, C)).astype(np.float32)
    before, runs = parallel.threads(), []
    try:
        for count in (1, 2, 3):
            parallel.use_threads(count)
            net = scale_net(shape, (C,) if two else None, dtype="float32", channels_last=channels_last, bias_term=True)
            net.blobs["x"].data[...] = x
            factor = net.blobs["s"] if two else net.params["scale"][0]
            factor.data[...] = s
            net.params["scale"][-1].data[...] = b
            y = net.forward()["y"].copy()
            net.backward(y=dy)
            runs.append([y, net.blobs["x"].diff.copy(), factor.diff.copy(), net.params["scale"][-1].diff.copy()])
    finally:
        parallel.use_threads(before)
    assert net.layers["scale"].channels.blocks > 2
    for other in runs[1:]:
        for mine, theirs in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    wide, axes = (C, *[1] * (len(shape) - 2)), (0, *range(2, len(shape)))
    np.testing.assert_allclose(runs[0][0], x * s.reshape(wide) + b.reshape(wide), rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(runs[0][1], dy * s.reshape(wide), rtol=1e-6)
    np.testing.assert_allclose(runs[0][2], (dy.astype(float) * x).sum(axes), rtol=1e-6)
    np.testing.assert_allclose(runs[0][3], dy.astype(float).sum(axes), rtol=1e-6)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 7, 9), (2, 3, 0, 4), (2, 0, 3, 3)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_blobs_without_elements(shape, channels_last):
    net = scale_net(shape, bias_term=True, channels_last=channels_last)
    assert net.forward()["y"].shape == shape
    assert net.backward()["x"].shape == shape
    assert [blob.diff.any() for blob in net.params["scale"]] == [False, False]


def test_batches_of_another_size():
    net = scale_net((2, 3, 4, 4), bias_term=True)
    for shape in ((5, 3, 4, 4), (1, 3, 9, 7), (0, 3, 2, 2), (2, 3, 4, 4)):
        net.blobs["x"].reshape(shape)
        net.reshape()
        check_against_loops(net, 1)


def test_a_factor_that_follows_the_batch():
    net = scale_net((2, 3, 4), (2, 3), axis=0)
    net.blobs["x"].reshape((5, 3, 4))
    net.blobs["s"].reshape((5, 3))
    net.reshape()
    check_against_loops(net, 0)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("learns", [False, True])
@pytest.mark.parametrize("bottoms", [["h"], ["h", "s"], ["h", "h"]], ids=str)
def test_a_top_named_like_the_bottom(bottoms, learns, phase):
    results, shared = [], []
    for top in ("y", "h"):
        layers = [
            {"name": "x", "type": "Input", "top": ["x", "s"], "shape": [[4, 3], [4, 3]]},
            {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 3, "top": "h"},
            {"name": "scale", "type": "Scale", "bottom": bottoms, "top": top, "bias_term": True}
            | ({"axis": 0} if len(bottoms) == 2 else {}),
        ]
        if not learns:
            layers[1]["param"] = [{"lr_mult": 0}] * 2
            layers[2]["param"] = [{"lr_mult": 0}] * (3 - len(bottoms))
        net = nettrain.Net({"force_backward": learns, "layers": layers}, phase=phase, dtype="float64")
        rng = np.random.default_rng(3)
        for blob in net.params["scale"]:
            blob.data[...] = rng.standard_normal(blob.shape)
        x, s, dy = rng.standard_normal((3, 4, 3))
        results.append([net.forward(x=x, s=s)[top].copy()])
        if learns:
            net.backward(**{top: dy})
            results[-1] += [net.blobs["x"].diff, *(blob.diff for name in ("ip", "scale") for blob in net.params[name])]
        shared.append(net.steps[2].top[0].shares_data_with(net.steps[2].bottom[0]))
    for apart, together in zip(*results, strict=True):
        np.testing.assert_array_equal(apart, together)
    assert shared == [False, not learns and bottoms != ["h", "h"]]


def test_a_top_named_like_the_factor():
    layers = [
        {"name": "in", "type": "Input", "top": ["x", "t"], "shape": [[2, 3, 4], [2, 3]]},
        {"name": "relu", "type": "ReLU", "bottom": "t", "top": "s"},
        {"name": "scale", "type": "Scale", "bottom": ["x", "s"], "top": "s", "axis": 0},
    ]
    net = nettrain.Net({"layers": layers}, phase="TEST", dtype="float64")
    x = np.arange(24.0).reshape(2, 3, 4)
    s = np.arange(1, 7.0).reshape(2, 3)
    np.testing.assert_array_equal(net.forward(x=x, t=s)["s"], x * s[:, :, None])


# What it refuses.


@pytest.mark.parametrize(
    ("shape", "s_shape", "params", "words"),
    [
        ((2, 3), None, {"axis": 2}, "axis 2 of 2 x 3: there are axes -2 to 1"),
        ((2, 3, 4), None, {"num_axes": 3}, "2 x 3 x 4 has 2 axes from axis 1 on, s cannot have 3"),
        ((2, 3, 4), None, {"num_axes": -2}, "num_axes must be an integer >= -1"),
        ((2, 3, 4), (4,), {}, "s has the shape 4, which is not that of 2 x 3 x 4 from axis 1 on"),
        ((2, 3), (3, 1), {}, "s has the shape 3 x 1, which is not that of 2 x 3 from axis 1 on"),
    ],
)
def test_what_does_not_fit_is_said(shape, s_shape, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        scale_net(shape, s_shape, **params)


def test_other_shapes_after_the_first_batch():
    with pytest.raises(nettrain.ShapeError, match="s has the shape 3, which is not that of 2 x 4 from axis 1 on"):
        scale_net((2, 3)).forward(x=np.zeros((2, 4)))
    net = scale_net((2, 3), (2,), axis=0, bias_term=True)
    with pytest.raises(nettrain.ShapeError, match="b has 2 values, got a second bottom of 4"):
        net.forward(x=np.zeros((4, 3)), s=np.zeros(4))
