"""Data sets in .npz and .csv files."""

from __future__ import annotations

import array
import csv
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..files.arrays import Archive, Stored, open_npz
from ..files.reading import lines
from ..spec.errors import NettrainError, blaming, nearest, why
from .dataset import DataSet, check_counts
from .kinds import not_text, other_kind

_LIKE_LABEL = ("label", "labels")  # a column's name, in upper or lower case
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
    raise NettrainError(f"{path} has no array `data` (or `{split}_data`, `x`, `x_{split}`); it has {has}")


def _rows(path: Path, archive: Archive, name: str) -> Stored:
    """An array of numbers with rows, not yet read. Raises NettrainError for one of another kind."""
    stored = archive[name]
    if stored.dtype.kind not in "fiub":
        kind = "text" if stored.dtype.kind in "SU" else f"{stored.dtype} values"
        raise NettrainError(f"{path} holds {kind}; numbers are needed")
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


def read_csv(path: Path, label_column: str | None) -> DataSet:
    """A table of numbers, one example per line; a first line of names is recognised: all words, or with the label.

    The label is the column called ``label`` (or as ``label_column`` says: a name or a number from 0), else the
    last one. A number is written in ASCII, as 12, -1.5, 3e-4, nan or inf. Raises NettrainError with the line of the
    first cell that is not one.
    """
    names: list[str] = []
    values, width = array.array("d"), 0
    try:
        for number, line in lines(path):
            if not line:
                continue
            cells = _cells(path, number, line)
            if not width:
                width = len(cells)
                if width == 1 and not _is_number(line):
                    if what := other_kind(path, "table"):
                        raise NettrainError(f"{path} is not a table of numbers{what}", key="source")
                    if what := _other_format(line):
                        raise NettrainError(f"{path}:{number}: {what}", key="source")
                if _is_head(cells, label_column):
                    names = [name.strip() for name in cells]
                    continue
            if len(cells) != width:
                what = _other_format(line) or f"{len(cells)} columns where {width} are expected"
                raise NettrainError(f"{path}:{number}: {what}", key="source")
            try:
                if not line.isascii() or "_" in line:  # 1_000 and the digits of other alphabets are numbers to Python
                    raise ValueError
                values.extend(map(float, cells))
            except ValueError:
                what = _other_format(line) or _not_a_number(cells, _expected_label(names, width, label_column))
                raise NettrainError(f"{path}:{number}: {what}", key="source") from None
    except UnicodeDecodeError as error:
        raise NettrainError(f"{path} is not a text file{not_text(path, error)}", key="source") from None
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
    except MemoryError:
        raise NettrainError(f"{path} needs more memory than this machine has left", key="source") from None
    if not values:
        raise NettrainError(f"{path} holds no examples", key="source")
    if width < 2:
        raise NettrainError(f"{path} has one column; an example needs values and a label", key="source")
    table = np.frombuffer(values).reshape(-1, width)
    column = _label_column(path, names, width, label_column)
    if column == 0:
        data = table[:, 1:]
    elif column == width - 1:
        data = table[:, :-1]
    else:
        data = np.delete(table, column, axis=1)
    return DataSet(data, table[:, column], path.name)


def _cells(path: Path, number: int, line: str) -> list[str]:
    if '"' not in line:
        return line.split(",")
    try:
        return _quoted_cells(line)
    except csv.Error as error:
        try:
            _quoted_cells(line + '"')
            what = "a quoted cell does not end on its line"
        except csv.Error:
            what = str(error)
        raise NettrainError(f"{path}:{number}: {what}", key="source") from None


def _quoted_cells(line: str) -> list[str]:
    (cells,) = csv.reader([line], strict=True)
    return cells


_DECIMAL = re.compile(r"[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?", re.ASCII)  # a number with a decimal comma
_OTHER_SEPARATORS = {";": "`;`", "\t": "tabs", "|": "`|`", " ": "spaces"}


