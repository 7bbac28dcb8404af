"""SoftmaxWithLoss: softmax and cross entropy in one, for class labels or class probabilities."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ...net.example import Example, labels
from ...net.registry import register
from ...spec.declare import param
from ...spec.errors import NettrainError, ShapeError, format_shape
from .balance import BALANCED, ClassWeight, balanced, remark_on
from .cross_entropy import CrossEntropy
from .labels import check_range, positions
from .loss_parameters import OldLossParameters
from .targets import Targets

PROBABILITIES = Targets("target probability")


def shares(rng, shape):
    """Probabilities along axis 1."""
    values = rng.random(shape)
    return values / values.sum(axis=1, keepdims=True)


def weights(rng, shape):
    return rng.uniform(0.5, 2, shape)


@register
class SoftmaxWithLoss(CrossEntropy):
    """Cross entropy of softmax probabilities p: L = -(1/D) Σ_n s_n Σ_k w_k t_nk log p_nk.

    bottom[0]: scores x, N x C x … with the classes on ``axis``.
    bottom[1]: labels, one for each position, 0 … C-1: t is 1 for the label's class, else 0. Or t itself, in x's shape,
    in [0, 1]; what adds up to less than 1 counts for less.
    bottom[2], optional: weights s, one for each position; else 1.
    top[0]: L, a scalar.    top[1], optional: p, bottom[0]'s shape.
    w is class_weight, else 1; balanced: n / (k n_c), of n training labels in k classes the n_c of class c (of a class
    without any 1), as scikit-learn's. label_smoothing ε makes t (1 - ε) t + ε / C.
    D is what normalization says; VALID with weights: the sum of s_n w_label, or of s_n for given t, as PyTorch's mean.
    Backward: dx_k = s (p_k Σ_j w_j t_j - w_k t_k) dL / D, 0 at ignored positions; top[1] passes gradients like Softmax.
    Computed as log Σ exp(x - max) - (x - max): exact for any scores, where Caffe cannot report more than 87.34.
    Errors: a label out of range or not an integer, a t outside [0, 1]; a wrong number of labels; a wrong
    number of weights.
    Source: Caffe's SoftmaxWithLoss; weights, smoothing and given probabilities as in PyTorch's cross_entropy.
    """

    class Parameters(OldLossParameters):
        axis: int = param(default=1, doc="the axis of the classes; negative counts from the end")
        class_weight: ClassWeight = param(
            default=ClassWeight(), doc="w, a weight for each class; balanced: from the training labels"
        )
        label_smoothing: float = param(
            default=0.0, minimum=0, maximum=1, doc="ε, the share of t that is spread evenly over all classes"
        )

        aliases = {
            "softmax_param": "write axis beside type",
            "loss_param": "write ignore_label beside type",
            "weight": "class_weight",
            "ignore_index": "ignore_label",
        }

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.class_weight and self.class_weight != BALANCED and not any(self.class_weight):
                yield "class_weight", "must not be zero for every class"

    num_bottoms = (2, 3)
    judges = "classes"
    includes = "Softmax"
    examples = (
        Example([(5, 4), (5,)], values={1: labels(4)}),
        Example([(2, 4, 3), (2, 3)], {"ignore_label": 1}, {1: labels(4)}, tops=2),
        Example([(3, 2, 4), (3, 2)], {"axis": -1, "normalization": "FULL"}, {1: labels(4)}),
        Example([(2, 3, 2), (2, 2)], {"normalization": "BATCH_SIZE", "ignore_label": -1}, {1: labels(3, -1)}),
        Example([(3, 4), (3, 1)], {"normalization": "NONE"}, {1: labels(4)}),
        Example([(4, 3), (4,)], {"normalize": False}, {1: labels(3)}),
        Example([(4, 3), (4,)], {"class_weight": [0.5, 2, 3], "ignore_label": 1}, {1: labels(3)}),
        Example([(3, 3, 2), (3, 2), (3, 2)], {"label_smoothing": 0.2}, {1: labels(3), 2: weights}),
        Example(
            [(2, 3, 2), (2, 2)],
            {"label_smoothing": 0.1, "class_weight": [0.5, 2, 3], "ignore_label": 2},
            {1: labels(3)},
        ),
        Example([(4, 3), (4, 3), (4,)], {"class_weight": [0.5, 2, 3]}, {1: shares, 2: weights}),
    )

    def setup(self, bottom, top):
        given, known = self.p.class_weight, bottom[1].known
        if bottom[1].shape == bottom[0].shape:  # probabilities, no labels to count
            known = None
        self.weighs_by_own_labels = False
        if known is not None and not given and self.phase == "TRAIN":
            C = bottom[0].shape[bottom[0].canonical_axis(self.p.axis)]
            self.origin, self.remark = known.origin, remark_on(known, C, self.p.ignore_label)
        if given == BALANCED and "class_weight" not in self.fitted:
            self.fitted = {"class_weight": self.balance(bottom, known)}
        self.weights = self.fitted["class_weight"] if given == BALANCED else given

    def balance(self, bottom, known):
        """Weights from the labels of its own data, which in a test have to do where nothing was fitted."""
        C = bottom[0].shape[bottom[0].canonical_axis(self.p.axis)]
        counts = None
        if known is not None:
            check_range(bottom[1], C, self.p.ignore_label)
            counts = known.counts(C, self.p.ignore_label)
        if counts is None and self.phase == "TRAIN":
            raise NettrainError(
                "class_weight: balanced needs all labels before training, straight from a layer that has them in "
                "memory; these are not known then. Give a weight for each class",
                key="class_weight",
            )
        self.weighs_by_own_labels = self.phase != "TRAIN"
        return (np.ones(C) if counts is None else balanced(counts)).tolist()

    def unready(self):
        if not self.weighs_by_own_labels:
            return ""
        return "weighs the classes by the labels it is tested on, for lack of those of the training data"

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        axis, C = bottom[0].canonical_axis(self.p.axis), len(self.weights)
        self.dense = bottom[1].shape == bottom[0].shape and bottom[0].shape[axis] > 1
        if self.dense:
            shape = bottom[0].shape
            self.outer, self.C, self.inner = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
            if self.p.ignore_label is not None:
                raise ShapeError("probabilities have no label to ignore; weights of 0 do that", key="ignore_label")
            PROBABILITIES.check_known(bottom[1])
        else:
            self.outer, self.C, self.inner = positions(bottom[0], bottom[1], self.p.axis)
            check_range(bottom[1], self.C, self.p.ignore_label)
        if C and C != self.C:
            raise ShapeError(f"needs a weight for each of the {self.C} classes, got {C}", key="class_weight")
        if len(bottom) > 2 and bottom[2].count != self.outer * self.inner:
            raise ShapeError(
                f"needs a weight for each of the {self.outer * self.inner} positions, got "
                f"{format_shape(bottom[2].shape)}"
            )
        self.classes = self.C if self.p.ignore_label != 0 else 0
        self.guesses_among = self.C if not C and self.p.normalization != "NONE" else 0
        self.class_weight = np.array(self.weights, self.dtype) if C else None
        self.spread = self.dense or self.p.label_smoothing > 0
        if len(top) > 1:
            top[1].reshape(bottom[0].shape)

    def in_words(self):
        if self.dense:
            return "softmax and loss: each score gets its probability minus its target, over the normalization"
        more = [("class_weight", "its class's weight"), ("label_smoothing", "label smoothing")]
        given = [words for key, words in more if getattr(self.p, key)]
        given += ["nothing at ignored labels"] * (self.p.ignore_label is not None)
        text = "softmax and loss: each score gets its probability, minus 1 for the true class, over the normalization"
        return f"{text} (with {' and '.join(given)})" if given else text

    def weigh(self, bottom, label):
        """With ``spread`` the class weights are part of the targets, not of the positions."""
        given = bottom[2].data.reshape(label.shape) if len(bottom) > 2 else None
        classes = None if self.class_weight is None or self.dense else np.take(self.class_weight, label)
        if given is None and classes is None:
            return super().weigh(bottom, label)
        both = np.ones(label.shape, self.dtype) if given is None else given
        if classes is not None:
            both = both * classes
        valid = float((both if self.ignored is None else both[~self.ignored]).sum())
        weight = given if self.spread else both
        if weight is None:
            return None, valid
        kept = self.buffer("weight", label.shape)
        np.copyto(kept, weight)
        return kept, valid

    def judged(self, bottom):
        """Weights of 0 leave positions out, as ignored labels are."""
        counts = super().judged(bottom)
        if len(bottom) < 3:
            return counts
        weighs = bottom[2].data.reshape(-1) != 0
        return weighs if counts is None else weighs & counts.reshape(-1)

    def targets(self, bottom, label):
        t = self.buffer("t", (self.outer, self.C, self.inner))
        if self.dense:
            PROBABILITIES.check(bottom[1])
            np.multiply(bottom[1].data.reshape(t.shape), 1 - self.p.label_smoothing, out=t)
        else:
            t.fill(0)
            t.ravel()[self.places()] = 1 - self.p.label_smoothing
        t += self.p.label_smoothing / self.C
        if self.class_weight is not None:
            t *= self.class_weight[:, None]
        return t
