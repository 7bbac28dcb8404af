"""Recurrent layers: a Scan over steps, or ONNX's own operator where every sequence begins with its batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ...spec.errors import NettrainError
from .graph import Tensor
from .here import Emitter, Here, emit
from .over_time import anywhere, begins_with_batch, carried, carry_on, scan
from .sizes import Dims

# LSTM, GRU, RNN


def sequence(here: Here) -> tuple[Tensor, Dims]:
    """x as T x N x D."""
    dims = (*here.bottom()[:2], here.making.sizes.fixed(here.layer.D))
    return here.reshape(here.x[0], here.bottom(), dims), dims


def static_input(here: Here) -> Tensor:
    """The static input as N x E."""
    have = here.bottom(2)
    return here.reshape(here.x[2], have, (have[0], here.making.sizes.fixed(here.layer.E)))


def from_inputs(here: Here) -> tuple[Tensor, Dims]:
    """What x and the static input give to the gates at every step, T x N x (gates H)."""
    layer = here.layer
    x, dims = sequence(here)
    pre = here.op("MatMul", x, here.parameter(0, "W_x", transpose=True))
    pre = here.op("Add", pre, here.parameter(1, "b"))
    if layer.static:
        pre = here.op("Add", pre, here.op("MatMul", static_input(here), here.parameter(2, "W_xs", transpose=True)))
    return pre, (*dims[:2], here.making.sizes.fixed(layer.gates * layer.H))


def split(here: Here, x: Tensor, parts: int) -> list[Tensor]:
    """The parts of equal size along the last axis of N x (parts H)."""
    return here.ops("Split", parts, x, here.ints([here.layer.H] * parts, "parts"), axis=-1)


def lstm_step(here: Here, states: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    (h, c), (pre, cont) = states, inputs
    kept = here.op("MatMul", here.op("Mul", h, cont), here.parameter(here.layer.of_h, "W_h", transpose=True))
    i, f, o, g = split(here, here.op("Add", pre, kept), 4)
    i, f, o, g = (*(here.op("Sigmoid", gate) for gate in (i, f, o)), here.op("Tanh", g))
    before = here.op("Mul", f, here.op("Mul", c, cont))
    c = here.op("Add", before, here.op("Mul", i, g))
    return [here.op("Mul", o, here.op("Tanh", c)), c]


def gru_step(here: Here, states: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    (h,), (pre, cont) = states, inputs
    kept = here.op("Mul", h, cont)
    product = here.op("MatMul", kept, here.parameter(here.layer.of_h, "W_h", transpose=True))
    r_x, z_x, n_x = split(here, pre, 3)
    r_h, z_h, n_h = split(here, here.op("Add", product, here.parameter(-1, "b_h")), 3)
    r = here.op("Sigmoid", here.op("Add", r_x, r_h))
    z = here.op("Sigmoid", here.op("Add", z_x, z_h))
    n = here.op("Tanh", here.op("Add", n_x, here.op("Mul", r, n_h)))
    return [here.op("Add", n, here.op("Mul", here.op("Sub", kept, n), z))]


def rnn_step(here: Here, states: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    (h,), (pre, cont) = states, inputs
    product = here.op("MatMul", here.op("Mul", h, cont), here.parameter(here.layer.of_h, "W_h", transpose=True))
    return [here.op("Tanh", here.op("Add", pre, product))]


def rnn_output(here: Here, h: Tensor) -> Tensor:
    """An RNN has an output layer of its own."""
    y = here.op("MatMul", h, here.parameter(-2, "W_ho", transpose=True))
    return here.op("Tanh", here.op("Add", y, here.parameter(-1, "b_o")))


ONNX_ORDER = {"LSTM": (0, 2, 1, 3), "GRU": (1, 0, 2), "RNN": (0,)}  # i f o g -> i o f c, r z n -> z r h


def operator(here: Here, kind: str) -> list[Tensor]:
    """ONNX's own operator, which knows no sequence that begins within a batch."""
    layer = here.layer
    H, blobs = layer.H, layer.blobs

    def ordered(array: np.ndarray) -> np.ndarray:
        return np.concatenate([array[k * H : (k + 1) * H] for k in ONNX_ORDER[kind]])

    x, _ = sequence(here)
    W = blobs[0].data
    if layer.static:  # as further inputs of every step
        steps = here.op("Shape", x, start=0, end=1)
        shape = here.op("Concat", steps, here.op("Shape", static_input(here)), axis=0)
        x = here.op("Concat", x, here.op("Expand", static_input(here), shape), axis=2)
        W = np.concatenate([W, blobs[2].data], axis=1)
    of_h = blobs[-1].data if kind == "GRU" else np.zeros(layer.gates * H)
    weights = {
        "W": ordered(W),
        "R": ordered(blobs[layer.of_h].data),
        "B": np.concatenate([ordered(blobs[1].data), ordered(of_h)]),
    }
    given = [here.array(array[None], name) for name, array in weights.items()]
    more = {"linear_before_reset": 1} if kind == "GRU" else {}
    y, *last = here.ops(kind, 1 + len(layer.states), x, *given, hidden_size=H, **more)
    return [here.op("Squeeze", y, here.ints([1], "direction")), *last]


