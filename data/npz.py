"""Data sets in .npz files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..files.arrays import Archive, Stored, open_npz
from ..spec.errors import NettrainError, blaming
from .dataset import EXAMPLES, LABELS, WHOLE, DataSet, check_counts


def part_in(path: Path, split: str) -> str:
    """Which arrays of an .npz are for a split: its own, ``train_data`` or ``x_train`` and so on, or nothing where they
    are for both, ``data`` or ``x``. Raises NettrainError when it is damaged, or has no such arrays."""
    with blaming("source"), open_npz(path, "data file") as archive:
        found = next((part for part in (split, "") if _named(path, archive, EXAMPLES, part) is not None), None)
        if found is None:
            if _named(path, archive, EXAMPLES, "train") is None:
                split = "train"  # one message for both phases
            has = ", ".join(archive) or "nothing"
            raise NettrainError(f"{path} has no array `data` (or `{split}_data`, `x`, `x_{split}`); it has {has}")
        return found


def read_part(path: Path, part: str) -> DataSet:
    """The examples and labels of a part that ``part_in`` gave. Other arrays are read when they are asked for.

    Raises NettrainError when they are damaged, or are no numbers.
    """
    with blaming("source"), open_npz(path, "data file") as archive:
        data, label = (_named(path, archive, names, part) for names in (EXAMPLES, LABELS))
        if data is None:
            raise NettrainError(f"{path} was changed while it was in use")
        check_counts(path.name, data.shape[0], None if label is None else label.shape[0])
        others = _Others(path, list(archive), part, data.shape[0])
        return DataSet(data.read(), None if label is None else label.read(), path.name, part or WHOLE, others)


def _named(path: Path, archive: Archive, names: tuple[str, ...], part: str) -> Stored | None:
    """The first array that has one of these names, with the part before or behind it."""
    spellings = [s for n in names for s in ((f"{part}_{n}", f"{n}_{part}") if part else (n,))]
    return next((_rows(path, archive, s) for s in spellings if s in archive), None)


def _rows(path: Path, archive: Archive, name: str) -> Stored:
    """An array of numbers with rows, not yet read. Raises NettrainError for one of another kind."""
    stored = archive[name]
    if stored.dtype.kind not in "fiub":
        kind = "text" if stored.dtype.kind in "SU" else f"{stored.dtype} values"
        number = ": number the classes, from 0" if name.removeprefix("train_").removeprefix("test_") in LABELS else ""
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
