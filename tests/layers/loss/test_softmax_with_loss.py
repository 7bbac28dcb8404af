"""SoftmaxWithLoss: the formula in loops with every normalization, huge scores, two tops, and what it refuses."""

import math
from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net

loss_net = partial(layer_net, "SoftmaxWithLoss", inputs="x label", name="loss")


def run(x, label, **params):
    """The loss and its gradient."""
    net = loss_net(np.shape(x), np.shape(label), **params)
    net.forward(x=x, label=label)
    return net.loss, net.backward()["x"]


def slow_loss(x, label, axis=1, ignore_label=None, normalization="VALID"):
    """One position at a time: the loss and its gradient, with exact sums."""
    x = np.moveaxis(x, axis, -1)
    label, dx, losses = np.reshape(label, x.shape[:-1]), np.zeros(x.shape), []
    for place in np.ndindex(label.shape):
        y = int(label[place])
        if y == ignore_label:
            continue
        exps = [math.exp(score) for score in x[place]]
        losses.append(-math.log(exps[y] / math.fsum(exps)))
        dx[place] = [e / math.fsum(exps) - (k == y) for k, e in enumerate(exps)]
    outer = math.prod(label.shape[:axis])
    D = {"VALID": len(losses), "FULL": label.size, "BATCH_SIZE": outer, "NONE": 1}[normalization]
    D = max(1, D)
    return math.fsum(losses) / D, np.moveaxis(dx / D, -1, axis)


def test_known_values():
    loss, dx = run([[0, 0], [math.log(3), 0]], [0, 1])
    np.testing.assert_allclose(loss, (math.log(2) + math.log(4)) / 2, rtol=1e-12)
    np.testing.assert_allclose(dx, [[-0.25, 0.25], [0.375, -0.375]], rtol=1e-12)


def test_equal_scores_lose_the_logarithm_of_the_number_of_classes():
    np.testing.assert_allclose(run(np.zeros((4, 10)), [0, 3, 5, 9])[0], math.log(10), rtol=1e-12)


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
@pytest.mark.parametrize("ignore_label", [None, 0, 2, 255, -1])
@pytest.mark.parametrize(
    ("shape", "axis", "label_shape"),
    [
        ((5, 4), 1, (5,)),
        ((5, 4), -1, (5, 1)),
        ((2, 4, 3), 1, (2, 3)),
        ((2, 4, 3, 2), 1, (2, 1, 3, 2)),
        ((2, 3, 2, 4), 3, (2, 3, 2)),
        ((2, 3, 4, 2), 2, (2, 3, 2)),
        ((1, 4), 1, (1,)),
    ],
)
def test_the_formula_in_loops(shape, axis, label_shape, ignore_label, normalization):
    rng = np.random.default_rng(6)
    x = 3 * rng.standard_normal(shape)
    choices = [0, 1, 2, 3] if ignore_label is None else [0, 1, 2, 3, ignore_label]
    label = rng.choice(choices, label_shape)
    params = {} if ignore_label is None else {"ignore_label": ignore_label}
    loss, dx = run(x, label, axis=axis, normalization=normalization, **params)
    expected, expected_dx = slow_loss(x, label, axis % len(shape), ignore_label, normalization)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-15)


@pytest.mark.parametrize(
    ("params", "divisor"),
    [
        ({}, 5),  # VALID
        ({"normalization": "VALID"}, 5),
        ({"normalization": "FULL"}, 6),
        ({"normalization": "BATCH_SIZE"}, 2),
        ({"normalization": "NONE"}, 1),
        ({"normalize": True}, 5),
        ({"normalize": False}, 2),
        ({"normalize": False, "normalization": "FULL"}, 6),  # the old key counts only without the new one
    ],
)
def test_the_divisor(params, divisor):
    loss, dx = run(np.zeros((2, 4, 3)), [[0, 1, 2], [3, 9, 0]], ignore_label=9, **params)
    np.testing.assert_allclose(loss, 5 * math.log(4) / divisor, rtol=1e-12)
    np.testing.assert_allclose(dx[0, 0, 0], -0.75 / divisor, rtol=1e-12)
    np.testing.assert_allclose(dx[0, 1, 0], 0.25 / divisor, rtol=1e-12)
    assert dx[1, :, 1].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("normalization", ["VALID", "FULL", "BATCH_SIZE", "NONE"])
def test_a_batch_of_ignored_labels_costs_nothing(normalization):
    loss, dx = run(np.full((3, 2), 5), [1, 1, 1], ignore_label=1, normalization=normalization)
    assert loss == 0
    assert dx.tolist() == [[0, 0]] * 3


@pytest.mark.parametrize("size", [100, 1000, 1e4, 1e300])
def test_huge_scores_cost_exactly_their_distance(size):
    loss, dx = run([[size, 0, 0], [-size, 0, -size]], [0, 1])
    assert loss == 0
    np.testing.assert_allclose(dx, np.zeros((2, 3)), atol=1e-40)
    loss, dx = run([[size, 0, 0], [-size, 0, -size]], [1, 2], normalization="NONE")
    assert loss == 2 * size  # Caffe: 87.34 each at most
    np.testing.assert_allclose(dx, [[1, -1, 0], [0, 1, -1]], atol=1e-40)


