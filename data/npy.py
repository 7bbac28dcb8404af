"""Arrays in .npy files: a pair of examples and labels, or a folder with such pairs, larger than memory too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..files.arrays import map_npy, read_npy
from ..spec.errors import NettrainError, blaming
from .dataset import EXAMPLES, LABELS, WHOLE, DataSet, digest, some_of

IN_MEMORY = 1 << 28  # bytes: larger files stay on the disk, and their rows are read when they are needed


class OnDisk:
    """The rows of an array that stays in its file."""

    def __init__(self, array: np.ndarray):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.asarray(self.array[indices])

    @property
    def digest(self) -> str:
        """Of some rows, evenly spaced: all may be too many to read."""
        return digest(np.ascontiguousarray(self.array[i]) for i in some_of(len(self)))


def read_pair(path: Path, part: str = WHOLE) -> DataSet:
    """The examples in an .npy, with the labels in the one beside it of that name: y_train.npy for x_train.npy.

    Raises NettrainError when one is damaged or holds no rows of numbers.
    """
    with blaming("source"):
        beside = next((place for place in _partners(path) if os.path.isfile(place)), None)
        return DataSet(rows_in(path), None if beside is None else rows_in(beside), path.name, part)


def read_folder(folder: Path, split: str) -> DataSet | None:
    """The arrays of a folder for a split: x_train.npy with y_train.npy, or data.npy with label.npy for both; None for a
    folder without such files."""
    return next((read_pair(path, part or WHOLE) for path, part in _examples_in(folder, split)), None)


def holds_arrays(folder: Path, split: str) -> bool:
    """Whether ``read_folder`` finds some."""
    return any(_examples_in(folder, split))


def _examples_in(folder: Path, split: str) -> Iterator[tuple[Path, str]]:
    """The files with examples for a split, and which part each is; none for both."""
    for part in (split, ""):
        for name in EXAMPLES:
            for stem in (f"{name}_{part}", f"{part}_{name}") if part else (name,):
                if os.path.isfile(folder / f"{stem}.npy"):
                    yield folder / f"{stem}.npy", part


def rows_in(path: Path) -> Any:
    """The array of an .npy, in memory where it is small."""

    def check(shape: tuple[int, ...], dtype: np.dtype) -> None:
        if dtype.kind not in "fiub" or not shape:
            what = "a single number" if not shape else "text" if dtype.kind in "SU" else f"{dtype} values"
            raise NettrainError(f"{path} holds {what}; an array of numbers with a row for each example is needed")

    if path.stat().st_size <= IN_MEMORY:
        return read_npy(path, "data file", check)
    return OnDisk(map_npy(path, "data file", check))


def _partners(path: Path) -> Iterator[Path]:
    """What the file with the labels may be called."""
    words = path.stem.split("_")
    for i, word in enumerate(words):
        if word in EXAMPLES:
            for other in LABELS:
                yield path.with_name("_".join([*words[:i], other, *words[i + 1 :]]) + ".npy")
