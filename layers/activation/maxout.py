"""Maxout."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class Maxout(Layer):
    """The largest of k neighbouring channels: y_j = max(x_jk, …, x_jk+k-1).

    bottom[0]: x, with C channels on ``axis``.    top[0]: y, x's shape with C / k there.
    Backward: dy goes to the largest; of equal ones to the first.
    Errors: C is not divisible by k.
    Source: Goodfellow et al. 2013: after an InnerProduct with k M outputs it is a layer of M maxout units.
    """

    class Parameters(Declared):
        num_pieces: int = param(minimum=1, doc="k, the number of channels of which the largest is taken")
        axis: int = param(default=1, doc="the axis of the channels; negative counts from the end")

    backward_reads = ("bottom.data", "top.data")
    examples = (
        Example([(3, 6)], {"num_pieces": 2}),
        Example([(2, 3, 2, 2)], {"num_pieces": 3}),
        Example([(2, 3, 4)], {"num_pieces": 4, "axis": -1}),
    )

    def reshape(self, bottom, top):
        axis, shape, k = bottom[0].canonical_axis(self.p.axis), bottom[0].shape, self.p.num_pieces
        if shape[axis] % k:
            raise ShapeError(
                f"axis {axis} of {format_shape(shape)} has {shape[axis]} channels, not divisible by {k}",
                key="num_pieces",
            )
        top[0].reshape((*shape[:axis], shape[axis] // k, *shape[axis + 1 :]))
        self.parts = (*shape[:axis], shape[axis] // k, k, *shape[axis + 1 :])
        self.pieces = [(slice(None),) * (axis + 1) + (i,) for i in range(k)]

    def Forward_cpu(self, bottom, top):
        def largest(x, y):
            np.copyto(y, x[self.pieces[0]])
            for piece in self.pieces[1:]:
                np.maximum(y, x[piece], out=y)

        x, y = bottom[0].data.reshape(self.parts), top[0].data
        by_example(largest, x, y) if len(self.parts) > 2 else largest(x, y)

    def Backward_cpu(self, top, propagate_down, bottom):
        def route(x, y, dy, dx):
            rest = scratch("rest", dy.shape, dy.dtype)  # dy, until it has found its place
            np.copyto(rest, dy)
            for piece in self.pieces:
                here = np.equal(x[piece], y, out=scratch("here", y.shape, bool))
                np.multiply(rest, here, out=dx[piece])
                rest *= np.logical_not(here, out=here)

        if propagate_down[0]:
            x, dx = bottom[0].data.reshape(self.parts), bottom[0].diff.reshape(self.parts)
            by_example(route, x, top[0].data, top[0].diff, dx)
