"""The checksum at the end of an .npz that nettrain wrote.

An .npz is a zip archive, and a zip archive may end with a comment: here it is the SHA-256 of all before it.
"""

from __future__ import annotations

import hashlib
import os
from typing import IO

SEAL = b"nettrain sha256 "

SEAL_SIZE = len(SEAL) + 64

END, END_SIZE = b"PK\5\6", 22  # how the last record of an archive begins, and its bytes before the comment

CHUNK = 1 << 20


def add(file: IO[bytes]) -> None:
    """Add its checksum to an archive without a comment, which is open for reading and writing."""
    size = file.seek(-2, os.SEEK_END) + 2  # it ends with the length of its comment, which is 0 so far
    file.write(SEAL_SIZE.to_bytes(2, "little"))
    digest = _digest(file, size)
    file.seek(size)
    file.write(SEAL + digest)


def _digest(file: IO[bytes], size: int) -> bytes:
    """SHA-256 of the first ``size`` bytes, in hexadecimal."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest().encode()


def _seal(file: IO[bytes]) -> tuple[int, bytes] | None:
    """How many bytes stand before an archive's comment, and the comment; None if there is no archive.

    Raises ValueError for an archive that does not end where its last record says: it lost something or was added to.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - SEAL_SIZE - END_SIZE))
    tail = file.read(SEAL_SIZE + END_SIZE)
    at = tail.rfind(END)
    if at < 0:
        return None
    comment = tail[at + END_SIZE :]
    if len(comment) != int.from_bytes(tail[at + END_SIZE - 2 : at + END_SIZE], "little"):
        raise ValueError("the archive does not end where it should")
    return size - len(comment), comment


def check(file: IO[bytes]) -> bool:
    """Whether the file has a checksum. Raises ValueError when it is wrong; without one the file may be anything."""
    size, comment = _seal(file) or (0, b"")
    is_sealed = comment.startswith(SEAL)
    if is_sealed and comment != SEAL + _digest(file, size):
        raise ValueError("the checksum is wrong")
    file.seek(0)
    return is_sealed
