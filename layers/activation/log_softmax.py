"""LogSoftmax: logarithms of probabilities."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.registry import register
from .class_axis import ClassAxis


@register
class LogSoftmax(ClassAxis):
    """Logarithms of softmax probabilities along ``axis``: y_k = x_k - log Σ_j exp(x_j).

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx_k = dy_k - exp(y_k) Σ_j dy_j, from y alone.
    The largest score is subtracted first: exact for any scores, where the logarithm of Softmax is -infinity.
    Source: PyTorch's LogSoftmax.
    """

    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]), Example([(2, 3, 4)], {"axis": -1}))

    def Forward_cpu(self, bottom, top):
        def log_softmax(x, y, one):
            np.subtract(x, np.max(x, axis=1, keepdims=True, out=one), out=y)
            e = np.exp(y, out=scratch("e", y.shape, y.dtype))
            np.sum(e, axis=1, keepdims=True, out=one)
            y -= np.log(one, out=one)

        by_example(log_softmax, *self.by_class(bottom[0].data, top[0].data))

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(y, dy, dx, one):
            np.exp(y, out=dx)
            dx *= np.sum(dy, axis=1, keepdims=True, out=one)
            np.subtract(dy, dx, out=dx)

        if propagate_down[0]:
            by_example(gradient, *self.by_class(top[0].data, top[0].diff, bottom[0].diff))
