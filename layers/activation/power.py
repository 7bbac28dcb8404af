"""Power."""

from __future__ import annotations

import numpy as np

from ...compute.functions import power
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.notation import as_factor
from ...net.registry import register
from ...spec.declare import Declared, param
from .log import positive


@register
class Power(NeuronLayer):
    """Shift, scale and raise to a power, elementwise: y = (shift + scale x)^power.

    bottom[0]: x, any shape.    top[0]: y, x's shape; NaN for a negative base and a power that is not an integer.
    Backward: dx = dy power scale (shift + scale x)^(power - 1); 0 where power or scale is.
    Source: Caffe's Power.
    """

    class Parameters(Declared):
        power: float = param(default=1.0, doc="the exponent")
        scale: float = param(default=1.0, doc="factor of x")
        shift: float = param(default=0.0, doc="added after that")

    backward_reads = ("bottom.data",)
    any_layout = True
    examples = (
        Example([(3, 4)], {"scale": -2, "shift": 1}),
        Example([(2, 3, 2, 2)], {"power": 2, "scale": 0.5, "shift": 3}),
        Example([(3, 4)], {"power": 3}),
        Example([(3, 4)], {"power": -0.75, "shift": 1}, {0: positive}),
        Example([(3, 4)], {"power": 2.5, "scale": 2}, {0: positive}),
        Example([(3, 4)], {"power": 0, "shift": 1}),
        Example([(3, 4)], {"power": 2, "scale": 0, "shift": 3}),
    )

    def formula(self, names):
        p, x = self.p, names[0]
        if p.scale == -1 and not p.shift:
            inside = f"-{as_factor(x)}"
        else:
            inside = x if p.scale == 1 else f"{p.scale:g} * {as_factor(x)}"
        if p.shift:
            inside += f" {'-' if p.shift < 0 else '+'} {abs(p.shift):g}"
        if p.power == 1:
            return inside
        return f"1 / {as_factor(inside)}" if p.power == -1 else f"{as_factor(inside)} ** {p.power:g}"

    def in_words(self):
        p = self.p
        if not (p.power and p.scale):
            return "a constant: no gradient"
        if p.power == 1 and p.scale == 1:
            return "a constant added: the gradient passes unchanged" if p.shift else "the gradient passes unchanged"
        if p.power == 1:
            return f"multiplied by {p.scale:g}: so is the gradient"
        plain = p.scale == 1 and not p.shift
        if p.power == -1 and plain:
            return "1/x: the gradient times -1/x²"
        inner = f" * {p.scale:g}" if p.scale != 1 else ""
        base = "x" if plain else "base"
        return f"a power: the gradient times {p.power:g} * {base} ** {p.power - 1:g}{inner}"

    def base(self, x):
        """shift + scale x, in scratch memory."""
        base = np.multiply(x, self.p.scale, out=scratch("base", x.shape, x.dtype))
        base += self.p.shift
        return base

    def Forward_cpu(self, bottom, top):
        def raise_it(x, y):
            with np.errstate(all="ignore"):
                power(self.base(x), self.p.power, out=y)
                if not self.p.scale:  # a constant, for infinite x too
                    y.fill(np.float64(self.p.shift) ** self.p.power)

        blockwise(raise_it, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        p = self.p

        def gradient(x, dy, dx):
            with np.errstate(all="ignore"):
                slope = power(self.base(x), p.power - 1, out=scratch("slope", x.shape, x.dtype))
                slope *= p.power * p.scale
                np.multiply(dy, slope, out=dx)

        if not propagate_down[0]:
            return
        if not (p.power and p.scale):
            bottom[0].diff.fill(0)
        else:
            blockwise(gradient, bottom[0].data, top[0].diff, bottom[0].diff)
