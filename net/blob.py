"""Blob: an array of data and an array of its gradient, both made when first touched."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compute.memory import Memory
from ..spec.errors import MOST_AXES, ShapeError, format_shape

AT_ONCE = 1 << 20  # labels counted
MOST_ELEMENTS = 2**31 - 1  # Caffe's limit; an absurd size is a mistake in the spec, not a reason to swap


@dataclass(frozen=True)
class Range:
    """The smallest and largest of some values (NaN when one is NaN), and the first that is not an integer."""

    low: float
    high: float
    fractional: float | None = None

    @classmethod
    def of(cls, values: np.ndarray) -> Range:
        if values.dtype.kind != "f":
            return cls(float(values.min()), float(values.max()))
        with np.errstate(invalid="ignore"):
            odd = values[np.mod(values, 1) != 0]  # NaN and infinity too
        return cls(float(values.min()), float(values.max()), float(odd.flat[0]) if odd.size else None)

    def sentence(self, these: str, some: str) -> str:
        """A sentence: ``they run from 0 to 9``, ``they are all 255`` or ``some of them are NaN``."""
        if math.isnan(self.low):
            return f"{some} are NaN"
        return (
            f"{these} {f'run from {self.low:g} to {self.high:g}' if self.low < self.high else f'are all {self.low:g}'}"
        )


class Known:
    """Everything a data source will ever write into a blob, so that it is checked once, before any work.

    ``values`` may be a function, which is called when somebody asks; ``origin`` is what messages call the source,
    ``classes`` the names of the classes that labels count. ``each``: they are those of every example, not only the
    distinct ones, and ``name_of`` says what number i of them is called.
    """

    def __init__(
        self,
        values: np.ndarray | Callable[[], np.ndarray],
        origin: str,
        classes: Sequence[str] = (),
        each: bool = True,
        name_of: Callable[[int], str] | None = None,
    ):
        self.values, self.origin, self.classes, self.each, self.name_of = values, origin, classes, each, name_of
        self._ranges: dict[tuple[float | None, bool], Range | None] = {}

    def range(self, ignored: float | None = None, truncated: bool = False) -> Range | None:
        """Of all values but the ignored one (``truncated``: and those truncated to it); None when
        nothing is left."""
        if (ignored, truncated) not in self._ranges:
            values = self.values() if callable(self.values) else self.values
            if ignored is not None:
                values = values[(np.trunc(values) if truncated else values) != ignored]
            self._ranges[ignored, truncated] = Range.of(values) if values.size else None
        return self._ranges[ignored, truncated]

    def first(self, is_wrong: Callable[[np.ndarray], np.ndarray]) -> str:
        """What the first example is called that has such a value; nothing where examples have no names."""
        if self.name_of is None or not isinstance(self.values, np.ndarray):
            return ""
        found = np.flatnonzero(is_wrong(self.values.reshape(len(self.values), -1)).any(axis=1))
        return self.name_of(int(found[0])) if len(found) else ""

    def counts(self, classes: int, ignored: float | None = None) -> np.ndarray | None:
        """How many labels there are of each class from 0; None where that is not known, or some are no such labels."""
        found = self.range(ignored) if self.each else None
        if found is None or found.fractional is not None or not (found.low >= 0 and found.high < classes):
            return None
        values = (self.values() if callable(self.values) else self.values).reshape(-1)
        total = np.zeros(classes, np.int64)
        for start in range(0, len(values), AT_ONCE):
            some = values[start : start + AT_ONCE]
            if ignored is not None:
                some = some[some != ignored]
            total += np.bincount(some.astype(np.intp), minlength=classes)
        return total


class Blob:
    """An N-dimensional array ``data`` with a gradient ``diff`` of the same shape (Caffe's Blob).

    Shapes cost nothing: memory is made, as zeros, when ``data`` or ``diff`` is first read. After ``reshape``
    the values are unspecified, as in Caffe. ``known`` has all values that a data source will write, where they are
    known, so that they can be checked before any work. With ``channels_last`` the arrays still have the shape
    N x C x …, but neighbours in memory are the channels of one place.
    """

    __slots__ = (
        "_data",
        "_data_from",
        "_data_view",
        "_diff",
        "_diff_from",
        "_diff_view",
        "channels_last",
        "dtype",
        "known",
        "shape",
    )

    def __init__(
        self, shape: Iterable[int] = (), dtype: np.dtype | type | str = np.float32, channels_last: bool = False
    ):
        self.dtype = np.dtype(dtype)
        self.shape: tuple[int, ...] = ()
        self.channels_last = False
        self.known: Known | None = None
        self._data, self._diff = Memory(), Memory()
        self._data_view: np.ndarray | None = None
        self._diff_view: np.ndarray | None = None
        # the arrays the views were cut from: another blob that shares the memory may have made it grow
        self._data_from: np.ndarray | None = None
        self._diff_from: np.ndarray | None = None
        self.reshape(shape, channels_last=channels_last)

    def reshape(self, shape: Iterable[int] | int = (), *more: int, channels_last: bool | None = None) -> None:
        """Take a new shape, and another order in memory when one is given.

        ``reshape((5, 2, 3))`` or, as pycaffe has it, ``reshape(5, 2, 3)``.
        Raises ShapeError for a negative axis, more than 32 axes or more than 2^31 - 1 elements, TypeError for anything
        but integers.
        """
        sizes: tuple[Any, ...]
        if type(shape) is tuple and not more:
            sizes = shape  # the usual case, of every layer in every step
        elif isinstance(shape, Iterable) and not isinstance(shape, str) and not more:
            sizes = tuple(shape)
        else:
            sizes = (shape, *more)
        if channels_last is not None and channels_last != self.channels_last:
            self.channels_last = channels_last
            self._data_view = self._diff_view = None
        if sizes == self.shape:
            return
        try:
            sizes = tuple(map(operator.index, sizes))
        except TypeError:
            raise TypeError(f"a shape must be integers such as (5, 2, 3), got {sizes!r}") from None
        if min(sizes, default=0) < 0:
            raise ShapeError(f"a blob cannot have the shape {format_shape(sizes)}")
        if len(sizes) > MOST_AXES:
            raise ShapeError(f"a blob has up to {MOST_AXES} axes, as in Caffe; not {format_shape(sizes)}")
        if math.prod(sizes) > MOST_ELEMENTS:
            raise ShapeError(f"a blob of {format_shape(sizes)} = {math.prod(sizes):,} elements is larger than 2^31 - 1")
        self.shape = sizes
        self._data_view = self._diff_view = None

    @property
    def count(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def data(self) -> np.ndarray:
        view = self._data_view
        if view is None or self._data_from is not self._data.array:
            view = self._data_view = self._data.view(self.shape, self.dtype, self.channels_last)
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
            view = self._diff_view = self._diff.view(self.shape, self.dtype, self.channels_last)
            self._diff_from = self._diff.array
        if self._diff.cleared:
            self._diff.settle()
        return view

    @diff.setter
    def diff(self, value: np.ndarray) -> None:
        if value is not self._diff_view:
            self.diff[...] = value

    def diff_to_add_to(self) -> tuple[np.ndarray, bool]:
        """``diff``, and whether it counts as zero without being so: the caller then overwrites all of it."""
        cleared = self.take_cleared()
        return self.diff, cleared

    def take_cleared(self) -> bool:
        """Whether the gradient counts as zero without being so. The caller must overwrite all of it."""
        cleared, self._diff.cleared = self._diff.cleared, False
        return cleared

    def place(self, with_diff: bool) -> tuple[Any, ...]:
        """Where the data, and the gradient, lie in memory: while it is the same, so are ``data`` and ``diff``.

        Whoever compares two of them keeps what ``memory`` gives, since another array may come to lie where one was.
        """
        diff = id(self._diff.array) if with_diff else None
        return id(self._data.array), diff, self.shape, self.channels_last

    def memory(self) -> tuple[np.ndarray | None, np.ndarray | None]:
        """The arrays that hold data and gradient, as far as they were needed so far."""
        return self._data.array, self._diff.array

    def clear_diff(self) -> None:
        """Make the gradient zero, without touching its memory now."""
        self._diff.clear()

    def share_data(self, other: Blob) -> None:
        """Use the other blob's memory for data (the shapes may differ, the counts may not)."""
        self._data, self._data_view = other._data, None

    def share_diff(self, other: Blob) -> None:
        """Use the other blob's memory for the gradient."""
        self._diff, self._diff_view = other._diff, None

    def shares_data_with(self, other: Blob) -> bool:
        """Whether both blobs' data lies in the same memory."""
        return self._data is other._data

    def shares_diff_with(self, other: Blob) -> bool:
        """Whether both blobs' gradients lie in the same memory."""
        return self._diff is other._diff

    def divide(self, slices: Iterable[slice]) -> list[tuple[Memory, Memory]]:
        """Data and diff memory of parts of this flat blob, for other blobs to live in."""
        made = [(Memory(self.data[where]), Memory(self.diff[where])) for where in slices]
        self._diff.parts = tuple(diff for _, diff in made)
        return made

    def place_in(self, data: Memory, diff: Memory) -> None:
        """Live in memory of ``count`` elements, such as a slice of a net's contiguous parameters."""
        self._data, self._diff = data, diff
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
