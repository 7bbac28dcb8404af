"""Update rules: what a step does to the weights W, given the gradient g and what the rule remembers.

A rule is one class: its formula, and its own parameters, which stand in ``solver:`` beside ``type``. It works on blocks
of the flat arrays, small enough for the cache, and may overwrite g. ``rate`` is the policy's rate times lr_mult, ``t``
the number of the update, from 1. g already includes the regulariser, unless the rule decays by itself.
Source: Caffe's solvers; AdamW and AMSGrad as in PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..compute.blas import axpby
from ..compute.parallel import scratch
from ..spec.declare import Declared, Nothing, param

if TYPE_CHECKING:
    from .parameters import SolverParameters

RULES: dict[str, type[Rule]] = {}


def rule(cls):
    """Class decorator: register an update rule under its class name."""
    RULES[cls.__name__] = cls
    return cls


class Rule:
    """Base of all rules. ``histories`` says how many arrays as large as W it keeps; they start at zero."""

    Parameters: ClassVar[type[Declared]] = Nothing
    histories: ClassVar[int] = 1
    last_update: ClassVar[int | None] = None  # which history is the last update, if one is
    decays: ClassVar[bool] = False  # whether it applies weight_decay itself instead of finding it in g

    def __init__(self, p: Any):
        self.p = p  # of its Parameters
        self.kept = self.histories

    @classmethod
    def check(cls, solver: SolverParameters) -> Iterable[tuple[str, str]]:
        """What in the whole solver cannot be combined with this rule: yields (key to blame, message)."""
        return ()

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


class Momentum(Declared):
    """For rules that continue in the direction of the last update."""

    momentum: float = param(default=0.0, minimum=0, below=1, doc="μ, the share of the last update that is kept")


class Delta(Declared):
    """For rules that divide by the size of past gradients."""

    delta: float = param(default=1e-8, minimum=0, doc="δ, added to the divisor")


@rule
class SGD(Rule):
    """Stochastic gradient descent with momentum: v ← μ v + rate g, W ← W - v."""

    Parameters = Momentum
    last_update = 0

    def update(self, W, g, history, rate, t):
        (v,) = history
        axpby(rate, g, self.p.momentum, v)
        axpby(-1, v, 1, W)


@rule
class Nesterov(Rule):
    """SGD that looks ahead: v' = μ v + rate g, W ← W - ((1 + μ) v' - μ v), v ← v'."""

    Parameters = Momentum
    last_update = 0

    def update(self, W, g, history, rate, t):
        (v,), mu = history, self.p.momentum
        axpby(mu, v, 1, W)
        axpby(rate, g, mu, v)
        axpby(-(1 + mu), v, 1, W)


@rule
class AdaGrad(Rule):
    """Each weight has its own rate: h ← h + g², W ← W - rate g / (√h + δ). Duchi et al., 2011."""

    class Parameters(Delta):
        refuses = frozenset(["momentum"])

    def update(self, W, g, history, rate, t):
        (h,) = history
        h += square(g)
        g /= root(h, self.p.delta)
        axpby(-rate, g, 1, W)


@rule
class RMSProp(Rule):
    """AdaGrad that forgets: h ← ρ h + (1 - ρ) g², W ← W - rate g / (√h + δ), ρ = rms_decay. Tieleman, Hinton, 2012."""

    class Parameters(Delta):
        refuses = frozenset(["momentum"])

        rms_decay: float = param(
            default=0.99, minimum=0, below=1, doc="ρ, the share of the mean of squares that is kept"
        )

    def update(self, W, g, history, rate, t):
        (h,) = history
        average(self.p.rms_decay, square(g), h)
        g /= root(h, self.p.delta)
        axpby(-rate, g, 1, W)


@rule
class AdaDelta(Rule):
    """Steps as large as those before.

    h ← μ h + (1 - μ) g², u = g √((k + δ) / (h + δ)), k ← μ k + (1 - μ) u²,
    W ← W - rate u, μ = momentum. Zeiler, 2012."""

    class Parameters(Delta):
        momentum: float = param(default=0.0, minimum=0, below=1, doc="μ, the share of the means that is kept")

    histories = 2

    def update(self, W, g, history, rate, t):
        h, k = history
        average(self.p.momentum, square(g), h)
        ratio = np.add(k, self.p.delta, out=scratch("ratio", k.shape, k.dtype))
        ratio /= np.add(h, self.p.delta, out=scratch("root", h.shape, h.dtype))
        g *= np.sqrt(ratio, out=ratio)
        average(self.p.momentum, square(g), k)
        axpby(-rate, g, 1, W)


@rule
class Adam(Rule):
    """A mean of gradients, each weight with a rate of its own, both corrected for the first steps.

    m ← β1 m + (1 - β1) g, v ← β2 v + (1 - β2) g², W ← W - rate (√(1 - β2^t) / (1 - β1^t)) m / (√v + δ).

    β1 = momentum, 0.9 by default (Caffe: 0); β2 = momentum2. With ``amsgrad`` the largest v so far is under the
    root (Reddi et al., 2018). Kingma and Ba, 2014; δ is outside the correction of v, as in Caffe.
    """

    class Parameters(Delta):
        momentum: float = param(
            default=0.9, minimum=0, below=1, doc="β1, the share of the mean of gradients that is kept"
        )
        momentum2: float = param(
            default=0.999, minimum=0, below=1, doc="β2, the share of the mean of squares that is kept"
        )
        amsgrad: bool = param(default=False, doc="divide by the largest mean of squares so far")

    histories = 2

    def __init__(self, p):
        super().__init__(p)
        self.kept = 3 if p.amsgrad else 2

    def update(self, W, g, history, rate, t):
        m, v, *largest = history
        average(self.p.momentum, g, m)
        average(self.p.momentum2, square(g), v)
        for most in largest:
            v = np.maximum(most, v, out=most)
        step = np.divide(m, self.below(v, t), out=g)
        axpby(-rate * self.correction(t), step, 1, W)

    def correction(self, t: int) -> float:
        return (1 - self.p.momentum2**t) ** 0.5 / (1 - self.p.momentum**t)

    def below(self, v: np.ndarray, t: int) -> np.ndarray:
        return root(v, self.p.delta)


@rule
class AdamW(Adam):
    """Adam whose weights decay apart from the gradient, at the rate and weight_decay alone.

    W ← W - rate weight_decay W, then W ← W - rate m̂ / (√v̂ + δ),
    m̂ = m / (1 - β1^t), v̂ = v / (1 - β2^t). Loshchilov and Hutter, 2019; δ as in PyTorch, inside the correction."""

    decays = True

    @classmethod
    def check(cls, solver):
        if solver.regularization_type == "L1":
            yield "regularization_type", "L1 goes through the gradient; AdamW shrinks the weights themselves (L2)"

    def decay(self, W, rate, weight_decay):
        W *= 1 - rate * weight_decay

    def below(self, v, t):
        return root(v, self.p.delta * (1 - self.p.momentum2**t) ** 0.5)
