"""Dropout: what the mask looks like, and that it follows from the seed."""

import nettrain
import numpy as np
import pytest
from helpers import layer_net


def dropout_net(shape, ratio=0.5, name="drop", seed=1, **options):
    return layer_net("Dropout", shape, inputs="x", name=name, seed=seed, top="y", dropout_ratio=ratio, **options)


def mask(shape=(200, 50), **options):
    """What an input of ones becomes."""
    return dropout_net(shape, **options).forward(x=np.ones(shape))["y"].copy()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("ratio", [0.1, 0.25, 0.5, 0.9])
def test_elements_are_dropped_or_scaled_up(ratio, dtype):
    y = mask(ratio=ratio, dtype=dtype)
    kept = y[y != 0]
    np.testing.assert_allclose(kept, 1 / (1 - ratio), rtol=1e-15 if dtype == "float64" else 1e-7)
    deviation = np.sqrt(ratio * (1 - ratio) / y.size)
    assert abs((y == 0).mean() - ratio) < 4 * deviation
    assert abs(y.mean() - 1) < 4 * deviation / (1 - ratio)  # the expected value stays the same


def test_elements_are_dropped_independently():
    dropped = mask() == 0
    by_row, by_column = dropped.mean(axis=1), dropped.mean(axis=0)
    assert abs(by_row.std() - 0.5 / np.sqrt(50)) < 0.015
    assert abs(by_column.std() - 0.5 / np.sqrt(200)) < 0.015
    assert abs((dropped[:, 1:] == dropped[:, :-1]).mean() - 0.5) < 0.02
    assert abs((dropped[1:] == dropped[:-1]).mean() - 0.5) < 0.02


def test_the_gradient_takes_the_mask_of_the_last_forward_pass():
    net = dropout_net((50, 20), ratio=0.3)
    x, dy = np.arange(1.0, 1001).reshape(50, 20), np.arange(1000.0, 0, -1).reshape(50, 20)
    net.forward(x=x)
    y = net.forward(x=x)["y"]
    np.testing.assert_allclose(net.backward(y=dy)["x"], y / x * dy, rtol=1e-12)


def test_nothing_is_dropped_with_ratio_0():
    net = dropout_net((4, 5), ratio=0)
    x = np.random.default_rng(0).standard_normal((4, 5))
    np.testing.assert_array_equal(net.forward(x=x)["y"], x)
    np.testing.assert_array_equal(net.backward(y=x)["x"], x)


def test_nothing_is_dropped_in_test():
    net = dropout_net((4, 5), ratio=0.9, phase="TEST")
    x = np.array([[-1000, 0, 1e-30, 1000, 1e300]] * 4)
    np.testing.assert_array_equal(net.forward(x=x)["y"], x)
    np.testing.assert_array_equal(net.backward(y=2 * x)["x"], 2 * x)


def test_every_forward_pass_draws_anew():
    net = dropout_net((20, 20))
    first = net.forward(x=np.ones((20, 20)))["y"].copy()
    assert (net.forward(x=np.ones((20, 20)))["y"] != first).any()


def test_the_seed_decides():
    np.testing.assert_array_equal(mask(seed=3), mask(seed=3))
    assert (mask(seed=3) != mask(seed=4)).any()


def test_each_layer_draws_from_a_stream_of_its_own():
    assert (mask(name="drop1") != mask(name="drop2")).any()


def test_a_net_that_goes_on_elsewhere_gives_the_same_masks():
    net = dropout_net((20, 20))
    ones = np.ones((20, 20))
    net.forward(x=ones)
    later = [net.forward(x=ones)["y"].copy() for _ in range(3)]
    fresh = dropout_net((20, 20))
    fresh.batch = 1
    for expected in later:
        np.testing.assert_array_equal(fresh.forward(x=ones)["y"], expected)


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 1, 3, 2)])
def test_any_shape(shape):
    y = mask(shape)
    assert y.shape == shape
    assert np.isin(y, [0, 2]).all()


def test_half_of_the_elements_is_the_default():
    layers = [{"name": "x", "type": "Input", "shape": [1000]}, {"name": "y", "type": "Dropout"}]
    y = nettrain.Net({"layers": layers}, phase="TRAIN").forward(x=np.ones(1000))["y"]
    assert set(y) == {0, 2}


@pytest.mark.parametrize("ratio", [-0.1, 1, 1.5, "half", True])
def test_wrong_ratio(ratio):
    with pytest.raises(nettrain.SpecError, match="dropout_ratio must be a number >= 0 and < 1, got"):
        dropout_net((2,), ratio=ratio)
