"""Convolution: known values, loops over every output in odd geometries, chunks of examples, and what it refuses."""

import itertools

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.layers.vision import windows


def conv_net(shape, bottoms=1, **params):
    return layer_net("Convolution", *[shape] * bottoms, name="conv", top=[f"y{i}" for i in range(bottoms)], **params)


def slow_convolution(x, W, b, dy, stride, pad, dilation):
    """One output and one kernel element at a time: y, dx, dW and db for x of N x C x (spatial axes)."""
    M, channels, *kernel = W.shape
    inside = tuple(slice(p, p + size) for p, size in zip(pad, x.shape[2:], strict=True))
    x = np.pad(x, [(0, 0), (0, 0), *((p, p) for p in pad)])
    y, dx, dW = np.zeros(dy.shape), np.zeros(x.shape), np.zeros(W.shape)
    for n, m, *o in np.ndindex(y.shape):
        first = m // (M * channels // x.shape[1]) * channels
        y[n, m, *o] = b[m]
        for k in np.ndindex(*kernel):
            place = [i * s + j * d for i, s, j, d in zip(o, stride, k, dilation, strict=True)]
            window = (n, slice(first, first + channels), *place)
            weights = (m, slice(None), *k)
            y[n, m, *o] += x[window] @ W[weights]
            dx[window] += dy[n, m, *o] * W[weights]
            dW[weights] += dy[n, m, *o] * x[window]
    return y, dx[:, :, *inside], dW, dy.sum(axis=(0, *range(2, dy.ndim)))


def check_against_loops(net, stride, pad, dilation):
    """Forward and backward of a net of one convolution, on random numbers, from diffs that are not zero."""
    rng, blobs = np.random.default_rng(3), net.layers["conv"].blobs
    for blob in blobs:
        blob.data[...] = rng.standard_normal(blob.shape)
        blob.diff[...] = rng.standard_normal(blob.shape)
    before = [blob.diff.copy() for blob in blobs]
    xs = {name: rng.standard_normal(net.blobs[name].shape) for name in net.inputs}
    dys = {name: rng.standard_normal(net.blobs[name].shape) for name in net.outputs}
    ys = net.forward(**xs)
    dxs = net.backward(**dys)

    W, b = blobs[0].data, blobs[1].data if len(blobs) > 1 else np.zeros(len(blobs[0].data))
    dW_sum, db_sum = 0, 0
    for x, dy, y, dx in zip(xs.values(), dys.values(), ys.values(), dxs.values(), strict=True):
        expected_y, expected_dx, dW, db = slow_convolution(x, W, b, dy, stride, pad, dilation)
        np.testing.assert_allclose(y, expected_y, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-12)
        dW_sum, db_sum = dW_sum + dW, db_sum + db
    for blob, start, added in zip(blobs, before, (dW_sum, db_sum), strict=False):
        np.testing.assert_allclose(blob.diff, start + added, rtol=1e-10, atol=1e-12)


def test_a_window_slides_over_a_row():
    net = conv_net((1, 1, 5), num_output=1, kernel_size=3)
    net.params["conv"][0].data[...] = [[[1, 2, 4]]]
    net.params["conv"][1].data[...] = 10
    y = net.forward(x0=[[[1, 0, 0, 1, 1]]])["y0"]
    # cross-correlation: the kernel is not flipped
    np.testing.assert_array_equal(y, [[[10 + 1, 10 + 4, 10 + 2 + 4]]])


def test_a_window_slides_over_an_image():
    net = conv_net((1, 1, 3, 3), num_output=1, kernel_size=2, bias_term=False)
    net.params["conv"][0].data[...] = [[[[1, 10], [100, 1000]]]]
    y = net.forward(x0=[[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]])["y0"]
    np.testing.assert_array_equal(y, [[[[5421, 6532], [8754, 9865]]]])


def test_stride_dilation_and_padding_of_a_row():
    net = conv_net((1, 1, 4), num_output=1, kernel_size=2, stride=2, dilation=3, pad=1, bias_term=False)
    net.params["conv"][0].data[...] = [[[1, 10]]]
    y = net.forward(x0=[[[1, 2, 3, 4]]])["y0"]
    np.testing.assert_array_equal(y, [[[30, 2]]])  # 0 1 2 3 4 0: elements 0 and 3, then 2 and 5


