"""Tables as data sets: labels at once, features as numbers when it is known which rows are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...spec.errors import NettrainError
from ..dataset import DataSet, Rows
from ..faults import Faults, refuse
from . import encoding, roles
from .cells import short
from .roles import Keys
from .table import Column, Table


@dataclass(frozen=True)
class Features:
    """The feature columns of a table, which are not numbers yet. ``known`` is what was fitted to a training set, None
    where this is one."""

    table: Table
    places: tuple[int, ...]
    keys: Keys
    labels: tuple[dict[str, Any], ...]
    known: Mapping[str, Any] | None
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.table), len(self.places)

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, indices: Any) -> np.ndarray:
        raise TypeError("columns of a table are fitted before they are read")


def table_set(
    table: Table, keys: Keys, known: Mapping[str, Any] | None = None, faults: Faults | None = None
) -> DataSet:
    """The rows of a table as examples with labels, not yet as numbers: see ``fitted`` and ``in_numbers``.

    ``known`` is what was fitted to a training set: columns and classes are then those; ``faults`` is what is wrong with
    the file already. Raises NettrainError with all that is wrong.
    """
    faults = faults or Faults()
    if known is None:
        found = roles.find(table, keys)
        places, labels = found.features, found.labels
        notes: tuple[str, ...] = found.notes
        roles.check_features(table, places, keys, faults)
        about = None
    else:
        places, notes = tuple(_places(table, known, known["columns"])), ()
        labels = tuple(_places(table, known, known["labels"]))
        about = known["labels"]
    missing = keys.missing if known is None else known["missing"]
    gaps = _gaps(table, [*places, *labels] if missing == "drop" else labels)
    if missing == "drop" and gaps.any():
        table = table.take(np.flatnonzero(~gaps))
        notes = (*notes, f"{int(gaps.sum()):,} rows have gaps and are left out")
        if not len(table):
            raise NettrainError(f"{table.origin} holds no examples without gaps", key="missing")
    elif gaps.any():
        problems = [
            f"{table.place(row)}: {table.called(i)}, the label, has no value"
            for row in np.flatnonzero(gaps).tolist()
            for i in labels
            if table.columns[i].gaps[row]
        ]
        hint = "give labels, remove these rows, or say missing: drop"
        faults.add(problems, key=("missing", "source"), hint=hint)
    if missing == "error":
        _note_gaps(table, places, faults)
    with faults:
        values, described = _labels(table, labels, about)
    faults.raise_if_any()
    features = Features(table, tuple(places), keys, tuple(described), known, notes)
    classes = tuple(described[0]["classes"]) if len(described) == 1 and described[0]["classes"] else ()
    return DataSet(
        features, values, Path(table.origin).name, others=_Columns(table), classes=classes, names=_Names(table)
    )


def _gaps(table: Table, places: Sequence[int]) -> np.ndarray:
    """The rows with a gap in one of these columns."""
    found = np.zeros(len(table), bool)
    for i in places:
        found |= table.columns[i].gaps
    return found


def _note_gaps(table: Table, places: Sequence[int], faults: Faults) -> None:
    """Of numbers; words without a value are a category of their own."""
    with_gaps = [(i, np.flatnonzero(table.columns[i].gaps)) for i in places if table.columns[i].kind == "numbers"]
    with_gaps = [(i, rows) for i, rows in with_gaps if len(rows)]
    if with_gaps:
        first = sorted((row, i) for i, rows in with_gaps for row in rows[:20].tolist())[:20]
        problems = [f"{table.place(row)}: {table.called(i)} has no value" for row, i in first]
        names = ", ".join(table.columns[i].name for i, _ in with_gaps)
        more = sum(len(rows) for _, rows in with_gaps) - len(problems)
        faults.add(problems, more, key=("missing", "source"), hint=encoding.GAPS_HINT.format(names))


def _labels(
    table: Table, places: Sequence[int], about: Sequence[Mapping[str, Any]] | None
) -> tuple[np.ndarray | None, list[dict[str, Any]]]:
    """The labels, N or N x columns, and what they are called; words become the numbers of their classes. ``about`` is
    what was found in training."""
    values, described = [], []
    for k, i in enumerate(places):
        column = table.columns[i]
        classes = column.words if about is None else about[k]["classes"]
        if about is not None and classes and column.kind == "numbers":
            column = column.as_words()
        if column.kind == "numbers":
            values.append(column.values)
        elif about is not None and not classes:
            raise NettrainError(
                f"{table.origin}: {table.called(i)}, the label, holds words; in training it held numbers", key="source"
            )
        else:
            if column.kind == "dates":
                raise NettrainError(
                    f"{table.origin}: {table.called(i)}, the label, holds dates; a label is a number or a word",
                    key="source",
                )
            if len(places) > 1 and len(classes) > 2:
                raise NettrainError(
                    f"{table.origin}: {table.called(i)} holds words; of several labels each is a number, or one of two "
                    "words",
                    key="label",
                )
            values.append(_classes(table, i, column, list(classes)))
        described.append(
            {"name": table.columns[i].name, "classes": list(classes) if column.kind != "numbers" else None}
            | _namesakes(table, i)
        )
    if not values:
        return None, described
    return values[0] if len(values) == 1 else np.stack(values, axis=1), described


def _namesakes(table: Table, i: int) -> dict[str, int]:
    """How many columns ``before`` this one have its name, where there are some: what tells it from them."""
    count = sum(column.name == table.columns[i].name for column in table.columns[:i])
    return {"before": count} if count else {}


def _classes(table: Table, i: int, column: Column, classes: Sequence[str]) -> np.ndarray:
    """The number of each label's class."""
    known = {word: k for k, word in enumerate(classes)}
    found = np.array([known.get(word, -1) for word in column.words] + [-1])[column.values]
    rows = np.flatnonzero((found < 0) & ~column.gaps).tolist()
    if rows:
        has = ", ".join(f"`{short(word)}`" for word in classes[:10]) + (" …" if len(classes) > 10 else "")
        refuse(
            f"{table.place(row)}: {table.called(i)}: `{short(column.text(row))}` is no class of the training data "
            f"({has})"
            for row in rows
        )
    return found


