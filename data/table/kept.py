"""Parsed tables that are kept for the next command, in ``$XDG_CACHE_HOME/nettrain/tables`` or ``~/.cache/…``.

An entry is an .npz with its checksum. It counts only for a file of the same path, size, time and SHA-256; whatever else
is wrong with one, it is as if it were not there. ``NETTRAIN_CACHE=off`` keeps nothing, any other value is the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ...files.arrays import open_npz, write_npz
from ...files.reading import open_file
from ...spec.errors import NettrainError
from .table import Column, Lines, Table

VERSION = 3
SMALLEST = 1 << 20  # bytes of a file that is worth it
AT_ONCE = 1 << 20  # bytes digested at a time
LARGEST = 1 << 31  # bytes of such a file, and of all entries


def folder() -> Path | None:
    """Where tables are kept; None where they are not."""
    said = os.environ.get("NETTRAIN_CACHE", "")
    if said.casefold() in ("off", "0", "no", "false"):
        return None
    if said:
        return Path(said)
    base = os.environ.get("XDG_CACHE_HOME", "") or os.path.expanduser("~/.cache")
    return Path(base) / "nettrain" / "tables" if os.path.isabs(base) else None


def entry(path: Path, about: str) -> tuple[Path, dict] | None:
    """The file that keeps what was read from this one, and what it must say of it; ``about`` is how it was read. None
    for a file that is not worth keeping, or cannot be read."""
    where = folder()
    try:
        found = path.stat()
        if where is None or not stat.S_ISREG(found.st_mode) or not SMALLEST <= found.st_size <= LARGEST:
            return None
        made = hashlib.sha256()
        with open_file(path) as file:
            while part := file.read(AT_ONCE):
                made.update(part)
        digest = made.hexdigest()
        name = hashlib.sha256(f"{path.resolve()}\0{about}".encode("utf-8", "surrogateescape")).hexdigest()[:32]
    except (OSError, UnicodeError):
        return None
    facts = {"version": VERSION, "size": found.st_size, "time": found.st_mtime_ns, "sha256": digest}
    return where / f"{name}.npz", facts


def find(kept: tuple[Path, dict], origin: str) -> Table | None:
    """The table that was kept; None where there is none for this very file."""
    path, facts = kept
    try:
        with open_npz(path, "cache") as archive:
            about = json.loads(bytes(archive["about"].read()))
            if not archive.is_sealed or about["facts"] != facts:
                return None
            columns = [
                Column(one["name"], one["kind"], archive[f"column/{i}"].read(), tuple(one["words"]))
                for i, one in enumerate(about["columns"])
            ]
            lines = archive["lines"].read()
        if {len(column.values) for column in columns} != {len(lines)}:
            return None
        return Table(origin, tuple(columns), about["named"], Lines(lines))
    except (NettrainError, OSError, ValueError, KeyError, TypeError):
        return None


def keep(kept: tuple[Path, dict], table: Table) -> None:
    """Keep a table that was read from text; where that is not possible it is not kept."""
    path, facts = kept
    columns = [{"name": one.name, "kind": one.kind, "words": one.words} for one in table.columns]
    about = json.dumps({"facts": facts, "named": table.named, "columns": columns}).encode()
    arrays = {f"column/{i}": np.ascontiguousarray(one.values) for i, one in enumerate(table.columns)}
    arrays |= {"lines": table.line.numbers} if isinstance(table.line, Lines) else {}
    with contextlib.suppress(OSError, ValueError, MemoryError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, {"about": np.frombuffer(about, np.uint8)} | arrays)
        _make_room(path.parent.glob("*.npz"))


def _make_room(entries: Iterable[Path]) -> None:
    """Remove the oldest entries until all take no more than the most that is kept."""
    found = sorted(((one.stat(), one) for one in entries), key=lambda one: -one[0].st_mtime)
    total = 0
    for about, path in found:
        total += about.st_size
        if total > LARGEST:
            path.unlink(missing_ok=True)
