"""ReLU, Sigmoid and TanH: known values, the scalar formula from math, extremes, wrong parameters."""

import math

import nettrain
import numpy as np
import pytest
from helpers import layer_net


def run(x, dy=None, dtype="float64", **layer):
    """y, and dx for dy (ones when it is not given)."""
    net = layer_net(layer, np.shape(x), inputs="x", dtype=dtype)
    y = net.forward(x=x)["y"].copy()
    return y, net.backward(y=np.ones(np.shape(x)) if dy is None else dy)["x"]


def test_relu():
    y, dx = run([-2, -0.5, 0, 0.5, 2], [1, 2, 3, 4, 5], type="ReLU")
    assert y.tolist() == [0, 0, 0, 0.5, 2]
    assert dx.tolist() == [0, 0, 0, 4, 5]  # none at exactly 0


@pytest.mark.parametrize("slope", [0.1, 1, 3, -0.5, -2])
def test_leaky_relu(slope):
    y, dx = run([-2, 0, 0.5, 2], [1, 2, 3, 4], type="ReLU", negative_slope=slope)
    assert y.tolist() == [-2 * slope, 0, 0.5, 2]
    assert dx.tolist() == [slope, 2 * slope, 3, 4]  # the slope below holds at exactly 0


@pytest.mark.parametrize("slope", [0, 0.1, -0.1])
def test_relu_of_extremes(slope):
    y, dx = run([-np.inf, -1e300, -1000, -1e-300, 1e-300, 1000, 1e300, np.inf], type="ReLU", negative_slope=slope)
    below = [-np.inf, -1e300, -1000, -1e-300]
    assert y.tolist() == [*(slope * x if slope else 0 for x in below), 1e-300, 1000, 1e300, np.inf]
    assert dx.tolist() == [slope] * 4 + [1] * 4


@pytest.mark.parametrize("slope", [0, 0.1, -0.1])
def test_relu_does_not_hide_nan(slope):
    assert np.isnan(run([np.nan], type="ReLU", negative_slope=slope)[0]).all()


POINTS = [-30.0, -5.5, -1.0, -1e-3, -1e-9, 0.0, 1e-9, 1e-3, 0.25, 1.0, 5.5, 30.0]


def test_sigmoid():
    dy = np.arange(1.0, 13)
    y, dx = run(POINTS, dy, type="Sigmoid")
    expected = [1 / (1 + math.exp(-x)) for x in POINTS]
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-16)
    derivative = [math.exp(-x) / (1 + math.exp(-x)) ** 2 for x in POINTS]
    np.testing.assert_allclose(dx, dy * derivative, rtol=1e-10, atol=2e-15)  # 1 - y has the rounding of 1


def test_tanh():
    dy = np.arange(1.0, 13)
    y, dx = run(POINTS, dy, type="TanH")
    np.testing.assert_allclose(y, [math.tanh(x) for x in POINTS], rtol=1e-10, atol=0)
    derivative = [1 / math.cosh(x) ** 2 for x in POINTS]
    np.testing.assert_allclose(dx, dy * derivative, rtol=1e-10, atol=2e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("kind", "values", "slope"), [("Sigmoid", [0, 0, 0.5, 1, 1], 0.25), ("TanH", [-1, -1, 0, 1, 1], 1)]
)
def test_saturation_is_exact(dtype, kind, values, slope):
    y, dx = run([-1e30, -1000, 0, 1000, 1e30], dtype=dtype, type=kind)
    assert y.tolist() == values
    assert dx.tolist() == [0, 0, slope, 0, 0]


@pytest.mark.parametrize("kind", ["ReLU", "Sigmoid", "TanH"])
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1), (2, 1, 3, 2, 2), (0,), (0, 3)])
def test_any_shape(kind, shape):
    y, dx = run(np.ones(shape), type=kind)
    values = {"ReLU": (1, 1), "Sigmoid": (1 / (1 + math.e**-1), math.e / (1 + math.e) ** 2)}
    value, slope = values.get(kind, (math.tanh(1), 1 / math.cosh(1) ** 2))
    np.testing.assert_allclose(y, np.full(shape, value), rtol=1e-10)
    np.testing.assert_allclose(dx, np.full(shape, slope), rtol=1e-10)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"type": "ReLU", "negative_slope": "steep"}, 'negative_slope must be a number, got the string "steep"'),
        ({"type": "ReLU", "slope": 0.1}, "no key `slope`; did you mean `negative_slope`"),
        ({"type": "Sigmoid", "negative_slope": 0.1}, "Sigmoid has no key `negative_slope`; it belongs to ReLU"),
        ({"type": "TanH", "engine": "GPU"}, "engine must be one of DEFAULT, CAFFE, CUDNN"),
        ({"type": "ReLU", "top": ["a", "b"]}, "ReLU `y` takes 1 top, got 2"),
    ],
)
def test_wrong_parameters(layer, words):
    with pytest.raises(nettrain.SpecError, match=words):
        layer_net(layer, (2,), inputs="x")
