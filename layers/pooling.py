"""Pooling: the maximum or the mean of windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ..net.declare import Declared, param
from ..net.errors import ShapeError, format_shape
from ..net.registry import register
from .layer import Example, Layer
from .windows import check_pairs, padded_words


class PoolingParameters(Declared):
    """Caffe's pooling_param."""

    pool: Literal["MAX", "AVE"] = param(default="MAX", doc="largest value, or mean")
    kernel_size: int | None = param(default=None, minimum=1, doc="side of a window")
    kernel_h: int | None = param(default=None, minimum=1, doc="height, with kernel_w instead of kernel_size")
    kernel_w: int | None = param(default=None, minimum=1, doc="width")
    stride: int | None = param(default=None, minimum=1, doc="step between windows; 1 when left out")
    stride_h: int | None = param(default=None, minimum=1, doc="vertical step")
    stride_w: int | None = param(default=None, minimum=1, doc="horizontal step")
    pad: int | None = param(default=None, minimum=0, doc="border on all sides; 0 when left out")
    pad_h: int | None = param(default=None, minimum=0, doc="border above and below")
    pad_w: int | None = param(default=None, minimum=0, doc="border left and right")
    global_pooling: bool = param(default=False, doc="one window over the whole image")
    round_mode: Literal["CEIL", "FLOOR"] = param(default="CEIL", doc="CEIL: a last window may hang over the end")
    engine: Literal["DEFAULT", "CAFFE", "CUDNN"] = param(default="DEFAULT", doc="accepted, without effect")

    def validate(self) -> Iterable[tuple[str, str]]:
        yield from check_pairs(self)
        kernel = self.pair("kernel_size", None)
        if self.global_pooling:
            if kernel != (None, None):
                yield "global_pooling", "takes the whole image; leave the kernel out"
            if self.pair("pad", 0) != (0, 0) or self.pair("stride", 1) != (1, 1):
                yield "global_pooling", "needs pad 0 and stride 1"
        elif kernel == (None, None):
            yield "kernel", "needs `kernel_size`, or `kernel_h` and `kernel_w`, or `global_pooling: true`"
        elif None not in kernel and any(p >= k for p, k in zip(self.pair("pad", 0), kernel, strict=True)):
            pads, kernels = (" x ".join(map(str, dict.fromkeys(pair))) for pair in (self.pair("pad", 0), kernel))
            yield "pad", f"must be smaller than the kernel, got {pads} and {kernels}"

    def pair(self, key: str, default: int | None) -> tuple:
        """(vertical, horizontal) of kernel_size, stride or pad."""
        stem = key.removesuffix("_size")
        plain = getattr(self, key)
        pair = (getattr(self, f"{stem}_h"), getattr(self, f"{stem}_w"))
        return tuple(
            (plain if size is None else size) if plain is not None or size is not None else default for size in pair
        )


