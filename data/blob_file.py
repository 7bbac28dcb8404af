"""One array in a file of Caffe's: a .binaryproto, such as a mean image."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from ..files import wire
from ..files.reading import read_bytes
from ..spec.errors import NettrainError, format_shape, why

SIZES, DATA, SHAPE, DOUBLES = range(1, 5), 5, 7, 8  # num, channels, height and width, then the other fields

MOST_PIECES = 1000


def is_blob(head: bytes) -> bool:
    """Whether a file may be one: its first field is num, shape or values."""
    return head[:1] in (b"\x08", b"\x2a", b"\x2d", b"\x3a", b"\x42", b"\x41")


def read_blob(path: Path, what: str) -> np.ndarray:
    """The array; of four axes, as Caffe's tools and pycaffe's programs write a mean image, without the first if that
    is 1. Raises NettrainError when it is damaged."""
    old, new, values = dict.fromkeys(SIZES, 0), list[int](), list[np.ndarray]()
    is_old = False
    try:
        for field, kind, value in wire.fields(read_bytes(path)):
            if field in SIZES and kind == wire.NUMBER:
                old[field], is_old = value, True
            elif field == SHAPE and kind == wire.BYTES:
                new = _sizes(value)
            elif field in (DATA, DOUBLES) and kind != wire.NUMBER:
                values.append(np.frombuffer(value, "<f4" if field == DATA else "<f8"))
                if len(values) > MOST_PIECES:
                    raise ValueError("its values are in more pieces than Caffe makes")
    except OSError as error:
        raise NettrainError(f"{what} {path} cannot be read: {why(error)}") from None
    except ValueError as error:
        raise NettrainError(f"{what} {path} is damaged, or no blob of Caffe's: {error}") from None
    array = np.concatenate(values) if values else np.empty(0, np.float32)
    shape = tuple(old.values()) if is_old else tuple(new)
    if array.size == 0 or len(shape) > 32 or math.prod(shape) != array.size:
        raise NettrainError(f"{what} {path} says {format_shape(shape)} but holds {array.size:,} values")
    return array.reshape(shape[1:] if len(shape) == 4 and shape[0] == 1 else shape)


def _sizes(shape: bytes) -> list[int]:
    """The sizes in a shape, packed or one by one."""
    sizes: list[int] = []
    for field, kind, value in wire.fields(shape):
        if field == 1 and kind == wire.NUMBER:
            sizes.append(value)
        elif field == 1 and kind == wire.BYTES:
            at = 0
            while at < len(value) and len(sizes) < 33:
                size, at = wire.varint(value, at)
                sizes.append(size)
    return sizes
