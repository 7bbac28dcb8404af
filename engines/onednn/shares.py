"""How work is cut into parts for the threads: by shapes alone, so that numbers do not depend on how many there are."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from ...compute.onednn.stages import Works

LEAST = 1 << 21  # multiply-adds worth waking a thread for
MOST = 8  # parts of a batch
PIECE = 1 << 16  # elements of a sum that a thread takes


class Shares:
    """The parts of a batch. ``counts`` are the numbers of examples that occur among them: one or two."""

    def __init__(self, count: int, work: int):
        """Of so many examples, with so many multiply-adds in all."""
        number = max(1, min(count, MOST, work // LEAST, max(2, count // 4)))
        ends = [i * count // number for i in range(number + 1)]
        self.slices = [slice(*pair) for pair in itertools.pairwise(ends)]
        self.counts = sorted({share.stop - share.start for share in self.slices})

    def __len__(self) -> int:
        return len(self.slices)

    def stage(self, task: Callable[[int, slice, int], Works]) -> list[Works]:
        """The tasks that ``task(i, share, count)`` gives for part i, a slice of so many examples."""
        return [task(i, share, share.stop - share.start) for i, share in enumerate(self.slices)]


def add_up(rows: np.ndarray) -> list[Works]:
    """Add rows 1, 2, … to row 0, in this order."""
    pieces = [slice(i, i + PIECE) for i in range(0, rows.shape[1], PIECE)] if len(rows) > 1 else []
    return [[(np.add, (rows[0, piece], row[piece], rows[0, piece])) for row in rows[1:]] for piece in pieces]
