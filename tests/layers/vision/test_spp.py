"""SPP: known values, loops over every bin, what each level shares with Pooling, and what it refuses."""

import math
from collections import Counter
from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel

spp_net = partial(layer_net, "SPP", inputs="x")


def slow(x, dy, height, mode):
    """One bin at a time: y as N x (everything), and dx."""
    (N, C, H, W), dx, levels, start = x.shape, np.zeros(x.shape), [], 0
    for bins in (2**i for i in range(height)):
        kernel = [math.ceil(size / bins) for size in (H, W)]
        pad = [(k * bins - size + 1) // 2 for k, size in zip(kernel, (H, W), strict=True)]
        level = np.zeros((N, C, bins, bins))
        for n, c, i, j in np.ndindex(level.shape):
            first = [i * kernel[0] - pad[0], j * kernel[1] - pad[1]]
            last = [min(f + k, size + p) for f, k, size, p in zip(first, kernel, (H, W), pad, strict=True)]
            window = [
                (n, c, h, w)
                for h in range(max(first[0], 0), min(last[0], H))
                for w in range(max(first[1], 0), min(last[1], W))
            ]
            g = dy[n, start + (c * bins + i) * bins + j]
            if mode == "MAX":
                best = max(window, key=lambda place: x[place])
                level[n, c, i, j] = x[best]
                dx[best] += g
            else:
                size = (last[0] - first[0]) * (last[1] - first[1])
                level[n, c, i, j] = sum(x[place] for place in window) / size
                for place in window:
                    dx[place] += g / size
        levels.append(level.reshape(N, C * bins * bins))
        start += C * bins * bins
    return np.concatenate(levels, axis=1), dx


def check_against_loops(net, shape, height, mode):
    rng = np.random.default_rng(4)
    x = rng.standard_normal(shape)
    y = net.forward(x=x)["y"]
    dy = rng.standard_normal(y.shape)
    expected_y, expected_dx = slow(x, dy.reshape(len(dy), math.prod(dy.shape[1:])), height, mode)
    assert y.shape == ((*shape[:2], 1, 1) if height == 1 else expected_y.shape)
    np.testing.assert_allclose(y.reshape(expected_y.shape), expected_y, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(net.backward(y=dy)["x"], expected_dx, rtol=1e-12, atol=1e-14)


def test_a_pyramid_of_two_levels():
    net = spp_net((1, 2, 2, 4), pyramid_height=2)
    rows = [[1, 2, 3, 4], [5, 6, 7, 8]]
    y = net.forward(x=[[rows, np.multiply(rows, -1)]])["y"]
    np.testing.assert_array_equal(y, [[8, -1, 2, 4, 6, 8, -1, -3, -5, -7]])  # a level at a time, channels within it
    dx = net.backward(y=[[1, 10, 0, 0, 0, 100, 1000, 0, 0, 0]])["x"]
    np.testing.assert_array_equal(dx[0, 0], [[0, 0, 0, 0], [0, 0, 0, 101]])
    np.testing.assert_array_equal(dx[0, 1], [[1010, 0, 0, 0], [0, 0, 0, 0]])


def test_means_count_the_border():
    y = spp_net((1, 1, 3, 4), pyramid_height=2, pool="AVE").forward(x=np.ones((1, 1, 3, 4)))["y"]
    # 2 x 2 bins of 2 x 2: three rows and one of zeros above them
    np.testing.assert_array_equal(y, [[1, 0.5, 0.5, 1, 1]])


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("shape", "height"),
    [
        ((2, 3, 9, 7), 3),
        ((1, 2, 8, 8), 4),
        ((2, 2, 6, 7), 3),
        ((3, 1, 5, 4), 1),
        ((2, 2, 1, 1), 1),
        ((2, 1, 2, 3), 2),
        ((1, 2, 14, 23), 4),
    ],
)
def test_against_loops(mode, shape, height):
    check_against_loops(spp_net(shape, pyramid_height=height, pool=mode), shape, height, mode)


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
def test_random_images(mode, monkeypatch):
    """Any image and any height: refused by Caffe's rule for pads, else equal to the loops, in any memory order."""
    rng, outcomes, whole = np.random.default_rng(1), Counter(), (parallel.BLOCK, parallel.TASK)
    for _ in range(120):
        height, sizes = int(rng.integers(1, 5)), rng.integers(1, 20, 2)
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 3)), *map(int, sizes))
        bins = 2 ** np.arange(height)[:, None]
        kernel = -(-sizes // bins)
        pad = (kernel * bins - sizes + 1) // 2
        refused = (pad.any(axis=1) & (pad >= kernel).any(axis=1)).any()
        outcomes[height, bool(refused)] += 1
        if refused:
            with pytest.raises(nettrain.SpecError, match="must be smaller than the kernel"):
                spp_net(shape, pyramid_height=height, pool=mode)
            continue
        net = spp_net(shape, pyramid_height=height, pool=mode)
        net.blobs["x"].reshape(shape, channels_last=bool(rng.random() < 0.5))
        net.reshape()
        for name, size in zip(("BLOCK", "TASK"), [whole, (1, 1)][rng.integers(2)], strict=True):
            monkeypatch.setattr(parallel, name, size)
        monkeypatch.setattr(parallel, "_wanted", int(rng.integers(1, 4)))
        try:
            check_against_loops(net, shape, height, mode)
        except Exception as error:
            raise AssertionError(f"{shape}, {height} levels: {error}") from error
    assert all(outcomes[height, False] for height in range(1, 5))
    assert all(outcomes[height, True] for height in range(2, 5))


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
@pytest.mark.parametrize("height", [1, 3])
def test_channels_last(mode, height):
    shape = (2, 3, 6, 7)
    net = spp_net(shape, pyramid_height=height, pool=mode)
    net.blobs["x"].reshape(shape, channels_last=True)
    net.reshape()
    check_against_loops(net, shape, height, mode)


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
def test_images_of_another_size_give_as_many_numbers(mode):
    net = spp_net((2, 2, 6, 7), pyramid_height=3, pool=mode)
    for shape in ((3, 2, 12, 9), (1, 2, 4, 4), (0, 2, 6, 6), (2, 2, 6, 7)):
        check_against_loops(net, shape, 3, mode)
        assert net.blobs["y"].shape == (shape[0], 42)


def test_one_level_is_global_pooling():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5))
    for mode in ("MAX", "AVE"):
        whole = spp_net(x.shape, type="Pooling", pool=mode, global_pooling=True).forward(x=x)["y"]
        np.testing.assert_array_equal(spp_net(x.shape, pyramid_height=1, pool=mode).forward(x=x)["y"], whole)


