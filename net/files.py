"""Files that are never half written: npz archives without pickle, made under another name and renamed."""

from __future__ import annotations

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
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as an uncompressed .npz. Raises OSError when the disk refuses."""
    write_atomically(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_npz(path: Path, what: str) -> dict[str, np.ndarray]:
    """Every array of an .npz. Raises NettrainError when it is missing, damaged or holds Python objects."""
    try:
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
