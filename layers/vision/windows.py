"""Sliding windows in any number of dimensions: their arithmetic, im2col and col2im."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...compute.calls import Calls
from ...compute.memory import Memory
from ...compute.parallel import scratch
from ...net.blob import MOST_ELEMENTS
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape

CHUNK_BYTES = 1 << 20  # windows of one chunk: they are still in the cache when they are multiplied
ROWS_OF_PRODUCT = 512  # a product of fewer rows spends its time on packing
SHORTEST_PRODUCT = 48  # a product of fewer columns is dearer than the copying it saves


PAIRS = (
    ("kernel_size", ("kernel_h", "kernel_w")),
    ("stride", ("stride_h", "stride_w")),
    ("pad", ("pad_h", "pad_w")),
)  # forms that exclude each other


def check_pairs(p: Declared, alone: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Problems with kernel_h/kernel_w and their like: one without the other.

    In a pair that is ``alone`` one may be left out.
    """
    for stem in ("kernel", "stride", "pad"):
        h, w = f"{stem}_h", f"{stem}_w"
        given = [key for key in (h, w) if getattr(p, key) is not None]
        if len(given) == 1 and stem not in alone:
            yield given[0], f"needs `{w if given[0] == h else h}` beside it"


class KernelParameters(Declared):
    """Kernel, stride and padding, as Caffe's convolution_param writes them."""

    kernel_size: tuple[int, ...] = param(default=(), minimum=1, doc="kernel: one number, or one for each spatial axis")
    stride: tuple[int, ...] = param(default=(), minimum=1, doc="step between windows; 1 when left out")
    pad: tuple[int, ...] = param(default=(), minimum=0, doc="zeros added on both sides; 0 when left out")
    dilation: tuple[int, ...] = param(default=(), minimum=1, doc="step between kernel elements; 1 when left out")
    kernel_h: int | None = param(default=None, minimum=1, doc="kernel height, with kernel_w instead of kernel_size")
    kernel_w: int | None = param(default=None, minimum=1, doc="kernel width")
    stride_h: int | None = param(default=None, minimum=1, doc="vertical stride, with stride_w instead of stride")
    stride_w: int | None = param(default=None, minimum=1, doc="horizontal stride")
    pad_h: int | None = param(default=None, minimum=0, doc="vertical padding, with pad_w instead of pad")
    pad_w: int | None = param(default=None, minimum=0, doc="horizontal padding")

    exclusive = PAIRS

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.kernel_h is None and self.kernel_w is None and not self.kernel_size:
            yield "kernel", "needs `kernel_size`, or `kernel_h` and `kernel_w`"
        yield from check_pairs(self, alone=("pad",))

    def sizes(self, key: str, axes: int, default: int = 1) -> tuple[int, ...]:
        """kernel_size, stride, pad or dilation for each of ``axes`` spatial axes. Raises ShapeError."""
        given = getattr(self, key)
        stem = key.removesuffix("_size")
        pair = (getattr(self, f"{stem}_h", None), getattr(self, f"{stem}_w", None))
        if pair != (None, None):
            if axes != 2:
                raise ShapeError(f"{stem}_h and {stem}_w need 2 spatial axes, the bottom has {axes}", key=f"{stem}_h")
            return tuple(default if size is None else size for size in pair)
        if len(given) not in (0, 1, axes):
            raise ShapeError(f"{key} has {len(given)} numbers, the bottom has {axes} spatial axes", key=key)
        return given if len(given) == axes else tuple(given or (default,)) * axes

    def geometry(self, axes: int) -> tuple[tuple[int, ...], ...]:
        """Kernel, stride, pad and dilation for each of ``axes`` spatial axes. Raises ShapeError."""
        kernel, dilation = self.sizes("kernel_size", axes), self.sizes("dilation", axes)
        # between the elements of a kernel of one there is no step, and numpy cannot count every one that was given
        dilation = tuple(1 if k == 1 else d for k, d in zip(kernel, dilation, strict=True))
        return kernel, self.sizes("stride", axes), self.sizes("pad", axes, 0), dilation


def padded_words(size: int, pad: int) -> str:
    """``8``, or ``8 + 2 x 1 = 10``, for messages."""
    return f"{size} + 2 x {pad} = {size + 2 * pad}" if pad else str(size)


