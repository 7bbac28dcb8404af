"""PReLU by oneDNN."""

from __future__ import annotations

import itertools

import numpy as np

from ...compute.memory import memory_order
from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...compute.stages import TOUCH, Stage
from ...layers.activation.prelu import PReLU
from .careful import CarefulLayer
from .layer import OneDNNLayer

BLOCK = 1 << 16  # elements that stay in a processor's own cache
LONGEST = 2048  # rows: oneDNN adds them one after the other, in single precision
MOST = 16  # tasks


class OneDNNPReLU(CarefulLayer, PReLU):
    """y, dx and da of blocks of rows of channels; the da of the blocks are added up in double precision.

    dy has to be ordinary as well: oneDNN leaves out of da what the formula multiplies by 0, and so makes NaN.
    """

    def prepare(self, bottom, top):
        if self.p.channel_shared:
            return "one slope for all channels"
        if not bottom[0].channels_last and len(bottom[0].shape) != 2:
            return "channels that do not lie last"
        self.rows = bottom[0].count // self.C
        step = max(1, min(BLOCK // self.C, LONGEST))
        self.blocks = [slice(i, min(i + step, self.rows)) for i in range(0, self.rows, step)]
        self.each = plain((1, self.C))
        self.primitives = {n: self.both_ways(n) for n in {block.stop - block.start for block in self.blocks}}
        self.expect(len(self.blocks))
        return ""

    def both_ways(self, count):
        rows = plain((count, self.C))
        forward = Primitive("prelu_forward", dnn.TRAINING, rows, self.each, rows)
        return forward, Primitive("prelu_backward", rows, self.each, rows, self.each, rows, forward)

    def fast_forward(self, bottom, top):
        self.passes.run("y", (bottom[0].data, top[0].data, self.blobs[0].data), self.forward_stages)

    def fast_backward(self, top, propagate_down, bottom):
        learns = self.param_propagate_down[0]
        if not (learns or propagate_down[0]):
            return
        dx = bottom[0].diff if propagate_down[0] else None
        self.passes.run("dx", (bottom[0].data, top[0].diff, dx, self.blobs[0].data), self.backward_stages)
        if self.odd.any():
            super(OneDNNLayer, self).Backward_cpu(top, propagate_down, bottom)
        elif learns:
            self.blobs[0].diff += self.sums().sum(axis=0, dtype=np.float64).astype(np.float32)

    def sums(self):
        """da of each block."""
        return self.buffer("da", (len(self.blocks), self.C))

    def forward_stages(self, x, y, a):
        def works(number, block):
            memories = self.memories(block, {dnn.SRC: x, dnn.DST: y}, a)
            return [(self.look, (memories[dnn.SRC].array, number)), self.call(0, block, memories)]

        return [self.stage(works)]

    def backward_stages(self, x, dy, dx, a):
        sums = self.sums()

        def works(number, block):
            written = {} if dx is None else {dnn.DIFF_SRC: dx}
            memories = self.memories(block, {dnn.SRC: x, dnn.DIFF_DST: dy, **written}, a)
            memories[dnn.DIFF_WEIGHTS] = Memory(self.each, sums[number])
            if dx is None:
                memories[dnn.DIFF_SRC] = plain((block.stop - block.start, self.C))
            return [(self.look, (memories[dnn.DIFF_DST].array, number)), self.call(1, block, memories)]

        return [self.stage(works)]

    def memories(self, block, arrays, a):
        rows = plain((block.stop - block.start, self.C))
        flats = {role: memory_order(one).reshape(self.rows, self.C) for role, one in arrays.items()}
        return {role: Memory(rows, one[block]) for role, one in flats.items()} | {dnn.WEIGHTS: Memory(self.each, a)}

    def call(self, way, block, memories):
        return self.primitives[block.stop - block.start][way], memories

    def stage(self, works):
        """Tasks of some blocks each, with what ``works(number, block)`` lists."""
        listed = [works(number, block) for number, block in enumerate(self.blocks)]
        tasks = min(MOST, len(listed))
        ends = [i * len(listed) // tasks for i in range(tasks + 1)]
        parts = [list(itertools.chain(*listed[i:j])) for i, j in itertools.pairwise(ends)]
        return Stage(parts, work=TOUCH * self.rows * self.C)
