"""A recurrent cell: layers written inside a layer, and copies of them, one for each step of time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...net.assemble import assemble
from ...net.blob import Blob
from ...net.layer import Layer
from ...net.netspec import read_layer
from ...net.records import Broken, Common, LayerSpec, NetSpec, Phase, State
from ...spec.declare import Declared
from ...spec.errors import Problems
from ...spec.node import Node
from ...spec.reader import MISSING, Reader
from ..data.input import Input


@dataclass(frozen=True)
class Cell:
    """The layers of one step, in the language of a spec's ``layers``."""

    layers: tuple[LayerSpec, ...]
    node: Node

    words = "a list of layers, as a spec's `layers` has them"

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        if not isinstance(node.value, list) or not node.value:
            return reader.wrong(node, what, cls.words)
        layers = tuple(read_layer(item, reader) for item in node.value)
        if any(layer.cls is Broken for layer in layers):
            return MISSING
        before = len(reader.problems.found)
        for layer in layers:
            for key, message in cls._out_of_place(layer):
                reader.problems.add(layer.node.at(key), f"{layer.title()}: {message}")
        return cls(layers, node) if len(reader.problems.found) == before else MISSING

    @staticmethod
    def _out_of_place(layer: LayerSpec) -> Iterator[tuple[str, str]]:
        if layer.cls.is_input:
            yield "type", "a cell reads its sequences, static inputs and states by name, without Input"
        if layer.cls.runs_code:
            yield "type", "it runs code, and stands outside the cell"
        if layer.cls.shapes_follow_values:
            yield "type", "the shapes of what it makes follow from values; it stands outside the cell"
        if layer.cls.is_loss or any(layer.common.loss_weight):
            yield "type", "a loss stands outside the cell, on the whole sequences"
        if any(param.lr_mult is not None or param.decay_mult is not None for param in layer.common.param):
            yield "param", "lr_mult and decay_mult are written beside the cell, in its layer's own `param`"

    @classmethod
    def schema(cls) -> dict:
        return {"$ref": "#/properties/layers"}


class Tap(Layer):
    """Reads a blob of the cell and gives it the gradient that comes from outside: ``upstream``."""

    num_tops = 0
    backward_reads = ()
    any_layout = True

    def reshape(self, bottom, top):
        self.data = bottom[0].data
        self.upstream = self.buffer("upstream", bottom[0].shape)

    def Forward_cpu(self, bottom, top):
        self.data = bottom[0].data

    def Backward_cpu(self, top, propagate_down, bottom):
        np.copyto(bottom[0].diff, self.upstream)


class Copy:
    """The cell at one step of time: a small net of its own, with ``inputs`` and ``taps`` by blob name.

    Raises SpecError with every problem of the cell's wiring and shapes.
    """

    def __init__(self, cell: Cell, inputs: dict[str, tuple[int, ...]], taps: list[str], owner: Layer, time: int):
        problems = Problems()
        suffix = f"/{time}" if time else ""
        layers = [
            *(self._spec(Input, name, {"shape": list(shape)}, cell, top=(name,)) for name, shape in inputs.items()),
            *(_renamed(layer, f"{owner.name}/{layer.name}{suffix}") for layer in cell.layers),
            *(self._spec(Tap, f"tap of {name}", {}, cell, bottom=(name,), top=()) for name in taps),
        ]
        spec = NetSpec(owner.name, layers, None, True, cell.node, cell.node.place.file, owner.folder)
        phase: Phase = "TRAIN" if owner.phase == "TRAIN" else "TEST"
        made = assemble(spec, State(phase), problems, seed=owner.seed, dtype=owner.dtype)
        self.steps, self.parameters = made.steps, made.parameters
        order = {id(parameter): i for i, parameter in enumerate(self.parameters)}
        self.uses = [(blob, order[id(parameter)]) for blob, parameter in made.uses]
        self.learns = [
            (step.layer.param_propagate_down, i) for step in self.steps for i in range(len(step.layer.blobs))
        ]
        self.fixed = [flag for step in self.steps for flag in step.fixed]
        # the first version of a name: the cell may compute in place on its inputs
        tops = {key: blob for step in self.steps for key, blob in zip(step.top_keys, step.top, strict=True)}
        self.inputs = {name: tops[name, 0] for name in inputs}
        self.taps = {s.bottom_keys[0][0]: s.layer for s in self.steps if isinstance(s.layer, Tap)}
        # blobs whose gradient some layer computes; of others, such as indices, it is zero
        self.has_gradient = {
            key for s in self.steps for key, flag in zip(s.bottom_keys, s.propagate_down, strict=True) if flag
        }
        self.read = {key[0] for step in self.steps for key in step.bottom_keys}
        for step in self.steps:
            step.layer.rng, step.within = owner.rng, "in its cell"

    @staticmethod
    def _spec(cls: type[Layer], name: str, parameters: dict, cell: Cell, **common: Any) -> LayerSpec:
        return LayerSpec(Common(name=name, type=cls.__name__, **common), cls, _declared(cls, parameters), cell.node)

    def reshape(self) -> None:
        """Pass the inputs' shapes through the cell."""
        for step in self.steps:
            step.reshape_again()

    def use(self, blobs: list[Blob]) -> None:
        """Let the cell's parameters lie where these blobs lie."""
        for own, i in self.uses:
            if own is not blobs[i] and not own.shares_data_with(blobs[i]):
                own.reshape(own.shape, channels_last=blobs[i].channels_last)
                own.share_data(blobs[i])
                own.share_diff(blobs[i])

    def learn(self, flags: list[bool]) -> None:
        """Which of the parameters get a gradient."""
        for (own, i), (_, parameter) in zip(self.learns, self.uses, strict=True):
            own[i] = flags[parameter]

    def gradient(self, name: str) -> np.ndarray:
        """The gradient of an input; zero where no layer computes it."""
        blob = self.inputs[name]
        if (name, 0) not in self.has_gradient:
            blob.diff.fill(0)
        return blob.diff

    def forward(self) -> None:
        for step in self.steps:
            step.forward()

    def backward(self) -> None:
        for step in reversed(self.steps):
            if step.needs_backward:
                step.backward()


def _declared(cls: type[Layer], parameters: dict) -> Declared:
    return cls.Parameters.from_mapping(parameters, cls.__name__)


def _renamed(layer: LayerSpec, name: str) -> LayerSpec:
    """The layer under another name, its blobs and places as they are."""
    common = layer.common
    if common.top is None and layer.cls.num_tops != 0:
        common = replace(common, top=(common.name,))
    return replace(layer, common=replace(common, name=name))
