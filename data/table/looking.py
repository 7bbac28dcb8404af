"""What a table is, column by column, and what Data would make of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import roles
from .reading import read_table
from .roles import Keys
from .table import Column, Table, written

MOST_CLASSES = 50  # whole numbers that may be classes


def describe(path: Path, label: Sequence[str] = (), drop: Sequence[str] = ()) -> dict[str, Any]:
    """The columns of a table: type, range, gaps, distinct values, an example, what each would become; how many rows
    are in each class; and the keys of Data that would read it. ``label`` and ``drop`` are as there. Raises
    NettrainError."""
    keys = Keys(label=tuple(label) or None, drop=tuple(drop))
    table = read_table(path, keys.names)
    found = roles.find(table, keys)
    columns = [_column(table, i, found.labels, found.features) for i in range(len(table.columns))]
    classes = [_classes(table.columns[i]) for i in found.labels]
    return {
        "file": str(path),
        "rows": len(table),
        "named": table.named,
        "columns": columns,
        "classes": classes[0] if len(classes) == 1 else [],
        "keys": _keys(table, found, columns, keys),
    }


def _column(table: Table, i: int, labels: Sequence[int], features: Sequence[int]) -> dict[str, Any]:
    column = table.columns[i]
    known = column.values[~column.gaps]
    distinct = np.unique(known)
    numbers = column.kind == "numbers"
    kind = (
        "empty" if column.is_empty else ("whole numbers" if column.is_whole else "numbers") if numbers else column.kind
    )
    first = int(np.flatnonzero(~column.gaps)[0]) if len(known) else 0
    becomes, advice = _role(table, i, labels, features)
    return {
        "name": column.name,
        "type": kind,
        "low": float(known.min()) if numbers and len(known) else None,
        "high": float(known.max()) if numbers and len(known) else None,
        "missing": len(table) - len(known),
        "distinct": len(distinct),
        "example": column.text(first),
        "becomes": becomes,
        "advice": advice,
    }


def _role(table: Table, i: int, labels: Sequence[int], features: Sequence[int]) -> tuple[str, str]:
    """What a column becomes, and what must be said of it in a spec: "drop", "missing" or nothing."""
    column = table.columns[i]
    if i in labels:
        if column.kind == "dates":
            return "a label cannot be a date", ""
        kind = f"{len(column.words)} classes" if column.kind == "words" else "number"
        return f"label ({kind})", "missing: drop" if column.gaps.any() else ""
    if i not in features:
        return "left out", ""
    if column.kind == "dates":
        return "dates are no features: drop it", "drop"
    if column.kind == "words":
        count = len(column.words) + bool(column.gaps.any())
        if roles.differs_by_row(table, column):
            return "too many different words: drop it", "drop"
        return f"{count} features, one for each word", ""
    if column.gaps.any():
        return "feature, its gaps by missing: mean", "missing: mean"
    return "feature", ""


def _classes(column: Column) -> list[dict[str, Any]]:
    """How many rows there are of each class; nothing where labels are not classes."""
    distinct, counts = np.unique(column.values[~column.gaps], return_counts=True)
    if column.kind == "numbers" and not (column.is_whole and len(distinct) <= MOST_CLASSES):
        return []
    names = [column.words[place] if column.kind != "numbers" else written(float(place)) for place in distinct.tolist()]
    return [{"class": name, "rows": int(count)} for name, count in zip(names, counts.tolist(), strict=True)]


def _keys(table: Table, found: roles.Roles, columns: Sequence[dict[str, Any]], keys: Keys) -> dict[str, Any]:
    """The keys of Data with which the table can be read, beside ``source``."""
    names = [roles.key_of(table, i) for i in range(len(table.columns))]
    advice = [one["advice"] for one in columns]
    dropped = [names[i] for i, one in enumerate(advice) if one == "drop"]
    dropped += [names[roles.column_of(table, name, "drop")] for name in keys.drop]
    made: dict[str, Any] = {
        "label": names[found.labels[0]] if len(found.labels) == 1 else [names[i] for i in found.labels]
    }
    made |= {"drop": dropped} if dropped else {}
    missing = next((one.split()[1] for one in ("missing: drop", "missing: mean") if one in advice), None)
    made |= {"missing": missing} if missing else {}
    numbers = any(one["becomes"].startswith("feature") for one in columns)
    return made | ({"standardize": True} if numbers else {})
