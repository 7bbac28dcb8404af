"""The solver: updates compared with algebra done by hand, tests of the net, rows, files of a run, divergence."""

import json
import math
import os
import time
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import layer
from nettrain import NettrainError, SpecError
from nettrain.solver.runs import Run

RATE = 0.1


pytestmark = pytest.mark.usefixtures("workdir")


def rows_of(solver):
    """A list that gets each row the solver reports."""
    rows = []
    solver.on_row = rows.append
    return rows


# Least squares, whose gradient is done by hand. Four examples; x W' + b should be t.

X = np.array([[1.0, 2, 0.5], [0, -1, 1], [0.5, 0.5, -2], [-1, 0, 1.5]])
T = np.array([[1.0, 0], [0.5, -1], [0, 2], [1.5, 1]])
W0 = np.array([[0.5, -1, 0.25], [1, 0.5, -0.75]])
B0 = np.array([0.5, -0.25])


def least_squares(params=(), batch_size=4, **solver):
    """A solver for L = 1/(2N) Σ |x W' + b - t|², from W0 and B0."""
    np.savez("set.npz", data=X, label=T)
    reader = layer("d", "Data", top=["x", "t"], source="set.npz", batch_size=batch_size, shuffle=False)
    ip = layer("ip", "InnerProduct", "x", num_output=2, param=list(params))
    loss = layer("loss", "EuclideanLoss", ["ip", "t"])
    keys = {"base_lr": RATE, "max_iter": 100, "test_initialization": False}
    result = nettrain.get_solver({"solver": keys | solver, "layers": [reader, ip, loss]}, out="run")
    for blob, values in zip(result.net.params["ip"], (W0, B0), strict=True):
        blob.data[...] = values
    return result


def gradient(W, b, x=X, t=T):
    e = x @ W.T + b - t
    return e.T @ x / len(x), e.sum(axis=0) / len(x)


def assert_parameters(solver, W, b, name="ip"):
    for blob, values in zip(solver.net.params[name], (W, b), strict=True):
        np.testing.assert_allclose(blob.data, values, rtol=1e-5, atol=1e-6)


G, H = gradient(W0, B0)  # of W and of b, at the start
NORM = math.sqrt((G**2).sum() + (H**2).sum())

ONE_STEP = {
    "plain": ({}, W0 - 0.1 * G, B0 - 0.1 * H),
    "weight decay": ({"weight_decay": 0.5}, W0 - 0.1 * (G + 0.5 * W0), B0 - 0.1 * (H + 0.5 * B0)),
    "weight decay L1": (
        {"weight_decay": 0.5, "regularization_type": "L1"},
        W0 - 0.1 * (G + 0.5 * np.sign(W0)),
        B0 - 0.1 * (H + 0.5 * np.sign(B0)),
    ),
    "lr_mult": ({"params": [{"lr_mult": 3}, {"lr_mult": 0.5}]}, W0 - 0.3 * G, B0 - 0.05 * H),
    "lr_mult 0": ({"params": [{"lr_mult": 0}, {}], "weight_decay": 0.5}, W0, B0 - 0.1 * (H + 0.5 * B0)),
    "decay_mult": (
        {"params": [{"decay_mult": 2}, {"decay_mult": 0}], "weight_decay": 0.5},
        W0 - 0.1 * (G + W0),
        B0 - 0.1 * H,
    ),
    "decay_mult L1": (
        {"params": [{"decay_mult": 0}, {"decay_mult": 3}], "weight_decay": 0.5, "regularization_type": "L1"},
        W0 - 0.1 * G,
        B0 - 0.1 * (H + 1.5 * np.sign(B0)),
    ),
    "clipped": ({"clip_gradients": 0.25}, W0 - 0.1 * G * 0.25 / NORM, B0 - 0.1 * H * 0.25 / NORM),
    "clip not reached": ({"clip_gradients": 1.01 * NORM}, W0 - 0.1 * G, B0 - 0.1 * H),
    "clipped before the decay is added": (
        {"clip_gradients": 0.25, "weight_decay": 0.5},
        W0 - 0.1 * (G * 0.25 / NORM + 0.5 * W0),
        B0 - 0.1 * (H * 0.25 / NORM + 0.5 * B0),
    ),
    "iter_size": ({"batch_size": 2, "iter_size": 2}, W0 - 0.1 * G, B0 - 0.1 * H),
    "iter_size with weight decay": (
        {"batch_size": 1, "iter_size": 4, "weight_decay": 0.5},
        W0 - 0.1 * (G + 0.5 * W0),
        B0 - 0.1 * (H + 0.5 * B0),
    ),
    "iter_size, clipped on the mean": (
        {"batch_size": 2, "iter_size": 2, "clip_gradients": 0.25},
        W0 - 0.1 * G * 0.25 / NORM,
        B0 - 0.1 * H * 0.25 / NORM,
    ),
    "iter_size, the mean below the limit and the sum above": (
        {"batch_size": 2, "iter_size": 2, "clip_gradients": 1.5 * NORM},
        W0 - 0.1 * G,
        B0 - 0.1 * H,
    ),
    "momentum has no effect yet": ({"momentum": 0.9}, W0 - 0.1 * G, B0 - 0.1 * H),
    "a whole batch over the end of the data": ({"batch_size": 3, "iter_size": 4}, W0 - 0.1 * G, B0 - 0.1 * H),
}


