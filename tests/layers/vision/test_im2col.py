"""Im2col: known values, loops over every window, its product with weights is a convolution."""

import itertools
from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel

im2col_net = partial(layer_net, "Im2col", inputs="x")


def slow(x, dy, kernel, stride, pad, dilation):
    """One output at a time: y and dx for x of N x C x (spatial axes)."""
    y, dx, P = np.zeros(dy.shape), np.zeros(x.shape), int(np.prod(kernel))
    for n, row, *o in np.ndindex(dy.shape):
        k = np.unravel_index(row % P, kernel) if kernel else ()
        place = [i * s + j * d - p for i, s, j, d, p in zip(o, stride, k, dilation, pad, strict=True)]
        if all(0 <= i < size for i, size in zip(place, x.shape[2:], strict=True)):
            y[n, row, *o] = x[n, row // P, *place]
            dx[n, row // P, *place] += dy[n, row, *o]
    return y, dx


def check_against_loops(net, shape, kernel, stride, pad, dilation):
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape)
    y = net.forward(x=x)["y"]
    dy = rng.standard_normal(y.shape)
    expected_y, expected_dx = slow(x, dy, kernel, stride, pad, dilation)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_allclose(net.backward(y=dy)["x"], expected_dx, rtol=1e-12, atol=1e-14)


def test_known_columns():
    net = im2col_net((1, 1, 2, 3), kernel_size=2)
    y = net.forward(x=[[[[1, 2, 3], [4, 5, 6]]]])["y"]
    np.testing.assert_array_equal(y, np.reshape([[1, 2], [2, 3], [4, 5], [5, 6]], (1, 4, 1, 2)))
    dx = net.backward(y=np.reshape([[1, 10], [100, 1000], [0, 0], [0, 7]], (1, 4, 1, 2)))["x"]
    np.testing.assert_array_equal(dx, [[[[1, 110, 1000], [0, 0, 7]]]])


def test_the_border_is_zero():
    net = im2col_net((1, 2, 1), kernel_size=3, pad=1)
    np.testing.assert_array_equal(net.forward(x=[[[5], [7]]])["y"], np.reshape([0, 5, 0, 0, 7, 0], (1, 6, 1)))


@pytest.mark.parametrize(
    ("kernel", "stride", "pad", "dilation"), list(itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2), (1, 2)))
)
def test_every_small_geometry(kernel, stride, pad, dilation):
    net = im2col_net((2, 2, 6, 5), kernel_size=kernel, stride=stride, pad=pad, dilation=dilation)
    check_against_loops(net, (2, 2, 6, 5), *((size, size) for size in (kernel, stride, pad, dilation)))


@pytest.mark.parametrize(
    ("shape", "params", "kernel", "stride", "pad", "dilation"),
    [
        ((2, 3, 7), {"kernel_size": 3, "stride": 2, "pad": 1, "dilation": 2}, (3,), (2,), (1,), (2,)),
        ((2, 2, 3, 4, 3), {"kernel_size": [2, 3, 1], "pad": [0, 1, 2]}, (2, 3, 1), (1, 1, 1), (0, 1, 2), (1, 1, 1)),
        ((2, 2, 4, 5), {"kernel_h": 2, "kernel_w": 3, "stride_h": 1, "stride_w": 2}, (2, 3), (1, 2), (0, 0), (1, 1)),
        ((2, 2, 4, 5), {"kernel_size": [1, 2], "pad_w": 1}, (1, 2), (1, 1), (0, 1), (1, 1)),
        ((1, 1, 4, 5), {"kernel_size": [4, 5], "stride": 10**12}, (4, 5), (1, 1), (0, 0), (1, 1)),
        ((3, 4), {"kernel_size": 1}, (), (), (), ()),
    ],
)
def test_geometry(shape, params, kernel, stride, pad, dilation):
    check_against_loops(im2col_net(shape, **params), shape, kernel, stride, pad, dilation)


