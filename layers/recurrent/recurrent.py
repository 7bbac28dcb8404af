"""Recurrent: a cell written as layers, unrolled over time."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

from ...compute.parallel import scratch
from ...net.example import Example
from ...net.fillers import Filler, stream
from ...net.layer import Layer
from ...net.registry import register
from ...net.user_code import ask
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, did_you_mean, format_shape
from ..loss.targets import CONT
from .cell import Cell, Copy


class CellState(Declared):
    """A value that goes from one step to the next."""

    name: str = param(doc="what the cell reads it as")
    next: str = param(doc="the cell's blob that is its value at the next step")
    shape: tuple[int, ...] = param(minimum=1, doc="its shape for one example, without N")
    initial: Filler = param(default=Filler(), doc="value before the first step: a number, or a filler")
    learned: bool = param(default=False, doc="the initial value is a parameter and is learned")
    from_bottom: bool = param(default=False, doc="the initial values of a batch come from a bottom, 1 x N x shape")

    words = "a mapping such as {name: h, next: h_new, shape: [256]}"

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.from_bottom and (self.learned or self.initial != Filler()):
            yield "from_bottom", "takes the initial values from a bottom; leave `initial` and `learned` out"

    @property
    def has_blob(self) -> bool:
        """Whether the initial value is kept with the parameters."""
        return self.learned or self.initial.type != "constant" or bool(self.initial.values)


def _cell(*reads: str) -> list[dict]:
    return [
        {"name": "both", "type": "Concat", "bottom": list(reads)},
        {"name": "sum", "type": "InnerProduct", "num_output": 2},
        {"name": "h_next", "type": "TanH"},
    ]


def _state(name: str = "h", after: str = "h_next", **more) -> dict:
    return {"name": name, "next": after, "shape": [2]} | more


def begins(rng, shape):
    """Some sequences begin (0), others go on (1)."""
    return (rng.random(shape) < 0.6).astype(float)


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
    if it has as many sequences. Where cont is 0, states from a bottom restart at zero, as in Caffe.
    Backward: the steps in reverse; a parameter's gradient is the sum over all of them; initial states from bottoms
    and learned ones get theirs, carried ones end there.
    T may change from batch to batch; a step costs what its layers cost, also for longer sequences.
    Errors: sequences that disagree in T or N; a cont outside [0, 1]; states whose next value has another shape; inputs
    the cell does not read.
    Source: Caffe's RecurrentLayer, which unrolls a net built in C++; see Werbos, Backpropagation through time, 1990.
    """

    class Parameters(Declared):
        cell: Cell = param(doc="the layers of one step")
        states: tuple[CellState, ...] = param(doc="what goes from step to step: name, next, shape, initial")
        outputs: tuple[str, ...] = param(doc="the cell's blobs that become tops, each T x N x …")
        sequences: tuple[str, ...] = param(default=("x",), doc="names of the bottoms with a time axis")
        static: tuple[str, ...] = param(default=(), doc="names of the bottoms that are the same at every step")
        cont: bool = param(default=True, doc="a bottom after the sequences says where they begin (0) and go on (1)")
        carry: bool = param(default=False, doc="a batch begins with the last states of the one before")
        final_states: bool = param(default=False, doc="the states after the last step are tops too")

        def validate(self) -> Iterable[tuple[str, str]]:
            names = [*self.sequences, *self.static, *(state.name for state in self.states)]
            for name in dict.fromkeys(names):
                if names.count(name) > 1:
                    yield (
                        "sequences",
                        f"have the name `{name}`, used {names.count(name)} times in sequences, static and states",
                    )
            known = {*names, *(top for layer in self.cell.layers for top in layer.common.top or (layer.name,))}
            for key, wanted in (("outputs", self.outputs), ("states", tuple(state.next for state in self.states))):
                for name in wanted:
                    if name not in known:
                        yield key, f"names `{name}`, which no layer of the cell makes{did_you_mean(name, known)}"
            if not self.sequences:
                yield "sequences", "must name at least one bottom, which gives the number of steps"

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
        self.given = [state for state in p.states if state.from_bottom]
        self._check_counts(bottom, top)
        if p.cont:
            self.no_gradient = (len(p.sequences),)
        self.T, self.N = self._sizes(bottom)
        self.copies: list[Copy] = []
        self._unroll(bottom, 1)
        copy = self.copies[0]
        for name in (*p.sequences, *p.static, *(state.name for state in p.states)):
            if name not in copy.read:
                raise ShapeError(f"no layer of the cell reads `{name}`", key="cell")
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
        self.of_cell = len(self.blobs)
        self.begins: dict[str, int] = {}  # state -> its initial value among the blobs
        for state in p.states:
            if state.has_blob:
                self.begins[state.name] = len(self.blobs)
                self.add_blob(state.shape, state.initial)
                self.param_propagate_down[-1] = state.learned
        self.carried: dict[str, np.ndarray] = {}

    def _check_counts(self, bottom, top):
        p = self.p
        wanted = [*p.sequences, *["cont"] * p.cont, *p.static, *(f"the first {s.name}" for s in self.given)]
        if len(bottom) != len(wanted):
            raise ShapeError(f"needs {len(wanted)} bottoms ({', '.join(wanted)}), got {len(bottom)}", key="bottom")
        tops = [*p.outputs, *(f"the last {s.name}" for s in p.states if p.final_states)]
        if len(top) != len(tops):
            raise ShapeError(f"makes {len(tops)} tops ({', '.join(tops)}), got {len(top)}", key="top")

    def _parts(self, of_bottoms):
        """A list with something for each bottom, cut into sequences, cont (or nothing), static inputs, first states."""
        ends = itertools.accumulate([0, len(self.p.sequences), self.p.cont, len(self.p.static), len(self.given)])
        return [of_bottoms[start:end] for start, end in itertools.pairwise(ends)]

    def _sizes(self, bottom):
        """(T, N), after looking at every bottom."""
        sequences, cont, static, given = self._parts(bottom)
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
        for state, blob in zip(self.given, given, strict=True):
            if blob.shape != (1, N, *state.shape):
                wanted = format_shape((1, N, *state.shape))
                raise ShapeError(f"the first `{state.name}` must be {wanted}, got {format_shape(blob.shape)}")
        return T, N

    def _unroll(self, bottom, count):
        """Make copies of the cell until there are so many."""
        sequences, _, static, _ = self._parts(bottom)
        p = self.p
        inputs = {state.name: (self.N, *state.shape) for state in p.states}
        inputs |= {name: blob.shape for name, blob in zip(p.static, static, strict=True)}
        inputs |= {name: blob.shape[1:] for name, blob in zip(p.sequences, sequences, strict=True)}
        inputs[p.sequences[0]] = inputs.pop(p.sequences[0])  # last: what a first layer without `bottom` reads
        taps = list(dict.fromkeys([*p.outputs, *(state.next for state in p.states)]))
        while len(self.copies) < count:
            self.copies.append(Copy(p.cell, inputs, taps, self, len(self.copies)))

    def reshape(self, bottom, top):
        before = self.N
        self.T, self.N = self._sizes(bottom)
        if before != self.N:
            self.carried = {}
        sequences, _, static, _ = self._parts(bottom)
        for copy in self.copies:
            for name, blob in zip(self.p.static, static, strict=True):
                copy.inputs[name].reshape(blob.shape)
            for name, blob in zip(self.p.sequences, sequences, strict=True):
                copy.inputs[name].reshape(blob.shape[1:])
            for state in self.p.states:
                copy.inputs[state.name].reshape((self.N, *state.shape))
            copy.reshape()
        taps = self.copies[0].taps
        for name, blob in zip(self.p.outputs, top, strict=False):
            blob.reshape((self.T, *taps[name].data.shape))
        for state, blob in zip(self.p.states, top[len(self.p.outputs) :], strict=False):
            blob.reshape((1, self.N, *state.shape))

    def fill_blobs(self):
        copy = self.copies[0]
        copy.use(self.blobs)
        for step in reversed(copy.steps):
            if step.layer.blobs:
                ask(step.layer, "fill_blobs")
        for state in self.p.states:
            if state.has_blob:
                random = stream(self.seed, self.name, f"state {state.name}")
                state.initial.fill(self.blobs[self.begins[state.name]].data, random, False)

    def first(self, state):
        """The value a state has where a sequence begins."""
        if state.from_bottom:
            return 0.0
        return self.blobs[self.begins[state.name]].data if state.has_blob else state.initial.value

    def over_states(self, cont, state):
        """cont of a step (N) in the shape that multiplies a state."""
        return cont.reshape(-1, *(1 for _ in state.shape))

    def Forward_cpu(self, bottom, top):
        p = self.p
        self._unroll(bottom, self.T)
        sequences, cont, static, given = self._parts(bottom)
        self.cont = None
        if cont:
            CONT.check(cont[0])
            self.cont = self.buffer("cont", cont[0].shape)
            np.copyto(self.cont, cont[0].data)
        # carried states may come from a snapshot with another number of sequences
        wanted = {state.name: (self.N, *state.shape) for state in p.states}
        state = {name: values for name, values in self.carried.items() if values.shape == wanted[name]}
        state |= {state.name: blob.data[0] for state, blob in zip(self.given, given, strict=True)}
        self.starts_at_first = [one for one in p.states if one.name not in state]
        for t, copy in enumerate(self.copies[: self.T]):
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
        sequences, _, static, given = self._parts(wanted)
        for ds in static:
            if ds is not None:
                ds.fill(0)
        finals = top[len(p.outputs) :]
        back = {state.name: blob.diff[0] for state, blob in zip(p.states, finals, strict=False)}
        for t in reversed(range(self.T)):
            copy = self.copies[t]
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
        for state, dh in zip(self.given, given, strict=True):
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
        if state.learned and self.param_propagate_down[self.begins[state.name]]:
            self.blobs[self.begins[state.name]].diff += gradient.sum(axis=0)

    def multiply_adds(self, bottom, top):
        return self.T * sum(ask(step.layer, "multiply_adds", step.bottom, step.top) for step in self.copies[0].steps)

    def start_pass(self):
        """A pass over a data set begins with fresh states."""
        self.carried = {}
        for step in (step for copy in self.copies for step in copy.steps):
            ask(step.layer, "start_pass")

    def state(self):
        """Random numbers, carried states and what the cell's layers keep themselves."""
        cells = [
            {s.spec.name: {k: v for k, v in ask(s.layer, "state").items() if k != "rng"} for s in copy.steps}
            for copy in self.copies
        ]
        cells = [{name: kept for name, kept in cell.items() if kept} for cell in cells]
        carried = {name: values.tolist() for name, values in self.carried.items()}
        return super().state() | {"carried": carried, "cells": cells if any(cells) else []}

    def set_state(self, state):
        super().set_state(state)
        self.carried = {name: np.array(values, self.dtype) for name, values in state["carried"].items()}
        for copy, kept in zip(self.copies, state["cells"], strict=False):
            for step in copy.steps:
                if step.spec.name in kept:
                    ask(step.layer, "set_state", ask(step.layer, "state") | kept[step.spec.name])
