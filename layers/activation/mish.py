"""Mish."""

from __future__ import annotations

import numpy as np

from ...compute.functions import exp_of_minus_abs, sigmoid
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register


@register
class Mish(NeuronLayer):
    """A smooth gate, elementwise: y = x tanh(log(1 + exp(x))).

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx = dy (t + x (1 - t²) σ(x)), t the tanh, σ the logistic sigmoid.
    With e = exp(-|x|), t is (1 + 2e) / (1 + 2e + 2e²) above zero and (2e + e²) / (2 + 2e + e²) below: one
    exponential, which cannot overflow.
    Source: Misra 2019; PyTorch's Mish.
    """

    backward_reads = ("bottom.data",)
    any_layout = True
    may_run_in_place = False
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]))

    def gate(self, x, out):
        """t = tanh(log(1 + exp(x)))."""
        e = exp_of_minus_abs(x, out=scratch("e", x.shape, x.dtype))
        square = np.square(e, out=scratch("square", x.shape, x.dtype))
        above = np.greater_equal(x, 0, out=scratch("above", x.shape, bool))
        e *= 2
        # a = 1 above zero, 0 below; the numerator is n = 2e + e² + a (1 - e²), the denominator n + 2 + 2a (e² - 1)
        a = np.multiply(above, 1, out=scratch("a", x.shape, x.dtype))
        np.subtract(1, square, out=out)
        out *= a
        a *= square
        a -= above
        a += 1  # 1 + a (e² - 1), half of what is added for the denominator
        out += square
        out += e
        a *= 2
        a += out
        out /= a
        return out

    def Forward_cpu(self, bottom, top):
        def mish(x, y):
            self.gate(x, out=y)
            y *= x

        blockwise(mish, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(x, dy, dx):
            t = self.gate(x, out=scratch("t", x.shape, x.dtype))
            slope = np.square(t, out=scratch("slope", x.shape, x.dtype))
            np.subtract(1, slope, out=slope)
            slope *= x
            slope *= sigmoid(x, out=scratch("sigmoid", x.shape, x.dtype))
            slope += t
            np.multiply(dy, slope, out=dx)

        if propagate_down[0]:
            blockwise(gradient, bottom[0].data, top[0].diff, bottom[0].diff)
