"""SoftmaxWithLoss: softmax and cross entropy in one, for class labels."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..net.declare import Declared, param
from ..net.registry import register
from .labels import check_range, positions, read_labels
from .layer import Example, LossLayer, labels


class LossParameters(Declared):
    """Caffe's loss_param: which positions count, and what the sum is divided by."""

    ignore_label: int | None = param(default=None, doc="positions with this label count for nothing")
    normalization: Literal["FULL", "VALID", "BATCH_SIZE", "NONE"] | None = param(
        default=None, doc="divisor: FULL all positions, VALID those not ignored (default), BATCH_SIZE examples, NONE 1"
    )
    normalize: bool | None = param(default=None, doc="Caffe's old form: true is VALID, false is BATCH_SIZE")

    def divisor(self, examples: int, positions: int, valid: int, default: str = "VALID") -> float:
        """What the sum of the losses is divided by; never below 1, so a batch that is all ignored gives 0."""
        if self.normalize is not None:
            default = "VALID" if self.normalize else "BATCH_SIZE"
        mode = self.normalization or default
        return max(1.0, {"FULL": positions, "VALID": valid, "BATCH_SIZE": examples, "NONE": 1}[mode])


@register
class SoftmaxWithLoss(LossLayer):
    """Cross entropy of softmax probabilities p: L = -(1/D) Σ_n log p[n, label_n].

    bottom[0]: scores x, N x C x … with the classes on ``axis``.    bottom[1]: labels, one for each position, 0 … C-1.
    top[0]: L, a scalar.    top[1], optional: p, bottom[0]'s shape.
    D: see normalization.
    Backward: dx = (p - [k = label]) dL / D, 0 at ignored positions; top[1] passes gradients like Softmax.
    Computed as log Σ exp(x - max) - (x_label - max): exact for any scores, where Caffe cannot report more than 87.34.
    Errors: a label out of range or not whole; another number of labels than positions.
    Source: Caffe's SoftmaxWithLoss.
    """

    class Parameters(LossParameters):
        axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")
        engine: Literal["DEFAULT", "CAFFE", "CUDNN"] = param(default="DEFAULT", doc="accepted, without effect")

        aliases = {"softmax_param": "write axis beside type", "loss_param": "write ignore_label beside type"}

    num_tops = (1, 2)
    backward_reads = ()
    examples = (
        Example([(5, 4), (5,)], values={1: labels(4)}),
        Example([(2, 4, 3), (2, 3)], {"ignore_label": 1}, {1: labels(4)}, tops=2),
        Example([(3, 2, 4), (3, 2)], {"axis": -1, "normalization": "FULL"}, {1: labels(4)}),
        Example([(2, 3, 2), (2, 2)], {"normalization": "BATCH_SIZE", "ignore_label": -1}, {1: labels(3, -1)}),
        Example([(3, 4), (3, 1)], {"normalization": "NONE"}, {1: labels(4)}),
        Example([(4, 3), (4,)], {"normalize": False}, {1: labels(3)}),
    )

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.outer, self.C, self.inner = positions(bottom[0], bottom[1], self.p.axis)
        check_range(bottom[1], self.C, self.p.ignore_label)
        # where the scores of each position begin in memory
        self.starts = np.arange(self.outer)[:, None, None] * (self.C * self.inner) + np.arange(self.inner)
        if len(top) > 1:
            top[1].reshape(bottom[0].shape)

    def arrays(self):
        """p as outer x C x inner, and where in p the labels' classes are, as outer x 1 x inner."""
        p = self.buffer("p", (self.outer, self.C, self.inner))
        return p, self.buffer("chosen", (self.outer, 1, self.inner), np.intp)

    def Forward_cpu(self, bottom, top):
        p, chosen = self.arrays()
        label = self.buffer("label", chosen.shape, np.intp)
        self.ignored = read_labels(bottom[1], label, self.C, self.p.ignore_label)
        np.multiply(label, self.inner, out=chosen)
        chosen += self.starts
        x = bottom[0].data.reshape(p.shape)
        one = self.buffer("one", label.shape)
        np.subtract(x, np.max(x, axis=1, keepdims=True, out=one), out=p)
        score = np.take(p, chosen, out=self.buffer("score", label.shape), mode="clip")
        np.exp(p, out=p)
        total = np.sum(p, axis=1, keepdims=True, out=one)
        p /= total
        losses = np.log(total, out=one)
        losses -= score
        valid = losses.size
        if self.ignored is not None:
            losses[self.ignored] = 0
            valid -= int(np.count_nonzero(self.ignored))
        self.D = self.p.divisor(self.outer, losses.size, valid)
        top[0].data[...] = losses.sum() / self.D
        if len(top) > 1:
            np.copyto(top[1].data, p.reshape(top[1].shape))

    def Backward_cpu(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        p, chosen = self.arrays()
        dx = bottom[0].diff.reshape(p.shape)
        np.copyto(dx, p)
        dx.ravel()[chosen] -= 1
        dx *= float(top[0].diff) / self.D
        if self.ignored is not None:
            np.copyto(dx, 0, where=self.ignored)
        if len(top) > 1 and top[1].diff.any():
            dp = top[1].diff.reshape(p.shape)
            dx += p * (dp - np.sum(dp * p, axis=1, keepdims=True))
