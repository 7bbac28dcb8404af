"""Deconvolution by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain, reorder
from ...compute.stages import TOUCH, Stage
from ...layers.vision.deconvolution import Deconvolution
from .convolution import OneDNNConvolution


class OneDNNDeconvolution(OneDNNConvolution, Deconvolution):
    """The passes of the convolution that reads y and writes x: its dx is y without b, its y is dx, its dW is dW.

    An x that does not lie channels last is brought there, and its dx back, part by part. Not covered, since the
    formula's products take half the time: an x of single pixels, and a y of one channel.
    """

    def prepare(self, bottom, top):
        if self.C == 1 or self.windows[0].L == 1:
            return "one output channel" if self.C == 1 else "single pixels"
        reason = super().prepare(bottom, top)
        if not reason and self.p.bias_term:
            self.each = plain((1, self.C, *[1] * len(self.kernel)), True)
            self.adding_b = {count: self.adding(count) for count in self.shares.counts}
        return reason

    def adds_b(self):
        """The convolution from y to x does not."""
        return False

    def adding(self, count):
        whole = self.x_descriptor(count, self.C)
        return Primitive("binary", dnn.ADD, whole, self.each, whole)

    # Passes

    def forward_work(self, bottom, top):
        W, stages = self.blobs[0].data, []
        for i, blob in enumerate(bottom):
            y = top[i].data
            x, bring, _ = self.moved(blob.data, f"x {i}")
            stages += [*bring, *self.data_stages(y, x, W)]
            if self.p.bias_term:
                stages.append(self.plus_b(y, self.blobs[1].data))
        return stages

    def backward_work(self, top, propagate_down, bottom, cleared):
        stages = []
        for i, blob in enumerate(bottom):
            dy = top[i].diff
            if propagate_down[i]:
                dx, _, back = self.moved(blob.diff, f"dx {i}")
                stages += [*self.forward_stages(dy, dx, self.blobs[0].data), *back]
            overwrites = [flag and i == 0 for flag in cleared]
            if self.param_propagate_down[0]:
                x, bring, _ = self.moved(blob.data, f"x {i}")
                stages += [*bring, *self.weight_stages(i, dy, x, [self.blobs[0].diff], overwrites)]
            if self.p.bias_term and self.param_propagate_down[1]:
                stages.append(Stage([[(self.sum_up, (dy, overwrites[1]))]], when="after", work=dy.size))
        return stages

    def sum_up(self, dy, overwrites):
        if overwrites:
            self.blobs[1].diff.fill(0)
        self.add_sums(dy)

    # Parts

    def moved(self, x, name):
        """x or dx with channels last, and the stages that bring it there and back."""
        if self.M == 1 or np.moveaxis(x, 1, -1).flags.c_contiguous:
            return x, [], []
        copy = self.buffer(f"{name} moved", x.shape, channels_last=True)

        def between(a, b, a_last, b_last):
            def task(_, share, count):
                here, there = (plain((count, *x.shape[1:]), last) for last in (a_last, b_last))
                memories = {dnn.SRC: Memory(here, a[share]), dnn.DST: Memory(there, b[share])}
                return [(reorder(here, there), memories)]

            return [self.shares.stage(task, TOUCH * x.size)]

        return copy, between(x, copy, False, True), between(copy, x, True, False)

    def plus_b(self, y, b):
        """y += b."""

        def task(_, share, count):
            whole = Memory(self.x_descriptor(count, self.C), y[share])
            return [(self.adding_b[count], {dnn.SRC: whole, dnn.SRC_1: Memory(self.each, b), dnn.DST: whole})]

        return self.shares.stage(task, TOUCH * y.size)
