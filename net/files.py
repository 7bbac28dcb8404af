"""Files that are never half written: npz archives without pickle, made under another name and renamed."""

from __future__ import annotations

import glob
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
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path, prefix: str) -> None:
    """Remove what ``write_atomically`` left under temporary names when its process was killed."""
    for path in folder.glob(f".{glob.escape(prefix)}*.part"):
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


# An .npz is a zip archive, and a zip archive may end with a comment: there stands the SHA-256 of all before it.
SEAL = b"nettrain sha256 "
SEAL_SIZE = len(SEAL) + 64
END = b"PK\5\6"  # begins the last record of an archive: 22 bytes and the comment
CHUNK = 1 << 20


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed .npz with a checksum. Raises OSError when the disk refuses."""

    def write(file: IO[bytes]) -> None:
        np.savez(file, allow_pickle=False, **arrays)
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


def checksum(path: Path) -> bool | None:
    """Whether a file that ``write_npz`` made is as it was; None when it has no checksum. Raises OSError.

    An archive that does not end where its last record says has lost something, or was added to.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - SEAL_SIZE - len(END) - 18))
        tail = file.read()
        at = tail.rfind(END)
        if at < 0:
            return None
        comment = tail[at + len(END) + 18 :]
        if len(comment) != int.from_bytes(tail[at + len(END) + 16 :][:2], "little"):
            return False
        return _digest(file, size - SEAL_SIZE) == comment[len(SEAL) :] if comment.startswith(SEAL) else None


def read_npz(path: Path, what: str) -> dict[str, np.ndarray]:
    """Every array of an .npz. Raises NettrainError when it is missing, damaged or holds Python objects."""
    try:
        if checksum(path) is False:
            raise NettrainError(f"{what} {path} is damaged: its checksum is wrong ({path.stat().st_size:,} bytes)")
        with path.open("rb") as file:
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
