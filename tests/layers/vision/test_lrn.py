"""LRN: known values, loops over every window of both regions, extremes, memory and threads."""

import itertools
from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel

REGIONS = ["ACROSS_CHANNELS", "WITHIN_CHANNEL"]


lrn_net = partial(layer_net, "LRN", inputs="x", name="norm", top="y")


def run(net, x, dy):
    """(y, dx)."""
    net.blobs["x"].data[...] = x
    y = net.forward()["y"].copy()
    return y, net.backward(y=dy)["x"].copy()


def window(place, shape, region, size):
    """The places in the window around one."""
    n, c, h, w = place
    near = range(-(size // 2), size // 2 + 1)
    if region == "ACROSS_CHANNELS":
        return [(n, c + i, h, w) for i in near if 0 <= c + i < shape[1]]
    return [
        (n, c, h + i, w + j)
        for i, j in itertools.product(near, near)
        if 0 <= h + i < shape[2] and 0 <= w + j < shape[3]
    ]


def slow_lrn(x, dy, region="ACROSS_CHANNELS", local_size=5, alpha=1.0, beta=0.75, k=1.0):
    """One window at a time; dx from the derivative of every y with respect to every x of its window."""
    within = region == "WITHIN_CHANNEL"
    a = alpha / local_size**2 if within else alpha / local_size
    y, dx = np.zeros(x.shape), np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        near = window(place, x.shape, region, local_size)
        s = (1.0 if within else k) + a * sum(x[other] ** 2 for other in near)
        y[place] = x[place] / s**beta
        dx[place] += dy[place] / s**beta
        for other in near:
            dx[other] += dy[place] * x[place] * -beta * s ** (-beta - 1) * 2 * a * x[other]
    return y, dx


def check_against_loops(shape, channels_last=False, **params):
    rng = np.random.default_rng(7)
    x, dy = 2 * rng.standard_normal(shape), rng.standard_normal(shape)
    net = lrn_net(shape, channels_last=channels_last, **params)
    assert net.blobs["y"].channels_last == channels_last
    y, dx = run(net, x, dy)
    region = params.pop("norm_region", "ACROSS_CHANNELS")
    expected_y, expected_dx = slow_lrn(x, dy, region, **params)
    np.testing.assert_allclose(y, expected_y, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-13)


def test_known_values_across_channels():
    # s = 1 + (3 / 3) * the sums 1 + 4, 1 + 4 + 9, 4 + 9
    net = lrn_net((1, 3, 1, 1), local_size=3, alpha=3, beta=1)
    y, dx = run(net, np.reshape([1, 2, 3], (1, 3, 1, 1)), np.reshape([1, 0, 0], (1, 3, 1, 1)))
    np.testing.assert_allclose(y.ravel(), [1 / 6, 2 / 15, 3 / 14], rtol=1e-14)
    # y_0 = x_0 / (1 + x_0² + x_1²): dx_0 = 1/6 - 2/36, dx_1 = -4/36
    np.testing.assert_allclose(dx.ravel(), [1 / 6 - 2 / 36, -4 / 36, 0], rtol=1e-14, atol=1e-16)


def test_known_values_within_a_channel():
    # s = 1 + (9 / 9) * the sum over 3 x 3 places: 1 + 4, 1 + 4 + 9, 4 + 9, and nothing of the other channel
    x = np.array([[[[1.0, 2, 3]], [[0, 0, 0]]]])
    net = lrn_net((1, 2, 1, 3), local_size=3, alpha=9, beta=0.5, norm_region="WITHIN_CHANNEL")
    y = net.forward(x=x)["y"]
    expected = [[1 / np.sqrt(6), 2 / np.sqrt(15), 3 / np.sqrt(14)], [0, 0, 0]]
    np.testing.assert_allclose(y[0, :, 0], expected, rtol=1e-14)


@pytest.mark.parametrize("region", REGIONS)
def test_random_shapes_and_windows(region, monkeypatch):
    """Windows beyond the image or the channels, one place, one channel, examples together and one at a time."""
    rng, whole = np.random.default_rng(len(region)), (parallel.BLOCK, parallel.TASK)
    for _ in range(60):
        shape = tuple(int(size) for size in rng.integers(1, [4, 7, 6, 6]))
        params = {
            "local_size": 2 * int(rng.integers(0, 8)) + 1,
            "alpha": float(rng.uniform(0, 2)),
            "beta": float(rng.choice([0.5, 0.75, 1, 0.6])),
            "norm_region": region,
        }
        if region == "ACROSS_CHANNELS":
            params["k"] = float(rng.uniform(0.5, 3))
        for name, size in zip(("BLOCK", "TASK"), [whole, (1, 1)][rng.integers(2)], strict=True):
            monkeypatch.setattr(parallel, name, size)
        monkeypatch.setattr(parallel, "_wanted", int(rng.integers(1, 4)))
        try:
            check_against_loops(shape, bool(rng.random() < 0.5), **params)
        except Exception as error:
            raise AssertionError(f"{shape}, {params}: {error}") from error


def test_defaults_are_caffes():
    x = np.random.default_rng(0).standard_normal((1, 7, 2, 2))
    expected, _ = slow_lrn(x, x, local_size=5, alpha=1, beta=0.75, k=1)
    np.testing.assert_allclose(lrn_net((1, 7, 2, 2)).forward(x=x)["y"], expected, rtol=1e-12)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("beta", [0.25, 0.5, 0.75, 1, 0.6, 2, 0, -0.5])
@pytest.mark.parametrize("region", REGIONS)
def test_every_kind_of_exponent(region, beta, channels_last):
    check_against_loops((2, 4, 3, 4), channels_last, norm_region=region, beta=beta, local_size=3, alpha=0.7)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("local_size", [1, 3, 5, 7, 9, 15])
@pytest.mark.parametrize("shape", [(2, 5, 4, 3), (1, 1, 1, 1), (1, 2, 2, 6)], ids=str)
def test_windows_smaller_and_larger_than_what_there_is(shape, local_size, region, channels_last):
    check_against_loops(shape, channels_last, norm_region=region, local_size=local_size, alpha=2)


def test_k_counts_across_channels_only():
    check_against_loops((2, 4, 2, 2), k=2.5, local_size=3)
    x = np.random.default_rng(0).standard_normal((2, 2, 3, 3))
    within = {"norm_region": "WITHIN_CHANNEL", "local_size": 3}
    np.testing.assert_array_equal(
        lrn_net(x.shape, k=7, **within).forward(x=x)["y"], lrn_net(x.shape, **within).forward(x=x)["y"]
    )


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("value", [1000, -1000])
def test_large_values_come_down(region, value):
    """All of one size: s = 1 + 10^6 where the window is whole."""
    shape = (1, 5, 5, 5)
    net = lrn_net(shape, dtype="float32", norm_region=region, local_size=3)
    y, dx = run(net, np.full(shape, value), np.ones(shape))
    expected_y, expected_dx = slow_lrn(np.full(shape, float(value)), np.ones(shape), region, local_size=3)
    assert y[0, 2, 2, 2] == pytest.approx(value / (1 + 1e6) ** 0.75, rel=1e-6)
    np.testing.assert_allclose(y, expected_y, rtol=1e-5)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("region", REGIONS)
def test_zeros_pass_and_their_gradient_too(region):
    shape = (2, 3, 4, 4)
    y, dx = run(lrn_net(shape, norm_region=region), np.zeros(shape), np.full(shape, 2))
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(dx, 2)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 3, 3)], ids=str)
def test_blobs_without_elements(region, shape, channels_last):
    net = lrn_net(shape, norm_region=region, channels_last=channels_last)
    assert net.forward()["y"].shape == shape
    assert net.backward()["x"].shape == shape


