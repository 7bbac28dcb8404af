"""Eltwise SUM among layers over oneDNN."""

from __future__ import annotations

from ...compute.stages import calling, elementwise
from ...layers.algebra.eltwise import Eltwise
from .layer import OneDNNLayer


class OneDNNEltwise(OneDNNLayer, Eltwise):
    """y = Σ c_i x_i by the formula, which is as fast, but part by part: layers around it need not wait for it."""

    def prepare(self, bottom, top):
        if self.p.operation != "SUM" or self.p.broadcast:
            return self.p.operation if self.p.operation != "SUM" else "broadcast"
        return ""

    def forward_work(self, bottom, top):
        return [elementwise(calling(self._sum), top[0].data, *(blob.data for blob in bottom))]

    def backward_work(self, top, propagate_down, bottom, cleared):
        return [
            elementwise(calling(self.gradient_of_sum(i)), bottom[i].diff, top[0].diff)
            for i, flag in enumerate(propagate_down)
            if flag and not bottom[i].shares_diff_with(top[0])
        ]
