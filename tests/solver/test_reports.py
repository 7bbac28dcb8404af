"""The rows of a run: which fall due, what they hold, and the losses they are means of."""

import json
import time
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers.solvers import B0, W0, T, X, least_squares, no_test, rows_of
from nettrain.solver.listener import Functions

pytestmark = pytest.mark.usefixtures("workdir")


def test_the_loss_of_an_iteration_is_that_before_its_update_averaged_over_iter_size():
    solver = least_squares(batch_size=2, iter_size=2, display=1)
    rows = rows_of(solver)
    solver.step(1)
    expected = ((X @ W0.T + B0 - T) ** 2).sum() / 8
    assert rows[0].loss == solver.losses[-1] == pytest.approx(expected, rel=1e-6)


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
    solver.add(Functions(on_step=lambda solver: seconds.append(seconds.pop() + 0.25)))
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
        {
            "iter": row.iter,
            "epoch": row.epoch,
            "train_loss": row.loss,
            "lr": row.lr,
            "it_per_s": row.rate,
            "engine": solver.net.computed_by,
        }
        | ({"test": row.test} if row.test else {})
        for row in rows
    ]
    assert [line["iter"] for line in metrics()] == [0, 1, 2, 3]


def test_on_step_is_called_after_every_iteration():
    solver, seen = least_squares(max_iter=3), []
    solver.add(Functions(on_step=lambda s: seen.append((s.iter, s.net.params["ip"][1].data[0].item()))))
    solver.solve()
    assert [i for i, _ in seen] == [1, 2, 3]
    assert len({b for _, b in seen}) == 3


def test_a_run_without_tests_leaves_its_metrics_too():
    solver = nettrain.get_solver(no_test(), out="run")
    rows = rows_of(solver)
    solver.solve()
    assert solver.test_nets == []
    assert rows[-1].iter == 5
    assert rows[-1].loss == pytest.approx(np.mean(solver.losses))
    assert metrics()[-1]["iter"] == 5
