"""Tests of the net while it trains: which batches, what is averaged, what counts as best."""

import math

import nettrain
import numpy as np
import pytest
from helpers import layer
from helpers.solvers import classifier, least_squares, no_test, rows_of
from nettrain import SpecError
from nettrain.solver.evaluate import Evaluation
from nettrain.solver.listener import Functions

pytestmark = pytest.mark.usefixtures("workdir")


def expected_scores(solver, data, label):
    """Accuracy and loss of each example, by a plain loop."""
    W, b = (blob.data for blob in solver.net.params["ip"])
    right, losses = [], []
    for x, y in zip(data, label, strict=True):
        scores = W @ x + b
        right.append(float(scores.argmax() == y))
        losses.append(np.log(np.exp(scores).sum()) - scores[y])
    return np.array(right), np.array(losses)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5, 7])
def test_a_test_shows_the_whole_test_set_once_weighted_by_examples(batch_size):
    solver, arrays = classifier(batch_size=batch_size)
    solver.step(3)
    right, losses = expected_scores(solver, arrays["test_data"], arrays["test_label"])
    for _ in range(2):
        scores = solver.test()
        assert list(scores) == ["accuracy", "loss"]
        assert scores["accuracy"] == pytest.approx(right.mean(), rel=1e-6)
        assert scores["loss"] == pytest.approx(losses.mean(), rel=1e-5)


def test_test_iter_takes_so_many_batches_and_goes_on_from_there():
    solver, arrays = classifier(batch_size=3, test_iter=2)
    right, losses = expected_scores(solver, arrays["test_data"], arrays["test_label"])
    order = np.arange(0, 28) % 7
    for start in (0, 6, 12):
        now = order[start : start + 6]
        scores = solver.test()
        assert scores["accuracy"] == pytest.approx(right[now].mean(), rel=1e-6)
        assert scores["loss"] == pytest.approx(losses[now].mean(), rel=1e-5)


def test_test_iter_allows_a_test_without_an_end():
    solver = nettrain.get_solver(no_test(test_iter=3, test_interval=2), out="run")
    rows = rows_of(solver)
    solver.solve()
    assert [row.iter for row in rows] == [0, 2, 4, 5]
    assert all(row.test["loss"] > 0 for row in rows)


def test_an_output_with_several_numbers_is_averaged_number_by_number():
    classes = layer("per_class", "Accuracy", ["ip", "label"], ["right", "by_class"], include="test")
    solver, arrays = classifier(extra=[classes], batch_size=7)
    right, _ = expected_scores(solver, arrays["test_data"], arrays["test_label"])
    expected = [right[arrays["test_label"] == k].mean() for k in range(3)]
    assert solver.test()["by_class"] == pytest.approx(expected, rel=1e-6)


ROWS = {
    "probabilities": [layer("prob", "Softmax", "ip", include="test")],
    "a loss's second top": [layer("again", "SoftmaxWithLoss", ["ip", "label"], ["again", "prob"], include="test")],
    "labels": [layer("two", "Data", top=["more", "numbers"], source="classes.npz", batch_size={"train": 5})],
}


@pytest.mark.parametrize("batch_size", [3, 5, 7])
@pytest.mark.parametrize("kind", ROWS)
def test_an_output_with_a_row_for_each_example_is_averaged_over_the_examples(kind, batch_size):
    """What nobody reads is an output; the last batch has fewer rows of it than those before."""
    extra = [one | ({"batch_size": batch_size} if "batch_size" in one else {}) for one in ROWS[kind]]
    solver, arrays = classifier(extra=extra, batch_size=batch_size)
    right, losses = expected_scores(solver, arrays["test_data"], arrays["test_label"])
    scores = solver.test()
    assert scores["accuracy"] == pytest.approx(right.mean(), rel=1e-6)
    assert scores["loss"] == pytest.approx(losses.mean(), rel=1e-5)
    W, b = (blob.data for blob in solver.net.params["ip"])
    p = np.exp(arrays["test_data"] @ W.T + b)
    rows = {
        "prob": p / p.sum(axis=1, keepdims=True),
        "more": arrays["test_data"],
        "numbers": arrays["test_label"],
    }
    for name in rows.keys() & scores.keys():
        np.testing.assert_allclose(scores[name], rows[name].mean(axis=0), rtol=1e-5)


def test_testing_does_not_disturb_training():
    keys = {"momentum": 0.9, "extra": [layer("drop", "Dropout", "ip", "ip")]}
    quiet, _ = classifier(**keys)
    tested, _ = classifier(test_interval=1, test_initialization=True, **keys)
    quiet.step(8)
    tested.step(8)
    np.testing.assert_array_equal(quiet.net.flat.data, tested.net.flat.data)


def test_a_net_without_a_test_phase_is_not_tested():
    solver = nettrain.get_solver(no_test(), out="run")
    assert solver.test_nets == []
    with pytest.raises(SpecError, match=r"test_interval: .*reads a data set that ends; give solver.test_iter too"):
        nettrain.get_solver(no_test(test_interval=2))


def test_the_best_weights_are_kept():
    solver, _ = classifier(train=30, test=30, test_interval=1, test_initialization=True, base_lr=0.5, max_iter=12)
    kept, scores = {}, []

    def on_row(row):
        kept[row.iter] = [blob.data.copy() for blob in solver.net.params["ip"]]
        scores.append((row.iter, row.test["accuracy"], row.best))

    solver.add(Functions(on_row=on_row))
    solver.solve()
    best, first = -1.0, None
    for iteration, score, is_best in scores:
        assert is_best == (score > best + 1e-5)  # an accuracy is a multiple of 1/30
        if is_best:
            best, first = score, iteration
    assert solver.best == (best, first)
    with np.load("run/best.npz") as arrays:
        for i, values in enumerate(kept[first]):
            np.testing.assert_array_equal(arrays[f"param/ip/{i}"], values)
    assert 0 < first < 12  # else the test shows little


def test_without_an_accuracy_the_best_is_the_lowest_loss():
    solver = least_squares(max_iter=6, test_interval=1, base_lr=0.05)
    rows = rows_of(solver)
    solver.solve()
    losses = [row.test["loss"] for row in rows]
    assert losses == sorted(losses, reverse=True)
    assert all(row.best for row in rows)
    assert solver.best == (losses[-1], 6)


@pytest.mark.parametrize(
    ("make", "name", "scores", "best"),
    [
        (lambda **keys: classifier(**keys)[0], "accuracy", [0.5, 0.5, 0.5000001, 0.6, 0.55, 0.61], [1, 0, 0, 1, 0, 1]),
        (lambda **keys: classifier(**keys)[0], "accuracy", [0, 0, math.nan, 0.1, 0.1, 1], [1, 0, 0, 1, 0, 1]),
        (least_squares, "loss", [1000, 999.9995, 1000.5, 999, math.inf, 3], [1, 0, 0, 1, 0, 1]),
        (least_squares, "loss", [math.nan, 5, 6, 5, 4.9, 0], [0, 1, 0, 0, 1, 1]),
    ],
)
def test_what_counts_as_better(make, name, scores, best):
    """More than rounding, and a number."""
    solver = make(test_interval=1, max_iter=5, test_initialization=True)
    rows, given = rows_of(solver), iter(scores)

    def test():
        solver.found = Evaluation({"loss": 1.0, name: next(given)})
        return solver.found.scores

    solver.test = test
    solver.solve()
    assert [row.best for row in rows] == [bool(flag) for flag in best]
