"""Lines of progress: one at each test and every ``display`` iterations, kept in metrics.jsonl."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .evaluate import Scores
from .listener import Listener

if TYPE_CHECKING:
    from .solver import Solver


@dataclass
class Row:
    """One line of progress."""

    iter: int
    epoch: float | None
    loss: float | None  # training loss, averaged over average_loss iterations
    lr: float
    rate: float  # iterations per second since the last row
    test: Scores = field(default_factory=dict)
    best: bool = False


class Reports(Listener):
    """Makes the rows, writes them, and lets the others know."""

    def __init__(self) -> None:
        self.last = -1  # iteration of the last row
        self._clock = (0.0, 0)  # when that was, and after how many iterations

    def started(self, solver: Solver) -> None:
        self._clock = (time.perf_counter(), solver.iter)

    def computed(self, solver: Solver) -> None:
        if solver.test_is_new or (solver.p.display and solver.iter % solver.p.display == 0):
            self._report(solver)

    def finished(self, solver: Solver) -> None:
        if self.last != solver.iter:
            self._report(solver)

    def _report(self, solver: Solver) -> None:
        now = time.perf_counter()
        elapsed, made = now - self._clock[0], solver.iter - self._clock[1]
        self._clock = (now, solver.iter)
        rate = made / elapsed if elapsed > 0 else 0.0
        scores, is_best = solver.last_test if solver.test_is_new else ({}, False)
        row = Row(solver.iter, solver.epochs(solver.iter), solver.smoothed_loss, solver.rate(), rate, scores, is_best)
        self.last = solver.iter
        data: dict[str, Any] = {
            "iter": row.iter,
            "epoch": row.epoch,
            "train_loss": row.loss,
            "lr": row.lr,
            "it_per_s": row.rate,
        }
        data["engine"] = solver.net.computed_by
        solver.run.begin(solver.iter)
        solver.run.write_metrics(data | ({"test": scores} if scores else {}))
        solver.tell("reported", row)
