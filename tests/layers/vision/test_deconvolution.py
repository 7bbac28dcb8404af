"""Deconvolution: known values, loops over every input and kernel element, the gradient of Convolution, upsampling."""

import itertools

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.layers.vision import windows


def deconv_net(shape, bottoms=1, type="Deconvolution", **params):
    return layer_net(type, *[shape] * bottoms, name="it", top=[f"y{i}" for i in range(bottoms)], **params)


def slow(x, W, b, dy, group, stride, pad, dilation):
    """One input and one kernel element at a time: y, dx, dW and db for x of N x C x (spatial axes)."""
    C, Mg, *kernel = W.shape
    y = np.zeros((*dy.shape[:2], *(size + 2 * p for size, p in zip(dy.shape[2:], pad, strict=True))))
    inside = (..., *(slice(p, p + size) for size, p in zip(dy.shape[2:], pad, strict=True)))
    padded, dx, dW = np.zeros(y.shape), np.zeros(x.shape), np.zeros(W.shape)
    padded[inside] = dy
    for n, c, *i in np.ndindex(x.shape):
        first = c // (C // group) * Mg
        for k in np.ndindex(*kernel):
            place = [at * s + j * d for at, s, j, d in zip(i, stride, k, dilation, strict=True)]
            out, weights = (n, slice(first, first + Mg), *place), (c, slice(None), *k)
            y[out] += x[n, c, *i] * W[weights]
            dx[n, c, *i] += padded[out] @ W[weights]
            dW[weights] += x[n, c, *i] * padded[out]
    return y[inside] + b.reshape(-1, *[1] * len(kernel)), dx, dW, dy.sum(axis=(0, *range(2, dy.ndim)))


def check_against_loops(net, group, stride, pad, dilation):
    """Forward and backward on random numbers, from diffs that are not zero."""
    rng, blobs = np.random.default_rng(3), net.layers["it"].blobs
    for blob in blobs:
        blob.data[...] = rng.standard_normal(blob.shape)
        blob.diff[...] = rng.standard_normal(blob.shape)
    before = [blob.diff.copy() for blob in blobs]
    xs = {name: rng.standard_normal(net.blobs[name].shape) for name in net.inputs}
    dys = {name: rng.standard_normal(net.blobs[name].shape) for name in net.outputs}
    ys, dxs = net.forward(**xs), net.backward(**dys)
    W = blobs[0].data
    b = blobs[1].data if len(blobs) > 1 else np.zeros(W.shape[1] * group)
    sums = [0, 0]
    for x, dy, y, dx in zip(xs.values(), dys.values(), ys.values(), dxs.values(), strict=True):
        expected_y, expected_dx, dW, db = slow(x, W, b, dy, group, stride, pad, dilation)
        np.testing.assert_allclose(y, expected_y, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-12)
        sums = [sums[0] + dW, sums[1] + db]
    for blob, start, added in zip(blobs, before, sums, strict=False):
        np.testing.assert_allclose(blob.diff, start + added, rtol=1e-10, atol=1e-12)


def test_each_element_stamps_the_kernel():
    net = deconv_net((1, 1, 3), num_output=1, kernel_size=3, stride=2)
    net.params["it"][0].data[...] = [[[1, 2, 4]]]
    net.params["it"][1].data[...] = 100
    y = net.forward(x0=[[[1, 10, 0]]])["y0"]
    np.testing.assert_array_equal(y, [[[101, 102, 104 + 10, 120, 140, 100, 100]]])


def test_padding_cuts_the_border_off():
    net = deconv_net((1, 1, 2), num_output=1, kernel_size=3, pad=1, bias_term=False)
    net.params["it"][0].data[...] = [[[1, 2, 4]]]
    np.testing.assert_array_equal(net.forward(x0=[[[1, 10]]])["y0"], [[[2 + 10, 4 + 20]]])


def test_dilation_spreads_the_kernel():
    net = deconv_net((1, 1, 1), num_output=1, kernel_size=2, dilation=3, bias_term=False)
    net.params["it"][0].data[...] = [[[5, 7]]]
    np.testing.assert_array_equal(net.forward(x0=[[[2]]])["y0"], [[[10, 0, 0, 14]]])


