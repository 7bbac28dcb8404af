"""HingeLoss: one-vs-all margins."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ...net.example import Example, labels
from ...net.layer import LossLayer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .labels import check_range, read_labels


@register
class HingeLoss(LossLayer):
    """One-vs-all hinge: L = 1/N Σ_n Σ_k max(0, 1 - δ_nk x_nk)^p, δ = +1 for the label's class and -1 for the others.

    bottom[0]: scores x, N x K (further axes are flattened).    bottom[1]: labels, N, 0 … K-1.    top[0]: L, a scalar.
    p is 1 (norm L1) or 2 (norm L2).
    Backward: L1 dx = -δ [margin > 0] dL / N; L2 dx = -2 δ margin dL / N.
    Errors: a label out of range or not an integer; not one label per example.
    Source: Caffe's HingeLoss.
    """

    class Parameters(Declared):
        norm: Literal["L1", "L2"] = param(default="L1", doc="L1: margins, L2: squared margins")

        aliases = {"hinge_loss_param": "write norm beside type", "p": "norm"}

    backward_reads = ()
    judges = "classes"
    examples = (
        Example([(6, 4), (6,)], values={1: labels(4)}),
        Example([(3, 2, 2), (3, 1)], {"norm": "L2"}, {1: labels(4)}),
    )

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.N, self.K = bottom[0].shape[0], math.prod(bottom[0].shape[1:])
        if self.N and not self.K:
            raise ShapeError(f"{format_shape(bottom[0].shape)} has no classes")
        if bottom[1].count != self.N:
            raise ShapeError(f"{self.N} examples need {self.N} labels, got {format_shape(bottom[1].shape)}")
        check_range(bottom[1], self.K)

    def Forward_cpu(self, bottom, top):
        margin = self.buffer("margin", (self.N, self.K))
        self.label = self.buffer("label", (self.N, 1), np.intp)
        read_labels(bottom[1], self.label, self.K)
        np.copyto(margin, bottom[0].data.reshape(margin.shape))
        np.put_along_axis(margin, self.label, -np.take_along_axis(margin, self.label, axis=1), axis=1)
        margin += 1  # 1 - δ x
        np.maximum(margin, 0, out=margin)
        total = margin.sum() if self.p.norm == "L1" else np.dot(margin.reshape(-1), margin.reshape(-1))
        top[0].data[...] = total / max(1, self.N)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            margin = self.buffer("margin", (self.N, self.K))
            dx = bottom[0].diff.reshape(margin.shape)
            scale = float(top[0].diff) / self.N if self.N else 0.0
            if self.p.norm == "L1":
                np.sign(margin, out=dx)
                dx *= scale
            else:
                np.multiply(margin, 2 * scale, out=dx)
            np.put_along_axis(dx, self.label, -np.take_along_axis(dx, self.label, axis=1), axis=1)
