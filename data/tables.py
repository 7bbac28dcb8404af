"""Data sets in .npz files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..files.arrays import Archive, Stored, open_npz
from ..spec.errors import NettrainError, blaming
from .dataset import DataSet, check_counts

_DATA, _LABEL = ("data", "x", "X", "images"), ("label", "labels", "y", "Y", "target", "targets")


def read_arrays(path: Path, split: str) -> DataSet:
    """An .npz with ``data`` and ``label`` (or x and y); with two splits, ``train_data`` or ``x_train`` and so on.

    Other arrays are read when they are asked for. Raises NettrainError when it is damaged, or has no such arrays.
    """
    with blaming("source"), open_npz(path, "data file") as archive:
        return _data_and_labels(path, archive, split)


def _data_and_labels(path: Path, archive: Archive, split: str) -> DataSet:
    def pick(names: tuple[str, ...], part: str) -> Stored | None:
        spellings = [s for n in names for s in ((f"{part}_{n}", f"{n}_{part}") if part else (n,))]
        return next((_rows(path, archive, s) for s in spellings if s in archive), None)

    for part in (split, ""):
        data = pick(_DATA, part)
        if data is not None:
            label = pick(_LABEL, part)
            check_counts(path.name, data.shape[0], None if label is None else label.shape[0])
            others = _Others(path, list(archive), part, data.shape[0])
            return DataSet(data.read(), None if label is None else label.read(), path.name, part or "whole", others)
    has = ", ".join(archive) or "nothing"
    if pick(_DATA, "test" if split == "train" else "train") is None:
        split = "train"  # one message for both
    raise NettrainError(f"{path} has no array `data` (or `{split}_data`, `x`, `x_{split}`); it has {has}")


def _rows(path: Path, archive: Archive, name: str) -> Stored:
    """An array of numbers with rows, not yet read. Raises NettrainError for one of another kind."""
    stored = archive[name]
    if stored.dtype.kind not in "fiub":
        kind = "text" if stored.dtype.kind in "SU" else f"{stored.dtype} values"
        number = ": number the classes, from 0" if name.removeprefix("train_").removeprefix("test_") in _LABEL else ""
        raise NettrainError(f"{path}: `{name}` holds {kind}; numbers are needed{number}")
    if not stored.shape:
        raise NettrainError(f"{path} holds a single number, not an array of examples")
    return stored


class _Others(Mapping[str, np.ndarray]):
    """The arrays of an .npz by their names without the split; each is read when it is asked for, if it has as many
    rows as there are examples."""

    def __init__(self, path: Path, names: list[str], part: str, count: int):
        self.path, self.stamp, self.count = path, path.stat().st_mtime_ns, count
        self.read: dict[str, np.ndarray] = {}
        bare = {name: name.removeprefix(f"{part}_").removesuffix(f"_{part}") if part else name for name in names}
        self.names = {short: name for name, short in bare.items() if short != name or not part}

    def __getitem__(self, short: str) -> np.ndarray:
        name = self.names[short]
        if short not in self.read:
            with open_npz(self.path, "data file") as archive:
                if self.path.stat().st_mtime_ns != self.stamp:
                    raise NettrainError(f"{self.path} was changed while it was in use")
                rows = _rows(self.path, archive, name)
                if rows.shape[0] != self.count:
                    raise NettrainError(
                        f"{self.path.name}: `{short}` has {rows.shape[0]:,} rows, but there are "
                        f"{self.count:,} examples",
                        key="top",
                    )
                self.read[short] = rows.read()
        return self.read[short]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
