"""Swish."""

from __future__ import annotations

import numpy as np

from ...compute.functions import sigmoid
from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class Swish(NeuronLayer):
    """A gate that opens with its own input, elementwise: y = x σ(βx), σ the logistic sigmoid.

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx = dy (β y + σ(βx) (1 - β y)), from y and σ, which is kept.
    Source: Caffe's Swish; Ramachandran et al. 2017. With β = 1 it is SiLU.
    """

    class Parameters(Declared):
        beta: float = param(default=1.0, doc="β, how sharply the gate opens")

    backward_reads = ("top.data",)
    any_layout = True
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)], {"beta": -1.5}))

    def setup(self, bottom, top):
        self.beta = self.p.beta

    def Forward_cpu(self, bottom, top):
        def swish(x, s, y):
            np.multiply(x, self.beta, out=s)
            sigmoid(s, out=s)
            np.multiply(x, s, out=y)

        x = bottom[0].data
        self.s = self.buffer("s", x.shape, channels_last=bottom[0].channels_last)
        blockwise(swish, x, self.s, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(y, s, dy, dx):
            np.subtract(1, s, out=dx)
            dx *= y
            dx *= self.beta
            dx += s
            dx *= dy

        if propagate_down[0]:
            blockwise(gradient, top[0].data, self.s, top[0].diff, bottom[0].diff)
