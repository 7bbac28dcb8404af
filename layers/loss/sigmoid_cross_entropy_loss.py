"""SigmoidCrossEntropyLoss: a yes or no for every element."""

from __future__ import annotations

import numpy as np

from ...compute.functions import positive_part, sigmoid, softplus_of_minus_abs
from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.registry import register
from .loss_parameters import NormalizedLoss, OldLossParameters
from .targets import Targets


def between_0_and_1(rng, shape):
    return rng.random(shape)


def yes_no(rng, shape):
    return rng.choice([0.0, 1.0], shape)


def yes_no_or_ignored(rng, shape):
    return rng.choice([0.0, 1.0, 2.0], shape)


@register
class SigmoidCrossEntropyLoss(NormalizedLoss):
    """Cross entropy of sigmoids p = σ(x) with targets t: L = -(1/D) Σ (t log p + (1 - t) log(1 - p)).

    bottom[0]: scores x, N x ….    bottom[1]: targets t in [0, 1], as many as scores.    top[0]: L, a scalar.
    D: BATCH_SIZE when left out, so the loss of an example is the sum over its elements.
    ignore_label: elements whose target, truncated, equals it are not counted (0 drops 0.3 too, as in Caffe).
    Backward: dx = (σ(x) - t) dL / D, 0 where ignored.
    Computed as max(x, 0) - x t + log(1 + exp(-|x|)), which cannot overflow.
    Errors: targets and scores that differ in number; a target that is neither in [0, 1] nor ignored, NaN too.
    Source: Caffe's SigmoidCrossEntropyLoss.
    """

    class Parameters(OldLossParameters):
        aliases = {
            "loss_param": "write ignore_label beside type",
            "sigmoid_cross_entropy_loss_param": "write its fields beside type",
        }

    backward_reads = ("bottom.data",)
    judges = "bits"
    includes = "Sigmoid"
    examples = (
        Example([(4, 3), (4, 3)], values={1: between_0_and_1}),
        Example([(2, 3, 2), (2, 6)], {"ignore_label": 2, "normalization": "VALID"}, {1: yes_no_or_ignored}),
        Example([(3, 2), (3, 2)], {"normalization": "FULL"}, {1: between_0_and_1}),
        Example([(3, 2), (3, 2)], {"normalize": True, "ignore_label": 1}, {1: yes_no}),
    )

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.targets = Targets(ignored=self.p.ignore_label, truncated=True)
        self.targets.check_shape(*bottom)
        self.targets.check_known(bottom[1])

    def counts(self, t, out):
        """Where a target counts: it is not the one to ignore."""
        whole = np.trunc(t, out=scratch("whole", t.shape, t.dtype))
        return np.not_equal(whole, self.p.ignore_label, out=out)

    def leave_out(self, t, values):
        """0 where a target does not count, also for NaN and infinity."""
        counts = self.counts(t, out=scratch("counts", t.shape, bool))
        values *= counts
        if not np.isfinite(values.sum()):
            np.copyto(values, 0, where=~counts)

    def judged(self, bottom):
        return self.targets.counts(bottom[1].data)

    def Forward_cpu(self, bottom, top):
        self.targets.check(bottom[1])
        ignore = self.p.ignore_label is not None

        def losses(x, t, loss):
            softplus_of_minus_abs(x, out=loss)
            # max(x, 0) - x t by itself: it is 0 where a score is sure and right, and the loss then keeps its digits
            rest = positive_part(x, out=scratch("rest", x.shape, x.dtype))
            rest -= np.multiply(x, t, out=scratch("x t", x.shape, x.dtype))
            loss += rest
            if ignore:
                self.leave_out(t, loss)

        x = bottom[0].data
        t, loss = bottom[1].data.reshape(x.shape), self.buffer("loss", x.shape)
        with np.errstate(over="ignore", invalid="ignore"):  # of scores that are ignored, or make the loss infinite
            blockwise(losses, x, t, loss)
        valid = x.size
        if ignore:
            valid = int(np.count_nonzero(self.counts(t, out=self.buffer("counts", x.shape, bool))))
        self.over = self.p.over(len(x), x.size, valid, "BATCH_SIZE")
        top[0].data[...] = loss.sum() / self.D

    def Backward_cpu(self, top, propagate_down, bottom):
        scale = float(top[0].diff) / self.D

        def gradient(x, t, dx):
            sigmoid(x, out=dx)
            dx -= t
            dx *= scale
            if self.p.ignore_label is not None:
                self.leave_out(t, dx)

        if propagate_down[0]:
            x = bottom[0].data
            with np.errstate(invalid="ignore"):
                blockwise(gradient, x, bottom[1].data.reshape(x.shape), bottom[0].diff)
