"""Elementwise layers against their formulas in plain Python numbers, at kinks, and far out."""

import math

import nettrain
import numpy as np
import pytest

POINTS = [-1000.0, -30.0, -6.0, -1.0, -0.5, -1e-4, 0.0, 1e-4, 0.5, 1.0, 2.0, 6.0, 30.0, 1000.0]


def run(type_name, x, dy=None, dtype="float64", **params):
    """(y, dx) of one layer; dy is 1 where none is given."""
    x = np.asarray(x, dtype)
    layers = [
        {"name": "x", "type": "Input", "shape": list(x.shape)},
        {"name": "y", "type": type_name, "bottom": "x"} | params,
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype=dtype)
    y = net.forward(x=x)["y"].copy()
    dx = net.backward(y=np.ones_like(y) if dy is None else dy)["x"]
    return y, dx


def sigma(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def log1p_exp(x):
    return x if x > 700 else math.log1p(math.exp(x))


def phi(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def cdf(x):
    return math.erfc(-x / math.sqrt(2)) / 2


def mish(x):
    return x * math.tanh(log1p_exp(x))


def mish_slope(x):
    t = math.tanh(log1p_exp(x))
    return t + x * (1 - t * t) * sigma(x)


def tanh_gelu(x):
    return x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2


def tanh_gelu_slope(x):
    t = math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))
    return (1 + t) / 2 + x * (1 - t * t) / 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)


# type, parameters, y(x), dy/dx: at a kink what Caffe's table says
FORMULAS = [
    ("AbsVal", {}, abs, lambda x: math.copysign(1, x) if x else 0),
    ("BNLL", {}, log1p_exp, sigma),
    ("Clip", {"min": -1, "max": 2}, lambda x: min(max(x, -1), 2), lambda x: float(-1 <= x <= 2)),
    ("ELU", {}, lambda x: x if x > 0 else math.expm1(x), lambda x: 1 if x > 0 else math.exp(x)),
    ("ELU", {"alpha": 0.3}, lambda x: x if x > 0 else 0.3 * math.expm1(x), lambda x: 1 if x > 0 else 0.3 * math.exp(x)),
    ("ELU", {"alpha": -2}, lambda x: x if x > 0 else -2 * math.expm1(x), lambda x: 1 if x > 0 else -2 * math.exp(x)),
    ("GELU", {}, lambda x: x * cdf(x), lambda x: cdf(x) + x * phi(x)),
    ("GELU", {"approximate": "tanh"}, tanh_gelu, tanh_gelu_slope),
    ("Mish", {}, mish, mish_slope),
    ("Power", {}, lambda x: x, lambda x: 1),
    ("Power", {"power": 2, "scale": -0.5, "shift": 1}, lambda x: (1 - x / 2) ** 2, lambda x: -(1 - x / 2)),
    ("Power", {"power": 3}, lambda x: x**3, lambda x: 3 * x * x),
    ("Power", {"power": 0, "shift": 2}, lambda x: 1, lambda x: 0),
    ("Power", {"power": 3, "scale": 0, "shift": 2}, lambda x: 8, lambda x: 0),
    ("PReLU", {"channel_shared": True}, lambda x: x if x > 0 else x / 4, lambda x: 1 if x > 0 else 0.25),
    ("ReLU", {"negative_slope": 0.1}, lambda x: x if x > 0 else x / 10, lambda x: 1 if x > 0 else 0.1),
    ("SiLU", {}, lambda x: x * sigma(x), lambda x: sigma(x) * (1 + x * (1 - sigma(x)))),
    ("Softplus", {}, lambda x: x if x > 20 else log1p_exp(x), lambda x: 1 if x > 20 else sigma(x)),
    (
        "Softplus",
        {"beta": 3, "threshold": 2},
        lambda x: x if 3 * x > 2 else log1p_exp(3 * x) / 3,
        lambda x: 1 if 3 * x > 2 else sigma(3 * x),
    ),
    (
        "Swish",
        {"beta": 2},
        lambda x: x * sigma(2 * x),
        lambda x: sigma(2 * x) * (1 + 2 * x * (1 - sigma(2 * x))),
    ),
]

NAMES = [f"{case[0]} {case[1]}" for case in FORMULAS]


