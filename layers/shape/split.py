"""Split: copies of a blob."""

from __future__ import annotations

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register


@register
class Split(Layer):
    """Several copies of a blob, whose gradients add up.

    bottom[0]: x, any shape.    top[i]: x.
    Backward: dx = Σ_i dy_i.
    A spec rarely needs it: a blob may be read by any number of layers, and their gradients are added.
    Source: Caffe's Split, which it inserts by itself.
    """

    num_tops = (1, None)
    backward_reads = ()
    any_layout = True
    examples = (Example([(2, 3)], tops=3), Example([(2, 3, 2, 2)], tops=1))

    def in_words(self):
        return "copies: the gradients of all of them add up"

    def Forward_cpu(self, bottom, top):
        for blob in top:
            np.copyto(blob.data, bottom[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dx = bottom[0].diff
            np.copyto(dx, top[0].diff)
            for blob in top[1:]:
                dx += blob.diff
