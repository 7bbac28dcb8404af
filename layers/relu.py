"""ReLU, plain and leaky."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..net.declare import Declared, param
from ..net.registry import register
from .layer import Example, NeuronLayer


@register
class ReLU(NeuronLayer):
    """Rectified linear unit, elementwise: y = max(x, 0) + s min(x, 0), s = negative_slope (0.1: leaky ReLU).

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx = dy where x > 0, s dy elsewhere (so s dy at exactly 0).
    For s >= 0 the sign of y is the sign of x, so backward reads y only and x may be overwritten.
    Source: Caffe's ReLU.
    """

    class Parameters(Declared):
        negative_slope: float = param(default=0.0, doc="s, the slope below zero")
        engine: Literal["DEFAULT", "CAFFE", "CUDNN"] = param(default="DEFAULT", doc="accepted, without effect")

        aliases = {"slope": "negative_slope", "alpha": "negative_slope", "leak": "negative_slope"}

    backward_reads = ("top.data",)
    examples = (
        Example([(3, 4)]),
        Example([(2, 3, 2, 2)], {"negative_slope": 0.1}),
        Example([(4, 5)], {"negative_slope": -0.5}),
    )

    def setup(self, bottom, top):
        if self.p.negative_slope < 0:
            self.backward_reads = ("bottom.data",)

    def Forward_cpu(self, bottom, top):
        x, y, s = bottom[0].data, top[0].data, self.p.negative_slope
        if s:
            below = np.minimum(x, 0, out=self.buffer("below", x.shape))
            below *= s
        np.maximum(x, 0, out=y)
        if s:
            y += below

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            s = self.p.negative_slope
            signed = bottom[0].data if s < 0 else top[0].data
            slope = np.greater(signed, 0, out=self.buffer("slope", signed.shape, bool))
            dx = np.multiply(top[0].diff, slope, out=bottom[0].diff)
            if s:
                below = np.logical_not(slope, out=slope)
                dy = self.buffer("below", dx.shape)
                np.multiply(top[0].diff, below, out=dy)
                dy *= s
                dx += dy
