"""Recurrent nodes: LSTM, GRU and RNN of one or two directions, whose sequences begin with each batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .builder import Value, has_batch, plain
from .converter import Converter, is_all, operation, refuse
from .graph import GraphNode
from .parts import joined, part, reversed_along

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_ACTIVATIONS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}


@dataclass
class _Weights:
    """Of one direction: for each gate a block of rows, in ONNX's order."""

    x: np.ndarray  # gates H x D
    h: np.ndarray  # gates H x H
    bias_x: np.ndarray
    bias_h: np.ndarray

    def ordered(self, order: tuple[int, ...]) -> _Weights:
        """With the gates in another order."""
        size = self.h.shape[1]
        rows = np.concatenate([np.arange(gate * size, (gate + 1) * size) for gate in order])
        return _Weights(self.x[rows], self.h[rows], self.bias_x[rows], self.bias_h[rows])


@operation("LSTM", "GRU", "RNN")
def recurrent(net: Converter, node: GraphNode) -> list[Value | None]:
    """Y, Y_h and for LSTM Y_c: T x directions x N x H, and directions x N x H."""
    value = net.build.flat(net.value(node))
    if len(value.shape) != 3:
        raise refuse("its input is not T x N x D")
    kinds = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}
    direction = node.text("direction", "forward") or "forward"
    if direction not in kinds:
        raise refuse(f"its direction {direction} is none of ONNX's")
    turned = kinds[direction]
    weights = _weights(net, node, len(turned), value.shape[2])
    _check(net, node, len(turned), value.shape)
    name = net.name(node, 1, 2)
    every, last, cells = [], [], []
    for i, is_turned in enumerate(turned):
        own = name if len(turned) == 1 else f"{name}_{'backward' if is_turned else 'forward'}"
        states = _states(net, node, i, own)
        y, h, c = _one_direction(net, node, own, value, weights[i], states, is_turned)
        every.append(y)
        last.append(h)
        cells.append(c)
    steps, count, size = value.shape[0], value.shape[1], weights[0].h.shape[1]
    outputs: list[Value | None] = [None, None, None]
    if _is_used(net, node, 0):
        parts = [y.viewed((steps, 1, count, size), f"{name}_out") for y in every]
        outputs[0] = parts[0] if len(parts) == 1 else _beside(net, f"{name}_both", every)
    if _is_used(net, node, 1):
        outputs[1] = joined(net, f"{name}_last", last, 0)
    if _is_used(net, node, 2):
        outputs[2] = joined(net, f"{name}_cell", [c for c in cells if c is not None], 0)
    return outputs[: 3 if node.op == "LSTM" else 2]


def _beside(net: Converter, name: str, every: list[Value]) -> Value:
    """T x 2 x N x H of two directions; joined along H, as nets go on with it."""
    steps, count, size = every[0].shape
    made = joined(net, name, every, 2)
    base = (steps, count, 2, size)  # T x N x 2H, read in another way
    shape = (steps, 2, count, size)
    return Value(net.build.blob(made), base, (0, 2, 1, 3), shape, name, written=made.shape)


def _is_used(net: Converter, node: GraphNode, i: int) -> bool:
    name = node.outputs[i] if i < len(node.outputs) else ""
    return bool(name) and (name in net.readers or name in net.outputs)


def _weights(net: Converter, node: GraphNode, directions: int, inputs: int) -> list[_Weights]:
    gates, size = _GATES[node.op], node.integer("hidden_size")
    W, R = net.weights(node, 1, "W"), net.weights(node, 2, "R")
    if size < 1 or W.shape != (directions, gates * size, inputs) or R.shape != (directions, gates * size, size):
        raise refuse(f"its weights {W.shape} and {R.shape} are not those of {inputs} inputs and {size} states")
    if net.known(node, 3) is None:
        B = np.zeros((directions, 2 * gates * size), np.float32)
    else:
        B = net.weights(node, 3, "B")
    if B.shape != (directions, 2 * gates * size):
        raise refuse(f"its biases {B.shape} are not those of {size} states")
    middle = gates * size
    return [_Weights(W[i], R[i], B[i, :middle], B[i, middle:]) for i in range(directions)]


