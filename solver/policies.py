"""Learning-rate policies: the rate as a function of the iteration.

A policy is one class: its formula, and its own parameters, which stand in ``solver:`` beside ``lr_policy``.

Source: Caffe's GetLearningRate; cosine as in Loshchilov and Hutter 2017, warm-up as in Goyal et al. 2017; plateau as
PyTorch's ReduceLROnPlateau, whose patience is one test shorter.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from ..spec.declare import Declared, Nothing, param

if TYPE_CHECKING:
    from .parameters import SolverParameters

POLICIES: dict[str, type[Policy]] = {}


def policy(name: str):
    """Class decorator: register a learning-rate policy under this name."""

    def add(cls):
        POLICIES[name] = cls
        return cls

    return add


class Policy:
    """Base of all policies. Called with the iteration it gives the rate; what else it depends on is its state."""

    Parameters: ClassVar[type[Declared]] = Nothing

    def __init__(self, p: Any, base_lr: float, max_iter: int):
        self.p, self.base_lr, self.max_iter = p, base_lr, max_iter  # p: of its Parameters

    @classmethod
    def check(cls, solver: SolverParameters) -> Iterable[tuple[str, str]]:
        """What in the whole solver cannot be combined with this policy: yields (key to blame, message)."""
        return ()

    def __call__(self, iter: int) -> float:
        raise NotImplementedError

    def after_test(self, better: bool) -> None:
        """Learn whether a test gave the best score so far."""

    def state(self) -> dict[str, int]:
        """What a snapshot keeps."""
        return {}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Restore what ``state`` gave."""


@policy("fixed")
class Fixed(Policy):
    """base_lr"""

    def __call__(self, iter):
        return self.base_lr


