"""BNLL by oneDNN."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...layers.activation.bnll import BNLL
from .elementwise import Elementwise


class OneDNNBNLL(Elementwise, BNLL):
    """y = log(1 + exp(x))."""

    def function(self):
        return dnn.SOFT_RELU, 1.0, 0.0
