"""Losses by hand, far out, for empty batches, and against each other where they coincide."""

import math

import nettrain
import numpy as np
import pytest
from nettrain import NettrainError


def loss_of(type_name, *bottoms, weight=None, folder=None, **params):
    """(loss, gradient of each bottom that has one)."""
    bottoms = [np.asarray(b, float) for b in bottoms]
    names = [f"b{i}" for i in range(len(bottoms))]
    layers = [{"name": n, "type": "Input", "shape": list(b.shape)} for n, b in zip(names, bottoms, strict=True)]
    layer = {"name": "loss", "type": type_name, "bottom": names} | params
    layers.append(layer | ({} if weight is None else {"loss_weight": weight}))
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
    net.forward(**dict(zip(names, bottoms, strict=True)))
    gradients = net.backward()
    return float(net.blobs["loss"].data), [gradients[name].copy() for name in names]


def test_multiclass_svm_of_the_lecture():
    # cat, car, frog of CS231n: scores of three images, losses 2.9, 0, 12.9
    scores = [[3.2, 5.1, -1.7], [1.3, 4.9, 2.0], [2.2, 2.5, -3.1]]
    loss, (gradient, _) = loss_of("MulticlassSVMLoss", scores, [0, 1, 2])
    assert loss == pytest.approx((2.9 + 0 + 12.9) / 3)
    np.testing.assert_allclose(3 * gradient, [[-1, 1, 0], [0, 0, 0], [1, 1, -2]])
    assert loss_of("MulticlassSVMLoss", scores, [0, 1, 2], margin=0)[0] == pytest.approx((1.9 + 10.9) / 3)
    np.testing.assert_allclose(loss_of("MulticlassSVMLoss", scores, [0, 1, 2], weight=2)[1][0], 2 * gradient)


def test_multiclass_svm_with_labels_to_ignore():
    loss, (gradient, _) = loss_of("MulticlassSVMLoss", [[1, 2], [5, 9], [0, 0]], [0, 255, 1], ignore_label=255)
    assert loss == pytest.approx((2 + 1) / 2)
    np.testing.assert_allclose(gradient, [[-0.5, 0.5], [0, 0], [0.5, -0.5]])


def test_contrastive_pairs_by_hand():
    a, b = [[3.0, 4], [3, 4], [0, 1], [0, 0]], np.zeros((4, 2))
    # d = 5, 5, 1, 0; similar, not and beyond the margin, not and within, not and equal
    loss, (da, db, _) = loss_of("ContrastiveLoss", a, b, [1, 0, 0, 0], margin=4)
    assert loss == pytest.approx((25 + 0 + 9 + 16) / 8)
    np.testing.assert_allclose(da, np.array([[3, 4], [0, 0], [0, -3 / 1.0001], [0, 0]]) / 4, rtol=1e-12)
    np.testing.assert_array_equal(db, -da)
    loss, (da, _, _) = loss_of("ContrastiveLoss", a, b, [1, 0, 0, 0], margin=4, legacy_version=True)
    assert loss == pytest.approx((25 + 0 + 3 + 4) / 8)
    np.testing.assert_allclose(da, np.array([[3, 4], [0, 0], [0, -1], [0, 0]]) / 4)


def test_multinomial_logistic_loss_by_hand():
    p = [[0.25, 0.75], [0.0, 1.0]]
    loss, (gradient, _) = loss_of("MultinomialLogisticLoss", p, [0, 0])
    assert loss == pytest.approx((math.log(4) - math.log(1e-20)) / 2)
    np.testing.assert_allclose(gradient, [[-2, 0], [-0.5e20, 0]])


def test_sigmoid_cross_entropy_far_out_and_by_hand():
    x, t = [[1000.0, -1000, 0]], [[0.0, 1, 0.25]]
    loss, (gradient, _) = loss_of("SigmoidCrossEntropyLoss", x, t)
    assert loss == pytest.approx(2000 + math.log(2))
    np.testing.assert_allclose(gradient, [[1, -1, 0.25]])
    # the target 0.25 is cut to 0, and ignored with it
    loss, (gradient, _) = loss_of("SigmoidCrossEntropyLoss", x, t, ignore_label=0, normalization="VALID")
    assert loss == pytest.approx(1000)
    np.testing.assert_allclose(gradient, [[0, -1, 0]])


@pytest.mark.parametrize(
    ("normalization", "divisor"), [("FULL", 6), ("VALID", 4), ("BATCH_SIZE", 3), ("NONE", 1), (None, 3)]
)
def test_what_sigmoid_cross_entropy_divides_by(normalization, divisor):
    t = [[0.0, 1], [2, 1], [2, 0]]
    options = {"normalization": normalization} if normalization else {}
    loss, _ = loss_of("SigmoidCrossEntropyLoss", np.zeros((3, 2)), t, ignore_label=2, **options)
    assert loss == pytest.approx(4 * math.log(2) / divisor)