def recurrence(kind: str, step: Callable[[Here, list[Tensor], list[Tensor]], list[Tensor]]) -> Emitter:
    """LSTM, GRU and RNN, of which ``step`` is a step: the next states, h first."""

    def emit_layer(here: Here) -> list[Tensor]:
        layer = here.layer
        exposed = here.p.expose_hidden
        if begins_with_batch(here, 1):
            y, *last = operator(here, kind)
        else:
            batch = here.bottom()[1]
            dims = (batch, here.making.sizes.fixed(layer.H))
            given = [
                here.x[len(here.x) - len(layer.states) + i] if exposed else carried(here, name, dims)
                for i, name in enumerate(layer.states)
            ]
            states = [here.op("Squeeze", one, here.ints([0], "first")) for one in given]
            pre, dims_of_pre = from_inputs(here)
            cont = here.op("Unsqueeze", here.x[1], here.ints([2], "axes"))
            cont_dims = (batch, here.making.sizes.fixed(1))

            def one_step(inside: Here, states: list[Tensor], inputs: list[Tensor]):
                after = step(inside, states, inputs)
                return after, after[:1]

            made = [dims] * len(states) + [dims]
            sequences = [(pre, dims_of_pre[1:]), (cont, cont_dims)]
            last, (y,) = scan(here, states, sequences, made, one_step, [*layer.states, "x", "cont"])
            last = [here.op("Unsqueeze", one, here.ints([0], "first")) for one in last]
            if not exposed:
                carry_on(here, layer.states, given, last, [0.0] * len(given))
        y = rnn_output(here, y) if kind == "RNN" else y
        return [y, *(last if exposed else [])]

    return emit_layer


def lstm_unit(here: Here) -> list[Tensor]:
    here.expects(2, anywhere)
    c, gates, cont = here.x
    i, f, o, g = split(here, gates, 4)
    i, f, o, g = (*(here.op("Sigmoid", gate) for gate in (i, f, o)), here.op("Tanh", g))
    before = here.op("Mul", c, here.op("Unsqueeze", cont, here.ints([2], "axes")))
    c = here.op("Add", here.op("Mul", f, before), here.op("Mul", i, g))
    return [c, here.op("Mul", o, here.op("Tanh", c))]


# Cells that are written as layers


