"""InnerProduct by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn.products import product
from ...compute.stages import Stage
from ...layers.algebra.inner_product import InnerProduct
from .layer import OneDNNLayer


class OneDNNInnerProduct(OneDNNLayer, InnerProduct):
    """y = x Wᵀ + b, dW and dx as products of oneDNN's, cut along the rows or columns of the result."""

    def prepare(self, bottom, top):
        return ""

    def forward_work(self, bottom, top):
        x, y = bottom[0].data.reshape(self.N, self.K), top[0].data.reshape(self.N, self.M)
        bias = self.blobs[1].data if self.p.bias_term else None
        return [product(x, self.weight(self.blobs[0].data).T, y, bias=bias)]

    def backward_work(self, top, propagate_down, bottom, cleared):
        x, dy = bottom[0].data.reshape(self.N, self.K), top[0].diff.reshape(self.N, self.M)
        tasks, work = [], 0
        if self.param_propagate_down[0]:
            made = product(dy.T, x, self.weight(self.blobs[0].diff), add=not cleared[0])
            tasks, work = [*made.tasks], made.work
        if self.p.bias_term and self.param_propagate_down[1]:
            tasks.append(self.sum_of(dy, self.blobs[1].diff, cleared[1]))
        gradients = Stage(tasks, when="after", work=work + dy.size)
        if not propagate_down[0]:
            return [gradients]
        return [gradients, product(dy, self.weight(self.blobs[0].data), bottom[0].diff.reshape(self.N, self.K))]

    def sum_of(self, dy, db, cleared):
        """Calls that sum the rows up."""
        if cleared:
            return [(np.add.reduce, (dy, 0, None, db))]
        total = self.buffer("db", (self.M,))
        return [(np.add.reduce, (dy, 0, None, total)), (np.add, (db, total, db))]
