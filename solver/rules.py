"""Update rules: what a step does to the weights W, given the gradient g and what the rule remembers.

A rule works on blocks of the flat arrays, small enough for the cache, and may overwrite g. ``rate`` is the policy's
rate times lr_mult, ``t`` the number of the update, from 1. g holds the regulariser already, unless the rule decays by
itself.
Source: Caffe's solvers; AdamW and AMSGrad as PyTorch has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from ..compute.blas import axpby
from ..compute.parallel import scratch
from .parameters import SolverParameters

RULES: dict[str, type[Rule]] = {}


def rule(cls):
    """Class decorator: register an update rule under its class name."""
    RULES[cls.__name__] = cls
    return cls


class Rule:
    """Base of all rules. ``histories`` says how many arrays as large as W it keeps; they start at zero."""

    histories: ClassVar[int] = 1
    momentum: ClassVar[float] = 0.0  # where the spec gives none
    last_update: ClassVar[int | None] = None  # which history is the last update, if one is
    decays: ClassVar[bool] = False  # whether it applies weight_decay itself instead of finding it in g

    def __init__(self, p: SolverParameters):
        self.p = p
        self.mu = self.momentum if p.momentum is None else p.momentum
        self.kept = self.histories

    def update(self, W: np.ndarray, g: np.ndarray, history: Sequence[np.ndarray], rate: float, t: int) -> None:
        """Change W, and the history, by one step."""
        raise NotImplementedError

    def decay(self, W: np.ndarray, rate: float, weight_decay: float) -> None:
        """Apply weight_decay, before ``update``, where the rule ``decays`` itself."""


def average(share: float, x: np.ndarray, mean: np.ndarray) -> None:
    """mean ← share mean + (1 - share) x."""
    axpby(1 - share, x, share, mean)


def square(x: np.ndarray) -> np.ndarray:
    return np.multiply(x, x, out=scratch("square", x.shape, x.dtype))


def root(x: np.ndarray, delta: float) -> np.ndarray:
    """√x + delta"""
    result = np.sqrt(x, out=scratch("root", x.shape, x.dtype))
    result += delta
    return result


@rule
class SGD(Rule):
    """Stochastic gradient descent with momentum: v ← μ v + rate g, W ← W - v."""

    last_update = 0

    def update(self, W, g, history, rate, t):
        (v,) = history
        axpby(rate, g, self.mu, v)
        axpby(-1, v, 1, W)


@rule
class Nesterov(Rule):
    """SGD that looks ahead: v' = μ v + rate g, W ← W - ((1 + μ) v' - μ v), v ← v'."""

    last_update = 0

    def update(self, W, g, history, rate, t):
        (v,) = history
        axpby(self.mu, v, 1, W)
        axpby(rate, g, self.mu, v)
        axpby(-(1 + self.mu), v, 1, W)


@rule
class AdaGrad(Rule):
    """Each weight has its own rate: h ← h + g², W ← W - rate g / (√h + δ). Duchi et al., 2011."""

    def update(self, W, g, history, rate, t):
        (h,) = history
        h += square(g)
        g /= root(h, self.p.delta)
        axpby(-rate, g, 1, W)


@rule
class RMSProp(Rule):
    """AdaGrad that forgets: h ← ρ h + (1 - ρ) g², W ← W - rate g / (√h + δ), ρ = rms_decay. Tieleman, Hinton, 2012."""

    def update(self, W, g, history, rate, t):
        (h,) = history
        average(self.p.rms_decay, square(g), h)
        g /= root(h, self.p.delta)
        axpby(-rate, g, 1, W)


@rule
class AdaDelta(Rule):
    """Steps as large as those before: h ← μ h + (1 - μ) g², u = g √((k + δ) / (h + δ)), k ← μ k + (1 - μ) u²,
    W ← W - rate u, μ = momentum. Zeiler, 2012."""

    histories = 2

    def update(self, W, g, history, rate, t):
        h, k = history
        average(self.mu, square(g), h)
        ratio = np.add(k, self.p.delta, out=scratch("ratio", k.shape, k.dtype))
        ratio /= np.add(h, self.p.delta, out=scratch("root", h.shape, h.dtype))
        g *= np.sqrt(ratio, out=ratio)
        average(self.mu, square(g), k)
        axpby(-rate, g, 1, W)


@rule
class Adam(Rule):
    """m ← β1 m + (1 - β1) g, v ← β2 v + (1 - β2) g², W ← W - rate (√(1 - β2^t) / (1 - β1^t)) m / (√v + δ).

    β1 = momentum, 0.9 when left out (Caffe: 0); β2 = momentum2. With ``amsgrad`` the largest v so far stands below the
    root (Reddi et al., 2018). Kingma and Ba, 2014; δ stands outside the correction of v, as in Caffe.
    """

    histories = 2
    momentum = 0.9

    def __init__(self, p):
        super().__init__(p)
        self.kept = 3 if p.amsgrad else 2

    def update(self, W, g, history, rate, t):
        m, v, *largest = history
        average(self.mu, g, m)
        average(self.p.momentum2, square(g), v)
        for most in largest:
            v = np.maximum(most, v, out=most)
        step = np.divide(m, self.below(v, t), out=g)
        axpby(-rate * self.correction(t), step, 1, W)

    def correction(self, t: int) -> float:
        return (1 - self.p.momentum2**t) ** 0.5 / (1 - self.mu**t)

    def below(self, v: np.ndarray, t: int) -> np.ndarray:
        return root(v, self.p.delta)


@rule
class AdamW(Adam):
    """Adam whose weights decay apart from the gradient: W ← W - rate weight_decay W, then W ← W - rate m̂ / (√v̂ + δ),
    m̂ = m / (1 - β1^t), v̂ = v / (1 - β2^t). Loshchilov and Hutter, 2019; δ as in PyTorch, inside the correction."""

    decays = True

    def decay(self, W, rate, weight_decay):
        W *= 1 - rate * weight_decay

    def below(self, v, t):
        return root(v, self.p.delta * (1 - self.p.momentum2**t) ** 0.5)
