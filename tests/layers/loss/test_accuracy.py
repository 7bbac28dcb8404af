"""Accuracy: the rank rule in loops, ties, NaN, ignored labels, accuracy for each class, and what it refuses."""

import nettrain
import numpy as np
import pytest
from helpers import layer_net


def accuracy_net(scores, labels, tops=1, **params):
    top = ["accuracy", "by_class"][:tops]
    options = {"inputs": "x label", "name": "acc", "phase": "TEST", "force_backward": False}
    return layer_net("Accuracy", scores, labels, top=top, **options, **params)


def accuracy(x, label, **params):
    return accuracy_net(np.shape(x), np.shape(label), **params).forward(x=x, label=label)["accuracy"].item()


def by_class(x, label, **params):
    return accuracy_net(np.shape(x), np.shape(label), 2, **params).forward(x=x, label=label)["by_class"].tolist()


def slow_accuracy(x, label, axis, top_k, ignore_label):
    """One position at a time: the share of right answers, and that of each class."""
    x = np.moveaxis(x, axis, -1)
    C = x.shape[-1]
    hits, examples = [0] * C, [0] * C
    for place in np.ndindex(x.shape[:-1]):
        y = int(np.reshape(label, x.shape[:-1])[place])
        if y == ignore_label:
            continue
        examples[y] += 1
        as_good = sum(1 for k in range(C) if k != y and x[*place, k] >= x[*place, y])
        hits[y] += as_good < top_k
    return sum(hits) / max(1, sum(examples)), [h / max(1, e) for h, e in zip(hits, examples, strict=True)]


def test_known_values():
    x = [[0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.3, 0.3, 0.4], [0.2, 0.3, 0.5]]
    assert accuracy(x, [1, 0, 2, 2]) == 1
    assert accuracy(x, [1, 2, 2, 0]) == 0.5
    assert accuracy(x, [0, 1, 0, 0]) == 0
    assert accuracy(x, [2, 2, 1, 0], top_k=2) == 0.5


@pytest.mark.parametrize("top_k", [1, 2, 4])
@pytest.mark.parametrize("ignore_label", [None, 1, -1, 255])
@pytest.mark.parametrize(
    ("shape", "axis", "label_shape"),
    [((50, 4), 1, (50,)), ((4, 20), 0, (20,)), ((5, 4, 6), 1, (5, 6)), ((5, 6, 4), -1, (5, 6, 1)), ((1, 4), 1, (1,))],
)
def test_the_rank_rule_in_loops(shape, axis, label_shape, ignore_label, top_k):
    rng = np.random.default_rng(9)
    x = rng.integers(0, 5, shape).astype(float)  # with many ties
    label = rng.choice([0, 1, 2, 3, *([] if ignore_label is None else [ignore_label])], label_shape)
    net = accuracy_net(shape, label_shape, 2, axis=axis, top_k=top_k)
    if ignore_label is not None:
        net = accuracy_net(shape, label_shape, 2, axis=axis, top_k=top_k, ignore_label=ignore_label)
    outputs = net.forward(x=x, label=label)
    expected = slow_accuracy(x, label, axis, top_k, ignore_label)
    np.testing.assert_allclose(outputs["accuracy"], expected[0], rtol=1e-12)
    np.testing.assert_allclose(outputs["by_class"], expected[1], rtol=1e-12)


def test_ties_are_wrong():
    assert accuracy(np.zeros((3, 4)), [0, 1, 2]) == 0
    assert accuracy([[1, 1, 0]], [0]) == 0
    assert accuracy([[1, 1, 0]], [1]) == 0
    assert accuracy([[1, 1, 0]], [0], top_k=2) == 1
    assert accuracy([[2, 1, 1]], [1], top_k=2) == 0
    assert accuracy(np.zeros((3, 4)), [0, 1, 2], top_k=4) == 1


