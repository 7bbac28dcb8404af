"""LayerNorm: every example brought to mean 0 and variance 1."""

from __future__ import annotations

import math

import numpy as np

from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .row_norm import RowLayout, RowNorm


@register
class LayerNorm(RowNorm):
    """Layer normalization: y = w (x - μ) / √(σ² + eps) + b, μ and σ² of all values from ``axis`` on.

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    blobs[0]: w, blobs[1]: b, of the axes that are normalized; none with ``affine: false``.
    Backward: dw = Σ dy ŷ, db = Σ dy, dx = (a - mean(a) - ŷ mean(a ŷ)) / √(σ² + eps), with ŷ the normalized x, a = w dy.
    The variance is the mean of (x - μ)². TRAIN and TEST are the same.
    Initial values: w one, b zero.
    Errors: the normalized axes change after the first batch, or have no values.
    Source: Ba et al. 2016; PyTorch's LayerNorm.
    """

    class Parameters(Declared):
        axis: int = param(default=1, doc="the axes from this one on are normalized together; -1: the last alone")
        eps: float = param(default=1e-5, minimum=0, doc="added to the variance")
        affine: bool = param(default=True, doc="whether w and b are learned")

        aliases = {"elementwise_affine": "affine", "epsilon": "eps"}

    examples = (
        Example([(3, 4)]),
        Example([(2, 3, 2, 2)], {"eps": 0.1}),
        Example([(2, 3, 4)], {"axis": -1}),
        Example([(3, 5)], {"affine": False}),
    )

    def setup(self, bottom, top):
        axis = bottom[0].canonical_axis(self.p.axis)
        self.shape = bottom[0].shape[axis:]
        if not math.prod(self.shape):
            raise ShapeError(f"{format_shape(bottom[0].shape)} has no values from axis {axis} on", key="axis")
        if self.p.affine:
            self.learn(self.shape)

    def layout(self, shape):
        count = len(shape) - len(self.shape)
        if shape[count:] != self.shape:
            raise ShapeError(f"normalizes {format_shape(self.shape)}, the last axes; got {format_shape(shape)}")
        return RowLayout(math.prod(shape[:count]), 1, math.prod(self.shape), 1)

    def divisor(self, variance):
        return np.sqrt(variance + self.p.eps), np.ones_like(variance)