def test_random_geometries(monkeypatch):
    """Pads up to three times the image, strides beyond it, one to three axes, in tasks as it comes and one example
    at a time."""
    rng, done, whole = np.random.default_rng(0), 0, (parallel.BLOCK, parallel.TASK)
    while done < 150:
        axes = int(rng.integers(1, 4))
        sizes, kernel = rng.integers(1, [12, 6, 4][axes - 1], axes), rng.integers(1, 4, axes)
        stride = rng.integers(1, [[3], [3], [20]][rng.integers(3)], axes)
        dilation, pad = rng.choice([1, 1, 2, 3], axes), rng.integers(0, 3 * sizes + 1)
        sizes, *geometry = (tuple(map(int, numbers)) for numbers in (sizes, kernel, stride, pad, dilation))
        if any(d * (k - 1) >= size + 2 * p for size, k, _, p, d in zip(sizes, *geometry, strict=True)):
            continue
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 3)), *sizes)
        net = im2col_net(shape, **dict(zip(("kernel_size", "stride", "pad", "dilation"), geometry, strict=True)))
        if net.blobs["y"].count > 10000:
            continue
        for name, size in zip(("BLOCK", "TASK"), [whole, (1, 1)][rng.integers(2)], strict=True):
            monkeypatch.setattr(parallel, name, size)
        monkeypatch.setattr(parallel, "_wanted", int(rng.integers(1, 4)))
        try:
            check_against_loops(net, shape, *geometry)
        except Exception as error:
            raise AssertionError(f"{shape}, {geometry}: {error}") from error
        done += 1


@pytest.mark.parametrize("axis", [0, 2, -3])
def test_axes_before_the_channels_are_examples(axis):
    shape = (3, 4, 5) if axis == 0 else (2, 3, 2, 4, 5)
    net = im2col_net(shape, kernel_size=[2, 3], axis=axis)
    x = np.random.default_rng(0).standard_normal(shape)
    y = net.forward(x=x)["y"]
    C = shape[axis]
    assert y.shape == (*shape[:axis], 6 * C, 3, 3)
    flat = y.reshape(-1, 6 * C, 3, 3)
    expected, _ = slow(x.reshape(-1, *shape[axis:]), np.zeros(flat.shape), (2, 3), (1, 1), (0, 0), (1, 1))
    np.testing.assert_array_equal(flat, expected)


def test_weights_times_columns_are_a_convolution():
    params = {"kernel_size": 3, "stride": 2, "pad": 1}
    columns = im2col_net((2, 3, 6, 7), **params)
    conv = im2col_net((2, 3, 6, 7), type="Convolution", num_output=4, **params)
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 7))
    W = conv.params["y"][0].data.reshape(4, -1)
    y = np.einsum("mk,nkhw->nmhw", W, columns.forward(x=x)["y"])
    np.testing.assert_allclose(conv.forward(x=x)["y"], y, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("value", [1000, -1000, np.inf, np.nan])
def test_values_are_copied_as_they_are(value):
    y = im2col_net((1, 1, 1, 1), kernel_size=2, pad=1).forward(x=[[[[value]]]])["y"]
    expected = np.zeros((1, 4, 2, 2))
    expected[0, range(4), [1, 1, 0, 0], [1, 0, 1, 0]] = value
    np.testing.assert_array_equal(y, expected)


def test_batches_of_other_sizes_and_float32():
    net = im2col_net((3, 2, 4, 5), kernel_size=2, pad=1, dtype="float32")
    assert net.blobs["y"].data.dtype == np.float32
    net = im2col_net((3, 2, 4, 5), kernel_size=2, pad=1)
    for shape in ((5, 2, 6, 3), (0, 2, 4, 5), (1, 3, 2, 2), (3, 2, 4, 5)):
        check_against_loops(net, shape, (2, 2), (1, 1), (1, 1), (1, 1))


SPECS = {
    "kernel too large": ({"kernel_size": 4}, r"kernel 4 does not fit into 3"),
    "overhang below a stride": ({"kernel_size": 4, "stride": 3}, "kernel 4 does not fit into 3"),
    "no kernel": ({}, "needs `kernel_size`, or `kernel_h` and `kernel_w`"),
    "three kernels": ({"kernel_size": [1, 1, 1]}, "kernel_size has 3 numbers, the bottom has 2 spatial axes"),
    "no such axis": ({"kernel_size": 1, "axis": 4}, "axis 4 of 1 x 2 x 3 x 9"),
}


@pytest.mark.parametrize(("params", "words"), SPECS.values(), ids=SPECS)
def test_what_does_not_fit_is_said(params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        im2col_net((1, 2, 3, 9), **params)


def test_other_axes_after_the_first_batch():
    with pytest.raises(nettrain.ShapeError, match="the kernel has 2 spatial axes, 1 x 2 x 3 has a different number"):
        im2col_net((1, 2, 4, 4), kernel_size=1).forward(x=np.zeros((1, 2, 3)))