@pytest.mark.parametrize("case", ONE_STEP)
def test_one_step(case):
    keys, W, b = ONE_STEP[case]
    solver = least_squares(**keys)
    solver.step(1)
    assert solver.iter == 1
    assert_parameters(solver, W, b)


def three_steps(W, b, momentum=0.0, decay=(0.0, 0.0), rates=(0.1, 0.1), batches=((X, T),) * 3):
    """SGD with momentum by hand: v = momentum v + rate (g + decay w), w = w - v."""
    vW, vb = 0, 0
    for x, t in batches:
        g, h = gradient(W, b, x, t)
        vW = momentum * vW + rates[0] * (g + decay[0] * W)
        vb = momentum * vb + rates[1] * (h + decay[1] * b)
        W, b = W - vW, b - vb
    return W, b


HALVES = ((X[:2], T[:2]), (X[2:], T[2:]), (X[:2], T[:2]))
EVERYTHING = {
    "momentum": 0.9,
    "weight_decay": 0.05,
    "params": [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}],
}

THREE_STEPS = {
    "plain": ({}, {}),
    "momentum": ({"momentum": 0.9}, {"momentum": 0.9}),
    "momentum and weight decay": ({"momentum": 0.5, "weight_decay": 0.2}, {"momentum": 0.5, "decay": (0.2, 0.2)}),
    "minibatches": ({"batch_size": 2}, {"batches": HALVES}),
    "everything": (
        EVERYTHING | {"batch_size": 2},
        {"momentum": 0.9, "decay": (0.05, 0), "rates": (0.1, 0.2), "batches": HALVES},
    ),
    "everything over iter_size": (
        EVERYTHING | {"batch_size": 2, "iter_size": 2},
        {"momentum": 0.9, "decay": (0.05, 0), "rates": (0.1, 0.2)},
    ),
}


@pytest.mark.parametrize("case", THREE_STEPS)
def test_three_steps(case):
    keys, by_hand = THREE_STEPS[case]
    solver = least_squares(**keys)
    solver.step(3)
    assert_parameters(solver, *three_steps(W0, B0, **by_hand))


def test_a_falling_rate_stays_in_the_momentum():
    """The rate is inside the history, as in Caffe: what was added at 0.1 is still worth 0.1 when the rate is 0.01."""
    solver = least_squares(momentum=0.9, lr_policy="step", stepsize=1, gamma=0.1)
    solver.step(2)
    v = 0.1 * G
    W, b = W0 - v, B0 - 0.1 * H
    v = 0.9 * v + 0.01 * gradient(W, b)[0]
    np.testing.assert_allclose(solver.net.params["ip"][0].data, W - v, rtol=1e-5)


def test_many_parameters_are_updated_alike_in_every_block():
    """More parameters than fit a block of the update, with multipliers that change in the middle."""
    count = 50_001
    one = layer("one", "DummyData", shape=[1, 1], data_filler=1)

    def ip(name, num_output, lr_mult):
        return layer(
            name,
            "InnerProduct",
            "one",
            num_output=num_output,
            bias_term=False,
            loss_weight=1,
            param={"lr_mult": lr_mult},
        )

    layers = [one, ip("a", count, 1), ip("b", 3, 1), ip("c", count, 2)]
    solver = nettrain.get_solver(
        {"solver": {"base_lr": 0.5, "max_iter": 9, "momentum": 0.5}, "layers": layers}, out="run"
    )
    solver.net.flat.data[...] = 0
    solver.step(2)  # the gradient is 1 everywhere
    for name, lr_mult in (("a", 1), ("b", 1), ("c", 2)):
        (blob,) = solver.net.params[name]
        np.testing.assert_array_equal(blob.data, np.full(blob.shape, -lr_mult * (0.5 + 0.75)))


