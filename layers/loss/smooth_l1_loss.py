"""SmoothL1Loss: squared near zero, absolute beyond."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import scratch
from ...net.example import Example
from ...net.registry import register
from ...spec.declare import param
from .l1_loss import DifferenceLoss
from .loss_parameters import RegressionParameters


@register
class SmoothL1Loss(DifferenceLoss):
    """Mean of a loss that is d² / 2β for |d| < β and |d| - β / 2 beyond, d = a - b: L = (1/D) Σ loss(d).

    bottom[0]: a, any shape.    bottom[1]: b, the same shape.    top[0]: L, a scalar.
    bottom[2], if given: weights u inside, of the same shape: d = u (a - b).    bottom[3], if given: weights v of the
    losses: L = (1/D) Σ v loss(d). They choose the boxes and their coordinates that count, and have no gradient.
    D: the number of elements, unless normalization says otherwise; it counts those of weight 0 too.
    With β = 0 it is L1Loss.
    Backward: da = d / β for |d| < β, else sign(d), times u v dL / D; db = -da: both bottoms have a gradient.
    Computed without branches: with c = d held between -β and β, loss = c (d - c / 2) / β.
    Source: Girshick 2015; PyTorch's SmoothL1Loss.
    """

    class Parameters(RegressionParameters):
        beta: float = param(default=1.0, minimum=0, doc="β, the difference above which the loss is absolute")

    num_bottoms = (2, 4)
    no_gradient = (2, 3)
    examples = (
        Example([(5, 4), (5, 4)]),
        Example([(2, 3, 2), (2, 3, 2)], {"beta": 0.5, "normalization": "BATCH_SIZE"}),
        Example([(3, 4), (3, 4)], {"beta": 0, "normalization": "NONE"}),
        Example([(3, 4)] * 4, {"beta": 0.5, "normalization": "BATCH_SIZE"}),
    )

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.backward_reads = ("bottom.data",) if len(bottom) > 2 else ()

    def judged(self, bottom):
        """The coordinates that were chosen: those of which no weight is 0."""
        return np.logical_and.reduce([blob.data != 0 for blob in bottom[2:]]) if len(bottom) > 2 else None

    def value(self, d, out):
        if self.p.beta == 0:
            np.abs(d, out=out)
            return
        held = np.clip(d, -self.p.beta, self.p.beta, out=scratch("held", d.shape, d.dtype))
        np.multiply(held, -0.5, out=out)
        out += d
        out *= held
        out *= 1 / self.p.beta

    def slope(self, d, out):
        if self.p.beta == 0:
            np.sign(d, out=out)
            return
        np.clip(d, -self.p.beta, self.p.beta, out=out)
        out *= 1 / self.p.beta
