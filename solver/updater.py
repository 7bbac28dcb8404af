"""From gradients to new weights: averaging, clipping, regularising and the rule, over the net's flat arrays."""

from __future__ import annotations

import math

import numpy as np

from ..compute.blas import axpby
from ..compute.parallel import run, scratch
from ..net.build import Parameter
from ..net.net import Net
from ..ranks.reduction import Reduce, gradient_sum
from ..ranks.team import ALONE, Team
from .parameters import SolverParameters

BLOCK = 1 << 16  # elements: weights, gradient and history of a block stay in the cache
TASK = 1 << 17  # elements worth waking a thread for


class Updater:
    """Applies a rule to a net. ``sum`` adds up the gradients; ``history`` holds the rule's arrays, each as long as all
    parameters, of which a team's member keeps its own blocks."""

    def __init__(self, p: SolverParameters, net: Net, team: Team = ALONE, reduce: Reduce = "segments"):
        self.p, self.net = p, net
        blocks = list(_blocks(net.parameters))
        self.sum = gradient_sum(team, net, [where for where, *_ in blocks], p.iter_size, reduce)
        self.rule = p.type.cls(p.type.p)
        self.history = [np.zeros_like(net.flat.data) for _ in range(self.rule.kept)]
        flat = net.flat
        self.blocks = [
            (flat.data[where], flat.diff[where], [h[where] for h in self.history], lr_mult, decay_mult)
            for i, (where, lr_mult, decay_mult) in enumerate(blocks)
            if lr_mult != 0 and self.sum.owns(i)
        ]

    def apply(self, rate: float, t: int) -> None:
        """Update number ``t`` (from 1) at this rate, from the summed gradients of iter_size batches."""
        scale = self._scale()

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
        self.sum.hand_round(self.net.flat.data)

    def hand_round_history(self) -> None:
        """Of a team, have all of the history here, before somebody looks at it."""
        for array in self.history:
            self.sum.hand_round(array)

    def _scale(self) -> float:
        """1 / iter_size for the mean, times c / norm where the mean's norm is above c = clip_gradients."""
        scale, limit = 1 / self.p.iter_size, self.p.clip_gradients
        if limit > 0:
            norm = scale * math.sqrt(self.sum.square())
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
