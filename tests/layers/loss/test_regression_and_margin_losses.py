"""EuclideanLoss and HingeLoss: known values, the formulas in loops, extremes, and what they refuse."""

import math
from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net

loss_net = partial(layer_net, inputs="a b", name="loss")


def run(kind, a, b, **params):
    """The loss, and the gradients of both bottoms."""
    net = loss_net(kind, np.shape(a), np.shape(b), **params)
    net.forward(a=a, b=b)
    net.blobs["b"].diff[...] = 777
    gradients = net.backward()
    return net.loss, gradients["a"], gradients["b"]


def test_euclidean_loss():
    loss, da, db = run("EuclideanLoss", [[1, 2], [3, 4]], [[1, 0], [0, 8]])
    assert loss == (4 + 9 + 16) / 4
    assert da.tolist() == [[0, 1], [1.5, -2]]
    assert db.tolist() == [[0, -1], [-1.5, 2]]


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [((4, 3), (4, 3)), ((1, 5), (1, 5)), ((3,), (3,)), ((3,), (3, 1)), ((2, 3, 2), (2, 6)), ((2, 6), (2, 1, 2, 3, 1))],
)
@pytest.mark.parametrize("loss_weight", [1, 0.25, -2])
def test_euclidean_loss_in_loops(a_shape, b_shape, loss_weight):
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal(a_shape), rng.standard_normal(b_shape)
    loss, da, db = run("EuclideanLoss", a, b, loss_weight=loss_weight)
    pairs = list(zip(a.ravel(), b.ravel(), strict=True))
    total = math.fsum((x - y) ** 2 for x, y in pairs)
    np.testing.assert_allclose(loss, loss_weight * total / (2 * len(a)), rtol=1e-10)
    difference = [loss_weight * (x - y) / len(a) for x, y in pairs]
    np.testing.assert_allclose(da, np.reshape(difference, a_shape), rtol=1e-10)
    np.testing.assert_allclose(db, -np.reshape(difference, b_shape), rtol=1e-10)


def test_equal_bottoms_are_no_distance():
    loss, da, db = run("EuclideanLoss", [[1000, -1000]], [[1000, -1000]])
    assert (loss, da.tolist(), db.tolist()) == (0, [[0, 0]], [[0, 0]])


def test_a_large_distance():
    loss, da, db = run("EuclideanLoss", [[1e100]], [[-1e100]])
    np.testing.assert_allclose([loss, da.item(), db.item()], [2e200, 2e100, -2e100], rtol=1e-12)


def test_a_loss_of_a_blob_with_itself_has_no_gradient():
    layers = [{"name": "a", "type": "Input", "shape": [2, 3]}, {"name": "loss", "type": "EuclideanLoss"}]
    layers[1]["bottom"] = ["a", "a"]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
    net.forward(a=np.ones((2, 3)))
    assert net.loss == 0
    assert not net.backward()["a"].any()


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ((2, 3), (3, 3), "same number of examples .axis 0., got 2 x 3 and 3 x 3"),
        ((2, 3), (2, 4), "the same number of values for each example, got 3 and 4"),
        ((2, 3), (2,), "the same number of values for each example, got 3 and 1"),
        ((), (), "same number of examples .axis 0., got scalar and scalar"),
    ],
)
def test_what_euclidean_loss_refuses(a, b, words):
    with pytest.raises(nettrain.SpecError, match=words):
        loss_net("EuclideanLoss", a, b)


SCORES, LABELS = [[2, 0.5, -3], [-0.5, 1, 0]], [0, 2]
# margins 1 - δx:   -1  1.5  -2      0.5  2  1


