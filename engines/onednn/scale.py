"""Scale by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.stages import Stage
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
        C, N = self.shape[0], bottom[0].shape[0]
        self.rows = Rows(N, bottom[0].count // C // N, C)
        self.each = {name: self.rows.room() for name in ("s", "b")}
        self.of_blocks = np.zeros((2, len(self.rows.blocks), self.rows.repeats, C), np.float32)
        return ""

    def spread(self, *names):
        """The stage that repeats parameters as the rows take them."""
        arrays = [blob.data for blob in self.blobs]
        return Stage(
            [[(np.copyto, (self.each[name], one)) for name, one in zip(names, arrays, strict=False)]], when="before"
        )

    def forward_work(self, bottom, top):
        rows, each = self.rows, self.each
        x, y, offset = bottom[0].data, top[0].data, each["b"] if self.p.bias_term else None
        change = rows.stage(lambda block, _: [rows.change(x, y, each["s"], offset, block)])
        return [self.spread("s", "b"), change]

    def backward_work(self, top, propagate_down, bottom, cleared):
        rows, each, (sums, products) = self.rows, self.each, self.of_blocks
        x, dy = bottom[0].data, top[0].diff
        learns, stages = any(self.param_propagate_down), []
        if learns:
            stages.append(rows.stage(lambda block, b: [rows.sums(x, dy, sums, products, block, b)]))
            stages.append(Stage([[(self.add_up, (sums, products, cleared))]], when="after", work=sums.size))
        if propagate_down[0]:
            dx = bottom[0].diff
            stages.append(self.spread("s"))
            stages.append(rows.stage(lambda block, _: [rows.change(dy, dx, each["s"], None, block)]))
        return stages

    def add_up(self, sums, products, cleared):
        learned = zip(self.blobs, self.param_propagate_down, cleared, (products, sums), strict=False)
        for blob, learns, is_cleared, parts in learned:
            if learns:
                total = parts.sum(axis=(0, 1), dtype=np.float64)
                blob.diff[...] = total if is_cleared else blob.diff + total
