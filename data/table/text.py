"""CSV and TSV files as tables."""

from __future__ import annotations

import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...files.reading import LONGEST_LINE, beginning, lines
from ...spec.errors import NettrainError, why
from ..faults import Faults
from ..kinds import other_kind
from . import dialect as dialects
from .cells import decimal_signs, has_comma, has_point, is_date, is_gap, is_number, is_slip, numbers, short
from .dialect import Dialect
from .quick import read_quickly
from .table import Column, Lines, Table

AT_ONCE = 20_000  # rows
HEAD = 1024  # bytes that are looked at for what the file is
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how it begins
FEW = 0.1  # the share of words among numbers that are taken for mistakes


def read_text(path: Path, expected: tuple[str, ...] = ()) -> tuple[Table, Faults]:
    """The table in a text file, and what is wrong with its rows and cells; ``expected`` are names of columns that a
    spec mentions.

    Separator (comma, semicolon, tab, ``|``), decimal comma and a first row of names are found. Rows of another width
    are left out, cells that are no numbers but should be are 0. Raises NettrainError for a file that is no table.
    """
    before = csv.field_size_limit(LONGEST_LINE)
    try:
        return _read(path, expected)
    except UnicodeDecodeError as error:
        raise NettrainError(_encoding(path, error), key="source") from None
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
    except MemoryError:
        raise NettrainError(f"{path} needs more memory than this machine has left", key="source") from None
    finally:
        csv.field_size_limit(before)


def _read(path: Path, expected: tuple[str, ...]) -> tuple[Table, Faults]:
    head = beginning(path, HEAD)
    if head[:2] not in UTF_16 and head.count(0) > len(head) / 4:  # UTF-16 without a mark, or no text at all
        is_wide = len(head) > 3 and head[:2].count(0) == head[2:4].count(0) == 1
        what = (
            "; it seems to be UTF-16: save it as UTF-8" if is_wide else other_kind(path) or ": it is full of NUL bytes"
        )
        raise NettrainError(f"{path} is not a text file{what}", key="source")
    first = [line for _, line in itertools.islice(lines(path), dialects.SOME)]
    found = dialects.find(first, expected)
    if found is None:
        raise NettrainError(f"{path} holds no examples", key="source")
    if found.width < 2:
        _refuse_one_column(path, first)
    names = found.names or tuple(map(str, range(found.width)))
    columns, where, wrong = _Columns(path, found, names).read()
    return Table(str(path), columns, bool(found.names), Lines(where)), wrong


