"""Accuracy: the share of right answers."""

from __future__ import annotations

import numpy as np

from ...net.example import Example, labels
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError
from .labels import check_range, positions, read_labels


@register
class Accuracy(Layer):
    """The share of positions whose label is among the top_k scores.

    bottom[0]: scores, N x C x … with the classes on ``axis``.    bottom[1]: labels, one for each position, 0 … C-1.
    top[0]: the share, a scalar.    top[1], optional: the share for each class, C (0 for a class without examples;
    in a test: without any in the whole set, no number).
    An answer is right when at most top_k scores reach that of the true class, itself included: ties count as wrong.
    A NaN is wrong (in Caffe it is right). When every position is ignored the result is 0.
    No gradient.
    Errors: a label out of range or not an integer; top_k larger than the number of classes.
    Source: Caffe's Accuracy.
    """

    class Parameters(Declared):
        top_k: int = param(default=1, minimum=1, doc="how many of the best scores count as the answer")
        axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")
        ignore_label: int | None = param(default=None, doc="positions with this label are not counted")

        aliases = {"accuracy_param": "write its fields beside type", "k": "top_k"}

    num_bottoms = 2
    num_tops = (1, 2)
    no_gradient = "all"
    is_score = True
    judges = "classes"
    is_share = True
    examples = (
        Example([(6, 4), (6,)], values={1: labels(4)}),
        Example([(3, 5, 2), (3, 2)], {"top_k": 2, "ignore_label": 1}, {1: labels(5)}, tops=2),
        Example([(3, 2, 4), (3, 2)], {"axis": -1}, {1: labels(4)}),
    )

    def reshape(self, bottom, top):
        self.outer, self.C, self.inner = positions(bottom[0], bottom[1], self.p.axis)
        if self.p.top_k > self.C:
            raise ShapeError(f"top_k {self.p.top_k} is more than the {self.C} classes", key="top_k")
        check_range(bottom[1], self.C, self.p.ignore_label)
        top[0].reshape(())
        if len(top) > 1:
            top[1].reshape((self.C,))

    def mean_over(self, i, bottom, top):
        """The positions that count, and those of each class."""
        return self.counted[i]

    def Forward_cpu(self, bottom, top):
        label = self.buffer("label", (self.outer, 1, self.inner), np.intp)
        ignored = read_labels(bottom[1], label, self.C, self.p.ignore_label)
        scores = bottom[0].data.reshape(self.outer, self.C, self.inner)
        true = np.take_along_axis(scores, label, axis=1)
        lower = self.buffer("lower", scores.shape, bool)
        np.less(scores, true, out=lower)
        right = self.C - np.count_nonzero(lower, axis=1, keepdims=True) <= self.p.top_k
        right &= ~np.isnan(true)
        counted = np.ones_like(right) if ignored is None else ~ignored
        right &= counted
        self.counted = [counted.sum()]
        top[0].data[...] = right.sum() / max(1, self.counted[0])
        if len(top) > 1:
            hits, examples = (np.bincount(label[which], minlength=self.C) for which in (right, counted))
            self.counted.append(examples)
            np.divide(hits, np.maximum(examples, 1), out=top[1].data, casting="unsafe")
