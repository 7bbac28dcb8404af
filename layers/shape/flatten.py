"""Flatten: several axes become one."""

from __future__ import annotations

import math

from ...net.example import Example
from ...net.layer import ReshapingLayer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class Flatten(ReshapingLayer):
    """The same values with the axes from ``axis`` to ``end_axis`` (both included) as one.

    bottom[0]: x, any shape.    top[0]: x with those axes replaced by their product.
    Backward: dx = dy, in x's shape.
    Source: Caffe's Flatten.
    """

    class Parameters(Declared):
        axis: int = param(default=1, doc="first axis that is flattened; negative counts from the end")
        end_axis: int = param(default=-1, doc="last axis that is flattened")

    examples = (
        Example([(2, 3, 2, 2)]),
        Example([(2, 3, 2, 2)], {"axis": 0, "end_axis": 1}),
        Example([(2, 3, 4)], {"axis": 2}),
    )

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        first, last = bottom[0].canonical_axis(self.p.axis), bottom[0].canonical_axis(self.p.end_axis, "end_axis")
        if first > last:
            raise ShapeError(f"axis {first} comes after end_axis {last} of {format_shape(shape)}", key="axis")
        top[0].reshape((*shape[:first], math.prod(shape[first : last + 1]), *shape[last + 1 :]))
