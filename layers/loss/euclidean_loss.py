"""EuclideanLoss: half the mean squared distance."""

from __future__ import annotations

import math

import numpy as np

from ...net.example import Example
from ...net.layer import LossLayer
from ...net.registry import register
from ...spec.errors import ShapeError


@register
class EuclideanLoss(LossLayer):
    """Half the squared distance, averaged over the N examples: L = 1/(2N) Σ_n |a_n - b_n|².

    bottom[0]: a, N x ….    bottom[1]: b, the same number of values for each example.    top[0]: L, a scalar.
    Backward: da = (a - b) dL / N, db = -da: both bottoms have a gradient.
    Source: Caffe's EuclideanLoss.
    """

    no_gradient = ()
    backward_reads = ()
    judges = "values"
    answers = (0, 1)  # in either order
    examples = (Example([(5, 4), (5, 4)]), Example([(2, 3, 2, 1), (2, 6)]))

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        a, b = (math.prod(blob.shape[1:]) for blob in bottom)
        if a != b:
            raise ShapeError(f"both bottoms need the same number of values for each example, got {a} and {b}")

    def Forward_cpu(self, bottom, top):
        a = bottom[0].data
        difference = self.buffer("difference", a.shape)
        np.subtract(a, bottom[1].data.reshape(a.shape), out=difference)
        flat = difference.reshape(-1)
        top[0].data[...] = np.dot(flat, flat) / (2 * max(1, len(a)))

    def Backward_cpu(self, top, propagate_down, bottom):
        difference = self.buffer("difference", bottom[0].shape)
        for sign, propagate, blob in zip((1, -1), propagate_down, bottom, strict=True):
            if propagate:
                N = bottom[0].shape[0]
                scale = sign * float(top[0].diff) / N if N else 0.0
                np.multiply(difference.reshape(blob.shape), scale, out=blob.diff)
