"""Table: the columns of a file, each numbers or words."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np


@dataclass(frozen=True)
class Column:
    """``values`` are float64 with NaN for gaps, of words (and dates) their places in ``words``, which are sorted, with
    -1 for gaps."""

    name: str
    kind: Literal["numbers", "words", "dates"]
    values: np.ndarray
    words: tuple[str, ...] = ()

    @classmethod
    def of_words(cls, name: str, codes: np.ndarray, words: Sequence[str], kind: Literal["words", "dates"]) -> Column:
        """``codes`` count ``words`` in any order, of which some may not occur."""
        used = np.unique(codes[codes >= 0]).tolist()
        ordered = sorted(used, key=lambda code: words[code])
        place = np.full(len(words) + 1, -1, np.int32)  # the last is that of a gap
        place[ordered] = np.arange(len(ordered))
        return cls(name, kind, place[codes], tuple(words[code] for code in ordered))

    @property
    def gaps(self) -> np.ndarray:
        """Where there is no value."""
        return np.isnan(self.values) if self.kind == "numbers" else self.values < 0

    @functools.cached_property
    def is_empty(self) -> bool:
        """Whether it has no values at all."""
        return bool(self.gaps.all())

    @functools.cached_property
    def is_whole(self) -> bool:
        """Whether all of its values are whole numbers."""
        return self.kind == "numbers" and bool(((self.values == np.rint(self.values)) | self.gaps).all())

    def take(self, rows: np.ndarray) -> Column:
        return replace(self, values=self.values[rows])

    def text(self, row: int) -> str:
        """The value of a row, as it is written in a file; nothing for a gap."""
        value = self.values[row]
        if self.kind != "numbers":
            return self.words[value] if value >= 0 else ""
        return "" if np.isnan(value) else written(float(value))

    def as_words(self) -> Column:
        """Numbers as the words they are written with; of words themselves."""
        if self.kind != "numbers":
            return self
        distinct, codes = np.unique(self.values, return_inverse=True)
        codes = np.where(self.gaps, -1, codes)
        return Column.of_words(self.name, codes, [written(value) for value in distinct.tolist()], "words")


def written(value: float) -> str:
    """A number as people write it: 3 for 3.0."""
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


class Lines:
    """The line of each row of a text file, from 1: rows may have line breaks in them, and empty lines between them."""

    def __init__(self, numbers: np.ndarray):
        self.numbers = numbers

    def __call__(self, row: int) -> int:
        return int(self.numbers[row])


@dataclass(frozen=True)
class Table:
    """``origin`` is what messages call it; ``named`` whether its columns have names, which else are 0, 1, 2 …
    ``line`` gives the line of a row in the file, from 1, where it has lines; ``rows`` the numbers of the rows in the
    file, when there are others."""

    origin: str
    columns: tuple[Column, ...]
    named: bool
    line: Callable[[int], int] | None = None
    rows: np.ndarray | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(self.columns[0].values) if self.columns else 0

    def take(self, rows: np.ndarray) -> Table:
        """Some of the rows."""
        numbers = rows if self.rows is None else self.rows[rows]
        return replace(self, columns=tuple(column.take(rows) for column in self.columns), rows=numbers)

    def place(self, row: int) -> str:
        """Where a row stands: FILE:LINE, or FILE, row 12 (counted from 1)."""
        number = row if self.rows is None else int(self.rows[row])
        return f"{self.origin}:{self.line(number)}" if self.line else f"{self.origin}, row {number + 1:,}"

    def called(self, i: int) -> str:
        """What messages call a column."""
        name = self.columns[i].name
        return (
            f"column `{name if len(name) <= 40 else name[:37] + '...'}`"
            if self.named
            else f"column {i} (counted from 0)"
        )
