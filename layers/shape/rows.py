"""Examples picked out of a blob by their indices, and gradients given back to them."""

from __future__ import annotations

import math

import numpy as np

from ...compute.memory import memory_order


def rows(array: np.ndarray) -> np.ndarray:
    """A blob's array as examples x everything else, in the order of its memory: a view."""
    return memory_order(array).reshape(len(array), math.prod(array.shape[1:]))


def take_rows(source: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    """out[k] = source[indices[k]], of indices known to be in range."""
    if len(indices):
        np.take(rows(source), indices, axis=0, out=rows(out), mode="clip")  # with mode "raise" numpy makes a copy


def put_rows(source: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    """out[indices[k]] = source[k], of distinct indices; the other examples become zero."""
    out.fill(0)
    rows(out)[indices] = rows(source)