@pytest.mark.parametrize("shift", [-1e4, 1000, 1e4])
def test_a_constant_added_to_every_score_changes_nothing(shift):
    x = np.array([[0, 1, 4], [2, -3, 0]])
    loss, dx = run(x, [0, 1])
    shifted_loss, shifted_dx = run(x + shift, [0, 1])
    assert shifted_loss == loss
    np.testing.assert_array_equal(shifted_dx, dx)


def test_a_tiny_loss_is_not_rounded_away():
    loss, _ = run([[36, 0]], [0])
    np.testing.assert_allclose(loss, math.log1p(math.exp(-36)), rtol=0.05)


def test_the_loss_weight_scales_loss_and_gradient():
    x, label = [[1, 2, 0], [0, 1, 1]], [2, 0]
    loss, dx = run(x, label)
    weighted, weighted_dx = run(x, label, loss_weight=-3)
    np.testing.assert_allclose(weighted, -3 * loss, rtol=1e-12)
    np.testing.assert_allclose(weighted_dx, -3 * dx, rtol=1e-12)


def test_the_second_top_is_the_probabilities():
    net = loss_net((2, 3), (2,), top=["loss", "p"], ignore_label=1)
    x = np.array([[0, math.log(2), math.log(5)], [1000, 0, 0]])
    outputs = net.forward(x=x, label=[1, 0])
    np.testing.assert_allclose(outputs["p"], [[1 / 8, 2 / 8, 5 / 8], [1, 0, 0]], rtol=1e-12, atol=0)


def test_both_tops_pass_gradients():
    x, label, dp = np.array([[0.5, -1, 2], [0, 3, 1]]), [1, 2], np.array([[1, 0, 2], [-1, 5, 0]])
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 3]},
        {"name": "label", "type": "Input", "shape": [2]},
        {"name": "both", "type": "SoftmaxWithLoss", "bottom": ["x", "label"], "top": ["loss", "p"]},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
    p = net.forward(x=x, label=label)["p"]
    softmax_part = p * (dp - (dp * p).sum(axis=1, keepdims=True))
    dx = net.backward(p=dp)["x"]
    np.testing.assert_allclose(dx, run(x, label)[1] + softmax_part, rtol=1e-10)


def test_no_examples():
    loss, dx = run(np.zeros((0, 3)), np.zeros(0))
    assert loss == 0
    assert dx.shape == (0, 3)


def test_one_class_costs_nothing():
    loss, dx = run([[1000], [-5]], [0, 0])
    assert loss == 0
    assert dx.tolist() == [[0], [0]]


def test_an_ignored_position_has_no_gradient_whatever_its_scores():
    loss, dx = run([[np.nan, 0, 1], [0, 0, 0]], [1, 0], ignore_label=1)
    np.testing.assert_allclose(loss, math.log(3), rtol=1e-12)
    assert dx[0].tolist() == [0, 0, 0]


def test_nan_is_not_hidden():
    assert math.isnan(run([[np.nan, 0, 1], [0, 0, 0]], [1, 0])[0])


@pytest.mark.parametrize(
    ("label", "params", "words"),
    [
        ([0, 3], {}, r"label 3 at example 1 of the batch is not one of the 3 classes \(0..2\)"),
        ([-1, 0], {}, "label -1 at example 0"),
        ([0, 1.5], {}, "label 1.5 at example 1"),
        ([-0.5, 0], {}, "label -0.5 at example 0"),
        ([0, 7], {"ignore_label": 8}, "label 7 at example 1"),
        ([1.5, 0], {"ignore_label": 1}, "label 1.5 at example 0"),
        ([0, np.nan], {}, "label nan at example 1"),
        ([np.inf, 0], {}, "label inf at example 0"),
        ([1e30, 0], {}, r"label 1e\+30 at example 0"),
    ],
)
def test_labels_are_checked(label, params, words):
    with pytest.raises(nettrain.NettrainError, match=words):
        run(np.zeros((2, 3)), label, **params)


@pytest.mark.parametrize(
    ("scores", "labels", "params", "words"),
    [
        ((2, 3), (3,), {}, "same number of examples .* got 2 x 3 and 3"),
        ((2, 3), (), {}, "same number of examples .* got 2 x 3 and scalar"),
        ((), (), {}, "same number of examples"),
        ((2, 3), (2, 2), {}, "2 x 3 with the classes on axis 1 need 2 labels, got 2 x 2 = 4"),
        ((2, 3, 4), (2, 3), {}, "2 x 3 x 4 with the classes on axis 1 need 8 labels, got 2 x 3 = 6"),
        ((2, 3), (2,), {"axis": 2}, "axis 2 of 2 x 3: there are axes -2 to 1"),
        ((2, 3), (2,), {"normalization": "MEAN"}, "normalization must be one of FULL, VALID, BATCH_SIZE, NONE"),
        ((2, 3), (2,), {"ignore_label": 0.5}, "ignore_label must be an integer"),
    ],
)
def test_what_does_not_fit_is_said(scores, labels, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        loss_net(scores, labels, **params)


def test_labels_have_no_gradient():
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 3]},
        {"name": "ip", "type": "InnerProduct", "num_output": 1},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["x", "ip"]},
    ]
    with pytest.raises(nettrain.SpecError, match="SoftmaxWithLoss `loss` has no gradient for its bottom 1"):
        nettrain.Net({"layers": layers}, phase="TRAIN")
