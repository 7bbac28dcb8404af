"""ReLU by oneDNN: the backward pass."""

from __future__ import annotations

from ...compute.memory import in_memory_order
from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...compute.stages import calling, elementwise
from ...layers.activation.relu import ReLU
from .layer import OneDNNLayer


class OneDNNReLU(OneDNNLayer, ReLU):
    """dx = dy where y > 0, s dy elsewhere. Forward is the formula's: oneDNN's makes a NaN 0, which would hide it."""

    def prepare(self, bottom, top):
        self.made = {}
        return "a slope below 0" if self.p.negative_slope < 0 else ""

    def primitive(self, count):
        if count not in self.made:
            flat, slope = plain((count,)), float(self.p.negative_slope)
            forward = Primitive("eltwise_forward", dnn.TRAINING, dnn.RELU_FROM_DST, flat, flat, slope, 0.0)
            backward = Primitive("eltwise_backward", dnn.RELU_FROM_DST, flat, flat, flat, slope, 0.0, forward)
            self.made[count] = backward, flat
        return self.made[count]

    def forward_work(self, bottom, top):
        return [elementwise(calling(self.rectify), bottom[0].data, top[0].data)]

    def backward_work(self, top, propagate_down, bottom, cleared):
        if not propagate_down[0]:
            return []
        arrays = (top[0].data, top[0].diff, bottom[0].diff)
        same = in_memory_order(arrays) is not None
        return [elementwise(self.slopes if same else calling(self.gradient), *arrays)]

    def slopes(self, *pieces):
        primitive, flat = self.primitive(pieces[0].size)
        roles = (dnn.DST, dnn.DIFF_DST, dnn.DIFF_SRC)
        return [(primitive, {role: Memory(flat, piece) for role, piece in zip(roles, pieces, strict=True)})]
