"""The files of a run, for the processes of a team that leave them to the first: nothing is read, nothing is written."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from .runs import Dropped, Run


class Turn:
    """What ``Run.open`` gives besides: nobody else writes these files here."""

    def __init__(self) -> None:
        self.turn = threading.RLock()


class RunElsewhere(Run):
    """Knows the names of a run's files, for messages, once ``folder`` is known, and does nothing with them."""

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
