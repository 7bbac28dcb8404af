"""Plain text tables."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns two spaces apart, as wide as their widest cell; those in ``right`` are aligned to the right.

    Where they do not fit into a narrow terminal, cells of the widest columns of text continue on a second line, between
    words; where that is not enough, the cells of a row stand below each other.
    """
    cells = [list(head), *[list(row) for row in rows]]
    total = columns()
    widths = _fit(list(zip(*cells, strict=True)), right, total)
    if total is not None and _together(widths) > total:
        return _stacked(head, rows, total)
    lines = []
    for row in cells:
        parts = [_wrap(cell, width) for cell, width in zip(row, widths, strict=True)]
        for k in range(max(map(len, parts))):
            shown = [part[k] if k < len(part) else "" for part in parts]
            line = "  ".join(
                cell.rjust(width) if i in right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(shown, widths, strict=True))
            )
            lines.append(line.rstrip())
    return "\n".join(lines)


def wrapped(text: str) -> str:
    """A sentence in lines as long as the terminal is wide."""
    return "\n".join(_wrap(text, columns() or len(text)))


def columns() -> int | None:
    """The width of the terminal, or what COLUMNS says; None where text goes to a file or a program."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and 0 < int(given) < 10_000:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def _together(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _fit(cells: list[tuple[str, ...]], right: Sequence[int], total: int | None) -> list[int]:
    """The columns' widths: narrower columns of text, the widest first, until all fit or a word would be broken. Numbers
    stay as they are."""
    widths = [max(map(len, column)) for column in cells]
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in cells]
    while total is not None and _together(widths) > total:
        text = [i for i in range(len(widths)) if i not in right and widths[i] > words[i]]
        if not text:
            break
        widths[max(text, key=lambda i: widths[i])] -= 1
    return widths


def _stacked(head: Sequence[str], rows: Sequence[Sequence[str]], total: int) -> str:
    """Each row as lines of a heading and a cell; empty cells are left out."""
    first = max(map(len, head))
    blocks = []
    for row in rows:
        lines = []
        for name, cell in zip(head, row, strict=True):
            parts = _wrap(cell, max(1, total - first - 2)) if cell else []
            lines += [f"{name if not k else '':<{first}}  {part}".rstrip() for k, part in enumerate(parts)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def _wrap(cell: str, width: int) -> list[str]:
    return (
        [cell]
        if len(cell) <= width
        else textwrap.wrap(cell, width, break_long_words=False, break_on_hyphens=False) or [""]
    )
