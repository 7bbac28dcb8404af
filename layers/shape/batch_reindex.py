"""BatchReindex: examples chosen by their indices."""

from __future__ import annotations

import numpy as np

from ...net.example import Example, labels
from ...net.layer import Layer
from ...net.registry import register
from ...spec.errors import NettrainError, ShapeError, format_shape
from .rows import put_rows, rows, take_rows


@register
class BatchReindex(Layer):
    """Examples by number: y_k = x_(i_k). An example may occur several times, or not at all.

    bottom[0]: x, N x ….    bottom[1]: i, K integers 0 … N-1.    top[0]: y, K x ….
    Backward: dx_n = the sum of dy_k over all k with i_k = n. The numbers have no gradient.
    Errors: numbers that are not on one axis; one that is out of range or not an integer (Caffe drops the fraction).
    Source: Caffe's BatchReindex.
    """

    num_bottoms = 2
    no_gradient = (1,)
    backward_reads = ()
    any_layout = True
    examples = (
        Example([(3, 2), (5,)], values={1: labels(3)}),
        Example([(4, 2, 1, 2), (2,)], values={1: lambda rng, shape: np.array([3.0, 1])}),
    )

    def reshape(self, bottom, top):
        if not bottom[0].shape:
            raise ShapeError("there are no examples to choose from in a scalar")
        if len(bottom[1].shape) != 1:
            raise ShapeError(f"the numbers of the examples need one axis, got {format_shape(bottom[1].shape)}")
        top[0].reshape((*bottom[1].shape, *bottom[0].shape[1:]), channels_last=bottom[0].channels_last)

    def Forward_cpu(self, bottom, top):
        given, count = bottom[1].data, bottom[0].shape[0]
        bad = ~((given >= 0) & (given < count) & (given == np.floor(given)))  # a NaN is bad too
        if bad.any():
            k = int(np.argmax(bad))
            known = (
                f"is not one of the {count} examples (0..{count - 1})"
                if count
                else "does not exist: there are no examples"
            )
            raise NettrainError(f"number {given[k]:g} at position {k} {known}")
        self.numbers = given.astype(np.intp)
        take_rows(bottom[0].data, self.numbers, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dy, numbers = top[0].diff, self.numbers
            if len(np.unique(numbers)) < len(numbers):
                dy, numbers = self.sums(dy)
            put_rows(dy, numbers, bottom[0].diff)

    def sums(self, dy):
        """One row for each example that occurs, the sum of its dy; and the examples' numbers."""
        order = np.argsort(self.numbers, kind="stable")
        used, starts = np.unique(self.numbers[order], return_index=True)
        width = rows(dy).shape[1]
        together = self.buffer("dy in order", (len(order), width))
        take_rows(dy, order, together)
        return np.add.reduceat(together, starts, axis=0, out=self.buffer("sums", (len(used), width))), used
