"""Interp: known values, a plain formula of one pixel at a time, the sizes that factors give, and what it refuses."""

import nettrain
import numpy as np
import pytest
from helpers import layer_net


def interp(image, **params):
    x = np.array(image, float)[None, None]
    return layer_net("Interp", x.shape, inputs="x", **params).forward(x=x)["y"][0, 0]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"zoom_factor": 2}, [[0, 1, 2], [2, 3, 4], [4, 5, 6]]),
        ({"height": 2, "width": 4}, [[0, 2 / 3, 4 / 3, 2], [4, 14 / 3, 16 / 3, 6]]),
        ({"height": 1, "width": 1}, [[0]]),
        ({"height": 2, "width": 4, "align_corners": False}, [[0, 0.5, 1.5, 2], [4, 4.5, 5.5, 6]]),
        ({"height": 1, "width": 1, "align_corners": False}, [[3]]),
        ({"zoom_factor": 2, "align_corners": False, "mode": "nearest"}, np.repeat([[0, 0, 2, 2], [4, 4, 6, 6]], 2, 0)),
        ({"zoom_factor": 2, "mode": "nearest"}, [[0, 2, 2], [4, 6, 6], [4, 6, 6]]),
        ({"height": 2, "width": 2}, [[0, 2], [4, 6]]),
        ({"height": 2, "width": 2, "pad_beg": -1}, [[6, 6], [6, 6]]),
        ({"height": 1, "width": 3, "pad_end": -1}, [[0, 0, 0]]),
    ],
)
def test_known_values(params, expected):
    np.testing.assert_allclose(interp([[0, 2], [4, 6]], **params), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("params", "sizes"),
    [
        ({"zoom_factor": 8}, (33, 41)),  # DeepLab's: 5 -> 33
        ({"zoom_factor": 1}, (5, 6)),
        ({"shrink_factor": 2}, (3, 3)),
        ({"shrink_factor": 4}, (2, 2)),
        ({"shrink_factor": 100}, (1, 1)),
        ({"shrink_factor": 2, "zoom_factor": 3}, (7, 7)),
        ({"zoom_factor": 2, "pad_beg": -1, "pad_end": -2}, (3, 5)),
        ({"height": 60, "width": 7}, (60, 7)),
        ({"zoom_factor": 8, "align_corners": False}, (40, 48)),
        ({"shrink_factor": 2, "align_corners": False}, (2, 3)),
        ({"shrink_factor": 2, "zoom_factor": 3, "align_corners": False}, (7, 9)),
        ({"shrink_factor": 5, "align_corners": False}, (1, 1)),
    ],
)
def test_sizes(params, sizes):
    assert layer_net("Interp", (2, 3, 5, 6), **params).blobs["y"].shape == (2, 3, *sizes)


def test_a_second_bottom_gives_the_size():
    net = layer_net("Interp", (2, 3, 5, 6), (1, 7, 2, 9), inputs="x r")
    assert net.blobs["y"].shape == (2, 3, 2, 9)
    x, r = np.random.default_rng(0).standard_normal((2, 3, 5, 6)), np.ones((1, 7, 2, 9))
    y = net.forward(x=x, r=r)["y"]
    np.testing.assert_array_equal(y, layer_net("Interp", x.shape, inputs="x", height=2, width=9).forward(x=x)["y"])
    net.backward(y=np.ones(y.shape))
    assert not net.blobs["r"].diff.any()
    assert net.forward(x=x, r=np.ones((4, 4)))["y"].shape == (2, 3, 4, 4)


