"""ReLU, plain and leaky."""

from __future__ import annotations

import numpy as np

from ...compute.functions import negative_part, positive_part
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.notation import as_factor
from ...net.registry import register
from ...spec.declare import Declared, param


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

        aliases = {"slope": "negative_slope", "alpha": "negative_slope", "leak": "negative_slope"}

    backward_reads = ("top.data",)
    any_layout = True
    examples = (
        Example([(3, 4)]),
        Example([(2, 3, 2, 2)], {"negative_slope": 0.1}),
        Example([(4, 5)], {"negative_slope": -0.5}),
    )

    def setup(self, bottom, top):
        self.may_die = self.p.negative_slope == 0
        if self.p.negative_slope < 0:
            self.backward_reads = ("bottom.data",)

    def formula(self, names):
        if not 0 <= self.p.negative_slope <= 1:
            return super().formula(names)
        below = f"{self.p.negative_slope:g} * {as_factor(names[0])}" if self.p.negative_slope else "0"
        return f"max({below}, {names[0]})"

    def in_words(self):
        s = self.p.negative_slope
        return f"the gradient passes where the input is above 0; elsewhere {f'times {s:g}' if s else 'nothing does'}"

    def Forward_cpu(self, bottom, top):
        blockwise(self.rectify, bottom[0].data, top[0].data)

    def rectify(self, x, y):
        s = self.p.negative_slope
        if 0 < s <= 1:
            below = np.multiply(x, s, out=scratch("below", x.shape, x.dtype))
            np.maximum(x, below, out=y)
            return
        if s:
            below = negative_part(x, out=scratch("below", x.shape, x.dtype))
            below *= s
        positive_part(x, out=y)
        if s:
            y += below

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            signed = (bottom if self.p.negative_slope < 0 else top)[0].data
            blockwise(self.gradient, signed, top[0].diff, bottom[0].diff)

    def gradient(self, signed, dy, dx):
        s = self.p.negative_slope
        above = np.greater(signed, 0, out=scratch("above", signed.shape, bool))
        if not s:
            np.multiply(dy, above, out=dx)
            return
        slope = scratch("slope", dx.shape, dx.dtype)
        np.copyto(slope, above)
        slope *= 1 - s
        slope += s
        np.multiply(dy, slope, out=dx)
