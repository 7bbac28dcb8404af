"""Softmax by oneDNN, and what LogSoftmax shares with it."""

from __future__ import annotations

import itertools
from typing import ClassVar

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.library import UnimplementedError
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...compute.stages import TOUCH, Stage
from ...layers.activation.class_axis import ClassAxis
from ...layers.activation.softmax import Softmax
from .careful import CarefulLayer
from .layer import OneDNNLayer

PIECE = 1 << 16  # elements worth waking a thread for
MOST = 16  # tasks


class ClassRows(CarefulLayer, ClassAxis):
    """Rows of classes that lie side by side in memory, some of them at once.

    A row is ordinary when its largest score is a number: scores of -infinity, which mask classes, do no harm beside it.
    Without AVX-512 the backward pass is the formula's: oneDNN has only its slow reference.
    """

    algorithm: ClassVar[int]

    def prepare(self, bottom, top):
        if self.inner != 1:
            return "classes that do not lie side by side"
        tasks = max(1, min(MOST, self.outer, bottom[0].count // PIECE))
        self.pieces = [slice(*pair) for pair in itertools.pairwise(i * self.outer // tasks for i in range(tasks + 1))]
        self.primitives = {n: self.both_ways(n) for n in {piece.stop - piece.start for piece in self.pieces}}
        self.has_backward = all(backward for _, backward in self.primitives.values())
        self.expect(tasks)
        return ""

    def both_ways(self, count):
        rows = plain((count, self.C))
        forward = Primitive("softmax_forward", dnn.TRAINING, self.algorithm, rows, rows, 1)
        try:
            return forward, Primitive("softmax_backward", self.algorithm, rows, rows, rows, 1, forward)
        except UnimplementedError:
            return forward, None

    def is_ordinary(self, x):
        return super().is_ordinary(x) or bool(np.isfinite(x.max(axis=1)).all())

    def fast_forward(self, bottom, top):
        self.passes.run("y", (bottom[0].data, top[0].data), self.forward_stages)

    def fast_backward(self, top, propagate_down, bottom):
        if not self.has_backward:
            super(OneDNNLayer, self).Backward_cpu(top, propagate_down, bottom)
        elif propagate_down[0]:
            self.passes.run("dx", (top[0].data, top[0].diff, bottom[0].diff), self.backward_stages)

    def forward_stages(self, x, y):
        rows = x.reshape(self.outer, self.C)
        calls = enumerate(self.calls(0, (dnn.SRC, dnn.DST), (x, y)))
        tasks = [[(self.look, (rows[self.pieces[number]], number)), call] for number, call in calls]
        return [Stage(tasks, work=2 * TOUCH * x.size)]

    def backward_stages(self, *arrays):
        tasks = [[call] for call in self.calls(1, (dnn.DST, dnn.DIFF_DST, dnn.DIFF_SRC), arrays)]
        return [Stage(tasks, work=2 * TOUCH * arrays[0].size)]

    def calls(self, way, roles, arrays):
        """The primitive of each piece with its memory."""
        flats = [array.reshape(self.outer, self.C) for array in arrays]
        for piece in self.pieces:
            rows = plain((piece.stop - piece.start, self.C))
            memories = {role: Memory(rows, one[piece]) for role, one in zip(roles, flats, strict=True)}
            yield self.primitives[piece.stop - piece.start][way], memories


class OneDNNSoftmax(ClassRows, Softmax):
    """y_k = exp(x_k) / Σ_j exp(x_j)."""

    algorithm = dnn.SOFTMAX
