"""BNLL: binomial normal log likelihood."""

from __future__ import annotations

from ...compute.functions import sigmoid, softplus
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import NeuronLayer
from ...net.registry import register


@register
class BNLL(NeuronLayer):
    """Binomial normal log likelihood, elementwise: y = log(1 + exp(x)).

    bottom[0]: x, any shape.    top[0]: y, x's shape, above 0.
    Backward: dx = dy / (1 + exp(-x)).
    Computed as max(x, 0) + log(1 + exp(-|x|)), the same function, which cannot overflow.
    Source: Caffe's BNLL; Softplus is the same with a slope.
    """

    backward_reads = ("bottom.data",)
    any_layout = True
    may_run_in_place = False
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]))

    def Forward_cpu(self, bottom, top):
        blockwise(softplus, bottom[0].data, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def gradient(x, dy, dx):
            s = sigmoid(x, out=scratch("sigmoid", x.shape, x.dtype))
            s *= dy
            dx[...] = s

        if propagate_down[0]:
            blockwise(gradient, bottom[0].data, top[0].diff, bottom[0].diff)
