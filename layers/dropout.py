"""Dropout."""

from __future__ import annotations

import numpy as np

from ..net.declare import Declared, param
from ..net.registry import register
from .layer import Example, NeuronLayer


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
        mask = self.buffer("mask", x.shape)
        self.rng.random(dtype=mask.dtype.type, out=mask)
        np.greater_equal(mask, self.p.dropout_ratio, out=mask)
        mask *= 1 / (1 - self.p.dropout_ratio)
        np.multiply(x, mask, out=y)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            if self.phase == "TEST":
                np.copyto(bottom[0].diff, top[0].diff)
            else:
                np.multiply(top[0].diff, self.buffer("mask", top[0].shape), out=bottom[0].diff)
