"""Loops whose steps are those of LSTM or GRU, as these are exported where sequences begin within a batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .builder import Value, plain
from .converter import Converter, Known, is_all
from .graph import GraphNode


@dataclass
class State:
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
class Loop:
    node: GraphNode
    nodes: list[GraphNode]  # of the body
    states: list[State]
    sequences: dict[str, Value]  # by their names in the body
    outputs: list[str]  # of the body, one for each step
    known: dict[str, Known]  # what the body reads of outside, and its own tensors
    steps: int
    count: int  # how many sequences there are


def first_of(value: Value) -> Value:
    """A first state, N x …, as layers take it: 1 x N x …"""
    return value.viewed((1, *value.shape))


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


def gated(net: Converter, loop: Loop) -> list[Value | None] | None:
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
    if {k: v.shape for k, v in at.items()} != {"W": (size, gates * size)} | (
        {"b": (gates * size,)} if gates == 3 else {}
    ):
        return None
    net.must_be_made(at["W"].shape, 4)
    arrays = [*product.blobs, *(np.asarray(array, np.float32).T for array in at.values())]
    bottoms = [product.bottoms[0], net.build.blob(cont.viewed(cont.shape[:2]))]
    firsts = [] if carried else [net.build.blob(first_of(blob)) for blob in blobs]
    more = {"expose_hidden": True} if firsts else {}
    tops = net.build.add(
        kind, net.name(loop.node), [*bottoms, *firsts], tops=1 + len(firsts), blobs=arrays, num_output=size, **more
    )
    last: list[Value | None] = [plain(top, (1, loop.count, size)).viewed((loop.count, size)) for top in tops[1:]]
    return [*(last or [None] * len(blobs)), plain(tops[0], (loop.steps, loop.count, size))]


def _constants(loop: Loop, size: int) -> dict[str, str] | None:
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