@pytest.mark.parametrize(("type_name", "params", "value", "slope"), FORMULAS, ids=NAMES)
def test_formula_and_slope(type_name, params, value, slope):
    x = np.array(POINTS).reshape(2, 7)
    dy = np.linspace(-2, 3, 14).reshape(2, 7)
    y, dx = run(type_name, x, dy, **params)
    np.testing.assert_allclose(y, [[value(v) for v in row] for row in x], rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(dx, dy * [[slope(v) for v in row] for row in x], rtol=1e-11, atol=1e-15)


@pytest.mark.parametrize(("type_name", "params", "value", "slope"), FORMULAS, ids=NAMES)
def test_in_float32_as_good_as_float32_is(type_name, params, value, slope):
    x = np.array(POINTS, "f").reshape(2, 7)
    y, dx = run(type_name, x, dtype="float32", **params)
    np.testing.assert_allclose(y, [[value(float(v)) for v in row] for row in x], rtol=3e-6, atol=2e-7)
    np.testing.assert_allclose(dx, [[slope(float(v)) for v in row] for row in x], rtol=3e-6, atol=2e-6)


def test_float32_gelu_keeps_its_digits_over_the_whole_range():
    x = np.linspace(-8, 8, 20001, dtype="f")[None]
    y, _ = run("GELU", x, dtype="float32", engine="numpy")
    exact = np.array([v * cdf(v) for v in x[0].astype(float)])
    np.testing.assert_allclose(y[0], exact, rtol=2e-5, atol=2e-7)


@pytest.mark.parametrize(
    ("params", "value", "slope"),
    [
        ({}, math.exp, math.exp),
        (
            {"base": 2, "scale": 3, "shift": -1},
            lambda x: 2 ** (3 * x - 1),
            lambda x: 2 ** (3 * x - 1) * 3 * math.log(2),
        ),
        ({"base": 0.5}, lambda x: 0.5**x, lambda x: 0.5**x * math.log(0.5)),
    ],
)
def test_exp(params, value, slope):
    x = np.array([[-5.0, -0.5, 0, 1, 3]])
    y, dx = run("Exp", x, **params)
    np.testing.assert_allclose(y[0], [value(v) for v in x[0]], rtol=1e-13)
    np.testing.assert_allclose(dx[0], [slope(v) for v in x[0]], rtol=1e-13)
    assert run("Exp", [[1000.0, -1000.0]])[0].tolist() == [[math.inf, 0]]


@pytest.mark.parametrize(
    ("params", "value", "slope"),
    [
        ({}, math.log, lambda x: 1 / x),
        ({"base": 2, "scale": 3, "shift": 1}, lambda x: math.log2(3 * x + 1), lambda x: 3 / math.log(2) / (3 * x + 1)),
    ],
)
def test_log(params, value, slope):
    x = np.array([[0.01, 0.5, 1, 3, 1000]])
    y, dx = run("Log", x, **params)
    np.testing.assert_allclose(y[0], [value(v) for v in x[0]], rtol=1e-13)
    np.testing.assert_allclose(dx[0], [slope(v) for v in x[0]], rtol=1e-13)
    y, dx = run("Log", [[0.0, -1.0]])
    assert y[0, 0] == -math.inf
    assert math.isnan(y[0, 1])


def test_power_of_what_has_none_is_nan_or_infinite_without_a_warning():
    y, dx = run("Power", [[0.0, -1.0]], power=-0.5)
    assert y[0, 0] == math.inf
    assert math.isnan(y[0, 1])
    assert math.isinf(dx[0, 0])


def test_threshold():
    assert run("Threshold", [[-1, 0.5, 0.7, 1000]], threshold=0.5)[0].tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("type_name", ["AbsVal", "BNLL", "ELU", "GELU", "Mish", "SiLU", "Softplus", "Swish", "PReLU"])
def test_nan_stays_nan(type_name):
    y, _ = run(type_name, [[math.nan, 1]])
    assert math.isnan(y[0, 0])
    assert not math.isnan(y[0, 1])


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (2, 3, 1, 2, 2)])
@pytest.mark.parametrize("type_name", ["AbsVal", "BNLL", "ELU", "Exp", "GELU", "Mish", "SiLU", "PReLU", "LogSoftmax"])
def test_any_shape(type_name, shape):
    y, dx = run(type_name, np.ones(shape))
    assert y.shape == dx.shape == shape


def test_prelu_has_a_slope_for_each_channel():
    x = np.array([[[-2.0, 3], [-4, 0], [1, -1]]])
    layers = [{"name": "x", "type": "Input", "shape": [1, 3, 2]}, {"name": "y", "type": "PReLU", "bottom": "x"}]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN")
    assert net.params["y"][0].data.tolist() == [0.25] * 3
    net.params["y"][0].data[...] = [0.5, -1, 2]
    assert net.forward(x=x)["y"].tolist() == [[[-1, 3], [4, 0], [1, -2]]]
    net.params["y"][0].diff[...] = 100
    dx = net.backward(y=np.array([[[1, 2], [3, 4], [5, 6]]]))["x"]
    assert dx.tolist() == [[[0.5, 2], [-3, -4], [5, 12]]]
    assert net.params["y"][0].diff.tolist() == [100 - 2, 100 - 12, 100 - 6]


def test_maxout_takes_the_first_of_equal_pieces():
    x = np.array([[1.0, 5, 2, 2, -1, -3]])
    y, dx = run("Maxout", x, np.array([[10.0, 20, 30]]), num_pieces=2)
    assert y.tolist() == [[5, 2, -1]]
    assert dx.tolist() == [[0, 10, 20, 0, 30, 0]]
    y, _ = run("Maxout", x.reshape(6, 1), num_pieces=3, axis=0)
    assert y.tolist() == [[5], [2]]


def test_log_softmax_is_exact_where_softmax_is_zero():
    y, dx = run("LogSoftmax", [[1000.0, 0, -1000]], np.array([[1.0, 2, 3]]))
    assert y.tolist() == [[0, -1000, -2000]]
    assert dx.tolist() == [[1 - 6, 2, 3]]