def test_groups_do_not_see_each_other():
    net = deconv_net((1, 4, 1), num_output=4, kernel_size=1, group=2, bias_term=False)
    W = net.params["it"][0]
    assert W.shape == (4, 2, 1)  # channels in, outputs of a group
    W.data[...] = np.array([[1, 2], [10, 20], [3, 4], [30, 40]]).reshape(4, 2, 1)
    y = net.forward(x0=[[[1], [1], [1], [0]]])["y0"]
    np.testing.assert_array_equal(y.ravel(), [11, 22, 3, 4])


@pytest.mark.parametrize("variance_norm", ["FAN_IN", "FAN_OUT"])
def test_fans_are_exchanged(variance_norm):
    filler = {"type": "xavier", "variance_norm": variance_norm}
    net = deconv_net((1, 40, 3, 3), num_output=8, kernel_size=3, group=2, weight_filler=filler)
    W = net.params["it"][0].data
    assert W.shape == (40, 4, 3, 3)
    limit = np.sqrt(3 / (40 * 9 if variance_norm == "FAN_IN" else 4 * 9))  # Caffe: count / d1 is the fan in here
    assert 0.98 * limit < np.abs(W).max() <= limit


SMALL = list(itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (1, 2)))


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize(("kernel", "stride", "pad", "dilation"), SMALL)
def test_every_small_geometry(kernel, stride, pad, dilation, group):
    params = {"kernel_size": kernel, "stride": stride, "pad": pad, "dilation": dilation, "group": group}
    net = deconv_net((2, 2, 4, 3), num_output=2, **params)
    assert net.blobs["y0"].shape[2] == stride * 3 + dilation * (kernel - 1) + 1 - 2 * pad
    check_against_loops(net, group, *((size, size) for size in (stride, pad, dilation)))


# shape, parameters, and the group, stride, padding and dilation that they mean
GEOMETRIES = {
    "batch of one": ((1, 3, 2, 3), {"kernel_size": 3}, 1, (1, 1), (0, 0), (1, 1)),
    "one pixel": ((2, 3, 1, 1), {"kernel_size": [4, 3], "stride": 5}, 1, (5, 5), (0, 0), (1, 1)),
    "kernel_h and the like": (
        (2, 2, 3, 2),
        {"kernel_h": 2, "kernel_w": 3, "stride_h": 3, "stride_w": 1, "pad_h": 1, "pad_w": 0},
        1,
        (3, 1),
        (1, 0),
        (1, 1),
    ),
    "everything at once": (
        (2, 4, 3, 2),
        {"kernel_size": [2, 3], "stride": [2, 3], "pad": [1, 2], "dilation": [3, 2], "group": 2},
        2,
        (2, 3),
        (1, 2),
        (3, 2),
    ),
    "one to many": ((2, 1, 3, 2), {"kernel_size": 2, "stride": 2}, 1, (2, 2), (0, 0), (1, 1)),
    "a group for each channel": (
        (2, 4, 3, 4),
        {"kernel_size": 4, "stride": 2, "pad": 1, "group": 4},
        4,
        (2, 2),
        (1, 1),
        (1, 1),
    ),
    "two outputs for each channel": ((2, 2, 3, 4), {"kernel_size": 3, "group": 2}, 2, (1, 1), (0, 0), (1, 1)),
    "half an output for each channel": ((2, 8, 3, 4), {"kernel_size": 3, "group": 4}, 4, (1, 1), (0, 0), (1, 1)),
    "without bias": ((2, 2, 3, 3), {"kernel_size": 2, "bias_term": False}, 1, (1, 1), (0, 0), (1, 1)),
    "no spatial axis": ((3, 4), {"kernel_size": 1}, 1, (), (), ()),
    "1-D": ((3, 4, 5), {"kernel_size": 3, "stride": 2, "pad": 2, "dilation": 2, "group": 2}, 2, (2,), (2,), (2,)),
    "3-D": (
        (2, 2, 2, 3, 2),
        {"kernel_size": [2, 3, 1], "stride": [1, 2, 3], "pad": [1, 0, 1], "dilation": [2, 1, 1]},
        1,
        (1, 2, 3),
        (1, 0, 1),
        (2, 1, 1),
    ),
}


