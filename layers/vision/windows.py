"""Sliding windows in any number of dimensions, as matrices: im2col, col2im and the products between."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...compute.memory import Memory
from ...compute.parallel import scratch
from ...compute.prepared import Calls
from .kernel import output_size, padded_sizes

CHUNK_BYTES = 1 << 20  # windows of one chunk: they are still in the cache when they are multiplied
ROWS_OF_PRODUCT = 512  # a product of fewer rows spends its time on packing
SHORTEST_PRODUCT = 48  # a product of fewer columns costs more than the copying it saves


class Windows:
    """The windows of a convolution over C channels in G groups, laid out for matrix products.

    A window's values lie side by side as kernel axes x channels of a group: with channels-last memory, the innermost
    kernel axis and the channels are one run to copy. Where the windows of neighbouring rows overlap, rows are copied
    once, and the first kernel axis becomes P products, each of the rows shifted by one, which are added: fewer bytes
    by the kernel's height. ``K`` is the length of what is multiplied at a time, ``P`` the number of products.

    Few channels in plain memory (``by_channel``) make longer runs along the last spatial axis; then each value of a
    window has a row of its own, and the product reads it transposed.

    What takes ``do`` puts down the calls for what it says, for some examples and output rows, and returns the array
    that will hold the result.
    """

    def __init__(self, channels, group, sizes, kernel, stride, pad, dilation, channels_last):
        self.C, self.G = channels, group
        self.sizes, self.kernel, self.stride, self.pad, self.dilation = sizes, kernel, stride, pad, dilation
        self.output = tuple(map(output_size, sizes, kernel, stride, pad, dilation))
        self.channels_last = channels_last
        width = kernel[-1] * channels // group
        self.by_channel = not channels_last and stride[-1] == 1 and self.output[-1] > width
        rest = math.prod(kernel[1:]) * channels // group
        self.P = kernel[0] if kernel[0] > 1 and stride[0] == 1 and rest >= SHORTEST_PRODUCT else 1
        self.K = rest * kernel[0] // self.P
        self.inner = kernel[1:] if self.P > 1 else kernel  # the kernel axes inside K
        self.L = math.prod(self.output)
        self.padded_sizes = padded_sizes(channels, sizes, pad)
        self.inside: tuple[Any, ...] = (..., *(slice(p, p + size) for size, p in zip(sizes, pad, strict=True)))
        self.across = self.L // self.output[0] if self.L else 0  # windows of one output row
        # with one window the stride has no meaning, and may be beyond what numpy can count
        self.step = tuple(s if n > 1 else 0 for s, n in zip(stride, self.output, strict=True))

    def rows_read(self, rows: int) -> int:
        """Rows of the padded input that this many output rows look at."""
        return (rows - 1) * self.step[0] + self.dilation[0] * (self.kernel[0] - 1) + 1

    def buffer_rows(self, rows: int) -> int:
        """Rows of the buffer for this many output rows."""
        return rows + self.dilation[0] * (self.P - 1)

    def chunks(self, examples: int, itemsize: int) -> list[tuple[slice, slice]]:
        """Cut the work into (examples, output rows), by shapes alone: enough for a product to run at full speed, few
        enough for the buffer to stay in the cache. A large image is cut into bands of rows."""
        row = max(1, self.G * self.across * self.K * itemsize)
        image = row * self.buffer_rows(self.output[0])
        if image <= CHUNK_BYTES or self.L < ROWS_OF_PRODUCT:
            together = min(max(CHUNK_BYTES // image, -(-ROWS_OF_PRODUCT // max(1, self.L))), max(1, examples // 8))
            pieces = -(-examples // max(1, together))
            bands = 1
        else:
            pieces = examples
            bands = min(-(-image // CHUNK_BYTES), max(1, self.L // ROWS_OF_PRODUCT), self.output[0])
        height = self.output[0]
        return [
            (
                slice(i * examples // pieces, (i + 1) * examples // pieces),
                slice(j * height // bands, (j + 1) * height // bands),
            )
            for i in range(pieces)
            for j in range(bands)
        ]

    def padded(self, do: Calls, x: np.ndarray, rows: slice) -> np.ndarray:
        """The rows of x (n x C x spatial axes) that these output rows look at, with their zeros around, which are
        kept from one chunk to the next."""
        first = rows.start * self.step[0] - self.pad[0]
        count = self.rows_read(rows.stop - rows.start)
        if not any(self.pad) and (self.channels_last or self.by_channel):
            return x[:, :, first : first + count]
        image = range(max(0, -first), min(count, self.sizes[0] - first))  # none where all rows lie in the padding
        shape = (len(x), self.C, count, *self.padded_sizes[1:])
        room = do.keep(
            ("padded", shape, image), lambda: Memory().view(shape, x.dtype, channels_last=not self.by_channel)
        )
        if image:
            into: tuple[Any, ...] = (..., slice(image.start, image.stop), *self.inside[2:])
            do(np.copyto, room[into], x[:, :, first + image.start : first + image.stop])
        return room

    def unfold(self, do: Calls, x: np.ndarray, rows: slice) -> np.ndarray:
        """The windows of these output rows as G x P x R x K matrices, R in the order of ``in_rows``."""
        source = self.padded(do, x, rows)
        count = rows.stop - rows.start
        at = self.places(len(x), self.buffer_rows(count))
        per_group = self.C // self.G
        n, c, *s = source.strides
        along = [step * size for step, size in zip(self.step, s, strict=True)]
        over = [d * size for d, size in zip(self.dilation, s, strict=True)]
        first = (s[0], n) if self.P > 1 else (n, along[0])
        view = as_strided(
            source,
            (self.G, *at, *self.inner, per_group),
            (per_group * c, *first, *along[1:], *over[len(over) - len(self.inner) :], c),
        )
        if math.prod(self.kernel) == 1 and not self.by_channel:  # then x is its own windows, often
            direct = matrices(view.squeeze(tuple(range(1 + len(at), view.ndim - 1))))
            if direct is not None:
                return direct[:, None]
        places, shift = math.prod(at), self.dilation[0] * len(x) * self.across
        R = count * len(x) * self.across
        if self.by_channel:
            axes = len(self.inner) + 1
            view = view.transpose(0, *range(view.ndim - axes, view.ndim), *range(1, view.ndim - axes))
            strides = (self.K * places, shift, 1, places)
        else:
            strides = (self.K * places, shift * self.K, self.K, 1)
        room = scratch("windows", view.shape, x.dtype)
        do(np.copyto, room, view)
        return as_strided(room, (self.G, self.P, R, self.K), [x.itemsize * size for size in strides])

    def correlate(self, do: Calls, x: np.ndarray, rows: slice, W: np.ndarray, b: np.ndarray | None, y: np.ndarray):
        """y = b + W col(x): x and y with the examples of a chunk, y with its output rows, W as G x P x M/G x K."""
        windows, W = self.unfold(do, x, rows), W.swapaxes(2, 3)
        bias = None if b is None else b.reshape(self.G, *[1] * (len(self.output) + 1), -1)
        out = self.in_rows(y)
        if self.P == 1 and (total := matrices(out)) is not None:
            do(np.matmul, windows[:, 0], W[:, 0], total)
            if bias is not None:
                do(np.add, out, bias, out)
            return
        product = scratch("product", (*windows.shape[:3], W.shape[3]), x.dtype)
        do(np.matmul, windows, W, product)
        for p in range(1, self.P):
            do(np.add, product[:, 0], product[:, p], product[:, 0])
        total = product[:, 0].reshape(out.shape)
        if bias is None:
            do(np.copyto, out, total)
        else:
            do(np.add, total, bias, out)

    def upstream(self, do: Calls, dy: np.ndarray) -> np.ndarray:
        """dy of some rows as matrices, G x R x M/G."""
        return as_matrices(do, self.in_rows(dy))

    def weight_gradient(
        self, do: Calls, x: np.ndarray, rows: slice, dy: np.ndarray, total: np.ndarray, begins: bool
    ) -> None:
        """total += dyᵀ col(x), or total = dyᵀ col(x) where it begins; ``total`` is G x P x M/G x K."""
        sum_up(do, dy[:, None].swapaxes(2, 3), self.unfold(do, x, rows), total, begins, "dW")

    def fold(self, do: Calls, dy: np.ndarray, W: np.ndarray, rows: slice, total: np.ndarray) -> None:
        """The other way: multiply dy (G x R x M/G) by W (G x P x M/G x K) and add every window of the product to
        where ``unfold`` took it from. ``total`` is the padded input."""
        count, n = rows.stop - rows.start, total.shape[0]
        deep = self.buffer_rows(count)
        room = scratch("windows", (self.G, deep, n * self.across * self.K), dy.dtype)
        R = count * n * self.across
        if self.P == 1:
            do(np.matmul, dy, W[:, 0], room.reshape(self.G, R, self.K))
        else:
            do(room.fill, 0)
            product = scratch("product of a row", (self.G, R, self.K), dy.dtype)
            for p in range(self.P):
                into = room[:, p * self.dilation[0] : p * self.dilation[0] + count]
                do(np.matmul, dy, W[:, p], product)
                do(np.add, into, product.reshape(into.shape), into)
        windows = room.reshape(self.G, *self.places(n, deep), *self.inner, self.C // self.G)
        for offset in itertools.product(*map(range, self.inner)):
            into = self.in_rows(self.read_by(offset, rows, total))
            element: tuple = (..., *offset, slice(None))
            do(np.add, into, windows[element], into)

    def read_by(self, offset: tuple[int, ...], rows: slice, total: np.ndarray) -> np.ndarray:
        """What one kernel element reads of the padded input, for the windows of these output rows."""
        starts = [o * d for o, d in zip((0,) * (len(self.kernel) - len(offset)) + offset, self.dilation, strict=True)]
        starts[0] += rows.start * self.step[0]
        steps = (1 if self.P > 1 else self.step[0], *self.step[1:])
        sizes = (self.buffer_rows(rows.stop - rows.start), *self.output[1:])
        where = [
            slice(start, start + step * (size - 1) + 1, step or 1)
            for start, step, size in zip(starts, steps, sizes, strict=True)
        ]
        return total[:, :, *where]

    def places(self, examples: int, rows: int) -> tuple[int, ...]:
        """Shape of the places of windows: rows first where products are shifted by rows, else in y's own order."""
        return (rows, examples, *self.output[1:]) if self.P > 1 else (examples, rows, *self.output[1:])

    def in_rows(self, y: np.ndarray) -> np.ndarray:
        """n x M x (output axes) seen as G x (places) x M/G."""
        y = y.reshape(len(y), self.G, -1, *y.shape[2:])
        return y.transpose(1, *((3, 0) if self.P > 1 else (0, 3)), *range(4, y.ndim), 2)


def sum_up(do: Calls, a: np.ndarray, b: np.ndarray, total: np.ndarray, begins: bool, name: str) -> None:
    """total += a b, by way of scratch memory of that name; where it begins, total = a b."""
    if begins:
        do(np.matmul, a, b, total)
    else:
        room = scratch(name, total.shape, total.dtype)
        do(np.matmul, a, b, room)
        do(np.add, total, room, total)


def as_matrices(do: Calls, array: np.ndarray) -> np.ndarray:
    """G x (places) x M as G x R x M, copied to scratch memory where it must be."""
    if (direct := matrices(array)) is not None:
        return direct
    room = scratch("rows", array.shape, array.dtype)
    do(np.copyto, room, array)
    return room.reshape(len(array), -1, array.shape[-1])


def matrices(array: np.ndarray) -> np.ndarray | None:
    """G x (places) x M seen as G x R x M, where the places follow each other in memory; else None."""
    _, *places, _ = array.shape
    group, *steps, last = array.strides
    expected = steps[-1]
    for size, step in zip(reversed(places), reversed(steps), strict=True):
        if size > 1 and step != expected:
            return None
        expected *= size
    return as_strided(array, (len(array), math.prod(places), array.shape[-1]), (group, steps[-1], last))
