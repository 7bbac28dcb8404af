"""Steps of time: a Scan with its body, where sequences begin, and states that go from batch to batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .graph import Graph, Tensor
from .here import Here, State
from .sizes import Dims

Step = Callable[[Here, list[Tensor], list[Tensor]], tuple[list[Tensor], list[Tensor]]]


def anywhere(rng, shape):
    """Sequences that begin (0) and go on (1) at any step."""
    return (rng.random(shape) < 0.6).astype(float)


def at_the_start(rng, shape):
    """Sequences that begin with the batch."""
    cont = np.ones(shape)
    cont[:1] = 0
    return cont


def begins_with_batch(here: Here, i: int) -> bool:
    """Whether bottom i, which says where sequences begin, is left out: each begins at the first step of a batch."""
    start = here.making.cont == "start" and here.comes_from_input(i)
    here.expects(i, at_the_start if start else anywhere)
    if start:
        note = f"`{here.step.bottom_keys[i][0]}` is left out: every sequence begins at the first step of a batch"
        if note not in here.making.notes:
            here.making.notes.append(note)
    return start


def scan(
    here: Here,
    states: list[Tensor],
    sequences: list[tuple[Tensor, Dims]],
    made: Sequence[Dims],
    step: Step,
    names: Sequence[str],
) -> tuple[list[Tensor], list[Tensor]]:
    """Run ``step`` over time: from the states and what the sequences have at a step to the next states and outputs.

    ``names`` are those of states and sequences within a step. ``made`` are the dims of the next states and of the
    outputs of a step. Gives the last states, and outputs over time.
    """
    body = Graph(f"{here.name}/step", here.graph)
    inside = Here(body, here.step, [], here.making)
    count = len(states)
    for name, dims in zip(names, [*made[:count], *(dims for _, dims in sequences)], strict=True):
        tensor = Tensor(f"{here.name}/{name}")
        tensor.dims = dims
        body.inputs.append(tensor)
    after, outputs = step(inside, body.inputs[:count], body.inputs[count:])
    own = {tensor for node in body.nodes for tensor in node.outputs}
    for tensor, dims in zip([*after, *outputs], made, strict=True):
        if tensor not in own or tensor in body.outputs:  # a body gives what it computes, each once
            tensor = inside.op("Identity", tensor)
        tensor.dims = dims
        body.outputs.append(tensor)
    results = here.ops(
        "Scan", len(made), *states, *(x for x, _ in sequences), body=body, num_scan_inputs=len(sequences)
    )
    return results[:count], results[count:]


def carried(here: Here, name: str, dims: Dims) -> Tensor:
    """A state that the batch before left: an input of the graph, 1 x N x …"""
    tensor = Tensor(f"{here.name}.{name}_0", exact=True)
    tensor.dims = (here.making.sizes.fixed(1), *dims)
    here.graph.inputs.append(tensor)
    return tensor


def carry_on(here: Here, names: Sequence[str], given: list[Tensor], last: list[Tensor], first: list[Any]) -> None:
    """The last states become outputs, for the next batch."""
    for name, one, after, value in zip(names, given, last, first, strict=True):
        after.hint, after.exact, after.dims = f"{here.name}.{name}_T", True, one.dims
        here.making.states.append(State(here.step, name, one, after, value))
