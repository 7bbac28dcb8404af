"""MVN: mean-variance normalization of single images."""

from __future__ import annotations

import math

import numpy as np

from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .row_norm import RowLayout, RowNorm


@register
class MVN(RowNorm):
    """Each channel of each example is brought to mean 0 and variance 1: y = (x - μ) / (σ + eps).

    bottom[0]: x, N x C x any further axes.    top[0]: y, x's shape.
    With across_channels μ and σ are those of a whole example. Without normalize_variance y = x - μ.
    Backward: dx = (dy - mean(dy) - y mean(dy y) (σ + eps) / σ) / (σ + eps), or dy - mean(dy).
    eps is added to σ, not to the variance, as in Caffe (whose gradient leaves out the factor (σ + eps) / σ, which
    shows only for a large eps).
    Errors: fewer than 2 axes.
    Source: Caffe's MVN.
    """

    class Parameters(Declared):
        normalize_variance: bool = param(default=True, doc="whether σ becomes 1; else only μ becomes 0")
        across_channels: bool = param(default=False, doc="μ and σ of whole examples, not of each channel")
        eps: float = param(default=1e-9, minimum=0, doc="added to σ")

        aliases = {"mvn_param": "write its fields beside type", "epsilon": "eps"}

    examples = (
        Example([(2, 3, 2, 3)]),
        Example([(2, 2, 3)], {"across_channels": True, "eps": 0.5}),
        Example([(2, 3, 2, 2)], {"normalize_variance": False}),
    )

    def setup(self, bottom, top):
        self.divides = self.normalizes = self.p.normalize_variance

    def layout(self, shape):
        if len(shape) < 2:
            raise ShapeError(f"needs N x C x …, got {format_shape(shape)}")
        if self.p.across_channels:
            return RowLayout(shape[0], 1, math.prod(shape[1:]), 1)
        return RowLayout(shape[0] * shape[1], 1, math.prod(shape[2:]), 1)

    def divisor(self, variance):
        sigma = np.sqrt(variance)
        s = sigma + self.p.eps
        # a row of one value has no spread: y is 0 there whatever it is divided by
        return np.where(s == 0, 1, s), np.divide(s, sigma, out=np.ones_like(s), where=sigma > 0)
