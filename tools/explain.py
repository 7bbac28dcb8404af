"""`nettrain explain`: one forward and one backward pass, with every value and gradient kept for inspection."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np

from ..compute.parallel import session
from ..net.graph import Key
from ..net.layer import Layer, NeuronLayer
from ..net.net import Net
from ..net.records import NetSpec, Phase
from ..net.step import Step
from ..net.user_code import ask
from .explained import Explanation, Gate, Use, Value, cut

MOST_ENTRIES = 4096  # of a local gradient written out as a matrix
MOST_RUNS = 64  # backward passes of one layer for it


def explain(spec: NetSpec, phase: Phase = "TRAIN", sample: int | None = None, **net_options: Any) -> Explanation:
    """Run one batch through the net, forward and backward, in float64.

    ``sample`` cuts one example out of every blob that holds the batch. A net without a loss starts from a gradient of 1
    at each of its outputs. Raises NettrainError when there is no such example.
    """
    spec = copy.copy(spec)
    spec.force_backward = True
    net = Net(spec, phase, dtype="float64", **net_options)
    net.clear_param_diffs()
    watched = _Watched(net)
    with np.errstate(all="ignore"):  # values that are not finite are shown
        result = watched.run()
    if sample is not None:
        cut(result, sample)
    return result


class _Watched:
    """A net that is run layer by layer, what each one makes being copied before memory is used again."""

    def __init__(self, net: Net):
        self.net = net
        self.names = _names(net)
        seeded = [] if any(any(step.loss_weights) for step in net.steps) else net.outputs
        scores = {key[0] for step in net.steps if step.layer.no_gradient == "all" for key in step.top_keys}
        self.seeded = [name for name in seeded if name not in scores]

    def run(self) -> Explanation:
        data: dict[str, np.ndarray] = {}
        losses: dict[str, float] = {}
        steps = self.net.steps
        with session():
            for step in steps:
                losses[step.spec.name] = step.forward()
                data |= {name: blob.data.copy() for name, blob in self.tops(step)}
            self.start_gradients()
            diffs: dict[str, np.ndarray] = {}
            uses: list[Use] = []
            for step in reversed(steps):
                upstream = {name: blob.diff.copy() for name, blob in self.tops(step)}
                diffs |= upstream
                if step.needs_backward:
                    uses[:0] = self.backward(step, upstream)
        axes = _batch_axes(steps)
        values = {
            name: Value(name, data[name], diffs.get(name), step.spec.name, [], weight, axes.get(key))
            for step in steps
            for (name, _), key, weight in zip(self.tops(step), step.top_keys, step.loss_weights, strict=True)
        }
        for use in uses:
            values[use.value].uses.append(use)
        _forget_absent_gradients(values, steps, self.seeded)
        gates = [self.gate(step, losses[step.spec.name]) for step in steps]
        counts = [value.data.shape[value.batch_axis] for value in values.values() if value.batch_axis is not None]
        has_loss = any(any(step.loss_weights) for step in steps)
        added = {name: loss for name, loss in losses.items() if loss}
        return Explanation(self.net.name, gates, values, added, self.seeded, None, max(counts[:1], default=0), has_loss)

    def start_gradients(self) -> None:
        for step in self.net.steps:
            for key, blob, weight in zip(step.top_keys, step.top, step.loss_weights, strict=True):
                blob.diff.fill(1.0 if key[0] in self.seeded else weight)

    def tops(self, step: Step) -> list[tuple[str, Any]]:
        return [(self.names[key], blob) for key, blob in zip(step.top_keys, step.top, strict=True)]

    def backward(self, step: Step, upstream: dict[str, np.ndarray]) -> list[Use]:
        """Run a layer's backward pass; returns what went along each wire into it."""
        locals_ = _local_gradients(step)
        for name, blob in self.tops(step):
            blob.diff[...] = upstream[name]
        step.run_backward()
        uses = []
        for key, blob, flag, (local, by_element) in zip(
            step.bottom_keys, step.bottom, step.propagate_down, locals_, strict=True
        ):
            gradient = blob.diff.copy() if flag else None
            first = next(iter(upstream.values()), None)
            uses.append(Use(self.names[key], step.spec.name, gradient, first, local, by_element))
        step.hand_on()
        return uses

    def gate(self, step: Step, loss: float) -> Gate:
        layer = step.layer
        names = [self.names[key] for key in step.bottom_keys]
        labels = ["W", "b"] if len(layer.blobs) <= 2 else [f"blob {i}" for i in range(len(layer.blobs))]
        parameters = [
            Value(label, blob.data.copy(), blob.diff.copy(), step.spec.name)
            for label, blob in zip(labels, layer.blobs, strict=False)
        ]
        tops = [name for name, _ in self.tops(step)]
        words = ask(layer, "in_words") or backward_words(type(layer))
        formula, sign = ask(layer, "formula", names), _sign(layer, len(names))
        return Gate(step.spec.name, type(layer).__name__, formula, sign, words, names, tops, parameters, loss)


def _sign(layer: Layer, count: int) -> str:
    """What stands in the node of a drawn graph: ``+`` for x + x, ``exp`` for exp(x), ``1 / x`` as it is."""
    formula = ask(layer, "formula", ["x"] * count)
    between = re.fullmatch(r"x( [+*-] x)+", formula)
    if between:
        return between[1].split()[0]
    if formula[:1].isalpha() and formula[0] != "x":
        formula = re.sub(r"\((x(, x)*)?\)$", "", formula)
    # one input: what is done to it, which may have a name other than x
    formula = re.sub(r"^-x$", "* -1", re.sub(r"^x (?=[+*-])", "", formula))
    return re.sub(r"\bx\b", "·", re.sub(r"^(-?[\d.e+-]+) \* x$", r"* \1", formula))


