"""Learning-rate policies: the rate as a function of the iteration.

Source: Caffe's GetLearningRate; cosine as Loshchilov and Hutter 2017, warm-up as Goyal et al. 2017 have it.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable

from .parameters import SolverParameters

Policy = Callable[[int], float]
POLICIES: dict[str, Callable[[SolverParameters, int], Policy]] = {}


def policy(name: str):
    """Class decorator: the class is called with (parameters, max_iter) and gives the rate when called with iter."""

    def add(cls):
        POLICIES[name] = cls
        return cls

    return add


class _Policy:
    def __init__(self, p: SolverParameters, max_iter: int):
        self.base_lr, self.max_iter = p.base_lr, max_iter
        # those that a policy needs are given: the parameters were validated
        self.gamma, self.power, self.stepsize = p.gamma or 0.0, p.power or 0.0, p.stepsize or 1


@policy("fixed")
class Fixed(_Policy):
    """base_lr"""

    def __call__(self, iter):
        return self.base_lr


@policy("step")
class Step(_Policy):
    """base_lr · gamma ^ floor(iter / stepsize)"""

    def __call__(self, iter):
        return self.base_lr * self.gamma ** (iter // self.stepsize)


@policy("exp")
class Exp(_Policy):
    """base_lr · gamma ^ iter"""

    def __call__(self, iter):
        return self.base_lr * self.gamma**iter


@policy("inv")
class Inv(_Policy):
    """base_lr · (1 + gamma · iter) ^ -power"""

    def __call__(self, iter):
        return self.base_lr * (1 + self.gamma * iter) ** -self.power


@policy("multistep")
class MultiStep(_Policy):
    """base_lr · gamma ^ (number of stepvalues reached); at most one step an iteration, as in Caffe"""

    def __init__(self, p, max_iter):
        super().__init__(p, max_iter)
        self.steps: list[int] = []
        for value in p.stepvalue:
            self.steps.append(max(value, self.steps[-1] + 1) if self.steps else value)

    def __call__(self, iter):
        return self.base_lr * self.gamma ** bisect.bisect_right(self.steps, iter)


@policy("poly")
class Poly(_Policy):
    """base_lr · (1 - iter / max_iter) ^ power, 0 from max_iter on"""

    def __call__(self, iter):
        return self.base_lr * max(0.0, 1 - iter / self.max_iter) ** self.power if self.max_iter else 0.0


@policy("sigmoid")
class Sigmoid(_Policy):
    """base_lr / (1 + exp(-gamma · (iter - stepsize)))"""

    def __call__(self, iter):
        return self.base_lr * 0.5 * (1 + math.tanh(0.5 * self.gamma * (iter - self.stepsize)))


@policy("cosine")
class Cosine(_Policy):
    """min_lr + (base_lr - min_lr) · (1 + cos(π · iter / max_iter)) / 2, min_lr from max_iter on"""

    def __init__(self, p, max_iter):
        super().__init__(p, max_iter)
        self.min_lr = p.min_lr

    def __call__(self, iter):
        share = min(1.0, iter / self.max_iter) if self.max_iter else 1.0
        return self.min_lr + (self.base_lr - self.min_lr) * 0.5 * (1 + math.cos(math.pi * share))


class WarmUp:
    """In front of any policy: from warmup_lr in a straight line to what the policy gives at warmup_iter."""

    def __init__(self, p: SolverParameters, then: Policy):
        self.first, self.count, self.then = p.warmup_lr, p.warmup_iter, then

    def __call__(self, iter):
        if iter >= self.count:
            return self.then(iter)
        return self.first + (self.then(self.count) - self.first) * iter / self.count


def rate_policy(p: SolverParameters, max_iter: int) -> Policy:
    """The policy a solver asks for, with its warm-up."""
    chosen = POLICIES[p.lr_policy](p, max_iter)
    return WarmUp(p, chosen) if p.warmup_iter else chosen
