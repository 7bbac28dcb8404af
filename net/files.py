"""Files that are never half written: npz archives without pickle, made under another name and renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from .errors import NettrainError


def write_atomically(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Call ``write`` with a binary file that becomes ``path`` only when it is complete and on disk."""
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Bring the new name to disk too, where a folder can be opened (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    with contextlib.suppress(OSError):  # some file systems cannot; the file itself is on disk
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# An .npz is a zip archive, and a zip archive may end with a comment: there stands the SHA-256 of all before it.
SEAL = b"nettrain sha256 "
SEAL_SIZE = len(SEAL) + 64
END, END_SIZE = b"PK\5\6", 22  # how the last record of an archive begins, and its bytes before the comment
CHUNK = 1 << 20


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed .npz with a checksum. Raises OSError when the disk refuses."""

    def write(file: IO[bytes]) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            for name, array in arrays.items():
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
        size = file.seek(-2, os.SEEK_END) + 2  # the archive ends with the length of its comment, which is 0 so far
        file.write(SEAL_SIZE.to_bytes(2, "little"))
        digest = _digest(file, size)
        file.seek(size)
        file.write(SEAL + digest)

    write_atomically(path, write)


def _digest(file: IO[bytes], size: int) -> bytes:
    """SHA-256 of the first ``size`` bytes, in hexadecimal."""
    digest = hashlib.sha256()
    file.seek(0)
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest().encode()


def _seal(file: IO[bytes]) -> tuple[int, bytes] | None:
    """How many bytes stand before an archive's comment, and the comment; None for no archive.

    Raises ValueError for an archive that does not end where its last record says: it lost something or was added to.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - SEAL_SIZE - END_SIZE))
    tail = file.read()
    at = tail.rfind(END)
    if at < 0:
        return None
    comment = tail[at + END_SIZE :]
    if len(comment) != int.from_bytes(tail[at + END_SIZE - 2 : at + END_SIZE], "little"):
        raise ValueError("the archive does not end where it should")
    return size - len(comment), comment


def has_checksum(path: Path) -> bool:
    """Whether a file ends with a checksum; ``read_npz`` tells whether it is right. Raises OSError, ValueError."""
    with path.open("rb") as file:
        found = _seal(file)
    return found is not None and found[1].startswith(SEAL)


def _check(file: IO[bytes]) -> None:
    """Raise ValueError when the file is not what its checksum says; one without a checksum may be anything."""
    found = _seal(file)
    if found and found[1].startswith(SEAL) and found[1] != SEAL + _digest(file, found[0]):
        raise ValueError("the checksum is wrong")
    file.seek(0)


def read_npz(path: Path, what: str) -> dict[str, np.ndarray]:
    """Every array of an .npz. Raises NettrainError when it is missing, damaged or holds Python objects."""
    try:
        with path.open("rb") as file:
            _check(file)
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise NettrainError(f"{what} {path} is a single .npy array, not an .npz archive")
            arrays = {name: archive[name] for name in archive.files}
            for name, array in arrays.items():
                if not isinstance(array, np.ndarray):
                    raise NettrainError(f"{what} {path} holds something that is no array: {name}")
            return arrays
    except FileNotFoundError:
        raise NettrainError(f"{what} not found: {path}") from None
    except IsADirectoryError:
        raise NettrainError(f"{what} {path} is a folder, not an .npz file") from None
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        MemoryError,
    ) as error:
        if "Object arrays" in str(error):
            raise NettrainError(f"{what} {path} holds Python objects, which are never loaded") from None
        if isinstance(error, OSError) and error.strerror:
            raise NettrainError(f"{what} {path} cannot be read: {error.strerror}") from None
        size = path.stat().st_size
        raise NettrainError(f"{what} {path} is damaged or not an .npz file ({size:,} bytes)") from None
