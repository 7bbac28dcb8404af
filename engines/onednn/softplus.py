"""Softplus by oneDNN."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...layers.activation.softplus import Softplus
from .elementwise import Elementwise

EQUAL = 15.0  # βx above which log(1 + exp(βx)) is βx, to 3e-7


class OneDNNSoftplus(Elementwise, Softplus):
    """y = log(1 + exp(βx)) / β, which is x above any threshold that is large enough."""

    def function(self):
        return (dnn.SOFT_RELU, self.p.beta, 0.0) if self.p.threshold >= EQUAL else "a threshold below 15"
