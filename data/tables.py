"""Data sets in .npz and .csv files."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from ..net.errors import NettrainError
from ..net.files import read_npz
from .dataset import DataSet

_DATA, _LABEL = ("data", "x", "X", "images"), ("label", "labels", "y", "Y", "target", "targets")


def read_arrays(path: Path, split: str) -> DataSet:
    """An .npz with ``data`` and ``label`` (or x and y); with two splits, ``train_data`` or ``x_train`` and so on.

    Raises NettrainError when it is damaged, or has no such arrays.
    """
    try:
        arrays = read_npz(path, "data file")
    except NettrainError as error:
        error.key = "source"
        raise

    def pick(names: tuple[str, ...], part: str) -> np.ndarray | None:
        spellings = [s for n in names for s in ((f"{part}_{n}", f"{n}_{part}") if part else (n,))]
        return next((arrays[s] for s in spellings if s in arrays), None)

    for part in (split, ""):
        data = pick(_DATA, part)
        if data is not None:
            labels = pick(_LABEL, part)
            others = _others(arrays, part)
            for array in (data, labels, *others.values()):
                if array is not None and array.dtype.kind not in "fiub":
                    kind = "text" if array.dtype.kind in "SU" else f"{array.dtype} values"
                    raise NettrainError(f"{path} holds {kind}; numbers are needed", key="source")
                if array is not None and array.ndim == 0:
                    raise NettrainError(f"{path} holds a single number, not an array of examples", key="source")
            return DataSet(data, labels, path.name, part or "whole", others)
    has = ", ".join(arrays) or "nothing"
    raise NettrainError(f"{path} has no array `data` (or `{split}_data`, `x`, `x_{split}`); it has {has}", key="source")


def _others(arrays: dict[str, np.ndarray], part: str) -> dict[str, np.ndarray]:
    """Every array of numbers with rows, by its name without the split."""
    found = {}
    for name, array in arrays.items():
        bare = name.removeprefix(f"{part}_").removesuffix(f"_{part}") if part else name
        if (bare != name or not part) and array.ndim and array.dtype.kind in "fiub":
            found[bare] = array
    return found


def read_mean(path: Path) -> np.ndarray:
    """The one array of a .npy or .npz, as float32. Raises NettrainError when it is damaged or holds something else."""
    if path.suffix == ".npz":
        arrays = read_npz(path, "mean_file")
        if len(arrays) != 1:
            raise NettrainError(f"mean_file {path} must hold one array, it has {', '.join(arrays) or 'none'}")
        (mean,) = arrays.values()
    else:
        try:
            mean = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):  # what numpy says is about pickles
            raise NettrainError(f"mean_file {path} is no .npy or .npz file, or damaged") from None
    if not isinstance(mean, np.ndarray) or mean.dtype.kind not in "fiub":
        raise NettrainError(f"mean_file {path} must hold numbers")
    return mean.astype(np.float32)


def read_csv(path: Path, label_column: str | None) -> DataSet:
    """A table of numbers, one example a line; a first line of names is recognised: all words, or with the label.

    The label is the column called ``label`` (or as ``label_column`` says: a name or a number from 0), else the
    last one. Raises NettrainError with the line of the first cell that is not a number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    except UnicodeDecodeError as error:
        raise NettrainError(f"{path} is not a text file: byte {error.start} is not UTF-8", key="source") from None
    except (OSError, csv.Error) as error:
        raise NettrainError(f"{path} cannot be read: {error}", key="source") from None
    names: list[str] = []
    if rows and _is_head(rows[0][1], label_column):
        names = [name.strip() for name in rows.pop(0)[1]]
    if not rows:
        raise NettrainError(f"{path} holds no examples", key="source")
    width = len(names or rows[0][1])
    for number, row in rows:
        if len(row) != width:
            raise NettrainError(f"{path}:{number}: {len(row)} columns where {width} are expected", key="source")
    try:
        table = np.array([row for _, row in rows], dtype=np.float64)
    except ValueError:
        number, cell = next((n, c) for n, row in rows for c in row if not _is_number(c))
        raise NettrainError(f"{path}:{number}: `{cell}` is not a number", key="source") from None
    if width < 2:
        raise NettrainError(f"{path} has one column; an example needs values and a label", key="source")
    column = _label_column(path, names, width, label_column)
    return DataSet(np.delete(table, column, axis=1), table[:, column], path.name)


def _label_column(path: Path, names: list[str], width: int, wanted: str | None) -> int:
    if wanted is None:
        return names.index("label") if "label" in names else width - 1
    if wanted in names:
        return names.index(wanted)
    if wanted.isascii() and wanted.isdigit() and int(wanted) < width:
        return int(wanted)
    known = ", ".join(names) or f"0 to {width - 1}"
    raise NettrainError(f"{path} has no column `{wanted}`; it has {known}", key="label_column")


def _is_head(cells: list[str], label_column: str | None) -> bool:
    """Whether a first row is names: all words, or one of them the label's. A slip in a number is not a name."""
    words = [cell.strip() for cell in cells if not _is_number(cell)]
    return len(words) == len(cells) or (bool(words) and (label_column or "label") in words)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