@pytest.mark.parametrize("top_k", [1, 3])
def test_nan_is_wrong(top_k):
    nan = np.nan
    assert accuracy([[nan, nan, nan], [nan, nan, nan]], [0, 2], top_k=top_k) == 0
    assert accuracy([[nan, 1, 0]], [0], top_k=top_k) == 0


def test_another_class_that_is_nan_is_no_lower_score():
    assert accuracy([[1, np.nan, 0]], [0]) == 0
    assert accuracy([[1, np.nan, 0]], [0], top_k=2) == 1


@pytest.mark.parametrize("size", [1000, 1e300, np.inf])
def test_extreme_scores(size):
    assert accuracy([[size, -size], [-size, 0]], [0, 1]) == 1
    assert accuracy([[size, -size], [-size, 0]], [1, 0]) == 0


def test_ignored_labels_do_not_count():
    x = [[1, 0], [1, 0], [0, 1], [0, 1]]
    assert accuracy(x, [0, 255, 0, 255], ignore_label=255) == 0.5
    assert accuracy(x, [0, 1, 1, 1], ignore_label=1) == 1  # an ignored class
    assert by_class(x, [0, 1, 0, 1], ignore_label=1) == [0.5, 0]


def test_nothing_to_count():
    assert accuracy(np.eye(2), [1, 1], ignore_label=1) == 0
    assert by_class(np.eye(2), [1, 1], ignore_label=1) == [0, 0]
    assert accuracy(np.zeros((0, 3)), np.zeros(0)) == 0
    assert by_class(np.zeros((0, 3)), np.zeros(0)) == [0, 0, 0]


def test_each_class_has_its_own_share():
    x = np.eye(3)[[0, 0, 1, 1, 1, 0]]
    assert by_class(x, [0, 0, 0, 1, 1, 1]) == [2 / 3, 2 / 3, 0]


def test_one_class_is_always_right():
    assert accuracy([[-5], [7]], [0, 0]) == 1


def test_it_takes_part_in_no_gradient():
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 3]},
        {"name": "label", "type": "Input", "shape": [2]},
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 3},
        {"name": "acc", "type": "Accuracy", "bottom": ["ip", "label"]},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
    ]
    gradients = []
    for chosen in (layers, layers[:3] + layers[4:]):
        net = nettrain.Net({"layers": chosen}, phase="TRAIN", dtype="float64")
        net.forward(x=[[1, 2, 3], [3, 1, 0]], label=[0, 2])
        net.backward()
        gradients.append(net.params["ip"][0].diff)
    assert gradients[0].any()
    np.testing.assert_array_equal(*gradients)


@pytest.mark.parametrize(
    ("label", "params", "words"),
    [
        ([0, 3], {}, "label 3 at example 1 of the batch is not one of the 3 classes"),
        ([-1, 0], {}, "label -1 at example 0"),
        ([0, 1.5], {}, "label 1.5 at example 1"),
        ([0, 9], {"ignore_label": -1}, "label 9 at example 1"),
        ([np.nan, 0], {}, "label nan at example 0"),
    ],
)
def test_labels_are_checked(label, params, words):
    with pytest.raises(nettrain.NettrainError, match=words):
        accuracy(np.zeros((2, 3)), label, **params)


@pytest.mark.parametrize(
    ("scores", "labels", "params", "words"),
    [
        ((2, 3), (2,), {"top_k": 4}, "top_k 4 is more than the 3 classes"),
        ((2, 3), (2,), {"top_k": 0}, "top_k must be an integer >= 1"),
        ((2, 3), (2,), {"axis": 2}, "axis 2 of 2 x 3"),
        ((2, 3), (3,), {}, "2 x 3 with the classes on axis 1 need 2 labels, got 3"),
        ((2, 3, 4), (2,), {}, "2 x 3 x 4 with the classes on axis 1 need 8 labels, got 2"),
        ((2, 3), (2,), {"k": 2}, "Accuracy has no key `k`; did you mean `top_k`"),
    ],
)
def test_what_does_not_fit_is_said(scores, labels, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        accuracy_net(scores, labels, **params)