@pytest.mark.parametrize(
    ("normalization", "divisor"), [("FULL", 6), ("VALID", 0.5 + 2 + 2), ("BATCH_SIZE", 3), ("NONE", 1)]
)
def test_what_weighted_softmax_divides_by(normalization, divisor):
    labels = [[0, 1], [1, 9], [9, 9]]
    options = {"class_weight": [0.5, 2], "ignore_label": 9, "normalization": normalization}
    loss, _ = loss_of("SoftmaxWithLoss", np.zeros((3, 2, 2)), labels, **options)
    assert loss == pytest.approx(4.5 * math.log(2) / divisor)


def test_weights_of_nothing_but_zero_give_zero():
    loss, (gradient, *_) = loss_of("SoftmaxWithLoss", np.ones((2, 3)), [0, 1], [0, 0])
    assert loss == 0
    assert not gradient.any()


def test_infogain_with_the_identity_is_softmax_with_loss():
    rng = np.random.default_rng(0)
    x, labels = 3 * rng.standard_normal((2, 4, 3)), rng.integers(0, 4, (2, 3))
    theirs = loss_of("SoftmaxWithLoss", x, labels, ignore_label=2)
    mine = loss_of("InfogainLoss", x, labels, np.eye(4), ignore_label=2)
    np.testing.assert_allclose(mine[0], theirs[0], rtol=1e-12)
    np.testing.assert_allclose(mine[1][0], theirs[1][0], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["h.npy", "h.npz"])
def test_infogain_reads_its_matrix_from_a_file(name, workdir):
    H = np.array([[2.0, 1], [0.5, 3]])
    (np.save if name.endswith("npy") else np.savez)(name, H)
    x, labels = [[1.0, 2], [0, 1]], [0, 1]
    mine, theirs = loss_of("InfogainLoss", x, labels, source=name), loss_of("InfogainLoss", x, labels, H)
    assert mine[0] == theirs[0]
    np.testing.assert_array_equal(mine[1][0], theirs[1][0])


def test_infogain_says_what_is_wrong_with_its_file(workdir):
    (workdir / "h.binaryproto").write_bytes(b"\x08\x01\x10\x01")
    np.savez("two.npz", a=np.eye(2), b=np.eye(2))
    np.save("large.npy", np.eye(3))
    cases = {
        "none.npy": "not found",
        "h.binaryproto": "says 1 x 1 x 0 x 0 but holds 0 values",
        "two.npz": "must hold one array, but it has a, b",
        "large.npy": "H must be 2 x 2 for 2 classes, got 3 x 3",
    }
    for name, words in cases.items():
        with pytest.raises(NettrainError, match="InfogainLoss") as error:
            loss_of("InfogainLoss", [[1, 2]], [0], source=name)
        assert words in str(error.value)


def test_l1_and_smooth_l1_by_hand():
    a, b = [[1.0, -2, 3]], [[1.0, 0, 2.5]]
    loss, (da, db) = loss_of("L1Loss", a, b)
    assert loss == pytest.approx((0 + 2 + 0.5) / 3)
    np.testing.assert_allclose(da, np.array([[0, -1, 1]]) / 3)
    np.testing.assert_array_equal(db, -da)
    loss, (da, _) = loss_of("SmoothL1Loss", a, b, normalization="NONE")
    assert loss == pytest.approx(0 + 1.5 + 0.125)
    np.testing.assert_allclose(da, [[0, -1, 0.5]])


EMPTY = {
    "ContrastiveLoss": [(0, 3), (0, 3), (0,)],
    "EuclideanLoss": [(0, 3), (0, 3)],
    "HingeLoss": [(0, 3), (0,)],
    "InfogainLoss": [(0, 3), (0,), (3, 3)],
    "L1Loss": [(0, 3), (0, 3)],
    "MulticlassSVMLoss": [(0, 3), (0,)],
    "MultinomialLogisticLoss": [(0, 3), (0,)],
    "SigmoidCrossEntropyLoss": [(0, 3), (0, 3)],
    "SmoothL1Loss": [(0, 3), (0, 3)],
    "SoftmaxWithLoss": [(0, 3), (0,)],
}


@pytest.mark.parametrize("type_name", EMPTY)
def test_an_empty_batch_costs_nothing(type_name):
    loss, gradients = loss_of(type_name, *map(np.ones, EMPTY[type_name]))
    assert loss == 0
    assert gradients[0].shape == (0, 3)


@pytest.mark.parametrize("type_name", ["InfogainLoss", "MulticlassSVMLoss", "MultinomialLogisticLoss"])
@pytest.mark.parametrize("label", [3, -1, 0.5, math.nan])
def test_labels_that_are_none_are_refused(type_name, label):
    more = [np.eye(3)] if type_name == "InfogainLoss" else []
    with pytest.raises(NettrainError, match="is not one of the 3 classes"):
        loss_of(type_name, np.ones((2, 3)), [0, label], *more)