def _names(net: Net) -> dict[tuple[str, int], str]:
    """A name for every version of every blob: ``ip1``, and ``ip1'`` after a layer that works in place."""
    return {key: _name(key) for step in net.steps for key in step.top_keys}


def _name(key: Key) -> str:
    return key[0] + "'" * key[1]


def _forget_absent_gradients(values: dict[str, Value], steps: list[Step], seeded: list[str]) -> None:
    """A value has a gradient when it leads to the loss, along wires that carry one."""
    leads = set(seeded)
    for step in reversed(steps):
        tops = [_name(key) for key in step.top_keys]
        leads |= {name for name, weight in zip(tops, step.loss_weights, strict=True) if weight}
        if leads.intersection(tops):
            flags = zip(step.bottom_keys, step.propagate_down, strict=True)
            leads |= {_name(key) for key, flag in flags if flag}
    for name, value in values.items():
        if name not in leads:
            value.diff = None
    for step in steps:
        if not leads.intersection(_name(key) for key in step.top_keys):
            for key in step.bottom_keys:
                value = values[_name(key)]
                value.uses = [use for use in value.uses if use.gate != step.spec.name]
    for value in values.values():
        value.uses = [use for use in value.uses if use.gradient is not None]


def _local_gradients(step: Step) -> list[tuple[np.ndarray | None, bool]]:
    """For each bottom d(top[0])/d(bottom), by running the backward pass on unit gradients; and whether by element."""
    nothing: list[tuple[np.ndarray | None, bool]] = [(None, False)] * len(step.bottom)
    counts = [blob.count for blob in step.bottom]
    if len(step.top) != 1 or not any(step.propagate_down) or not all(counts):
        return nothing
    top = step.top[0]
    learns, step.layer.param_propagate_down = step.layer.param_propagate_down, [False] * len(step.layer.blobs)
    kept = [blob.diff.copy() for blob in step.layer.blobs]  # a layer of a user's may not look at the flags
    try:
        if isinstance(step.layer, NeuronLayer) and top.count > 1:
            return [(_backward_from(step, np.ones(top.shape))[0], True)]
        if top.count > MOST_RUNS or top.count * max(counts) > MOST_ENTRIES:
            return nothing
        rows = [_backward_from(step, unit.reshape(top.shape)) for unit in np.eye(top.count)]
    finally:
        step.layer.param_propagate_down = learns
        for blob, diff in zip(step.layer.blobs, kept, strict=True):
            blob.diff[...] = diff
    result: list[tuple[np.ndarray | None, bool]] = []
    for i, blob in enumerate(step.bottom):
        if not step.propagate_down[i]:
            result.append((None, False))
            continue
        matrix = np.array([row[i].reshape(-1) for row in rows])
        if len(matrix) == 1:
            result.append((matrix[0].reshape(blob.shape), True))
        elif matrix.shape[0] == matrix.shape[1] and not (matrix - np.diag(matrix.diagonal())).any():
            result.append((matrix.diagonal().reshape(blob.shape), True))
        else:
            result.append((matrix, False))
    return result


def _backward_from(step: Step, upstream: np.ndarray) -> list[np.ndarray]:
    """What the layer gives its bottoms for this gradient of its top."""
    step.top[0].diff[...] = upstream
    step.run_backward()
    return [
        blob.diff.copy() if flag else np.zeros(0) for blob, flag in zip(step.bottom, step.propagate_down, strict=True)
    ]


SECTION = re.compile(r"(Errors|Initial values|Source):|(bottom|top|blobs)\[")  # of a layer's docstring


def backward_words(cls: type[Layer]) -> str:
    """The sentence after ``Backward:`` in a layer's docstring, on one line."""
    lines = iter((cls.__doc__ or "").splitlines())
    for line in lines:
        if line.strip().startswith("Backward:"):
            found = [line.strip().removeprefix("Backward:").strip()]
            for more in lines:
                if found[-1].endswith(".") or not more.strip() or SECTION.match(more.strip()):
                    break
                found.append(more.strip())
            return " ".join(found)
    return ""


def _batch_axes(steps: list[Step]) -> dict[Key, int]:
    """Where each blob has the examples of the batch: what data layers make, and what keeps that axis and its size."""
    axes: dict[Key, int] = {}
    sizes: dict[Key, int] = {}
    readers = {key: step.layer for step in reversed(steps) for key in step.bottom_keys[:1]}
    for step in steps:
        known = [key for key in step.bottom_keys if key in axes]
        if (step.bottom and not known) or (not step.bottom and step.layer.blobs):
            continue  # made of parameters alone
        for key, blob in zip(step.top_keys, step.top, strict=True):
            if known:
                axis, size = axes[known[0]], sizes[known[0]]
            else:
                axis = max(layer.batch_axis for layer in (step.layer, readers.get(key, step.layer)))
                size = blob.shape[axis] if len(blob.shape) > axis else -1
            if len(blob.shape) > axis and blob.shape[axis] == size:
                axes[key], sizes[key] = axis, size
    return axes
