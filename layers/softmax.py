"""Softmax: scores to probabilities."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..net.blob import Blob
from ..net.declare import Declared, param
from ..net.errors import ShapeError, format_shape
from ..net.registry import register
from .layer import Example, Layer


def check_classes(blob: Blob, axis: int) -> tuple[int, tuple[int, ...]]:
    """The class axis counted from the front, and the shape with 1 there. Raises ShapeError without classes."""
    axis, shape = blob.canonical_axis(axis), blob.shape
    if shape[axis] == 0:
        raise ShapeError(f"axis {axis} of {format_shape(shape)} has no classes", key="axis")
    return axis, (*shape[:axis], 1, *shape[axis + 1 :])


@register
class Softmax(Layer):
    """Probabilities from scores along ``axis``: y_k = exp(x_k) / Σ_j exp(x_j).

    bottom[0]: x, any shape.    top[0]: y, x's shape; along the axis it sums to 1.
    Backward: dx_k = y_k (dy_k - Σ_j dy_j y_j), from y alone.
    The largest score is taken off first, which changes nothing and cannot overflow.
    Source: Caffe's Softmax.
    """

    class Parameters(Declared):
        axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")
        engine: Literal["DEFAULT", "CAFFE", "CUDNN"] = param(default="DEFAULT", doc="accepted, without effect")

        aliases = {"softmax_param": "write axis beside type"}

    backward_reads = ("top.data",)
    may_run_in_place = True
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]), Example([(2, 3, 4)], {"axis": -1}))

    def reshape(self, bottom, top):
        self.axis, self.reduced = check_classes(bottom[0], self.p.axis)
        top[0].reshape(bottom[0].shape)

    def Forward_cpu(self, bottom, top):
        one = self.buffer("one", self.reduced)
        y = top[0].data
        np.subtract(bottom[0].data, np.max(bottom[0].data, axis=self.axis, keepdims=True, out=one), out=y)
        np.exp(y, out=y)
        y /= np.sum(y, axis=self.axis, keepdims=True, out=one)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            y, dy, dx = top[0].data, top[0].diff, bottom[0].diff
            np.multiply(dy, y, out=dx)
            mean = np.sum(dx, axis=self.axis, keepdims=True, out=self.buffer("one", self.reduced))
            np.subtract(dy, mean, out=dx)
            dx *= y
