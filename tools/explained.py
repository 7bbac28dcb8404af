"""What an explanation holds, and the part of it that was asked for.

A ``Value`` is a blob, a ``Gate`` is a layer, a ``Use`` is a wire from a value into a gate. The gradient of a value is
the sum over its uses; along each of them it is the gate's local gradient times the gradient that comes to the gate.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ..spec.errors import NettrainError, did_you_mean


@dataclass
class Use:
    """A wire: ``value`` read by ``gate``. ``local`` is d(top)/d(value) where it can be written down.

    Element by element (or for a gate with one number as its result) ``local`` has the value's shape, and the
    ``gradient`` along the wire is local x upstream; else it is a matrix, results x elements, or None.
    """

    value: str
    gate: str
    gradient: np.ndarray | None
    upstream: np.ndarray | None
    local: np.ndarray | None
    by_element: bool


@dataclass
class Value:
    """A blob, or a parameter of a layer, with what it was and its gradient (None: it has none).

    ``loss_weight`` is what it counts in the loss itself; ``batch_axis`` where the examples are, None if it has none.
    """

    name: str
    data: np.ndarray
    diff: np.ndarray | None
    made_by: str
    uses: list[Use] = field(default_factory=list)
    loss_weight: float = 0.0
    batch_axis: int | None = None


@dataclass
class Gate:
    """A layer: what it computes, from what, and in words what it does to a gradient."""

    name: str
    type: str
    formula: str
    sign: str  # the formula with x for every input, shorter where it is well known: + exp max
    words: str
    bottoms: list[str]
    tops: list[str]
    parameters: list[Value]
    loss: float = 0.0  # weighted


@dataclass
class Explanation:
    """A whole pass: gates in the order they ran, values by name."""

    name: str
    gates: list[Gate]
    values: dict[str, Value]
    losses: dict[str, float]  # what each layer adds to the loss
    seeded: list[str]  # results whose gradient was set to 1, because the net has no loss
    sample: int | None = None
    examples: int = 0  # in the batch
    has_loss: bool = True

    @property
    def loss(self) -> float:
        return sum(self.losses.values())


def cut(explanation: Explanation, sample: int) -> None:
    """Leave one example of every array that holds the batch."""
    N = explanation.examples
    if not 0 <= sample < N:
        raise NettrainError(f"--sample {sample}: the batch has examples 0 to {N - 1}" if N else "--sample: no batch")
    explanation.sample = sample
    tops = {gate.name: gate.tops for gate in explanation.gates}
    whole = {name: value.data.shape for name, value in explanation.values.items()}
    axes = {name: value.batch_axis for name, value in explanation.values.items()}

    def one(array: np.ndarray | None, of: str | None) -> np.ndarray | None:
        """The example of an array that has the shape of this value."""
        axis = axes.get(of or "")
        if array is None or axis is None or array.shape != whole[of or ""] or array.shape[axis] != N:
            return array
        return np.take(array, sample, axis=axis)

    for name, value in explanation.values.items():
        value.data, value.diff = one(value.data, name), one(value.diff, name)  # type: ignore[assignment]
        for use in value.uses:
            use.gradient = one(use.gradient, name)
            use.upstream = one(use.upstream, next(iter(tops[use.gate]), None))
            use.local = one(use.local, name) if use.by_element else None


def pick(explanation: Explanation, blobs: Iterable[str], layers: Iterable[str]) -> Explanation:
    """The same with these blobs, and these layers with all that they read and make, only. Raises NettrainError."""
    blobs, layers = list(blobs), list(layers)
    if not blobs and not layers:
        return explanation
    gates = {gate.name: gate for gate in explanation.gates}
    for names, known, what in ((blobs, explanation.values, "blob"), (layers, gates, "layer")):
        for name in names:
            if name not in known:
                raise NettrainError(f"the net has no {what} `{name}`{_where(name, what, explanation, known)}")
    wanted = {*blobs, *(name for layer in layers for name in (*gates[layer].bottoms, *gates[layer].tops))}
    kept = [gate for gate in explanation.gates if gate.name in layers or wanted & {*gate.tops}]
    values = {name: value for name, value in explanation.values.items() if name in wanted}
    return replace(explanation, gates=kept, values=values)


def _where(name: str, what: str, explanation: Explanation, known: Iterable[str]) -> str:
    """Advice for a name of the other kind, or one that is misspelt."""
    if what == "layer" and name in explanation.values:
        return f"; that is a blob, which layer `{explanation.values[name].made_by}` makes: --blob {name}"
    makes = [top for gate in explanation.gates if gate.name == name for top in gate.tops]
    if makes:
        return f"; that is a layer, which makes {', '.join(f'`{top}`' for top in makes)}: --layer {name}"
    return did_you_mean(name, known)
