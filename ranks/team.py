"""The processes that train as one, as the solver sees them: a number for each, and a few ways to exchange things."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Team:
    """One process alone, which is also what several have in common.

    ``rank`` is this process's number, ``size`` how many there are. Every method is called by all of them, in the same
    order, or all wait for ever; alone each gives what it was given.
    """

    rank = 0
    size = 1
    library = ""  # name and version of what they exchange things by
    overlaps = False  # whether gradients are exchanged while the backward pass goes on
    doing = "starting"  # what this process does, for those that wait for it
    say: Callable[[str], None] = staticmethod(_say)  # tells a person what no other rank may know
    may_overlap = False  # whether a thread of its own may exchange them

    @property
    def is_first(self) -> bool:
        """Whether this process writes files, and what people read."""
        return self.rank == 0

    def gather(self, thing: Any) -> list[Any]:
        """Everybody's thing, on everybody, in the order of their ranks."""
        return [thing]

    def of_first(self, thing: Any) -> Any:
        """That of rank 0, on everybody."""
        return thing

    def exchange(self, flat: np.ndarray, inbox: np.ndarray, starts: list[int], counts: list[int]) -> None:
        """Row i of ``inbox`` becomes segment ``rank`` of rank i's ``flat``; segment r is ``counts[r]`` numbers from
        ``starts[r]``."""
        inbox[0] = flat[starts[0] : starts[0] + counts[0]]

    def share(self, flat: np.ndarray, starts: list[int], counts: list[int]) -> None:
        """Everybody's own segment of ``flat`` comes to all others."""

    def sum(self, flat: np.ndarray) -> None:
        """``flat`` becomes the sum over all ranks, in an order that the library chooses."""

    def all_end(self, seconds: float) -> bool:
        """Whether all others are about to end too: they have called this, or do within some seconds."""
        return True

    def end(self, exit_code: int) -> NoReturn:
        """End all processes at once, those too that wait for this one."""
        raise SystemExit(exit_code)


ALONE = Team()
