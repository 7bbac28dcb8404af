"""InnerProduct: a fully connected layer."""

from __future__ import annotations

import math

import numpy as np

from ...compute.blas import matmul
from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class InnerProduct(Layer):
    """Fully connected layer: y = x Wᵀ + b, for each example.

    bottom[0]: x, N x K, where N is the product of the axes before ``axis`` and K of those from it on.
    top[0]: y, the axes before ``axis`` and then M = num_output.
    blobs[0]: W, M x K (with ``transpose``: K x M).    blobs[1]: b, M.
    Backward: dW += dyᵀ x, db += Σ_n dy_n, dx = dy W.
    Initial values: W xavier (Caffe: zeros), b zero.
    Errors: K changes after the first batch.
    Source: Caffe's InnerProduct.
    """

    class Parameters(Declared):
        num_output: int = param(minimum=1, doc="M, outputs per example")
        bias_term: bool = param(default=True, doc="whether b is added")
        weight_filler: Filler = param(default=Filler(type="xavier"), doc="initial values of W")
        bias_filler: Filler = param(default=Filler(), doc="initial values of b")
        axis: int = param(default=1, doc="the axes from this one on are one input vector")
        transpose: bool = param(default=False, doc="store W as K x M")

    backward_reads = ("bottom.data",)
    examples = (
        Example([(3, 4)], {"num_output": 5}),
        Example([(2, 3, 2, 2)], {"num_output": 4, "bias_term": False}),
        Example([(2, 3, 4)], {"num_output": 5, "axis": 2}),
        Example([(3, 4)], {"num_output": 2, "transpose": True, "bias_filler": 0.5}),
        Example([(5,)], {"num_output": 2, "axis": 0}),
    )

    def setup(self, bottom, top):
        axis = bottom[0].canonical_axis(self.p.axis)
        self.K, self.M = math.prod(bottom[0].shape[axis:]), self.p.num_output
        if self.K == 0:
            raise ShapeError(f"an example of {format_shape(bottom[0].shape[axis:])} has no values")
        shape = (self.K, self.M) if self.p.transpose else (self.M, self.K)
        self.add_blob(shape, self.p.weight_filler, swap_fans=self.p.transpose)
        if self.p.bias_term:
            self.add_blob((self.M,), self.p.bias_filler)

    def reshape(self, bottom, top):
        axis = bottom[0].canonical_axis(self.p.axis)
        if math.prod(bottom[0].shape[axis:]) != self.K:
            raise ShapeError(
                f"the weights take {self.K} inputs, but {format_shape(bottom[0].shape)} from axis {axis} on has "
                f"{' x '.join(map(str, bottom[0].shape[axis:]))} = {math.prod(bottom[0].shape[axis:])}"
            )
        self.N = math.prod(bottom[0].shape[:axis])
        top[0].reshape((*bottom[0].shape[:axis], self.M))

    def weight(self, array):
        """W as M x K, however it is stored."""
        return array.T if self.p.transpose else array

    def in_words(self):
        turned = "W" if self.p.transpose else "W transposed"
        return f"a matrix product: the input gets {turned} times the gradient, W the gradient times the input"

    def Forward_cpu(self, bottom, top):
        x, y = bottom[0].data.reshape(self.N, self.K), top[0].data.reshape(self.N, self.M)
        W = self.weight(self.blobs[0].data)

        matmul(x, W.T, out=y)
        if self.p.bias_term:
            y += self.blobs[1].data

    def Backward_cpu(self, top, propagate_down, bottom):
        x, dy = bottom[0].data.reshape(self.N, self.K), top[0].diff.reshape(self.N, self.M)
        if self.param_propagate_down[0]:
            dW, cleared = self.blobs[0].diff_to_add_to()
            matmul(dy.T, x, out=self.weight(dW), add=not cleared)
        if self.p.bias_term and self.param_propagate_down[1]:
            self.blobs[1].diff += np.sum(dy, axis=0, out=self.buffer("db", (self.M,)))
        if propagate_down[0]:
            W, dx = self.weight(self.blobs[0].data), bottom[0].diff.reshape(self.N, self.K)
            matmul(dy, W, out=dx)

    def multiply_adds(self, bottom, top):
        return self.N * self.K * self.M
