"""How a batch is cut into parts: by shapes alone, so that no number depends on how many threads there are."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...compute.stages import MOST_PARTS, Stage, When, Works, parts_of

PIECE = 1 << 16  # elements of a sum that a thread takes


class Shares:
    """The parts of a batch. ``counts`` are the numbers of examples that occur among them: one or two."""

    def __init__(self, count: int, elements: int, most: int = MOST_PARTS):
        """Of so many examples, with so many elements in all, and at most so many."""
        self.slices = parts_of(count, elements, most)
        self.counts = sorted({share.stop - share.start for share in self.slices})
        self.examples = count

    def __len__(self) -> int:
        return len(self.slices)

    def stage(self, task: Callable[[int, slice, int], Works], work: int, when: When = "in order") -> Stage:
        """The tasks that ``task(i, share, count)`` gives for part i, a slice of so many examples."""
        tasks = [task(i, share, share.stop - share.start) for i, share in enumerate(self.slices)]
        return Stage(tasks, self.examples, when, work)


def add_up(rows: np.ndarray) -> list[Works]:
    """Add rows 1, 2, … to row 0, in this order."""
    pieces = [slice(i, i + PIECE) for i in range(0, rows.shape[1], PIECE)] if len(rows) > 1 else []
    return [[(np.add, (rows[0, piece], row[piece], rows[0, piece])) for row in rows[1:]] for piece in pieces]
