"""From gradients to new weights: averaging, clipping, regularising and the rule, over the net's flat arrays."""

from __future__ import annotations

import math

import numpy as np

from ..compute.blas import axpby
from ..compute.parallel import run, scratch
from ..net.build import Parameter
from ..net.net import Net
from .parameters import SolverParameters

BLOCK = 1 << 16  # elements: weights, gradient and history of a block stay in the cache
TASK = 1 << 17  # elements worth waking a thread for


class Updater:
    """Applies a rule to a net. ``history`` holds the rule's arrays, each as long as all parameters."""

    def __init__(self, p: SolverParameters, net: Net):
        self.p, self.net = p, net
        self.rule = p.type.cls(p.type.p)
        self.history = [np.zeros_like(net.flat.data) for _ in range(self.rule.kept)]
        flat = net.flat
        self.blocks = [
            (flat.data[where], flat.diff[where], [h[where] for h in self.history], lr_mult, decay_mult)
            for where, lr_mult, decay_mult in _blocks(net.parameters)
            if lr_mult != 0
        ]

    def apply(self, rate: float, t: int) -> None:
        """Update number ``t`` (from 1) at this rate, from the summed gradients of iter_size batches."""
        scale = self._scale(self.net.flat.diff)

        def some(task: int) -> None:
            for W, g, history, lr_mult, decay_mult in self.blocks[task::tasks]:
                if scale != 1:
                    g *= scale
                decay = self.p.weight_decay * decay_mult
                if self.rule.decays:
                    self.rule.decay(W, rate * lr_mult, decay)
                else:
                    self._regularise(W, g, decay)
                self.rule.update(W, g, history, rate * lr_mult, t)

        tasks = max(1, min(16, self.net.flat.count // TASK))
        run(some, tasks)

    def _scale(self, g: np.ndarray) -> float:
        """1 / iter_size for the mean, times c / norm where the mean's norm is above c = clip_gradients."""
        scale, limit = 1 / self.p.iter_size, self.p.clip_gradients
        if limit > 0:
            norm = scale * math.sqrt(float(np.dot(g, g)))
            if norm > limit:
                scale *= limit / norm
        return scale

    def _regularise(self, W: np.ndarray, g: np.ndarray, decay: float) -> None:
        """L2: g += decay W. L1: g += decay sign(W)."""
        if decay == 0:
            return
        if self.p.regularization_type == "L2":
            axpby(decay, W, 1, g)
        else:
            axpby(decay, np.sign(W, out=scratch("sign", W.shape, W.dtype)), 1, g)


def _blocks(parameters: list[Parameter]):
    """(slice, lr_mult, decay_mult) over all parameters; neighbours that are treated alike go together."""
    runs: list[list] = []
    for one in parameters:
        if runs and runs[-1][2:] == [one.lr_mult, one.decay_mult]:
            runs[-1][1] = one.stop
        else:
            runs.append([one.start, one.stop, one.lr_mult, one.decay_mult])
    for start, stop, lr_mult, decay_mult in runs:
        for begin in range(start, stop, BLOCK):
            yield slice(begin, min(begin + BLOCK, stop)), lr_mult, decay_mult
