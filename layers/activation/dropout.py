"""Dropout."""

from __future__ import annotations

import numpy as np

from ...compute.memory import memory_order
from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class Dropout(NeuronLayer):
    """Set a random share r = dropout_ratio of the elements to zero while training: y = x m, m = [u >= r] / (1 - r).

    bottom[0]: x, any shape.    top[0]: y, x's shape.    u is uniform in [0, 1), drawn anew in each forward pass.
    Backward: dx = dy m.
    In TEST y = x and dx = dy: dividing by 1 - r in training keeps the expected value the same.
    Source: Caffe's Dropout; Srivastava et al. 2014.
    """

    class Parameters(Declared):
        dropout_ratio: float = param(default=0.5, minimum=0, below=1, doc="r, the share of elements set to zero")

    backward_reads = ()
    any_layout = True
    same_in_tests = True
    examples = (
        Example([(3, 4)]),
        Example([(2, 3, 2, 2)], {"dropout_ratio": 0.25}),
        Example([(3, 4)], {"dropout_ratio": 0.25}, phase="TEST"),
    )

    def Forward_cpu(self, bottom, top):
        x, y = bottom[0].data, top[0].data
        if self.phase == "TEST":
            np.copyto(y, x)
            return
        r = self.p.dropout_ratio
        self.mask = self.buffer("mask", x.shape, channels_last=bottom[0].channels_last)
        numbers = memory_order(self.mask)
        self.rng.random(dtype=numbers.dtype.type, out=numbers)

        def drop(x, m, y):
            np.greater_equal(m, r, out=m)
            m *= 1 / (1 - r)
            np.multiply(x, m, out=y)

        blockwise(drop, x, self.mask, y)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            if self.phase == "TEST":
                np.copyto(bottom[0].diff, top[0].diff)
            else:
                blockwise(np.multiply, top[0].diff, self.mask, bottom[0].diff)
