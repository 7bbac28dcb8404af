"""What one cell of a table says: a number, nothing, a date, or a word."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

GAPS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "?", "-"})  # in upper or lower case
DECIMAL_COMMA = re.compile(r"[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?", re.ASCII)
_TIME = r"\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]m| ?Z| ?[-+]\d{2}:?\d{2})?"
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATE = re.compile(
    rf"(?:(?:\d{{4}}([-/.])\d{{1,2}}\1\d{{1,2}}|\d{{1,2}}([-/.])\d{{1,2}}\2(?:\d{{4}}|\d{{2}})"
    rf"|\d{{1,2}}[-. ]+{_MONTH}[-, ]+\d{{2,4}}|{_MONTH} +\d{{1,2}},? +\d{{4}})(?:[ T]{_TIME})?|{_TIME})",
    re.ASCII | re.IGNORECASE,
)
_SLIP = re.compile(r"[-+.,]?\d")  # a word that begins as a number does


def is_gap(cell: str) -> bool:
    """Whether a cell says that there is no value."""
    return len(cell) <= 20 and cell.strip().casefold() in GAPS


def is_number(cell: str) -> bool:
    """Whether a cell is a number as 12, -1.5, 3e-4 or inf; neither 1_000 nor the digits of other alphabets are."""
    try:
        value = float(cell)
    except ValueError:
        return False
    return value == value and cell.isascii() and "_" not in cell


def is_date(cell: str) -> bool:
    """Whether a cell is a date or a time of day."""
    return len(cell) <= 40 and _DATE.fullmatch(cell) is not None


def is_slip(cell: str) -> bool:
    """Whether a word looks like a number that was not written well, such as 0x10 or 5.1x."""
    return _SLIP.match(cell) is not None or not cell.isprintable()


def numbers(cells: Sequence[str], comma: bool) -> np.ndarray | None:
    """The numbers in cells, NaN for gaps; None when one of them is a word. ``comma``: 1,5 is a number too."""
    text = "".join(cells)
    if comma and "," in text:
        cells = [cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell.strip()) else cell for cell in cells]
    try:
        if text.isascii() and "_" not in text:
            found = np.array(list(map(float, cells)))
            gaps = np.flatnonzero(np.isnan(found)).tolist()
            return found if all(is_gap(cells[i]) for i in gaps) else None  # -nan is a word
    except ValueError:
        pass
    found = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if is_number(cell):
            found[i] = float(cell)
        elif not is_gap(cell):
            return None
    return found


def has_point(cell: str) -> bool:
    """Whether a cell is a number with a decimal point."""
    return "." in cell and is_number(cell)


def has_comma(cell: str) -> bool:
    """Whether a cell is a number with a decimal comma."""
    return DECIMAL_COMMA.fullmatch(cell.strip()) is not None


def decimal_signs(cells: Sequence[str]) -> set[str]:
    """Those of the numbers in cells: a point, a comma, or both."""
    text = "".join(cells)
    return {sign for sign, has in ((".", has_point), (",", has_comma)) if sign in text and any(map(has, cells))}


def short(cell: str) -> str:
    """A cell or a name as a message shows it."""
    shown = cell if len(cell) <= 40 else cell[:37] + "..."
    return shown if shown.isprintable() else ascii(shown)[1:-1]
