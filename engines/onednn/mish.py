"""Mish by oneDNN."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...layers.activation.mish import Mish
from .elementwise import Elementwise


class OneDNNMish(Elementwise, Mish):
    """y = x tanh(log(1 + exp(x)))."""

    def function(self):
        return dnn.MISH, 0.0, 0.0