def _places(
    table: Table, known: Mapping[str, Any], wanted: Sequence[Mapping[str, Any]], needed: bool = True
) -> list[int]:
    """Where the columns of the training data are in this table: by name, or where it had no names, by number."""
    found, missing = [], []
    for one in wanted:
        place = roles.place_of(table, one["name"], one.get("before", 0)) if table.named or not known["named"] else None
        if place is None:
            missing.append(one["name"])
        else:
            found.append(place)
    if missing and needed:
        names = ", ".join(f"`{short(name)}`" for name in missing[:20])
        if known["named"] and not table.named:
            has = "its first line is not names"
        else:
            has = "it has " + ", ".join(short(column.name) for column in table.columns[:20])
        raise NettrainError(
            f"{table.origin} has no column{'s' * (len(missing) > 1)} {names}, which the net was trained with; {has}",
            key="source",
        )
    return found


def fitted(training: DataSet) -> dict[str, Any]:
    """What the rows of a training set, or of the training part of one, say of its columns: JSON."""
    features, rows = _parts(training)
    keys = features.keys
    return {
        "columns": [
            one | _namesakes(features.table, i)
            for one, i in zip(encoding.fit(features.table, features.places, keys, rows), features.places, strict=True)
        ],
        "labels": list(features.labels),
        "named": features.table.named,
        "categories": keys.categories,
        "missing": keys.missing,
    }


def in_numbers(part: DataSet, known: Mapping[str, Any], dtype: np.dtype) -> tuple[DataSet, list[str]]:
    """A set, or a part of one, with its examples as numbers, N x D; and notes. Raises NettrainError."""
    features, rows = _parts(part)
    data, notes = encoding.encode(features.table, features.places, known, rows, dtype)
    if not data.shape[1]:
        raise NettrainError(f"{part.origin}: the training rows have no values in any feature", key="source")
    return replace(part, data=data), [*features.notes, *notes]


def _parts(part: DataSet) -> tuple[Features, np.ndarray | None]:
    if isinstance(part.data, Rows):
        return part.data.of, part.data.rows
    return part.data, None


def label_names(found: DataSet) -> list[str]:
    """The names of a table's columns of labels."""
    features, _ = _parts(found)
    return [one["name"] for one in features.labels]


def is_table(found: DataSet) -> bool:
    """Whether a set, or part, has columns that are not numbers yet."""
    return isinstance(found.data.of if isinstance(found.data, Rows) else found.data, Features)


def given_set(table: Table, known: Mapping[str, Any], dtype: np.dtype) -> tuple[DataSet, list[str]]:
    """The rows of a table that a trained net is given: its feature columns in any order, others are ignored."""
    if not known["named"] and not table.named and len(table.columns) == len(known["columns"]):
        places = list(range(len(table.columns)))  # without the label
    else:
        places = _places(table, known, known["columns"])
    if known["missing"] != "mean":
        gaps = [
            (row, i)
            for i in places
            if table.columns[i].kind == "numbers"
            for row in np.flatnonzero(table.columns[i].gaps)
        ]
        if gaps:
            refuse(
                [f"{table.place(int(row))}: {table.called(i)} has no value" for row, i in sorted(gaps)],
                hint="a net that was trained with missing: mean can fill gaps",
            )
    data, notes = encoding.encode(table, places, known, None, dtype)
    return DataSet(data, None, Path(table.origin).name, others=_Columns(table), names=_Names(table)), notes


def plain_set(table: Table) -> DataSet:
    """The rows of a table of numbers, for a net that was trained on arrays. Raises NettrainError for other columns."""
    found = table_set(table, roles.DEFAULT)
    for i in found.data.places:
        if table.columns[i].kind != "numbers":
            what = table.columns[i].kind
            raise NettrainError(f"{table.place(0)}: {table.called(i)} holds {what}; the net was trained on numbers")
    return replace(found, data=np.stack([table.columns[i].values for i in found.data.places], axis=1))


class _Columns(Mapping[str, np.ndarray]):
    """The columns of a table by name, or number: numbers, or words numbered in sorted order."""

    def __init__(self, table: Table):
        self.table = table

    def __getitem__(self, name: str) -> np.ndarray:
        place = roles.place_of(self.table, name)
        if place is None:
            raise KeyError(name)
        return self.table.columns[place].values

    def __iter__(self) -> Iterator[str]:
        return (column.name for column in self.table.columns)

    def __len__(self) -> int:
        return len(self.table.columns)


class _Names(Sequence[str]):
    """FILE:LINE of each row."""

    def __init__(self, table: Table):
        self.table = table

    def __getitem__(self, row: Any) -> Any:
        return self.table.place(row)

    def __len__(self) -> int:
        return len(self.table)