def test_groups_do_not_see_each_other():
    net = conv_net((1, 4, 1), num_output=2, kernel_size=1, group=2, bias_term=False)
    net.params["conv"][0].data[...] = [[[1], [10]], [[1], [10]]]
    y = net.forward(x0=[[[1], [2], [3], [4]]])["y0"]
    np.testing.assert_array_equal(y, [[[21], [43]]])


def test_first_values_are_xavier_and_zero():
    net = conv_net((1, 6, 9, 9), num_output=8, kernel_size=3, group=2)
    W, b = (blob.data for blob in net.params["conv"])
    assert W.shape == (8, 3, 3, 3)
    limit = np.sqrt(3 / 27)  # fan_in = channels of a group times kernel
    assert 0.9 * limit < np.abs(W).max() <= limit
    np.testing.assert_array_equal(b, np.zeros(8))


# shape, the layer's parameters, and the stride, padding and dilation that they mean
GEOMETRIES = {
    "defaults": ((2, 3, 5, 4), {"kernel_size": 3}, (1, 1), (0, 0), (1, 1)),
    "batch of one": ((1, 3, 5, 4), {"kernel_size": 3, "pad": 1}, (1, 1), (1, 1), (1, 1)),
    "kernel as large as the image": ((2, 2, 3, 4), {"kernel_size": [3, 4]}, (1, 1), (0, 0), (1, 1)),
    "kernel as large as the padded image": ((2, 2, 3, 2), {"kernel_size": [5, 4], "pad": 1}, (1, 1), (1, 1), (1, 1)),
    "stride larger than kernel": ((2, 2, 9, 8), {"kernel_size": 2, "stride": [4, 3]}, (4, 3), (0, 0), (1, 1)),
    "stride that leaves a rest": ((2, 2, 8, 9), {"kernel_size": 3, "stride": 3}, (3, 3), (0, 0), (1, 1)),
    "pad larger than kernel": ((2, 2, 2, 3), {"kernel_size": 2, "pad": [3, 2]}, (1, 1), (3, 2), (1, 1)),
    "different dilations": ((2, 2, 7, 8), {"kernel_size": [3, 2], "dilation": [3, 5]}, (1, 1), (0, 0), (3, 5)),
    "everything at once": (
        (2, 4, 7, 9),
        {"kernel_size": [2, 3], "stride": [2, 3], "pad": [1, 2], "dilation": [3, 2], "group": 2},
        (2, 3),
        (1, 2),
        (3, 2),
    ),
    "a group for each channel": ((2, 3, 4, 5), {"kernel_size": 2, "group": 3, "num_output": 3}, (1, 1), (0, 0), (1, 1)),
    "two outputs for each channel": (
        (2, 3, 4, 5),
        {"kernel_size": 2, "group": 3, "num_output": 6},
        (1, 1),
        (0, 0),
        (1, 1),
    ),
    "kernel_h and kernel_w": ((2, 2, 5, 6), {"kernel_h": 4, "kernel_w": 1}, (1, 1), (0, 0), (1, 1)),
    "stride_h and stride_w": (
        (2, 2, 7, 8),
        {"kernel_size": 2, "stride_h": 1, "stride_w": 3, "pad": 2},
        (1, 3),
        (2, 2),
        (1, 1),
    ),
    "kernel_h of 1": ((2, 2, 3, 4), {"kernel_h": 1, "kernel_w": 3}, (1, 1), (0, 0), (1, 1)),
    "stride_w of 1": ((2, 2, 7, 4), {"kernel_size": 1, "stride_h": 3, "stride_w": 1}, (3, 1), (0, 0), (1, 1)),
    "pad_w of 0": ((2, 2, 3, 4), {"kernel_size": 2, "pad_h": 1, "pad_w": 0}, (1, 1), (1, 0), (1, 1)),
    "pad_h of 0": ((2, 2, 3, 4), {"kernel_size": 2, "pad_h": 0, "pad_w": 1}, (1, 1), (0, 1), (1, 1)),
    "pad_h and pad_w": ((2, 2, 3, 4), {"kernel_size": 2, "pad_h": 2, "pad_w": 1}, (1, 1), (2, 1), (1, 1)),
    "pad_h alone": ((2, 2, 3, 4), {"kernel_size": 2, "pad_h": 2}, (1, 1), (2, 0), (1, 1)),
    "pad_w alone": ((2, 2, 3, 4), {"kernel_size": 2, "pad_w": 2}, (1, 1), (0, 2), (1, 1)),
    "lists of one": ((2, 2, 6, 7), {"kernel_size": [2], "stride": [2], "pad": [1]}, (2, 2), (1, 1), (1, 1)),
    "without bias": ((2, 3, 5, 4), {"kernel_size": 3, "bias_term": False}, (1, 1), (0, 0), (1, 1)),
    "one output": ((2, 3, 5, 4), {"kernel_size": 2, "num_output": 1, "group": 1}, (1, 1), (0, 0), (1, 1)),
    "no spatial axis": ((3, 4), {"kernel_size": 1}, (), (), ()),
    "1-D": ((3, 4, 9), {"kernel_size": 3, "stride": 2, "pad": 2, "dilation": 2, "group": 2}, (2,), (2,), (2,)),
    "3-D": (
        (2, 2, 3, 5, 4),
        {"kernel_size": [2, 3, 1], "stride": [1, 2, 3], "pad": [1, 0, 1], "dilation": [2, 1, 1]},
        (1, 2, 3),
        (1, 0, 1),
        (2, 1, 1),
    ),
}