def _check(net: Converter, node: GraphNode, directions: int, shape: tuple[int, ...]) -> None:
    """Raise UnsupportedError for what the layers do not have."""
    lengths = net.known(node, 4)
    if isinstance(lengths, Value) or (lengths is not None and not is_all(lengths, shape[0])):
        raise refuse("its sequences have lengths of their own; a net here is told where they begin by `cont`")
    if node.integer("layout"):
        raise refuse("its layout is N x T; export it with T x N")
    if node.has("clip"):
        raise refuse("it clips what goes into the gates")
    if node.integer("input_forget"):
        raise refuse("its input gate is one minus the forget gate")
    wanted = [name.casefold() for name in _ACTIVATIONS[node.op] * directions]
    given = [name.casefold() for name in node.texts("activations")] or wanted
    if given != wanted and not (node.op == "RNN" and given == ["relu"] * directions):
        raise refuse(f"its activations are {', '.join(given)}")
    if node.op == "LSTM" and net.known(node, 7) is not None and not is_all(net.constant(node, 7, "P"), 0):
        raise refuse("LSTM has no peepholes")


def _states(net: Converter, node: GraphNode, direction: int, name: str) -> list[Value] | None:
    """The first states as 1 x N x H; None where they are zero."""
    known = [net.known(node, i) for i in ((5, 6) if node.op == "LSTM" else (5,))]
    if all(item is None or (isinstance(item, np.ndarray) and is_all(item, 0)) for item in known):
        return None
    if any(item is None for item in known) or any(isinstance(item, np.ndarray) for item in known):
        raise refuse("its first states are constants other than zero")
    return [part(net, f"{name}_start", v, 0, direction, direction + 1) for v in known if isinstance(v, Value)]


def _one_direction(
    net: Converter,
    node: GraphNode,
    name: str,
    x: Value,
    w: _Weights,
    states: list[Value] | None,
    is_turned: bool,
) -> tuple[Value, Value, Value | None]:
    """h of every step (T x N x H), h and c of the last one (1 x N x H)."""
    if is_turned:
        x = reversed_along(net, f"{name}_in", x, 0)
    steps, count, size = x.shape[0], x.shape[1], w.h.shape[1]
    if states is None and ((_is_used(net, node, 1) and has_batch(steps)) or _is_used(net, node, 2)):
        states = [_zeros(net, name, x, size)] * (2 if node.op == "LSTM" else 1)
    bottoms = [net.build.blob(x), net.build.blob(_cont(net, x, states is not None))]
    more: dict[str, Any] = {}
    if states is not None:
        more["expose_hidden"] = True
        bottoms += [net.build.blob(state) for state in states]
    tops = 1 if states is None else 1 + len(states)
    if node.op == "LSTM":
        w = w.ordered((0, 2, 1, 3))  # i, o, f, c
        blobs = [w.x, w.bias_x + w.bias_h, w.h]
    elif node.op == "GRU" and node.integer("linear_before_reset"):
        w = w.ordered((1, 0, 2))  # z, r, h
        blobs = [w.x, w.bias_x, w.h, w.bias_h]
    else:
        blobs = []
    if blobs:
        made = net.build.add(node.op, name, bottoms, tops=tops, blobs=blobs, num_output=size, **more)
    else:
        made = _as_cell(net, node, name, bottoms, w, more)
    y = plain(made[0], (steps, count, size))
    if states is None:
        last = part(net, f"{name}_last", y, 0, steps - 1, steps) if _is_used(net, node, 1) else y
        cell = None
    else:
        last = plain(made[1], (1, count, size))
        cell = plain(made[2], (1, count, size)) if node.op == "LSTM" else None
    return _turned_back(net, node, name, y, is_turned), last, cell


def _turned_back(net: Converter, node: GraphNode, name: str, y: Value, is_turned: bool) -> Value:
    return reversed_along(net, f"{name}_out", y, 0) if is_turned and _is_used(net, node, 0) else y


