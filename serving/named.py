"""What a person names to be predicted: files that hold many examples, files that are one, and folders of these."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

# A file of many examples is read as a set; any other is an example by itself.
SETS = (".csv", ".tsv", ".txt", ".parquet", ".npz", ".npy", ".h5", ".hdf5", ".tar", ".gz", "-ubyte", ".mdb")
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm", ".jp2", ".ras")

Piece = str | list[str]  # a set, or files that are an example each


def pieces(names: Iterable[Any], size: int) -> Iterator[Piece]:
    """What is named, in order: each set, and between them up to ``size`` files at a time. Of a folder with an LMDB the
    set, of any other the pictures in it and below it, by name."""
    gathered: list[str] = []
    for name in map(os.fspath, names):
        for found in within(name) if os.path.isdir(name) else [name]:
            if os.path.isdir(found) or found.lower().endswith(SETS):
                if gathered:
                    yield gathered
                    gathered = []
                yield found
                continue
            gathered.append(found)
            if len(gathered) == size:
                yield gathered
                gathered = []
    if gathered:
        yield gathered


def within(folder: str) -> Iterator[str]:
    """The pictures in a folder and below it, by name; hidden ones and other files are left out. The folder itself where
    it is a set, or has none."""
    if os.path.exists(os.path.join(folder, "data.mdb")):
        yield folder
        return
    has_some = False
    for path, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if name.lower().endswith(PICTURES) and not name.startswith("."):
                has_some = True
                yield os.path.join(path, name)
    if not has_some:
        yield folder


def count(names: Iterable[str]) -> int | None:
    """How many examples these are, as far as their names tell; None where sets are among them."""
    total = 0
    for piece in pieces(names, 1):
        if isinstance(piece, str):
            return None
        total += 1
    return total
