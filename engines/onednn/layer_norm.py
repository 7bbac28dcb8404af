"""LayerNorm by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...compute.stages import TOUCH, Stage, parts_of
from ...layers.normalization.layer_norm import LayerNorm
from .layer import OneDNNLayer

LONGEST = 2048  # rows: oneDNN adds them one after the other, in single precision


class OneDNNLayerNorm(OneDNNLayer, LayerNorm):
    """Blocks of rows at once; dw and db of the blocks are added up in double precision."""

    def prepare(self, bottom, top):
        if not self.learns:
            return "affine: false, whose backward pass reads y alone"
        self.blocks_of_parts = [
            [slice(i, min(i + LONGEST, part.stop)) for i in range(part.start, part.stop, LONGEST)]
            for part in parts_of(self.N, bottom[0].count)
        ]
        self.blocks = [block for part in self.blocks_of_parts for block in part]
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

    def forward_work(self, bottom, top):
        x, y, learned = bottom[0].data, top[0].data, self.factor_and_offset()
        return [self.stage(x, lambda block: self.call(0, block, self.memories(block, SRC=x, DST=y) | learned))]

    def backward_work(self, top, propagate_down, bottom, cleared):
        learns = any(self.param_propagate_down)
        if not (learns or propagate_down[0]):
            return []
        x, dy, learned = bottom[0].data, top[0].diff, self.factor_and_offset()
        written = {"DIFF_SRC": bottom[0].diff} if propagate_down[0] else {}
        sums = {block.start: one for block, one in zip(self.blocks, self.sums(), strict=True)}

        def gradient(block):
            memories = self.memories(block, SRC=x, DIFF_DST=dy, **written) | learned
            if not written:
                memories[dnn.DIFF_SRC] = plain((block.stop - block.start, self.M))
            for role, total in zip((dnn.DIFF_SCALES, dnn.DIFF_SHIFTS), sums[block.start], strict=True):
                memories[role] = Memory(self.each, total)
            return self.call(1, block, memories)

        adding = [[(self.add_up, (cleared,))]] if learns else []
        return [self.stage(x, gradient), Stage(adding, when="after", work=2 * len(self.blocks) * self.M)]

    def stage(self, x, call):
        """Tasks of parts of the rows, with the call for each block."""
        tasks = [[call(block) for block in part] for part in self.blocks_of_parts]
        return Stage(tasks, self.N if self.N == len(x) > 1 else 0, work=2 * TOUCH * x.size)

    def add_up(self, cleared):
        """dw and db from those of the blocks."""
        sums = self.sums().sum(axis=0, dtype=np.float64).astype(np.float32)
        for blob, total, wanted, overwrites in zip(self.blobs, sums, self.param_propagate_down, cleared, strict=True):
            if wanted:
                blob.diff[...] = total.reshape(blob.shape) + (0 if overwrites else blob.diff)

    def sums(self):
        """dw and db of each block."""
        return self.buffer("sums", (len(self.blocks), 2, self.M))

    def factor_and_offset(self):
        learned = zip((dnn.SCALES, dnn.SHIFTS), self.blobs, strict=True)
        return {role: Memory(self.each, blob.data.reshape(self.M)) for role, blob in learned}

    def call(self, way, block, memories):
        return self.primitives[block.stop - block.start][way], memories
