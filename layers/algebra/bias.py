"""Bias: an offset for each channel."""

from __future__ import annotations

import numpy as np

from ...compute.channels import add_rounded
from ...net.example import Example
from ...net.fillers import Filler
from ...net.registry import register
from ...spec.declare import Declared, param
from .broadcast import Broadcast


@register
class Bias(Broadcast):
    """An offset for each channel: y = x + b.

    b has the shape of ``num_axes`` axes of x from ``axis`` on and is the same along all others.
    bottom[0]: x, any shape.    bottom[1], if given: b, in place of a learned one; num_axes is then b's.
    top[0]: y, x's shape.
    blobs[0]: b, unless it is a bottom.
    Backward: dx = dy, db = Σ dy, summed over the axes that b does not have.
    Initial values: zero.
    Errors: axes beyond those of x; a bottom[1], or x after the first batch, that b does not fit.
    Source: Caffe's Bias.
    """

    class Parameters(Declared):
        axis: int = param(default=1, doc="first axis of x that b has; negative counts from the end")
        num_axes: int = param(
            default=1, minimum=-1, doc="axes of b: -1 all from axis on, 0 one offset for everything; one bottom only"
        )
        filler: Filler = param(default=Filler(), doc="initial values of b")

    backward_reads = ()
    letter = "b"
    examples = (
        Example([(2, 3, 2, 2)]),
        Example([(2, 3, 2, 7)], {"axis": 2, "num_axes": -1, "filler": "gaussian"}),
        Example([(2, 3, 2)], {"num_axes": 0}),
        Example([(2, 3, 5, 7), (3,)]),
        Example([(2, 3, 2, 2), (2, 3)], {"axis": 0}),
    )

    def Forward_cpu(self, bottom, top):
        x = self.as_axes_go(bottom)
        self.channels.each(lambda x, y, b: np.add(x, b, out=y), [x, top[0].data], [self.values(bottom)])

    def passes_gradient_on(self, i):
        return i == 0

    def Backward_cpu(self, top, propagate_down, bottom):
        dy = top[0].diff
        if propagate_down[0] and not bottom[0].shares_diff_with(top[0]):
            np.copyto(bottom[0].diff, dy)
        if len(bottom) == 2:
            if propagate_down[1]:
                np.copyto(bottom[1].diff, self.channels.sums([lambda dy: dy], [dy])[0].reshape(self.shape))
        elif self.param_propagate_down[0]:
            add_rounded(self.channels.sums([lambda dy: dy], [dy]), self.blobs[0].diff)
