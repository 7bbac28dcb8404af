"""What LSTM and GRU by oneDNN share: its recurrent primitives, for parts of the sequences."""

from __future__ import annotations

import functools
from typing import ClassVar

import numpy as np

from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import Descriptor, Memory, Primitive, plain, reorder
from ...compute.stages import Stage, Work, Works
from ...layers.recurrent.recurrence import SEQUENCES, Recurrence
from .layer import OneDNNLayer
from .shares import Shares, add_up

FROM_LEFT = 1  # to right, as time goes
OVERWRITE = 1  # what is in a gradient, instead of adding to it
WEIGHTS = 1 << 18  # for each sequence: with more, most of the time would go to bringing them into oneDNN's order

# roles of memory: of the states, after those of x and y
SRC_STATE, DST_STATE, WEIGHTS_H = 2, 18, 34
DIFF_SRC_STATE, DIFF_DST_STATE, DIFF_WEIGHTS_H = 130, 146, 162


class RecurrentPrimitives:
    """The passes over T steps of N sequences, and how their memory lies: T x N x D, weights D x gates x H."""

    def __init__(self, kind: str, T: int, N: int, D: int, H: int, gates: int, biases: int, states: int):
        self.x, self.y, self.state = plain((T, N, D)), plain((T, N, H)), plain((1, 1, N, H))
        self.W_x, self.W_h = plain((1, 1, D, gates, H)), plain((1, 1, H, gates, H))
        self.b = plain((1, 1, biases, H))
        self.W_x_back, self.W_h_back = _gates_first(D, gates, H), _gates_first(H, gates, H)
        several, no_more = [self.state] * states, [None, None] * (kind == "lstm")  # peepholes and projections
        given = [self.x, *several, self.W_x, self.W_h, *no_more, self.b, self.y, *several]
        back = [self.x, *several, self.W_x_back, self.W_h_back, *no_more, self.b, self.y, *several]
        # oneDNN calls it "ref" whatever makes the steps: here its sgemm and compiled functions
        self.forward = Primitive(f"{kind}_forward", dnn.TRAINING, FROM_LEFT, *given, 0, slow=True)
        way = (dnn.BACKWARD, FROM_LEFT, *back, *given, OVERWRITE, self.forward)
        self.backward = Primitive(f"{kind}_backward", *way, slow=True)
        self.kept = self.forward.descriptor(dnn.WORKSPACE)


def _gates_first(D: int, gates: int, H: int) -> Descriptor:
    """Of D x gates x H as the backward pass reads it: gates x H x D in memory."""
    size = D * gates * H
    return Descriptor.of((1, 1, D, gates, H), (size, size, 1, H * D, D))


