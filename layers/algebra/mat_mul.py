"""MatMul: the matrix product of two blobs."""

from __future__ import annotations

import math

import numpy as np

from ...compute import blas
from ...compute.parallel import run
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .stretching import add_up

LEAST_WORK = 1 << 20  # multiply-adds: less is not worth waking a thread for


def transposed_if(array, transpose):
    """The array, or its matrices (the last two axes) transposed: a view."""
    return array.swapaxes(-1, -2) if transpose else array


def rows(array):
    """All rows of all matrices as one matrix: a view of a contiguous array."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def product(a, b, out):
    """out = a b for each matrix on the last two axes; sizes 1 of the axes before are stretched, as in numpy.matmul."""
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous and out.flags.c_contiguous:
        a, out = rows(a), rows(out)
    if out.ndim == 2:
        blas.matmul(a, b, out)
        return
    if a.shape[-1] == 1:  # outer products: nothing to add up
        np.multiply(a, b, out=out)
        return
    count, work = len(out), out.size * a.shape[-1]
    tasks = max(1, min(count, 16, work // LEAST_WORK))

    def some(task):
        part = slice(task * count // tasks, (task + 1) * count // tasks)
        left, right = (array[part] if array.ndim == out.ndim and len(array) > 1 else array for array in (a, b))
        np.matmul(left, right, out=out[part])

    run(some, tasks)


@register
class MatMul(Layer):
    """The matrix product Y = A B of the last two axes, for every index of the axes before them.

    These may differ as in numpy: a size 1, or a missing axis, stands for any size.
    bottom[0]: A, … x M x K (K x M with ``transpose_a``).    bottom[1]: B, … x K x N (N x K with ``transpose_b``).
    top[0]: Y, … x M x N.
    Backward: dA = dY Bᵀ, dB = Aᵀ dY, added up over the axes that were stretched.
    Errors: fewer than two axes; sizes K that differ; axes before them that cannot be broadcast.
    Source: numpy.matmul, PyTorch's matmul.
    """

    class Parameters(Declared):
        transpose_a: bool = param(default=False, doc="transpose the matrices of bottom[0]")
        transpose_b: bool = param(default=False, doc="transpose the matrices of bottom[1]")

        aliases = {"trans_a": "transpose_a", "trans_b": "transpose_b", "adj_x": "transpose_a", "adj_y": "transpose_b"}

    num_bottoms = 2
    backward_reads = ("bottom.data",)
    examples = (
        Example([(2, 3), (3, 4)]),
        Example([(2, 3, 2), (2, 4, 3)], {"transpose_a": True, "transpose_b": True}),
        Example([(2, 1, 2, 3), (3, 3, 2)]),
        Example([(3, 2), (2, 3, 2)], {"transpose_a": True}),
        Example([(2, 2, 3), (4, 3)], {"transpose_b": True}),
    )

    def reshape(self, bottom, top):
        a, b = (blob.shape for blob in bottom)
        if min(len(a), len(b)) < 2:
            raise ShapeError("both bottoms need matrices, which are their last two axes")
        M, K = a[-2:][::-1] if self.p.transpose_a else a[-2:]
        other, N = b[-2:][::-1] if self.p.transpose_b else b[-2:]
        if other != K:
            words = ", transposed" if self.p.transpose_a else "", ", transposed" if self.p.transpose_b else ""
            raise ShapeError(
                f"A of {format_shape(a)}{words[0]} has rows of {K}, B of {format_shape(b)}{words[1]} has columns "
                f"of {other}; they must be equal",
                key=("transpose_a", "transpose_b"),
            )
        try:
            self.before = np.broadcast_shapes(a[:-2], b[:-2])
        except ValueError:
            raise ShapeError(
                f"the axes before the matrices, {format_shape(a[:-2])} and {format_shape(b[:-2])}, must be equal or 1, "
                "counted from the last"
            ) from None
        top[0].reshape((*self.before, M, N))
        self.K = K
        self.one_sum = len(b) == 2 and not self.p.transpose_a  # dB is then a product of two large matrices

    def in_words(self):
        if self.p.transpose_a or self.p.transpose_b:
            return "a matrix product: each input gets the gradient times the other, in the shape of the input"
        return "a matrix product: A gets the gradient times B transposed, B gets A transposed times the gradient"

    def multiply_adds(self, bottom, top):
        return top[0].count * self.K

    def Forward_cpu(self, bottom, top):
        a, b = self.matrices(bottom)
        product(a, b, top[0].data)

    def matrices(self, bottom):
        """A and B."""
        return transposed_if(bottom[0].data, self.p.transpose_a), transposed_if(bottom[1].data, self.p.transpose_b)

    def Backward_cpu(self, top, propagate_down, bottom):
        (a, b), dy = self.matrices(bottom), top[0].diff
        if propagate_down[0]:
            da = transposed_if(bottom[0].diff, self.p.transpose_a)
            self.gradient(dy, transposed_if(b, True), da)
        if propagate_down[1]:
            db = transposed_if(bottom[1].diff, self.p.transpose_b)
            if self.one_sum:
                product(rows(a).T, rows(dy), db)
            else:
                self.gradient(transposed_if(a, True), dy, db)

    def gradient(self, left, right, out):
        """out = left right, added up where out has fewer matrices."""
        shape = (*self.before, *out.shape[-2:])
        if out.shape == shape:
            product(left, right, out)
        else:
            each = self.buffer("of each matrix", shape)
            product(left, right, each)
            add_up(each, out)
