"""MultinomialLogisticLoss: cross entropy of given probabilities."""

from __future__ import annotations

import math

import numpy as np

from ...net.example import Example, labels
from ...net.layer import LossLayer
from ...net.registry import register
from ...spec.errors import NettrainError, ShapeError, format_shape
from .labels import check_range, read_labels
from .targets import ROUNDING

SMALLEST = 1e-20


def probabilities(rng, shape):
    return rng.uniform(0.1, 0.9, shape)


@register
class MultinomialLogisticLoss(LossLayer):
    """Cross entropy of probabilities p: L = -(1/N) Σ_n log max(p[n, label_n], 1e-20).

    bottom[0]: p, N x K (further axes are flattened), such as Softmax makes.    bottom[1]: labels, N, 0 … K-1.
    top[0]: L, a scalar, at most 46.05.
    Backward: dp = -dL / (N max(p, 1e-20)) for the label's class, else 0.
    SoftmaxWithLoss is the same from scores, and exact.
    Errors: a label out of range or not an integer; not one label per example; a p of a label's class outside [0, 1].
    Source: Caffe's MultinomialLogisticLoss.
    """

    backward_reads = ("bottom.data",)
    judges = "classes"
    examples = (
        Example([(5, 4), (5,)], values={0: probabilities, 1: labels(4)}),
        Example([(3, 2, 2), (3, 1)], values={0: probabilities, 1: labels(4)}),
    )

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.N, self.K = bottom[0].shape[0], math.prod(bottom[0].shape[1:])
        if bottom[1].count != self.N:
            raise ShapeError(f"{self.N} examples need {self.N} labels, got {format_shape(bottom[1].shape)}")
        check_range(bottom[1], self.K)

    def chosen(self, bottom):
        """p of the labels' classes, N x 1."""
        return np.take_along_axis(bottom[0].data.reshape(self.N, self.K), self.label, axis=1)

    def Forward_cpu(self, bottom, top):
        self.label = self.buffer("label", (self.N, 1), np.intp)
        read_labels(bottom[1], self.label, self.K)
        p = self.chosen(bottom)
        outside = (p < -ROUNDING) | (p > 1 + ROUNDING)
        if outside.any():
            n = int(np.argmax(outside))
            raise NettrainError(
                f"{p[n, 0]:g}, for the class of example {n} of the batch, is not a probability; put a Softmax before "
                "this loss, or use SoftmaxWithLoss, which takes scores"
            )
        top[0].data[...] = -np.log(np.maximum(p, SMALLEST)).sum() / max(1, self.N)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dp = bottom[0].diff.reshape(self.N, self.K)
            dp.fill(0)
            if self.N:
                np.put_along_axis(
                    dp, self.label, -float(top[0].diff) / self.N / np.maximum(self.chosen(bottom), SMALLEST), axis=1
                )
