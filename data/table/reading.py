"""Reading a table, whatever file it is in; each file once."""

from __future__ import annotations

import functools
from pathlib import Path

from ...spec.errors import NettrainError
from ..faults import Faults
from . import kept
from .parquet import read_parquet
from .table import Table
from .text import read_text

ENDS = (".csv", ".tsv", ".txt", ".parquet")


def is_table(path: Path) -> bool:
    """Whether a file is a table, by its name."""
    return path.name.casefold().endswith(ENDS)


def read_table(path: Path, expected: tuple[str, ...] = (), faults: Faults | None = None) -> Table:
    """The table in a file; ``expected`` are names of columns that a spec mentions. Raises NettrainError.

    With ``faults`` what is wrong with rows and cells is added to them, for somebody who then finds what else is.
    """
    try:
        stamp = path.stat()
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {error.strerror}", key="source") from None
    table, wrong = _read(path, expected, (stamp.st_mtime_ns, stamp.st_size))
    if faults is None:
        wrong.raise_if_any()
    else:
        faults.add(wrong.said, wrong.more, hint="; ".join(wrong.hints))
    return table


@functools.lru_cache(maxsize=2)
def _read(path: Path, expected: tuple[str, ...], stamp: tuple[int, int]) -> tuple[Table, Faults]:
    """``stamp`` makes a changed file a different one."""
    if path.name.casefold().endswith(".parquet"):
        return read_parquet(path), Faults()
    entry = kept.entry(path, "\0".join(expected))
    if entry is not None and (found := kept.find(entry, str(path))):
        return found, Faults()
    table, wrong = read_text(path, expected)
    if entry is not None and not wrong.said:
        kept.keep(entry, table)
    return table, wrong