def output_size(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Number of windows that fit: floor((size + 2 pad - extent) / stride) + 1, extent = dilation (kernel - 1) + 1.

    Raises ShapeError when not one fits.
    """
    extent = dilation * (kernel - 1) + 1
    if extent > size + 2 * pad:
        padded = padded_words(size, pad)
        spread = f" (extent {extent} with dilation {dilation})" if dilation > 1 else ""
        need = -(-(extent - size) // 2)
        raise ShapeError(
            f"kernel {kernel}{spread} does not fit into {padded}",
            key=("kernel_size", "kernel_h", "kernel_w"),
            hint=f"use kernel_size <= {(size + 2 * pad - 1) // dilation + 1}, or pad: {need}",
        )
    return (size + 2 * pad - extent) // stride + 1


def padded_sizes(channels: int, sizes: tuple[int, ...], pad: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes of an image with its padding, which is laid out in memory. Raises ShapeError for one too large for a blob,
    however few windows it has."""
    padded = tuple(size + 2 * p for size, p in zip(sizes, pad, strict=True))
    if any(pad) and channels * math.prod(padded) > MOST_ELEMENTS:
        raise ShapeError(
            f"with its padding an image is {format_shape((channels, *padded))} = {channels * math.prod(padded):,} "
            "elements, larger than 2^31 - 1",
            key=("pad", "pad_h", "pad_w"),
        )
    return padded


class Windows:
    """The windows of a convolution over C channels in G groups, laid out for matrix products.

    A window's values lie side by side as kernel axes x channels of a group: with channels-last memory, the innermost
    kernel axis and the channels are one run to copy. Where the windows of neighbouring rows overlap, rows are copied
    once, and the first kernel axis becomes P products, each of the rows shifted by one, which are added: fewer bytes
    by the kernel's height. ``K`` is the length of what is multiplied at a time, ``P`` the number of products.

    Few channels in plain memory (``by_channel``) make longer runs along the last spatial axis; then each value of a
    window has a row of its own, and the product reads it transposed.
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
        self.inside = (..., *(slice(p, p + size) for size, p in zip(sizes, pad, strict=True)))
        self.across = self.L // self.output[0] if self.L else 0  # windows of one output row
        # with one window the stride has no meaning, and may be beyond what numpy can count
        self.step = tuple(s if n > 1 else 0 for s, n in zip(stride, self.output, strict=True))

    def rows_read(self, rows: int) -> int:
        """Rows of the padded input that so many output rows look at."""
        return (rows - 1) * self.step[0] + self.dilation[0] * (self.kernel[0] - 1) + 1

    def buffer_rows(self, rows: int) -> int:
        """Rows of the buffer for so many output rows."""
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

    def padded(self, x: np.ndarray, rows: slice, kept: dict) -> tuple[np.ndarray, Calls]:
        """The rows of x (n x C x spatial axes) that these output rows look at, with their zeros around, and the calls
        that bring them there. ``kept`` holds the memory, zeros included, from one chunk to the next."""
        first = rows.start * self.step[0] - self.pad[0]
        count = self.rows_read(rows.stop - rows.start)
        if not any(self.pad) and (self.channels_last or self.by_channel):
            return x[:, :, first : first + count], []
        image = range(max(0, -first), min(count, self.sizes[0] - first))  # none where all rows lie in the padding
        shape = (len(x), self.C, count, *self.padded_sizes[1:])
        key = (shape, image)
        if key not in kept:
            kept[key] = Memory().view(shape, x.dtype, channels_last=not self.by_channel)
        if not image:
            return kept[key], []
        into = kept[key][:, :, image.start : image.stop, *self.inside[2:]]
        return kept[key], [(np.copyto, (into, x[:, :, first + image.start : first + image.stop]))]

    def unfold(self, x: np.ndarray, rows: slice, kept: dict) -> tuple[np.ndarray, Calls]:
        """The windows of these output rows as G x P x R x K matrices, R in the order of ``in_rows``, and the calls
        that fill them."""
        source, calls = self.padded(x, rows, kept)
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
                return direct[:, None], calls
        places, shift = math.prod(at), self.dilation[0] * len(x) * self.across
        R = count * len(x) * self.across
        if self.by_channel:
            axes = len(self.inner) + 1
            view = view.transpose(0, *range(view.ndim - axes, view.ndim), *range(1, view.ndim - axes))
            strides = (self.K * places, shift, 1, places)
        else:
            strides = (self.K * places, shift * self.K, self.K, 1)
        room = scratch("windows", view.shape, x.dtype)
        calls.append((np.copyto, (room, view)))
        return as_strided(room, (self.G, self.P, R, self.K), [x.itemsize * size for size in strides]), calls

    def correlate(self, x, rows: slice, W, b, y, kept: dict) -> Calls:
        """The calls for y = b + W col(x): x and y with the examples of a chunk, y with its output rows, W as
        G x P x M/G x K."""
        windows, calls = self.unfold(x, rows, kept)
        W = W.swapaxes(2, 3)
        bias = None if b is None else b.reshape(self.G, *[1] * (len(self.output) + 1), -1)
        out = self.in_rows(y)
        if self.P == 1 and (total := matrices(out)) is not None:
            calls.append((np.matmul, (windows[:, 0], W[:, 0], total)))
            return calls if bias is None else [*calls, (np.add, (out, bias, out))]
        product = scratch("product", (*windows.shape[:3], W.shape[3]), x.dtype)
        calls.append((np.matmul, (windows, W, product)))
        calls += [(np.add, (product[:, 0], product[:, p], product[:, 0])) for p in range(1, self.P)]
        total = product[:, 0].reshape(out.shape)
        calls.append((np.copyto, (out, total)) if bias is None else (np.add, (total, bias, out)))
        return calls

    def upstream(self, dy: np.ndarray) -> tuple[np.ndarray, Calls]:
        """dy of some rows as matrices, G x R x M/G, and the calls that bring it there."""
        return as_matrices(self.in_rows(dy))

    def weight_gradient(self, x, rows: slice, dy, total, begins: bool, kept: dict) -> Calls:
        """The calls for total += dyᵀ col(x), or total = dyᵀ col(x) where it begins; ``total`` is G x P x M/G x K."""
        windows, calls = self.unfold(x, rows, kept)
        return calls + sum_up(dy[:, None].swapaxes(2, 3), windows, total, scratch("dW", total.shape, x.dtype), begins)

    def fold(self, dy: np.ndarray, W: np.ndarray, rows: slice, total: np.ndarray) -> Calls:
        """The other way: multiply dy (G x R x M/G) by W (G x P x M/G x K) and add every window of the product to
        where ``unfold`` took it from. ``total`` is the padded input."""
        count, n = rows.stop - rows.start, total.shape[0]
        deep = self.buffer_rows(count)
        room = scratch("windows", (self.G, deep, n * self.across * self.K), dy.dtype)
        R = count * n * self.across
        calls: Calls = []
        if self.P == 1:
            calls.append((np.matmul, (dy, W[:, 0], room.reshape(self.G, R, self.K))))
        else:
            calls.append((room.fill, (0,)))
            product = scratch("product of a row", (self.G, R, self.K), dy.dtype)
            for p in range(self.P):
                into = room[:, p * self.dilation[0] : p * self.dilation[0] + count]
                calls.append((np.matmul, (dy, W[:, p], product)))
                calls.append((np.add, (into, product.reshape(into.shape), into)))
        windows = room.reshape(self.G, *self.places(n, deep), *self.inner, self.C // self.G)
        for offset in itertools.product(*map(range, self.inner)):
            into = self.in_rows(self.read_by(offset, rows, total))
            element: tuple = (..., *offset, slice(None))
            calls.append((np.add, (into, windows[element], into)))
        return calls

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


def sum_up(a: np.ndarray, b: np.ndarray, total: np.ndarray, room: np.ndarray, begins: bool) -> Calls:
    """The calls for total += a b; where it begins, total = a b."""
    if begins:
        return [(np.matmul, (a, b, total))]
    return [(np.matmul, (a, b, room)), (np.add, (total, room, total))]


def as_matrices(array: np.ndarray) -> tuple[np.ndarray, Calls]:
    """G x (places) x M as G x R x M, and the calls that copy it to scratch memory where it must be."""
    if (direct := matrices(array)) is not None:
        return direct, []
    room = scratch("rows", array.shape, array.dtype)
    return room.reshape(len(array), -1, array.shape[-1]), [(np.copyto, (room, array))]


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
