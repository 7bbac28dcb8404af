"""Tables that a program gives: rows of values, or columns by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...spec.errors import NettrainError
from .cells import is_gap
from .table import Column, Table


def table_of(given: Any, names: Sequence[str]) -> Table:
    """A table of what a program gives: something with ``columns`` by name, as pandas has, or N rows of values, one for
    each of the columns ``names``, in their order. Raises NettrainError."""
    if hasattr(given, "columns") and hasattr(given, "__getitem__") and not isinstance(given, Table):
        columns = [_column(str(name), np.asarray(given[name], object)) for name in given.columns]
        return Table("what was given", tuple(columns), named=True)
    try:
        array = np.asarray(given) if isinstance(given, np.ndarray) else np.asarray(given, object)
    except ValueError:
        array = np.empty(0, object)
    if array.ndim != 2 or array.shape[1] != len(names) or not len(array):
        shape = " x ".join(map(str, array.shape))
        names = [*names[:10], *["…"] * (len(names) > 10)]
        raise NettrainError(
            f"examples must be rows of a value for each column ({', '.join(names)}), or "
            f"a table; got {type(given).__name__}{f' of {shape}' if array.size else ''}"
        )
    return Table("what was given", tuple(_column(name, array[:, i]) for i, name in enumerate(names)), named=True)


def _column(name: str, values: np.ndarray) -> Column:
    """A column of any values: of numbers where each is one, or a gap."""
    if values.dtype.kind in "fiub":
        return Column(name, "numbers", values.astype(float))
    gaps = [value is None or (isinstance(value, float) and np.isnan(value)) or is_gap(str(value)) for value in values]
    if all(gap or isinstance(value, int | float | np.number) for value, gap in zip(values, gaps, strict=True)):
        return Column(
            name, "numbers", np.array([np.nan if gap else float(v) for v, gap in zip(values, gaps, strict=True)])
        )
    words = ["" if gap else str(value).strip() for value, gap in zip(values, gaps, strict=True)]
    distinct = sorted(set(words))
    place = {word: k for k, word in enumerate(distinct)}
    codes = np.array([-1 if gap else place[word] for word, gap in zip(words, gaps, strict=True)], np.int32)
    return Column.of_words(name, codes, distinct, "words")