# h = f(W x + R h + b), with x and h side by side
_PLAIN: list[dict[str, Any]] = [
    {"name": "both", "type": "Concat", "bottom": ["x", "h"]},
    {"name": "sum", "type": "InnerProduct"},
    {"name": "h_next"},
]
# z, r = σ(W x + R h + b), n = tanh(W' x + R' (r h) + b'), h = n + z (h - n)
_RESET_FIRST: list[dict[str, Any]] = [
    {"name": "both", "type": "Concat", "bottom": ["x", "h"]},
    {"name": "gate_sums", "type": "InnerProduct"},
    {"name": "gates", "type": "Sigmoid"},
    {"name": "each", "type": "Slice", "top": ["z", "r"]},
    {"name": "kept", "type": "Eltwise", "operation": "PROD", "bottom": ["r", "h"]},
    {"name": "both_kept", "type": "Concat", "bottom": ["x", "kept"]},
    {"name": "sum", "type": "InnerProduct"},
    {"name": "n", "type": "TanH"},
    {"name": "away", "type": "Eltwise", "bottom": ["h", "n"], "coeff": [1, -1]},
    {"name": "part", "type": "Eltwise", "operation": "PROD", "bottom": ["away", "z"]},
    {"name": "h_next", "type": "Eltwise", "bottom": ["n", "part"]},
]


def _as_cell(
    net: Converter, node: GraphNode, name: str, bottoms: list[str], w: _Weights, more: dict[str, Any]
) -> list[str]:
    """What no layer type is, as the cell of a Recurrent layer: h of every step, and with ``more`` that of the last."""
    size = w.h.shape[1]
    both, bias = np.concatenate([w.x, w.h], axis=1), w.bias_x + w.bias_h
    if node.op == "GRU":
        cell, blobs = _RESET_FIRST, [both[: 2 * size], bias[: 2 * size], both[2 * size :], bias[2 * size :]]
    else:
        cell, blobs = _PLAIN, [both, bias]
    sizes, layers = [len(array) for array in blobs[1::2]], []
    for one in cell:
        layer = {"name": one["name"], "type": one.get("type") or _activation(node)} | one
        layers.append(layer | {"num_output": sizes.pop(0)} if layer["type"] == "InnerProduct" else layer)
    state = {"name": "h", "next": "h_next", "shape": size}
    if more:
        state, more = state | {"from_bottom": True}, {"final_states": True}
    return net.build.add(
        "Recurrent", name, bottoms, tops=2 if more else 1, blobs=blobs, states=state, outputs="h_next", **more,
        cell=layers,
    )  # fmt: skip


def _activation(node: GraphNode) -> str:
    return "ReLU" if [name.casefold() for name in node.texts("activations")[:1]] == ["relu"] else "TanH"


def _zeros(net: Converter, name: str, x: Value, size: int) -> Value:
    """The first state, 1 x N x H, of sequences that begin with the batch; made of x, so that there are as many."""
    first = net.build.flat(part(net, f"{name}_first", x, 0, 0, 1))
    found = plain(net.build.add("Reduction", f"{name}_zero", [first.blob], axis=2, coeff=0)[0], first.shape[:2])
    blob = net.build.blob(found.viewed((*found.shape, 1), f"{name}_zeros"))
    return plain(net.build.add("Tile", f"{name}_start", [blob], axis=2, tiles=size)[0], (*found.shape, size))


def _cont(net: Converter, x: Value, goes_on: bool) -> Value:
    """T x N ones, made of x so that there are as many sequences; the first step has 0 unless it ``goes_on``."""
    steps, count = x.shape[:2]
    key = ("cont", str(goes_on), str(steps), str(count))
    if key not in net.build.views:
        blob = net.build.blob(x)
        found = plain(net.build.add("Reduction", "sequence_start", [blob], axis=2, coeff=0)[0], (steps, count))
        if goes_on:
            found = net.build.elementwise("Power", "cont", found, shift=1)
        elif steps != 1:
            first = part(net, "sequence_first", found, 0, 0, 1)
            rest = plain(net.build.layers[-1].tops[1], (steps - 1, count))
            found = joined(net, "cont", [first, net.build.elementwise("Power", "sequence_rest", rest, shift=1)], 0)
        net.build.views[key] = found.blob
    return plain(net.build.views[key], (steps, count))
