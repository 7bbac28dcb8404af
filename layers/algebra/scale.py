"""Scale: a factor, and an offset, for each channel."""

from __future__ import annotations

import numpy as np

from ...compute.channels import add_rounded
from ...net.example import Example
from ...net.fillers import Filler
from ...net.registry import register
from ...spec.declare import Declared, param
from .broadcast import Broadcast


@register
class Scale(Broadcast):
    """A factor for each channel, and an optional offset: y = s x + b.

    s has the shape of ``num_axes`` axes of x from ``axis`` on and is the same along all others.
    bottom[0]: x, any shape.    bottom[1], if given: s, in place of a learned one; num_axes is then s's.
    top[0]: y, x's shape.
    blobs[0]: s, unless it is a bottom.    the last of blobs, with bias_term: b, s's shape.
    Backward: dx = s dy, ds = Σ dy x, db = Σ dy, summed over the axes that s does not have.
    Initial values: s one, b zero.
    Errors: axes beyond those of x; a bottom[1], or x after the first batch, that s does not fit.
    Source: Caffe's Scale.
    """

    class Parameters(Declared):
        axis: int = param(default=1, doc="first axis of x that s has; negative counts from the end")
        num_axes: int = param(
            default=1, minimum=-1, doc="axes of s: -1 all from axis on, 0 one factor for everything; one bottom only"
        )
        filler: Filler = param(default=Filler(value=1.0), doc="initial values of s")
        bias_term: bool = param(default=False, doc="whether b is added")
        bias_filler: Filler = param(default=Filler(), doc="initial values of b")

    backward_reads = ("bottom.data",)
    examples = (
        Example([(2, 3, 2, 2)]),
        Example([(4, 3)], {"bias_term": True, "bias_filler": 0.5}),
        Example([(2, 3, 2, 7)], {"axis": 2, "num_axes": -1, "filler": "gaussian"}),
        Example([(2, 2, 3)], {"axis": 0, "num_axes": 2, "bias_term": True}),
        Example([(2, 3, 2)], {"num_axes": 0, "bias_term": True}),
        Example([(2, 3, 5, 7), (3,)]),
        Example([(2, 3, 2, 2), (2, 3)], {"axis": 0, "bias_term": True}),
    )

    def Forward_cpu(self, bottom, top):
        x = self.as_axes_go(bottom)
        values = [self.values(bottom)]
        if self.p.bias_term:
            values.append(self.channels.spread("b", self.blobs[-1].data, self.dtype))
        self.channels.each(self.scale, [x, top[0].data], values)

    def scale(self, x, y, s, b=None):
        np.multiply(x, s, out=y)
        if b is not None:
            y += b

    def Backward_cpu(self, top, propagate_down, bottom):
        x = self.as_axes_go(bottom)
        dy = top[0].diff
        terms, totals = [], []
        if propagate_down[1] if len(bottom) == 2 else self.param_propagate_down[0]:
            terms.append(lambda x, dy, *_: (x, dy))
            totals.append(bottom[1] if len(bottom) == 2 else self.blobs[0])
        if self.p.bias_term and self.param_propagate_down[-1]:
            terms.append(lambda x, dy, *_: dy)
            totals.append(self.blobs[-1])
        arrays, values, then = [x, dy], [], None
        if propagate_down[0]:
            dx = bottom[0].diff if self.as_it_lies else self.buffer("dx", dy.shape)
            arrays, values, then = [x, dy, dx], [self.values(bottom)], self.gradient
        if not terms and then is None:
            return
        sums = self.channels.sums(terms, arrays, values, then)
        for blob, total in zip(totals, sums, strict=True):
            if blob in bottom:
                np.copyto(blob.diff, total.reshape(self.shape))
            else:
                add_rounded(total, blob.diff)
        if propagate_down[0] and not self.as_it_lies:
            np.copyto(bottom[0].diff, dx)

    def gradient(self, x, dy, dx, s):
        np.multiply(dy, s, out=dx)