@pytest.mark.parametrize("value", [1000, -1000, 0])
@pytest.mark.parametrize("mode", ["MAX", "AVE"])
def test_extreme_values(mode, value):
    y = spp_net((1, 2, 4, 4), dtype="float32", pyramid_height=3, pool=mode).forward(x=np.full((1, 2, 4, 4), value))["y"]
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, np.full((1, 42), value))


def test_stochastic_expects_in_test():
    x = np.random.default_rng(0).random((2, 2, 4, 8))
    y = spp_net(x.shape, phase="TEST", pyramid_height=2, pool="STOCHASTIC").forward(x=x)["y"]
    bins = x.reshape(2, 2, 2, 2, 2, 4).transpose(0, 1, 2, 4, 3, 5).reshape(2, 8, 8)
    whole = x.reshape(2, 2, 32)
    expected = [(part**2).sum(axis=2) / part.sum(axis=2) for part in (whole, bins)]
    np.testing.assert_allclose(y, np.concatenate(expected, axis=1), rtol=1e-12)


def test_stochastic_draws_from_each_bin_anew_and_for_a_batch_the_same():
    x = np.random.default_rng(0).random((2, 2, 8, 8))
    net = spp_net(x.shape, pyramid_height=3, pool="STOCHASTIC")
    first = net.forward(x=x)["y"].copy()
    dx = net.backward(y=np.ones(first.shape))["x"]
    assert dx.sum() == first.size
    np.testing.assert_array_equal(dx[:, :, :2, :2].sum(axis=(2, 3)) >= 1, True)  # each bin of the last level has one
    bins = x.reshape(2, 2, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(2, 32, 4)
    assert (first[:, -32:, None] == bins).any(axis=2).all()
    assert not np.array_equal(first, net.forward(x=x)["y"])
    net.batch = 0
    np.testing.assert_array_equal(net.forward(x=x)["y"], first)


SPECS = {
    "no height": ({}, "SPP needs `pyramid_height`"),
    "height 0": ({"pyramid_height": 0}, "pyramid_height must be an integer >= 1"),
    "unknown pool": ({"pyramid_height": 1, "pool": "SUM"}, "must be one of MAX, AVE, STOCHASTIC"),
    "too many levels": (
        {"pyramid_height": 3},
        "level 2 of the pyramid, 4 x 4 bins of 5 x 8 pixels: pad 2 x 0 must be smaller than the kernel 2 x 2",
    ),
    "a border of nothing": (
        {"pyramid_height": 2, "pool": "STOCHASTIC"},
        "level 1 of the pyramid, 2 x 2 bins of 5 x 8 pixels: pads 1 x 0, and STOCHASTIC takes none",
    ),
}


@pytest.mark.parametrize(("params", "words"), SPECS.values(), ids=SPECS)
def test_what_does_not_fit_is_said(params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        spp_net((1, 2, 5, 8), **params)


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 3, 4, 5, 6), (2, 3, 0, 4)])
def test_images_with_pixels_are_needed(shape):
    with pytest.raises(nettrain.SpecError, match="needs N x C x H x W with at least one pixel, got 2 x 3"):
        spp_net(shape, pyramid_height=1)
