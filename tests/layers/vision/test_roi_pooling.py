"""ROIPooling: known values, one bin at a time over regions inside, outside and across images, and bad regions."""

import math

import nettrain
import numpy as np
import pytest
from helpers import layer_net


def pooled(image, *rois, bins=(2, 2), dtype="float64", **params):
    """Of one image of one channel."""
    x = np.array(image, float)[None, None]
    params = {"pooled_h": bins[0], "pooled_w": bins[1]} | params
    net = layer_net("ROIPooling", x.shape, (len(rois), 5), inputs="x rois", dtype=dtype, **params)
    return net, net.forward(x=x, rois=np.array(rois, float).reshape(-1, 5))["y"][:, 0]


IMAGE = np.arange(20).reshape(4, 5)


@pytest.mark.parametrize(
    ("roi", "params", "expected"),
    [
        ((0, 0, 0, 4, 3), {}, [[7, 9], [17, 19]]),  # columns 0-2 and 2-4: bins overlap
        ((0, 1, 1, 2, 2), {}, [[6, 7], [11, 12]]),
        ((0, 3, 2, 3, 2), {}, [[13, 13], [13, 13]]),  # one pixel is in all bins
        ((0, 3, 2, 1, 0), {}, [[13, 13], [13, 13]]),  # the wrong way round: at least one pixel
        ((0, 2, 2, 8, 4), {"spatial_scale": 0.5}, [[7, 9], [12, 14]]),  # columns 1-4, rows 1-2
        ((0, 0.5, 0.49, 2.5, 1.4), {}, [[2, 3], [7, 8]]),  # columns 1-3, rows 0-1
        ((0, -0.5, 0, 2, 1), {}, [[0, 2], [5, 7]]),  # columns -1-2: a half is rounded away from zero
        ((0, 5, 0, 8, 3), {}, [[0, 0], [0, 0]]),  # wholly outside
        ((0, 3, 2, 6, 5), {}, [[19, 0], [0, 0]]),
    ],
)
def test_known_values(roi, params, expected):
    _, y = pooled(IMAGE, roi, **params)
    np.testing.assert_array_equal(y[0], expected)


def rounded(value):
    return math.floor(value + 0.5) if value >= 0 else -math.floor(-value + 0.5)


def slow(x, rois, dy, bins, scale):
    """One bin of one channel at a time, as Fast R-CNN has it, in x's precision."""
    (H, W), kind = x.shape[2:], x.dtype.type
    y, dx = np.zeros(dy.shape), np.zeros(x.shape)
    for r, c, i, j in np.ndindex(dy.shape):
        n = int(rois[r, 0])
        left, top, right, bottom = (rounded(float(kind(v) * kind(scale))) for v in rois[r, 1:])
        height, width = (kind(max(b - a + 1, 1)) for a, b in ((top, bottom), (left, right)))
        tall, wide = height / kind(bins[0]), width / kind(bins[1])
        rows = range(max(top + math.floor(kind(i) * tall), 0), min(top + math.ceil(kind(i + 1) * tall), H))
        columns = range(max(left + math.floor(kind(j) * wide), 0), min(left + math.ceil(kind(j + 1) * wide), W))
        places = [(n, c, h, w) for h in rows for w in columns]
        if places:
            best = max(places, key=lambda place: x[place])  # the first of equal ones
            y[r, c, i, j] = x[best]
            dx[best] += dy[r, c, i, j]
    return y, dx


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_one_bin_at_a_time(dtype, channels_last):
    rng = np.random.default_rng(6)
    for case in range(25):
        shape = tuple(int(n) for n in (*rng.integers(1, 4, 2), *rng.integers(1, 13, 2)))
        bins, scale = tuple(int(n) for n in rng.integers(1, 8, 2)), float(rng.choice([1, 0.5, 0.0625]))
        corners = rng.uniform(-6, 16, (int(rng.integers(1, 20)), 4)) / scale
        rois = np.concatenate([rng.integers(0, shape[0], (len(corners), 1)), corners], 1).astype(dtype)
        rois[0, 1:] = np.round(rois[0, 1:])
        x = (rng.integers(0, 4, shape) if case % 2 else rng.standard_normal(shape)).astype(dtype)  # with ties, without
        params = {"pooled_h": bins[0], "pooled_w": bins[1], "spatial_scale": scale}
        net = layer_net("ROIPooling", shape, rois.shape, inputs="x rois", dtype=dtype, **params)
        net.blobs["x"].reshape(shape, channels_last=channels_last)
        net.reshape()
        dy = rng.integers(-9, 10, (len(rois), shape[1], *bins)).astype(dtype)
        y = net.forward(x=x, rois=rois)["y"]
        dx = net.backward(y=dy)["x"]
        expected, back = slow(x, rois, dy, bins, scale)
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(dx, back)
        assert not net.blobs["rois"].diff.any()


def test_a_pixel_of_several_bins_and_regions_gets_the_sum():
    net, _ = pooled(IMAGE, (0, 0, 0, 4, 3), (0, 4, 3, 4, 3))
    dx = net.backward(y=[[[[1, 2], [4, 8]]], [[[16, 32], [64, 128]]]])["x"][0, 0]
    assert (dx[1, 2], dx[1, 4], dx[3, 2], dx[3, 4]) == (1, 2, 4, 8 + 240)
    assert dx.sum() == 255


def test_as_many_regions_as_there_are():
    net, _ = pooled(IMAGE, (0, 0, 0, 4, 3))
    x = np.zeros((1, 1, 4, 5))
    for count in (3, 0, 1):
        y = net.forward(x=x, rois=np.zeros((count, 5)))["y"]
        assert y.shape == (count, 1, 2, 2)
        assert net.backward(y=np.ones(y.shape))["x"].sum() == 4 * count


@pytest.mark.parametrize("value", [1000.0, -1000.0, 1e30, -1e30])
def test_extreme_values(value):
    _, y = pooled(np.full((3, 3), value), (0, 0, 0, 2, 2))
    np.testing.assert_array_equal(y, np.full((1, 2, 2), value))


def test_a_bin_of_nan_has_no_maximum():
    net, y = pooled([[np.nan, np.nan], [1, np.nan]], (0, 0, 0, 1, 1))
    assert y[0, 1, 0] == 1
    dx = net.backward(y=np.ones((1, 1, 2, 2)))["x"]
    assert dx[0, 0].tolist() == [[0, 0], [1, 0]]


@pytest.mark.parametrize(("corner", "expected"), [(3e38, [[19, 0], [0, 0]]), (-3e38, [[15, 15], [0, 0]])])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_corners_far_outside(corner, expected, dtype):
    _, y = pooled(IMAGE, (0, 0, 0, corner, 3), spatial_scale=4, dtype=dtype)
    np.testing.assert_array_equal(y[0], expected)


@pytest.mark.parametrize(
    ("roi", "words"),
    [
        ((1, 0, 0, 1, 1), r"region 1 is of image 1, the batch has 1 \(0..0\)"),
        ((-1, 0, 0, 1, 1), r"region 1 is of image -1, the batch has 1"),
        ((0, 0, np.nan, 1, 1), "region 1 has a corner that is not finite"),
        ((0, 0, 0, np.inf, 1), "region 1 has a corner that is not finite"),
        ((np.nan, 0, 0, 1, 1), "region 1 has a corner that is not finite"),
    ],
)
def test_a_region_that_is_none_is_named(roi, words):
    with pytest.raises(nettrain.NettrainError, match=words):
        pooled(IMAGE, (0, 0, 0, 1, 1), roi)
