"""IDX files, the format of MNIST: a magic number, the sizes, the values; plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from ..net.errors import NettrainError, format_shape

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """The array of an IDX file. Raises NettrainError when it is damaged, cut short or something else."""
    try:
        raw = path.read_bytes()
        if raw[:2] == b"\x1f\x8b":
            raw = gzip.decompress(raw)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise NettrainError(f"{path} is a damaged or truncated gzip file ({error})", key="source") from None
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {error.strerror or error}", key="source") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in _TYPES:
        start = raw[:4].hex(" ") or "nothing"
        raise NettrainError(f"{path} is not an IDX file: it starts with {start}", key="source")
    axes = raw[3]
    header = 4 + 4 * axes
    if len(raw) < header:
        raise NettrainError(f"{path} is truncated inside its header", key="source")
    shape = [int(size) for size in np.frombuffer(raw, ">u4", axes, 4)]
    if not 1 <= axes <= 8:
        raise NettrainError(f"{path} is not an IDX file of examples: it says that it has {axes} axes", key="source")
    dtype = np.dtype(_TYPES[raw[2]])
    need = header + math.prod(shape) * dtype.itemsize
    if len(raw) != need:
        raise NettrainError(
            f"{path} is {'truncated' if len(raw) < need else 'too long'}: {format_shape(shape)} values need "
            f"{need:,} bytes, the file has {len(raw):,}",
            key="source",
        )
    if 0 in shape:  # the sizes beside the zero may be more than any array can have
        raise NettrainError(f"{path} holds no examples: {format_shape(shape)}", key="source")
    array = np.frombuffer(raw, dtype, offset=header).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)
