"""Text files of numbers alone, read by numpy at the speed of C."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .reading import check_file


def read_numbers(path: Path, separator: str, skip: int) -> np.ndarray | None:
    """The numbers of a text file, N x columns in float64, after ``skip`` lines; None when it has anything else: words,
    empty cells, lines of different width. Empty lines are passed over. Raises OSError, MemoryError.
    """
    check_file(path)
    try:
        return np.loadtxt(
            str(path.resolve()),
            delimiter=separator,
            skiprows=skip,
            comments=None,
            quotechar='"',
            ndmin=2,
            encoding="utf-8-sig",
        )
    except ValueError:  # UnicodeDecodeError too: whoever reads it more slowly says where
        return None