@pytest.mark.parametrize(("shape", "params", "stride", "pad", "dilation"), GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometry(shape, params, stride, pad, dilation):
    check_against_loops(conv_net(shape, **({"num_output": 4} | params)), stride, pad, dilation)


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "dilation"), list(itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)))
)
def test_every_small_geometry(kernel, stride, pad, dilation):
    params = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation}
    check_against_loops(
        conv_net((2, 2, 6, 5), num_output=2, **params), *((size, size) for size in (stride, pad, dilation))
    )


@pytest.mark.parametrize("bottoms", [2, 3])
def test_several_bottoms_share_the_weights(bottoms):
    net = conv_net((2, 2, 4, 5), bottoms, num_output=3, kernel_size=2, stride=2, pad=1)
    assert [blob.shape for blob in net.params["conv"]] == [(3, 2, 2, 2), (3,)]
    check_against_loops(net, (2, 2), (1, 1), (1, 1))


@pytest.mark.parametrize(("axis", "shape"), [(0, (3, 5, 4)), (2, (2, 3, 2, 5, 4)), (-1, (4, 3)), (-3, (2, 3, 5, 4))])
def test_axes_before_the_channels_are_examples(axis, shape):
    spatial = len(shape[axis:]) - 1
    net = conv_net(shape, num_output=2, kernel_size=2 if spatial else 1, axis=axis)
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    W, b = (blob.data for blob in net.params["conv"])
    b[...] = [1, 2]
    y = net.forward(x0=x)["y0"]
    lead = shape[:axis]
    outputs = [size - 1 for size in shape[len(lead) + 1 :]]
    assert y.shape == (*lead, 2, *outputs)
    flat = x.reshape(-1, *shape[axis:])
    dy = np.zeros((len(flat), 2, *outputs))
    expected, *_ = slow_convolution(flat, W, b, dy, (1,) * spatial, (0,) * spatial, (1,) * spatial)
    np.testing.assert_allclose(y, expected.reshape(y.shape), rtol=1e-10, atol=1e-12)


