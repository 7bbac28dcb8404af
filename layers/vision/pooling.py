"""Pooling: the maximum, the mean or a random element of windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ...compute.memory import memory_order
from ...compute.parallel import by_example
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, format_shape
from .kernel import PAIRS, check_pairs, padded_words
from .winners import Winners

SIDES = ("pad_t", "pad_b", "pad_l", "pad_r")


class PoolingParameters(Declared):
    """Caffe's pooling_param."""

    pool: Literal["MAX", "AVE", "STOCHASTIC"] = param(
        default="MAX", doc="largest value, mean, or one drawn in proportion to its value"
    )
    kernel_size: int | None = param(default=None, minimum=1, doc="side of a window")
    kernel_h: int | None = param(default=None, minimum=1, doc="height, with kernel_w instead of kernel_size")
    kernel_w: int | None = param(default=None, minimum=1, doc="width")
    stride: int | None = param(default=None, minimum=1, doc="step between windows; 1 when left out")
    stride_h: int | None = param(default=None, minimum=1, doc="vertical step")
    stride_w: int | None = param(default=None, minimum=1, doc="horizontal step")
    pad: int | None = param(default=None, minimum=0, doc="border on all sides; 0 when left out")
    pad_h: int | None = param(default=None, minimum=0, doc="border above and below")
    pad_w: int | None = param(default=None, minimum=0, doc="border left and right")
    pad_t: int | None = param(default=None, minimum=0, doc="border above; with sides, those left out have none")
    pad_b: int | None = param(default=None, minimum=0, doc="border below")
    pad_l: int | None = param(default=None, minimum=0, doc="border left")
    pad_r: int | None = param(default=None, minimum=0, doc="border right")
    count_include_pad: bool = param(
        default=True, doc="AVE: whether the border counts in the size that is divided by; false: only the image does"
    )
    global_pooling: bool = param(default=False, doc="one window over the whole image")
    round_mode: Literal["CEIL", "FLOOR"] = param(default="CEIL", doc="CEIL: a last window may hang over the end")

    exclusive = tuple((*group, SIDES) if "pad" in group else group for group in PAIRS)
    aliases = {"pad_top": "pad_t", "pad_bottom": "pad_b", "pad_left": "pad_l", "pad_right": "pad_r"}

    def validate(self) -> Iterable[tuple[str, str]]:
        yield from check_pairs(self)
        kernel = self.pair("kernel_size", None)
        if self.global_pooling:
            if kernel != (None, None):
                yield "global_pooling", "takes the whole image; leave the kernel out"
            if self.pads() != ((0, 0), (0, 0)) or self.pair("stride", 1) != (1, 1):
                yield "global_pooling", "needs pad 0 and stride 1"
        elif kernel == (None, None):
            yield "kernel", "needs `kernel_size`, or `kernel_h` and `kernel_w`, or `global_pooling: true`"
        elif None not in kernel:
            for side, size in zip(SIDES, (kernel[0], kernel[0], kernel[1], kernel[1]), strict=True):
                if (getattr(self, side) or 0) >= size:
                    yield side, f"must be smaller than the kernel, got {getattr(self, side)} and {size}"
            pad = self.pair("pad", 0)
            if any(p >= k for p, k in zip(pad, kernel, strict=True)):
                pads, kernels = (" x ".join(map(str, dict.fromkeys(pair))) for pair in (pad, kernel))
                yield "pad", f"must be smaller than the kernel, got {pads} and {kernels}"
        if not self.count_include_pad and self.pool != "AVE":
            yield "count_include_pad", f"works with AVE only, not with {self.pool}"
        if self.pool == "STOCHASTIC":
            for key in ("pad", "pad_h", "pad_w", *SIDES):
                if getattr(self, key):
                    yield (
                        key,
                        f"must be 0 with pool STOCHASTIC, which draws from the image only, got {getattr(self, key)}",
                    )

    def pads(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """The borders above and left, and those below and right."""
        if all(getattr(self, side) is None for side in SIDES):
            both = self.pair("pad", 0)
            return both, both
        return (self.pad_t or 0, self.pad_l or 0), (self.pad_b or 0, self.pad_r or 0)

    def pair(self, key: str, default: int | None) -> tuple:
        """(vertical, horizontal) of kernel_size, stride or pad."""
        stem = key.removesuffix("_size")
        plain = getattr(self, key)
        pair = (getattr(self, f"{stem}_h"), getattr(self, f"{stem}_w"))
        return tuple(
            (plain if size is None else size) if plain is not None or size is not None else default for size in pair
        )


def positive(rng, shape):
    """Values for an Example of STOCHASTIC, far enough from zero for small differences."""
    return rng.uniform(0.5, 2, shape)


@register
class Pooling(Layer):
    """MAX: y = the largest x of each window. AVE: y = Σ x of the window / its size. STOCHASTIC, for x >= 0: in TRAIN
    y = one x of the window, drawn with the probability x / Σ x; in TEST its expected value, y = Σ x² / Σ x.

    bottom[0]: x, N x C x H x W.    top[0]: y, N x C x H' x W'.    top[1], MAX only: where the maximum was, as h·W + w.
    H' = ceil((H + 2 pad - kernel) / stride) + 1 (round_mode FLOOR: floor), without a last window that would begin
    beyond the image and its upper border; H + pad_t + pad_b with different borders. AVE divides by the window cut to
    the padded image, so zeros of the border count and what hangs over it does not; with ``count_include_pad: false`` by
    the window cut to the image. MAX ignores the border; of equal values the first wins.
    STOCHASTIC takes the first x, in reading order, at which the sum so far reaches u Σ x, where u is uniform in (0, 1].
    In a window of zeros that is the first x in TRAIN; in TEST y = 0. A NaN in the window makes y NaN, an infinity does
    so in TEST.
    Backward: MAX and STOCHASTIC in TRAIN give dy to the place that y came from; AVE spreads dy / size over the window;
    STOCHASTIC in TEST: dx = Σ dy (2x - y) / Σ x of each window, and nothing from windows of zeros.
    Errors: a kernel larger than the padded image with FLOOR; not 4 axes; STOCHASTIC with a pad, or a negative x, which
    has no probability (Caffe computes something; put a ReLU before it).
    Source: Caffe's Pooling; there a last window can lie wholly outside the image, which cannot happen here, and
    STOCHASTIC is for GPUs only, with TRAIN's gradient in TEST too. Zeiler and Fergus 2013. A border of its own for each
    side, and a mean without it (AVE_EXC_PAD), are those of Caffe's forks.
    """

    Parameters = PoolingParameters
    num_tops = (1, 2)
    backward_reads: tuple[str, ...] = ()
    any_layout = True
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
        Example([(3, 2, 4, 5)], {"kernel_size": 2, "stride": 1, "pad": 1}),
        Example([(1, 2, 5, 5)], {"kernel_size": 1, "stride": 2}),
        Example([(2, 2, 5, 6)], {"kernel_size": 3, "stride": 2, "pad_t": 1, "pad_r": 2}, tops=2),
        Example([(2, 2, 6, 5)], {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad_b": 2, "pad_l": 1}),
        Example([(2, 2, 5, 6)], {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1, "count_include_pad": False}),
        Example([(2, 2, 5, 4)], {"pool": "STOCHASTIC", "kernel_size": 3, "stride": 2}, {0: positive}),
        Example([(2, 2, 5, 4)], {"pool": "STOCHASTIC", "kernel_size": 3, "stride": 2}, {0: positive}, phase="TEST"),
    )

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        if self.p.pool == "STOCHASTIC" and self.phase == "TEST":
            self.backward_reads = ("bottom.data", "top.data")

    def setup(self, bottom, top):
        if len(bottom[0].shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(bottom[0].shape)}")
        if len(top) == 2 and self.p.pool != "MAX":
            raise ShapeError("only MAX has a second top (where each maximum was)", key="top")

    def reshape(self, bottom, top):
        sizes = bottom[0].shape[2:]
        if len(bottom[0].shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(bottom[0].shape)}")
        kernel, stride, pad, self.after = self.geometry(sizes)
        output = tuple(map(self._output_size, sizes, kernel, stride, pad, self.after))
        self.pools = Winners(sizes, kernel, stride, pad, output)
        for blob in top:
            blob.reshape((*bottom[0].shape[:2], *output), channels_last=bottom[0].channels_last)
        if self.p.pool == "AVE":
            counted = (pad, self.after) if self.p.count_include_pad else ((0, 0), (0, 0))
            self.area = self.pools.areas(*counted).astype(self.dtype)

    def geometry(self, sizes):
        """Kernel, stride and the pads before and after, each (vertical, horizontal), for images of these sizes."""
        kernel = sizes if self.p.global_pooling else self.p.pair("kernel_size", None)
        return kernel, self.p.pair("stride", 1), *self.p.pads()

    def _output_size(self, size, kernel, stride, pad, after):
        span = size + pad + after - kernel
        floor = self.p.round_mode == "FLOOR"
        if size < 1 or (span < 0 and (floor or -span >= stride)):
            key = ("kernel_size", "kernel_h", "kernel_w")
            raise ShapeError(f"kernel {kernel} does not fit into {padded_words(size, pad, after)}", key=key)
        count = (span // stride if floor else -(-span // stride)) + 1
        return count - 1 if count > 1 and (count - 1) * stride >= size + pad else count

    def in_words(self):
        return {
            "MAX": "max routes: of each window the largest gets the gradient, the others 0",
            "AVE": "an average distributes equally: each place of a window gets its share of the gradient",
            "STOCHASTIC": "",
        }[self.p.pool]

    def Forward_cpu(self, bottom, top):
        x, y, pools = bottom[0].data, top[0].data, self.pools
        pools.channels_last = bottom[0].channels_last
        if self.p.pool == "AVE":
            by_example(self.average, x, y)
        elif self.p.pool == "MAX":
            self.winner = self.like(y, "winner", pools.numbers())
            by_example(pools.largest, x, y, self.winner)
            if len(top) == 2:
                top[1].data[...] = pools.positions(self.winner)
        else:
            self.refuse_negative(x)
            self.total = self.like(y, "total")
            if self.phase == "TEST":
                by_example(self.expect, x, y, self.total)
            else:
                self.winner, uniform = self.like(y, "winner", pools.numbers()), self.like(y, "uniform")
                numbers = memory_order(uniform)
                self.rng.random(dtype=numbers.dtype.type, out=numbers)
                pools.locate(x)
                by_example(pools.draw, x, y, self.total, uniform, self.winner)

    def like(self, y, name, dtype=None):
        """A buffer with an element for each window."""
        return self.buffer(name, y.shape, dtype, self.pools.channels_last)

    def average(self, x, y):
        self.pools.sums(x, y)
        y /= self.area

    def refuse_negative(self, x):
        least = np.fmin.reduce(memory_order(x), initial=0)
        if least < 0:
            raise NettrainError(
                f"pool STOCHASTIC draws elements with probabilities in proportion to their values, got {least:g}; "
                "values must be >= 0, such as those of a ReLU"
            )

    def expect(self, x, y, total):
        """y = Σ x² / Σ x, and 0 where Σ x is 0."""
        squares, some = self.pools.scratch("squares", x.shape, x.dtype), self.pools.scratch("some", y.shape, bool)
        with np.errstate(invalid="ignore", over="ignore"):  # infinity / infinity, the squares of huge numbers
            np.square(x, out=squares)
            self.pools.sums(squares, y)
            self.pools.sums(x, total)
            np.not_equal(total, 0, out=some)
            np.divide(y, total, out=y, where=some)

    def Backward_cpu(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self.p.pool == "AVE":
            by_example(self.spread_mean, dx, dy)
        elif self.p.pool == "STOCHASTIC" and self.phase == "TEST":
            by_example(self.spread_expected, dx, dy, bottom[0].data, top[0].data, self.total)
        else:
            self.pools.locate(dx)
            by_example(self.pools.route, dx, dy, self.winner)

    def spread_mean(self, dx, dy):
        shares = self.pools.scratch("shares", dy.shape, dy.dtype)
        np.divide(dy, self.area, out=shares)
        self.pools.spread(dx, shares)

    def spread_expected(self, dx, dy, x, y, total):
        """dx = 2x Σ dy / total - Σ y dy / total, sums over the windows around x."""
        shares, some = self.pools.scratch("shares", dy.shape, dy.dtype), self.pools.scratch("some", dy.shape, bool)
        np.not_equal(total, 0, out=some)
        shares.fill(0)
        np.divide(dy, total, out=shares, where=some)
        self.pools.spread(dx, shares)
        dx *= x
        dx *= 2
        shares *= y
        less = self.pools.scratch("less", dx.shape, dx.dtype)
        self.pools.spread(less, shares)
        dx -= less
