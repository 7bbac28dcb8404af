"""Pooling by oneDNN: MAX and AVE."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...compute.stages import TOUCH
from ...layers.vision.pooling import Pooling
from .layer import OneDNNLayer
from .shares import Shares


class OneDNNPooling(OneDNNLayer, Pooling):
    """y = the largest or the mean of each window, and back, for parts of the batch.

    Not covered: STOCHASTIC, a top with the places of the maxima, and AVE with a pad that counts where a window hangs
    over the image's end (oneDNN divides by the whole window then, Caffe by what of it is inside the padded image).
    """

    def prepare(self, bottom, top):
        if self.p.pool == "STOCHASTIC" or len(top) > 1:
            return "STOCHASTIC" if self.p.pool == "STOCHASTIC" else "a top of places"
        w = self.pools
        if any(k > size + p + q for k, size, p, q in zip(w.kernel, w.sizes, w.pad, self.after, strict=True)):
            return "a window larger than the image"
        beyond = any(end > after for end, after in zip(self.ends(), self.after, strict=True))
        if self.p.pool == "AVE" and self.pad_counts() and beyond:
            return "AVE with a pad and a window over the end"
        self.last = bottom[0].channels_last
        self.shares = Shares(bottom[0].shape[0], bottom[0].count)
        self.primitives = {n: self.both_ways(bottom[0].shape, top[0].shape, n) for n in self.shares.counts}
        return ""

    def pad_counts(self):
        """Whether there is a border, and it is part of what AVE divides by."""
        return self.p.count_include_pad and any((*self.pools.pad, *self.after))

    def ends(self):
        """How far the last window reaches beyond the image, on each axis."""
        w = self.pools
        axes = zip(w.output, w.stride, w.kernel, w.sizes, w.pad, strict=True)
        return tuple((o - 1) * s + k - size - p for o, s, k, size, p in axes)

    def both_ways(self, bottom, top, count):
        """The primitives of the forward and the backward pass for so many examples, and what they read and write."""
        w = self.pools
        x, y = plain((count, *bottom[1:]), self.last), plain((count, *top[1:]), self.last)
        way = dnn.MAX if self.p.pool == "MAX" else dnn.AVERAGE if self.pad_counts() else dnn.AVERAGE_INSIDE
        steps = (tuple(w.stride), tuple(w.kernel), (0, 0), tuple(w.pad), self.ends())
        forward = Primitive("pooling_forward", dnn.TRAINING, way, x, y, *steps)
        return forward, Primitive("pooling_backward", way, x, y, *steps, forward), x, y

    def forward_work(self, bottom, top):
        x, y = bottom[0].data, top[0].data

        def task(i, share, count):
            primitive, _, of_x, of_y = self.primitives[count]
            memories = {dnn.SRC: Memory(of_x, x[share]), dnn.DST: Memory(of_y, y[share])}
            return [(primitive, memories | self.places(primitive, i))]

        return [self.shares.stage(task, TOUCH * x.size)]

    def backward_work(self, top, propagate_down, bottom, cleared):
        if not propagate_down[0]:
            return []
        dx, dy = bottom[0].diff, top[0].diff

        def task(i, share, count):
            forward, primitive, of_x, of_y = self.primitives[count]
            memories = {dnn.DIFF_SRC: Memory(of_x, dx[share]), dnn.DIFF_DST: Memory(of_y, dy[share])}
            return [(primitive, memories | self.places(forward, i))]

        return [self.shares.stage(task, TOUCH * dx.size)]

    def places(self, forward, i):
        """Where MAX keeps which element of each window was the largest."""
        kept = forward.descriptor(dnn.WORKSPACE)
        return {dnn.WORKSPACE: Memory(kept, self.buffer(f"places {i}", (kept.elements,)))} if kept.elements else {}