class ByPrimitives(OneDNNLayer, Recurrence):
    """A recurrent layer by oneDNN's primitive ``kind``, in which gate k of the formulas is gate ``places[k]``.

    A primitive runs through whole sequences: a batch in which one begins after the first step is computed by the
    formulas, both ways. Parts of x and y are copied to where they lie densely, as oneDNN is faster with, and the
    backward pass reads them; each part has a dW of its own, and they are added in order.
    """

    kind: ClassVar[str]
    places: ClassVar[tuple[int, ...]]
    biases: ClassVar[int]  # rows of H
    writes_work_down = False  # what cont is decides what is done

    def prepare(self, bottom, top):
        if self.static:
            return "a static input"
        if sum(blob.count for blob in self.blobs) > WEIGHTS * self.N:
            return "few sequences for so many weights"
        self.work = self.multiply_adds(bottom, top)
        self.shares = Shares(self.N, 1, most=max(1, self.N // SEQUENCES))
        sizes = (self.D, self.H, self.gates, self.biases, len(self.states))
        self.primitives = {n: RecurrentPrimitives(self.kind, self.T, n, *sizes) for n in self.shares.counts}
        return ""

    # Passes

    def forward(self, bottom, top):
        self.begin(bottom)
        self.as_formulas = not self.in_one_piece()
        through = self.sequences_forward if self.as_formulas else self.run_forward
        self.end(top, through(bottom, top[0].data))

    def in_one_piece(self):
        """Whether no sequence begins inside the batch."""
        return bool((self.cont[1:] == 1).all())

    def run_forward(self, bottom, y):
        firsts = [self.buffer(f"begun {name}", (self.N, self.H)) for name in self.states]
        for name, first in zip(self.states, firsts, strict=True):
            np.multiply(self.first[name], self.cont[0], out=first)
        lasts = [self.buffer(f"last {name}", (self.N, self.H)) for name in self.states]
        x = bottom[0].data.reshape(self.T, self.N, self.D)
        self.passes.run("forward", (x, y, *firsts, *lasts, *(blob.data for blob in self.blobs)), self.forward_stages)
        return dict(zip(self.states, lasts, strict=True))

    def backward(self, top, propagate_down, bottom):
        if self.as_formulas:
            super(OneDNNLayer, self).Backward_cpu(top, propagate_down, bottom)
            return
        dlasts = [self.buffer(f"dlast {name}", (self.N, self.H)) for name in self.states]
        for i, dlast in enumerate(dlasts):
            np.copyto(dlast, top[1 + i].diff[0] if self.p.expose_hidden else 0)
        dfirsts = [self.buffer(f"dfirst {name}", (self.N, self.H)) for name in self.states]
        learned = zip(self.blobs, self.param_propagate_down, strict=True)
        diffs, cleared = zip(*(blob.diff_to_add_to() if flag else (None, False) for blob, flag in learned), strict=True)
        dx = bottom[0].diff.reshape(self.T, self.N, self.D) if propagate_down[0] else None
        weights = (self.blobs[0].data, self.blobs[self.of_h].data)
        arrays = (dx, top[0].diff, *dlasts, *dfirsts, *weights, *diffs)
        self.passes.run(("backward", cleared), arrays, lambda *arrays: self.backward_stages(cleared, *arrays))
        for dfirst in dfirsts:
            dfirst *= self.cont[0]
        self.to_first(propagate_down, bottom, dict(zip(self.states, dfirsts, strict=True)))

    # Memory

    def memories(self, i, count):
        """Memory of part i that both passes use."""
        made, T = self.primitives[count], self.T
        x, y = self.buffer(f"x {i}", (T, count, self.D)), self.buffer(f"y {i}", (T, count, self.H))
        kept = Memory(made.kept, self.buffer(f"kept {i}", (made.kept.elements,)))
        return {
            dnn.SRC: Memory(made.x, x),
            dnn.DST: Memory(made.y, y),
            dnn.BIAS: Memory(made.b, self.buffer("b", (self.biases, self.H))),
            dnn.WORKSPACE: kept,
        }

    def states_of(self, role, arrays, share, count):
        """Memory of a part of each state, in the roles that begin with this one."""
        state = self.primitives[count].state
        return {role + k: Memory(state, array[share]) for k, array in enumerate(arrays)}

    def gates_of(self, W):
        """The rows of each gate, with where it stands in oneDNN's order."""
        return zip(self.places, W.reshape(self.gates, self.H, -1), strict=True)

    # Stages

    def forward_stages(self, x, y, *more):
        states = len(self.states)
        firsts, lasts, learned = more[:states], more[states : 2 * states], more[2 * states :]
        b = self.buffer("b", (self.biases, self.H))
        ordering: list[Works] = [self.biases_from(learned, b)]
        ordered = {}
        for role, W in ((dnn.WEIGHTS, learned[0]), (WEIGHTS_H, learned[self.of_h])):
            ordered[role] = self.buffer(f"W {role}", (W.shape[1], self.gates, self.H))
            ordering += [[transpose(gate, ordered[role][:, place])] for place, gate in self.gates_of(W)]

        def task(i, share, count):
            made, memories = self.primitives[count], self.memories(i, count)
            weights = {
                dnn.WEIGHTS: Memory(made.W_x, ordered[dnn.WEIGHTS]),
                WEIGHTS_H: Memory(made.W_h, ordered[WEIGHTS_H]),
            }
            before = self.states_of(SRC_STATE, firsts, share, count)
            after = self.states_of(DST_STATE, lasts, share, count)
            return [
                (np.copyto, (memories[dnn.SRC].array, x[:, share])),
                (made.forward, memories | weights | before | after),
                (np.copyto, (y[:, share], memories[dnn.DST].array)),
            ]

        size = sum(blob.count for blob in self.blobs)
        return [Stage(ordering, work=size), self.shares.stage(task, self.work)]

    def backward_stages(self, cleared, dx, dy, *more):
        states = len(self.states)
        dlasts, dfirsts, weights = more[:states], more[states : 2 * states], more[2 * states : 2 * states + 2]
        diffs = more[2 * states + 2 :]
        firsts, lasts = ([self.buffer(f"{a} {s}", (self.N, self.H)) for s in self.states] for a in ("begun", "last"))
        copies = [self.buffer(f"W back {k}", W.shape) for k, W in enumerate(weights)]
        ordering: list[Works] = []
        for W, copy in zip(weights, copies, strict=True):
            there = copy.reshape(self.gates, self.H, -1)
            ordering += [[(np.copyto, (there[place], gate))] for place, gate in self.gates_of(W)]
        sizes = [*(W.size for W in weights), self.biases * self.H]
        sums = [self.buffer(f"sums {k}", (len(self.shares), size)) for k, size in enumerate(sizes)]

        def task(i, share, count):
            made, memories = self.primitives[count], self.memories(i, count)
            dy_part, dx_part = (self.buffer(f"d{k} {i}", memories[role].array.shape) for k, role in _BOTH)
            memories |= {
                dnn.WEIGHTS: Memory(made.W_x_back, copies[0]),
                WEIGHTS_H: Memory(made.W_h_back, copies[1]),
                dnn.DIFF_SRC: Memory(made.x, dx_part),
                dnn.DIFF_DST: Memory(made.y, dy_part),
                dnn.DIFF_WEIGHTS: Memory(made.W_x, sums[0][i]),
                DIFF_WEIGHTS_H: Memory(made.W_h, sums[1][i]),
                dnn.DIFF_BIAS: Memory(made.b, sums[2][i]),
            }
            for role, arrays in (
                (SRC_STATE, firsts),
                (DST_STATE, lasts),
                (DIFF_SRC_STATE, dfirsts),
                (DIFF_DST_STATE, dlasts),
            ):
                memories |= self.states_of(role, arrays, share, count)
            back = [] if dx is None else [(np.copyto, (dx[:, share], dx_part))]
            return [(np.copyto, (dy_part, dy[:, share])), (made.backward, memories), *back]

        handing_on: list[Works] = []
        for k, at in enumerate((0, self.of_h)):
            if diffs[at] is not None:
                total = sums[k][0].reshape(-1, self.gates, self.H)
                for place, gate in self.gates_of(diffs[at]):
                    handing_on.append([transpose(total[:, place], gate, adding=not cleared[at])])
        handing_on.append(self.biases_to(sums[2][0].reshape(self.biases, self.H), diffs, cleared))
        size = sum(W.size for W in weights)
        adding = [Stage(add_up(one), work=one.size) for one in sums]
        return [
            Stage(ordering, work=size),
            self.shares.stage(task, 2 * self.work),
            *adding,
            Stage(handing_on, work=size),
        ]

    # Biases

    def biases_from(self, learned, b) -> Works:
        """Calls that fill b, biases x H as oneDNN has them."""
        raise NotImplementedError

    def biases_to(self, db, diffs, cleared) -> Works:
        """Calls that hand db on, biases x H as oneDNN has them, to the gradients that are wanted."""
        raise NotImplementedError


_BOTH = (("y", dnn.DST), ("x", dnn.SRC))


def transpose(here: np.ndarray, there: np.ndarray, adding: bool = False) -> Work:
    """Write hereᵀ into there, or add it."""
    steps = (tuple(s // one.itemsize for s in one.strides) for one in (here.T, there))
    primitive, a, b = _transposing(there.shape, *steps, adding)
    return primitive, {dnn.SRC: Memory(a, here), dnn.DST: Memory(b, there)}


@functools.lru_cache(maxsize=64)
def _transposing(
    shape: tuple[int, ...], here: tuple[int, ...], there: tuple[int, ...], adding: bool
) -> tuple[Primitive, Descriptor, Descriptor]:
    """All gates of a layer have the same one, and it stays when the number of steps is another."""
    a, b = Descriptor.of(shape, here), Descriptor.of(shape, there)
    return reorder(a, b, adding), a, b


def hand_on(value: np.ndarray, gradient: np.ndarray, cleared: bool) -> Work:
    """Write a value into a gradient that is cleared, or add it."""
    return (np.copyto, (gradient, value)) if cleared else (np.add, (gradient, value, gradient))