def around(i, size, new, align_corners, mode):
    """Which x a y is made of, and how much of each."""
    if mode == "nearest" and not align_corners:
        return [(int(i * size / new + 1e-9), 1.0)]
    if align_corners:
        place = i * (size - 1) / (new - 1) if new > 1 else 0.0
    else:
        place = min(max((i + 0.5) * size / new - 0.5, 0), size - 1)
    if mode == "nearest":
        return [(int(np.floor(place + 0.5 + 1e-9)), 1.0)]
    k = min(int(place), size - 1)
    return [(k, 1 - (place - k)), (min(k + 1, size - 1), place - k)]


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_one_pixel_at_a_time(mode, align_corners):
    rng = np.random.default_rng(4)
    for _ in range(60):
        sizes, new = ([int(n) for n in rng.integers(1, 9, 2)] for _ in range(2))
        before, after = (int(n) for n in rng.integers(0, 3, 2))
        whole = [size + before + after for size in sizes]
        shape = (*(int(n) for n in rng.integers(1, 4, 2)), *whole)
        params = {"height": new[0], "width": new[1], "pad_beg": -before, "pad_end": -after}
        net = layer_net("Interp", shape, inputs="x", mode=mode, align_corners=align_corners, **params)
        x, dy = rng.standard_normal(shape), rng.standard_normal((*shape[:2], *new))
        y, dx = net.forward(x=x)["y"], net.backward(y=dy)["x"]
        expected, back = np.zeros(dy.shape), np.zeros(shape)
        for i, j in np.ndindex(*new):
            for h, p in around(i, sizes[0], new[0], align_corners, mode):
                for w, q in around(j, sizes[1], new[1], align_corners, mode):
                    expected[:, :, i, j] += p * q * x[:, :, before + h, before + w]
                    back[:, :, before + h, before + w] += p * q * dy[:, :, i, j]
        np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12, err_msg=f"{shape} {params}")
        np.testing.assert_allclose(dx, back, rtol=1e-10, atol=1e-12, err_msg=f"{shape} {params}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("align_corners", [True, False])
def test_a_plane_stays_a_plane_and_sizes_that_stay_change_nothing(align_corners, dtype):
    x = np.add.outer(3 * np.arange(5.0), np.arange(6.0))[None, None]
    same = layer_net("Interp", x.shape, inputs="x", height=5, width=6, align_corners=align_corners, dtype=dtype)
    np.testing.assert_array_equal(same.forward(x=x)["y"], x)
    if align_corners:
        plane = np.add.outer(np.linspace(0, 12, 17), np.linspace(0, 5, 21))
        y = layer_net("Interp", x.shape, inputs="x", zoom_factor=4, dtype=dtype).forward(x=x)["y"]
        np.testing.assert_allclose(y[0, 0], plane, rtol=1e-5)


@pytest.mark.parametrize("value", [1000, -1000, 1e30, 0])
def test_extreme_values(value):
    np.testing.assert_allclose(interp(np.full((3, 4), value), height=7, width=2), np.full((7, 2), value), rtol=1e-12)


def test_many_images_and_none():
    x = np.random.default_rng(2).standard_normal((70, 60, 9, 11))  # in several pieces
    net = layer_net("Interp", x.shape, inputs="x", zoom_factor=2)
    y = net.forward(x=x)["y"]
    np.testing.assert_allclose(y[69, 59, ::2, ::2], x[69, 59], rtol=1e-12)
    np.testing.assert_allclose(y[31, 7, 1, ::2], (x[31, 7, 0] + x[31, 7, 1]) / 2, rtol=1e-10)
    dx = net.backward(y=np.ones(y.shape))["x"]
    np.testing.assert_allclose(dx[:, :, 1:-1, 1:-1], 4, rtol=1e-12)
    np.testing.assert_allclose(dx[:, :, 0, 0], 2.25, rtol=1e-12)
    assert net.forward(x=np.zeros((0, 60, 9, 11)))["y"].shape == (0, 60, 17, 21)


def test_an_image_may_get_smaller_in_the_next_batch():
    net = layer_net("Interp", (1, 1, 5, 5), inputs="x", height=3, width=3)
    assert net.forward(x=np.arange(4.0).reshape(1, 1, 2, 2))["y"][0, 0].tolist() == [
        [0, 0.5, 1],
        [1, 1.5, 2],
        [2, 2.5, 3],
    ]
    with pytest.raises(nettrain.ShapeError, match="there is nothing to interpolate in 0 pixels"):
        net.forward(x=np.zeros((1, 1, 0, 5)))
