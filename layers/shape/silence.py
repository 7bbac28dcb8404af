"""Silence: reads blobs and does nothing."""

from __future__ import annotations

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register


@register
class Silence(Layer):
    """Reads blobs so that they are not outputs of the net.

    bottom[i]: anything.    No tops.
    Backward: dx_i = 0.
    Source: Caffe's Silence.
    """

    num_bottoms = (1, None)
    num_tops = 0
    backward_reads = ()
    examples = (Example([(2, 3), (4,)]),)

    def reshape(self, bottom, top):
        """There is no top."""

    def Forward_cpu(self, bottom, top):
        """Nothing to compute."""

    def Backward_cpu(self, top, propagate_down, bottom):
        for propagate, blob in zip(propagate_down, bottom, strict=True):
            if propagate:
                blob.diff[...] = 0
