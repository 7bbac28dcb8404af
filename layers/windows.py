"""Sliding windows in any number of dimensions: their arithmetic, im2col and col2im."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

import numpy as np

from ..net.declare import Declared, param
from ..net.errors import ShapeError


def check_pairs(p: Declared, alone: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Problems with kernel_h/kernel_w and their like: beside the plain form, or one without the other.

    In a pair that is ``alone`` one may be left out.
    """
    for stem, plain in (("kernel", "kernel_size"), ("stride", "stride"), ("pad", "pad")):
        h, w = f"{stem}_h", f"{stem}_w"
        given = [key for key in (h, w) if getattr(p, key) is not None]
        if given and getattr(p, plain) not in (None, ()):
            yield given[0], f"cannot stand beside `{plain}`; write one form"
        elif len(given) == 1 and stem not in alone:
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


class Windows:
    """The windows of one geometry over N x C x (spatial axes) arrays.

    ``col`` arrays are C x (kernel axes) x N x (output axes): one column for each window.
    """

    def __init__(self, sizes, kernel, stride, pad, dilation):
        self.sizes, self.kernel, self.stride, self.pad, self.dilation = sizes, kernel, stride, pad, dilation
        self.output = tuple(map(output_size, sizes, kernel, stride, pad, dilation))
        self.padded = tuple(size + 2 * p for size, p in zip(sizes, pad, strict=True))
        spans = [slice(p, p + size) for size, p in zip(sizes, pad, strict=True)]
        self.inside = (slice(None), slice(None), *spans)

    def col_shape(self, channels: int, count: int) -> tuple[int, ...]:
        return (channels, *self.kernel, count, *self.output)

    def im2col(self, x: np.ndarray, padded: np.ndarray, col: np.ndarray) -> None:
        """Copy every window of x into ``col``. ``padded`` is scratch of N x C x padded sizes."""
        if any(self.pad):
            padded[...] = 0
            padded[self.inside] = x
            x = padded
        n, c, *steps = x.strides
        across = [step * d for step, d in zip(steps, self.dilation, strict=True)]
        # with one window the stride has no meaning, and may be beyond what numpy can count
        along = [step * s if n > 1 else 0 for step, s, n in zip(steps, self.stride, self.output, strict=True)]
        view = np.lib.stride_tricks.as_strided(x, col.shape, (c, *across, n, *along), writeable=False)
        np.copyto(col, view)

    def col2im(self, col: np.ndarray, padded: np.ndarray, dx: np.ndarray) -> None:
        """Add every column back to where its window was; overwrites dx."""
        padded[...] = 0
        channels_first = padded.swapaxes(0, 1)
        for offset in itertools.product(*map(range, self.kernel)):
            where = tuple(
                slice(o * d, o * d + s * (n - 1) + 1, s)
                for o, d, s, n in zip(offset, self.dilation, self.stride, self.output, strict=True)
            )
            column: tuple = (slice(None), *offset)
            channels_first[:, :, *where] += col[column]
        dx[...] = padded[self.inside]
