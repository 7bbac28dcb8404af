"""Memory: flat arrays that blobs share, and the order in which an array lies in it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

LINE = 64  # bytes of a line of the cache


def memory_order(array: np.ndarray) -> np.ndarray:
    """A blob's array flat, as it lies in memory: channels first or channels last."""
    found = in_memory_order((array,))
    if found is None:
        raise ValueError("the array is not contiguous")
    return found[0]


def in_memory_order(arrays: Iterable[np.ndarray]) -> tuple[np.ndarray, ...] | None:
    """The arrays flat, as they lie in memory, when all are contiguous and in the same order; else None."""
    arrays = tuple(arrays)
    if all(array.flags.c_contiguous for array in arrays):
        return tuple(array.reshape(-1) for array in arrays)
    if arrays[0].ndim < 3:
        return None
    order = (0, *range(2, arrays[0].ndim), 1)
    arrays = tuple(array.transpose(order) for array in arrays)
    if all(array.flags.c_contiguous for array in arrays):
        return tuple(array.reshape(-1) for array in arrays)
    return None


def channels_first(array: np.ndarray) -> np.ndarray:
    """N x (other axes) x C, as channels-last memory lies, seen as N x C x (other axes)."""
    return array.transpose(0, -1, *range(1, array.ndim - 1))


def zeros(count: int, dtype: Any) -> np.ndarray:
    """A flat array that begins where a line of the cache does, as vectors of 64 bytes would have it.

    Else each of them lies in two lines, and a formula in a near cache takes up to twice as long.
    """
    size = np.dtype(dtype).itemsize
    array = np.zeros(count + LINE // size, dtype)
    first = -array.__array_interface__["data"][0] % LINE // size
    return array[first : first + count]


class Memory:
    """A flat array that blobs may share. It starts at zero, grows when a larger view is asked for, never shrinks.

    ``clear`` makes it zero without touching it: whoever reads next fills it, and whoever writes first need not.
    ``parts`` are slices of it that others hold as their memory.
    """

    __slots__ = ("array", "cleared", "parts")

    def __init__(self, array: np.ndarray | None = None, parts: tuple[Memory, ...] = ()):
        self.array = array
        self.cleared = False
        self.parts = parts

    def view(self, shape: tuple[int, ...], dtype: np.dtype, channels_last: bool = False) -> np.ndarray:
        if channels_last and len(shape) > 2:
            return channels_first(self.view((shape[0], *shape[2:], shape[1]), dtype))
        count = math.prod(shape)
        if self.array is None or self.array.size < count or self.array.dtype != dtype:
            self.array = zeros(count, dtype)
        return self.array[:count].reshape(shape)

    def clear(self) -> None:
        self.cleared = True
        for part in self.parts:
            part.cleared = True

    def settle(self) -> None:
        """Carry out a ``clear``."""
        self.cleared = False
        for part in self.parts:
            if part.cleared:
                part.settle()
        if not self.parts and self.array is not None:
            self.array.fill(0)
