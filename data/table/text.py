"""CSV and TSV files as tables."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...files.reading import LONGEST_LINE, beginning, lines
from ...spec.errors import NettrainError, why
from ..kinds import not_text, other_kind
from . import dialect as dialects
from .cells import DECIMAL_COMMA, is_date, is_gap, is_number, is_slip, numbers, short
from .dialect import Dialect
from .quick import read_quickly
from .table import Column, Lines, Table, refuse

AT_ONCE = 20_000  # rows
FEW = 0.1  # the share of words among numbers that are taken for mistakes


def read_text(path: Path, expected: tuple[str, ...] = ()) -> Table:
    """The table in a text file; ``expected`` are names of columns that a spec mentions.

    Separator (comma, semicolon, tab, ``|``), decimal comma and a first row of names are found. Raises NettrainError
    with the lines of what is wrong, up to 20.
    """
    before = csv.field_size_limit(LONGEST_LINE)
    try:
        return _read(path, expected)
    except UnicodeDecodeError as error:
        raise NettrainError(
            f"{path} is not a text file{not_text(path, error)}{_encoding(path)}", key="source"
        ) from None
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
    except MemoryError:
        raise NettrainError(f"{path} needs more memory than this machine has left", key="source") from None
    finally:
        csv.field_size_limit(before)


def _read(path: Path, expected: tuple[str, ...]) -> Table:
    first = [line for _, line in itertools.islice(lines(path), dialects.SOME)]
    found = dialects.find(first, expected)
    if found is None:
        raise NettrainError(f"{path} holds no examples", key="source")
    if found.width < 2:
        _refuse_one_column(path, first)
    names = found.names or tuple(map(str, range(found.width)))
    columns, where = _Columns(path, found, names).read()
    return Table(str(path), columns, bool(found.names), Lines(where))


class _Columns:
    """The columns of a file: read by whole columns, or cell by cell where there are mistakes to be named and what only
    the csv module understands. Both give the same table."""

    def __init__(self, path: Path, dialect: Dialect, names: tuple[str, ...]):
        self.path, self.dialect, self.names = path, dialect, names
        self.problems: list[str] = []
        self.are_words: dict[int, dict[str, int]] = {}  # columns that are not numbers: their words, numbered

    def read(self) -> tuple[tuple[Column, ...], np.ndarray]:
        """The columns, and the line of each row."""
        quickly = read_quickly(self.path, self.dialect)
        if quickly is not None:
            pieces, self.are_words, where = quickly
        else:
            while (found := self._pass()) is None:
                pass
            pieces, where = found
        if not len(where) and not self.problems:
            raise NettrainError(f"{self.path} holds no examples", key="source")
        columns = tuple(self._column(i, piece, where) for i, piece in enumerate(pieces))
        if self.problems:
            refuse(sorted(self.problems, key=_line_of))
        return columns, where

    def _pass(self) -> tuple[list[np.ndarray], np.ndarray] | None:
        """The columns as numbers, or as the places of words; None when one that was numbers so far has a word."""
        self.problems = []
        for words in self.are_words.values():
            words.clear()
        pieces: list[list[np.ndarray]] = [[] for _ in range(self.dialect.width)]
        where: list[np.ndarray] = []
        rows = self._rows()
        while some := list(itertools.islice(rows, AT_ONCE)):
            cells = list(zip(*(row for _, row in some), strict=True))
            made = [self._piece(i, column) for i, column in enumerate(cells)]
            unexpected = [i for i, piece in enumerate(made) if piece is None]
            for i in unexpected:
                self.are_words[i] = {}
            if unexpected and where:  # what was read before must be read as words too
                return None
            for i, piece in enumerate(made):
                pieces[i].append(self._words(i, cells[i]) if piece is None else piece)
            where.append(np.array([line for line, _ in some], np.int64))
        none = np.empty(0)
        return [np.concatenate(one) if one else none for one in pieces], np.concatenate([none.astype(int), *where])

    def _piece(self, i: int, cells: tuple[str, ...]) -> np.ndarray | None:
        return self._words(i, cells) if i in self.are_words else numbers(cells, self.dialect.comma)

    def _words(self, i: int, cells: tuple[str, ...]) -> np.ndarray:
        known = self.are_words[i]
        return np.array([known.setdefault(cell.strip(), len(known)) for cell in cells], np.int32)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows of the right width; of others it is noted where they are."""
        width, at = self.dialect.width, 0
        rows = dialects.rows_of((line for _, line in lines(self.path)), self.dialect.separator)
        try:
            if self.dialect.names:
                at, _ = next(rows)
            for line, row in rows:
                at = line
                if len(row) == width:
                    yield line, row
                else:
                    self._note(line, f"{len(row)} columns where {width} are expected")
        except csv.Error as error:
            what = str(error)
            if "unexpected end" in what or "field limit" in what:
                what = 'a quoted cell does not end: a `"` is not closed'
            self._note(at, f"in the row after this line: {what}" if at else what)

    def _note(self, line: int, what: str) -> None:
        self.problems.append(f"{self.path}:{line or 1}: {what}")

    def _called(self, i: int) -> str:
        return f"column `{short(self.names[i])}`" if self.dialect.names else f"column {i} (counted from 0)"

    def _column(self, i: int, values: np.ndarray, where: np.ndarray) -> Column:
        name = self.names[i]
        if i not in self.are_words:
            return Column(name, "numbers", values)
        known = list(self.are_words[i])
        parsed = [numbers([word], self.dialect.comma) for word in known]
        gaps = np.array([is_gap(word) for word in known])
        is_word = np.array([found is None for found in parsed])
        counts = np.bincount(values, minlength=len(known))
        words, all_values = int(counts[is_word].sum()), int(counts[~gaps].sum())
        slips = all(is_slip(word) for word, found in zip(known, parsed, strict=True) if found is None)
        if words < FEW * all_values or (slips and 2 * words <= all_values and words < all_values):
            rows = np.flatnonzero(is_word[values])
            for row in rows.tolist():
                self._note(int(where[row]), self._not_a_number(i, known[values[row]], all_values - words))
            return Column(name, "numbers", values)
        codes = np.where(gaps[values], -1, values)
        dates = counts[[is_date(word) for word in known]].sum()
        return Column.of_words(name, codes, known, "dates" if dates and dates >= (1 - FEW) * all_values else "words")

    def _not_a_number(self, i: int, word: str, others: int) -> str:
        what = f"`{short(word)}` is not a number"
        if DECIMAL_COMMA.fullmatch(word):
            what += f" with a decimal point; write {short(word).replace(',', '.')}"
        elif is_number(word.replace(",", "")):
            what += f"; write {word.replace(',', '')}"
        are = (
            f"{others:,} other values of {self._called(i)} are"
            if others > 1
            else f"the other value of {self._called(i)} is"
        )
        return f"{what} ({are}); correct it, or leave the column out: drop: [{self.names[i]}]"


def _line_of(problem: str) -> int:
    return int(problem.split(": ")[0].rpartition(":")[2])


def _refuse_one_column(path: Path, first: list[str]) -> None:
    number, line = next((i, line) for i, line in enumerate(first, 1) if line.strip())
    if not is_number(line) and (what := other_kind(path, "table")):
        raise NettrainError(f"{path} is not a table{what}", key="source")
    cells = [cell for cell in line.split() if cell]
    if len(cells) > 1 and 2 * sum(is_number(cell) for cell in cells) >= len(cells):
        raise NettrainError(
            f"{path}:{number}: the columns are separated by spaces; nettrain reads `,`, `;`, tabs or `|` between them:"
            " write `,` for spaces",
            key="source",
        )
    raise NettrainError(f"{path} has one column; an example needs values and a label", key="source")


def _encoding(path: Path) -> str:
    """What to do about a file that is not UTF-8, for the end of a message."""
    if beginning(path, 2) in (b"\xff\xfe", b"\xfe\xff"):
        return "; it is UTF-16: save it as UTF-8"
    return "; save it as UTF-8"
