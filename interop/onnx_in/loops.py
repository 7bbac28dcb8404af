"""Scan: what is done at every step becomes LSTM or GRU where it is that, else the cell of a Recurrent layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .activations import number
from .builder import BATCH, Value, entries, plain
from .converter import Converter, Known, LostError, is_all, operation, refuse
from .graph import GraphNode, nodes_in
from .shapes import in_words
from .sharing import owned, share
from .tensors import to_array


@dataclass
class _State:
    """A value that goes from step to step: its names in the body, and what it is before the first one."""

    name: str
    next: str
    before: Known
    shape: tuple[int, ...]  # of all sequences together
    last: str  # the output of the Scan that holds it after the last step, where anything reads that

    @property
    def blob(self) -> Value | None:
        """The blob it begins as; None for a constant."""
        return self.before if isinstance(self.before, Value) else None


@dataclass
class _Loop:
    node: GraphNode
    nodes: list[GraphNode]  # of the body
    states: list[_State]
    sequences: dict[str, Value]  # by their names in the body
    outputs: list[str]  # of the body, one for each step
    known: dict[str, Known]  # what the body reads of outside, and its own tensors
    steps: int
    count: int  # how many sequences there are


@operation("Scan")
def scan(net: Converter, node: GraphNode) -> list[Value | None]:
    """The last states, and what the steps make, T x N x …, of states and sequences whose first axis is T."""
    loop = _read(net, node)
    return _gated(net, loop) or _recurrent(net, loop)


def _read(net: Converter, node: GraphNode) -> _Loop:
    body = node.graph("body")
    if body is None or 0 < node.opset < 9:
        raise refuse("its body is missing" if body is None else "it is of opset 8; export the model with a newer one")
    directions = (node.ints("scan_input_directions", ()), node.ints("scan_output_directions", ()))
    axes = (node.ints("scan_input_axes", ()), node.ints("scan_output_axes", ()))
    if any(any(numbers or ()) for numbers in (*directions, *axes)):
        raise refuse("its steps are not along the first axis, from the first to the last")
    sequences = node.integer("num_scan_inputs")
    states = len(node.inputs) - sequences
    if not 0 < sequences <= len(node.inputs) or len(body.input) != len(node.inputs) or len(body.output) < states:
        raise refuse("its inputs and outputs are not those of its body")
    names, ends = [item.name for item in body.input], [item.name for item in body.output]
    given = {name: net.value(node, states + i) for i, name in enumerate(names[states:])}
    shapes = [value.shape for value in given.values()]
    if any(len(shape) < 2 or shape[:2] != shapes[0][:2] for shape in shapes):
        raise refuse(f"its sequences are not all T x N x …: {', '.join(map(in_words, shapes))}")
    found = []
    for i, (name, after) in enumerate(zip(names[:states], ends, strict=False)):
        before = net.known(node, i)
        if before is None or before.shape[:1] != shapes[0][1:2]:
            raise refuse(f"its state `{name}` has not a part for each sequence")
        last = node.outputs[i] if i < len(node.outputs) else ""
        is_read = bool(last) and (last in net.readers or last in net.outputs)
        found.append(_State(name, after, before, tuple(before.shape), last if is_read else ""))
    nodes = nodes_in(body, node.opset)
    for one in nodes:
        one.name = one.name.removeprefix(f"{node.name}/")
    known: dict[str, Known] = {tensor.name: to_array(tensor, net.folder) for tensor in body.initializer}
    own = {*names, *known, *(name for one in nodes for name in one.outputs)}
    for one in dict.fromkeys(name for node in nodes for name in (*node.inputs, *node.captured)):
        if one in net.values and one not in own:
            known[one] = net.values[one]
    return _Loop(node, nodes, found, given, ends[states:], known, *shapes[0][:2])


# LSTM and GRU


class _Terms:
    """Formulas as numbers: two that compute the same of the same have the same one."""

    def __init__(self) -> None:
        self.known: dict[tuple, int] = {}

    def __call__(self, op: str, *parts: Any) -> int:
        parts = tuple(sorted(parts)) if op in ("Add", "Mul") else parts
        return self.known.setdefault((op, *parts), len(self.known))

    def gates(self, x: int, count: int) -> list[int]:
        return [self("Split", x, count, i) for i in range(count)]


def _lstm(t: _Terms, h: int, c: int) -> list[int]:
    x, k = t("x"), t("k")
    i, f, o, g = t.gates(t("Add", x, t("MatMul", t("Mul", h, k), t("W"))), 4)
    i, f, o, g = t("Sigmoid", i), t("Sigmoid", f), t("Sigmoid", o), t("Tanh", g)
    c = t("Add", t("Mul", f, t("Mul", c, k)), t("Mul", i, g))
    return [t("Mul", o, t("Tanh", c)), c]


def _gru(t: _Terms, h: int) -> list[int]:
    kept = t("Mul", h, t("k"))
    r_x, z_x, n_x = t.gates(t("x"), 3)
    r_h, z_h, n_h = t.gates(t("Add", t("MatMul", kept, t("W")), t("b")), 3)
    r, z = t("Sigmoid", t("Add", r_x, r_h)), t("Sigmoid", t("Add", z_x, z_h))
    n = t("Tanh", t("Add", n_x, t("Mul", r, n_h)))
    return [t("Add", n, t("Mul", t("Sub", kept, n), z))]


_GATED: dict[int, tuple[str, int, Callable[..., list[int]]]] = {2: ("LSTM", 4, _lstm), 1: ("GRU", 3, _gru)}
_MOST_NODES = 30  # of the steps of these


def _gated(net: Converter, loop: _Loop) -> list[Value | None] | None:
    """The loop as an LSTM or GRU layer, as these are exported; None where it is neither."""
    kind, gates, formula = _GATED.get(len(loop.states), ("", 0, _gru))
    if not kind or len(loop.sequences) != 2 or len(loop.nodes) > _MOST_NODES or len(loop.outputs) != 1:
        return None
    blobs = [state.blob for state in loop.states if state.blob is not None]
    carried = [blob for blob in blobs if blob.blob in net.carried]
    if len(blobs) != len(loop.states) or (carried and len(carried) != len(blobs)):
        return None
    x, cont = loop.sequences.values()
    size = loop.states[0].shape[-1]
    product = next((layer for layer in net.build.layers if layer.tops == [x.blob]), None)
    if (
        x.is_reshaped
        or x.is_permuted
        or product is None
        or product.type != "InnerProduct"
        or product.parameters.get("axis") != 2
    ):
        return None
    constants = _constants(loop, size)
    if (
        constants is None
        or product.parameters.get("axis") != 2
        or len(product.blobs) != 2
        or x.shape[2:] != (gates * size,)
        or cont.shape[2:] != (1,)
    ):
        return None
    t = _Terms()
    terms = {name: t(kind) for name, kind in constants.items()}
    terms |= {state.name: t("state", i) for i, state in enumerate(loop.states)}
    terms |= dict(zip(loop.sequences, (t("x"), t("k")), strict=True))
    for node in loop.nodes:
        inputs = [terms.setdefault(name, t("name", name)) for name in node.inputs if name]
        if node.op == "Split" and node.integer("axis") in (-1, 1):
            made = t.gates(inputs[0], len(node.outputs))
        else:
            made = inputs[:1] if node.op == "Identity" else [t(node.op, *inputs)]
        terms |= zip(node.outputs, made, strict=False)
    wanted = formula(t, *(t("state", i) for i in range(len(loop.states))))
    if [terms.get(state.next) for state in loop.states] != wanted or terms.get(loop.outputs[0]) != wanted[0]:
        return None
    at = {kind: loop.known[name] for name, kind in constants.items()}
    W_h = np.asarray(at["W"], np.float32).T
    if W_h.shape != (gates * size, size):
        return None
    arrays = [*product.blobs, W_h, *([np.asarray(at["b"], np.float32)] if kind == "GRU" else [])]
    bottoms = [product.bottoms[0], net.build.blob(cont.viewed(cont.shape[:2]))]
    firsts = [] if carried else [net.build.blob(_first(blob)) for blob in blobs]
    more = {"expose_hidden": True} if firsts else {}
    tops = net.build.add(
        kind, net.name(loop.node), [*bottoms, *firsts], tops=1 + len(firsts), blobs=arrays, num_output=size, **more
    )
    last = [plain(top, (1, loop.count, size)).viewed((loop.count, size)) for top in tops[1:]]
    return [*(last or [None] * len(blobs)), plain(tops[0], (loop.steps, loop.count, size))]


def _constants(loop: _Loop, size: int) -> dict[str, str] | None:
    """The matrix and the bias that a step adds, by what they are: W and b; None for other constants of many values."""
    found: dict[str, str] = {}
    for node in loop.nodes:
        for name in node.inputs:
            array = loop.known.get(name)
            if isinstance(array, np.ndarray) and node.op == "Split":
                if not is_all(array, size):
                    return None
            elif isinstance(array, np.ndarray):
                kind = "W" if node.op == "MatMul" else "b"
                if kind in found.values() and found.get(name) != kind:
                    return None
                found[name] = kind
    return found if "W" in found.values() else None


def _first(value: Value) -> Value:
    """A first state, N x …, as layers take it: 1 x N x …"""
    return value.viewed((1, *value.shape))


# Any other body


def _recurrent(net: Converter, loop: _Loop) -> list[Value | None]:
    """A Recurrent layer whose cell the body becomes."""
    name, states = net.name(loop.node), loop.states
    beginning = _Beginning.of(net, loop)
    inner = net.inner(loop.nodes, [*(state.next for state in states), *loop.outputs])
    cell, names = inner.build, {}
    for one in loop.sequences if beginning is None else list(loop.sequences)[:-1]:
        names[one] = cell.unique(one.rpartition("/")[2] or "x")
        inner.values[one] = plain(names[one], loop.sequences[one].shape[1:])
    for state in states:
        names[state.name] = cell.unique(state.name.rpartition("/")[2] or "state")
        inner.values[state.name] = plain(names[state.name], state.shape)
    if beginning is not None:
        inner.values |= {after: inner.values[one] for one, after in beginning.begun.items()}
        inner.done |= beginning.nodes
    static = {}
    for one, outside in loop.known.items():
        if isinstance(outside, Value):
            if outside.shape[:1] != (loop.count,):
                raise refuse(f"its body reads `{one}`, which has not a part for each sequence")
            static[one] = outside
            names[one] = cell.unique(one.rpartition("/")[2] or "static")
            inner.values[one] = plain(names[one], outside.shape)
        else:
            inner.values[one] = outside
    inner.run(net.problems, f"{net.file}: node {loop.node.title()}")
    if inner.lost:
        raise LostError(f"{len(inner.lost)} values of its body")
    made = {one: cell.blob(_of_steps(inner, one, loop)) for one in (*(s.next for s in states), *loop.outputs)}
    for state in states:
        if inner.values[state.next].shape != state.shape:
            raise refuse(f"its state `{state.name}` is of another shape after a step")
    layers, blobs = cell.needed(made.values(), list(names.values()))
    if not layers:
        raise refuse("its body computes nothing")
    share(layers)
    read = {bottom for layer in layers for bottom in layer.bottoms} | {blobs[one] for one in made.values()}
    if unread := [one for one in names if names[one] not in read]:
        raise refuse(f"nothing in its body reads `{unread[0]}`")
    arrays, rates = owned(layers)
    bottoms = [*(net.build.blob(loop.sequences[one]) for one in loop.sequences if one in names)]
    more: dict[str, Any] = {"sequences": [names[one] for one in loop.sequences if one in names]}
    if beginning is None:
        more["cont"] = False
    else:
        bottoms.append(net.build.blob(beginning.cont))
    if static:
        more["static"] = [names[one] for one in static]
        bottoms += [net.build.blob(value) for value in static.values()]
    said = []
    for state in states:
        entry: dict[str, Any] = {"name": names[state.name], "next": blobs[made[state.next]]}
        entry["shape"] = list(state.shape[1:])
        if state.blob is None:
            entry |= _initial(net, state.before, arrays)
        elif state.blob.blob in net.carried:
            entry |= {"initial": number(net.carried[state.blob.blob])} if net.carried[state.blob.blob] else {}
            more["carry"] = True
        else:
            entry["from_bottom"] = True
            bottoms.append(net.build.blob(_first(state.blob)))
        said.append(entry)
    finals = len(states) if any(state.last for state in states) else 0
    if finals:
        more["final_states"] = True
    if any(rates):
        more["param"] = [*rates, *[{}] * (len(arrays) - len(rates))]
    tops = net.build.add(
        "Recurrent", name, bottoms, tops=len(loop.outputs) + finals, blobs=arrays, states=said,
        outputs=[blobs[made[one]] for one in loop.outputs], **more, cell=entries(layers),
    )  # fmt: skip
    every = [plain(top, (loop.steps, *inner.values[one].shape)) for top, one in zip(tops, loop.outputs, strict=False)]
    last = [
        plain(top, (1, *state.shape)).viewed(state.shape)
        for top, state in zip(tops[len(every) :], states, strict=False)
    ]
    return [*(last or [None] * len(states)), *every]


def _of_steps(inner: Converter, name: str, loop: _Loop) -> Value:
    """What the body makes at a step, for each sequence."""
    value = inner.values.get(name)
    if not isinstance(value, Value) or value.shape[:1] != (loop.count,):
        raise refuse(f"`{name}`, which its body makes, has not a part for each sequence")
    return value


def _initial(net: Converter, array: Known, arrays: list[np.ndarray]) -> dict[str, Any]:
    """How a state begins that is a constant, the same for every sequence; one of many numbers is learned."""
    assert isinstance(array, np.ndarray)
    one = array[0]
    if array.shape[0] == BATCH and array.strides[0]:
        raise refuse("its first state is another one for each sequence")
    if array.shape[0] != BATCH and not (array == array[:1]).all():
        raise refuse("its first state is another one for each sequence")
    net.must_be_made(one.shape, 4)
    first = number(float(one.ravel()[0])) if one.size else 0
    if is_all(one, first):
        return {"initial": first} if first else {}
    arrays.append(one.astype(np.float32))
    return {"initial": first, "learned": True}


@dataclass
class _Beginning:
    """Where a body gives each state its first value anew: s becomes k s + (1 - k) first, k the last sequence."""

    cont: Value
    begun: dict[str, str]  # the states, and what the rest of the body reads instead
    nodes: set[int]

    @classmethod
    def of(cls, net: Converter, loop: _Loop) -> _Beginning | None:
        """Raises nothing: None where it is not so for all states, or first values are others than before the loop."""
        k, cont = list(loop.sequences.items())[-1]
        if len(loop.sequences) < 2 or len(cont.shape) != 2:
            return None
        readers: dict[str, list[GraphNode]] = {}
        for node in loop.nodes:
            for name in dict.fromkeys(node.inputs):
                readers.setdefault(name, []).append(node)
        factors = {k, *(node.outputs[0] for node in readers.get(k, ()) if node.op == "Unsqueeze")}
        found = cls(cont, {}, {id(node) for node in readers.get(k, ()) if node.op == "Unsqueeze"})
        for state in loop.states:
            if not found._add(net, loop, state, readers, factors):
                return None
        every = [node for name in factors for node in readers.get(name, ())]
        if any(id(node) not in found.nodes for node in every):
            return None  # something else of the step reads where sequences begin
        return found

    def _add(
        self, net: Converter, loop: _Loop, state: _State, readers: dict[str, list[GraphNode]], factors: set[str]
    ) -> bool:
        (kept, *others) = readers.get(state.name, ()) or (None,)
        if others or kept is None or kept.op != "Mul" or not factors.intersection(kept.inputs):
            return False
        (plus, *others) = readers.get(kept.outputs[0], ()) or (None,)
        if others or plus is None or plus.op != "Add":
            return False
        makers = {name: node for nodes in readers.values() for node in nodes for name in node.outputs}
        fresh = makers.get(next((name for name in plus.inputs if name != kept.outputs[0]), ""))
        if fresh is None or fresh.op != "Mul" or len(readers[fresh.outputs[0]]) != 1:
            return False
        rest = makers.get(fresh.inputs[0])
        first = loop.known.get(fresh.inputs[1])
        if rest is None or rest.op != "Sub" or rest.inputs[1] not in factors or not isinstance(first, np.ndarray):
            return False
        one = loop.known.get(rest.inputs[0])
        if not isinstance(one, np.ndarray) or not is_all(one, 1) or len(readers[rest.outputs[0]]) != 1:
            return False
        if not _same_first(net, state, first):
            return False
        self.begun[state.name] = plus.outputs[0]
        self.nodes |= {id(node) for node in (kept, plus, fresh, rest)}
        return True


def _same_first(net: Converter, state: _State, first: np.ndarray) -> bool:
    """Whether a state begins before the first step as it does where a sequence begins."""
    if state.blob is not None:
        return is_all(first, net.carried.get(state.blob.blob, 0.0))
    array = state.before
    assert isinstance(array, np.ndarray)
    if array.size and not any(array.strides[:1]) and array[0].size <= 1 << 24:
        return bool((array[0] == first).all())
    return False
