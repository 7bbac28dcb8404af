"""Learning-rate policies: the rate as a function of the iteration.

Source: Caffe's GetLearningRate; cosine as Loshchilov and Hutter 2017, warm-up as Goyal et al. 2017 have it; plateau as
PyTorch's ReduceLROnPlateau, whose patience is one test shorter.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping

from .parameters import SolverParameters

POLICIES: dict[str, type[Policy]] = {}


def policy(name: str):
    """Class decorator: the class is called with (parameters, max_iter) and gives the rate when called with iter."""

    def add(cls):
        POLICIES[name] = cls
        return cls

    return add


class Policy:
    """Base of all policies. Called with the iteration it gives the rate; what else it depends on is its state."""

    def __init__(self, p: SolverParameters, max_iter: int):
        self.base_lr, self.max_iter = p.base_lr, max_iter
        # those that a policy needs are given: the parameters were validated
        self.gamma, self.power, self.stepsize = p.gamma or 0.0, p.power or 0.0, p.stepsize or 1

    def __call__(self, iter: int) -> float:
        raise NotImplementedError

    def after_test(self, better: bool) -> None:
        """Learn whether a test gave the best score so far."""

    def state(self) -> dict[str, int]:
        """What a snapshot keeps."""
        return {}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Take back what ``state`` gave."""


@policy("fixed")
class Fixed(Policy):
    """base_lr"""

    def __call__(self, iter):
        return self.base_lr


@policy("step")
class Step(Policy):
    """base_lr · gamma ^ floor(iter / stepsize)"""

    def __call__(self, iter):
        return self.base_lr * self.gamma ** (iter // self.stepsize)


@policy("exp")
class Exp(Policy):
    """base_lr · gamma ^ iter"""

    def __call__(self, iter):
        return self.base_lr * self.gamma**iter


@policy("inv")
class Inv(Policy):
    """base_lr · (1 + gamma · iter) ^ -power"""

    def __call__(self, iter):
        return self.base_lr * (1 + self.gamma * iter) ** -self.power


@policy("multistep")
class MultiStep(Policy):
    """base_lr · gamma ^ (number of stepvalues reached); at most one step an iteration, as in Caffe"""

    def __init__(self, p, max_iter):
        super().__init__(p, max_iter)
        self.steps: list[int] = []
        for value in p.stepvalue:
            self.steps.append(max(value, self.steps[-1] + 1) if self.steps else value)

    def __call__(self, iter):
        return self.base_lr * self.gamma ** bisect.bisect_right(self.steps, iter)


@policy("poly")
class Poly(Policy):
    """base_lr · (1 - iter / max_iter) ^ power, 0 from max_iter on"""

    def __call__(self, iter):
        return self.base_lr * max(0.0, 1 - iter / self.max_iter) ** self.power if self.max_iter else 0.0


@policy("sigmoid")
class Sigmoid(Policy):
    """base_lr / (1 + exp(-gamma · (iter - stepsize)))"""

    def __call__(self, iter):
        return self.base_lr * 0.5 * (1 + math.tanh(0.5 * self.gamma * (iter - self.stepsize)))


@policy("cosine")
class Cosine(Policy):
    """min_lr + (base_lr - min_lr) · (1 + cos(π · iter / max_iter)) / 2, min_lr from max_iter on"""

    def __init__(self, p, max_iter):
        super().__init__(p, max_iter)
        self.min_lr = p.min_lr

    def __call__(self, iter):
        share = min(1.0, iter / self.max_iter) if self.max_iter else 1.0
        return self.min_lr + (self.base_lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


@policy("plateau")
class Plateau(Policy):
    """max(min_lr, base_lr · gamma ^ (number of drops)); it drops after plateau_patience tests in a row without a better
    score, and then waits for as many again"""

    def __init__(self, p, max_iter):
        super().__init__(p, max_iter)
        self.min_lr, self.patience = p.min_lr, p.plateau_patience
        self.drops = self.waited = 0

    def __call__(self, iter):
        return max(self.min_lr, self.base_lr * self.gamma**self.drops)

    def after_test(self, better):
        self.waited = 0 if better else self.waited + 1
        if self.waited == self.patience:
            self.drops, self.waited = self.drops + 1, 0

    def state(self):
        return {"drops": self.drops, "waited": self.waited}

    def set_state(self, state):
        self.drops, self.waited = state.get("drops", 0), state.get("waited", 0)


class WarmUp(Policy):
    """In front of any policy: from warmup_lr in a straight line to what the policy gives at warmup_iter."""

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
    chosen = POLICIES[p.lr_policy](p, max_iter)
    return WarmUp(p, chosen) if p.warmup_iter else chosen
