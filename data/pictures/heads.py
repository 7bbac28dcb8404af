"""What a picture's file says before its pixels: size, and whether there are colours.

Of plain PNG and JPEG files, which are most, a few bytes are looked at here; pillow takes some ten times as long, which
is seconds where there are many. It is asked about all others, and those with something about how they are to be turned.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any, NamedTuple

from ...files.extras import extra
from ...files.reading import beginning
from ...spec.errors import NettrainError
from ..images import LONGEST_SIDE, MOST_PIXELS, opened

ORIENTATION, ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)  # of EXIF
TELL_OF_IT = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")  # where pillow puts what may hold it
ENOUGH = 1 << 12  # bytes of a file

PNG, HEADER = b"\x89PNG\r\n\x1a\n", b"\0\0\0\rIHDR"
TEXTS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")  # parts of a PNG that may hold an orientation
WITH_COLORS = {0: False, 2: True, 3: True, 4: False, 6: True}  # kinds of PNG

JPEG, FRAMES = b"\xff\xd8\xff", (0xC0, 0xC1, 0xC2)
OTHERS = {0xC4, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE}  # parts of a JPEG, but for 0xE1, which holds EXIF


class Head(NamedTuple):
    """What a file says before its pixels: height, width, whether it has colours. ``wrong``: why it cannot be read."""

    height: int = 0
    width: int = 0
    color: bool = False
    wrong: str = ""


def read_head(source: Path | bytes, name: str) -> Head:
    """The head of a picture, as it will be once it is upright."""
    plain = plain_head(source[:ENOUGH] if isinstance(source, bytes) else beginning(source, ENOUGH))
    if plain is not None:
        return plain
    library = extra("PIL.Image", "images", f"reading {name}")
    try:
        with opened(source, name) as image:
            width, height = image.size
            if orientation(image) in ON_ITS_SIDE:
                width, height = height, width
            return Head(height, width, library.getmodebase(image.mode) != "L")
    except NettrainError as error:
        return Head(wrong=str(error))


def orientation(image: Any) -> int:
    """How an opened image lies, by its EXIF: 1 is upright."""
    if image.format == "TIFF" or any(key in image.info for key in TELL_OF_IT):
        return image.getexif().get(ORIENTATION, 1)
    return 1


def plain_head(start: bytes) -> Head | None:
    """The head of a PNG or JPEG with nothing unusual in its first bytes; None for anything else."""
    head = None
    try:
        if start.startswith(PNG + HEADER):
            head = _of_png(start)
        elif start.startswith(JPEG):
            head = _of_jpeg(start)
    except (IndexError, struct.error):  # it ends too soon
        return None
    if head is None or not 0 < head.height * head.width <= MOST_PIXELS or max(head[:2]) > LONGEST_SIDE:
        return None
    return head


def _of_png(start: bytes) -> Head | None:
    width, height, _, kind, *_, checksum = struct.unpack_from(">IIBBBBBI", start, 16)
    if zlib.crc32(start[12:29]) != checksum or kind not in WITH_COLORS:
        return None
    at = len(PNG)
    while (part := start[at + 4 : at + 8]) != b"IDAT":
        if len(part) < 4 or part in TEXTS:
            return None
        at += 12 + int.from_bytes(start[at : at + 4], "big")
    return Head(height, width, WITH_COLORS[kind])


def _of_jpeg(start: bytes) -> Head | None:
    at = 2
    while start[at] == 0xFF:
        marker, length = struct.unpack_from(">BH", start, at + 1)
        if marker in FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", start, at + 4)
            return Head(height, width, channels != 1) if bits == 8 and channels in (1, 3, 4) else None
        if marker not in OTHERS:
            return None
        at += 2 + length
    return None
