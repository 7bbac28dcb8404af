"""InfogainLoss: cross entropy in which each confusion has a weight of its own."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np

from ...data.arrays import read_array
from ...net.example import Example, labels
from ...net.registry import register
from ...spec.declare import param
from ...spec.errors import NettrainError, ShapeError, format_shape
from .cross_entropy import CrossEntropy
from .labels import check_range, positions
from .loss_parameters import LossParameters


@register
class InfogainLoss(CrossEntropy):
    """Cross entropy of softmax probabilities p, weighted by H: L = -(1/D) Σ_n Σ_k H[label_n, k] log p_nk.

    bottom[0]: scores x, N x C x … with the classes on ``axis``.    bottom[1]: labels, one for each position, 0 … C-1.
    bottom[2], in place of ``source``: H, C x C numbers, such as 1 x 1 x C x C.
    top[0]: L, a scalar.    top[1], optional: p, bottom[0]'s shape.
    D: see normalization.    With H the identity it is SoftmaxWithLoss.
    Backward: dx_k = (p_k Σ_j H[label, j] - H[label, k]) dL / D, 0 at ignored positions; top[1] passes gradients like
    Softmax.
    Computed from log Σ exp(x - max): exact, where Caffe does not go below p = 1e-20.
    Errors: H of the wrong size, missing, damaged or not finite; a label out of range or not an integer.
    Source: Caffe's InfogainLoss; ``source`` may also be an .npy, or an .npz with one array.
    """

    class Parameters(LossParameters):
        source: str = param(default="", doc="an .npy, .npz or .binaryproto file with H, where it is not a bottom")
        axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")

        aliases = {
            "infogain_loss_param": "write its fields beside type",
            "loss_param": "write ignore_label beside type",
            "normalize": "write normalization: VALID for true, BATCH_SIZE for false",
        }

    num_bottoms = (2, 3)
    judges = "classes"
    includes = "Softmax"
    examples = (
        Example([(4, 3), (4,), (1, 1, 3, 3)], values={1: labels(3)}),
        Example([(2, 3, 2), (2, 2), (3, 3)], {"ignore_label": 1, "normalization": "FULL"}, {1: labels(3)}, tops=2),
        Example([(2, 2, 3), (2, 2), (9,)], {"axis": -1, "normalization": "BATCH_SIZE"}, {1: labels(3)}),
    )

    def setup(self, bottom, top):
        self.H = None
        if len(bottom) == 2:
            if not self.p.source:
                raise NettrainError("needs H, as a third bottom or as `source`, an .npy file", key="bottom")
            C = positions(bottom[0], bottom[1], self.p.axis)[1]
            H = self.read_source(lambda shape: self.check_size(shape, C))
            if not np.isfinite(H).all():
                raise NettrainError(f"{self.p.source} holds values that are not finite", key="source")
            self.H = H.astype(self.dtype)
        elif self.p.source:
            raise NettrainError("has H as its third bottom already; leave `source` out", key="source")

    def read_source(self, check):
        path = Path(self.p.source)
        path = self.folder / path if os.path.exists(self.folder / path) else path
        try:
            return read_array(path, "file with H", check)
        except ShapeError:
            raise
        except NettrainError as error:
            raise NettrainError(str(error), key="source") from None

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.outer, self.C, self.inner = positions(bottom[0], bottom[1], self.p.axis)
        check_range(bottom[1], self.C, self.p.ignore_label)
        self.check_size(bottom[2].shape if self.H is None else self.H.shape, self.C)
        if len(top) > 1:
            top[1].reshape(bottom[0].shape)

    def check_size(self, shape, C):
        if math.prod(shape) != C**2:
            raise ShapeError(f"H must be {C} x {C} for {C} classes, got {format_shape(shape)}")

    def targets(self, bottom, label):
        H = (bottom[2].data if self.H is None else self.H).reshape(self.C, self.C)
        rows = self.buffer("rows", (self.outer, self.inner, self.C))
        np.take(H, label[:, 0], axis=0, out=rows, mode="clip")
        return rows.transpose(0, 2, 1)