@pytest.mark.parametrize(
    ("norm", "loss", "gradient"),
    [
        ("L1", (1.5 + 0.5 + 2 + 1) / 2, [[0, 0.5, 0], [0.5, 0.5, -0.5]]),
        ("L2", (1.5**2 + 0.5**2 + 4 + 1) / 2, [[0, 1.5, 0], [0.5, 2, -1]]),
    ],
)
def test_hinge_loss(norm, loss, gradient):
    got, dx, label_diff = run("HingeLoss", SCORES, LABELS, norm=norm)
    assert got == loss
    assert dx.tolist() == gradient
    assert label_diff.tolist() == [777, 777]  # labels have no gradient


def test_l1_is_the_default_norm():
    assert run("HingeLoss", SCORES, LABELS)[0] == 2.5


@pytest.mark.parametrize("norm", ["L1", "L2"])
@pytest.mark.parametrize("loss_weight", [1, -0.5])
@pytest.mark.parametrize(
    ("shape", "label_shape"), [((5, 4), (5,)), ((1, 3), (1, 1)), ((3, 2, 2), (3,)), ((4, 1), (4,))]
)
def test_hinge_loss_in_loops(shape, label_shape, loss_weight, norm):
    rng = np.random.default_rng(8)
    x = 2 * rng.standard_normal(shape)
    K = x.size // len(x)
    label = rng.integers(0, K, label_shape)
    loss, dx, _ = run("HingeLoss", x, label, norm=norm, loss_weight=loss_weight)
    rows, expected_dx, terms = x.reshape(-1, K), np.zeros((len(x), K)), []
    power = 1 if norm == "L1" else 2
    for n, k in np.ndindex(rows.shape):
        sign = 1 if label.ravel()[n] == k else -1
        margin = 1 - sign * rows[n, k]
        if margin > 0:
            terms.append(margin**power)
            expected_dx[n, k] = -sign * power * margin ** (power - 1) * loss_weight / len(x)
    np.testing.assert_allclose(loss, loss_weight * math.fsum(terms) / len(x), rtol=1e-10)
    np.testing.assert_allclose(dx, expected_dx.reshape(shape), rtol=1e-10)


@pytest.mark.parametrize("norm", ["L1", "L2"])
def test_scores_on_the_margin_have_no_gradient(norm):
    loss, dx, _ = run("HingeLoss", [[1, -1]], [0], norm=norm)
    assert loss == 0
    assert not dx.any()


@pytest.mark.parametrize(("norm", "wrong"), [("L1", 2 * 1001), ("L2", 2 * 1001**2)])
def test_hinge_loss_of_extremes(norm, wrong):
    assert run("HingeLoss", [[1000, -1000]], [0], norm=norm)[0] == 0
    assert run("HingeLoss", [[1000, -1000]], [1], norm=norm)[0] == wrong


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ([0, 3], "label 3 at example 1 of the batch is not one of the 3 classes"),
        ([-1, 0], "label -1 at example 0"),
        ([0, 0.5], "label 0.5 at example 1"),
        ([np.nan, 0], "label nan at example 0"),
    ],
)
def test_labels_are_checked(label, words):
    with pytest.raises(nettrain.NettrainError, match=words):
        run("HingeLoss", np.zeros((2, 3)), label)


@pytest.mark.parametrize(
    ("a", "b", "params", "words"),
    [
        ((2, 3), (3,), {}, "same number of examples .axis 0., got 2 x 3 and 3"),
        ((2, 3), (2, 3), {}, "2 examples need 2 labels, got 2 x 3"),
        ((2, 3), (2,), {"norm": "L3"}, "norm must be one of L1, L2"),
        ((2, 3), (2,), {"norm": 1}, "norm must be one of L1, L2, got 1"),
    ],
)
def test_what_hinge_loss_refuses(a, b, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        loss_net("HingeLoss", a, b, **params)


@pytest.mark.parametrize(("kind", "b"), [("EuclideanLoss", (0, 3)), ("HingeLoss", (0,))])
def test_no_examples_cost_nothing(kind, b):
    loss, da, _ = run(kind, np.zeros((0, 3)), np.zeros(b))
    assert loss == 0
    assert da.shape == (0, 3)
