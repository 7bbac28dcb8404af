"""Which columns of a table are labels, which are features, and which are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...spec.errors import NettrainError, nearest
from ..faults import Faults
from .cells import short
from .dialect import LIKE_LABEL
from .table import Column, Table

INDEX_NAMES = ("", "id", "index", "unnamed: 0")
MOST_CATEGORIES = 100  # words that each become a column of their own
FEW = 20  # words, of which every row may have one of its own


@dataclass(frozen=True)
class Keys:
    """What a spec says of a table's columns; ``label`` None: the column `label`, else the last one. ``group`` is the
    column by which rows stay together, which is no feature."""

    label: tuple[str, ...] | None = None
    label_key: str = "label"
    features: tuple[str, ...] | None = None
    drop: tuple[str, ...] = ()
    categories: Literal["one_hot", "index"] = "one_hot"
    missing: Literal["error", "mean", "drop"] = "error"
    standardize: bool = False
    group: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Every column that is mentioned."""
        return (*(self.label or ()), *(self.features or ()), *self.drop, *([self.group] if self.group else []))

    @property
    def said(self) -> str:
        """A key that only a table has; empty without one."""
        keys = ("features", "drop", "categories", "missing", "standardize")
        return next((key for key in keys if getattr(self, key) != getattr(DEFAULT, key)), "")


DEFAULT = Keys()


@dataclass(frozen=True)
class Roles:
    """The numbers of the columns, and what a person should know about them."""

    labels: tuple[int, ...]
    features: tuple[int, ...]
    notes: tuple[str, ...] = ()


def find(table: Table, keys: Keys) -> Roles:
    """What each column is. Raises NettrainError with all names that no column has, and for labels that are one-hot."""
    if len(table.columns) < 2:
        raise NettrainError(f"{table.origin} has one column; an example needs values and a label", key="source")
    faults = Faults()
    labels = labels_of(table, keys, faults)
    dropped = columns_of(table, keys.drop, "drop", faults)
    named = columns_of(table, keys.features or (), "features", faults)
    faults.raise_if_any()
    for i in dropped:
        if i in labels and keys.label is not None:
            raise NettrainError(f"{table.called(i)} is the label; it cannot be dropped", key="drop")
    notes: list[str] = []
    if keys.features is not None:
        features = named
        if both := [i for i in features if i in labels]:
            raise NettrainError(f"{table.called(both[0])} is the label; it cannot be a feature too", key="features")
    else:
        features = [i for i in range(len(table.columns)) if i not in labels]
        if keys.group is not None:
            group = place_of(table, keys.group)
            features = [i for i in features if i != group]
        left = [i for i in features if i not in dropped]
        for i in [i for i in left if len(left) > 1 and is_index(table, i)]:
            features.remove(i)
            name = short(table.columns[i].name)
            notes.append(
                f"{f'column `{name}`' if name else f'column {i} (counted from 0)'} numbers the rows and is left out"
            )
        for i in [i for i in left if i in features and table.columns[i].is_empty]:
            features.remove(i)
            notes.append(f"{table.called(i)} is empty and is left out")
    features = [i for i in features if i not in dropped]
    if not features:
        raise NettrainError(f"{table.origin} has no column left for features", key=("features", "drop", "source"))
    if keys.label is None and (one_hot := one_hot_with(table, labels[0], features)):
        _refuse_one_hot(table, one_hot)
    return Roles(tuple(labels), tuple(dict.fromkeys(features)), tuple(notes))


def one_hot_with(table: Table, label: int, features: Sequence[int]) -> list[int]:
    """The columns that, with the label, have a single 1 in each row and else 0, one of them beside the other: they are
    its classes; empty where there are none."""

    def is_binary(column: Column) -> bool:
        return column.kind == "numbers" and bool(((column.values == 0) | (column.values == 1)).all())

    step = 1 if label == 0 else -1
    places, total = [label], table.columns[label].values
    while is_binary(table.columns[places[-1]]) and len(places) < len(table.columns):
        if len(table) > 1 and len(places) > 1 and (total == 1).all():
            return sorted(places)
        after = places[-1] + step
        if after not in features or not is_binary(table.columns[after]):
            break
        places.append(after)
        total = total + table.columns[after].values
    return []


def _refuse_one_hot(table: Table, places: Sequence[int]) -> None:
    names = ", ".join(str(key_of(table, i)) for i in places)
    last = key_of(table, places[-1])
    raise NettrainError(
        f"{table.origin}: in each row one of the columns {names} is 1 and the others are 0, as one-hot labels are; "
        f"say label: [{names}] and one_hot: true, which makes classes of them, or label: {last} to mean that alone",
        key="source",
    )


