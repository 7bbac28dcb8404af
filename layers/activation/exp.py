"""Exp."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from ...spec.declare import Declared, param


class ExponentialParameters(Declared):
    """Caffe's exp_param and log_param."""

    base: float = param(default=-1.0, doc="the base, above 0; -1 stands for e")
    scale: float = param(default=1.0, doc="factor of x")
    shift: float = param(default=0.0, doc="added after that")

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.base != -1 and self.base <= 0:
            yield "base", f"must be above 0, or -1 for e, got {self.base:g}"

    @property
    def is_plain(self) -> bool:
        """Whether it is e to the x, or the natural logarithm of x."""
        return (self.scale, self.shift, self.log_base) == (1, 0, 1)

    @property
    def log_base(self) -> float:
        """Natural logarithm of the base."""
        return 1.0 if self.base == -1 else math.log(self.base)


@register
class Exp(NeuronLayer):
    """Exponential, elementwise: y = base^(shift + scale x).

    bottom[0]: x, any shape.    top[0]: y, x's shape, above 0; infinite where a float cannot hold it.
    Backward: dx = dy y scale ln(base), from y alone.
    Errors: a base that is not above 0.
    Source: Caffe's Exp.
    """

    Parameters = ExponentialParameters
    backward_reads = ("top.data",)
    any_layout = True
    examples = (
        Example([(3, 4)]),
        Example([(2, 3, 2, 2)], {"base": 2, "scale": 0.5, "shift": 1}),
        Example([(3, 2)], {"base": 0.5, "scale": -1}),
    )

    def formula(self, names):
        return f"exp({names[0]})" if self.p.is_plain else super().formula(names)

    def in_words(self):
        factor = self.p.scale * self.p.log_base
        return "exp: the gradient times its own output" + (f" times {factor:g}" if factor != 1 else "")

    def Forward_cpu(self, bottom, top):
        factor, summand = self.p.scale * self.p.log_base, self.p.shift * self.p.log_base

        def exponential(x, y):
            inside = x
            if factor != 1 or summand:
                inside = np.multiply(x, factor, out=y)
                inside += summand
            with np.errstate(over="ignore"):
                np.exp(inside, out=y)

        blockwise(exponential, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        factor = self.p.scale * self.p.log_base

        def gradient(y, dy, dx):
            np.multiply(dy, y, out=dx)
            dx *= factor

        if propagate_down[0]:
            blockwise(gradient, top[0].data, top[0].diff, bottom[0].diff)
