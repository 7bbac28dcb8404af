"""What an emitter is given: a layer of the net at its place in the graph, with the nodes and values it may make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from ...net.blob import Blob
from ...net.example import Values
from ...net.graph import Key
from ...net.layer import Layer
from ...net.step import Step
from ...net.user_code import is_users
from ...spec.errors import NettrainError, Problems
from .graph import Graph, Tensor
from .sizes import Dims, NeedsFixedError, Sizes

Emitter = Callable[["Here"], Tensor | Sequence[Tensor]]
Cont = Literal["input", "start"]


@dataclass
class State:
    """A value that goes from batch to batch: an input of the graph, and an output with what it is afterwards."""

    step: Step
    name: str
    given: Tensor
    last: Tensor
    first: Any  # the value of one example where nothing came before


@dataclass
class Making:
    """What is found out while a graph is built, shared by all its layers."""

    sizes: Sizes
    cont: Cont
    emitters: Mapping[str, Emitter]
    problems: Problems = field(default_factory=Problems)
    notes: list[str] = field(default_factory=list)
    states: list[State] = field(default_factory=list)
    values: dict[Key, Values] = field(default_factory=dict)  # what inputs must hold, for a comparison
    makers: dict[Key, Step] = field(default_factory=dict)


class Here:
    """A layer whose nodes are to be written: ``x`` are the tensors of its bottoms."""

    def __init__(self, graph: Graph, step: Step, x: list[Tensor], making: Making):
        self.graph, self.step, self.x, self.making = graph, step, x, making
        self.name = step.spec.name
        self.layer: Any = step.layer
        self.p: Any = step.layer.p

    # Shapes

    def bottom(self, i: int = 0) -> Dims:
        return self.making.sizes.of(self.step.bottom[i])

    def top(self, i: int = 0) -> Dims:
        return self.making.sizes.of(self.step.top[i])

    def axis(self, axis: int, i: int = 0) -> int:
        """An axis of bottom i, counted from the first."""
        return axis % max(1, len(self.bottom(i)))

    # Nodes and values

    def op(self, kind: str, *inputs: Tensor | None, **attributes: Any) -> Tensor:
        """A node with one output."""
        return self.graph.add(kind, f"{self.name}/{kind}", inputs, **attributes)[0]

    def ops(self, kind: str, count: int, *inputs: Tensor | None, **attributes: Any) -> list[Tensor]:
        """A node with several outputs."""
        return self.graph.add(kind, f"{self.name}/{kind}", inputs, count, **attributes)

    def number(self, value: float, name: str = "value") -> Tensor:
        return self.graph.constant(f"{self.name}.{name}", np.array(value, np.float32))

    def array(self, values: Any, name: str = "value") -> Tensor:
        return self.graph.constant(f"{self.name}.{name}", np.asarray(values, np.float32))

    def ints(self, values: Sequence[int], name: str) -> Tensor:
        return self.graph.constant(f"{self.name}.{name}", np.array(values, np.int64))

    def parameter(self, i: int, name: str, shape: Sequence[int] | None = None, transpose: bool = False) -> Tensor:
        """Parameter blob i of the layer, in another ``shape`` or its matrix transposed: one initializer for all layers
        that share it."""
        blob: Blob = self.layer.blobs[i]
        array = blob.data
        wanted = tuple(array.shape if shape is None else shape)
        key = array.__array_interface__["data"][0], array.shape, array.strides, wanted, transpose
        array = array.T if transpose else array.reshape(wanted)
        return self.graph.parameter(f"{self.name}.{name}", key, array)

    def per_axis(self, i: int, name: str, axis: int, count: int) -> Tensor:
        """Parameter blob i so that it meets the axes of a blob of ``count`` axes from ``axis`` on."""
        shape = self.layer.blobs[i].shape
        return self.parameter(i, name, (*shape, *[1] * (count - axis - len(shape))) if shape else ())

    def reshape(self, x: Tensor, have: Dims, want: Dims) -> Tensor:
        """x in another shape, of which as little is fixed as can be."""
        if have == want:
            return x
        sizes = [
            dim.size if dim.size is not None else 0 if i < len(have) and have[i] == dim else -1
            for i, dim in enumerate(want)
        ]
        if 0 in (dim.size for dim in want):
            raise NettrainError("a blob without values cannot be given another shape in ONNX")
        if sizes.count(-1) > 1:
            raise NeedsFixedError("more than one size of the new shape follows the batch")
        return self.op("Reshape", x, self.ints(sizes, "shape"))

    def scaled(self, x: Tensor, factor: float = 1.0, summand: float = 0.0) -> Tensor:
        """factor x + summand, without steps that change nothing."""
        if factor != 1:
            x = self.op("Mul", x, self.number(factor, "factor"))
        return self.op("Add", x, self.number(summand, "summand")) if summand else x

    def expects(self, i: int, values: Values) -> None:
        """Bottom i does not take any numbers: where it is an input, a comparison draws these."""
        key = self.step.bottom_keys[i]
        while (maker := self.making.makers.get(key)) and maker.bottom and _keeps_values(maker.layer):
            key = maker.bottom_keys[0]
        self.making.values.setdefault(key, values)

    def comes_from_input(self, i: int) -> bool:
        """Whether bottom i is an input of the net."""
        maker = self.making.makers.get(self.step.bottom_keys[i])
        return maker is None or not maker.bottom


def _keeps_values(layer: Layer) -> bool:
    return layer.passes_memory_on or layer.same_in_tests


# Types that have no form in ONNX, and why.
WITHOUT_FORM = {
    "DetectionOutput": "choosing among overlapping boxes is left to what serves the net; without this layer, the "
    "offsets, scores and boxes it reads are outputs",
}


def no_form(step: Step) -> str:
    """Why layers of a type cannot be written."""
    if step.layer.runs_code or is_users(step.spec.cls):
        return "it is code of the user's own, which ONNX cannot hold"
    kind = step.spec.common.type
    return WITHOUT_FORM.get(kind, f"no form in ONNX is known for layers of type {kind}")


def emit(graph: Graph, steps: Sequence[Step], tensors: dict[Key, Tensor], making: Making) -> None:
    """Write the nodes of layers in the order they run. ``tensors`` has what they read, and gets what they make.

    A layer that cannot be written is added to the problems, and its tops are then made by nobody. Raises
    NeedsFixedError, for the first layer that only a batch of one size can be written for.
    """
    for step in steps:
        here = Here(graph, step, [tensors[key] for key in step.bottom_keys], making)
        making.makers.update(dict.fromkeys(step.top_keys, step))
        before = len(graph.nodes)
        try:
            emitter = making.emitters.get(step.spec.common.type)
            if emitter is None:
                raise NettrainError(no_form(step))
            made = emitter(here)
        except NeedsFixedError as error:
            raise NeedsFixedError(f"{step.spec.title()}: {error}") from None
        except NettrainError as error:
            making.problems.add(step.spec.place, f"{step.spec.title()}: {error}")
            made = [Tensor(key[0]) for key in step.top_keys]
        made = [made] if isinstance(made, Tensor) else list(made)
        new = {tensor for node in graph.nodes[before:] for tensor in node.outputs}
        if graph.nodes[before:] and made:
            last = next((node for node in graph.nodes[before:] if made[0] in node.outputs), None)
            if last is not None:
                last.name = here.name
        for i, (key, tensor) in enumerate(zip(step.top_keys, made, strict=True)):
            tensors[key] = tensor
            if tensor in new and tensor.dims is None:
                tensor.hint, tensor.dims = key[0], here.top(i)
