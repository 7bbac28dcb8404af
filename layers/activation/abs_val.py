"""AbsVal."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register


@register
class AbsVal(NeuronLayer):
    """Absolute value, elementwise: y = |x|.

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx = dy sign(x), 0 at 0.
    Source: Caffe's AbsVal, which refuses a top named like the bottom.
    """

    backward_reads = ("bottom.data",)
    any_layout = True
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]))

    def formula(self, names):
        return f"|{names[0]}|"

    def in_words(self):
        return "absolute value: the gradient with the sign of the input"

    def Forward_cpu(self, bottom, top):
        blockwise(np.abs, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(x, dy, dx):
            np.sign(x, out=dx)
            dx *= dy

        if propagate_down[0]:
            blockwise(gradient, bottom[0].data, top[0].diff, bottom[0].diff)
