"""Softmax: known values, the formula in loops along any axis, huge scores."""

import math
from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net

softmax_net = partial(layer_net, "Softmax", inputs="x")


def softmax(scores):
    """The formula for a list of numbers."""
    total = sum(math.exp(x) for x in scores)
    return [math.exp(x) / total for x in scores]


def test_known_values():
    y = softmax_net((3, 3)).forward(x=[[0, 0, 0], [0, math.log(2), math.log(5)], [-1, -1 + math.log(3), -1]])["y"]
    np.testing.assert_allclose(y, [[1 / 3] * 3, [1 / 8, 2 / 8, 5 / 8], [0.2, 0.6, 0.2]], rtol=1e-12)


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 4), 1),
        ((3, 4), 0),
        ((2, 3, 4), 1),
        ((2, 3, 4), 2),
        ((2, 3, 4), -3),
        ((5,), 0),
        ((1, 1), 1),
        ((2, 3, 2, 2), 1),
    ],
)
def test_the_formula_in_loops(shape, axis):
    rng = np.random.default_rng(4)
    x, dy = 3 * rng.standard_normal(shape), rng.standard_normal(shape)
    net = softmax_net(shape, axis=axis)
    y = net.forward(x=x)["y"]
    dx = net.backward(y=dy)["x"]
    for place in np.ndindex(np.take(x, 0, axis).shape):
        row = [*place]
        row.insert(axis % len(shape), slice(None))
        p, g = softmax(x[*row].tolist()), dy[*row].tolist()
        np.testing.assert_allclose(y[*row], p, rtol=1e-10)
        inner = sum(a * b for a, b in zip(p, g, strict=True))
        np.testing.assert_allclose(
            dx[*row], [a * (b - inner) for a, b in zip(p, g, strict=True)], rtol=1e-10, atol=1e-15
        )


@pytest.mark.parametrize("shift", [-1e4, -1000, 700, 1000, 1e4, 1e8])
def test_a_constant_added_to_every_score_changes_nothing(shift):
    x = np.array([[0, 1, 4], [2, -3, 0]])
    net = softmax_net((2, 3))
    plain = net.forward(x=x)["y"].copy()
    np.testing.assert_array_equal(net.forward(x=x + shift)["y"], plain)


@pytest.mark.parametrize("size", [1000, 1e4, 1e300])
def test_huge_scores_give_certainty(size):
    net = softmax_net((4, 3))
    x = np.array([[1, 0, 0], [0, -1, 0], [1, 1, -1], [-1, 1, 0]]) * size
    y = net.forward(x=x)["y"]
    assert y.tolist() == [[1, 0, 0], [0.5, 0, 0.5], [0.5, 0.5, 0], [0, 1, 0]]
    dx = net.backward(y=np.ones((4, 3)) * [1, 2, 4])["x"]
    assert dx.tolist() == [[0, 0, 0], [-0.75, 0, 0.75], [-0.25, 0.25, 0], [0, 0, 0]]


def test_a_score_of_minus_infinity_is_probability_0():
    net = softmax_net((1, 3))
    assert net.forward(x=[[-np.inf, 0, 0]])["y"].tolist() == [[0, 0.5, 0.5]]
    assert net.backward(y=[[1, 2, 4]])["x"].tolist() == [[0, -0.5, 0.5]]


def test_one_class_is_certain():
    net = softmax_net((3, 1))
    assert net.forward(x=[[-1000], [0], [1000]])["y"].tolist() == [[1], [1], [1]]
    assert net.backward(y=[[1], [2], [3]])["x"].tolist() == [[0], [0], [0]]


@pytest.mark.parametrize("shape", [(0, 3), (2, 3, 0)])
def test_no_examples(shape):
    net = softmax_net(shape)
    assert net.forward()["y"].shape == shape
    assert net.backward()["x"].shape == shape


@pytest.mark.parametrize(
    ("shape", "params", "words"),
    [
        ((2, 3), {"axis": 2}, "axis 2 of 2 x 3: there are axes -2 to 1"),
        ((2, 3), {"axis": -3}, "axis -3 of 2 x 3"),
        ((4,), {}, "axis 1 of 4"),
        ((2, 3), {"softmax_param": {"axis": 1}}, "write axis beside type"),
        ((2, 3), {"num_output": 3}, "Softmax has no key `num_output`; it belongs to"),
    ],
)
def test_wrong_parameters(shape, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        softmax_net(shape, **params)


def test_no_classes_is_said():
    with pytest.raises(nettrain.SpecError, match="axis 1 of 2 x 0 has no classes"):
        nettrain.Net({"layers": [{"name": "x", "type": "Input", "shape": [2, 0]}, {"name": "y", "type": "Softmax"}]})
