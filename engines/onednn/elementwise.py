"""What the activations over oneDNN share: one of its formulas for single numbers, and its derivative."""

from __future__ import annotations

import itertools
from typing import ClassVar

from ...compute.memory import memory_order
from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Memory, Primitive, plain
from ...compute.stages import TOUCH, Stage, Work
from .careful import CarefulLayer

PIECE = 1 << 16  # elements that stay in a processor's own cache, and are worth waking a thread for
MOST = 16  # tasks


class Elementwise(CarefulLayer):
    """y = f(x), dx = dy f'(x), piece by piece. ``function`` of a type says which f."""

    from_y: ClassVar[bool] = False  # whether oneDNN's derivative reads y, instead of x

    def function(self) -> tuple[int, float, float] | str:
        """The number of oneDNN's formula, its α and its β; or why there is none."""
        raise NotImplementedError

    def prepare(self, bottom, top):
        found = self.function()
        if isinstance(found, str):
            return found
        if bottom[0].channels_last != top[0].channels_last:
            return "another order in memory"
        count = bottom[0].count
        self.pieces = [slice(i, min(i + PIECE, count)) for i in range(0, count, PIECE)]
        self.primitives = {n: self.both_ways(n, *found) for n in {piece.stop - piece.start for piece in self.pieces}}
        self.expect(len(self.pieces))
        return ""

    def both_ways(self, count, algorithm, alpha, beta):
        flat = plain((count,))
        forward = Primitive("eltwise_forward", dnn.TRAINING, algorithm, flat, flat, alpha, beta)
        return forward, Primitive("eltwise_backward", algorithm, flat, flat, flat, alpha, beta, forward)

    def fast_forward(self, bottom, top):
        self.passes.run("y", (bottom[0].data, top[0].data), self.forward_stages)

    def fast_backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            read = (top if self.from_y else bottom)[0].data
            self.passes.run("dx", (read, top[0].diff, bottom[0].diff), self.backward_stages)

    def forward_stages(self, x, y):
        return [self.stage(0, (dnn.SRC, dnn.DST), (x, y), looking=True)]

    def backward_stages(self, *arrays):
        return [self.stage(1, (dnn.DST if self.from_y else dnn.SRC, dnn.DIFF_DST, dnn.DIFF_SRC), arrays)]

    def stage(self, way, roles, arrays, looking=False) -> Stage:
        flats = [memory_order(array) for array in arrays]
        works: list[list[Work]] = []
        for number, piece in enumerate(self.pieces):
            flat = plain((piece.stop - piece.start,))
            memories = {role: Memory(flat, one[piece]) for role, one in zip(roles, flats, strict=True)}
            works.append([(self.look, (flats[0][piece], number))] if looking else [])
            works[-1].append((self.primitives[piece.stop - piece.start][way], memories))
        tasks = min(MOST, len(works))
        ends = [i * len(works) // tasks for i in range(tasks + 1)]
        parts = [list(itertools.chain(*works[a:b])) for a, b in itertools.pairwise(ends)]
        return Stage(parts, work=2 * TOUCH * flats[0].size)
