"""GELU."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ...compute.functions import normal_cdf
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param

SLOPE, CUBE = math.sqrt(2 / math.pi), 0.044715


@register
class GELU(NeuronLayer):
    """Gaussian error linear unit, elementwise: y = x Φ(x), Φ the share of a normal distribution below x.

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx = dy (Φ(x) + x φ(x)), φ(x) = exp(-x²/2) / √(2π).
    ``approximate: tanh`` takes Φ(x) = (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, whose derivative then replaces φ.
    Source: Hendrycks and Gimpel 2016; PyTorch's GELU.
    """

    class Parameters(Declared):
        approximate: Literal["none", "tanh"] = param(default="none", doc="the formula for Φ: exact, or with a tanh")

    backward_reads = ("bottom.data",)
    any_layout = True
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)], {"approximate": "tanh"}))

    def share(self, x, out):
        """Φ(x), or its approximation."""
        if self.p.approximate == "none":
            return normal_cdf(x, out)
        np.multiply(x, x, out=out)
        out *= CUBE * SLOPE
        out += SLOPE
        out *= x
        np.tanh(out, out=out)
        out *= 0.5
        out += 0.5
        return out

    def Forward_cpu(self, bottom, top):
        def gelu(x, share, y):
            self.share(x, out=share)
            np.multiply(x, share, out=y)

        x = bottom[0].data
        self.kept = self.buffer("share", x.shape, channels_last=bottom[0].channels_last)
        blockwise(gelu, x, self.kept, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(x, share, dy, dx):
            slope = self.density(x, share, out=scratch("slope", x.shape, x.dtype))
            slope *= x
            slope += share
            np.multiply(dy, slope, out=dx)

        if propagate_down[0]:
            blockwise(gradient, bottom[0].data, self.kept, top[0].diff, bottom[0].diff)

    def density(self, x, share, out):
        """Φ'(x): φ(x), or 2 Φ (1 - Φ) √(2/π) (1 + 3 · 0.044715 x²)."""
        np.multiply(x, x, out=out)
        if self.p.approximate == "none":
            out *= -0.5
            np.exp(out, out=out)
            out *= 1 / math.sqrt(2 * math.pi)
            return out
        out *= 6 * CUBE * SLOPE
        out += 2 * SLOPE
        out *= share
        out *= np.subtract(1, share, out=scratch("rest", x.shape, x.dtype))
        return out