def test_a_shared_parameter_is_updated_once_with_the_sum_of_its_gradients():
    def ip(name, **keys):
        return layer(name, "InnerProduct", "one", num_output=1, bias_term=False, param={"name": "w", **keys})

    layers = [
        layer("one", "DummyData", shape=[1, 1], data_filler=1),
        ip("a", lr_mult=0.5) | {"loss_weight": 1},
        ip("b") | {"loss_weight": 3},
    ]
    keys = {"base_lr": 0.1, "max_iter": 9, "momentum": 0.5, "weight_decay": 0.01}
    solver = nettrain.get_solver({"solver": keys, "layers": layers}, out="run")
    w = v = 0.0
    solver.net.params["b"][0].data[...] = w
    for _ in range(3):
        v = 0.5 * v + 0.05 * (1 + 3 + 0.01 * w)
        w -= v
    solver.step(3)
    assert solver.net.params["a"][0].data.item() == pytest.approx(w, rel=1e-6)
    assert solver.net.params["b"][0].data.item() == pytest.approx(w, rel=1e-6)


def test_the_gradient_is_cleared_in_every_iteration():
    solver = least_squares()
    solver.net.flat.diff[...] = 1e6
    solver.step(1)
    assert_parameters(solver, W0 - 0.1 * G, B0 - 0.1 * H)


def test_the_loss_of_an_iteration_is_that_before_its_update_averaged_over_iter_size():
    solver = least_squares(batch_size=2, iter_size=2, display=1)
    rows = rows_of(solver)
    solver.step(1)
    expected = ((X @ W0.T + B0 - T) ** 2).sum() / 8
    assert rows[0].loss == solver.losses[-1] == pytest.approx(expected, rel=1e-6)


# Rows


def metrics():
    return [json.loads(line) for line in Path("run/metrics.jsonl").read_text("utf-8").splitlines()]


def losses_of(count, **keys):
    """Loss of each iteration of a run, from steps taken one by one."""
    solver, losses = least_squares(**keys), []
    for _ in range(count):
        solver.step(1)
        losses.append(solver.losses[-1])
    return losses


@pytest.mark.parametrize("average_loss", [1, 3, 100])
def test_the_loss_shown_is_the_mean_of_the_last_average_loss(average_loss):
    losses = losses_of(6, batch_size=1)
    solver = least_squares(batch_size=1, average_loss=average_loss, display=1)
    rows = rows_of(solver)
    solver.step(6)
    expected = [np.mean(losses[max(0, i + 1 - average_loss) : i + 1]) for i in range(6)]
    assert [row.loss for row in rows] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("keys", "shown", "tested"),
    [
        ({"display": 2}, [0, 2, 4, 5], [5]),
        ({"display": 1, "test_interval": 2}, [0, 1, 2, 3, 4, 5], [2, 4, 5]),
        ({"test_interval": 2}, [2, 4, 5], [2, 4, 5]),
        ({"test_interval": 1}, [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]),
        ({"test_interval": 2, "test_initialization": True}, [0, 2, 4, 5], [0, 2, 4, 5]),
        ({"test_interval": 5, "test_initialization": True}, [0, 5], [0, 5]),
        ({"test_initialization": True}, [5], [5]),
        ({"test_interval": 100}, [5], [5]),
        ({"display": 3, "test_interval": 2}, [0, 2, 3, 4, 5], [2, 4, 5]),
    ],
)
def test_rows_and_tests_fall_due(keys, shown, tested):
    solver = least_squares(max_iter=5, **keys)
    rows = rows_of(solver)
    solver.solve()
    assert [row.iter for row in rows] == shown
    assert [row.iter for row in rows if row.test] == tested
    assert not any(row.best for row in rows if not row.test)


