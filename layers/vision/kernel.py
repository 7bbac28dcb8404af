"""Kernel, stride, padding and dilation: how a spec writes them, and the sizes they give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from ...net.blob import MOST_ELEMENTS
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape

PAIRS = (
    ("kernel_size", ("kernel_h", "kernel_w")),
    ("stride", ("stride_h", "stride_w")),
    ("pad", ("pad_h", "pad_w")),
)  # forms that exclude each other


def check_pairs(p: Declared, alone: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Problems with kernel_h/kernel_w and the like: one without the other.

    In a pair that is ``alone`` one may be left out.
    """
    for stem in ("kernel", "stride", "pad"):
        h, w = f"{stem}_h", f"{stem}_w"
        given = [key for key in (h, w) if getattr(p, key) is not None]
        if len(given) == 1 and stem not in alone:
            yield given[0], f"needs `{w if given[0] == h else h}` too"


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


def padded_words(size: int, pad: int, after: int | None = None) -> str:
    """``8``, ``8 + 2 x 1 = 10``, or ``0 + 8 + 1 = 9`` where the pad after the image is another, for messages."""
    if after is not None and after != pad:
        return f"{pad} + {size} + {after} = {pad + size + after}"
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
