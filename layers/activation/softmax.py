"""Softmax: scores to probabilities."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import by_example
from ...net.example import Example
from ...net.registry import register
from .class_axis import ClassAxis, ClassAxisParameters


@register
class Softmax(ClassAxis):
    """Probabilities from scores along ``axis``: y_k = exp(x_k) / Σ_j exp(x_j).

    bottom[0]: x, any shape.    top[0]: y, x's shape; along the axis it sums to 1.
    Backward: dx_k = y_k (dy_k - Σ_j dy_j y_j), from y alone.
    The largest score is subtracted first, which changes nothing and cannot overflow.
    Source: Caffe's Softmax.
    """

    class Parameters(ClassAxisParameters):
        aliases = {"softmax_param": "write axis beside type"}

    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]), Example([(2, 3, 4)], {"axis": -1}))

    def Forward_cpu(self, bottom, top):
        def softmax(x, y, one):
            np.subtract(x, np.max(x, axis=1, keepdims=True, out=one), out=y)
            np.exp(y, out=y)
            y /= np.sum(y, axis=1, keepdims=True, out=one)

        by_example(softmax, *self.by_class(bottom[0].data, top[0].data))

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(y, dy, dx, one):
            np.multiply(dy, y, out=dx)
            np.subtract(dy, np.sum(dx, axis=1, keepdims=True, out=one), out=dx)
            dx *= y

        if propagate_down[0]:
            by_example(gradient, *self.by_class(top[0].data, top[0].diff, bottom[0].diff))
