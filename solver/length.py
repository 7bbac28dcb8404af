"""How long training is: iterations, and passes over the training data."""

from __future__ import annotations

import math

from ..net.net import Net
from .parameters import SolverParameters


def epochs(p: SolverParameters, net: Net, iterations: int) -> float | None:
    """Passes over the training data after this many iterations; None when the data has no end."""
    for layer in net.layers.values():
        if layer.pass_size:
            return iterations * p.iter_size * layer.batch_size / layer.pass_size
    return None


def count_iterations(p: SolverParameters, net: Net) -> int | None:
    """max_iter, or the iterations that max_epoch takes; None when the data has no end."""
    if p.max_iter is not None:
        return p.max_iter
    in_one = epochs(p, net, 1)
    return None if in_one is None else math.ceil((p.max_epoch or 0) / in_one - 1e-9)
