"""Convolution in any number of dimensions, with groups, stride, padding and dilation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import numpy as np

from ...compute.memory import channels_first
from ...compute.parallel import scratch
from ...compute.prepared import Prepared
from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import param
from ...spec.errors import ShapeError, format_shape
from .depthwise import Depthwise
from .kernel import KernelParameters
from .windows import Windows, sum_up

SMALL = 1 << 17  # elements of W: copying fewer into another order costs less than it saves
PARTIAL_BYTES = 1 << 18  # sums of dW over parts of the batch: smaller ones may be more, for more threads


class ConvolutionParameters(KernelParameters):
    """What convolutions and their relatives share."""

    num_output: int = param(minimum=1, doc="M, output channels")
    bias_term: bool = param(default=True, doc="whether b is added")
    group: int = param(default=1, minimum=1, doc="the number of groups of channels that do not see each other")
    weight_filler: Filler = param(default=Filler(type="xavier"), doc="initial values of W")
    bias_filler: Filler = param(default=Filler(), doc="initial values of b")
    axis: int = param(default=1, doc="the channel axis; spatial axes follow it, axes before it are examples")
    force_nd_im2col: bool = param(default=False, doc="Caffe's choice of algorithm; accepted, without effect")

    def validate(self) -> Iterable[tuple[str, str]]:
        yield from super().validate()
        if self.num_output % self.group:
            yield "num_output", f"must be divisible by group, got {self.num_output} and {self.group}"


@register
class Convolution(Layer):
    """Cross-correlation of each example with M kernels.

    y[m, o] = b[m] + Σ_{c,k} W[m, c, k] x[c, o·stride + k·dilation - pad]
    bottom[i]: x, N x C x (spatial axes), all of one shape.    top[i]: y, N x M x (output axes), for each bottom.
    Output axes: floor((size + 2 pad - (dilation (kernel - 1) + 1)) / stride) + 1.
    blobs[0]: W, M x C/group x (kernel axes).    blobs[1]: b, M.
    Backward: dW += dy col(x)ᵀ, db += Σ dy, dx = col⁻¹(Wᵀ dy), where col(x) has one window of x in each column.
    Examples are taken in chunks whose columns stay in the cache. Groups of one channel (depthwise: group = C = M) are
    multiplied and added row by row, without columns.
    Initial values: W xavier (Caffe: zeros), b zero.
    Errors: a kernel larger than the padded input (Caffe would make an output of 1 when it overhangs by less than a
    stride); channels or num_output not divisible by group; bottoms of different shapes.
    Source: Caffe's Convolution.
    """

    Parameters = ConvolutionParameters
    transposed: ClassVar[bool] = False  # whether it goes from y of the formula to x
    num_bottoms = (1, None)
    num_tops = (1, None)
    same_number_of_tops = True
    backward_reads = ("bottom.data",)
    examples: ClassVar[tuple[Example, ...]] = (
        Example([(2, 3, 6, 4)], {"num_output": 4, "kernel_size": 3}),
        Example([(2, 3, 6, 4)], {"num_output": 3, "kernel_size": 3, "stride": 2, "pad": 1, "group": 3}),
        Example(
            [(2, 4, 7, 6)], {"num_output": 6, "kernel_size": [3, 2], "dilation": [2, 1], "group": 2, "bias_term": False}
        ),
        Example(
            [(2, 2, 5, 6)],
            {"num_output": 3, "kernel_h": 2, "kernel_w": 3, "stride_h": 2, "stride_w": 1, "pad_h": 1, "pad_w": 0},
        ),
        Example([(2, 3, 7)], {"num_output": 2, "kernel_size": 3, "stride": 2}),
        Example([(1, 2, 4, 3, 4)], {"num_output": 2, "kernel_size": [2, 1, 3], "pad": [1, 0, 1]}),
        Example([(1, 2, 4, 4), (1, 2, 4, 4)], {"num_output": 2, "kernel_size": 1}, tops=2),
        Example([(2, 3, 4, 3)], {"num_output": 3, "kernel_size": [3, 2], "pad": [1, 0], "group": 3}),
        Example([(2, 16, 3, 3)], {"num_output": 16, "kernel_size": 2, "stride": 2, "pad": 1, "group": 16}),
    )

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.any_layout = self.p.axis == 1

    def setup(self, bottom, top):
        p, shape = self.p, bottom[0].shape
        self.axis = bottom[0].canonical_axis(p.axis)
        self.channels = shape[self.axis]
        if self.channels == 0:
            raise ShapeError(f"axis {self.axis} of {format_shape(shape)} has no channels")
        if self.channels % p.group:
            raise ShapeError(f"{self.channels} input channels are not divisible by group {p.group}", key="group")
        self.kernel, self.stride, self.pad, self.dilation = p.geometry(len(shape) - self.axis - 1)
        self.C, self.M = (p.num_output, self.channels) if self.transposed else (self.channels, p.num_output)
        self.add_blob((self.M, self.C // p.group, *self.kernel), p.weight_filler, swap_fans=self.transposed)
        self.blobs[0].reshape(self.blobs[0].shape, channels_last=True)
        if p.bias_term:
            self.add_blob((p.num_output,), p.bias_filler)

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) != self.axis + 1 + len(self.kernel):
            raise ShapeError(
                f"the kernel has {len(self.kernel)} spatial axes, {format_shape(shape)} has a different number"
            )
        if shape[self.axis] != self.channels:
            raise ShapeError(f"the weights take {self.channels} channels, {format_shape(shape)} has {shape[self.axis]}")
        if any(blob.shape != shape for blob in bottom):
            raise ShapeError("every bottom must have the same shape")
        self.N = math.prod(shape[: self.axis])
        # without spatial axes there is one place
        geometry = (
            (shape[self.axis + 1 :], self.kernel, self.stride, self.pad, self.dilation)
            if self.kernel
            else ((1,), (1,), (1,), (0,), (1,))
        )
        output = self.lay_out(bottom, *geometry)[: len(self.kernel)]
        self.prepared = Prepared()
        for blob in top:
            blob.reshape((*shape[: self.axis], self.p.num_output, *output), channels_last=self.any_layout)

    def lay_out(self, bottom, sizes, kernel, stride, pad, dilation):
        """Make the windows for each bottom; return the output's sizes."""
        geometry = (sizes, kernel, stride, pad, dilation)
        self.windows = [self.windows_over(self.C, *geometry, blob.channels_last) for blob in bottom]
        return self.windows[0].output

    def windows_over(self, channels, sizes, kernel, stride, pad, dilation, channels_last):
        alone = self.any_layout and Depthwise.serves(self.C, self.M, self.p.group, stride)
        return (Depthwise if alone else Windows)(
            channels, self.p.group, sizes, kernel, stride, pad, dilation, channels_last
        )

    def weights(self, array, w):
        """W or dW, M x (kernel axes) x C/group in memory, as G x P x M/G x K."""
        return array.reshape(self.p.group, -1, w.P, w.K).swapaxes(1, 2)

    def bias(self):
        return self.blobs[1].data if self.p.bias_term else None

    def kernels(self):
        """W as M x (kernel axes) x C/group, in memory that products read fast."""
        W = self.blobs[0].data
        W = W.transpose(0, *range(2, W.ndim), 1)
        if W.size > SMALL and W.flags.c_contiguous:
            return W
        # a large one is copied when it shares memory with a blob of a different shape
        return self.copied("W", W.reshape(self.p.group, self.M // self.p.group, *W.shape[1:]))

    def copied(self, name, W):
        """A copy of W, G x M/G x (kernel axes) x C/group, without the axis of groups."""
        copy = self.memory(name, 1, (W.shape[0] * W.shape[1], *W.shape[2:]))[0]
        np.copyto(copy.reshape(W.shape), W)
        return copy

    def memory(self, name, count, shape):
        """A buffer for that many W: the outputs come last in memory if they are small, since BLAS is then faster."""
        if math.prod(shape) > SMALL:
            return self.buffer(name, (count, *shape))
        return channels_first(self.buffer(name, (count, *shape[1:], shape[0])))

    def Forward_cpu(self, bottom, top):
        W, b = self.kernels(), self.bias()
        for i, w in enumerate(self.windows):
            self.correlate(("y", i), bottom[i].data, W, b, top[i].data, w)

    def Backward_cpu(self, top, propagate_down, bottom):
        W, learns_W = self.kernels(), self.param_propagate_down[0]
        learns_b = self.p.bias_term and self.param_propagate_down[1]
        for i, w in enumerate(self.windows):
            dx = bottom[i].diff if propagate_down[i] else None
            if dx is not None and (back := self.backward_windows(w, top[i].channels_last)):
                self.correlate(("dx", i), top[i].diff, self.flipped(W), None, dx, back)
                dx = None
            self.gradients(("dW", i), bottom[i].data, W, top[i].diff, dx, w, learns_W, learns_b)

    def backward_windows(self, w, channels_last):
        """The windows of dy whose correlation with the flipped kernel is dx, where that is the shorter way.

        It is for stride 1 when the input is hardly larger than the output: then nothing need be added up.
        """
        pad = tuple(d * (k - 1) - p for k, d, p in zip(w.kernel, w.dilation, w.pad, strict=True))
        if set(w.stride) != {1} or min(pad) < 0 or 4 * math.prod(w.sizes) > 5 * w.L:
            return None
        return self.windows_over(self.M, w.output, w.kernel, w.stride, pad, w.dilation, channels_last)

    def flipped(self, W):
        """W with its kernel axes flipped and input and output channels exchanged, for dx."""
        W = W.reshape(self.p.group, self.M // self.p.group, *W.shape[1:])
        W = np.flip(W, tuple(range(2, 2 + len(self.kernel)))).swapaxes(1, 2 + len(self.kernel))
        return self.copied("W flipped", W)

    def correlate(self, name, x, W, b, y, w):
        """y = b + W col(x)."""
        N = self.N
        if not N:
            return
        chunks = w.chunks(N, self.dtype.itemsize)
        xs, ys = x.reshape(N, w.C, *w.sizes), y.reshape(N, -1, *w.output)
        Ws = self.weights(W, w)

        def task(i, do):
            examples, rows = chunks[i]
            w.correlate(do, xs[examples], rows, Ws, b, ys[examples, :, rows])

        self.prepared.run(name, (x, y, W, b), task, len(chunks))

    def gradients(self, name, x, W, dy, dx, w, learns_W=False, learns_b=False):
        """Backward for one bottom: dW += dy col(x)ᵀ, db += Σ dy, dx = col⁻¹(Wᵀ dy).

        The batch is cut into parts with sums of their own, added in order at the end.
        """
        N, G, Mg = self.N, self.p.group, self.M // self.p.group
        if not N or not (learns_W or learns_b or dx is not None):
            return
        chunks = w.chunks(N, self.dtype.itemsize)
        images = len({examples.start for examples, _ in chunks})
        bands = len(chunks) // images
        parts = self.parts(images)
        dW = self.memory("dW of parts", parts, W.shape)
        db = self.buffer("db of parts", (parts, G, 1, Mg))
        Ws = self.weights(W, w)
        xs, dys = x.reshape(N, w.C, *w.sizes), dy.reshape(N, self.M, *w.output)
        dxs = None if dx is None else dx.reshape(N, w.C, *w.sizes)

        def task(i, do):
            mine = [chunks[j] for j in range(i * images // parts * bands, (i + 1) * images // parts * bands)]
            for j, (examples, rows) in enumerate(mine):
                dY = w.upstream(do, dys[examples, :, rows])
                if learns_b:
                    n = dY.shape[1]
                    ones = do.keep(("ones", n), lambda n=n: np.ones((1, n), self.dtype))
                    sum_up(do, ones, dY, db[i].reshape(len(dY), 1, dY.shape[2]), j == 0, "db")
                if learns_W:
                    w.weight_gradient(do, xs[examples], rows, dY, self.weights(dW[i], w), j == 0)
                if dxs is not None:
                    total = scratch("dx", (len(dxs[examples]), w.C, *w.padded_sizes), self.dtype, channels_last=True)
                    if rows.start == 0:
                        do(total.fill, 0)
                    w.fold(do, dY, Ws, rows, total)
                    if rows.stop == w.output[0]:
                        self.hand_over(do, total[w.inside], dxs[examples])

        self.prepared.run(name, (x, dy, W, dx, dW, db, self.bias(), learns_W, learns_b), task, parts)
        for i in range(1, parts):
            if learns_W:
                dW[0] += dW[i]
            if learns_b:
                db[0] += db[i]
        if learns_W:
            self.blobs[0].diff += channels_first(dW[0])
        if learns_b:
            self.blobs[1].diff += db[0].ravel()

    def hand_over(self, do, total, dx):
        """Bring what was added up to where it belongs."""
        do(np.copyto, dx, total)

    def parts(self, images):
        """In how many parts dW is summed up: more for more threads, fewer where that takes much memory."""
        return min(images, 8 if self.blobs[0].count * self.dtype.itemsize <= PARTIAL_BYTES else 4)

    def multiply_adds(self, bottom, top):
        return len(bottom) * self.N * self.M * self.windows[0].L * self.C // self.p.group * math.prod(self.kernel)
