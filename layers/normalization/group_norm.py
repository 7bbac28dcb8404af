"""GroupNorm: groups of channels of every example brought to mean 0 and variance 1."""

from __future__ import annotations

import math

import numpy as np

from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .row_norm import RowLayout, RowNorm


@register
class GroupNorm(RowNorm):
    """Group normalization: y = w_c (x - μ) / √(σ² + eps) + b_c, μ and σ² of a group of channels of one example.

    bottom[0]: x, N x C x any further axes.    top[0]: y, x's shape.
    blobs[0]: w, C.    blobs[1]: b, C; none with ``affine: false``.
    With one group it normalizes whole examples, with C groups each channel alone (instance normalization).
    Backward: dw = Σ dy ŷ, db = Σ dy, dx = (a - mean(a) - ŷ mean(a ŷ)) / √(σ² + eps), with ŷ the normalized x, a = w dy.
    Initial values: w one, b zero.
    Errors: fewer than 2 axes; C is not divisible by num_groups, or changes after the first batch.
    Source: Wu and He 2018; PyTorch's GroupNorm.
    """

    class Parameters(Declared):
        num_groups: int = param(minimum=1, doc="groups the channels are divided into")
        eps: float = param(default=1e-5, minimum=0, doc="added to the variance")
        affine: bool = param(default=True, doc="whether w and b are learned")

        aliases = {"group": "num_groups", "groups": "num_groups", "epsilon": "eps"}

    examples = (
        Example([(2, 4, 2, 3)], {"num_groups": 2}),
        Example([(3, 4)], {"num_groups": 1}),
        Example([(2, 4, 5, 7)], {"num_groups": 2}),
        Example([(2, 3, 5)], {"num_groups": 3, "affine": False, "eps": 0.1}),
    )

    def setup(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) < 2:
            raise ShapeError(f"needs N x C x …, got {format_shape(shape)}")
        self.C = shape[1]
        if self.C % self.p.num_groups:
            raise ShapeError(f"{self.C} channels are not divisible by {self.p.num_groups}", key="num_groups")
        if self.p.affine:
            self.learn((self.C,))

    def layout(self, shape):
        if len(shape) < 2 or shape[1] != self.C:
            raise ShapeError(f"normalizes {self.C} channels, got {format_shape(shape)}")
        return RowLayout(shape[0], self.p.num_groups, self.C // self.p.num_groups, math.prod(shape[2:]))

    def divisor(self, variance):
        return np.sqrt(variance + self.p.eps), np.ones_like(variance)
