"""Axes that are missing or of size 1 and stand for any size, as in numpy: their gradients are sums."""

from __future__ import annotations

import numpy as np


def add_up(array: np.ndarray, out: np.ndarray) -> None:
    """out = the array summed over the axes that ``out`` lacks in front or has with size 1."""
    missing = array.ndim - out.ndim
    stretched = tuple(i for i in range(missing, array.ndim) if out.shape[i - missing] == 1 != array.shape[i])
    kept = out.reshape([size for i, size in enumerate(out.shape, missing) if i not in stretched])
    np.add.reduce(array, axis=(*range(missing), *stretched), out=kept)
