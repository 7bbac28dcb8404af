"""Softmax by oneDNN."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...layers.activation.softmax import Softmax
from .class_axis import ClassRows


class OneDNNSoftmax(ClassRows, Softmax):
    """y_k = exp(x_k) / Σ_j exp(x_j)."""

    algorithm = dnn.SOFTMAX
