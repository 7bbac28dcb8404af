"""The lines of metrics.jsonl: one JSON object for each line of progress."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..files.reading import open_file

METRICS = "metrics.jsonl"
MOST_ITERATIONS = 2**53  # what JSON's readers agree on
LONGEST_LINE = 1 << 20  # a longer one is not a line of metrics


def read_line(line: bytes) -> dict[str, Any] | None:
    """A line of metrics; None for anything else, such as one that was cut off. ``iter`` is an integer."""
    try:
        row = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):
        return None
    at = row.get("iter") if isinstance(row, dict) else None
    return row if type(at) is int and 0 <= at < MOST_ITERATIONS else None


def read_metrics(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of metrics in a file, as ``read_line`` gives them; others are skipped. Raises OSError."""
    return (row for line in lines_of(path) if (row := read_line(line)))


def lines_of(path: Path) -> Iterator[bytes]:
    """The lines of a file, those that are too long in pieces. Raises OSError, also for a pipe or a device."""
    with open_file(path) as file:
        while line := file.readline(LONGEST_LINE):
            yield line
