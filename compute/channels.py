"""Formulas with one value for each channel, such as its mean, and sums over everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .memory import memory_order
from .parallel import BLOCK, TASK, run, scratch

Term = np.ndarray | tuple[np.ndarray, np.ndarray]
SHORT = 32  # elements: numpy is slow on shorter rows
WIDTH = 1024  # elements of a row, where whole channels are put together to make one
BUFFER = 256  # elements: numpy copies what it repeats over rows that are shorter than its buffers, usually of 8192
FIRST = 16  # of so many elements one is enough to tell about where they lie
LONGEST_PRODUCT = 1024  # elements: BLAS adds one after the other, so longer sums are numpy's, which adds in pairs


class Channels:
    """Arrays that lie in memory as ``outer`` x ``channels`` x ``inner`` elements, seen as rows of one width.

    Where few elements of a channel lie together, a row is one or several times all channels and the values are in a
    row of the same width; else a row is the ``inner`` elements of one channel and the values are in a column.
    The cuts, and so the results, depend on the shape only.
    """

    def __init__(self, outer: int, channels: int, inner: int):
        self.outer, self.channels, self.inner = outer, channels, inner
        self.size = outer * channels * inner
        self.in_a_row = inner <= SHORT and outer > 1
        all_channels = max(1, channels * inner)
        self.repeats = max(1, min(outer, WIDTH // all_channels))
        self.width = all_channels * self.repeats if self.in_a_row else max(1, inner)
        self.rows = self.size // self.width
        self.step = max(1, BLOCK // self.width)  # rows of a block
        self.whole = -(-self.rows // self.step)  # blocks
        self.blocks = self.whole + (self.size > self.rows * self.width)  # and a last row that is not full

    @classmethod
    def of(cls, shape: Sequence[int], channels_last: bool) -> Channels:
        """The channels, axis 1, of an array of N x C x (places) in that order of memory."""
        examples, channels, places = shape[0], shape[1], math.prod(shape[2:])
        return cls(examples * places, channels, 1) if channels_last else cls(examples, channels, places)

    def spread(self, name: str, values: np.ndarray, dtype: Any) -> np.ndarray:
        """The channels' values as ``each`` takes them, in scratch memory of that name."""
        if self.in_a_row:
            row = scratch(name, (self.repeats, self.channels, self.inner), dtype)
            row[...] = values.reshape(self.channels, 1)
            return row.reshape(1, self.repeats * self.channels * self.inner)
        column = scratch(name, (self.outer, self.channels), dtype)
        column[...] = values.reshape(self.channels)
        return column.reshape(self.outer * self.channels, 1)

    def each(self, work: Callable[..., Any], arrays: Sequence[np.ndarray], values: Sequence[np.ndarray] = ()) -> None:
        """Call ``work`` with matching blocks of the arrays and of the spread values, on all threads."""
        self._blockwise(lambda block, pieces: work(*pieces), arrays, values)

    def sums(
        self,
        terms: Sequence[Callable[..., Term]],
        arrays: Sequence[np.ndarray],
        values: Sequence[np.ndarray] = (),
        then: Callable[..., Any] | None = None,
    ) -> np.ndarray:
        """Sums of each of the terms for each channel: terms x channels in float64, valid until the next call.

        A term gets blocks as ``work`` of ``each`` does, and returns the array to be summed, or two whose product is.
        A row, or a few hundred of them, is added up in the array's precision, and these sums in float64. ``then`` gets
        the same blocks when they have been summed, and may overwrite them.
        """
        parts = self._parts(len(terms))

        def add_up(block: int, pieces: list[np.ndarray]) -> None:
            for k, formula in enumerate(terms):
                term = formula(*pieces)
                self._keep(parts[k], block, self._sum(*term) if isinstance(term, tuple) else self._sum(term))
            if then is not None:
                then(*pieces)

        self._blockwise(add_up, arrays, values)
        return self._totals(parts)

    def moments(self, x: np.ndarray) -> np.ndarray:
        """Mean and variance, the mean of (x - μ)², of each channel: 2 x channels in float64.

        One pass over x. The n elements that are added up to one sum are taken about the mean of their first n / FIRST,
        s. Then Σ (x - μ)² = Σ (x - s)² - n (μ - s)², and since the mean of a share 1 / f of the elements is at most
        √f σ away from μ, whatever they are, the difference keeps all digits but a few. E[x²] - μ² may lose all.
        """
        starts, means, squares = self._parts(3)

        def about_a_start(block: int, pieces: list[np.ndarray]) -> None:
            (x,) = pieces
            few = max(1, x.shape[0 if self.in_a_row else 1] // FIRST)
            start = self._sum(x[:few] if self.in_a_row else x[:, :few])
            start /= few
            self._keep(starts, block, start)
            centered = scratch("centered", x.shape, x.dtype)
            np.subtract(x, start if self.in_a_row else start[:, None], out=centered)
            self._keep(means, block, self._sum(centered))
            self._keep(squares, block, self._sum(centered, centered, room=centered))

        self._blockwise(about_a_start, [x], ())
        counts: Any = self.inner
        if self.in_a_row:
            rows = [min(self.step, self.rows - block * self.step) for block in range(self.whole)]
            counts = np.array([*rows, 1][: self.blocks], np.float64)
            counts = counts.repeat(self.repeats).reshape(-1, 1, 1)
        size = self.outer * self.inner
        means /= counts
        squares -= means * means * counts
        means += starts
        mean = self._totals((means * counts)[None])[0] / size
        means -= mean.reshape(self.channels, 1) if self.in_a_row else mean
        if self.blocks > self.whole:  # where a last row has nothing
            self._flat(means)[-1, self.size - self.rows * self.width :] = 0
        squares += means * means * counts
        return np.stack([mean, self._totals(squares[None])[0] / size])

    def _parts(self, count: int) -> np.ndarray:
        """Room for partial sums."""
        lanes = (
            (self.blocks * self.repeats, self.channels, self.inner) if self.in_a_row else (self.outer, self.channels)
        )
        parts = scratch("parts of sums", (count, *lanes), np.float64)
        if not self.size:
            parts.fill(0)
        return parts

    def _flat(self, part: np.ndarray) -> np.ndarray:
        return part.reshape(self.blocks, self.width) if self.in_a_row else part.reshape(self.rows)

    def _keep(self, part: np.ndarray, block: int, sums: np.ndarray) -> None:
        """Write the sums of a block to where they belong."""
        flat = self._flat(part)
        if self.in_a_row:
            flat[block, : len(sums)] = sums
            flat[block, len(sums) :] = 0
        else:
            flat[block * self.step : block * self.step + len(sums)] = sums

    def _totals(self, parts: np.ndarray) -> np.ndarray:
        totals = scratch("sums", (len(parts), self.channels), np.float64)
        return np.add.reduce(parts, axis=(1, 3) if self.in_a_row else 1, out=totals)

    def _sum(self, block: np.ndarray, factor: np.ndarray | None = None, room: np.ndarray | None = None) -> np.ndarray:
        """Sums of a block, or of its product with another, down its columns or along its rows."""
        if self.in_a_row:
            if factor is not None:
                room = scratch("product", block.shape, block.dtype) if room is None else room
                block = np.multiply(block, factor, out=room)
            return _sums_of_columns(block)
        return _sums_of_rows(block) if factor is None else _sums_of_products(block, factor)

    def _blockwise(
        self,
        work: Callable[[int, list[np.ndarray]], None],
        arrays: Sequence[np.ndarray],
        values: Sequence[np.ndarray],
    ) -> None:
        flat = [memory_order(array) for array in arrays]
        tasks = max(1, min(self.blocks, 16, self.size // TASK))

        def some(task: int) -> None:
            before = np.setbufsize(BUFFER)
            try:
                take(task)
            finally:
                np.setbufsize(before)

        def take(task: int) -> None:
            for block in range(task * self.blocks // tasks, (task + 1) * self.blocks // tasks):
                first, last = block * self.step, min((block + 1) * self.step, self.rows)
                if block < self.whole:
                    cells, shape = slice(first * self.width, last * self.width), (last - first, self.width)
                else:
                    cells, shape = slice(self.rows * self.width, None), (1, self.size - self.rows * self.width)
                beside = (value[:, : shape[1]] if self.in_a_row else value[first:last] for value in values)
                work(block, [*(array[cells].reshape(shape) for array in flat), *beside])

        run(some, tasks)


def add_rounded(total: np.ndarray, out: np.ndarray) -> None:
    """out += total, which is in double precision, as many values, and rounded before it is added."""
    rounded = scratch("rounded", out.shape, out.dtype)
    np.copyto(rounded, total.reshape(out.shape))
    out += rounded


def _sums_of_columns(block: np.ndarray) -> np.ndarray:
    ones = np.ones((1, len(block)), block.dtype)
    return np.matmul(ones, block, out=scratch("sums of a block", (1, block.shape[1]), block.dtype))[0]


def _sums_of_rows(block: np.ndarray) -> np.ndarray:
    result = scratch("sums of a block", (len(block),), block.dtype)
    if 1 < block.shape[1] <= LONGEST_PRODUCT:
        return np.matmul(block, np.ones(block.shape[1], block.dtype), out=result)
    return np.add.reduce(block, axis=1, out=result)


def _sums_of_products(block: np.ndarray, factor: np.ndarray) -> np.ndarray:
    result = np.vecdot(block[:, :LONGEST_PRODUCT], factor[:, :LONGEST_PRODUCT])
    for start in range(LONGEST_PRODUCT, block.shape[1], LONGEST_PRODUCT):
        piece = slice(start, start + LONGEST_PRODUCT)
        result = result + np.vecdot(block[:, piece], factor[:, piece])
    return result