def test_a_row_holds_what_is_known_of_its_iteration():
    solver = least_squares(max_iter=4, display=2, lr_policy="exp", gamma=0.5, batch_size=2, test_interval=4)
    rows = rows_of(solver)
    solver.solve()
    assert [(row.iter, row.epoch, row.lr) for row in rows] == [(0, 0, 0.1), (2, 1, 0.025), (4, 2, 0.00625)]
    assert rows[0].test == {}
    assert list(rows[2].test) == ["loss"]
    assert rows[1].rate > 0


def test_the_rate_of_a_row_is_iterations_for_each_second_since_the_row_before(monkeypatch):
    seconds = [1000.0]
    monkeypatch.setattr(time, "perf_counter", lambda: seconds[0])
    solver = least_squares(display=2)
    rows = rows_of(solver)
    solver.on_step = lambda solver: seconds.append(seconds.pop() + 0.25)
    solver.step(6)
    seconds.append(seconds.pop() + 500)  # a pause between two calls does not count
    solver.step(3)
    assert [(row.iter, row.rate) for row in rows] == [(0, 0), (2, 4), (4, 4), (6, 0), (8, 4)]


def test_a_run_that_is_over_is_not_reported_twice():
    solver = least_squares(max_iter=3, test_interval=2)
    rows = rows_of(solver)
    solver.solve()
    solver.solve()
    assert [row.iter for row in rows] == [2, 3]


def test_a_row_is_a_line_of_metrics():
    solver = least_squares(max_iter=3, display=1, test_interval=3, average_loss=2)
    rows = rows_of(solver)
    solver.solve()
    assert metrics() == [
        {"iter": row.iter, "epoch": row.epoch, "train_loss": row.loss, "lr": row.lr, "it_per_s": row.rate}
        | ({"test": row.test} if row.test else {})
        for row in rows
    ]
    assert [line["iter"] for line in metrics()] == [0, 1, 2, 3]


def test_on_step_is_called_after_every_iteration():
    solver, seen = least_squares(max_iter=3), []
    solver.on_step = lambda s: seen.append((s.iter, s.net.params["ip"][1].data[0].item()))
    solver.solve()
    assert [i for i, _ in seen] == [1, 2, 3]
    assert len({b for _, b in seen}) == 3


def no_test(**solver):
    """A spec whose nets read no data set that ends."""
    layers = [
        layer("x", "DummyData", shape=[4, 3], data_filler="gaussian"),
        layer("ip", "InnerProduct", num_output=2),
        layer("y", "DummyData", shape=[4, 2], data_filler=1),
        layer("loss", "EuclideanLoss", ["ip", "y"]),
    ]
    return {"solver": {"base_lr": 0.1, "max_iter": 5} | solver, "layers": layers}


def test_a_run_without_tests_leaves_its_metrics_too():
    solver = nettrain.get_solver(no_test(), out="run")
    rows = rows_of(solver)
    solver.solve()
    assert solver.test_nets == []
    assert rows[-1].iter == 5
    assert rows[-1].loss == pytest.approx(np.mean(solver.losses))
    assert metrics()[-1]["iter"] == 5


# Testing the net


def classifier(train=20, test=7, batch_size=3, extra=(), layers=None, **solver):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", train), ("test", test)):
        arrays[f"{split}_data"] = rng.standard_normal((count, 4))
        arrays[f"{split}_label"] = rng.integers(0, 3, count)
    np.savez("classes.npz", **arrays)
    layers = layers or [
        layer("d", "Data", top=["data", "label"], source="classes.npz", batch_size={"train": 5, "test": batch_size}),
        layer("ip", "InnerProduct", "data", num_output=3),
        *extra,
        layer("accuracy", "Accuracy", ["ip", "label"], include="test"),
        layer("loss", "SoftmaxWithLoss", ["ip", "label"]),
    ]
    keys = {"base_lr": 0.1, "max_iter": 10, "test_initialization": False}
    return nettrain.get_solver({"name": "classes", "solver": keys | solver, "layers": layers}, out="run"), arrays


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

    solver.on_row = on_row
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
    solver.test = lambda: {"loss": 1.0, name: next(given)}
    solver.solve()
    assert [row.best for row in rows] == [bool(flag) for flag in best]


# How long


