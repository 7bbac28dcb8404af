"""A solver among others of a team: all train the same, from the beginning to the end, and one writes the files."""

from __future__ import annotations

import json
import platform
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..net.net import Net
from ..ranks import alike
from ..ranks.sharing import overrides
from ..spec.errors import NettrainError
from .listener import Listener
from .record import versions
from .runs import Dropped, Run

if TYPE_CHECKING:
    from .reports import Row
    from .solver import Solver


class Together(Listener):
    """Compares everything when training begins, and again after a resume; weights and places in the data at each line
    of progress and snapshot. Also says where this rank is, for those who wait for it. Alone it does nothing.

    ``is_due`` is whether everything is to be compared, ``alike_at`` the last iteration at which all had the same.
    """

    def __init__(self) -> None:
        self.is_due, self.alike_at = True, 0

    def started(self, solver: Solver) -> None:
        solver.warn(self.begin(solver))
        self.updated(solver)

    def begin(self, solver: Solver) -> list[str]:
        """Compare everything, if that is due; returns sentences about what is not quite the same. Raises NettrainError,
        on all alike. Whoever makes files beforehand calls it first: a rank that cannot begin then leaves none behind.
        """
        team = solver.team
        if team.size == 1 or not self.is_due:
            return []
        found = alike.compare(team, needed(solver), alike.kernels(solver.net))
        self.is_due, self.alike_at = False, solver.iter
        return found

    def testing(self, solver: Solver) -> None:
        solver.team.doing = f"testing before iteration {solver.iter}"

    def tested(self, solver: Solver) -> None:
        self.updated(solver)

    def updated(self, solver: Solver) -> None:
        solver.team.doing = f"in iteration {solver.iter}"

    def finished(self, solver: Solver) -> None:
        solver.team.doing = "at the end of training"

    def reported(self, solver: Solver, row: Row) -> None:
        self.compare(solver)

    def compare(self, solver: Solver) -> None:
        """Raise NettrainError, on all alike, when not all have the same weights and places in the data."""
        team = solver.team
        if team.size == 1:
            return
        places = _places([solver.net, *solver.test_nets])
        mine = solver.iter, _sum(solver.net.flat.data), zlib.crc32(json.dumps(places).encode())
        if len(set(team.gather(mine))) == 1:
            self.alike_at = solver.iter
            return
        facts = {"iteration": solver.iter, "weights": _weights(solver.net), "state": places}
        found = team.gather((platform.node(), facts))
        lines = alike.differing([facts for _, facts in found], alike.names_of([host for host, _ in found]))
        raise NettrainError(
            f"the ranks are no longer alike at iteration {solver.iter}; at iteration {self.alike_at} they were:\n"
            + "\n".join(lines)
            + "\n   an update gives all ranks the same weights. Whatever else changes them must do so on every rank, a "
            "layer or a function of your own; else the memory or processor of one machine is at fault. Snapshots up to "
            f"iteration {self.alike_at} are sound",
            exit_code=1,
        )


def needed(solver: Solver) -> dict[str, Any]:
    """All that must be the same on all ranks."""
    nets = [solver.net, *solver.test_nets]
    engine = solver.net.computed_by
    return {
        "version": versions(engine),
        "code": alike.code(nets),
        "engine": engine,
        "precision": solver.dtype,
        "spec": solver.spec.to_python(),
        "level": solver.level,
        "stages": list(solver.stages),
        "seed": solver.seed,
        "data": _by_net(solver.data),
        "iteration": solver.iter,
        "weights": _weights(solver.net),
        "history": [_sum(array) for array in solver.updater.history],
        "state": _places(nets),
    }


def _by_net(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the training net, and of each test net, by the names of layers."""
    names = ["train", *(f"test{i or ''}" for i in range(len(found) - 1))]
    return {f"{name} {key}": value for name, net in zip(names, found, strict=True) for key, value in net.items()}


def _places(nets: list[Net]) -> dict[str, Any]:
    """What layers keep from batch to batch, their places in the data above all, but for what follows from the batch
    that was last on this rank."""
    states = [net.layer_states() for net in nets]
    for net, state in zip(nets, states, strict=True):
        for name, layer in net.layers.items():
            if overrides(layer, "follows_on"):
                del state[name]
    return _by_net(states)


def _sum(array: np.ndarray) -> int:
    """A check sum."""
    return zlib.crc32(array.data)


def _weights(net: Net) -> dict[str, int]:
    """A check sum of each parameter."""
    return {one.name: _sum(net.flat.data[one.start : one.stop]) for one in net.parameters}


class Turn:
    """What ``Run.open`` gives besides: nobody else writes these files here."""

    def __init__(self) -> None:
        self.turn = threading.RLock()


class RunElsewhere(Run):
    """The files of a run for those who leave them to the first: knows their names, for messages, once ``folder`` is
    known, and does nothing with them."""

    def open(self) -> Any:
        self.folder = self.folder or Path("runs") / self.name
        return Turn()

    def close(self) -> None:
        pass

    def discard(self, with_best: bool = False) -> None:
        pass

    def begin(self, iteration: int) -> None:
        pass

    def check_writable(self) -> None:
        pass

    def check_free(self) -> None:
        pass

    def snapshots(self, with_best: bool = True) -> list[Path]:
        return []

    def write(self, name: str, text: str) -> None:
        pass

    def write_metrics(self, row: dict[str, Any]) -> None:
        pass

    def sync_metrics(self) -> None:
        pass

    def continue_from(self, other: Run, iteration: int) -> Dropped:
        return Dropped(iteration, 0)

    def copy_best(self, other: Run) -> None:
        pass

    def keep_newest(self, count: int, iteration: int) -> list[str]:
        return []
