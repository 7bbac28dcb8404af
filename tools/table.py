"""Plain text tables."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

LEAST = 8  # characters that a column is left


def table(head: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Columns two spaces apart, as wide as their widest cell; those in ``right`` are aligned to the right.

    Where they do not fit into a narrow terminal, cells of the widest columns of text go on in a second line.
    """
    cells = [list(head), *[list(row) for row in rows]]
    widths = _fit(list(zip(*cells, strict=True)), right, columns())
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


def columns() -> int | None:
    """The width of the terminal, or what COLUMNS says; None where text goes to a file or a program."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and 0 < int(given) < 10_000:
        return int(given)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def _fit(cells: list[tuple[str, ...]], right: Sequence[int], total: int | None) -> list[int]:
    """The columns' widths: narrower columns of text, the widest first, until all fit. Numbers stay as they are, and
    words are broken only where it does not go otherwise."""
    widths = [max(map(len, column)) for column in cells]
    words = [max(len(word) for cell in column for word in cell.split() or [""]) for column in cells]
    for least in (words, [LEAST] * len(cells)):
        while total is not None and sum(widths) + 2 * (len(widths) - 1) > total:
            text = [i for i in range(len(widths)) if i not in right and widths[i] > least[i]]
            if not text:
                break
            widths[max(text, key=lambda i: widths[i])] -= 1
    return widths


def _wrap(cell: str, width: int) -> list[str]:
    return [cell] if len(cell) <= width else textwrap.wrap(cell, width) or [""]