@pytest.mark.parametrize(
    ("epochs", "iter_size", "iterations"),
    [(1, 1, 4), (2, 1, 8), (1.5, 1, 6), (0.1, 1, 1), (1, 3, 2), (3, 4, 3), (0, 1, 0)],
)
def test_max_epoch(epochs, iter_size, iterations):
    spec = classifier()[0].spec.to_python()
    spec["solver"] = {"base_lr": 0.1, "max_epoch": epochs, "iter_size": iter_size}
    solver = nettrain.get_solver(spec, out="run")
    assert solver.max_iter == iterations
    rows = rows_of(solver)
    solver.solve()
    assert solver.iter == iterations
    assert rows[-1].epoch == pytest.approx(iterations * iter_size * 5 / 20)


def test_max_epoch_needs_data_with_an_end():
    spec = no_test()
    spec["solver"] = {"base_lr": 0.1, "max_epoch": 3}
    with pytest.raises(SpecError, match=r"solver.max_epoch needs a Data layer whose data set ends; give max_iter"):
        nettrain.get_solver(spec)


def test_what_is_left_out_is_caffes_default():
    parameters = nettrain.get_solver({**no_test(), "solver": {"base_lr": 0.1, "max_iter": 5}}).p
    expected = {
        "weight_decay": 0,
        "regularization_type": "L2",
        "clip_gradients": -1,
        "iter_size": 1,
        "display": 0,
        "average_loss": 1,
        "test_interval": 0,
        "test_iter": (),
        "test_initialization": True,
        "snapshot": 0,
        "snapshot_prefix": None,
        "snapshot_after_train": True,
        "weights": (),
        "debug_info": False,
    }
    assert {key: getattr(parameters, key) for key in expected} == expected
    assert (parameters.type.name, parameters.type.p.momentum) == ("SGD", 0)
    assert parameters.lr_policy.name == "fixed"  # Caffe has none


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"base_lr": 0.1}, "solver.max_iter is missing: give it, or max_epoch"),
        ({"base_lr": 0.1, "max_iter": 5, "max_epoch": 5}, "solver.max_epoch cannot stand beside `max_iter`"),
        ({"max_iter": 5}, "solver needs `base_lr`"),
        ({"base_lr": 0.1, "max_iter": 5, "clip_gradients": 0}, "clip_gradients 0 would set every gradient to zero"),
        ({"base_lr": 0.1, "max_iter": 5, "momentum": 1}, "momentum must be a number >= 0 and < 1, got 1"),
        ({"base_lr": 0.1, "max_iter": 5, "lr": 1}, "solver has no key `lr`; did you mean `base_lr`?"),
        ({"base_lr": 0.1, "max_iter": 5, "solver_mode": "GPU"}, "nettrain always runs on the CPU; leave it out"),
        ({"base_lr": 0.1, "max_iter": 5, "regularization_type": "l2"}, "did you mean `L2`?"),
    ],
)
def test_mistakes_in_solver(keys, message):
    with pytest.raises(SpecError) as error:
        nettrain.get_solver(no_test() | {"solver": keys})
    assert [message in str(problem) for problem in error.value.problems] == [True]


def test_all_mistakes_of_nets_and_solver_at_once():
    layers = [
        *no_test()["layers"],
        layer("train_only", "ReLU", "nowhere", include="train"),
        layer("test_only", "Sigmoid", "nowhere", include="test"),
    ]
    with pytest.raises(SpecError) as error:
        nettrain.get_solver({"solver": {"base_lr": -1, "max_iter": 5, "gama": 1}, "layers": layers})
    found = "\n".join(map(str, error.value.problems))
    for part in ("base_lr must be", "no key `gama`", "layer `train_only` reads", "layer `test_only` reads"):
        assert found.count(part) == 1
    assert len(error.value.problems) == 4


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (no_test()["layers"][:3], "the TRAIN net has no loss; add a layer such as SoftmaxWithLoss"),
        (
            [
                layer("x", "DummyData", shape=[2, 3]),
                layer("aside", "InnerProduct", "x", num_output=1),
                layer("r", "ReLU", "x", loss_weight=1),
            ],
            "the TRAIN net has nothing to learn: no layer has parameters with lr_mult > 0 on the way to a loss",
        ),
    ],
)
def test_nothing_to_train(layers, message):
    with pytest.raises(SpecError) as error:
        nettrain.get_solver({"solver": {"base_lr": 0.1, "max_iter": 1}, "layers": layers})
    assert [problem.message for problem in error.value.problems] == [message]


