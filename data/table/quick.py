"""Text tables read by whole columns: numbers by their digits, words by the place of each different one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from .cells import numbers
from .dialect import Dialect
from .digits import parse
from .pieces import Piece, UnclearError, equal_cells, pieces

FIRST = 1 << 8  # rows for which there is room at first
Found = tuple[list[np.ndarray], dict[int, dict[str, int]], np.ndarray]


def read_quickly(path: Path, dialect: Dialect) -> Found | None:
    """The columns of a file, of which those that are not all numbers and gaps are places of words; these words, with
    their places; and the line of each row. None for what has to be read cell by cell. Raises OSError."""
    words: dict[int, _Places] = {}
    points: set[int] = set()
    try:
        while (found := _pass(path, dialect, words, points)) is None:
            pass
        points.difference_update(words)
        if points and points & _columns_with(path, dialect, b","):
            raise UnclearError  # some numbers have a decimal comma, others a point
        columns, where = found
        texts = {i: _in_text(columns, i, places) for i, places in words.items()}
    except UnclearError:
        return None
    return columns, texts, where


class _Places(dict[bytes, int]):
    """The words of a column with their places, in the order in which they come."""

    def __missing__(self, word: bytes) -> int:
        self[word] = place = len(self)
        return place


def _pass(
    path: Path, dialect: Dialect, words: dict[int, _Places], points: set[int]
) -> tuple[list[np.ndarray], np.ndarray] | None:
    """Columns and lines; None when a column that began with numbers has a word: it is among ``words`` then. Among
    ``points`` are columns that have a decimal point where others have commas."""
    parts = [_Growing() for _ in range(dialect.width)]
    where = _Growing()
    late: set[int] = set()
    head = bool(dialect.names)
    for piece in pieces(path, dialect.separator, dialect.width):
        if head and len(piece.lines):
            head = False
            piece = Piece(piece.text, piece.starts[1:], piece.ends[1:], piece.lines[1:])
        if dialect.comma:
            points |= piece.columns_with(b".")
        left = [i for i in range(dialect.width) if i not in words and i not in late]
        for i, values in zip(left, _numbers(piece, left, dialect.comma), strict=True):
            if values is not None:
                parts[i].add(values)
            elif where.array is not None:
                late.add(i)
            else:
                words[i] = _Places()
        for i, places in words.items():
            parts[i].add(_words(piece, i, places))
        where.add(piece.lines)
    for places in words.values() if late else ():
        places.clear()
    words |= {i: _Places() for i in late}
    if late:
        return None
    return [part.values for part in parts], where.values


def _columns_with(path: Path, dialect: Dialect, sign: bytes) -> set[int]:
    """The columns of a file in which a character occurs."""
    found = (piece.columns_with(sign) for piece in pieces(path, dialect.separator, dialect.width))
    return set().union(*found)


class _Growing:
    """Values that are added at the end. There are never many small arrays, whose memory would stay in use between
    others; what is beyond the end has not been touched and takes none."""

    def __init__(self) -> None:
        self.array: np.ndarray | None = None
        self.count = 0

    def add(self, values: np.ndarray) -> None:
        count = self.count + len(values)
        if self.array is None or count > len(self.array):
            larger = np.empty(max(2 * count, FIRST), values.dtype)
            larger[: self.count] = self.values
            self.array = larger
        self.array[self.count : count] = values
        self.count = count

    @property
    def values(self) -> np.ndarray:
        return np.empty(0) if self.array is None else self.array[: self.count]


def _numbers(piece: Piece, columns: list[int], comma: bool) -> list[np.ndarray | None]:
    """The numbers in columns, NaN for gaps; None for one with a word."""
    starts, ends = piece.starts, piece.ends
    if len(columns) < starts.shape[1]:
        starts, ends = starts[:, columns], ends[:, columns]
    flat, odd = parse(np.frombuffer(piece.text, np.uint8), starts.ravel(), ends.ravel(), comma)
    odd = odd.reshape(starts.shape)
    found: list[np.ndarray | None] = list(flat.reshape(starts.shape).T.copy())
    for k in np.flatnonzero(odd.any(axis=0)).tolist():
        found[k] = _gaps_and_others(piece, columns[k], found[k], odd[:, k], comma)
    return found


def _gaps_and_others(piece: Piece, column: int, values: Any, odd: np.ndarray, comma: bool) -> np.ndarray | None:
    """The numbers of a column of which some are not as ``parse`` reads them; None when one is a word."""
    is_empty = piece.starts[:, column] == piece.ends[:, column]
    values[is_empty] = np.nan
    rows = np.flatnonzero(odd & ~is_empty)
    if len(rows):
        cells = piece.cells(column, rows)
        different = list(dict.fromkeys(cells))
        found = numbers([cell.decode() for cell in different], comma)
        if found is None:
            return None
        value = dict(zip(different, found.tolist(), strict=True))
        values[rows] = np.fromiter(map(value.__getitem__, cells), float, len(rows))
    return values


def _words(piece: Piece, column: int, places: _Places) -> np.ndarray:
    """The place of each word of a column: equal ones are found by sorting keys of their bytes, and each different one
    is looked up once."""
    group, first = equal_cells(piece, column)
    codes = map(places.__getitem__, piece.cells(column, first))
    return np.fromiter(codes, np.int32, len(first))[group]


def _in_text(columns: list[np.ndarray], i: int, places: _Places) -> dict[str, int]:
    """The words as they are meant, and the column in their places: without spaces around, and with one quote for two
    of a quoted cell."""
    known: dict[str, int] = {}
    place = []
    for word in places:
        text = word.decode()
        if '"' in text:
            if '"' in text.replace('""', ""):
                raise UnclearError
            text = text.replace('""', '"')
        place.append(known.setdefault(text.strip(), len(known)))
    columns[i] = np.array(place, np.int32)[columns[i]]
    return known
