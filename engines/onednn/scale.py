"""Scale by oneDNN."""

from __future__ import annotations

import numpy as np

from ...layers.algebra.scale import Scale
from .layer import OneDNNLayer
from .rows import Rows


class OneDNNScale(OneDNNLayer, Scale):
    """y = s x + b with a learned factor for each channel, over rows of channels."""

    def prepare(self, bottom, top):
        if len(bottom) > 1 or len(self.shape) != 1 or bottom[0].canonical_axis(self.p.axis) != 1:
            return "a factor that is a bottom, or not one for each channel"
        if not bottom[0].channels_last and len(bottom[0].shape) != 2:
            return "channels that do not lie last"
        self.rows = Rows(bottom[0].count // self.shape[0], self.shape[0])
        self.each = {name: self.rows.room() for name in ("s", "b")}
        self.of_blocks = np.zeros((2, len(self.rows.blocks), self.rows.repeats, *self.shape), np.float32)
        return ""

    def forward(self, bottom, top):
        self.passes.run("y", (bottom[0].data, top[0].data, *(blob.data for blob in self.blobs)), self.forward_stages)

    def forward_stages(self, x, y, s, b=None):
        rows, each = self.rows, self.each
        spread = [(np.copyto, (each["s"], s))] + ([] if b is None else [(np.copyto, (each["b"], b))])
        offset = None if b is None else each["b"]
        return [[spread], rows.stage(lambda block, _: [rows.change(x, y, each["s"], offset, block)])]

    def backward(self, top, propagate_down, bottom):
        x, dy = bottom[0].data, top[0].diff
        if any(self.param_propagate_down):
            self.passes.run("ds", (x, dy), self.gradient_stages)
        if propagate_down[0]:
            self.passes.run("dx", (bottom[0].diff, dy, self.blobs[0].data), self.data_stages)

    def gradient_stages(self, x, dy):
        rows, (sums, products) = self.rows, self.of_blocks
        last = [(self.add_up, (sums, products))]
        return [rows.stage(lambda block, b: [rows.sums(x, dy, sums, products, block, b)]), [last]]

    def add_up(self, sums, products):
        for blob, learns, parts in zip(self.blobs, self.param_propagate_down, (products, sums), strict=False):
            if learns:
                blob.diff += parts.sum(axis=(0, 1), dtype=np.float64).astype(np.float32)

    def data_stages(self, dx, dy, s):
        rows, each = self.rows, self.each
        return [
            [[(np.copyto, (each["s"], s))]],
            rows.stage(lambda block, _: [rows.change(dy, dx, each["s"], None, block)]),
        ]
