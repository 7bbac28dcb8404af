"""How a text file writes its table: what separates columns, the decimal sign, and whether a first row is names."""

from __future__ import annotations

import csv
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .cells import has_comma, has_point, is_gap, is_number

SEPARATORS = (",", ";", "\t", "|")
SOME = 200  # lines that are looked at


@dataclass(frozen=True)
class Dialect:
    """``comma``: numbers are written as 1,5. ``names`` are those of a first row, empty where there is none."""

    separator: str
    comma: bool
    names: tuple[str, ...]
    width: int


class UnreadableRow(csv.Error):
    """A row that cannot be read; ``line`` is the one it begins on."""

    def __init__(self, what: str, line: int):
        super().__init__(what)
        self.line = line


def rows_of(lines: Iterable[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line each row begins on, from 1, and its cells; rows without any are passed over. Raises UnreadableRow."""
    reader = csv.reader((f"{line}\n" for line in lines), delimiter=separator, strict=True)
    before = 0
    try:
        for row in reader:
            if any(row) and (row[0] or any(cell.strip() for cell in row)):
                yield before + 1, row
            before = reader.line_num
    except csv.Error as error:
        raise UnreadableRow(str(error), before + 1) from None


def find(lines: list[str], expected: tuple[str, ...] = ()) -> Dialect | None:
    """The dialect of a file that begins with these lines; ``expected`` are names that a spec gives columns. None
    without rows."""
    tried = [(separator, _some_rows(lines, separator)) for separator in SEPARATORS]
    scored = [(_score(rows), -i, separator, rows) for i, (separator, rows) in enumerate(tried)]
    _, _, separator, found = max(scored, key=lambda one: one[:2])
    if not found:
        return None
    rows = [row for _, row in found]
    commas = sum(has_comma(cell) for row in rows for cell in row)
    points = sum(has_point(cell) for row in rows for cell in row)
    comma = commas > points if commas or points else separator != ","

    def number(cell: str) -> bool:
        return is_number(cell) or (comma and has_comma(cell))

    head = is_head(rows, expected, number)
    names = tuple(cell.strip() for cell in rows[0]) if head else ()
    return Dialect(separator, comma, names, len(rows[0]))


def _some_rows(lines: list[str], separator: str) -> list[tuple[int, list[str]]]:
    found: list[tuple[int, list[str]]] = []
    try:
        found.extend(itertools.islice(rows_of(lines, separator), SOME))
    except csv.Error:  # or a quoted cell goes on after these lines
        found = found or [(1, lines[0].split(separator))]
    return found


def _score(rows: list[tuple[int, list[str]]]) -> tuple[float, float]:
    """How well rows go together: the share of those of the most common width and of cells without another separator;
    then that of cells that are numbers."""
    if not rows:
        return (0, 0)
    widths = Counter(len(row) for _, row in rows)
    width, count = widths.most_common(1)[0]
    if width < 2:
        return (0, 0)
    cells = [cell for _, row in rows for cell in row]
    clean = sum(not any(mark in cell for mark in ";\t|") and ("," not in cell or has_comma(cell)) for cell in cells)
    return (round(count / len(rows) * (0.5 + clean / len(cells) / 2), 6), sum(map(_is_value, cells)) / len(cells))


def _is_value(cell: str) -> bool:
    return is_number(cell) or is_gap(cell) or has_comma(cell)


LIKE_LABEL = ("label", "labels")  # a column's name, in upper or lower case


def is_head(rows: list[list[str]], expected: tuple[str, ...], number: Callable[[str], bool]) -> bool:
    """Whether a first row is names: words only, of which most do not come again below; or one of them is a name that is
    expected, or stands over numbers only. A slip in a number is not a name."""
    first = [cell.strip() for cell in rows[0]]
    body = [row for row in rows[1:] if len(row) == len(first)]
    words = [cell for cell in first if cell and not number(cell)]
    if not words:  # as pandas writes columns without names
        return len(first) > 2 and first == ["", *map(str, range(len(first) - 1))]
    if any(cell in expected or cell.casefold() in LIKE_LABEL for cell in words):
        return True
    columns = [[row[i] for row in body] for i in range(len(first))]
    if len(words) + first.count("") == len(first):
        if not body or any(all(map(number, column)) for column in columns):
            return True
        again = sum(first[i] in {cell.strip() for cell in column} for i, column in enumerate(columns) if first[i])
        return 2 * again < len(words)
    over = [
        first[i][0].isalpha() and len(body) > 2 and all(number(cell) or is_gap(cell) for cell in column)
        for i, column in enumerate(columns)
        if first[i] in words
    ]
    return 2 * len(words) >= len(first) and any(over)