def test_nothing_to_train_is_said_beside_other_mistakes():
    with pytest.raises(SpecError) as error:
        nettrain.get_solver(
            {"solver": {"base_lr": 0.1, "max_iter": 1, "momentum": 2}, "layers": no_test()["layers"][:3]}
        )
    assert [problem.message.split(" must")[0].split(";")[0] for problem in error.value.problems] == [
        "the TRAIN net has no loss",
        "solver.momentum",
    ]


def test_a_spec_without_a_solver():
    with pytest.raises(SpecError, match="to train, a spec needs `solver:` with at least base_lr and max_iter"):
        nettrain.get_solver({"layers": no_test()["layers"]})


# Seeds


def run_with(seed, **options):
    solver, _ = classifier(random_seed=seed, extra=[layer("drop", "Dropout", "ip", "ip")], **options)
    start = solver.net.flat.data.copy()
    solver.step(6)
    return solver, start, list(solver.losses), solver.net.flat.data.copy()


def test_the_same_seed_gives_the_same_run():
    (_, start, losses, end), (_, *again) = run_with(3), run_with(3)
    np.testing.assert_array_equal(start, again[0])
    assert losses == again[1]
    np.testing.assert_array_equal(end, again[2])


def test_zero_is_a_seed():
    solvers = [classifier(random_seed=0)[0] for _ in range(2)]
    assert [solver.seed for solver in solvers] == [0, 0]
    np.testing.assert_array_equal(*(solver.net.flat.data for solver in solvers))


def test_another_seed_gives_another_run():
    (_, start, losses, end), (_, *other) = run_with(3), run_with(4)
    assert not np.array_equal(start, other[0])
    assert losses != other[1]
    assert not np.array_equal(end, other[2])


def test_a_negative_seed_is_a_new_one_each_run():
    first, second = run_with(-1), run_with(-1)
    assert first[0].seed != second[0].seed
    assert min(first[0].seed, second[0].seed) >= 0
    assert not np.array_equal(first[1], second[1])
    again = run_with(first[0].seed)  # the seed that was drawn makes the run again
    np.testing.assert_array_equal(first[3], again[3])


def test_the_seed_is_1701_by_default():
    default, _ = classifier()
    np.testing.assert_array_equal(default.net.flat.data, classifier(random_seed=1701)[0].net.flat.data)


# Divergence


def test_divergence_stops_the_run_and_names_the_layer():
    text = """\
name: wild
solver:
  base_lr: 1.0e+30
  max_iter: 100
  display: 1
layers:
  - {name: x, type: DummyData, shape: [4, 3], data_filler: gaussian}
  - {name: y, type: DummyData, shape: [4, 2], data_filler: 1}
  - {name: first, type: InnerProduct, bottom: x, num_output: 5}
  - {name: second, type: InnerProduct, num_output: 2}
  - {name: loss, type: EuclideanLoss, bottom: [second, y]}
"""
    solver = nettrain.get_solver(text, out="run")
    rows = rows_of(solver)
    with pytest.raises(NettrainError) as error:
        solver.solve()
    message = str(error.value)
    assert error.value.exit_code == 3
    assert solver.iter == 1  # 1e30 · 1e30 does not fit into 32 bits
    assert message.startswith("training diverged at iteration 1: the loss is ")
    assert "forward, layer `second` (spec:10:12): " in message
    assert " among 8 of its outputs" in message
    assert "the learning rate is too high: solver.base_lr = 1e+30 (spec:3:12)" in message
    assert "--set solver.base_lr=1e+28" in message
    assert "no snapshot was made before" in message
    assert [row.iter for row in rows] == [0]
    assert sorted(os.listdir("run")) == ["metrics.jsonl"]


