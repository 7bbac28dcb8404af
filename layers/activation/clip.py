"""Clip."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class Clip(NeuronLayer):
    """Hold every element between two bounds: y = min(max(x, min), max).

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx = dy where min <= x <= max, else 0.
    Source: Caffe's Clip.
    """

    class Parameters(Declared):
        min: float = param(doc="lower bound")
        max: float = param(doc="upper bound")

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.min > self.max:
                yield "min", f"must be <= max, got {self.min:g} and {self.max:g}"

    backward_reads = ("bottom.data",)
    any_layout = True
    examples = (Example([(3, 4)], {"min": -0.5, "max": 0.75}), Example([(2, 3, 2, 2)], {"min": 0, "max": 6}))

    def Forward_cpu(self, bottom, top):
        blockwise(lambda x, y: np.clip(x, self.p.min, self.p.max, out=y), bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(x, dy, dx):
            inside = np.greater_equal(x, self.p.min, out=scratch("inside", x.shape, bool))
            inside &= np.less_equal(x, self.p.max, out=scratch("below", x.shape, bool))
            np.multiply(dy, inside, out=dx)

        if propagate_down[0]:
            blockwise(gradient, bottom[0].data, top[0].diff, bottom[0].diff)
