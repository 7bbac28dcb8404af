"""LogSoftmax by oneDNN."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...layers.activation.log_softmax import LogSoftmax
from .softmax import ClassRows


class OneDNNLogSoftmax(ClassRows, LogSoftmax):
    """y_k = x_k - log Σ_j exp(x_j)."""

    algorithm = dnn.LOG_SOFTMAX
