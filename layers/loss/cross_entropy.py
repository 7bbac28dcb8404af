"""What the losses over softmax probabilities share: the forward and backward pass."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...compute.parallel import by_example, scratch
from .labels import read_labels
from .loss_parameters import NormalizedLoss


class CrossEntropy(NormalizedLoss):
    """L = -(1/D) Σ_n s_n Σ_k t_nk log p_nk over outer x C x inner scores, at positions n that are not ignored.

    ``reshape`` of a type sets outer, C and inner; ``dense`` where the second bottom has no labels; ``spread`` where t
    is more than 1 at the label's class, and ``targets`` then gives t; ``weigh`` gives s and what VALID divides by.
    """

    num_tops = (1, 2)
    no_gradient = (1, 2)
    backward_reads = ()
    dense = False
    spread = True
    outer: int
    C: int
    inner: int

    def targets(self, bottom, label) -> np.ndarray:
        """t, outer x C x inner."""
        raise NotImplementedError

    def weigh(self, bottom, label) -> tuple[Any, float]:
        """(s or None for 1, what VALID divides by: the positions that count, or the sum of their weights)."""
        return None, self.outer * self.inner - (0 if self.ignored is None else int(np.count_nonzero(self.ignored)))

    def places(self):
        """Where in p the labels' classes are, as outer x 1 x inner."""
        return self.buffer("chosen", (self.outer, 1, self.inner), np.intp)

    def Forward_cpu(self, bottom, top):
        p, chosen = self.buffer("p", (self.outer, self.C, self.inner)), self.places()
        label = self.buffer("label", chosen.shape, np.intp)
        self.ignored = None
        if not self.dense:
            self.ignored = read_labels(bottom[1], label, self.C, self.p.ignore_label)
            np.multiply(label, self.inner, out=chosen)
            chosen += np.arange(self.outer)[:, None, None] * (self.C * self.inner)
            chosen += np.arange(self.inner)
        x = bottom[0].data.reshape(p.shape)
        one, score = self.buffer("one", chosen.shape), self.buffer("score", chosen.shape)
        self.weight, valid = self.weigh(bottom, label)
        if self.spread:
            self.t = self.targets(bottom, label)
            self.mass = np.sum(self.t, axis=1, keepdims=True, out=self.buffer("mass", chosen.shape))
        else:
            np.take(x, chosen, out=score, mode="clip")

        def softmax(x, p, one, score, t=None):
            np.max(x, axis=1, keepdims=True, out=one)
            np.subtract(x, one, out=p)
            if t is not None:
                with np.errstate(invalid="ignore"):
                    product = np.multiply(p, t, out=scratch("product", p.shape, p.dtype))
                np.sum(product, axis=1, keepdims=True, out=score)
                if not np.isfinite(score).all():  # -infinity does not count where t is 0
                    np.copyto(product, 0, where=np.equal(t, 0))
                    np.sum(product, axis=1, keepdims=True, out=score)
            else:
                score -= one
            np.exp(p, out=p)
            p /= np.sum(p, axis=1, keepdims=True, out=one)

        by_example(softmax, x, p, one, score, *([self.t] if self.spread else []))
        losses = np.log(one, out=one)
        if self.spread:
            losses *= self.mass
        losses -= score
        if self.weight is not None:
            losses *= self.weight
        if self.ignored is not None:
            losses[self.ignored] = 0
        self.over = self.p.over(self.outer, losses.size, valid)
        top[0].data[...] = losses.sum() / self.D
        if len(top) > 1:
            np.copyto(top[1].data, p.reshape(top[1].shape))

    def Backward_cpu(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        p = self.buffer("p", (self.outer, self.C, self.inner))
        dx = bottom[0].diff.reshape(p.shape)
        factor = float(top[0].diff) / self.D

        def gradient(p, dx, mass=None, t=None):
            if t is not None:
                np.multiply(p, mass, out=dx)
                dx -= t
                dx *= factor
            else:
                np.multiply(p, factor, out=dx)

        by_example(gradient, p, dx, *([self.mass, self.t] if self.spread else []))
        if not self.spread:
            at_labels = np.take(p, self.places(), out=self.buffer("score", self.places().shape), mode="clip")
            at_labels -= 1
            at_labels *= factor
            np.put(dx, self.places(), at_labels, mode="clip")
        if self.weight is not None:
            dx *= self.weight
        if self.ignored is not None:
            np.copyto(dx, 0, where=self.ignored)
        if len(top) > 1 and top[1].diff.any():
            dp = top[1].diff.reshape(p.shape)
            dx += p * (dp - np.sum(dp * p, axis=1, keepdims=True))
