"""Blob: an array of data and an array of its gradient, both made when first touched."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .errors import ShapeError, format_shape

MOST_ELEMENTS = 2**31 - 1  # Caffe's limit; an absurd size is a mistake in the spec, not a reason to swap


@dataclass(frozen=True)
class Labels:
    """The smallest and largest label of a data set, and the first that is no whole number."""

    low: float
    high: float
    fractional: float | None = None

    @classmethod
    def of(cls, values: np.ndarray) -> Labels:
        if values.dtype.kind != "f":
            return cls(float(values.min()), float(values.max()))
        with np.errstate(invalid="ignore"):
            odd = values[np.mod(values, 1) != 0]  # NaN and infinity too
        return cls(float(values.min()), float(values.max()), float(odd.flat[0]) if odd.size else None)


class Memory:
    """A flat array that blobs may share. It starts at zero, grows when a larger view is asked for, never shrinks."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray | None = None):
        self.array = array

    def view(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        count = math.prod(shape)
        if self.array is None or self.array.size < count:
            self.array = np.zeros(count, dtype)
        return self.array[:count].reshape(shape)


class Blob:
    """An N-dimensional array ``data`` with a gradient ``diff`` of the same shape (Caffe's Blob).

    Shapes cost nothing: memory is made, as zeros, when ``data`` or ``diff`` is first read. After ``reshape``
    the values are unspecified, as in Caffe. ``labels`` is what a data source promises of its values, so that they
    can be checked before any work.
    """

    __slots__ = (
        "_data",
        "_data_from",
        "_data_view",
        "_diff",
        "_diff_from",
        "_diff_view",
        "dtype",
        "labels",
        "shape",
    )

    def __init__(self, shape: Iterable[int] = (), dtype: np.dtype | type | str = np.float32):
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = ()
        self.labels: Labels | None = None
        self._data, self._diff = Memory(), Memory()
        self._data_view: np.ndarray | None = None
        self._diff_view: np.ndarray | None = None
        # the arrays the views were cut from: another blob that shares the memory may have made it grow
        self._data_from: np.ndarray | None = None
        self._diff_from: np.ndarray | None = None
        self.reshape(shape)

    def reshape(self, shape: Iterable[int]) -> None:
        """Take a new shape. Raises ShapeError for a negative axis or more than 2^31 - 1 elements."""
        shape = tuple(int(size) for size in shape)
        if shape == self.shape:
            return
        if min(shape, default=0) < 0:
            raise ShapeError(f"a blob cannot have the shape {format_shape(shape)}")
        if math.prod(shape) > MOST_ELEMENTS:
            raise ShapeError(f"a blob of {format_shape(shape)} = {math.prod(shape):,} elements is larger than 2^31 - 1")
        self.shape = shape
        self._data_view = self._diff_view = None

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def data(self) -> np.ndarray:
        view = self._data_view
        if view is None or self._data_from is not self._data.array:
            view = self._data_view = self._data.view(self.shape, self.dtype)
            self._data_from = self._data.array
        return view

    @data.setter
    def data(self, value: np.ndarray) -> None:
        if value is not self._data_view:  # ``blob.data += x`` assigns the array to itself
            self.data[...] = value

    @property
    def diff(self) -> np.ndarray:
        view = self._diff_view
        if view is None or self._diff_from is not self._diff.array:
            view = self._diff_view = self._diff.view(self.shape, self.dtype)
            self._diff_from = self._diff.array
        return view

    @diff.setter
    def diff(self, value: np.ndarray) -> None:
        if value is not self._diff_view:
            self.diff[...] = value

    def share_data(self, other: Blob) -> None:
        """Use the other blob's memory for data (the shapes may differ, the counts may not)."""
        self._data, self._data_view = other._data, None

    def share_diff(self, other: Blob) -> None:
        """Use the other blob's memory for the gradient."""
        self._diff, self._diff_view = other._diff, None

    def shares_data_with(self, other: Blob) -> bool:
        """Whether both blobs' data lies in the same memory."""
        return self._data is other._data

    def place_in(self, data: np.ndarray, diff: np.ndarray) -> None:
        """Live in these flat arrays of ``count`` elements, slices of a net's contiguous parameters."""
        self._data, self._diff = Memory(data), Memory(diff)
        self._data_view = self._diff_view = None

    def canonical_axis(self, axis: int, key: str | tuple[str, ...] = "axis") -> int:
        """``axis`` counted from the front. Raises ShapeError when this blob has no such axis."""
        if not -len(self.shape) <= axis < len(self.shape):
            raise ShapeError(
                f"axis {axis} of {format_shape(self.shape)}: there are axes {-len(self.shape)} to {len(self.shape) - 1}"
                if self.shape
                else f"axis {axis} of a scalar, which has no axes",
                key=key,
            )
        return axis % len(self.shape)

    def __repr__(self) -> str:
        return f"Blob({format_shape(self.shape)}, {self.dtype})"