@pytest.mark.parametrize("tests", [False, True])
@pytest.mark.parametrize(
    ("filler", "words"),
    [
        (1e30, "the parameters of InnerProduct `first` are too large from the start: largest |W| 1e+30"),
        (1.0, "EuclideanLoss `loss` has no finite result for what it reads"),
    ],
)
def test_what_diverges_before_the_first_update_is_no_matter_of_the_rate(filler, words, tests):
    text = f"""\
solver: {{base_lr: 0.1, max_iter: 100, test_iter: 1}}
layers:
  - {{name: x, type: DummyData, shape: [4, 3], data_filler: 1.0e+20}}
  - {{name: y, type: DummyData, shape: [4, 2], data_filler: -1.0e+25}}
  - {{name: first, type: InnerProduct, bottom: x, num_output: 2, weight_filler: {filler}}}
  - {{name: loss, type: EuclideanLoss, bottom: [first, y]}}
"""
    settings = [f"solver.test_interval={int(tests)}"]
    solver, said = nettrain.get_solver(text, out="run", settings=settings), []
    solver.on_warning = said.append
    with pytest.raises(NettrainError, match=r"^training diverged at iteration 0: the loss is ") as error:
        solver.solve()
    labels = [line.split("  ")[1] for line in str(error.value).splitlines()[1:]]
    assert labels == ["first bad value", "likely cause", "try", "kept"]
    assert words in str(error.value)
    assert str(error.value).endswith("kept             nothing: no update was made")
    assert not [text for text in said if "no finite number" in text]  # the error says the same


def test_the_best_weights_are_kept_when_training_diverges():
    solver = nettrain.get_solver("configs/mlp.yaml", settings=["solver.base_lr=1e30"], out="run")
    with pytest.raises(NettrainError, match=r"(?s)training diverged at iteration 1: .*kept +run/best\.npz$"):
        solver.solve()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_data_is_told_from_a_bad_rate(bad):
    solver = least_squares(snapshot=1, snapshot_after_train=False, batch_size=1)
    solver.step(2)
    solver.net.layers["d"].set.data[2, 1] = bad
    with pytest.raises(NettrainError) as error:
        solver.step(1)
    message = str(error.value)
    assert error.value.exit_code == 3
    words = "NaN" if bad != bad else "infinite"
    assert message.startswith(f"training diverged at iteration 2: the loss is {words}\n")
    assert f"layer `d` (spec.layers[0].name): 1 {'NaN' if bad != bad else 'inf'} among 3 of its outputs" in message
    assert "the data itself" in message
    assert "look for NaN or infinity in the data file" in message
    assert "run/iter_2.npz" in message
    assert solver.iter == 2
    assert np.isfinite(solver.net.flat.data).all()


def test_a_parameter_that_is_no_number_is_named():
    solver = least_squares()
    solver.net.params["ip"][1].data[1] = np.nan
    with pytest.raises(NettrainError, match=r"parameter 1 of layer `ip` \(.*\): 1 NaN among 2"):
        solver.step(1)


@pytest.mark.parametrize("keys", [{"snapshot": 1, "max_iter": 5}, {"max_iter": 1}], ids=["when due", "at the end"])
def test_weights_that_are_no_numbers_are_never_a_snapshot(keys):
    """The loss of an iteration is that before its update, so that the last update is not seen in it."""
    solver = least_squares(base_lr=1e39, test_interval=0, **keys)
    with pytest.raises(NettrainError) as error:
        solver.solve()
    assert error.value.exit_code == 3
    assert "layer `ip`" in str(error.value)
    assert "no snapshot was made before" in str(error.value)
    assert list(Path("run").glob("*.npz")) == []


# Files of a run


def test_runs_are_numbered():
    spec = no_test() | {"name": "my net/1"}
    for number in (1, 2):
        nettrain.get_solver(spec).solve()
        assert os.path.exists(f"runs/my_net_1/{number:03d}/iter_5.npz")
    os.mkdir("runs/my_net_1/041")
    os.mkdir("runs/my_net_1/notes")
    solver = nettrain.get_solver(spec)
    assert not os.path.exists("runs/my_net_1/042")  # nothing is made before the run begins
    solver.solve()
    assert os.path.exists("runs/my_net_1/042/iter_5.npz")


def test_runs_that_begin_together_get_folders_of_their_own():
    solvers = [nettrain.get_solver(no_test()) for _ in range(2)]
    for solver in solvers:
        solver.run.open()
    assert solvers[0].run.folder != solvers[1].run.folder


