"""Writing a run's snapshots: at regular intervals, and the best."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..net import parameter_files
from ..spec.errors import NettrainError, why
from .listener import Listener
from .resume import state_of
from .snapshot import write_snapshot

if TYPE_CHECKING:
    from .solver import Solver


class Keeper(Listener):
    """Keeps ``iter_N.npz`` when one is due and ``best.npz`` when a test gave the best score so far.

    The best comes before the iteration's own batch is drawn, so that a run can be resumed from it. Keeper is the last
    of the listeners: what the others have learned from an event is in the file. ``last`` is the newest ``iter_N.npz``.
    """

    def __init__(self) -> None:
        self.last: Path | None = None

    def tested(self, solver: Solver) -> None:
        if solver.last_test[1]:
            solver.begin_files()
            self.write(solver, solver.run.path("best.npz"))

    def updated(self, solver: Solver) -> None:
        if solver.p.snapshot and solver.iter % solver.p.snapshot == 0:
            self.keep(solver)

    def keep(self, solver: Solver) -> Path:
        """Write a snapshot of everything, and remove those that are too old; returns its path."""
        solver.begin_files()
        path = solver.run.path(f"iter_{solver.iter}.npz")
        self.write(solver, path)
        self.last = path
        if solver.p.snapshot_keep:
            solver.warn(solver.run.keep_newest(solver.p.snapshot_keep, solver.iter))
        return path

    def keep_once(self, solver: Solver) -> None:
        """``keep``, unless this iteration's is there."""
        if self.last is None or solver.run.path(f"iter_{solver.iter}.npz") != self.last:
            self.keep(solver)

    def write(self, solver: Solver, path: Path) -> None:
        """Write everything to a file. Raises NettrainError when a parameter is not finite or the disk refuses."""
        if not np.isfinite(solver.net.flat.data).all():
            raise solver.diverged("a parameter is not a finite number")
        solver.together.compare(solver)
        state = state_of(solver)
        solver.updater.hand_round_history()
        if not solver.team.is_first:
            return
        before, solver.team.doing = solver.team.doing, f"writing {path}"
        try:
            solver.run.sync_metrics()
            write_snapshot(path, parameter_files.arrays(solver.net.params), solver.updater.history, state)
        except OSError as error:
            kept = f"; {self.last} is intact" if self.last else ""
            raise NettrainError(f"cannot write {path}: {why(error)}{kept}", exit_code=1) from None
        finally:
            solver.team.doing = before
