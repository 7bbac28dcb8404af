"""Windows of a convolution that takes every channel separately."""

from __future__ import annotations

import math

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...compute.parallel import scratch
from ...compute.prepared import Calls
from .windows import Windows

SHORTEST_RUN = 16  # channels: with fewer, and a stride, too little is contiguous


class Depthwise(Windows):
    """Windows where each group is one channel and has one output: products of numbers, not of matrices.

    Channels lie last in memory, and a kernel element is one factor for each. With stride 1 a whole row of places is
    one run of memory, multiplied by the factors repeated along it. numpy's einsum multiplies and adds in one pass.
    """

    def __init__(self, *geometry):
        super().__init__(*geometry)
        self.by_channel, self.P, self.inner, self.K = False, 1, self.kernel, math.prod(self.kernel)

    @staticmethod
    def serves(channels: int, outputs: int, group: int, stride: tuple[int, ...]) -> bool:
        return 1 < group == channels == outputs and (stride[-1] == 1 or channels >= SHORTEST_RUN)

    def shape_in_runs(self, examples: int, rows: slice) -> tuple[int, ...]:
        """Places of these output rows, and the run of values that lie together."""
        places = (examples, rows.stop - rows.start, *self.output[1:])
        return (*places[:-1], places[-1] * self.C) if self.step[-1] < 2 else (*places, self.C)

    def in_runs(self, do: Calls, x: np.ndarray, rows: slice) -> np.ndarray:
        """What each kernel element is multiplied by, as (places) x (kernel axes) x run."""
        source = self.padded(do, x, rows)
        *places, run = self.shape_in_runs(len(x), rows)
        n, c, *s = source.strides
        along = [n, *(step * size for step, size in zip(self.step, s, strict=True))]
        over = [d * size for d, size in zip(self.dilation, s, strict=True)]
        return as_strided(source, (*places, *self.kernel, run), (*along[: len(places)], *over, c))

    def repeated(self, do: Calls, values: np.ndarray, run: int, name: str) -> np.ndarray:
        """``values`` (any axes x C) repeated along a run."""
        row = scratch(name, (*values.shape[:-1], run // self.C, self.C), values.dtype)
        do(np.copyto, row, values[..., None, :])
        return row.reshape(*values.shape[:-1], run)

    def factors(self, W: np.ndarray) -> np.ndarray:
        """W or dW, G x 1 x 1 x K, as (kernel axes) x C."""
        return W[:, 0, 0].reshape(self.C, *self.kernel).transpose(*range(1, len(self.kernel) + 1), 0)

    def correlate(self, do, x, rows, W, b, y):
        values = self.in_runs(do, x, rows)
        shape = self.shape_in_runs(len(x), rows)
        factors = self.repeated(do, self.factors(W), shape[-1], "factors")
        direct = _whole_runs(y, shape)
        out = scratch("product", shape, x.dtype) if direct is None else direct
        places, kernel, run = self.axes(len(shape) - 1)
        do(np.einsum, values, places + kernel + run, factors, kernel + run, places + run, out=out)
        if b is not None:
            do(np.add, out, self.repeated(do, b.reshape(-1), shape[-1], "offsets"), out)
        if direct is None:
            do(np.copyto, _channels_last(y), out.reshape(_channels_last(y).shape))

    def axes(self, places: int) -> tuple[list[int], list[int], list[int]]:
        """What einsum calls the axes: those of places, of the kernel, of the run."""
        end = places + len(self.kernel)
        return list(range(places)), list(range(places, end)), [end]

    def upstream(self, do, dy):
        dy = _channels_last(dy)
        if dy.flags.c_contiguous:
            return dy.reshape(1, -1, self.C)
        room = scratch("rows", dy.shape, dy.dtype)
        do(np.copyto, room, dy)
        return room.reshape(1, -1, self.C)

    def weight_gradient(self, do, x, rows, dy, total, begins):
        values = self.in_runs(do, x, rows)
        shape = self.shape_in_runs(len(x), rows)
        dy = dy.reshape(shape)
        places, _, run = self.axes(len(shape) - 1)
        sums = scratch("dW", (*self.kernel, shape[-1] // self.C, self.C), x.dtype)
        for k in np.ndindex(*self.kernel):
            element = values[(slice(None),) * len(places) + k]
            do(np.einsum, element, places + run, dy, places + run, run, out=sums[k].reshape(-1))
        factors = self.factors(total)
        if begins:
            do(np.add.reduce, sums, -2, None, factors)
        else:
            room = scratch("dW of a chunk", factors.shape, x.dtype)
            do(np.add.reduce, sums, -2, None, room)
            do(np.add, factors, room, factors)

    def fold(self, do, dy, W, rows, total):
        places = (len(total), rows.stop - rows.start, *self.output[1:], self.C)
        dy, factors = dy.reshape(places), self.factors(W)
        product = scratch("product", places, dy.dtype)
        for k in np.ndindex(*self.kernel):
            into = _channels_last(self.read_by(k, rows, total))
            do(np.multiply, dy, factors[k], product)
            do(np.add, into, product, into)


def _channels_last(y: np.ndarray) -> np.ndarray:
    """n x M x (places) as n x (places) x M."""
    return y.transpose(0, *range(2, y.ndim), 1)


def _whole_runs(y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """n x M x (places) as (places) x run, where runs lie together in memory; else None."""
    y = _channels_last(y)
    if y.ndim > len(shape):
        if y.strides[-2:] != (y.shape[-1] * y.itemsize, y.itemsize):
            return None
        return as_strided(y, shape, (*y.strides[:-2], y.itemsize))
    return y if y.strides[-1] == y.itemsize else None
