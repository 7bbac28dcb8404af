"""InnerProduct by oneDNN."""

from __future__ import annotations

import numpy as np

from ...compute.onednn.products import product
from ...layers.algebra.inner_product import InnerProduct
from .layer import OneDNNLayer


class OneDNNInnerProduct(OneDNNLayer, InnerProduct):
    """y = x Wᵀ + b, dW and dx as products of oneDNN's, cut along the rows or columns of the result."""

    def prepare(self, bottom, top):
        return ""

    def forward(self, bottom, top):
        self.passes.run("y", (bottom[0].data, top[0].data, *(blob.data for blob in self.blobs)), self.forward_stages)

    def backward(self, top, propagate_down, bottom):
        dy = top[0].diff
        if self.param_propagate_down[0]:
            dW, cleared = self.blobs[0].diff_to_add_to()
            self.passes.run(("dW", cleared), (bottom[0].data, dy, dW), self.weight_stages(not cleared))
        if self.p.bias_term and self.param_propagate_down[1]:
            flat = dy.reshape(self.N, self.M)
            self.blobs[1].diff += np.sum(flat, axis=0, out=self.buffer("db", (self.M,)))
        if propagate_down[0]:
            self.passes.run("dx", (bottom[0].diff, dy, self.blobs[0].data), self.data_stages)

    def forward_stages(self, x, y, W, b=None):
        x, y = x.reshape(self.N, self.K), y.reshape(self.N, self.M)
        stage = product(x, self.weight(W).T, y)
        return [stage] if b is None else [stage, [[(np.add, (y, b, y))]]]

    def weight_stages(self, add):
        def stages(x, dy, dW):
            return [product(dy.reshape(self.N, self.M).T, x.reshape(self.N, self.K), self.weight(dW), add)]

        return stages

    def data_stages(self, dx, dy, W):
        return [product(dy.reshape(self.N, self.M), self.weight(W), dx.reshape(self.N, self.K))]