class _Columns:
    """The columns of a file: read by whole columns, or cell by cell where there are mistakes to be named and what only
    the csv module understands. Both give the same table."""

    def __init__(self, path: Path, dialect: Dialect, names: tuple[str, ...]):
        self.path, self.dialect, self.names = path, dialect, names
        self.problems: list[str] = []
        self.is_ragged = False
        self.signs: defaultdict[int, set[str]] = defaultdict(set)  # of decimals, by column
        self.are_words: dict[int, dict[str, int]] = {}  # columns that are not numbers: their words, numbered

    def read(self) -> tuple[tuple[Column, ...], np.ndarray, Faults]:
        """The columns, the line of each row, and what is wrong."""
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
        wrong = Faults()
        if self.problems:
            sign = {"\t": "tab"}.get(self.dialect.separator, f"`{self.dialect.separator}`")
            hint = f"the first row has {self.dialect.width}; a cell with a {sign} in it must be in quotes"
            wrong.add(sorted(self.problems, key=_line_of), hint=hint if self.is_ragged else "")
            if not len(where):
                wrong.raise_if_any()
        return columns, where, wrong

    def _pass(self) -> tuple[list[np.ndarray], np.ndarray] | None:
        """The columns as numbers, or as the places of words; None when one that was numbers so far has a word."""
        self.problems = []
        self.signs = defaultdict(set)
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
        """None when what was taken for numbers has a word, or a point where others have a decimal comma."""
        if i in self.are_words:
            return self._words(i, cells)
        found = numbers(cells, self.dialect.comma)
        if found is None or not self.dialect.comma:
            return found
        self.signs[i] |= decimal_signs(cells)
        return None if len(self.signs[i]) > 1 else found

    def _words(self, i: int, cells: tuple[str, ...]) -> np.ndarray:
        known = self.are_words[i]
        return np.array([known.setdefault(cell.strip(), len(known)) for cell in cells], np.int32)

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """The rows of the right width; of others it is noted where they are."""
        width = self.dialect.width
        rows = dialects.rows_of((line for _, line in lines(self.path)), self.dialect.separator)
        try:
            if self.dialect.names:
                next(rows)
            for line, row in rows:
                if len(row) == width:
                    yield line, row
                else:
                    self._note(line, f"{len(row)} column{'s' * (len(row) != 1)} where {width} are expected")
                    self.is_ragged = True
        except dialects.UnreadableRow as error:
            what = str(error)
            if "unexpected end" in what or "field limit" in what:
                what = 'a quoted cell does not end: a `"` is not closed'
            self._note(error.line, what)

    def _note(self, line: int, what: str) -> None:
        self.problems.append(f"{self.path}:{line}: {what}")

    def _called(self, i: int) -> str:
        return f"column `{short(self.names[i])}`" if self.dialect.names else f"column {i} (counted from 0)"

    def _column(self, i: int, values: np.ndarray, where: np.ndarray) -> Column:
        name = self.names[i]
        if i not in self.are_words:
            return Column(name, "numbers", values)
        known = list(self.are_words[i])
        parsed = [numbers([word], self.dialect.comma) for word in known]
        if self.dialect.comma and len(decimal_signs(known)) > 1:
            parsed = [None if has_point(word) else found for word, found in zip(known, parsed, strict=True)]
        gaps = np.array([is_gap(word) for word in known])
        is_word = np.array([found is None for found in parsed])
        counts = np.bincount(values, minlength=len(known))
        words, all_values = int(counts[is_word].sum()), int(counts[~gaps].sum())
        slips = all(is_slip(word) for word, found in zip(known, parsed, strict=True) if found is None)
        in_other_words = counts[[_is_meant_as_number(word) for word in known]].sum()  # another decimal sign
        if words and (
            words < FEW * all_values
            or (slips and 2 * words <= all_values)
            or all_values - in_other_words < FEW * all_values
        ):
            rows = np.flatnonzero(is_word[values])
            for row in rows.tolist():
                self._note(int(where[row]), self._not_a_number(i, known[values[row]], all_values - words))
            known_values = np.array([0.0 if found is None else float(found[0]) for found in parsed])
            return Column(name, "numbers", known_values[values])
        codes = np.where(gaps[values], -1, values)
        dates = counts[[is_date(word) for word in known]].sum()
        return Column.of_words(name, codes, known, "dates" if dates and dates >= (1 - FEW) * all_values else "words")

    def _not_a_number(self, i: int, word: str, others: int) -> str:
        what = f"`{short(word)}` is not a number"
        if self.dialect.comma and has_point(word):
            what += f" with a decimal comma; write {short(word).replace('.', ',')}"
        elif has_comma(word):
            what += f" with a decimal point; write {short(word).replace(',', '.')}"
        elif is_number(word.replace(",", "")):
            what += f"; write {word.replace(',', '')}"
        are = (
            f"{others:,} other values of {self._called(i)} are"
            if others > 1
            else f"the other value of {self._called(i)} is"
        )
        key = self.names[i] if self.names.count(self.names[i]) == 1 else i
        return f"{what}{f' ({are})' if others else ''}; correct it, or leave the column out: drop: [{key}]"


def _is_meant_as_number(word: str) -> bool:
    """Whether it is a number with a point, a decimal comma, or commas between thousands."""
    return is_number(word) or has_comma(word) or is_number(word.replace(",", ""))


def _line_of(problem: str) -> int:
    return int(problem.split(": ")[0].rpartition(":")[2])


def _refuse_one_column(path: Path, first: list[str]) -> None:
    number, line = next((i, line) for i, line in enumerate(first, 1) if line.strip())
    below = next((line for line in first[number:] if line.strip()), line).split()
    if not is_number(line) and (what := other_kind(path, "table")):
        raise NettrainError(f"{path} is not a table{what}", key="source")
    cells = line.split()
    if len(cells) == len(below) > 1 and 2 * sum(map(is_number, below)) >= len(below):
        raise NettrainError(
            f"{path}:{number}: the columns are separated by spaces; nettrain reads `,`, `;`, tabs or `|` between them:"
            " write `,` for spaces",
            key="source",
        )
    raise NettrainError(
        f"{path} has one column; an example needs values and a label, with `,`, `;`, tabs or `|` between them",
        key="source",
    )


def _encoding(path: Path, error: UnicodeDecodeError) -> str:
    """A message on a file that is not UTF-8."""
    if beginning(path, 2) in UTF_16:
        return f"{path} is not a text file that can be read; it is UTF-16: save it as UTF-8"
    kind = other_kind(path, "table", "list", "window", "spec")
    if kind:
        return f"{path} is not a text file{kind}"
    *before, line = beginning(path, error.start).split(b"\n")
    after = f", after `{short(line.decode('utf-8-sig', 'replace')[-40:])}`" if line else ""
    return (
        f"{path} is not a text file: byte {error.start} is not UTF-8; save it as UTF-8 "
        f"(the first such character is in line {len(before) + 1}{after})"
    )
