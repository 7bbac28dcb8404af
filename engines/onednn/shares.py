"""How work is cut into parts for the threads: by shapes alone, so that numbers do not depend on how many there are."""

from __future__ import annotations

import numpy as np

from ...compute.onednn.stages import Stage

LEAST = 1 << 21  # multiply-adds worth waking a thread for
MOST = 8  # parts of a batch
PIECE = 1 << 16  # elements of a sum that a thread takes


def parts(count: int, work: int) -> list[slice]:
    """The examples of each part of a batch, for so many multiply-adds in all."""
    number = max(1, min(count, MOST, work // LEAST, max(2, count // 4)))
    return [slice(i * count // number, (i + 1) * count // number) for i in range(number)]


def add_up(rows: np.ndarray) -> Stage:
    """Add rows 1, 2, … to row 0, in this order."""
    count = rows.shape[1]
    pieces = [slice(i, i + PIECE) for i in range(0, count, PIECE)]
    return [[(np.add, (rows[0, piece], row[piece], rows[0, piece])) for row in rows[1:]] for piece in pieces]
