"""Parquet files as tables, by pyarrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...files.extras import extra
from ...files.reading import beginning, check_file
from ...spec.errors import NettrainError, why
from ..faults import refuse
from ..kinds import other_kind
from .cells import is_gap
from .table import Column, Table

MARK = b"PAR1"  # at the beginning and the end of the file


def read_parquet(path: Path) -> Table:
    """The table in a Parquet file. Raises NettrainError, also with the columns that are neither numbers nor text."""
    library, reader = (extra(name, "parquet", "a Parquet file") for name in ("pyarrow", "pyarrow.parquet"))
    try:
        check_file(path)
        found = reader.read_table(str(path.resolve()))
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
    except library.ArrowException as error:
        if beginning(path, len(MARK)) != MARK:
            kind = other_kind(path) or f": it does not begin with {MARK.decode()}"
            raise NettrainError(f"{path} is not a Parquet file{kind}", key="source") from None
        reason = str(error).replace(str(path.resolve()), str(path))[:200]
        raise NettrainError(f"{path} is damaged or not a Parquet file: {reason}", key="source") from None
    if not found.num_rows or not found.num_columns:
        raise NettrainError(f"{path} holds no examples", key="source")
    columns, problems = [], []
    for name, column in zip(found.column_names, found.columns, strict=True):
        made = _column(name, column)
        if made is None:
            problems.append(f"{path}: column `{name}` holds {column.type}; a table holds numbers, words or dates")
        else:
            columns.append(made)
    if problems:
        refuse(problems)
    return Table(str(path), tuple(columns), named=True)


def _column(name: str, column: Any) -> Column | None:
    types = extra("pyarrow.types", "parquet", "a Parquet file")
    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    if types.is_boolean(kind):
        return Column.of_words(name, _numbers(column.cast("int8")), ["false", "true"], "words")
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        return Column(name, "numbers", _numbers(column.cast("float64"), np.nan).astype(float))
    if types.is_temporal(kind):
        return _words(name, column.cast("string"), "dates")
    if types.is_string(kind) or types.is_large_string(kind):
        return _words(name, column.cast(kind), "words")
    return None


def _numbers(column: Any, gap: float = -1) -> np.ndarray:
    return column.fill_null(gap).to_numpy()


def _words(name: str, column: Any, kind: Any) -> Column:
    encoded = column.combine_chunks().dictionary_encode()
    words = encoded.dictionary.to_pylist()
    place = np.array([-1 if is_gap(word) else i for i, word in enumerate(words)] + [-1], np.int32)
    return Column.of_words(name, place[_numbers(encoded.indices)], words, kind)