def check_features(table: Table, features: Sequence[int], keys: Keys, faults: Faults) -> None:
    """Note columns that cannot be features: dates, words that are all different, infinities."""
    problems: list[str] = []
    for i in features:
        column, called = table.columns[i], f"{table.origin}: {table.called(i)}"
        if column.kind == "dates":
            problems.append(
                f"{called} holds dates (such as {short(column.words[0])}); leave it out: drop: [{key_of(table, i)}], or"
                " write it as numbers, such as the year, or days since the first"
            )
        elif column.kind == "words" and keys.categories == "one_hot" and len(column.words) > MOST_CATEGORIES:
            problems.append(
                f"{called} holds {len(column.words):,} different words in {len(table):,} rows, too many for a column"
                f" each; leave it out: drop: [{key_of(table, i)}], or number the words: categories: index"
            )
        elif column.kind == "numbers" and np.isinf(column.values).any():
            rows = np.flatnonzero(np.isinf(column.values)).tolist()
            problems += [
                f"{table.place(row)}: {table.called(i)} is infinite; every value must be finite" for row in rows
            ]
    faults.add(problems)


def is_index(table: Table, i: int) -> bool:
    """Whether a column only counts the rows: it has no name or one such as `id`, and holds 0, 1, 2 … or 1, 2, 3 …"""
    column = table.columns[i]
    name = column.name.casefold()
    if (
        not table.named
        or not (name in INDEX_NAMES or name.endswith("id"))
        or column.kind != "numbers"
        or len(table) < 2
    ):
        return False
    first = column.values[0]
    return first in (0, 1) and bool((column.values == first + np.arange(len(table))).all())


def labels_of(table: Table, keys: Keys, faults: Faults) -> list[int]:
    """The numbers of the label columns."""
    if keys.label is not None:
        return list(dict.fromkeys(columns_of(table, keys.label, keys.label_key, faults)))
    names = [column.name for column in table.columns] if table.named else []
    if names.count("label") > 1:
        return [column_of(table, "label", "source")]  # which says that there are several
    if "label" in names:
        return [names.index("label")]
    last = len(table.columns) - 1
    for other in names[:-1]:
        if other.casefold() in LIKE_LABEL and names[-1].casefold() not in LIKE_LABEL:
            raise NettrainError(
                f"{table.origin}: column `{other}`: did you mean `label`? The label would be the last column, "
                f"`{short(names[-1])}`; rename one, or say label: {other}",
                key="source",
            )
    return [last]


def place_of(table: Table, wanted: str, before: int = 0) -> int | None:
    """The number of the column that has this name, and so many of that name ``before`` it, or of the column that has
    this number; None where there is none."""
    named = [i for i, column in enumerate(table.columns) if column.name == wanted]
    if named:
        return named[before] if before < len(named) else None
    is_place = wanted.isascii() and wanted.isdigit() and len(wanted) < 10 and int(wanted) < len(table.columns)
    return int(wanted) if is_place else None


def columns_of(table: Table, wanted: Sequence[str], key: str, faults: Faults) -> list[int]:
    """The numbers of the columns that a ``key`` names; of those that are not there it is noted."""
    found = []
    for name in wanted:
        with faults:
            found.append(column_of(table, name, key))
    return found


def differs_by_row(table: Table, column: Column) -> bool:
    """Whether a column's words, as names do, tell nothing of other rows: most are of one row, or there are too many."""
    count = len(column.words) if column.kind == "words" else 0
    return count > MOST_CATEGORIES or (count > FEW and 2 * count > len(table))


def key_of(table: Table, i: int) -> str | int:
    """A column as a spec names it: by its number where there are no names, or several of this one."""
    names = [column.name for column in table.columns]
    return names[i] if table.named and names[i] and names.count(names[i]) == 1 else i


def column_of(table: Table, wanted: str, key: str) -> int:
    """The number of a column that a ``key`` names. Raises NettrainError when there is none, or several."""
    names = [column.name for column in table.columns] if table.named else []
    if names.count(wanted) > 1:
        places = [f"[{i}]" if key in ("drop", "features") else str(i) for i, name in enumerate(names) if name == wanted]
        what = "which is the label" if "label" in (wanted, key, key.removesuffix("_column")) else "which one"
        say = f"{key if key != 'source' else 'label'}: {' or '.join(places)}"
        raise NettrainError(
            f"{table.origin} has {len(places)} columns `{wanted}`; say {what} by its number: {say}",
            key=key,
        )
    found = place_of(table, wanted)
    if found is not None:
        return found
    shown = [short(name) for name in names[:20]] + ["…"] * (len(names) > 20)
    known, near = ", ".join(shown) or f"0 to {len(table.columns) - 1}", nearest(wanted, names)
    meant = f"; did you mean `{short(near)}`?" if near else ""
    unnamed = "" if table.named else ": its first line is not names; the columns are"
    has = f"{unnamed} {known}" if unnamed else f"; it has {known}"
    raise NettrainError(f"{table.origin} has no column `{wanted}`{meant or has}", key=key)
