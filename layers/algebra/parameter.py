"""Parameter: learned numbers as a blob."""

from __future__ import annotations

import numpy as np

from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ..shape.shapes import Shape


@register
class Parameter(Layer):
    """A learned array as a blob that other layers read: y = w.

    No bottoms.    top[0]: y, of ``shape``.    blobs[0]: w, the same shape.
    Backward: dw = dy.
    Initial values: zero, as in Caffe, unless ``filler`` says otherwise.
    Source: Caffe's Parameter; ``filler`` is an addition.
    """

    class Parameters(Declared):
        shape: Shape = param(doc="the shape of w: [4, 3], or [] for a single number")
        filler: Filler = param(default=Filler(), doc="initial values of w")

        aliases = {"parameter_param": "write its fields beside type", "weight_filler": "filler", "dim": "shape"}

    num_bottoms = 0
    backward_reads = ()
    examples = (Example(params={"shape": [3, 2]}), Example(params={"shape": [], "filler": "gaussian"}))

    def setup(self, bottom, top):
        self.add_blob(self.p.shape, self.p.filler)

    def reshape(self, bottom, top):
        top[0].reshape(self.p.shape)

    def Forward_cpu(self, bottom, top):
        np.copyto(top[0].data, self.blobs[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if self.param_propagate_down[0]:
            dw = self.blobs[0].diff
            dw += top[0].diff