@register
class Pooling(Layer):
    """MAX: y = the largest x of each window. AVE: y = Σ x of the window / its size.

    bottom[0]: x, N x C x H x W.    top[0]: y, N x C x H' x W'.    top[1], MAX only: where the maximum was, as h·W + w.
    H' = ceil((H + 2 pad - kernel) / stride) + 1 (round_mode FLOOR: floor), without a last window that would begin
    beyond the image and its upper border. AVE divides by the window cut to the padded image, so zeros of the border
    count and what hangs over it does not. MAX ignores the border; of equal values the first wins.
    Backward: MAX gives dy to the place of the maximum; AVE spreads dy / size over the window.
    Errors: a kernel larger than the padded image with FLOOR; not 4 axes.
    Source: Caffe's Pooling; there a last window can lie wholly outside the image, which cannot happen here.
    """

    Parameters = PoolingParameters
    num_tops = (1, 2)
    backward_reads = ()
    examples = (
        Example([(2, 3, 5, 5)], {"kernel_size": 3, "stride": 2}),
        Example([(2, 2, 6, 7)], {"pool": "AVE", "kernel_size": 3, "stride": 2}),
        Example(
            [(2, 2, 6, 5)], {"kernel_h": 3, "kernel_w": 2, "stride_h": 2, "stride_w": 1, "pad_h": 1, "pad_w": 0}, tops=2
        ),
        Example([(2, 2, 7, 6)], {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1}),
        Example([(2, 3, 4, 5)], {"pool": "AVE", "global_pooling": True}),
        Example([(2, 3, 4, 5)], {"global_pooling": True}),
        Example([(2, 2, 6, 6)], {"kernel_size": 3, "stride": 2, "round_mode": "FLOOR"}),
        Example([(1, 2, 5, 5)], {"kernel_size": 1, "stride": 2}),
    )

    def setup(self, bottom, top):
        if len(bottom[0].shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(bottom[0].shape)}")
        if len(top) == 2 and self.p.pool != "MAX":
            raise ShapeError("only MAX has a second top (where each maximum was)", key="top")

    def reshape(self, bottom, top):
        sizes = bottom[0].shape[2:]
        if len(bottom[0].shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(bottom[0].shape)}")
        self.kernel = sizes if self.p.global_pooling else self.p.pair("kernel_size", None)
        self.stride, self.pad = self.p.pair("stride", 1), self.p.pair("pad", 0)
        self.output = tuple(map(self._output_size, sizes, self.kernel, self.stride, self.pad))
        # A kernel may be larger than the image; no window has an element inside beyond this reach.
        self.reach = tuple(min(k, size + p) for k, size, p in zip(self.kernel, sizes, self.pad, strict=True))
        self.windows = [self._place(i, j, sizes) for i in range(self.reach[0]) for j in range(self.reach[1])]
        for blob in top:
            blob.reshape((*bottom[0].shape[:2], *self.output))
        if self.p.pool == "AVE":
            heights, widths = map(self._extents, sizes, self.kernel, self.stride, self.pad, self.output)
            self.window_size = np.outer(heights, widths).astype(self.dtype)

    def _output_size(self, size, kernel, stride, pad):
        span = size + 2 * pad - kernel
        floor = self.p.round_mode == "FLOOR"
        if size < 1 or (span < 0 and (floor or -span >= stride)):
            key = ("kernel_size", "kernel_h", "kernel_w")
            raise ShapeError(f"kernel {kernel} does not fit into {padded_words(size, pad)}", key=key)
        count = (span // stride if floor else -(-span // stride)) + 1
        return count - 1 if count > 1 and (count - 1) * stride >= size + pad else count

    @staticmethod
    def _extents(size, kernel, stride, pad, output):
        """Sizes of the windows along one axis, cut to the padded image."""
        start = np.arange(output) * stride - pad
        return np.minimum(start + kernel, size + pad) - start

    def _place(self, i, j, sizes):
        """For element (i, j) of every window: which outputs have it inside the image, and where it lies there."""
        outputs, inputs = [], []
        for offset, size, stride, pad, output in zip((i, j), sizes, self.stride, self.pad, self.output, strict=True):
            first = max(0, -(-(pad - offset) // stride))
            last = min(output, (size - 1 + pad - offset) // stride + 1)
            start = first * stride + offset - pad
            outputs.append(slice(first, max(first, last)))
            inputs.append(slice(start, start + max(0, last - first - 1) * stride + (last > first), stride))
        return (..., *outputs), (..., *inputs)

    def Forward_cpu(self, bottom, top):
        x, y = bottom[0].data, top[0].data
        if self.p.pool == "AVE":
            y[...] = 0
            for out, inside in self.windows:
                y[out] += x[inside]
            y /= self.window_size
            return
        y[...] = np.finfo(y.dtype).min
        winner = self.buffer("winner", y.shape, np.int32)  # which element of the window
        winner[...] = -1
        larger = self.buffer("larger", y.shape, bool)
        for number, (out, inside) in enumerate(self.windows):
            np.greater(x[inside], y[out], out=larger[out])
            np.copyto(y[out], x[inside], where=larger[out])
            np.copyto(winner[out], number, where=larger[out])
        if len(top) == 2:
            row, column = np.divmod(winner, self.reach[1])
            row += (np.arange(self.output[0]) * self.stride[0] - self.pad[0])[:, None]
            column += np.arange(self.output[1]) * self.stride[1] - self.pad[1]
            top[1].data[...] = np.where(winner < 0, -1, row * x.shape[3] + column)

    def Backward_cpu(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        dx[...] = 0
        share = self.buffer("share", dy.shape)
        if self.p.pool == "AVE":
            np.divide(dy, self.window_size, out=share)
            for out, inside in self.windows:
                dx[inside] += share[out]
            return
        winner = self.buffer("winner", dy.shape, np.int32)
        wins = self.buffer("larger", dy.shape, bool)
        for number, (out, inside) in enumerate(self.windows):
            np.equal(winner[out], number, out=wins[out])
            dx[inside] += np.multiply(dy[out], wins[out], out=share[out])