# How the work is cut must not show: one example at a time, bands of rows, the rows of a kernel as products of their
# own, images with channels first or last.
@pytest.fixture(params=["as it comes", "single examples", "bands of rows", "products of rows", "bands and products"])
def cut(request, monkeypatch):
    if request.param != "as it comes":
        monkeypatch.setattr(windows, "CHUNK_BYTES", 1)
        monkeypatch.setattr(windows, "ROWS_OF_PRODUCT", 1 if "bands" in request.param else 10**6)
    if "products" in request.param:
        monkeypatch.setattr(windows, "SHORTEST_PRODUCT", 1)
    return request.param


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(
    ("shape", "params"),
    [
        ((5, 2, 7, 6), {"num_output": 4, "kernel_size": 3}),
        ((3, 4, 6, 7), {"num_output": 6, "kernel_size": 3, "pad": 1, "group": 2}),
        ((5, 2, 9, 4), {"num_output": 3, "kernel_size": 3, "stride": 2, "pad": 1}),
        ((2, 2, 9, 8), {"num_output": 2, "kernel_size": [3, 2], "dilation": [2, 3], "pad": [3, 1]}),
        ((2, 3, 8, 5), {"num_output": 2, "kernel_h": 4, "kernel_w": 1, "stride_h": 1, "stride_w": 2, "pad_h": 3}),
        ((3, 2, 1, 1), {"num_output": 3, "kernel_size": 3, "pad": 1}),
        ((20, 3, 4, 4), {"num_output": 2, "kernel_size": 1}),
        ((3, 4, 5, 4), {"num_output": 6, "kernel_size": 1, "group": 2}),
        ((3, 2, 5, 4), {"num_output": 2, "kernel_size": 1, "stride": 2, "pad": 1}),
        ((3, 2, 4, 1), {"num_output": 2, "kernel_size": 1}),
        ((2, 2, 9), {"num_output": 3, "kernel_size": 3, "pad": 1}),
        ((2, 2, 4, 5, 3), {"num_output": 2, "kernel_size": 2, "pad": [1, 0, 1]}),
    ],
    ids=lambda value: str(value).replace(" ", ""),
)
def test_every_way_to_cut_the_work_gives_the_same(cut, shape, params, channels_last):
    net = conv_net(shape, 2, **params)
    for name in ("x0", "x1"):
        net.blobs[name].reshape(shape, channels_last=channels_last)
    net.reshape()
    layer = net.layers["conv"]
    assert {w.channels_last for w in layer.windows} == {channels_last and len(shape) > 2}
    check_against_loops(net, layer.stride, layer.pad, layer.dilation)
    check_against_loops(net, layer.stride, layer.pad, layer.dilation)  # once more, with what was prepared


