"""`nettrain data FILE`: the columns of a table, and what a net would be given."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...data.sources import find_file
from ...data.table.cells import short
from ...data.table.looking import describe
from ...data.table.table import written
from ...interop.yaml_out import one_line
from ...solver.runs import quoted
from ...spec.errors import NettrainError
from ..table import table

MOST_CLASSES = 30  # rows of classes that are shown


def look(file: str, label: Sequence[str] = (), drop: Sequence[str] = ()) -> dict[str, Any]:
    """The columns of a table; see ``data.table.looking.describe``. Raises NettrainError."""
    if os.path.isdir(file):
        at = quoted(file)
        raise NettrainError(
            f"{file} is a folder, not a table: nettrain new NAME --data {at} says what is in it and writes a spec, "
            f"nettrain data {at} --to db makes an LMDB of pictures"
        )
    return describe(find_file(file, Path()), label, drop)


def report(found: dict[str, Any]) -> str:
    """The columns as a table, the classes, and the keys to write into a spec."""
    head = ["column", "type", "range", "missing", "distinct", "example", "becomes"]
    rows = [
        [
            short(one["name"]) or "(no name)",
            one["type"],
            "" if one["low"] is None else f"{_number(one['low'])} to {_number(one['high'])}",
            f"{one['missing']:,}" if one["missing"] else "",
            f"{one['distinct']:,}",
            short(one["example"]),
            one["becomes"],
        ]
        for one in found["columns"]
    ]
    parts = [f"{found['file']}: {found['rows']:,} rows, {len(rows)} columns", table(head, rows, right=(3, 4))]
    classes = found["classes"]
    if classes:
        shown = [[one["class"], f"{one['rows']:,}", f"{one['rows'] / found['rows']:.1%}"] for one in classes]
        more = f"\n… and {len(shown) - MOST_CLASSES:,} more" if len(shown) > MOST_CLASSES else ""
        parts.append(table(["class", "rows", "share"], shown[:MOST_CLASSES], right=(1, 2)) + more)
    layer = {"type": "Data", "top": ["data", "label"], "source": found["file"], **found["keys"], "batch_size": 32}
    parts.append(f"in a spec\n  {one_line(layer)}")
    return "\n\n".join(parts)


def _number(value: float) -> str:
    return written(value) if value.is_integer() and abs(value) < 1e9 else f"{value:.5g}"