@policy("step")
class Step(Policy):
    """base_lr · gamma ^ floor(iter / stepsize)"""

    class Parameters(Declared):
        gamma: float = param(minimum=0, doc="the factor of each drop")
        stepsize: int = param(minimum=1, doc="iterations from one drop to the next")

    def __call__(self, iter):
        return self.base_lr * self.p.gamma ** (iter // self.p.stepsize)


@policy("exp")
class Exp(Policy):
    """base_lr · gamma ^ iter"""

    class Parameters(Declared):
        gamma: float = param(minimum=0, doc="the factor of each iteration")

    def __call__(self, iter):
        return self.base_lr * self.p.gamma**iter


@policy("inv")
class Inv(Policy):
    """base_lr · (1 + gamma · iter) ^ -power"""

    class Parameters(Declared):
        gamma: float = param(minimum=0, doc="how soon the rate falls")
        power: float = param(doc="how steeply it falls")

    def __call__(self, iter):
        return self.base_lr * (1 + self.p.gamma * iter) ** -self.p.power


@policy("multistep")
class MultiStep(Policy):
    """base_lr · gamma ^ (number of stepvalues reached); at most one step an iteration, as in Caffe"""

    class Parameters(Declared):
        gamma: float = param(minimum=0, doc="the factor of each drop")
        stepvalue: tuple[int, ...] = param(minimum=0, doc="iterations at which the rate drops")

        def validate(self):
            if not self.stepvalue:
                yield "stepvalue", "needs at least one iteration for lr_policy multistep"
            if any(a > b for a, b in zip(self.stepvalue, self.stepvalue[1:], strict=False)):
                yield "stepvalue", f"must increase, got {list(self.stepvalue)}"

    def __init__(self, p, base_lr, max_iter):
        super().__init__(p, base_lr, max_iter)
        self.steps: list[int] = []
        for value in p.stepvalue:
            self.steps.append(max(value, self.steps[-1] + 1) if self.steps else value)

    def __call__(self, iter):
        return self.base_lr * self.p.gamma ** bisect.bisect_right(self.steps, iter)


@policy("poly")
class Poly(Policy):
    """base_lr · (1 - iter / max_iter) ^ power, 0 after max_iter"""

    class Parameters(Declared):
        power: float = param(doc="1: in a straight line; larger: falling sooner")

        def validate(self):
            if self.power < 0:
                message = f"must be >= 0 for lr_policy poly, got {self.power:g}: the rate would be infinite at the end"
                yield "power", message

    def __call__(self, iter):
        return self.base_lr * max(0.0, 1 - iter / self.max_iter) ** self.p.power if self.max_iter else 0.0


@policy("sigmoid")
class Sigmoid(Policy):
    """base_lr / (1 + exp(-gamma · (iter - stepsize)))"""

    class Parameters(Declared):
        gamma: float = param(minimum=0, doc="how steeply the rate rises, as in Caffe")
        stepsize: int = param(minimum=1, doc="the iteration at which it is half of base_lr")

    def __call__(self, iter):
        return self.base_lr * 0.5 * (1 + math.tanh(0.5 * self.p.gamma * (iter - self.p.stepsize)))


@policy("cosine")
class Cosine(Policy):
    """min_lr + (base_lr - min_lr) · (1 + cos(π · iter / max_iter)) / 2, min_lr after max_iter"""

    class Parameters(Declared):
        min_lr: float = param(default=0.0, minimum=0, doc="the rate at the end")

    @classmethod
    def check(cls, solver):
        return _not_above_base_lr(solver)

    def __call__(self, iter):
        share, least = min(1.0, iter / self.max_iter) if self.max_iter else 1.0, self.p.min_lr
        return least + (self.base_lr - least) * 0.5 * (1 + math.cos(math.pi * share))


@policy("plateau")
class Plateau(Policy):
    """max(min_lr, base_lr · gamma ^ (number of drops))

    It drops after plateau_patience tests in a row without a better
    score, and then waits for as many again"""

    class Parameters(Declared):
        gamma: float = param(minimum=0, doc="the factor of each drop")
        min_lr: float = param(default=0.0, minimum=0, doc="the lowest rate")
        plateau_patience: int = param(
            default=10, minimum=1, doc="tests in a row without a better score before the rate drops"
        )

    def __init__(self, p, base_lr, max_iter):
        super().__init__(p, base_lr, max_iter)
        self.drops = self.waited = 0

    @classmethod
    def check(cls, solver):
        if not solver.test_interval:
            yield "test_interval", "is missing: lr_policy plateau looks at the tests during training"
        yield from _not_above_base_lr(solver)

    def __call__(self, iter):
        return max(self.p.min_lr, self.base_lr * self.p.gamma**self.drops)

    def after_test(self, better):
        self.waited = 0 if better else self.waited + 1
        if self.waited == self.p.plateau_patience:
            self.drops, self.waited = self.drops + 1, 0

    def state(self):
        return {"drops": self.drops, "waited": self.waited}

    def set_state(self, state):
        self.drops, self.waited = state.get("drops", 0), state.get("waited", 0)


def _not_above_base_lr(solver: SolverParameters) -> Iterable[tuple[str, str]]:
    least = solver.lr_policy.p.min_lr
    if least > solver.base_lr:
        yield "min_lr", f"must be <= base_lr, got {least:g} and {solver.base_lr:g}"


class WarmUp(Policy):
    """Before any policy: from warmup_lr in a straight line to what the policy gives at warmup_iter."""

    def __init__(self, p: SolverParameters, then: Policy):
        self.first, self.count, self.then = p.warmup_lr, p.warmup_iter, then

    def __call__(self, iter):
        if iter >= self.count:
            return self.then(iter)
        return self.first + (self.then(self.count) - self.first) * iter / self.count

    def after_test(self, better):
        self.then.after_test(better)

    def state(self):
        return self.then.state()

    def set_state(self, state):
        self.then.set_state(state)


def rate_policy(p: SolverParameters, max_iter: int) -> Policy:
    """The policy a solver asks for, with its warm-up."""
    chosen = p.lr_policy.cls(p.lr_policy.p, p.base_lr, max_iter)
    return WarmUp(p, chosen) if p.warmup_iter else chosen
