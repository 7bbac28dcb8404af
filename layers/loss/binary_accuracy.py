"""BinaryAccuracy: the share of right yes-or-no answers."""

from __future__ import annotations

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from .targets import Targets


def bits_or_ignored(rng, shape):
    return rng.choice([-1.0, 0.0, 1.0], shape)


def bits(rng, shape):
    return rng.choice([0.0, 1.0], shape)


@register
class BinaryAccuracy(Layer):
    """The share of elements whose score is on the right side of the threshold: above it for a target of 1.

    bottom[0]: scores x, any shape.    bottom[1]: a target for each, 1 (yes) or 0 (no).    top[0]: the share, a scalar.
    An answer is yes when x > threshold; 0 is right for scores that SigmoidCrossEntropyLoss takes, 0.5 for
    probabilities. A score that is NaN is wrong. When every element is ignored the result is 0. No gradient.
    Errors: targets and scores that differ in number; a target that is neither 0, 1 nor ignored, NaN too.
    Source: the metric of this name in Keras. For classes see Accuracy.
    """

    class Parameters(Declared):
        threshold: float = param(default=0.0, doc="scores above it say yes")
        ignore_label: float | None = param(default=None, doc="elements with this target are not counted")

    num_bottoms = 2
    no_gradient = "all"
    is_score = True
    judges = "bits"
    is_share = True
    examples = (
        Example([(4, 3), (4, 3)], values={1: bits}),
        Example([(3, 2, 2), (3, 4)], {"threshold": 0.5, "ignore_label": -1}, {1: bits_or_ignored}),
    )

    def reshape(self, bottom, top):
        self.targets = Targets(whole=True, ignored=self.p.ignore_label)
        self.targets.check_shape(*bottom)
        self.targets.check_known(bottom[1])
        top[0].reshape(())

    def mean_over(self, i, bottom, top):
        return self.counted

    def judged(self, bottom):
        return self.targets.counts(bottom[1].data)

    def Forward_cpu(self, bottom, top):
        self.targets.check(bottom[1])
        x = bottom[0].data
        target = bottom[1].data.reshape(x.shape)
        right = np.equal(x > self.p.threshold, target > 0.5)
        right &= ~np.isnan(x)
        counted = np.ones_like(right) if self.p.ignore_label is None else target != self.p.ignore_label
        right &= counted
        self.counted = counted.sum()
        top[0].data[...] = right.sum() / max(1, self.counted)
