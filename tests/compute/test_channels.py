"""Sums, means and variances of channels, against double precision, however the channels lie."""

import numpy as np
import pytest
from nettrain.compute import parallel
from nettrain.compute.channels import Channels

LIE = {  # outer, channels, inner
    "rows of all channels": (700, 16, 1),
    "a last row that is not full": (1001, 24, 1),
    "rows of many channels": (300, 2000, 1),
    "few places of each channel": (130, 7, 9),
    "columns": (3, 5, 900),
    "columns longer than a product of BLAS": (2, 3, 5000),
    "several blocks of rows": (70001, 16, 1),
    "several blocks of columns": (40, 16, 1024),
    "one value of each channel": (1, 3, 1),
    "two values": (2, 3, 1),
}


def blocks(lie, seed=0):
    """float32 values that are different in each channel, as outer x channels x inner."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal(lie, np.float32) + np.arange(lie[1], dtype=np.float32)[:, None]


@pytest.mark.parametrize("lie", LIE.values(), ids=LIE)
def test_sums_of_arrays_and_of_products(lie):
    x, dy = blocks(lie), blocks(lie, 1)
    before = dy.astype(float)

    def overwrite(x, dy, w):
        np.multiply(dy, w, out=dy)

    channels, w = Channels(*lie), np.arange(lie[1]) + 2.0
    spread = channels.spread("w", w, np.float32)
    sums = channels.sums([lambda x, dy, w: (x, dy), lambda x, dy, w: dy], [x, dy], [spread], overwrite)
    size = lie[0] * lie[2]
    np.testing.assert_allclose(sums[0] / size, (x * before).mean((0, 2)), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(sums[1] / size, before.mean((0, 2)), rtol=2e-5, atol=2e-5)
    np.testing.assert_allclose(dy, before * w[:, None], rtol=1e-6)


@pytest.mark.parametrize("mean", [0, 1, -1e4, 1e6])
@pytest.mark.parametrize("lie", LIE.values(), ids=LIE)
def test_moments_lose_nothing_where_the_mean_is_large(lie, mean):
    x = blocks(lie) + np.float32(mean)
    found, variance = Channels(*lie).moments(x)
    exact = x.astype(float)
    np.testing.assert_allclose(found, exact.mean((0, 2)), rtol=1e-7, atol=1e-6)
    np.testing.assert_allclose(variance, exact.var((0, 2)), rtol=2e-6)


@pytest.mark.parametrize("count", [1, 16, 64])
@pytest.mark.parametrize("lie", [(4096, 16, 1), (8, 4, 4096)], ids=str)
def test_moments_whose_first_values_are_far_away(lie, count):
    x = blocks(lie)
    (x[:count] if lie[2] == 1 else x[..., :count])[...] += 1e4
    _, variance = Channels(*lie).moments(x)
    np.testing.assert_allclose(variance, x.astype(float).var((0, 2)), rtol=1e-5)


@pytest.mark.parametrize("lie", LIE.values(), ids=LIE)
def test_equal_values_have_no_variance(lie):
    found, variance = Channels(*lie).moments(np.full(lie, 3, np.float32))
    assert found.tolist() == [3] * lie[1]
    assert not variance.any()


@pytest.mark.parametrize("lie", [(1001, 24, 1), (3, 5, 900)], ids=str)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_seen_in_its_channel_alone(lie, value):
    x = blocks(lie)
    x[2, 3, -1] = value
    with np.errstate(invalid="ignore"):
        found, variance = Channels(*lie).moments(x)
    assert np.flatnonzero(~np.isfinite(found)).tolist() == np.flatnonzero(~np.isfinite(variance)).tolist() == [3]


@pytest.mark.parametrize("lie", [(70001, 16, 1), (300, 2000, 1), (70, 16, 1024)], ids=str)
def test_the_same_bits_with_any_number_of_threads(lie, monkeypatch):
    x, results = blocks(lie), []
    for count in (1, 2, 3):
        monkeypatch.setattr(parallel, "_wanted", count)
        channels = Channels(*lie)
        with parallel.session():
            results.append((channels.moments(x), channels.sums([lambda x: x, lambda x: (x, x)], [x]).copy()))
    for other in results[1:]:
        for one, another in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(one, another)


def test_numpys_buffers_are_as_before():
    before = np.getbufsize()
    channels, x = Channels(700, 16, 1), blocks((700, 16, 1))
    channels.moments(x)

    def fail(x):
        raise KeyError

    with pytest.raises(KeyError):
        channels.each(fail, [x])
    assert np.getbufsize() == before
