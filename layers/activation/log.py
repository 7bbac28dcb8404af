"""Log."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register
from .exp import ExponentialParameters


def positive(rng, shape):
    """Numbers of which a logarithm and its gradient can be checked."""
    return rng.uniform(0.5, 3, shape)


class LogParameters(ExponentialParameters):
    """Caffe's log_param."""

    def validate(self) -> Iterable[tuple[str, str]]:
        yield from super().validate()
        if self.base == 1:
            yield "base", "1 has no logarithm"


@register
class Log(NeuronLayer):
    """Logarithm, elementwise: y = log_base(shift + scale x).

    bottom[0]: x, any shape.    top[0]: y, x's shape; -infinity at 0 and NaN below, as in Caffe.
    Backward: dx = dy scale / (ln(base) (shift + scale x)).
    Errors: a base that is not above 0, or is 1.
    Source: Caffe's Log.
    """

    Parameters = LogParameters
    backward_reads = ("bottom.data",)
    any_layout = True
    examples = (
        Example([(3, 4)], values={0: positive}),
        Example([(2, 3, 2, 2)], {"base": 2, "scale": 0.5, "shift": 1}, {0: positive}),
        Example([(3, 2)], {"base": 0.5}, {0: positive}),
    )

    def formula(self, names):
        return f"log({names[0]})" if self.p.is_plain else super().formula(names)

    def in_words(self):
        return "log: the gradient divided by the input" if self.p.is_plain else ""

    def inside(self, x, out):
        """shift + scale x"""
        np.multiply(x, self.p.scale, out=out)
        out += self.p.shift
        return out

    def Forward_cpu(self, bottom, top):
        def logarithm(x, y):
            self.inside(x, out=y)
            with np.errstate(divide="ignore", invalid="ignore"):
                np.log(y, out=y)
            y *= 1 / self.p.log_base

        blockwise(logarithm, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(x, dy, dx):
            inside = self.inside(x, out=scratch("inside", x.shape, x.dtype))
            np.multiply(dy, self.p.scale / self.p.log_base, out=dx)
            with np.errstate(divide="ignore", invalid="ignore"):
                dx /= inside

        if propagate_down[0]:
            blockwise(gradient, bottom[0].data, top[0].diff, bottom[0].diff)
