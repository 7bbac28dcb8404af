"""LayerNorm by oneDNN."""

from __future__ import annotations

import itertools

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...layers.normalization.layer_norm import LayerNorm
from .layer import OneDNNLayer
from .shares import LEAST, MOST

COSTS = 16  # an element counts as much work as so many multiply-adds
LONGEST = 2048  # rows: oneDNN adds them one after the other, in single precision


class OneDNNLayerNorm(OneDNNLayer, LayerNorm):
    """Blocks of rows at once; dw and db of the blocks are added up in double precision."""

    def prepare(self, bottom, top):
        if not self.learns:
            return "affine: false, whose backward pass reads y alone"
        number = max(-(-self.N // LONGEST), min(self.N, MOST, COSTS * bottom[0].count // LEAST), 1)
        ends = [i * self.N // number for i in range(number + 1)]
        self.blocks = [slice(a, b) for a, b in itertools.pairwise(ends)]
        self.each = plain((self.M,))
        self.primitives = {
            count: self.both_ways(count) for count in {block.stop - block.start for block in self.blocks}
        }
        return ""

    def both_ways(self, count):
        rows, each, flags = plain((count, self.M)), plain((count,)), dnn.SCALE | dnn.SHIFT
        given = each, float(self.p.eps), flags
        forward = Primitive("layer_normalization_forward", dnn.TRAINING, rows, rows, *given)
        return forward, Primitive("layer_normalization_backward", dnn.BACKWARD, rows, rows, rows, *given, forward)

    def memories(self, block, **arrays):
        """Memory of rows of the arrays, by role, with the mean and the variance of each."""
        rows, each = plain((block.stop - block.start, self.M)), plain((block.stop - block.start,))
        found = {getattr(dnn, role): Memory(rows, one.reshape(self.N, self.M)[block]) for role, one in arrays.items()}
        for role in ("MEAN", "VARIANCE"):
            found[getattr(dnn, role)] = Memory(each, self.buffer(role, (self.N,))[block])
        return found

    def forward(self, bottom, top):
        self.passes.run("y", (bottom[0].data, top[0].data, *(blob.data for blob in self.blobs)), self.forward_stages)

    def backward(self, top, propagate_down, bottom):
        learns = any(self.param_propagate_down)
        if not (learns or propagate_down[0]):
            return
        dx = bottom[0].diff if propagate_down[0] else None
        arrays = bottom[0].data, top[0].diff, dx, *(blob.data for blob in self.blobs)
        self.passes.run("dx", arrays, self.backward_stages)
        if learns:
            sums = self.sums().sum(axis=0, dtype=np.float64).astype(np.float32)
            for blob, total, wanted in zip(self.blobs, sums, self.param_propagate_down, strict=True):
                if wanted:
                    blob.diff += total.reshape(blob.shape)

    def sums(self):
        """dw and db of each block."""
        return self.buffer("sums", (len(self.blocks), 2, self.M))

    def factor_and_offset(self, w, b):
        return {role: Memory(self.each, one.reshape(self.M)) for role, one in ((dnn.SCALES, w), (dnn.SHIFTS, b))}

    def forward_stages(self, x, y, w, b):
        learned = self.factor_and_offset(w, b)
        return [[[self.call(0, block, self.memories(block, SRC=x, DST=y) | learned)] for block in self.blocks]]

    def backward_stages(self, x, dy, dx, w, b):
        tasks = []
        for block, sums in zip(self.blocks, self.sums(), strict=True):
            written = {"DIFF_SRC": dx} if dx is not None else {}
            memories = self.memories(block, SRC=x, DIFF_DST=dy, **written) | self.factor_and_offset(w, b)
            if dx is None:
                memories[dnn.DIFF_SRC] = plain((block.stop - block.start, self.M))
            for role, total in zip((dnn.DIFF_SCALES, dnn.DIFF_SHIFTS), sums, strict=True):
                memories[role] = Memory(self.each, total)
            tasks.append([self.call(1, block, memories)])
        return [tasks]

    def call(self, way, block, memories):
        return self.primitives[block.stop - block.start][way], memories
