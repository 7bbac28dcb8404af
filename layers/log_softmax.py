"""LogSoftmax: logarithms of probabilities."""

from __future__ import annotations

import numpy as np

from ..net.declare import Declared, param
from ..net.registry import register
from .layer import Example, Layer
from .softmax import check_classes


@register
class LogSoftmax(Layer):
    """Logarithms of softmax probabilities along ``axis``: y_k = x_k - log Σ_j exp(x_j).

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx_k = dy_k - exp(y_k) Σ_j dy_j, from y alone.
    The largest score is taken off first: exact for any scores, where the logarithm of Softmax is -infinity.
    Source: PyTorch's LogSoftmax.
    """

    class Parameters(Declared):
        axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")

    backward_reads = ("top.data",)
    may_run_in_place = True
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]), Example([(2, 3, 4)], {"axis": -1}))

    def reshape(self, bottom, top):
        self.axis, self.reduced = check_classes(bottom[0], self.p.axis)
        top[0].reshape(bottom[0].shape)

    def Forward_cpu(self, bottom, top):
        one, e = self.buffer("one", self.reduced), self.buffer("e", bottom[0].shape)
        y = top[0].data
        np.subtract(bottom[0].data, np.max(bottom[0].data, axis=self.axis, keepdims=True, out=one), out=y)
        np.exp(y, out=e)
        np.sum(e, axis=self.axis, keepdims=True, out=one)
        y -= np.log(one, out=one)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dy, dx = top[0].diff, bottom[0].diff
            total = np.sum(dy, axis=self.axis, keepdims=True, out=self.buffer("one", self.reduced))
            np.exp(top[0].data, out=dx)
            dx *= total
            np.subtract(dy, dx, out=dx)
