"""BatchNorm by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import scratch
from ...compute.stages import Stage
from ...layers.normalization.batch_norm import BatchNorm
from .layer import OneDNNLayer
from .rows import Rows

LARGE = 100  # times σ


class OneDNNBatchNorm(OneDNNLayer, BatchNorm):
    """Statistics of blocks of rows, put together in double precision; then one pass that normalizes.

    Backward: with dŷ = w dy, dx = a dy + b ŷ + c with a = w / σ, b = -a mean(dy ŷ), c = -a mean(dy) of each channel.
    """

    def prepare(self, bottom, top):
        if not bottom[0].channels_last and len(bottom[0].shape) != 2:
            return "channels that do not lie last"
        if self.m == 1:
            return "single values, which are all 0 when they are normalized"
        N = bottom[0].shape[0]
        self.rows = Rows(N, self.m // N, self.C)
        self.each = {name: self.rows.room() for name in ("mean", "1/σ", "w", "offset", "a", "b", "c")}
        self.of_blocks = np.zeros((2, len(self.rows.blocks), self.rows.repeats, self.C), np.float32)
        return ""

    def forward_work(self, bottom, top):
        rows, each = self.rows, self.each
        x, hat, y = bottom[0].data, self.hat(top), top[0].data
        w, offset = [blob.data for blob in self.blobs[3:]] or (None, None)

        def normalize(block, _):
            calls = [rows.change(x, hat, each["1/σ"], None, block, each["mean"])]
            return calls if w is None else [*calls, rows.change(hat, y, each["w"], each["offset"], block)]

        last = rows.stage(normalize)
        spread = [] if w is None else [(np.copyto, (each["w"], w)), (np.copyto, (each["offset"], offset))]
        if self.use_global:
            return [Stage([[(self.take_running, ()), *spread]], when="before"), last]
        means, variances = self.of_blocks
        first = rows.stage(lambda block, b: [rows.statistics(x, means, variances, block, b)])
        return [first, Stage([[(self.put_together, (means, variances, x)), *spread]]), last]

    def take_running(self):
        share = 1 / self.blobs[2].data[0] if self.blobs[2].data[0] else 0
        self.each["mean"][...] = self.blobs[0].data * share
        self.each["1/σ"][...] = (self.blobs[1].data * share + self.p.eps) ** -0.5

    def put_together(self, means, variances, x):
        """Mean and variance of all from those of the blocks: v = Σ n_b (v_b + (μ_b - μ)²) / m.

        Where μ is large beside σ the rounding of the μ_b would count: there a second pass takes the variance.
        """
        shares = self.rows.counts / self.m
        means = means.astype(np.float64)
        mean = shares @ means.sum(axis=1)
        variance = shares @ (variances + np.square(means - mean)).sum(axis=1)
        if (mean**2 > LARGE**2 * variance).any():
            spread = self.channels.spread("mean", mean, self.dtype)
            variance = self.channels.sums([self.squared_distance], [x], [spread])[0] / self.m
        self.each["mean"][...] = mean
        self.each["1/σ"][...] = (variance + self.p.eps) ** -0.5
        self.remember(mean, variance)

    def squared_distance(self, x, mean):
        distance = np.subtract(x, mean, out=scratch("square", x.shape, x.dtype))
        return np.square(distance, out=distance)

    def backward_work(self, top, propagate_down, bottom, cleared):
        learns = self.affine is not None and any(self.param_propagate_down[3:])
        if not propagate_down[0] and not learns:
            return []
        rows, (sums, products) = self.rows, self.of_blocks
        w = self.blobs[3].data if self.affine else None
        hat, dy, dx = self.hat(top), top[0].diff, bottom[0].diff if propagate_down[0] else None

        def gradient(block, _):
            calls = [rows.change(dy, dx, self.each["a"], self.each["c"], block)]
            return calls if self.use_global else [*calls, rows.add_product(hat, self.each["b"], dx, block)]

        stages = []
        if not self.use_global or self.affine:
            stages.append(rows.stage(lambda block, b: [rows.sums(hat, dy, sums, products, block, b)]))
        stages.append(Stage([[(self.share_out, (sums, products, w, cleared))]]))
        return [*stages, *([] if dx is None else [rows.stage(gradient)])]

    def share_out(self, sums, products, w, cleared):
        """What the sums make of dw and db, and the values of the last pass."""
        total, product = (one.sum(axis=(0, 1), dtype=np.float64) for one in (sums, products))
        if self.affine:
            for i, value in ((3, product), (4, total)):
                if self.param_propagate_down[i]:
                    diff = self.blobs[i].diff
                    diff[...] = value if cleared[i] else diff + value
        a = self.each["1/σ"][0].astype(np.float64) * (1 if w is None else w)
        self.each["a"][...] = a
        if not self.use_global:
            self.each["b"][...] = -a * product / self.m
            self.each["c"][...] = -a * total / self.m
