"""Threshold."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class Threshold(NeuronLayer):
    """Whether each element is above a threshold: y = 1 if x > threshold, else 0.

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    There is no gradient: y is constant wherever it can be differentiated.
    Source: Caffe's Threshold.
    """

    class Parameters(Declared):
        threshold: float = param(default=0.0, doc="elements above it give 1")

    no_gradient = "all"
    any_layout = True
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)], {"threshold": 0.5}))

    def Forward_cpu(self, bottom, top):
        blockwise(lambda x, y: np.greater(x, self.p.threshold, out=y), bottom[0].data, top[0].data)