def test_the_folder_may_be_given():
    nettrain.get_solver(no_test(), out="deep/er").solve()
    assert os.path.exists("deep/er/iter_5.npz")
    assert not os.path.exists("runs")


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("snap", "snap_iter_5.npz"),
        ("folder/snap", "folder/snap_iter_5.npz"),
        ("a/b/c", "a/b/c_iter_5.npz"),
        ("folder/", "folder/iter_5.npz"),
        ("there", "there/iter_5.npz"),
    ],
)
def test_snapshot_prefix(prefix, path):
    """As in Caffe: names begin with the prefix; one that names a folder puts the files there."""
    os.mkdir("there")
    nettrain.get_solver(no_test(snapshot_prefix=prefix, display=1)).solve()
    found = sorted(os.path.join(at, name).removeprefix("./") for at, _, names in os.walk(".") for name in names)
    assert found == sorted([path, path.replace("iter_5.npz", "metrics.jsonl")])


@pytest.mark.parametrize("keys", [{"out": "file/run"}, {"out": "file"}, {"snapshot_prefix": "file/snap"}])
def test_a_folder_that_cannot_be_written_stops_before_any_work(keys):
    Path("file").write_text("kept")
    out = keys.pop("out", None)
    solver = nettrain.get_solver(no_test(**keys), out=out)
    with pytest.raises(NettrainError, match=r"cannot write to file.*; choose another folder with --out") as error:
        solver.solve()
    assert error.value.exit_code == 1
    assert solver.iter == 0
    assert Path("file").read_text() == "kept"


def test_the_probe_of_a_folder_leaves_nothing():
    solver = nettrain.get_solver(no_test(), out="run")
    solver.run.open()
    assert os.listdir("run") == [".lock"]
    solver.run.close()
    assert os.listdir("run") == []


# Weights from files


def test_weights_to_start_from():
    first = least_squares(max_iter=3)
    first.solve()
    first.net.save("w.npz")
    solver = least_squares(weights="w.npz", max_iter=3)
    report = solver.load_reports[0]
    assert (report.loaded, report.missing, report.ignored) == (["ip"], [], [])
    assert solver.iter == 0
    other = nettrain.get_solver(first.spec, weights=["w.npz", "run/iter_3.npz"])  # a snapshot will do as well
    for blob, values in zip(other.net.params["ip"], first.net.params["ip"], strict=True):
        np.testing.assert_array_equal(blob.data, values.data)
    np.testing.assert_array_equal(other.test_nets[0].params["ip"][0].data, first.net.params["ip"][0].data)
    assert len(other.load_reports) == 2


def test_weights_that_are_not_there():
    with pytest.raises(NettrainError, match=r"weights file not found: w\.npz"):
        least_squares(weights="w.npz")


# The nets


def test_the_test_net_shares_the_weights():
    solver, _ = classifier()
    (test_net,) = solver.test_nets
    assert (solver.net.phase, test_net.phase) == ("TRAIN", "TEST")
    assert np.shares_memory(solver.net.params["ip"][0].data, test_net.params["ip"][0].data)
    assert list(test_net.layers) == ["d", "ip", "accuracy", "loss"]
    assert list(solver.net.layers) == ["d", "ip", "loss"]


def test_settings_level_and_stages():
    extra = [
        layer("deep", "ReLU", "ip", include={"min_level": 2}),
        layer("staged", "ReLU", "ip", include={"stage": "extra"}),
        layer("flat", "ReLU", "ip", include={"max_level": 0}),
    ]
    plain, _ = classifier(extra=extra)
    assert {"deep", "staged", "flat"} & set(plain.net.layers) == {"flat"}  # level 0, no stages
    spec = plain.spec.to_python()
    solver = nettrain.get_solver(spec, settings=["solver.base_lr=0.5", "ip.num_output=4"], level=2, stages=["extra"])
    assert solver.p.base_lr == 0.5
    for net in (solver.net, *solver.test_nets):
        assert {"deep", "staged"} <= set(net.layers)
        assert net.params["ip"][0].shape == (4, 4)


def test_training_learns():
    """The shipped example gets most of the digits right."""
    solver = nettrain.get_solver("configs/mlp.yaml", settings=["solver.max_iter=200"])
    solver.solve()
    assert solver.test()["accuracy"] > 0.9


def test_a_score_that_is_no_number_is_null_in_the_metrics():
    run = Run("net", folder="out")
    run.open()
    run.write_metrics({"iter": 1, "test": {"loss": math.nan, "per_class": [0.5, math.inf]}})
    text = Path("out/metrics.jsonl").read_text()
    assert json.loads(text) == {"iter": 1, "test": {"loss": None, "per_class": [0.5, None]}}
