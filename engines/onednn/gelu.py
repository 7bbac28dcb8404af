"""GELU by oneDNN."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...layers.activation.gelu import GELU
from .elementwise import Elementwise


class OneDNNGELU(Elementwise, GELU):
    """y = x Φ(x), exact or with a tanh; the error is up to 1e-6, also where y is smaller than that."""

    def function(self):
        return dnn.GELU_TANH if self.p.approximate == "tanh" else dnn.GELU_ERF, 0.0, 0.0
