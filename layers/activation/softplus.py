"""Softplus."""

from __future__ import annotations

import numpy as np

from ...compute.functions import sigmoid, softplus
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class Softplus(NeuronLayer):
    """A smooth ReLU, elementwise: y = log(1 + exp(βx)) / β, and x where βx is above a threshold.

    bottom[0]: x, any shape.    top[0]: y, x's shape, above 0.
    Backward: dx = dy σ(βx), dy above the threshold.
    Computed as max(βx, 0) + log(1 + exp(-|βx|)), which cannot overflow: the threshold is only there to match PyTorch.
    Source: PyTorch's Softplus; Caffe's BNLL is the same with β = 1 and no threshold.
    """

    class Parameters(Declared):
        beta: float = param(default=1.0, above=0, doc="β: the larger, the nearer to a ReLU")
        threshold: float = param(default=20.0, doc="βx above which y = x")

    backward_reads = ("bottom.data",)
    any_layout = True
    may_run_in_place = False
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)], {"beta": 2.5, "threshold": 1}))

    def above(self, x):
        """Where βx is above the threshold."""
        return np.greater(x, self.p.threshold / self.p.beta, out=scratch("above", x.shape, bool))

    def scaled(self, x):
        return np.multiply(x, self.p.beta, out=scratch("scaled", x.shape, x.dtype))

    def Forward_cpu(self, bottom, top):
        def smooth(x, y):
            softplus(self.scaled(x), out=y)
            y *= 1 / self.p.beta
            above = self.above(x)
            if above.any():
                np.copyto(y, x, where=above)

        blockwise(smooth, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(x, dy, dx):
            scaled = self.scaled(x)
            slope = sigmoid(scaled, out=scaled)
            np.maximum(slope, self.above(x), out=slope)  # 1 where it is above
            np.multiply(dy, slope, out=dx)

        if propagate_down[0]:
            blockwise(gradient, bottom[0].data, top[0].diff, bottom[0].diff)
