"""What a file is, by its first bytes, and what reads it: for whoever was given one of another kind."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ..files.reading import open_file
from ..spec.errors import why

HEAD = 512  # bytes
_IMAGE = "`Data` reads a folder of images for each class, `ImageData` a text file with `FILE LABEL` on each line"
_HDF5 = "`HDF5Data` reads it, from a text file that lists such files"
_DATA = "`Data` reads it, as its source"
_STARTS = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file", _HDF5),
    (b"\x89PNG", "a PNG image", _IMAGE),
    (b"\xff\xd8\xff", "a JPEG image", _IMAGE),
    (b"GIF8", "a GIF image", _IMAGE),
    (b"II*\0", "a TIFF image", _IMAGE),
    (b"MM\0*", "a TIFF image", _IMAGE),
    (b"BM", "a BMP image", _IMAGE),
    (b"\x93NUMPY", "a single array (.npy)", "`Data` reads it as its source, under a name that ends in .npy"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (.xls)", "save its sheet as CSV, which `Data` reads"),
    (b"PK\3\4", "an archive of arrays (.npz) or another zip archive", "`Data` reads an .npz, as its source"),
    (b"\x1f\x8b", "a gzip file", "unpack it with gunzip; only IDX files are read compressed, by `Data`"),
    (b"BZh", "a bzip2 file", "unpack it"),
    (b"\xfd7zXZ", "an xz file", "unpack it"),
    (b"PAR1", "a Parquet file", "`Data` reads it as its source, under a name that ends in .parquet"),
    (b"%PDF", "a PDF", ""),
)
_IN_WORKBOOKS = (b"[Content_Types].xml", b"_rels/", b"docProps/", b"xl/")  # the first member of the zip archive
_LINES = (
    (r"#\s*\d+", "a window file", "`WindowData` reads it"),
    (r"\S+\.(?:h5|hdf5?)(?:\s.*)?", "a list of HDF5 files", "`HDF5Data` reads it"),
    (r".*\.(?:png|jpe?g|bmp|gif|tiff?|webp|ppm)\s+[-+]?\d+", "a list of images", "`ImageData` reads it"),
    (r"[^,]+(?:,[^,]+)+", "a table", _DATA),
    (r"(?:layers|solver|name):.*", "a spec", ""),
)


def other_kind(path: Path, *wanted: str) -> str:
    """``: it is an HDF5 file; `HDF5Data` reads it``, for the end of a message; nothing for what is not known, or has
    one of the words ``wanted`` in its name."""
    kind, reader = _kind(path)
    if not kind or any(word in kind for word in wanted):
        return ""
    return f": it is {kind}{f'; {reader}' if reader else ''}"


def not_text(path: Path, error: OSError | UnicodeDecodeError) -> str:
    """Why a file cannot be read as text, for the end of a message: what it is, if that is known."""
    if isinstance(error, UnicodeDecodeError):
        return other_kind(path, "table", "list", "window", "spec") or f": byte {error.start} is not UTF-8"
    return f": {why(error)}"


def _kind(path: Path) -> tuple[str, str]:
    try:
        if os.path.isdir(path):
            if os.path.exists(path / "data.mdb"):
                return "a folder with an LMDB", _DATA
            return "a folder", _IMAGE if any(_kind(one)[1] == _IMAGE for one in _some(path)) else ""
        with open_file(path) as file:
            head = file.read(HEAD)
    except OSError:  # whoever asks could not read it either, and says why
        return "", ""
    if head.startswith(b"PK\3\4") and head[30:].startswith(_IN_WORKBOOKS):
        return "an Excel workbook (.xlsx)", "save its sheet as CSV, which `Data` reads"
    for start, kind, reader in _STARTS:
        if head.startswith(start):
            return kind, reader
    if len(head) > 3 and head[:2] == b"\0\0" and head[2] in b"\x08\x09\x0b\x0c\x0d\x0e" and 1 <= head[3] <= 8:
        return "an IDX file", _DATA
    if head[16:20] == b"\xde\xc0\xef\xbe":
        return "an LMDB file", "`Data` reads its folder, as its source"
    first = next((line.strip() for line in head.decode("utf-8-sig", "replace").splitlines() if line.strip()), "")
    return next(((kind, reader) for form, kind, reader in _LINES if re.fullmatch(form, first, re.IGNORECASE)), ("", ""))


def _some(folder: Path) -> list[Path]:
    """A few of a folder's files."""
    with os.scandir(folder) as found:
        return [Path(entry.path) for entry, _ in zip(found, range(8), strict=False) if entry.is_file()]