@pytest.mark.parametrize(("shape", "params", "group", "stride", "pad", "dilation"), GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometry(shape, params, group, stride, pad, dilation):
    check_against_loops(deconv_net(shape, **({"num_output": 4} | params)), group, stride, pad, dilation)


@pytest.mark.parametrize("bottoms", [2, 3])
def test_several_bottoms_share_the_weights(bottoms):
    net = deconv_net((2, 2, 3, 2), bottoms, num_output=3, kernel_size=2, stride=2, pad=1)
    check_against_loops(net, 1, (2, 2), (1, 1), (1, 1))


@pytest.mark.parametrize(("stride", "group"), [(1, 1), (2, 1), (2, 2), (1, 4), (2, 4)])
@pytest.mark.parametrize("rows", [1, 10**6])
def test_bands_and_single_examples_give_the_same(stride, group, rows, monkeypatch):
    monkeypatch.setattr(windows, "CHUNK_BYTES", 1)
    monkeypatch.setattr(windows, "ROWS_OF_PRODUCT", rows)
    monkeypatch.setattr(windows, "SHORTEST_PRODUCT", 1)
    net = deconv_net((3, 4, 5, 4), num_output=4, kernel_size=3, stride=stride, pad=1, group=group)
    for _ in range(2):  # once more, with what was prepared
        check_against_loops(net, group, (stride,) * 2, (1, 1), (1, 1))


def test_it_is_the_gradient_of_a_convolution():
    params = {
        "kernel_size": [3, 2],
        "stride": [2, 1],
        "pad": [1, 0],
        "dilation": [1, 2],
        "group": 2,
        "bias_term": False,
    }
    conv = deconv_net((2, 4, 7, 6), type="Convolution", num_output=6, **params)
    back = deconv_net(conv.blobs["y0"].shape, num_output=4, **params)
    rng = np.random.default_rng(0)
    W = back.params["it"][0].data[...] = conv.params["it"][0].data
    assert W.shape == (6, 2, 3, 2)
    x, dy = rng.standard_normal((2, 4, 7, 6)), rng.standard_normal(conv.blobs["y0"].shape)
    conv.forward(x0=x)
    np.testing.assert_allclose(back.forward(x0=dy)["y0"], conv.backward(y0=dy)["x0"], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bilinear_upsampling_keeps_a_plane(factor):
    params = {"kernel_size": 2 * factor - factor % 2, "stride": factor, "pad": -(-(factor - 1) // 2)}
    net = deconv_net((1, 3, 6, 5), num_output=3, group=3, weight_filler="bilinear", bias_term=False, **params)
    h, w = np.ogrid[:6, :5]
    slopes = np.array([1.0, -2.0, 1000.0]).reshape(3, 1, 1)
    y = net.forward(x0=(slopes * (h + 2 * w))[None])["y0"]
    assert y.shape == (1, 3, 6 * factor, 5 * factor)
    i, j = ((np.arange(n * factor) + 0.5) / factor - 0.5 for n in (6, 5))  # centres of the new pixels in old ones
    plane = slopes * (i[:, None] + 2 * j)
    inner = (0, slice(None), slice(factor, -factor), slice(factor, -factor))
    np.testing.assert_allclose(y[inner], plane[inner[1:]], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("value", [1000, -1000, np.inf])
@pytest.mark.parametrize("group", [1, 2])
def test_extreme_values(value, group):
    net = deconv_net((1, 2, 1, 1), num_output=2, kernel_size=2, group=group)
    net.params["it"][0].data[...] = 1
    x = np.zeros((1, 2, 1, 1))
    x[0, 0] = value
    expected = np.zeros((1, 2, 2, 2))
    expected[:, : 2 // group] = value  # the other group sees nothing of it
    np.testing.assert_array_equal(net.forward(x0=x)["y0"], expected)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("group", [1, 4])
def test_batches_of_other_sizes_and_float32(stride, group):
    params = {"num_output": 4, "kernel_size": 4, "stride": stride, "group": group, "pad": 1}
    net, single = deconv_net((3, 4, 3, 4), **params), deconv_net((3, 4, 3, 4), dtype="float32", **params)
    rng = np.random.default_rng(0)
    for shape in ((5, 4, 2, 3), (1, 4, 3, 3), (0, 4, 3, 3), (3, 4, 6, 5)):
        net.blobs["x0"].reshape(shape)
        net.reshape()
        check_against_loops(net, group, (stride,) * 2, (1, 1), (1, 1))
        for mine, theirs in zip(single.params["it"], net.params["it"], strict=True):
            mine.data[...] = theirs.data
        x = rng.standard_normal(shape)
        y = single.forward(x0=x)["y0"]
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, net.forward(x0=x)["y0"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("axis", "shape"), [(0, (3, 4, 3)), (2, (2, 3, 2, 2, 3)), (-1, (4, 3)), (-3, (2, 3, 2, 3))])
def test_axes_before_the_channels_are_examples(axis, shape):
    spatial = len(shape[axis:]) - 1
    net = deconv_net(shape, num_output=2, kernel_size=2 if spatial else 1, axis=axis)
    rng = np.random.default_rng(0)
    x, (W, b) = rng.standard_normal(shape), net.params["it"]
    b.data[...] = [1, 2]
    y = net.forward(x0=x)["y0"]
    lead = shape[:axis]
    dy = rng.standard_normal(y.shape)
    flat, flat_dy = x.reshape(-1, *shape[axis:]), dy.reshape(-1, *y.shape[len(lead) :])
    ones, zeros = (1,) * spatial, (0,) * spatial
    expected_y, dx, dW, db = slow(flat, W.data, b.data, flat_dy, 1, ones, zeros, ones)
    np.testing.assert_allclose(y, expected_y.reshape(y.shape), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(net.backward(y0=dy)["x0"], dx.reshape(shape), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(W.diff, dW, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(b.diff, db, rtol=1e-10, atol=1e-12)


SPECS = {
    "pad too large": (
        (1, 2, 2, 9),
        {"kernel_size": 3, "stride": 2, "pad": 3},
        r"pad 3 leaves nothing: the output is 2 x \(2 - 1\) \+ 1 x \(3 - 1\) \+ 1 - 2 x 3 = -1",
    ),
    "pad that leaves 0": ((1, 2, 2, 9), {"kernel_size": 1, "pad": 1}, "- 2 x 1 = 0"),
    "channels by group": ((1, 3, 2, 2), {"kernel_size": 1, "group": 2}, "3 input channels are not divisible by group"),
    "outputs by group": ((1, 3, 2, 2), {"kernel_size": 1, "group": 3}, "must be divisible by group, got 4 and 3"),
    "no pixels": ((1, 3, 0, 2), {"kernel_size": 2}, "1 x 3 x 0 x 2 has no pixels"),
    "an absurd stride": ((1, 1, 9, 9), {"kernel_size": 1, "stride": 10**9}, r"larger than 2\^31 - 1"),
    "bilinear of a row": ((1, 4, 9), {"kernel_size": 3, "weight_filler": "bilinear"}, "needs a 4-D blob"),
}


@pytest.mark.parametrize(("shape", "params", "words"), SPECS.values(), ids=SPECS)
def test_what_does_not_fit_is_said(shape, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        deconv_net(shape, **({"num_output": 4} | params))


def test_the_advice_for_a_large_pad_works():
    with pytest.raises(nettrain.SpecError, match="use pad <= 2"):
        deconv_net((1, 1, 3), num_output=1, kernel_size=2, stride=2, pad=3)
    assert deconv_net((1, 1, 3), num_output=1, kernel_size=2, stride=2, pad=2).blobs["y0"].shape == (1, 1, 2)
