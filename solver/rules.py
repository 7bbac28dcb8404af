"""Update rules: what a step does to the weights W, given the gradient g and what the rule remembers.

A rule works on slices of the flat arrays, with the calls of BLAS that Caffe makes. It may overwrite g. ``rate`` is the
policy's rate times lr_mult.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..net.blas import axpby
from .parameters import SolverParameters

RULES: dict[str, type[SGD]] = {}


def rule(cls):
    """Class decorator: register an update rule under its class name."""
    RULES[cls.__name__] = cls
    return cls


@rule
class SGD:
    """Stochastic gradient descent with momentum: v ← μ v + rate g, W ← W - v."""

    histories = 1  # arrays as large as W that the rule keeps

    def __init__(self, p: SolverParameters):
        self.p = p

    def update(self, W: np.ndarray, g: np.ndarray, history: Sequence[np.ndarray], rate: float) -> None:
        (v,) = history
        axpby(rate, g, self.p.momentum, v)
        axpby(-1, v, 1, W)
