"""Recurrent: a cell written as layers, unrolled over time."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import scratch
from ...net.example import Example
from ...net.fillers import stream
from ...net.layer import Layer
from ...net.registry import register
from ...spec.errors import ShapeError, format_shape
from ..loss.targets import CONT
from .cell import CellParameters
from .recurrence import begins
from .unrolled import Unrolled


def _cell(*reads: str) -> list[dict]:
    return [
        {"name": "both", "type": "Concat", "bottom": list(reads)},
        {"name": "sum", "type": "InnerProduct", "num_output": 2},
        {"name": "h_next", "type": "TanH"},
    ]


def _state(name: str = "h", after: str = "h_next", **more) -> dict:
    return {"name": name, "next": after, "shape": [2]} | more


@register
class Recurrent(Layer):
    """A cell written as layers, run step by step over sequences with the same parameters.

    At step t the cell reads, by name, x_t of each sequence, the static inputs, and its states s_t; it makes the
    outputs and the next states: s_{t+1} = cont_{t+1} next(s_t) + (1 - cont_{t+1}) s_0. N sequences run side by side.
    bottom: the ``sequences``, each T x N x …; with ``cont`` then T x N, 0 where a sequence begins and 1 where it goes
    on; the ``static`` inputs, each N x …; last 1 x N x (shape) for each state ``from_bottom``.
    top: the ``outputs``, each T x N x …; with ``final_states`` then the states after the last step, 1 x N x (shape).
    blobs: those of the cell's layers in order, then the initial values that are learned or filled at random.
    s_0 is ``initial``. With ``carry`` a batch begins with the states the one before ended with, as Caffe's LSTM does,
    if it has the same number of sequences. Where cont is 0, states from a bottom restart at zero, as in Caffe.
    Backward: the steps in reverse; a parameter's gradient is the sum over all of them; initial states from bottoms
    and learned ones get theirs, carried ones end there.
    T may change from batch to batch; a step costs what its layers cost, also for longer sequences.
    Errors: sequences that disagree in T or N; a cont outside [0, 1]; states whose next value differs in shape; inputs
    the cell does not read.
    Source: Caffe's RecurrentLayer, which unrolls a net built in C++; see Werbos, Backpropagation through time, 1990.
    """

    Parameters = CellParameters
    num_bottoms = (1, None)
    num_tops = (1, None)
    batch_axis = 1
    backward_reads = ()
    examples = (
        Example([(3, 2, 3), (3, 2)], {"cell": _cell("x", "h"), "states": [_state()], "outputs": "h_next"}, {1: begins}),
        Example(
            [(2, 2, 3), (2, 2), (2, 2)],
            {
                "cell": _cell("x", "s", "h"),
                "states": [_state(initial="gaussian", learned=True)],
                "static": "s",
                "outputs": ["h_next", "sum", "sum"],
            },
            {1: begins},
            tops=3,
        ),
        Example(
            [(2, 2, 3), (2, 2, 1), (1, 2, 2)],
            {
                "sequences": ["x", "u"],
                "cont": False,
                "cell": _cell("x", "u", "h", "before"),
                "states": [_state(from_bottom=True), _state("before", "sum", initial="uniform")],
                "outputs": "h_next",
                "final_states": True,
            },
            tops=3,
        ),
        Example(
            [(3, 2, 2), (3, 2), (1, 2, 2)],
            {
                "cell": _cell("x", "h", "before"),
                "states": [_state(from_bottom=True), _state("before", "h", initial=0.5)],
                "outputs": "h_next",
                "carry": True,
            },
            {1: begins},
        ),
    )

    def setup(self, bottom, top):
        p = self.p
        p.check_counts(len(bottom), len(top))
        if p.cont:
            self.no_gradient = (len(p.sequences),)
            self.continues_by = len(p.sequences)
        self.T, self.N = self._sizes(bottom)
        taps = list(dict.fromkeys([*p.outputs, *(state.next for state in p.states)]))
        self.unrolled = Unrolled(p.cell, self._inputs(bottom), taps, self)
        (copy,) = self.unrolled.until(1)
        for name in (*p.sequences, *p.static, *(state.name for state in p.states)):
            if name not in copy.read:
                raise ShapeError(f"no layer of the cell reads `{name}`", key="cell")
        self.moves_blobs = any(step.layer.moves_blobs for step in copy.steps)
        for state in p.states:
            if copy.taps[state.next].data.shape[1:] != state.shape:
                made = format_shape(copy.taps[state.next].data.shape[1:])
                raise ShapeError(
                    f"state `{state.name}` is {format_shape(state.shape)} for each example, but `{state.next}`, its "
                    f"value at the next step, is {made}",
                    key="states",
                )
        self.blobs = [parameter.blob for parameter in copy.parameters]
        owned = {id(blob): fixed for (blob, _), fixed in zip(copy.uses, copy.fixed, strict=True)}
        self.param_propagate_down = [not owned[id(blob)] for blob in self.blobs]
        self.initial_blobs: dict[str, int] = {}  # state -> its initial value among the blobs
        for state in p.states:
            if state.has_blob:
                self.initial_blobs[state.name] = len(self.blobs)
                self.add_blob(state.shape, state.initial)
                self.param_propagate_down[-1] = state.learned
        self.carried: dict[str, np.ndarray] = {}

    def _sizes(self, bottom):
        """(T, N), after checking every bottom."""
        sequences, cont, static, given = self.p.parts(bottom)
        shapes = [blob.shape for blob in (*sequences, *cont)]
        if any(len(shape) < 2 or shape[:2] != shapes[0][:2] for shape in shapes):
            every = ", ".join(map(format_shape, shapes))
            raise ShapeError(f"sequences{' and cont' if cont else ''} must agree in T x N, the first axes; got {every}")
        T, N = shapes[0][:2]
        if T < 1:
            raise ShapeError(f"needs at least one step, got sequences of {format_shape(shapes[0])}")
        if cont and len(cont[0].shape) != 2:
            raise ShapeError(f"cont must be T x N = {T} x {N}, got {format_shape(cont[0].shape)}")
        for blob in cont:
            CONT.check_known(blob)
        for name, blob in zip(self.p.static, static, strict=True):
            if blob.shape[:1] != (N,):
                raise ShapeError(f"static input `{name}` must be N x … with N = {N}, got {format_shape(blob.shape)}")
        for state, blob in zip(self.p.given, given, strict=True):
            if blob.shape != (1, N, *state.shape):
                wanted = format_shape((1, N, *state.shape))
                raise ShapeError(f"the first `{state.name}` must be {wanted}, got {format_shape(blob.shape)}")
        return T, N

    def _inputs(self, bottom):
        """Shapes of what the cell reads at a step, by name."""
        p = self.p
        sequences, _, static, _ = p.parts(bottom)
        inputs = {state.name: (self.N, *state.shape) for state in p.states}
        inputs |= {name: blob.shape for name, blob in zip(p.static, static, strict=True)}
        inputs |= {name: blob.shape[1:] for name, blob in zip(p.sequences, sequences, strict=True)}
        inputs[p.sequences[0]] = inputs.pop(p.sequences[0])  # last: what a first layer without `bottom` reads
        return inputs

    def reshape(self, bottom, top):
        before = self.N
        self.T, self.N = self._sizes(bottom)
        if before != self.N:
            self.carried = {}
        self.unrolled.reshape(self._inputs(bottom))
        taps = self.unrolled.copies[0].taps
        for name, blob in zip(self.p.outputs, top, strict=False):
            blob.reshape((self.T, *taps[name].data.shape))
        for state, blob in zip(self.p.states, top[len(self.p.outputs) :], strict=False):
            blob.reshape((1, self.N, *state.shape))

    def fill_blobs(self):
        self.unrolled.fill_blobs(self.blobs)
        for state in self.p.states:
            if state.has_blob:
                random = stream(self.seed, self.name, f"state {state.name}")
                state.initial.fill(self.blobs[self.initial_blobs[state.name]].data, random, False)

    def first(self, state):
        """The value a state has where a sequence begins."""
        if state.from_bottom:
            return 0.0
        return self.blobs[self.initial_blobs[state.name]].data if state.has_blob else state.initial.value

    def over_states(self, cont, state):
        """cont of a step (N) in the shape that multiplies a state."""
        return cont.reshape(-1, *(1 for _ in state.shape))

    def Forward_cpu(self, bottom, top):
        p = self.p
        sequences, cont, static, given = self.p.parts(bottom)
        self.cont = None
        if cont:
            CONT.check(cont[0])
            self.cont = self.buffer("cont", cont[0].shape)
            np.copyto(self.cont, cont[0].data)
        # carried states may come from a snapshot with a different number of sequences
        wanted = {state.name: (self.N, *state.shape) for state in p.states}
        state = {name: values for name, values in self.carried.items() if values.shape == wanted[name]}
        state |= {state.name: blob.data[0] for state, blob in zip(self.p.given, given, strict=True)}
        self.starts_at_first = [one for one in p.states if one.name not in state]
        for t, copy in enumerate(self.unrolled.until(self.T)):
            copy.use(self.blobs)
            for name, blob in zip(p.sequences, sequences, strict=True):
                np.copyto(copy.inputs[name].data, blob.data[t])
            for name, blob in zip(p.static, static, strict=True):
                np.copyto(copy.inputs[name].data, blob.data)
            for one in p.states:
                self.begin_step(t, one, state.get(one.name, self.first(one)), copy.inputs[one.name].data)
            copy.forward()
            for name, blob in zip(p.outputs, top, strict=False):
                np.copyto(blob.data[t], copy.taps[name].data)
            state = {one.name: copy.taps[one.next].data for one in p.states}
        for one, blob in zip(p.states, top[len(p.outputs) :], strict=False):
            np.copyto(blob.data[0], state[one.name])
        for one in p.states if p.carry else ():
            if not one.from_bottom:
                self.carried[one.name] = self.buffer(f"carried {one.name}", (self.N, *one.shape))
                np.copyto(self.carried[one.name], state[one.name])

    def begin_step(self, t, state, before, s):
        """s_t = cont_t before + (1 - cont_t) s_0."""
        if self.cont is None:
            np.copyto(s, before)
            return
        cont = self.over_states(self.cont[t], state)
        np.multiply(before, cont, out=s)
        if state.has_blob or self.first(state):
            s += np.multiply(1 - cont, self.first(state), out=scratch("begun", s.shape, s.dtype))

    def Backward_cpu(self, top, propagate_down, bottom):
        p = self.p
        wanted = [blob.diff if flag else None for blob, flag in zip(bottom, propagate_down, strict=True)]
        sequences, _, static, given = self.p.parts(wanted)
        for ds in static:
            if ds is not None:
                ds.fill(0)
        finals = top[len(p.outputs) :]
        back = {state.name: blob.diff[0] for state, blob in zip(p.states, finals, strict=False)}
        for t in reversed(range(self.T)):
            copy = self.unrolled.copies[t]
            copy.learn(self.param_propagate_down)
            for tap in copy.taps.values():
                tap.upstream.fill(0)
            for name, blob in zip(p.outputs, top, strict=False):
                copy.taps[name].upstream += blob.diff[t]
            for state in p.states:
                copy.taps[state.next].upstream += back.get(state.name, 0)
            copy.backward()
            for name, dx in zip(p.sequences, sequences, strict=True):
                if dx is not None:
                    np.copyto(dx[t], copy.gradient(name))
            for name, ds in zip(p.static, static, strict=True):
                if ds is not None:
                    ds += copy.gradient(name)
            back = {state.name: self.end_step(t, state, copy.gradient(state.name)) for state in p.states}
        for state in self.starts_at_first:
            self.add_to_first(state, back[state.name])
        for state, dh in zip(self.p.given, given, strict=True):
            if dh is not None:
                np.copyto(dh[0], back[state.name])

    def end_step(self, t, state, ds):
        """From the gradient of s_t: that of the value before is cont_t ds, that of s_0 (1 - cont_t) ds."""
        back = self.buffer(f"back {state.name}", (self.N, *state.shape))
        if self.cont is None:
            np.copyto(back, ds)
            return back
        cont = self.over_states(self.cont[t], state)
        self.add_to_first(state, np.multiply(1 - cont, ds, out=back))
        return np.multiply(cont, ds, out=back)

    def add_to_first(self, state, gradient):
        """Add a gradient of the initial value to its parameter, if it has one."""
        if state.learned and self.param_propagate_down[self.initial_blobs[state.name]]:
            self.blobs[self.initial_blobs[state.name]].diff += gradient.sum(axis=0)

    def multiply_adds(self, bottom, top):
        return self.T * self.unrolled.multiply_adds()

    def start_pass(self):
        """A pass over a data set begins with fresh states."""
        self.carried = {}
        self.unrolled.start_pass()

    def skip(self, batches):
        """A state carried on is that of a batch which was not computed here: ``follows_on`` says where it matters."""

    def follows_on(self, bottom):
        return self.p.carry and (self.cont is None or bool(self.cont[0].any()))

    def state(self):
        """Random numbers, carried states and what the cell's layers keep themselves."""
        carried = {name: values.tolist() for name, values in self.carried.items()}
        return super().state() | {"carried": carried, "cells": self.unrolled.state()}

    def set_state(self, state):
        super().set_state(state)
        self.carried = {name: np.array(values, self.dtype) for name, values in state["carried"].items()}
        self.unrolled.set_state(state["cells"])
