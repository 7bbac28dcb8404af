"""Scores as lines of numpy: what a test of the trained net prints."""

from __future__ import annotations

from ...layers.loss.accuracy import Accuracy
from ...layers.loss.binary_accuracy import BinaryAccuracy
from .expressions import number, shaped
from .losses import Loss
from .writers import writes


@writes(Accuracy)
class _Accuracy(Loss):
    def refusal(self):
        if len(self.y) > 1:
            return "the share of each class is not"
        return "" if self.p.ignore_label is None else "ignore_label is not"

    def formula(self):
        among = "the largest" if self.p.top_k == 1 else f"among the {self.p.top_k} largest"
        return f"the share of labels whose score is {among}"

    def forward(self):
        layer = self.layer
        N, C, inner = layer.outer, layer.C, layer.inner
        s, label, true = self.local("s"), self.local("label"), self.local("true")
        self.say(f"{s} = {shaped(self.x[0], self.bottoms[0], (N, C, inner))}")
        self.say(f"{label} = {self.labels((N, 1, inner))}")
        self.say(f"{true} = np.take_along_axis({s}, {label}, axis=1)")
        self.say(f"{self.y[0]} = (({s} >= {true}).sum(axis=1) <= {self.p.top_k}).mean()")

    def backward(self):
        """There is no gradient."""


@writes(BinaryAccuracy)
class _BinaryAccuracy(Loss):
    def refusal(self):
        return "" if self.p.ignore_label is None else "ignore_label is not"

    def formula(self):
        return "the share of scores on the right side of the threshold"

    def forward(self):
        t = shaped(self.x[1], self.bottoms[1], self.bottoms[0])
        self.say(f"{self.y[0]} = (({self.x[0]} > {number(self.p.threshold)}) == ({t} > 0.5)).mean()")

    def backward(self):
        """There is no gradient."""
