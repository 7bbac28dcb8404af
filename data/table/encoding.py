"""From the columns of a table to numbers: what is fitted to the training rows, and how it is applied to any rows.

What is fitted is JSON, ``{"columns": […], "labels": […], "named": …, "categories": …, "missing": …}``. A column of
numbers has ``mean`` and ``deviation`` (of the population, gaps counted as the mean; 1 where there is none), of which
the former fills gaps and both standardize; one of words has its ``categories``, sorted, with null at the end where
there were gaps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..faults import refuse
from .cells import short
from .roles import Keys
from .table import Column, Table

AT_ONCE = 1 << 16  # rows


def fit(table: Table, features: Sequence[int], keys: Keys, rows: np.ndarray | None) -> list[dict[str, Any]]:
    """What the training rows say of each feature. Deviations and means are scikit-learn's SimpleImputer's and
    StandardScaler's, categories OneHotEncoder's."""
    return [_fit(table.columns[i], keys, rows) for i in features]


def _fit(column: Column, keys: Keys, rows: np.ndarray | None) -> dict[str, Any]:
    values = column.values if rows is None else column.values[rows]
    if column.kind != "numbers":
        places = np.unique(values).tolist()
        categories: list[str | None] = [column.words[place] for place in places if place >= 0]
        return {"name": column.name, "kind": "words", "categories": categories + [None] * (-1 in places)}
    found: dict[str, Any] = {"name": column.name, "kind": "numbers"}
    known = values[~np.isnan(values)]
    mean = float(known.mean()) if len(known) else 0.0
    if keys.missing == "mean" or keys.standardize:
        found["mean"] = mean
    if keys.standardize:
        deviation = float(np.sqrt(((known - mean) ** 2).sum() / max(1, len(values))))
        constant = deviation <= 10 * np.finfo(float).eps * abs(mean)  # what rounding leaves
        found["deviation"] = 1.0 if constant else deviation
    return found


def width(one: Mapping[str, Any], categories: str) -> int:
    """How many numbers a column becomes."""
    return len(one["categories"]) if one["kind"] == "words" and categories == "one_hot" else 1


def value_names(fitted: Mapping[str, Any]) -> list[str]:
    """The name of each number of an example: a column's, or COLUMN=CATEGORY."""
    return [
        name
        for one in fitted["columns"]
        for name in (
            [f"{one['name']}={word if word is not None else ''}" for word in one["categories"]]
            if one["kind"] == "words" and fitted["categories"] == "one_hot"
            else [one["name"]]
        )
    ]


def encode(
    table: Table, places: Sequence[int], fitted: Mapping[str, Any], rows: np.ndarray | None, dtype: np.dtype
) -> tuple[np.ndarray, list[str]]:
    """The rows as numbers, N x D, and notes on categories that training did not have, of which each is all zeros, or
    one number more. ``places`` are the columns' in this table. Raises NettrainError for gaps without a rule, words
    where training had numbers, and what is too large for ``dtype``."""
    columns, problems, notes = fitted["columns"], list[str](), list[str]()
    widths = [width(one, fitted["categories"]) for one in columns]
    count = len(table) if rows is None else len(rows)
    one_hot = fitted["categories"] == "one_hot"
    out = np.zeros((count, sum(widths)), dtype)
    for one, i, end, size in zip(columns, places, np.cumsum(widths).tolist(), widths, strict=True):
        column, target = table.columns[i], out[:, end - size : end]
        if one["kind"] == "words":
            column = column.as_words()
            known = {word: k for k, word in enumerate(one["categories"])}
            place = np.array([known.get(word, len(known)) for word in column.words] + [known.get(None, len(known))])
            unknown = set()
            for start in range(0, count, AT_ONCE):
                codes = _some(column.values, rows, start)
                found = place[codes]
                unknown.update(codes[found == len(known)].tolist())
                if one_hot:
                    at = np.flatnonzero(found < len(known))
                    target[start + at, found[at]] = 1
                else:
                    target[start : start + len(found), 0] = found
            if unknown:
                notes.append(
                    _unknown(table, i, [column.words[code] if code >= 0 else None for code in sorted(unknown)], one_hot)
                )
        elif column.kind == "numbers" or column.is_empty:
            numbers = column.values if column.kind == "numbers" else np.full(len(table), np.nan)
            problems += _put(table, i, numbers, one, fitted, rows, target[:, 0])
        else:
            problems.append(
                f"{table.origin}: {table.called(i)} holds words (such as `{short(column.words[0])}`); in training it "
                "held numbers"
            )
    if problems:
        refuse(problems)
    return out, notes


def _some(values: np.ndarray, rows: np.ndarray | None, start: int) -> np.ndarray:
    return values[start : start + AT_ONCE] if rows is None else values[rows[start : start + AT_ONCE]]


def _put(
    table: Table,
    i: int,
    numbers: np.ndarray,
    one: Mapping[str, Any],
    fitted: Mapping[str, Any],
    rows: np.ndarray | None,
    out: np.ndarray,
) -> list[str]:
    """Write the numbers of a column; returns what is wrong with them."""
    problems: list[str] = []
    limit = float(np.finfo(out.dtype).max)
    for start in range(0, len(out), AT_ONCE):
        values = _some(numbers, rows, start)
        gaps = np.isnan(values)
        if gaps.any():
            values = np.where(gaps, one.get("mean", 0.0), values)
            if fitted["missing"] != "mean":
                problems += [_gap(table, i, _row(rows, start + k)) for k in np.flatnonzero(gaps).tolist()]
        if "deviation" in one:
            values = (values - one["mean"]) / one["deviation"]
        for k in np.flatnonzero(~(np.abs(values) <= limit)).tolist():
            row = _row(rows, start + k)
            problems.append(
                f"{table.place(row)}: {table.called(i)} holds {numbers[row]:g}; that is more than the net's numbers "
                "can hold"
            )
            values = np.where(np.abs(values) <= limit, values, 0)
        out[start : start + len(values)] = values
    return problems


def _row(rows: np.ndarray | None, k: int) -> int:
    return k if rows is None else int(rows[k])


def _gap(table: Table, i: int, row: int) -> str:
    return f"{table.place(row)}: {table.called(i)} has no value"


GAPS_HINT = (
    "give values, or say what to do: missing: mean (of the training rows), missing: drop (leave such rows out), or "
    "drop: [{}]"
)


def _unknown(table: Table, i: int, words: Sequence[str | None], one_hot: bool) -> str:
    shown = ", ".join(f"`{short(word)}`" if word is not None else "no value" for word in words[:5])
    more = f" and {len(words) - 5:,} more" if len(words) > 5 else ""
    becomes = "all its columns are 0" if one_hot else "it is a number of its own"
    return f"{table.called(i)} has what training did not have: {shown}{more}; there {becomes}"
