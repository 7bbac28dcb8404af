"""Sigmoid."""

from __future__ import annotations

import numpy as np

from ...compute.functions import sigmoid
from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register


@register
class Sigmoid(NeuronLayer):
    """Logistic sigmoid, elementwise: y = 1 / (1 + exp(-x)).

    bottom[0]: x, any shape.    top[0]: y, x's shape, in [0, 1].
    Backward: dx = dy y (1 - y), from y alone.
    Computed as (tanh(x/2) + 1) / 2, the same function, which cannot overflow.
    Source: Caffe's Sigmoid.
    """

    backward_reads = ("top.data",)
    any_layout = True
    limits = (0, 1)
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]))

    def formula(self, names):
        return f"sigmoid({names[0]})"

    def in_words(self):
        return "sigmoid: the gradient times (1 - y) y, y its output; at most a quarter of it"

    def Forward_cpu(self, bottom, top):
        blockwise(sigmoid, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(y, dy, dx):
            np.subtract(1, y, out=dx)
            dx *= y
            dx *= dy

        if propagate_down[0]:
            blockwise(gradient, top[0].data, top[0].diff, bottom[0].diff)
