"""ELU."""

from __future__ import annotations

import numpy as np

from ...compute.functions import negative_part, positive_part
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class ELU(NeuronLayer):
    """Exponential linear unit, elementwise: y = x above zero, α (exp(x) - 1) below.

    bottom[0]: x, any shape.    top[0]: y, x's shape, above -α.
    Backward: dx = dy above zero; dy (y + α) at zero and below, from y alone unless α < 0.
    Source: Caffe's ELU; Clevert et al. 2015.
    """

    class Parameters(Declared):
        alpha: float = param(default=1.0, doc="α, how far below zero y can go")

    backward_reads: tuple[str, ...] = ("top.data",)
    any_layout = True
    may_run_in_place = False
    examples = (
        Example([(3, 4)]),
        Example([(2, 3, 2, 2)], {"alpha": 0.5}),
        Example([(4, 5)], {"alpha": -0.5}),
    )

    def setup(self, bottom, top):
        if self.p.alpha < 0:
            self.backward_reads = ("bottom.data", "top.data")

    def Forward_cpu(self, bottom, top):
        def elu(x, y):
            below = negative_part(x, out=scratch("below", x.shape, x.dtype))
            np.exp(below, out=below)
            below -= 1
            below *= self.p.alpha
            positive_part(x, out=y)
            y += below

        blockwise(elu, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(signed, y, dy, dx):
            above = np.greater(signed, 0, out=scratch("above", y.shape, bool))
            # y is no larger than |α| below zero; clamped to it, an infinite one above gives no NaN
            slope = np.minimum(y, abs(self.p.alpha), out=scratch("slope", y.shape, y.dtype))
            slope += self.p.alpha
            slope *= np.logical_not(above, out=scratch("not above", y.shape, bool))
            slope += above
            np.multiply(dy, slope, out=dx)

        if propagate_down[0]:
            signed = (bottom if self.p.alpha < 0 else top)[0].data
            blockwise(gradient, signed, top[0].data, top[0].diff, bottom[0].diff)