def test_weights_shared_with_a_blob_of_another_shape():
    shared = [{"name": "W", "share_mode": "PERMISSIVE"}]
    conv = {"type": "Convolution", "bottom": "x", "bias_term": False, "param": shared}
    layers = [
        {"name": "x", "type": "Input", "shape": [1, 2, 4, 5]},
        conv | {"name": "a", "num_output": 4, "kernel_size": [1, 3]},
        {"name": "fc", "type": "InnerProduct", "bottom": "x", "num_output": 4, "axis": 3, "bias_term": False},
        conv | {"name": "b", "num_output": 2, "kernel_size": [2, 3]},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
    a, b = net.params["a"][0], net.params["b"][0]
    assert a.shape == (4, 2, 1, 3)
    assert b.shape == (2, 2, 2, 3)
    np.testing.assert_array_equal(a.data.reshape(-1), b.data.reshape(-1))  # the same numbers in the order of the axes


@pytest.mark.parametrize("size", [64, 100])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("group", [1, 0])  # 0: a group for each channel
def test_a_pad_beyond_the_image_adds_the_bias_around(size, channels, group):
    rng, shape = np.random.default_rng(0), (2, channels, size, size)
    params = {"num_output": 3, "kernel_size": 3, "group": group or channels}
    wide, narrow = conv_net(shape, pad=100, **params), conv_net(shape, pad=2, **params)
    x, dy = rng.integers(-9, 10, shape), rng.integers(-9, 10, wide.blobs["y0"].shape)
    W, b = (rng.integers(-9, 10, blob.shape) for blob in wide.params["conv"])
    middle = (..., slice(98, -98), slice(98, -98))
    for net, it in ((wide, ...), (narrow, middle)):
        net.params["conv"][0].data[...], net.params["conv"][1].data[...] = W, b
        net.forward(x0=x)
        net.backward(y0=dy[it])
    y, inside = wide.blobs["y0"].data, narrow.blobs["y0"].data
    np.testing.assert_array_equal(y[middle], inside)
    y[middle] = b[:, None, None]
    np.testing.assert_array_equal(y, np.broadcast_to(b[:, None, None], y.shape))
    np.testing.assert_array_equal(wide.blobs["x0"].diff, narrow.blobs["x0"].diff)
    np.testing.assert_array_equal(wide.params["conv"][0].diff, narrow.params["conv"][0].diff)
    np.testing.assert_array_equal(wide.params["conv"][1].diff, dy.sum(axis=(0, 2, 3)))


def test_images_of_another_size_go_through_the_same_weights():
    net = conv_net((3, 2, 6, 7), num_output=3, kernel_size=3, stride=2, pad=1)
    for shape in ((5, 2, 9, 4), (1, 2, 3, 3), (3, 2, 6, 7)):
        net.blobs["x0"].reshape(shape)
        net.reshape()
        check_against_loops(net, (2, 2), (1, 1), (1, 1))


def test_no_examples():
    net = conv_net((0, 2, 4, 5), num_output=3, kernel_size=2)
    assert net.forward()["y0"].shape == (0, 3, 3, 4)
    net.backward()
    for blob in net.params["conv"]:
        np.testing.assert_array_equal(blob.diff, np.zeros(blob.shape))


@pytest.mark.parametrize("group", [1, 2])
def test_an_image_without_pixels_is_all_padding(group):
    net = conv_net((2, 2, 0, 3), num_output=2, kernel_size=2, pad=2, group=group)
    net.params["conv"][1].data[...] = [7, -1000]
    y = net.forward()["y0"]
    np.testing.assert_array_equal(y, np.broadcast_to([[[7]], [[-1000]]], (2, 2, 3, 6)))
    net.backward(y0=np.ones(y.shape))
    np.testing.assert_array_equal(net.params["conv"][0].diff, np.zeros((2, 2 // group, 2, 2)))
    np.testing.assert_array_equal(net.params["conv"][1].diff, [36, 36])


def test_an_image_of_zeros_gives_the_bias():
    net = conv_net((2, 1, 3, 3), num_output=2, kernel_size=2)
    net.params["conv"][1].data[...] = [7, -1000]
    y = net.forward(x0=np.zeros((2, 1, 3, 3)))["y0"]
    np.testing.assert_array_equal(y, np.broadcast_to([[[7]], [[-1000]]], (2, 2, 2, 2)))


SPECS = {
    "no kernel": ((1, 2, 4, 4), {}, "needs `kernel_size`, or `kernel_h` and `kernel_w`"),
    "no num_output": ((1, 2, 4, 4), {"kernel_size": 1, "num_output": None}, "num_output must be an integer >= 1"),
    "kernel 0": ((1, 2, 4, 4), {"kernel_size": 0}, "kernel_size must be an integer >= 1"),
    "stride 0": ((1, 2, 4, 4), {"kernel_size": 1, "stride": 0}, "stride must be an integer >= 1"),
    "negative pad": ((1, 2, 4, 4), {"kernel_size": 1, "pad": -1}, "pad must be an integer >= 0"),
    "two forms of kernel": (
        (1, 2, 4, 4),
        {"kernel_size": 2, "kernel_h": 2, "kernel_w": 2},
        "combined with `kernel_size`",
    ),
    "two forms of stride": ((1, 2, 4, 4), {"kernel_size": 2, "stride": 2, "stride_h": 2, "stride_w": 2}, "`stride`"),
    "two forms of pad": ((1, 2, 4, 4), {"kernel_size": 2, "pad": 1, "pad_h": 1}, "combined with `pad`"),
    "kernel_h alone": ((1, 2, 4, 4), {"kernel_h": 2}, "kernel_h needs `kernel_w` too"),
    "stride_w alone": (
        (1, 2, 4, 4),
        {"kernel_size": 2, "stride_w": 2},
        "stride_w needs `stride_h` too",
    ),
    "kernel_h in 1-D": ((1, 2, 4), {"kernel_h": 2, "kernel_w": 2}, "need 2 spatial axes, the bottom has 1"),
    "three kernels in 2-D": ((1, 2, 4, 4), {"kernel_size": [1, 2, 3]}, "has 3 numbers, the bottom has 2 spatial axes"),
    "outputs by group": (
        (1, 2, 4, 4),
        {"kernel_size": 1, "group": 2, "num_output": 3},
        "divisible by group, got 3 and",
    ),
    "channels by group": (
        (1, 3, 4, 4),
        {"kernel_size": 1, "group": 2},
        "3 input channels are not divisible by group 2",
    ),
    "kernel too large": ((1, 2, 3, 9), {"kernel_size": 4}, "kernel 4 does not fit into 3"),
    "kernel too large for the padding": (
        (1, 2, 3, 9),
        {"kernel_size": 6, "pad": 1},
        r"kernel 6 does not fit into 3 \+ 2 x 1 = 5",
    ),
    "overhang below a stride": ((1, 2, 2, 2), {"kernel_size": 3, "stride": 2}, "kernel 3 does not fit into 2"),
    "dilation too large": (
        (1, 2, 4, 9),
        {"kernel_size": 3, "dilation": 2},
        r"kernel 3 \(extent 5 with dilation 2\) does not fit into 4",
    ),
    "no such axis": ((1, 2, 4, 4), {"kernel_size": 1, "axis": 4}, "axis 4 of 1 x 2 x 4 x 4"),
}


@pytest.mark.parametrize(("shape", "params", "words"), SPECS.values(), ids=SPECS)
def test_what_does_not_fit_is_said(shape, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        conv_net(shape, **({"num_output": 4} | params))


@pytest.mark.parametrize(
    ("size", "params", "kernel", "pad"), [(3, {"kernel_size": 6}, 3, 2), (6, {"kernel_size": 4, "dilation": 3}, 2, 2)]
)
def test_the_advice_for_a_large_kernel_works(size, params, kernel, pad):
    with pytest.raises(nettrain.SpecError, match=f"use kernel_size <= {kernel}, or pad: {pad}"):
        conv_net((1, 1, size), num_output=1, **params)
    conv_net((1, 1, size), num_output=1, **(params | {"kernel_size": kernel}))
    conv_net((1, 1, size), num_output=1, **(params | {"pad": pad}))


def test_bottoms_of_different_shapes():
    layers = [{"name": n, "type": "Input", "shape": [1, 2, size]} for n, size in (("a", 4), ("b", 5))]
    conv = {"name": "conv", "type": "Convolution", "bottom": ["a", "b"], "top": ["c", "d"], "num_output": 1}
    with pytest.raises(nettrain.SpecError, match="every bottom must have the same shape"):
        nettrain.Net({"layers": [*layers, conv | {"kernel_size": 1}]})


def test_other_channels_after_the_first_batch():
    net = conv_net((1, 2, 4, 4), num_output=1, kernel_size=1)
    with pytest.raises(nettrain.ShapeError, match="the weights take 2 channels, 1 x 3 x 4 x 4 has 3"):
        net.forward(x0=np.zeros((1, 3, 4, 4)))


def test_a_kernel_that_no_longer_fits():
    net = conv_net((1, 2, 4, 4), num_output=1, kernel_size=3)
    with pytest.raises(nettrain.ShapeError, match="kernel 3 does not fit into 2"):
        net.forward(x0=np.zeros((1, 2, 4, 2)))


@pytest.mark.parametrize("shape", [(2, 2, 4), (2, 2, 4, 4, 4), (2,)])
def test_other_axes_after_the_first_batch(shape):
    net = conv_net((2, 2, 4, 4), num_output=1, kernel_size=1)
    with pytest.raises(nettrain.ShapeError, match="2 spatial axes, 2"):
        net.forward(x0=np.zeros(shape))


def test_no_channels():
    with pytest.raises(nettrain.SpecError, match="axis 1 of 2 x 0 x 4 x 4 has no channels"):
        conv_net((2, 0, 4, 4), num_output=1, kernel_size=1)
