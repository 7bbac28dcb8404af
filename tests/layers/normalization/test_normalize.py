"""Normalize: known values, a plain formula of one example and place at a time, and vectors of nothing."""

import nettrain
import numpy as np
import pytest
from helpers import layer_net


def normalized(x, scale=1.0, **params):
    net = layer_net("Normalize", np.shape(x), inputs="x", **params)
    net.params["y"][0].data[...] = scale
    return net, net.forward(x=x)["y"]


def test_known_values():
    x = [[[3, 0], [4, -2]]]  # two channels, two places
    _, y = normalized(x, across_spatial=False)
    np.testing.assert_allclose(y, [[[0.6, 0], [0.8, -1]]], rtol=1e-9)
    _, y = normalized(x, 10, across_spatial=False, eps=11)
    np.testing.assert_allclose(y, [[[5, 0], [10 * 4 / 6, -20 / 15**0.5]]], rtol=1e-12)
    _, y = normalized(x, [1, 20], across_spatial=False, channel_shared=False)
    np.testing.assert_allclose(y, [[[0.6, 0], [16, -20]]], rtol=1e-9)
    _, y = normalized(x)
    np.testing.assert_allclose(y, np.array(x) / 29**0.5, rtol=1e-9)


def test_the_factor_begins_as_the_filler_says():
    assert layer_net("Normalize", (2, 3, 4)).params["y"][0].data == 1
    net = layer_net("Normalize", (2, 3, 4), scale_filler=20, channel_shared=False)
    assert net.params["y"][0].data.tolist() == [20, 20, 20]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("shape", [(3, 4, 2, 5), (2, 5), (1, 1, 3), (40, 64, 9, 10)])
def test_each_vector_by_itself(shape, across, shared, channels_last):
    rng = np.random.default_rng(len(shape))
    params = {"across_spatial": across, "channel_shared": shared, "eps": 0.3}
    net = layer_net("Normalize", shape, inputs="x", channels_last=channels_last and len(shape) > 2, **params)
    (s,) = net.params["y"]
    x, dy, scale = rng.standard_normal(shape), rng.standard_normal(shape), rng.standard_normal(s.shape)
    s.data[...] = scale
    y = net.forward(x=x)["y"]
    dx = net.backward(y=dy)["x"]
    factors = np.broadcast_to(scale, shape[1])
    y_, dx_, ds_ = np.zeros(shape), np.zeros(shape), np.zeros(shape[1])
    for n in range(shape[0]):
        places = [()] if across else list(np.ndindex(shape[2:]))
        for place in places:
            at = (n, slice(None), *place)
            v, g = x[at], dy[at]
            f = factors.reshape(-1, *[1] * (v.ndim - 1))
            length = (np.sum(v * v) + 0.3) ** 0.5
            y_[at] = f * v / length
            dx_[at] = g * f / length - v * np.sum(v * g * f) / length**3
            ds_ += (v * g / length).reshape(shape[1], -1).sum(axis=1)
    np.testing.assert_allclose(y, y_, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dx, dx_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(s.diff, ds_.sum() if shared else ds_, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("value", [1000.0, -1000.0, 0.0, 1e15])
def test_extreme_values(value, across):
    net, y = normalized(np.full((2, 4, 1, 1), value), across_spatial=across)
    np.testing.assert_allclose(y, np.sign(value) * 0.5, rtol=1e-9)
    dx = net.backward(y=np.ones(y.shape))["x"]
    assert np.isfinite(dx).all()
    single = layer_net("Normalize", (1, 4), dtype="float32", inputs="x")
    np.testing.assert_allclose(single.forward(x=np.full((1, 4), value))["y"], np.sign(value) * 0.5, rtol=1e-6)


def test_a_vector_stays_as_long_when_it_is_multiplied():
    x = np.random.default_rng(1).standard_normal((2, 3, 5))
    _, y = normalized(x, across_spatial=False)
    _, z = normalized(100 * x, across_spatial=False)
    np.testing.assert_allclose(z, y, rtol=1e-8)
    np.testing.assert_allclose(np.square(y).sum(axis=1), 1, rtol=1e-8)


def test_images_of_another_size_and_no_examples():
    net = layer_net("Normalize", (2, 3, 4, 4), across_spatial=False, channel_shared=False, inputs="x")
    for shape in ((1, 3, 2, 7), (0, 3, 4, 4), (2, 3, 0, 4)):
        assert net.forward(x=np.ones(shape))["y"].shape == shape
        assert net.backward(y=np.ones(shape))["x"].shape == shape
    with pytest.raises(nettrain.ShapeError, match="normalizes 3 channels, got 2 x 4 x 4 x 4"):
        net.forward(x=np.ones((2, 4, 4, 4)))
