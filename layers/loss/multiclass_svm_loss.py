"""MulticlassSVMLoss: the lecture's multiclass support vector machine loss."""

from __future__ import annotations

import numpy as np

from ...net.example import Example, labels
from ...net.registry import register
from ...spec.declare import param
from .labels import check_range, positions, read_labels
from .loss_parameters import LossParameters, NormalizedLoss


@register
class MulticlassSVMLoss(NormalizedLoss):
    """Weston-Watkins hinge: L = (1/D) Σ_n Σ_{j≠y} max(0, s_nj - s_ny + margin), y the label of n.

    bottom[0]: scores s, N x C x … with the classes on ``axis``.    bottom[1]: labels, one for each position, 0 … C-1.
    top[0]: L, a scalar.
    D: see normalization; the number of labels when left out.
    Backward: with m_j = [s_j - s_y + margin > 0], ds_j = m_j dL / D for j ≠ y, ds_y = -Σ_{j≠y} m_j dL / D; 0 where
    ignored.
    Errors: a label out of range or not an integer; labels and positions that differ in number.
    Source: Weston and Watkins 1999; CS231n. Caffe's HingeLoss is another one: each class against all others.
    """

    class Parameters(LossParameters):
        margin: float = param(
            default=1.0, minimum=0, doc="by how much the true class should be ahead of each other class"
        )
        axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")

    backward_reads = ()
    judges = "classes"
    examples = (
        Example([(5, 4), (5,)], values={1: labels(4)}),
        Example([(2, 3, 2), (2, 2)], {"margin": 0.5, "ignore_label": 1}, {1: labels(3)}),
        Example([(2, 2, 3), (2, 2)], {"axis": -1, "normalization": "BATCH_SIZE"}, {1: labels(3)}),
    )

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.outer, self.C, self.inner = positions(bottom[0], bottom[1], self.p.axis)
        check_range(bottom[1], self.C, self.p.ignore_label)

    def Forward_cpu(self, bottom, top):
        scores = bottom[0].data.reshape(self.outer, self.C, self.inner)
        self.label = self.buffer("label", (self.outer, 1, self.inner), np.intp)
        self.ignored = read_labels(bottom[1], self.label, self.C, self.p.ignore_label)
        behind = self.buffer("behind", scores.shape)
        np.subtract(scores, np.take_along_axis(scores, self.label, axis=1) - self.p.margin, out=behind)
        np.put_along_axis(behind, self.label, 0, axis=1)
        np.maximum(behind, 0, out=behind)
        valid = self.label.size
        if self.ignored is not None:
            np.copyto(behind, 0, where=self.ignored)
            valid -= int(np.count_nonzero(self.ignored))
        self.over = self.p.over(self.outer, self.label.size, valid)
        top[0].data[...] = behind.sum() / self.D

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            behind = self.buffer("behind", (self.outer, self.C, self.inner))
            ds = bottom[0].diff.reshape(behind.shape)
            np.sign(behind, out=ds)
            np.put_along_axis(ds, self.label, -ds.sum(axis=1, keepdims=True), axis=1)
            ds *= float(top[0].diff) / self.D