def recurrent(here: Here) -> list[Tensor]:
    layer, p = here.layer, here.p
    copy = layer.unrolled.copies[0]
    copy.use(layer.blobs)
    sequences, cont, static, given = p.parts(here.x)
    starts = bool(cont) and begins_with_batch(here, len(p.sequences))
    cont = [] if starts else cont
    sizes, dims = here.making.sizes, {name: here.making.sizes.of(blob) for name, blob in copy.inputs.items()}
    batch = here.op("Shape", here.x[0], start=1, end=2)
    from_bottoms = dict(zip((state.name for state in p.given), given, strict=True))
    firsts = {state.name: first_value(here, state) for state in p.states}
    begin: list[Tensor] = []
    carries: list[tuple[str, Tensor, Any]] = []
    for state in p.states:
        outside = from_bottoms.get(state.name)
        if p.carry and outside is None and not starts:
            outside = carried(here, state.name, dims[state.name])
            carries.append((state.name, outside, layer.first(state)))
        if outside is not None and not starts:
            begin.append(here.op("Squeeze", outside, here.ints([0], "first")))
        else:
            shape = here.op("Concat", batch, here.ints(state.shape, "shape"), axis=0) if state.shape else batch
            begin.append(here.op("Expand", firsts[state.name], shape))
    taps = {step.bottom_keys[0][0]: step for step in copy.steps if not step.top}
    inner = replace(here.making, cont="input", makers={}, values={}, states=[])

    def one_step(inside: Here, states: list[Tensor], inputs: list[Tensor]):
        now = [
            begun(inside, inputs[-1], x, firsts[state.name], len(state.shape)) if cont else x
            for state, x in zip(p.states, states, strict=True)
        ]
        names = [*(state.name for state in p.states), *p.sequences, *p.static]
        tensors = {(name, 0): x for name, x in zip(names, [*now, *inputs[: len(sequences)], *static], strict=True)}
        layers = [step for step in copy.steps if step.top and (step.bottom or step.layer.blobs)]
        emit(inside.graph, layers, tensors, inner)

        def made(name: str) -> Tensor:
            return tensors[taps[name].bottom_keys[0]]

        return [made(state.next) for state in p.states], [made(name) for name in p.outputs]

    of_steps = [(x, dims[name]) for x, name in zip(sequences, p.sequences, strict=True)]
    of_steps += [(x, (here.bottom()[1],)) for x in cont]
    made: list[Dims] = [dims[state.name] for state in p.states]
    made += [sizes.of(taps[name].bottom[0]) for name in p.outputs]
    inside = [*(state.name for state in p.states), *p.sequences, *["cont"] * len(cont)]
    last, outputs = scan(here, begin, of_steps, made, one_step, inside)
    if inner.states:
        raise NettrainError("a layer of its cell carries states from batch to batch, which would have to be inputs")
    finals = {
        state.name: here.op("Unsqueeze", x, here.ints([0], "first")) for state, x in zip(p.states, last, strict=True)
    }
    for name, one, value in carries:
        carry_on(here, [name], [one], [finals[name]], [value])
    return [*outputs, *(finals.values() if p.final_states else [])]


def first_value(here: Here, state: Any) -> Tensor:
    """The value a state of a Recurrent layer has where a sequence begins, of one example."""
    if state.has_blob and not state.from_bottom:
        return here.parameter(here.layer.initial_blobs[state.name], f"{state.name}_0")
    return here.number(here.layer.first(state), f"{state.name}_0")


def begun(here: Here, cont: Tensor, before: Tensor, first: Tensor, axes: int) -> Tensor:
    """cont before + (1 - cont) first, where cont has one number for each sequence."""
    if axes:
        cont = here.op("Unsqueeze", cont, here.ints(range(1, axes + 1), "axes"))
    fresh = here.op("Mul", here.op("Sub", here.number(1, "one"), cont), first)
    return here.op("Add", here.op("Mul", before, cont), fresh)


EMITTERS: dict[str, Emitter] = {
    "GRU": recurrence("GRU", gru_step),
    "LSTM": recurrence("LSTM", lstm_step),
    "LSTMUnit": lstm_unit,
    "RNN": recurrence("RNN", rnn_step),
    "Recurrent": recurrent,
}
