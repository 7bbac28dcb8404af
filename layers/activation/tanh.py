"""TanH."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register


@register
class TanH(NeuronLayer):
    """Hyperbolic tangent, elementwise: y = tanh(x).

    bottom[0]: x, any shape.    top[0]: y, x's shape, in [-1, 1].
    Backward: dx = dy (1 - y²), from y alone.
    Source: Caffe's TanH.
    """

    backward_reads = ("top.data",)
    any_layout = True
    limits = (-1, 1)
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]))

    def formula(self, names):
        return f"tanh({names[0]})"

    def in_words(self):
        return "tanh: the gradient times 1 - y², y its output"

    def Forward_cpu(self, bottom, top):
        blockwise(np.tanh, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(y, dy, dx):
            np.multiply(y, y, out=dx)
            np.subtract(1, dx, out=dx)
            dx *= dy

        if propagate_down[0]:
            blockwise(gradient, top[0].data, top[0].diff, bottom[0].diff)
