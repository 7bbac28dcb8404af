"""ReLU by oneDNN: the backward pass."""

from __future__ import annotations

from ...compute.memory import in_memory_order
from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...layers.activation.relu import ReLU
from .layer import OneDNNLayer

TASK = 1 << 16  # elements worth waking a thread for
MOST = 8  # tasks


class OneDNNReLU(OneDNNLayer, ReLU):
    """dx = dy where y > 0, s dy elsewhere. Forward is the formula's: oneDNN's makes a NaN 0, which would hide it."""

    def prepare(self, bottom, top):
        if self.p.negative_slope < 0:
            return "a slope below 0"
        count = bottom[0].count
        tasks = max(1, min(MOST, count // TASK))
        ends = [count * i // tasks // 16 * 16 for i in range(tasks)] + [count]
        self.pieces = [slice(*ends[i : i + 2]) for i in range(tasks)]
        self.primitives = {n: self.primitive(n) for n in {piece.stop - piece.start for piece in self.pieces}}
        return ""

    def primitive(self, count):
        flat, slope = plain((count,)), float(self.p.negative_slope)
        forward = Primitive("eltwise_forward", dnn.TRAINING, dnn.RELU_FROM_DST, flat, flat, slope, 0.0)
        return Primitive("eltwise_backward", dnn.RELU_FROM_DST, flat, flat, flat, slope, 0.0, forward)

    def forward(self, bottom, top):
        ReLU.Forward_cpu(self, bottom, top)

    def backward(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        arrays = (top[0].data, top[0].diff, bottom[0].diff)
        if in_memory_order(arrays) is None:
            ReLU.Backward_cpu(self, top, propagate_down, bottom)
        else:
            self.passes.run("dx", arrays, self.stages)

    def stages(self, *arrays):
        roles = (dnn.DST, dnn.DIFF_DST, dnn.DIFF_SRC)
        flats = in_memory_order(arrays) or ()
        tasks = []
        for piece in self.pieces:
            flat = plain((piece.stop - piece.start,))
            memories = {role: Memory(flat, one[piece]) for role, one in zip(roles, flats, strict=True)}
            tasks.append([(self.primitives[piece.stop - piece.start], memories)])
        return [tasks]
