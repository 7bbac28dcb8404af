"""Pooling: the maximum, the mean or a random element of windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ...compute.memory import memory_order
from ...compute.parallel import by_example, scratch
from ...net.layer import Example, Layer
from ...net.registry import register
from ...spec.declare import Declared, Engine, engine, param
from ...spec.errors import NettrainError, ShapeError, format_shape
from .kernel import PAIRS, check_pairs, padded_words


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
    global_pooling: bool = param(default=False, doc="one window over the whole image")
    round_mode: Literal["CEIL", "FLOOR"] = param(default="CEIL", doc="CEIL: a last window may hang over the end")
    engine: Engine = engine()

    exclusive = PAIRS

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
        if self.pool == "STOCHASTIC":
            for key in ("pad", "pad_h", "pad_w"):
                if getattr(self, key):
                    yield (
                        key,
                        f"must be 0 with pool STOCHASTIC, which draws from the image only, got {getattr(self, key)}",
                    )

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
    beyond the image and its upper border. AVE divides by the window cut to the padded image, so zeros of the border
    count and what hangs over it does not. MAX ignores the border; of equal values the first wins.
    STOCHASTIC takes the first x, in reading order, at which the sum so far reaches u Σ x, where u is uniform in (0, 1].
    In a window of zeros that is the first x in TRAIN; in TEST y = 0. A NaN in the window makes y NaN, an infinity does
    so in TEST.
    Backward: MAX and STOCHASTIC in TRAIN give dy to the place that y came from; AVE spreads dy / size over the window;
    STOCHASTIC in TEST: dx = Σ dy (2x - y) / Σ x of each window, and nothing from windows of zeros.
    Errors: a kernel larger than the padded image with FLOOR; not 4 axes; STOCHASTIC with a pad, or a negative x, which
    has no probability (Caffe computes something; a ReLU before it is what is meant).
    Source: Caffe's Pooling; there a last window can lie wholly outside the image, which cannot happen here, and
    STOCHASTIC is for GPUs only, with TRAIN's gradient in TEST too. Zeiler and Fergus 2013.
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
        Example([(2, 2, 5, 4)], {"pool": "STOCHASTIC", "kernel_size": 3, "stride": 2}, {0: positive}),
        Example([(2, 2, 5, 4)], {"pool": "STOCHASTIC", "kernel_size": 3, "stride": 2}, {0: positive}, phase="TEST"),
    )

    origins_of: tuple | None = None

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
        self.kernel, self.stride, self.pad = self.geometry(sizes)
        self.output = tuple(map(self._output_size, sizes, self.kernel, self.stride, self.pad))
        self.axes = tuple(map(self._places, sizes, self.kernel, self.stride, self.pad, self.output))
        for blob in top:
            blob.reshape((*bottom[0].shape[:2], *self.output), channels_last=bottom[0].channels_last)
        if self.p.pool == "AVE":
            heights, widths = map(self._extents, sizes, self.kernel, self.stride, self.pad, self.output)
            self.window_size = np.outer(heights, widths).astype(self.dtype)

    def geometry(self, sizes):
        """Kernel, stride and pad, each (vertical, horizontal), for images of these sizes."""
        kernel = sizes if self.p.global_pooling else self.p.pair("kernel_size", None)
        return kernel, self.p.pair("stride", 1), self.p.pair("pad", 0)

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

    @staticmethod
    def _places(size, kernel, stride, pad, output):
        """Along one axis, for each element of a window: which outputs have it inside the image, and where it is."""
        places = []
        for offset in range(min(kernel, size + pad)):  # no window has an element inside beyond that
            first = max(0, -(-(pad - offset) // stride))
            last = max(first, min(output, (size - 1 + pad - offset) // stride + 1))
            start = first * stride + offset - pad
            places.append(
                (slice(first, last), slice(start, start + max(0, last - first - 1) * stride + (last > first), stride))
            )
        return places

    def in_words(self):
        return {
            "MAX": "max routes: of each window the largest gets the gradient, the others 0",
            "AVE": "an average distributes equally: each place of a window gets its share of the gradient",
            "STOCHASTIC": "",
        }[self.p.pool]

    def Forward_cpu(self, bottom, top):
        x, y = bottom[0].data, top[0].data
        self.channels_last = bottom[0].channels_last
        if self.p.pool == "AVE":
            by_example(self.average, x, y)
            return
        if self.p.pool == "STOCHASTIC":
            self.refuse_negative(x)
            self.total = self.buffer("total", y.shape, channels_last=self.channels_last)
            if self.phase == "TEST":
                by_example(self.expect, x, y, self.total)
                return
        elements = self.kernel[0] * self.kernel[1]
        kind = np.uint8 if elements < 255 else np.int32 if elements < 2**31 else np.int64
        self.winner = self.buffer("winner", y.shape, kind, self.channels_last)
        if self.p.pool == "STOCHASTIC":
            self.window_origins(x)
            uniform = self.buffer("uniform", y.shape, channels_last=self.channels_last)
            numbers = memory_order(uniform)
            self.rng.random(dtype=numbers.dtype.type, out=numbers)
            by_example(self.draw, x, y, self.total, uniform, self.winner)
            return
        by_example(self.largest, x, y, self.winner)
        if len(top) == 2:
            i, j = np.divmod(self.winner.astype(np.int64) - 1, self.kernel[1])
            i += (np.arange(self.output[0]) * self.stride[0] - self.pad[0])[:, None]
            j += np.arange(self.output[1]) * self.stride[1] - self.pad[1]
            top[1].data[...] = np.where(self.winner == 0, -1, i * x.shape[3] + j)

    def average(self, x, y):
        self.window_sums(x, y)
        y /= self.window_size

    def window_sums(self, x, y):
        rows = self.scratch("rows", (*x.shape[:2], self.output[0], x.shape[3]))
        rows.fill(0)
        for out, inside in self.axes[0]:
            rows[:, :, out] += x[:, :, inside]
        y.fill(0)
        for out, inside in self.axes[1]:
            y[..., out] += rows[..., inside]

    def refuse_negative(self, x):
        least = np.fmin.reduce(memory_order(x), initial=0)
        if least < 0:
            raise NettrainError(
                f"pool STOCHASTIC draws elements with probabilities in proportion to their values, got {least:g}; "
                "values must be >= 0, such as those of a ReLU"
            )

    def expect(self, x, y, total):
        """y = Σ x² / Σ x, and 0 where Σ x is 0."""
        squares, some = self.scratch("squares", x.shape), self.scratch("some", y.shape, bool)
        with np.errstate(invalid="ignore", over="ignore"):  # infinity / infinity, the squares of huge numbers
            np.square(x, out=squares)
            self.window_sums(squares, y)
            self.window_sums(x, total)
            np.not_equal(total, 0, out=some)
            np.divide(y, total, out=y, where=some)

    def draw(self, x, y, total, limit, winner):
        """y = the first x of each window at which the sum so far reaches u Σ x; ``limit`` comes as 1 - u."""
        elements = [
            (number, (..., down, across), (..., rows, columns))
            for i, (down, rows) in enumerate(self.axes[0])
            for number, (across, columns) in enumerate(self.axes[1], 1 + i * self.kernel[1])
        ]
        total.fill(0)
        for _, out, inside in elements:
            total[out] += x[inside]
        np.subtract(1, limit, out=limit)
        limit *= total
        sums, below = self.scratch("sums", y.shape), self.scratch("below", y.shape, bool)
        sums.fill(0)
        winner.fill(1)
        for number, out, inside in elements:
            if number > 1:
                np.less(sums, limit, out=below)
                self.number_where(below, number, winner)
            sums[out] += x[inside]
        place, _ = self.places(x, winner)
        np.take(memory_order(x), place, out=memory_order(y).reshape(place.shape), mode="clip")
        if np.isnan(total.max(initial=0)):
            y[np.isnan(total)] = np.nan

    def largest(self, x, y, winner):
        """First along the rows, then down them: of equal values the first in reading order wins.

        ``winner`` numbers the elements of a window from 1; later ones have higher numbers, so that where one is
        larger than all before it, its number is too.
        """
        across = self.scratch("rows", (*x.shape[:3], self.output[1]))
        column = self.scratch("column", across.shape, winner.dtype)
        for number, (out, inside) in enumerate(self.axes[1], 1):
            if number == 1:
                self.begin(x[..., inside], number, across[..., out], column[..., out], across, column)
            else:
                self.compete(x[..., inside], number, across[..., out], column[..., out])
        for i, (out, inside) in enumerate(self.axes[0]):
            numbers = column[:, :, inside]
            if i == 0:
                self.begin(across[:, :, inside], numbers, y[:, :, out], winner[:, :, out], y, winner)
                continue
            numbers += i * self.kernel[1]
            self.compete(across[:, :, inside], numbers, y[:, :, out], winner[:, :, out])
            numbers -= i * self.kernel[1]
        if y.min(initial=0) == np.finfo(y.dtype).min:
            winner[y == np.finfo(y.dtype).min] = 0  # a window of nothing but NaN and -infinity has no maximum

    def begin(self, x, number, best, winner, whole_best, whole_winner):
        """The first element of the windows: the best so far, and NaN or -infinity the lowest number there is."""
        lowest = np.finfo(x.dtype).min
        if best.shape != whole_best.shape:
            whole_best.fill(lowest)
            whole_winner.fill(0)
        np.fmax(x, lowest, out=best)
        np.copyto(winner, number)

    def compete(self, x, number, best, winner):
        """Where x is larger than the best so far, it and its number take the place. NaN never is."""
        larger = self.scratch("larger", best.shape, bool)
        np.greater(x, best, out=larger)
        np.fmax(x, best, out=best)
        self.number_where(larger, number, winner)

    def number_where(self, mask, number, winner):
        """Where the mask holds, ``number``, larger than any before, becomes the winner. The mask is overwritten."""
        marks = mask.view(np.uint8)
        if winner.dtype != np.uint8:
            marks = self.scratch("marks", mask.shape, winner.dtype)
            np.copyto(marks, mask)
        marks *= number
        np.maximum(winner, marks, out=winner)

    def scratch(self, name, shape, dtype=None):
        return scratch(name, shape, dtype or self.dtype, self.channels_last)

    def Backward_cpu(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        dy, dx = top[0].diff, bottom[0].diff
        if self.p.pool == "AVE":
            by_example(self.spread_mean, dx, dy)
        elif self.p.pool == "STOCHASTIC" and self.phase == "TEST":
            by_example(self.spread_expected, dx, dy, bottom[0].data, top[0].data, self.total)
        else:
            self.window_origins(dx)
            by_example(self.route, dx, dy, self.winner)

    def spread_mean(self, dx, dy):
        shares = self.scratch("shares", dy.shape)
        np.divide(dy, self.window_size, out=shares)
        self.spread(dx, shares)

    def spread_expected(self, dx, dy, x, y, total):
        """dx = 2x Σ dy / total - Σ y dy / total, sums over the windows around x."""
        shares, some = self.scratch("shares", dy.shape), self.scratch("some", dy.shape, bool)
        np.not_equal(total, 0, out=some)
        shares.fill(0)
        np.divide(dy, total, out=shares, where=some)
        self.spread(dx, shares)
        dx *= x
        dx *= 2
        shares *= y
        less = self.scratch("less", dx.shape)
        self.spread(less, shares)
        dx -= less

    def spread(self, dx, shares):
        """dx = the sum of the shares of all windows around it."""
        rows = self.scratch("rows", (*shares.shape[:3], dx.shape[3]))
        rows.fill(0)
        for out, inside in self.axes[1]:
            rows[..., inside] += shares[..., out]
        dx.fill(0)
        for out, inside in self.axes[0]:
            dx[:, :, inside] += rows[:, :, out]

    def window_origins(self, dx):
        """Where each window of one example begins in the memory of dx, and how far on each of its elements is."""
        if self.origins_of == (dx.shape, dx.strides):
            return
        self.origins_of = (dx.shape, dx.strides)
        sizes = (dx.shape[1], *self.output)
        steps = [s // dx.itemsize for s in dx.strides[1:]]
        c, i, j = np.ogrid[: sizes[0], : sizes[1], : sizes[2]]
        i, j = i * self.stride[0] - self.pad[0], j * self.stride[1] - self.pad[1]
        origins = c * steps[0] + i * steps[1] + j * steps[2]
        self.origins = (origins.transpose(1, 2, 0) if self.channels_last else origins).ravel()
        elements = np.add.outer(np.arange(self.kernel[0]) * steps[1], np.arange(self.kernel[1]) * steps[2])
        self.offsets = np.concatenate([[0], elements.ravel()])

    def places(self, images, winner):
        """Where in the memory of the images each window's winner is, and the winners, a row for each image."""
        n = len(images)
        winner = memory_order(winner).reshape(n, len(self.origins))
        number, place = scratch("number", winner.shape, np.intp), scratch("place", winner.shape, np.intp)
        np.copyto(number, winner)
        np.take(self.offsets, number, out=place, mode="clip")
        place += self.origins
        place += np.arange(n)[:, None] * (images.size // max(1, n))
        return place, winner

    def route(self, dx, dy, winner):
        """Add every dy to where its window's maximum was."""
        place, winner = self.places(dx, winner)
        dy = only_where_there_is_a_maximum(memory_order(dy).reshape(place.shape), winner, place)
        dx.fill(0)
        np.add.at(memory_order(dx), place.ravel(), dy.ravel())


def only_where_there_is_a_maximum(dy, winner, place):
    """dy, but nothing for windows of NaN and -infinity only, whose place is nowhere."""
    if winner.all():
        return dy
    place[winner == 0] = 0
    return np.where(winner == 0, 0, dy)
