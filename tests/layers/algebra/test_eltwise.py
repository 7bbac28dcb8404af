"""Eltwise: known values, the formula in loops, ties of MAX, and what it refuses."""

import math

import nettrain
import numpy as np
import pytest
from helpers import layer_net


def run(*xs, dy=None, **params):
    """y, and the gradient of each input, for dy (ones when it is not given)."""
    net = layer_net("Eltwise", *(np.shape(x) for x in xs), **params)
    y = net.forward(**{f"x{i}": x for i, x in enumerate(xs)})["y"]
    dxs = net.backward(y=np.ones(y.shape) if dy is None else dy)
    return y.tolist(), [dx.tolist() for dx in dxs.values()]


@pytest.mark.parametrize(
    ("params", "y", "dxs"),
    [
        ({}, [11, 7, 1], [[1, 10, 100], [1, 10, 100], [1, 10, 100]]),
        ({"operation": "SUM"}, [11, 7, 1], [[1, 10, 100], [1, 10, 100], [1, 10, 100]]),
        ({"coeff": [1, -2, 0.5]}, [-8, -9.5, 3], [[1, 10, 100], [-2, -20, -200], [0.5, 5, 50]]),
        ({"coeff": [0, 0, 0]}, [0, 0, 0], [[0, 0, 0], [0, 0, 0], [0, 0, 0]]),
        ({"operation": "PROD"}, [36, -15, 0], [[12, 150, -200], [6, -30, 0], [18, -50, 0]]),
        ({"operation": "MAX"}, [6, 5, 2], [[0, 0, 0], [1, 10, 0], [0, 0, 100]]),
    ],
)
def test_known_values(params, y, dxs):
    assert run([3, -1, 0], [6, 5, -1], [2, 3, 2], dy=[1, 10, 100], **params) == (y, dxs)


@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
def test_the_formula_in_loops(operation, count):
    rng = np.random.default_rng(2)
    xs, dy = rng.standard_normal((count, 2, 3, 2)), rng.standard_normal((2, 3, 2))
    coeff = [0.5, -1, 3, 0.25, -2][:count]
    y, dxs = run(*xs, dy=dy, operation=operation, **({"coeff": coeff} if operation == "SUM" else {}))
    expected_y, expected_dxs = np.zeros(dy.shape), np.zeros(xs.shape)
    for place in np.ndindex(dy.shape):
        values = [float(x[place]) for x in xs]
        if operation == "SUM":
            expected_y[place] = sum(c * x for c, x in zip(coeff, values, strict=True))
            slopes = coeff
        elif operation == "PROD":
            expected_y[place] = math.prod(values)
            slopes = [math.prod(values[:i] + values[i + 1 :]) for i in range(count)]
        else:
            expected_y[place] = max(values)
            slopes = [float(i == values.index(max(values))) for i in range(count)]
        for i, slope in enumerate(slopes):
            expected_dxs[i][place] = dy[place] * slope
    np.testing.assert_allclose(y, expected_y, rtol=1e-10)
    np.testing.assert_allclose(dxs, expected_dxs, rtol=1e-10)


@pytest.mark.parametrize(
    ("values", "winner"),
    [
        ([1, 1], 1),  # of the first two the second, as in Caffe
        ([1, 1, 1], 1),
        ([1, 0, 1], 0),  # a later one must be larger
        ([0, 1, 1], 1),
        ([0, 0, 1, 1], 2),
        ([-1000, -1000], 1),
        ([0, 0, 1000, 1000, 1000], 2),
    ],
)
def test_of_equal_values_one_gets_the_whole_gradient(values, winner):
    y, dxs = run(*([value] for value in values), dy=[7], operation="MAX")
    assert y == [max(values)]
    assert dxs == [[7 if i == winner else 0] for i in range(len(values))]


def test_zeros_are_no_trouble_for_the_gradient_of_a_product():
    _, dxs = run([0, 0, 0], [5, 0, 0], [7, 7, 0], operation="PROD")
    assert dxs == [[35, 0, 0], [0, 0, 0], [0, 0, 0]]
    _, dxs = run([0, 2], [5, 0], operation="PROD", stable_prod_grad=False)
    assert dxs == [[5, 0], [0, 2]]


@pytest.mark.parametrize(
    ("params", "y", "dx"),
    [
        ({}, [6], [2]),
        ({"coeff": [3, 1]}, [12], [4]),
        ({"operation": "PROD"}, [9], [6]),
        ({"operation": "MAX"}, [3], [1]),
    ],
)
def test_a_blob_may_be_given_twice(params, y, dx):
    assert run([3], bottom=["x0", "x0"], **params) == (y, [dx])


@pytest.mark.parametrize(("operation", "y"), [("SUM", 0), ("PROD", -1e6), ("MAX", 1000)])
def test_large_numbers(operation, y):
    assert run([1000], [-1000], operation=operation)[0] == [y]


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (1, 2, 1, 2)])
def test_any_shape(operation, shape):
    y, dxs = run(np.full(shape, 2), np.full(shape, 3), operation=operation)
    expected = {"SUM": (5, 1, 1), "PROD": (6, 3, 2), "MAX": (3, 0, 1)}[operation]
    for got, value in zip((y, *dxs), expected, strict=True):
        assert got == np.full(shape, value).tolist()


@pytest.mark.parametrize(
    ("shapes", "params", "words"),
    [
        (((2, 3), (2, 3)), {"operation": "DIV"}, "operation must be one of PROD, SUM, MAX"),
        (((2, 3), (2, 3)), {"coeff": [1]}, "2 bottoms need 2 coefficients, got 1"),
        (((2, 3), (2, 3)), {"coeff": [1, 2, 3]}, "2 bottoms need 2 coefficients, got 3"),
        (((2, 3), (2, 3)), {"coeff": [1, 2], "operation": "PROD"}, "coeff works with SUM only, not with PROD"),
        (((2, 3), (2, 3)), {"coeff": [1, 2], "operation": "MAX"}, "coeff works with SUM only, not with MAX"),
        (((2, 3), (2, 1)), {}, "must have the same shape; axis 1 differs, 3 and 1"),
        (((2, 3), (2, 3), (4, 3)), {}, "must have the same shape; axis 0 differs, 2 and 4"),
        (((2, 3), (3,)), {}, "must have the same shape; the numbers of axes differ"),
        (((2, 3),), {}, "Eltwise `y` takes at least 2 bottoms, got 1"),
    ],
)
def test_what_does_not_fit_is_said(shapes, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        layer_net("Eltwise", *shapes, **params)


def test_shapes_that_stop_fitting():
    net = layer_net("Eltwise", (2, 3), (2, 3))
    with pytest.raises(nettrain.ShapeError, match="axis 0 differs, 4 and 2"):
        net.forward(x0=np.zeros((4, 3)))
