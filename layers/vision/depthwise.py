"""Windows of a convolution that takes every channel alone."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...compute.calls import Calls
from ...compute.parallel import scratch
from .windows import Windows

SHORTEST_RUN = 16  # channels: with fewer, and a stride, too little lies together


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

    def in_runs(self, x: np.ndarray, rows: slice, kept: dict) -> tuple[np.ndarray, Calls]:
        """What each kernel element is multiplied by, as (places) x (kernel axes) x run, and the calls that bring it."""
        source, calls = self.padded(x, rows, kept)
        *places, run = self.shape_in_runs(len(x), rows)
        n, c, *s = source.strides
        along = [n, *(step * size for step, size in zip(self.step, s, strict=True))]
        over = [d * size for d, size in zip(self.dilation, s, strict=True)]
        return as_strided(source, (*places, *self.kernel, run), (*along[: len(places)], *over, c)), calls

    def repeated(self, values: np.ndarray, run: int, name: str) -> tuple[np.ndarray, Calls]:
        """``values`` (any axes x C) repeated along a run."""
        row = scratch(name, (*values.shape[:-1], run // self.C, self.C), values.dtype)
        return row.reshape(*values.shape[:-1], run), [(np.copyto, (row, values[..., None, :]))]

    def factors(self, W: np.ndarray) -> np.ndarray:
        """W or dW, G x 1 x 1 x K, as (kernel axes) x C."""
        return W[:, 0, 0].reshape(self.C, *self.kernel).transpose(*range(1, len(self.kernel) + 1), 0)

    def correlate(self, x, rows, W, b, y, kept):
        values, calls = self.in_runs(x, rows, kept)
        shape = self.shape_in_runs(len(x), rows)
        factors, more = self.repeated(self.factors(W), shape[-1], "factors")
        calls += more
        direct = _whole_runs(y, shape)
        out = scratch("product", shape, x.dtype) if direct is None else direct
        at, kernel, run = self.labels(len(shape) - 1)
        calls.append((partial(np.einsum, values, at + kernel + run, factors, kernel + run, at + run, out=out), ()))
        if b is not None:
            offsets, more = self.repeated(b.reshape(-1), shape[-1], "offsets")
            calls += [*more, (np.add, (out, offsets, out))]
        if direct is None:
            calls.append((np.copyto, (_channels_last(y), out.reshape(_channels_last(y).shape))))
        return calls

    def labels(self, places: int) -> tuple[list[int], list[int], list[int]]:
        """Names of axes for einsum: those of places, of the kernel, of the run."""
        axes = len(self.kernel)
        return list(range(places)), list(range(places, places + axes)), [places + axes]

    def upstream(self, dy):
        dy = _channels_last(dy)
        if dy.flags.c_contiguous:
            return dy.reshape(1, -1, self.C), []
        room = scratch("rows", dy.shape, dy.dtype)
        return room.reshape(1, -1, self.C), [(np.copyto, (room, dy))]

    def weight_gradient(self, x, rows, dy, total, begins, kept):
        values, calls = self.in_runs(x, rows, kept)
        shape = self.shape_in_runs(len(x), rows)
        at, _, run = self.labels(len(shape) - 1)
        sums = scratch("dW", (*self.kernel, shape[-1] // self.C, self.C), x.dtype)
        for k in np.ndindex(*self.kernel):
            arguments = (values[(slice(None),) * len(at) + k], at + run, dy.reshape(shape), at + run, run)
            calls.append((partial(np.einsum, *arguments, out=sums[k].reshape(-1)), ()))
        factors = self.factors(total)
        if begins:
            return [*calls, (np.add.reduce, (sums, -2, None, factors))]
        room = scratch("dW of a chunk", factors.shape, x.dtype)
        return [*calls, (np.add.reduce, (sums, -2, None, room)), (np.add, (factors, room, factors))]

    def fold(self, dy, W, rows, total):
        places = (len(total), rows.stop - rows.start, *self.output[1:], self.C)
        dy, factors = dy.reshape(places), self.factors(W)
        product = scratch("product", places, dy.dtype)
        calls: Calls = []
        for k in np.ndindex(*self.kernel):
            into = _channels_last(self.read_by(k, rows, total))
            calls += [(np.multiply, (dy, factors[k], product)), (np.add, (into, product, into))]
        return calls


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
