"""Convolution in any number of dimensions, with groups, stride, padding and dilation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import numpy as np

from ..net.declare import param
from ..net.errors import ShapeError, format_shape
from ..net.fillers import Filler
from ..net.registry import register
from .layer import Example, Layer
from .windows import KernelParameters, Windows

CHUNK_BYTES = 1 << 20  # columns of one chunk of examples: small enough to stay in the cache


class ConvolutionParameters(KernelParameters):
    """What convolutions and their relatives share."""

    num_output: int = param(minimum=1, doc="M, output channels")
    bias_term: bool = param(default=True, doc="whether b is added")
    group: int = param(default=1, minimum=1, doc="channels are cut into so many groups that do not see each other")
    weight_filler: Filler = param(default=Filler(type="xavier"), doc="first values of W")
    bias_filler: Filler = param(default=Filler(), doc="first values of b")
    axis: int = param(default=1, doc="the channel axis; spatial axes follow it, axes before it are examples")
    force_nd_im2col: bool = param(default=False, doc="Caffe's choice of algorithm; accepted, without effect")
    engine: Literal["DEFAULT", "CAFFE", "CUDNN"] = param(default="DEFAULT", doc="accepted, without effect")

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
    Examples are taken in chunks whose columns stay in the cache.
    Initial values: W xavier (Caffe: zeros), b zero.
    Errors: a kernel larger than the padded input (Caffe would make an output of 1 when it overhangs by less than a
    stride); channels or num_output not divisible by group; bottoms of different shapes.
    Source: Caffe's Convolution.
    """

    Parameters = ConvolutionParameters
    num_bottoms = (1, None)
    num_tops = (1, None)
    same_number_of_tops = True
    backward_reads = ("bottom.data",)
    examples = (
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
    )

    def setup(self, bottom, top):
        p, shape = self.p, bottom[0].shape
        self.axis = bottom[0].canonical_axis(p.axis)
        self.C, self.M, axes = shape[self.axis], p.num_output, len(shape) - self.axis - 1
        if self.C == 0:
            raise ShapeError(f"axis {self.axis} of {format_shape(shape)} has no channels")
        if self.C % p.group:
            raise ShapeError(f"{self.C} input channels are not divisible by group {p.group}", key="group")
        self.kernel, self.stride = p.sizes("kernel_size", axes), p.sizes("stride", axes)
        self.pad, self.dilation = p.sizes("pad", axes, 0), p.sizes("dilation", axes)
        self.add_blob((self.M, self.C // p.group, *self.kernel), p.weight_filler)
        if p.bias_term:
            self.add_blob((self.M,), p.bias_filler)

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) != self.axis + 1 + len(self.kernel):
            raise ShapeError(f"the kernel has {len(self.kernel)} spatial axes, {format_shape(shape)} has others")
        if shape[self.axis] != self.C:
            raise ShapeError(f"the weights take {self.C} channels, {format_shape(shape)} has {shape[self.axis]}")
        if any(blob.shape != shape for blob in bottom):
            raise ShapeError("every bottom must have the same shape")
        self.N = math.prod(shape[: self.axis])
        self.windows = Windows(shape[self.axis + 1 :], self.kernel, self.stride, self.pad, self.dilation)
        self.K, self.L = self.C * math.prod(self.kernel), math.prod(self.windows.output)
        self.chunk = max(1, min(self.N, CHUNK_BYTES // max(1, self.K * self.L * self.dtype.itemsize)))
        for blob in top:
            blob.reshape((*shape[: self.axis], self.M, *self.windows.output))

    def chunks(self, bottom, top):
        """Pairs of an input and an output chunk: n x C x (spatial axes) and n x M x L."""
        x = bottom.reshape(self.N, self.C, *self.windows.sizes)
        y = top.reshape(self.N, self.M, self.L)
        for start in range(0, self.N, self.chunk):
            yield x[start : start + self.chunk], y[start : start + self.chunk]

    def columns(self, x):
        """The windows of a chunk as columns, group x K/group x (n L)."""
        n = len(x)
        padded = self.buffer("padded", (n, self.C, *self.windows.padded))
        col = self.buffer("col", self.windows.col_shape(self.C, n))
        self.windows.im2col(x, padded, col)
        return col.reshape(self.p.group, self.K // self.p.group, n * self.L)

    def kernels(self, array):
        """W as group x M/group x K/group."""
        return array.reshape(self.p.group, self.M // self.p.group, self.K // self.p.group)

    def Forward_cpu(self, bottom, top):
        W = self.kernels(self.blobs[0].data)
        for x_blob, y_blob in zip(bottom, top, strict=True):
            for x, y in self.chunks(x_blob.data, y_blob.data):
                col = self.columns(x)
                product = self.buffer("product", (*W.shape[:2], col.shape[2]))
                np.matmul(W, col, out=product)
                product = product.reshape(self.M, len(x), self.L).swapaxes(0, 1)
                if self.p.bias_term:
                    np.add(product, self.blobs[1].data[:, None], out=y)
                else:
                    y[...] = product

    def Backward_cpu(self, top, propagate_down, bottom):
        W, learns = self.kernels(self.blobs[0].data), self.param_propagate_down
        dW = self.kernels(self.blobs[0].diff)
        for i, (x_blob, y_blob) in enumerate(zip(bottom, top, strict=True)):
            if self.p.bias_term and learns[1]:
                dy = y_blob.diff.reshape(self.N, self.M, self.L)
                self.blobs[1].diff += np.sum(dy, axis=(0, 2), out=self.buffer("db", (self.M,)))
            if not (learns[0] or propagate_down[i]):
                continue
            inputs = self.chunks(x_blob.data, y_blob.diff)
            outputs = self.chunks(x_blob.diff if propagate_down[i] else x_blob.data, y_blob.diff)
            for (x, dy), (dx, _) in zip(inputs, outputs, strict=True):
                n = len(x)
                by_channel = self.buffer("product", (self.M, n, self.L))
                np.copyto(by_channel, dy.swapaxes(0, 1))
                dy = by_channel.reshape(*W.shape[:2], n * self.L)
                if learns[0]:
                    dW += np.matmul(dy, self.columns(x).swapaxes(1, 2), out=self.buffer("dW", W.shape))
                if propagate_down[i]:
                    col = self.buffer("col", self.windows.col_shape(self.C, n))
                    np.matmul(W.swapaxes(1, 2), dy, out=col.reshape(*W.shape[::2], n * self.L))
                    padded = self.buffer("padded", (n, self.C, *self.windows.padded))
                    self.windows.col2im(col, padded, dx)

    def multiply_adds(self, bottom, top):
        return len(bottom) * self.N * self.M * self.L * self.K // self.p.group
