"""TanH."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..net.declare import Declared, param
from ..net.registry import register
from .layer import Example, NeuronLayer


@register
class TanH(NeuronLayer):
    """Hyperbolic tangent, elementwise: y = tanh(x).

    bottom[0]: x, any shape.    top[0]: y, x's shape, in [-1, 1].
    Backward: dx = dy (1 - y²), from y alone.
    Source: Caffe's TanH.
    """

    class Parameters(Declared):
        engine: Literal["DEFAULT", "CAFFE", "CUDNN"] = param(default="DEFAULT", doc="accepted, without effect")

    backward_reads = ("top.data",)
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]))

    def Forward_cpu(self, bottom, top):
        np.tanh(bottom[0].data, out=top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            y, dx = top[0].data, bottom[0].diff
            np.multiply(y, y, out=dx)
            np.subtract(1, dx, out=dx)
            dx *= top[0].diff
