"""What a program hands in instead of a source: files by name, or arrays."""

from __future__ import annotations

import os
from typing import Any

import numpy as np


def files_in(given: Any) -> list[str] | None:
    """The files that are named, by one name or by a list of them; None for anything else."""
    if isinstance(given, str | os.PathLike):
        return [os.fspath(given)]
    if isinstance(given, list | tuple) and given and all(isinstance(one, str | os.PathLike) for one in given):
        return [os.fspath(one) for one in given]
    return None


def file_in(given: Any) -> str | None:
    """The only file that is named; None for several, and for anything else."""
    files = files_in(given)
    return files[0] if files is not None and len(files) == 1 else None


def rows_of_numbers(given: Any) -> np.ndarray | None:
    """An array of numbers with a row for each example; None for what is none, such as rows of different lengths."""
    try:
        array = np.asarray(given)
    except ValueError:
        return None
    return array if array.dtype.kind in "fiub" and array.ndim else None