def _other_format(line: str) -> str:
    """What another separator or decimal point of a line is, and how to put it right; nothing where there is none."""
    for separator, name in _OTHER_SEPARATORS.items():
        cells = [cell.strip().strip('"') for cell in line.strip().split(separator) if cell.strip()]
        decimal = sum(_DECIMAL.fullmatch(cell) is not None for cell in cells)
        if len(cells) > 1 and 2 * (decimal + sum(map(_is_number, cells))) >= len(cells):
            commas = ", and numbers have a decimal comma" if decimal else ""
            point = "; write 1.5 for 1,5, and then" if decimal else ": write"
            return (
                f"the columns are separated by {name}{commas}; nettrain reads `,` between columns{point} `,` for {name}"
            )
    return ""


def _not_a_number(cells: list[str], label: int) -> str:
    """The message for the first cell that is not a number; ``label`` is the column of the labels, from 0."""
    column, cell = next((i, cell) for i, cell in enumerate(cells) if not _is_number(cell))
    if not cell.strip():
        return f"column {column + 1} is empty; a number is needed"
    shown = _short(cell)
    what = f"`{shown}` is not a number"
    if _DECIMAL.fullmatch(cell.strip()):
        return f"{what} with a decimal point; write {shown.strip().replace(',', '.')}"
    if cell.strip().casefold() in ("na", "n/a", "null", "none", "?", "-"):
        return f"{what}: column {column + 1} has no value there; give one, or remove the line"
    if not re.fullmatch(r"[^\W\d_][^\W_]*(?:[ _-][^\W_]+)*", cell.strip()):
        return what
    if column == label:
        return f"{what}, but a label must be: number the classes from 0, such as 0 for `{shown.strip()}`"
    return f"{what}; a table holds numbers only: number the words in column {column + 1}, or remove it"


def _short(cell: str) -> str:
    """A cell as a message shows it."""
    shown = cell if len(cell) <= 40 else cell[:37] + "..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]


def _expected_label(names: list[str], width: int, wanted: str | None) -> int:
    """The column of the labels as far as the first lines tell; the last one when they do not."""
    name = "label" if wanted is None else wanted
    if name in names:
        return names.index(name)
    return (
        int(wanted) if wanted is not None and wanted.isascii() and wanted.isdigit() and len(wanted) < 10 else width - 1
    )


def _label_column(path: Path, names: list[str], width: int, wanted: str | None) -> int:
    name = "label" if wanted is None else wanted
    if names.count(name) > 1:
        places = [str(i) for i, other in enumerate(names) if other == name]
        raise NettrainError(
            f"{path} has {len(places)} columns `{name}`; say which is the label by its number: "
            f"label_column: {' or '.join(places)}",
            key="label_column" if wanted else "source",
        )
    if name in names:
        return names.index(name)
    if wanted is None:
        for other in names[:-1]:
            if other.casefold() in _LIKE_LABEL and names[-1].casefold() not in _LIKE_LABEL:
                raise NettrainError(
                    f"{path}: column `{other}`: did you mean `label`? The label would be the last column, "
                    f"`{_short(names[-1])}`; rename one, or say label_column: {other}",
                    key="source",
                )
        return width - 1
    if wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < width:
        return int(wanted)
    shown = [_short(name) for name in names[:20]] + ["…"] * (len(names) > 20)
    known, near = ", ".join(shown) or f"0 to {width - 1}", nearest(wanted, names)
    meant = f"; did you mean `{_short(near)}`?" if near else ""
    raise NettrainError(f"{path} has no column `{wanted}`{meant or f'; it has {known}'}", key="label_column")


def _is_head(cells: list[str], label_column: str | None) -> bool:
    """Whether a first row is names: all words, or one of them the label's. A slip in a number is not a name."""
    words = [cell.strip() for cell in cells if not _is_number(cell)]
    return len(words) == len(cells) or (
        bool(words) and (label_column in words or any(word.casefold() in _LIKE_LABEL for word in words))
    )


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.isascii() and "_" not in cell
