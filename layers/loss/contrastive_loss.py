"""ContrastiveLoss: similar pairs near each other, others apart."""

from __future__ import annotations

import math

import numpy as np

from ...net.example import Example, labels
from ...net.layer import LossLayer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .targets import Targets

SIMILAR = Targets("similarity label", whole=True)


def far_apart(rng, shape):
    """So far apart that the 1e-4 in the gradient does not matter."""
    return 1000 * rng.standard_normal(shape)


@register
class ContrastiveLoss(LossLayer):
    """Distance of similar pairs, closeness of others: L = 1/(2N) Σ_n s d² + (1 - s) max(margin - d, 0)², d = |a - b|.

    bottom[0]: a, N x C (further axes are flattened).    bottom[1]: b, the same shape.
    bottom[2]: s, N, 1 for similar pairs and 0 for others.
    top[0]: L, a scalar. With legacy_version the others' term is max(margin - d², 0).
    Backward: da = (a - b) dL / N for similar pairs; for others -(a - b) (margin - d) / (d + 1e-4) dL / N within the
    margin (legacy: -(a - b) dL / N); db = -da. The 1e-4 keeps it finite at d = 0; s has no gradient.
    Errors: shapes of a and b that differ; other than one s for each example; an s that is neither 0 nor 1.
    Source: Caffe's ContrastiveLoss, which takes any other number, even -1, as similar; Hadsell et al. 2006.
    """

    class Parameters(Declared):
        margin: float = param(default=1.0, doc="how far apart dissimilar pairs should be")
        legacy_version: bool = param(default=False, doc="max(margin - d², 0) for dissimilar pairs")

        aliases = {"contrastive_loss_param": "write its fields beside type"}

    num_bottoms = 3
    answers = (0, 1)
    no_gradient = (2,)
    backward_reads = ()
    examples = (
        Example([(6, 3), (6, 3), (6,)], {"margin": 3000}, {0: far_apart, 1: far_apart, 2: labels(2)}),
        Example([(6, 2, 2), (6, 2, 2), (6, 1)], {"margin": 6, "legacy_version": True}, {2: labels(2)}),
    )

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        if bottom[0].shape != bottom[1].shape:
            shapes = " and ".join(format_shape(blob.shape) for blob in bottom[:2])
            raise ShapeError(f"the pairs must have the same shape, got {shapes}")
        self.N, self.C = bottom[0].shape[0], math.prod(bottom[0].shape[1:])
        if bottom[2].count != self.N:
            raise ShapeError(f"{self.N} pairs need {self.N} values of s, got {format_shape(bottom[2].shape)}")
        SIMILAR.check_known(bottom[2])

    def Forward_cpu(self, bottom, top):
        SIMILAR.check(bottom[2])
        difference = self.buffer("difference", bottom[0].shape)
        np.subtract(bottom[0].data, bottom[1].data, out=difference)
        flat = difference.reshape(self.N, self.C)
        squared = np.einsum("nc,nc->n", flat, flat)
        similar = bottom[2].data.reshape(self.N) != 0
        distance = squared if self.p.legacy_version else np.sqrt(squared)
        inside = np.maximum(self.p.margin - distance, 0)
        others = inside if self.p.legacy_version else inside**2
        # da of a pair is this many times a - b
        self.slope = np.where(similar, 1, -np.sign(inside) if self.p.legacy_version else -inside / (distance + 1e-4))
        self.slope /= max(1, self.N)
        top[0].data[...] = np.where(similar, squared, others).sum() / (2 * max(1, self.N))

    def Backward_cpu(self, top, propagate_down, bottom):
        difference = self.buffer("difference", bottom[0].shape).reshape(self.N, self.C)
        slope = self.slope[:, None] * float(top[0].diff)
        for sign, propagate, blob in zip((1, -1), propagate_down, bottom, strict=False):
            if propagate:
                np.multiply(difference, sign * slope, out=blob.diff.reshape(difference.shape))
