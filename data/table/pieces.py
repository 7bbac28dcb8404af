"""A text file of a table in pieces, each with the places of its cells: found for all rows of a piece at once.

The rules are those of Python's csv module in its strict form. What they need that is not plain (a quote inside of a
cell without quotes, rows of another width) is left to it: that is ``UnclearError``.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...files.reading import LONGEST_LINE, open_file
from .digits import MARGIN

LONGEST_KEY = 64  # bytes of cells that are compared by their words
AT_ONCE = 1 << 18  # bytes: they and what is made of them fit into a processor's cache
_QUOTE, _END = ord('"'), ord("\n")


class UnclearError(Exception):
    """Only reading cell by cell tells what this is, or what is wrong with it."""


@dataclass(frozen=True)
class Piece:
    """Some rows: ``text`` in UTF-8, where each cell starts and ends in it, R x W, and the line each row begins on, from
    1. A cell that was quoted is what stood between its quotes."""

    text: bytes
    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray

    def cells(self, column: int, rows: Any = slice(None)) -> list[bytes]:
        """The cells of a column."""
        starts, ends = self.starts[rows, column].tolist(), self.ends[rows, column].tolist()
        return [self.text[start:end] for start, end in zip(starts, ends, strict=True)]

    def columns_with(self, character: bytes) -> set[int]:
        """The columns in which a character occurs."""
        if character not in self.text or not len(self.lines):
            return set()
        starts, ends = self.starts.ravel(), self.ends.ravel()
        at = np.flatnonzero(np.frombuffer(self.text, np.uint8) == ord(character))
        at = at[at < ends[-1]]
        cell = np.searchsorted(ends, at, "right")  # the first that ends behind it, if it is in one
        return set(np.unique(cell[starts[cell] <= at] % self.starts.shape[1]).tolist())


def pieces(path: Path, separator: str, width: int) -> Iterator[Piece]:
    """The rows of a file, without those that are empty. Raises UnclearError, OSError."""
    left, before, is_first, is_last = b"", 0, True, False
    with open_file(path) as file:
        while not is_last:
            part = file.read(AT_ONCE)
            while part.endswith(b"\r") and (more := file.read(1)):
                part += more
            is_last = not part
            if is_first:
                part, is_first = part.removeprefix(codecs.BOM_UTF8), False
            if b"\r" in part:
                part = part.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            left += part
            if is_last and left and not left.endswith(b"\n"):
                left += b"\n"
            if not left:
                continue
            piece, size = _split(left, separator, width, before)
            if piece is not None:
                before += left.count(b"\n", 0, size)
                yield piece
            left = left[size:]
            if len(left) > LONGEST_LINE or (is_last and left):
                raise UnclearError


def _split(text: bytes, separator: str, width: int, before: int) -> tuple[Piece | None, int]:
    """The whole rows that a text begins with, and how many bytes they take; ``before`` is how many lines there were."""
    if b"\0" in text:
        raise UnclearError
    text = b"".join((b" " * MARGIN, text, b" " * LONGEST_KEY))
    array = np.frombuffer(text, np.uint8)
    ends: np.ndarray = np.flatnonzero((array == ord(separator)) | (array == _END))
    is_end = array[ends] == _END
    breaks = ends[is_end]
    quotes = np.flatnonzero(array == _QUOTE) if b'"' in text else ends[:0]
    if len(quotes):
        outside = np.searchsorted(quotes, ends) % 2 == 0
        ends, is_end = ends[outside], is_end[outside]
    last = np.flatnonzero(is_end)
    if not len(last):
        return None, 0
    ends = ends[: last[-1] + 1]
    size = int(ends[-1]) + 1
    _check_letters(text[:size])
    starts: np.ndarray = np.concatenate([[MARGIN], ends[:-1] + 1])
    widths = np.diff(last, prepend=-1)
    if (widths != width).any():
        is_empty = (widths == 1) & (starts[last] == ends[last])
        if (widths[~is_empty] != width).any():
            raise UnclearError
        here = np.repeat(~is_empty, widths)
        starts, ends = starts[here], ends[here]
    firsts, lasts = starts.reshape(-1, width), ends.reshape(-1, width)
    lines = before + 1 + np.searchsorted(breaks, firsts[:, 0])
    if len(quotes):
        _unquote(array, quotes, firsts, lasts)
    found = Piece(text, firsts, lasts, lines)
    empty = _empty(array, found)
    if empty:
        here = np.ones(len(lines), bool)
        here[empty] = False
        found = Piece(text, firsts[here], lasts[here], lines[here])
    return found, size - MARGIN


def _check_letters(text: bytes) -> None:
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError:
            raise UnclearError from None


def _unquote(array: np.ndarray, quotes: np.ndarray, starts: np.ndarray, ends: np.ndarray) -> None:
    """Move starts and ends of quoted cells to what stands between their quotes."""
    quoted = np.searchsorted(quotes, ends) > np.searchsorted(quotes, starts)
    if ((array[starts[quoted]] != _QUOTE) | (array[ends[quoted] - 1] != _QUOTE)).any():
        raise UnclearError
    starts[quoted] += 1
    ends[quoted] -= 1


def _empty(array: np.ndarray, piece: Piece) -> list[int]:
    """The rows without any values, as the csv reader's user sees them."""
    starts, ends = piece.starts, piece.ends
    rows = np.flatnonzero(starts[:, 0] == ends[:, 0])
    columns = range(starts.shape[1])
    for i in columns[1:]:
        if not len(rows):
            return []
        first = array[starts[rows, i]]
        rows = rows[(starts[rows, i] == ends[rows, i]) | (first <= ord(" ")) | (first >= 128)]
    return [row for row in rows.tolist() if not any(piece.cells(i, [row])[0].decode().strip() for i in columns)]


# of the word that begins k words after a cell's start, those of its bytes that belong to a cell of n characters
_INSIDE = np.array(
    [[(1 << 8 * min(8, max(0, n - 8 * k))) - 1 for n in range(LONGEST_KEY + 1)] for k in range(LONGEST_KEY // 8)],
    np.uint64,
)
_MIX = np.uint64(0x9E3779B97F4A7C15)  # any odd number whose bits are mixed


def equal_cells(piece: Piece, column: int) -> tuple[np.ndarray, np.ndarray]:
    """The group of equal cells that each cell of a column is in, and for each group a row that is in it. Some equal
    cells may be in several groups."""
    starts, length = piece.starts[:, column], piece.ends[:, column] - piece.starts[:, column]
    most = int(length.max(initial=0))
    rows = np.arange(len(starts))
    if most > LONGEST_KEY:
        return rows, rows
    text = np.frombuffer(piece.text, np.uint8)
    at = np.ndarray((len(text) - 7,), "<u8", text, strides=(1,))
    words = [at[starts + 8 * k] & _INSIDE[k][length] for k in range(max(1, -(-most // 8)))]
    key = words[0]
    for word in words[1:]:
        key = key * _MIX + word
    order = np.argsort(key)
    key = key[order]
    is_new = np.append(True, key[1:] != key[:-1])[: len(key)]
    first = order[is_new]
    group = np.empty(len(key), np.intp)
    group[order] = np.cumsum(is_new) - 1
    if len(words) > 1 and any((word != word[first][group]).any() for word in words):
        return rows, rows  # two different ones have one key
    return group, first
