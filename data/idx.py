"""IDX files, the format of MNIST: a magic number, the sizes, the values; plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..files.arrays import MOST_UNPACKED
from ..files.reading import check_memory, fill, open_file, size_of
from ..spec.errors import NettrainError, format_shape, why

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file. Raises NettrainError when it is damaged, cut short, too long or something else.

    A gzipped one is unpacked only as far as its header asks, and by one byte more to see that it ends there.
    """
    return _opened(path, _read)


def idx_shape(path: Path) -> list[int]:
    """The shape of an IDX file's array, without reading the array. Raises NettrainError as ``read_idx`` does."""
    return _opened(path, lambda *of: _head(*of)[0])


def _opened(path: Path, read: Callable[[Path, Any, int | None, int], Any]) -> Any:
    try:
        with open_file(path) as file:
            is_packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not is_packed:
                return read(path, file, size_of(file), 0)
            with gzip.GzipFile(fileobj=file, mode="rb") as unpacked:
                return read(path, unpacked, None, size_of(file) * MOST_UNPACKED)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NettrainError(f"{path} is a damaged or truncated gzip file ({error})", key="source") from None
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
    except MemoryError:
        raise NettrainError(f"{path} needs more memory than this machine has left", key="source") from None


def _head(path: Path, file: Any, size: int | None, most: int) -> tuple[list[int], np.dtype, Callable]:
    """Shape and dtype of the array in an open file of ``size`` bytes (None: only unpacking can tell, but fewer than
    ``most``); and how to say that its size is wrong."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise NettrainError(f"{path} is not an IDX file: it starts with {start.hex(' ') or 'nothing'}", key="source")
    axes, dtype = start[3], np.dtype(_TYPES[start[2]])
    sizes = file.read(4 * axes)
    if len(sizes) < 4 * axes:
        raise NettrainError(f"{path} is truncated inside its header", key="source")
    if not 1 <= axes <= 8:
        raise NettrainError(f"{path} is not an IDX file of examples: it says that it has {axes} axes", key="source")
    shape = [int(length) for length in np.frombuffer(sizes, ">u4")]
    header, nbytes = 4 + 4 * axes, math.prod(shape) * dtype.itemsize

    def wrong(which: str, has: str) -> NettrainError:
        need = f"{format_shape(shape)} values need {header + nbytes:,} bytes"
        return NettrainError(f"{path} is {which}: {need}, the file has {has}", key="source")

    if size is not None and size != header + nbytes:
        raise wrong("truncated" if size < header + nbytes else "too long", f"{size:,}")
    if size is None and header + nbytes > most:
        raise wrong("truncated", f"fewer than {most:,}")
    return shape, dtype, wrong


def _read(path: Path, file: Any, size: int | None, most: int) -> np.ndarray:
    shape, dtype, wrong = _head(path, file, size, most)
    nbytes = math.prod(shape) * dtype.itemsize
    if 0 not in shape:  # the sizes beside a zero may be more than any array can have
        check_memory(nbytes, str(path))
        array = np.empty(shape, dtype)
        if (count := fill(file, array)) < nbytes:
            raise wrong("truncated", f"{4 + 4 * len(shape) + count:,}")
    if file.read(1):
        raise wrong("too long", "more")
    if 0 in shape:
        raise NettrainError(f"{path} holds no examples: {format_shape(shape)}", key="source")
    return array if dtype.isnative else array.byteswap(inplace=True).view(dtype.newbyteorder("="))
