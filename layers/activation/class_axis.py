"""What Softmax and LogSoftmax share: an axis of classes, and what lies before and after it."""

from __future__ import annotations

import math

from ...net.layer import Layer
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


class ClassAxisParameters(Declared):
    axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")


class ClassAxis(Layer):
    """A layer of one bottom and one top that computes along ``axis``."""

    Parameters = ClassAxisParameters
    backward_reads = ("top.data",)
    may_run_in_place = True

    def reshape(self, bottom, top):
        axis, shape = bottom[0].canonical_axis(self.p.axis), bottom[0].shape
        if shape[axis] == 0:
            raise ShapeError(f"axis {axis} of {format_shape(shape)} has no classes", key="axis")
        self.outer, self.C, self.inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
        top[0].reshape(shape)

    def by_class(self, *arrays):
        """The arrays as outer x classes x inner, and memory for a value for each position."""
        views = [array.reshape(self.outer, self.C, self.inner) for array in arrays]
        return (*views, self.buffer("one", (self.outer, 1, self.inner)))
