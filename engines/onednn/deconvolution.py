"""Deconvolution by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain, reorder
from ...compute.onednn.stages import Stage, Work
from ...layers.vision.deconvolution import Deconvolution
from .convolution import OneDNNConvolution
from .shares import add_up


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
            each = plain((1, self.C, *[1] * len(self.kernel)), True)
            wholes = {count: self.x_descriptor(count) for count in self.shares.counts}
            self.adding_b = {n: Primitive("binary", dnn.ADD, whole, each, whole) for n, whole in wholes.items()}
            self.each = each
        return reason

    def b_descriptor(self):
        """The convolution from y to x has none."""
        return None

    # Passes

    def forward(self, bottom, top):
        b = [blob.data for blob in self.blobs[1:]]
        for i, blob in enumerate(bottom):
            self.passes.run(("y", i), (blob.data, top[i].data, self.blobs[0].data, *b), self.top_stages)

    def backward(self, top, propagate_down, bottom):
        for i, blob in enumerate(bottom):
            dy = top[i].diff
            if propagate_down[i]:
                self.passes.run(("dx", i), (blob.diff, dy, self.blobs[0].data), self.bottom_stages)
            if self.param_propagate_down[0]:
                dW, cleared = self.blobs[0].diff_to_add_to()
                self.passes.run(("dW", i, cleared), (blob.data, dy, dW), self.kernel_stages(not cleared))
            if self.p.bias_term and self.param_propagate_down[1]:
                self.add_sums(dy)

    def top_stages(self, x, y, W, b=None):
        x, bring, _ = self.moved(x, "x")
        *before, stage = self.data_stages(y, x, W)
        if b is not None:
            stage = [[*works, self.plus_b(y[share], b)] for works, share in zip(stage, self.shares.slices, strict=True)]
        return [bring, *before, stage]

    def bottom_stages(self, dx, dy, W):
        dx, _, back = self.moved(dx, "dx")
        return [*self.forward_stages(dy, dx, W), back]

    def kernel_stages(self, add):
        """What makes the stages of dW; it is added to what is there, or overwrites it."""

        def stages(x, dy, dW):
            x, bring, _ = self.moved(x, "x")
            order = self.primitives["backward_weights", self.shares.counts[0]].descriptor(dnn.DIFF_WEIGHTS)
            sums = self.buffer("dW of parts", (len(self.shares), order.elements))

            def task(i, share, count):
                source, bring, _ = self.channels_last(dy, share, count, "dy")
                memories = {
                    dnn.SRC: source,
                    dnn.DIFF_DST: Memory(self.y_descriptor(count), x[share]),
                    dnn.DIFF_WEIGHTS: Memory(order, sums[i]),
                }
                return [*bring, (self.primitives["backward_weights", count], memories)]

            here = self.weights_descriptor(dW)
            memories = {dnn.SRC: Memory(order, sums[0]), dnn.DST: Memory(here, dW)}
            return [bring, self.shares.stage(task), add_up(sums), [[(reorder(order, here, adding=add), memories)]]]

        return stages

    # Parts

    def moved(self, x, name) -> tuple[np.ndarray, Stage, Stage]:
        """x or dx with channels last, and the stages that bring it there and back."""
        if self.M == 1 or np.moveaxis(x, 1, -1).flags.c_contiguous:
            return x, [], []
        copy = self.buffer(f"{name} moved", x.shape, channels_last=True)

        def between(a, b, a_last, b_last):
            def task(_, share, count):
                here, there = (plain((count, *x.shape[1:]), last) for last in (a_last, b_last))
                memories = {dnn.SRC: Memory(here, a[share]), dnn.DST: Memory(there, b[share])}
                return [(reorder(here, there), memories)]

            return self.shares.stage(task)

        return copy, between(x, copy, False, True), between(copy, x, True, False)

    def plus_b(self, y, b) -> Work:
        """y += b."""
        whole = Memory(self.x_descriptor(len(y)), y)
        return self.adding_b[len(y)], {dnn.SRC: whole, dnn.SRC_1: Memory(self.each, b), dnn.DST: whole}
