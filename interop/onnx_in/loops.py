"""Scan: what is done at every step becomes LSTM or GRU where it is that, else the cell of a Recurrent layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .activations import number
from .builder import Value, entries, plain
from .converter import Converter, Known, LostError, is_all, operation, refuse
from .gated import Loop, State, first_of, gated
from .graph import GraphNode, nodes_in
from .shapes import in_words
from .sharing import owned, share
from .tensors import to_array


@operation("Scan")
def scan(net: Converter, node: GraphNode) -> list[Value | None]:
    """The last states, and what the steps make, T x N x …, of states and sequences whose first axis is T."""
    loop = _read(net, node)
    return gated(net, loop) or _recurrent(net, loop)


def _read(net: Converter, node: GraphNode) -> Loop:
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
        found.append(State(name, after, before, tuple(before.shape), last if is_read else ""))
    nodes = nodes_in(body, node.opset)
    for inner in nodes:
        inner.name = inner.name.removeprefix(f"{node.name}/")
    known: dict[str, Known] = {tensor.name: to_array(tensor, net.folder) for tensor in body.initializer}
    own = {*names, *known, *(name for inner in nodes for name in inner.outputs)}
    for name in dict.fromkeys(name for inner in nodes for name in (*inner.inputs, *inner.captured)):
        if name in net.values and name not in own:
            known[name] = net.values[name]
    return Loop(node, nodes, found, given, ends[states:], known, *shapes[0][:2])


def _recurrent(net: Converter, loop: Loop) -> list[Value | None]:
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
            bottoms.append(net.build.blob(first_of(state.blob)))
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
    last: list[Value | None] = [
        plain(top, (1, *state.shape)).viewed(state.shape)
        for top, state in zip(tops[len(every) :], states, strict=False)
    ]
    return [*(last or [None] * len(states)), *every]


def _of_steps(inner: Converter, name: str, loop: Loop) -> Value:
    """What the body makes at a step, for each sequence."""
    value = inner.values.get(name)
    if not isinstance(value, Value) or value.shape[:1] != (loop.count,):
        raise refuse(f"`{name}`, which its body makes, has not a part for each sequence")
    return value


def _initial(net: Converter, array: Known, arrays: list[np.ndarray]) -> dict[str, Any]:
    """How a state begins that is a constant, the same for every sequence; one of many numbers is learned."""
    assert isinstance(array, np.ndarray)
    one = array[0]
    if array.strides[0]:  # not one that is repeated
        net.must_be_made(array.shape, 4)
        if not (array == array[:1]).all():
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
    def of(cls, net: Converter, loop: Loop) -> _Beginning | None:
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
        self, net: Converter, loop: Loop, state: State, readers: dict[str, list[GraphNode]], factors: set[str]
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
        if not _samefirst_of(net, state, first):
            return False
        self.begun[state.name] = plus.outputs[0]
        self.nodes |= {id(node) for node in (kept, plus, fresh, rest)}
        return True


def _samefirst_of(net: Converter, state: State, first: np.ndarray) -> bool:
    """Whether a state begins before the first step as it does where a sequence begins."""
    if state.blob is not None:
        return is_all(first, net.carried.get(state.blob.blob, 0.0))
    array = state.before
    assert isinstance(array, np.ndarray)
    if array.strides[0] or first.size > array[0].size or array[0].size * 4 > net.most:
        return False
    return bool((array[0] == first).all())
