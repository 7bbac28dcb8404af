"""Permute: the axes in another order."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class Permute(Layer):
    """The axes of x in another order, as numpy.transpose gives them: axis k of y is axis ``order[k]`` of x.

    bottom[0]: x, any shape.    top[0]: y, x's sizes in that order.
    Axes that ``order`` leaves out follow those it names, in their own order: [1] is [1, 0, 2, 3] for four axes.
    Backward: dx = dy with the axes back in their places.
    Errors: an axis that x does not have, or that is named twice.
    Source: SSD's Permute (Liu et al. 2016); PyTorch's permute.
    """

    class Parameters(Declared):
        order: tuple[int, ...] = param(doc="the axes of x as y has them: [0, 2, 3, 1]; negative counts from the end")

        aliases = {"permute_param": "write its fields beside type"}

    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 3, 4, 2)], {"order": [0, 2, 3, 1]}),
        Example([(2, 3, 4)], {"order": [-1, 0]}),
        Example([(3, 2)], {"order": [0, 1]}),
    )

    def reshape(self, bottom, top):
        shape, written = bottom[0].shape, self.p.order
        first = [bottom[0].canonical_axis(axis, "order") for axis in written]
        for i, axis in enumerate(first):
            if axis in first[:i]:
                also = "" if written[i] in written[:i] else f", as {written[first.index(axis)]} and {written[i]}"
                raise ShapeError(f"order has axis {axis} of {format_shape(shape)} twice{also}", key="order")
        self.order = (*first, *(axis for axis in range(len(shape)) if axis not in first))
        top[0].reshape(tuple(shape[axis] for axis in self.order))

    def in_words(self):
        return "reordering: each value's gradient goes back to its place"

    def Forward_cpu(self, bottom, top):
        blockwise(np.copyto, top[0].data, bottom[0].data.transpose(self.order))

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            blockwise(np.copyto, bottom[0].diff, top[0].diff.transpose(np.argsort(self.order)))