@pytest.mark.parametrize("region", REGIONS)
def test_batches_of_another_size(region):
    net, rng = lrn_net((2, 3, 4, 4), norm_region=region), np.random.default_rng(0)
    for shape in ((3, 6, 2, 5), (1, 1, 9, 2), (2, 3, 4, 4)):
        x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
        y = net.forward(x=x)["y"].copy()
        dx = net.backward(y=dy)["x"]
        expected_y, expected_dx = slow_lrn(x, dy, region)
        np.testing.assert_allclose(y, expected_y, rtol=1e-11, atol=1e-14)
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("region", REGIONS)
def test_the_same_bits_with_any_number_of_threads(region, channels_last):
    shape, rng = (27, 24, 30, 31), np.random.default_rng(6)
    x, dy = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
    before, runs = parallel.threads(), []
    try:
        for count in (1, 2, 3):
            parallel.use_threads(count)
            net = lrn_net(shape, dtype="float32", channels_last=channels_last, norm_region=region, local_size=3)
            runs.append(run(net, x, dy))
    finally:
        parallel.use_threads(before)
    assert x.size > 2 * parallel.BLOCK
    for other in runs[1:]:
        for mine, theirs in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    # and every example comes out as it does alone
    alone = lrn_net((1, *shape[1:]), dtype="float32", channels_last=channels_last, norm_region=region, local_size=3)
    for n in (0, 12, 26):
        for mine, theirs in zip(run(alone, x[n : n + 1], dy[n : n + 1]), runs[0], strict=True):
            np.testing.assert_allclose(mine[0], theirs[n], rtol=1e-6, atol=1e-7)


def test_a_top_named_like_the_bottom():
    results = []
    for top in ("y", "h"):
        layers = [
            {"name": "x", "type": "Input", "shape": [2, 4, 3, 3]},
            {"name": "tanh", "type": "TanH", "bottom": "x", "top": "h"},
            {"name": "norm", "type": "LRN", "bottom": "h", "top": top},
            {"name": "relu", "type": "ReLU", "bottom": top, "top": top},
        ]
        net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
        rng = np.random.default_rng(1)
        x, dy = rng.standard_normal((2, 2, 4, 3, 3))
        results.append((net.forward(x=x)[top].copy(), net.backward(**{top: dy})["x"]))
    for apart, together in zip(*results, strict=True):
        np.testing.assert_array_equal(apart, together)


@pytest.mark.parametrize("size", [2, 4])
def test_a_window_has_a_middle(size):
    with pytest.raises(nettrain.SpecError, match=f"must be odd, so that the window has a middle, got {size}"):
        lrn_net((1, 3, 4, 4), local_size=size)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5, 6)], ids=str)
def test_four_axes_are_needed(shape):
    with pytest.raises(nettrain.SpecError, match="needs N x C x H x W, got 2 x 3"):
        lrn_net(shape)
