"""A cell unrolled over time: a small net for each step, all with the same parameters."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ...net.assemble import assemble
from ...net.blob import Blob
from ...net.layer import Layer
from ...net.records import Common, LayerSpec, NetSpec, Phase, State
from ...net.user_code import ask
from ...spec.declare import Declared
from ...spec.errors import Problems
from ..data.input import Input
from .cell import Cell


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
            step.layer.part_of, step.within = owner, "in its cell"

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


class Unrolled:
    """The copies of a cell so far, ``copies[t]`` for step t; they are made when a sequence is first that long.

    ``shapes`` has those of the cell's inputs, as all copies have them.
    """

    def __init__(self, cell: Cell, shapes: dict[str, tuple[int, ...]], taps: list[str], owner: Layer):
        self.cell, self.shapes, self.taps, self.owner = cell, shapes, taps, owner
        self.copies: list[Copy] = []

    def until(self, T: int) -> list[Copy]:
        """The copies for steps 0 … T-1."""
        while len(self.copies) < T:
            self.copies.append(Copy(self.cell, self.shapes, self.taps, self.owner, len(self.copies)))
        return self.copies[:T]

    def reshape(self, shapes: dict[str, tuple[int, ...]]) -> None:
        """Give every copy's inputs other shapes."""
        self.shapes = shapes
        for copy in self.copies:
            for name, shape in shapes.items():
                copy.inputs[name].reshape(shape)
            copy.reshape()

    def fill_blobs(self, blobs: list[Blob]) -> None:
        """Write first values into the cell's parameters, which lie where ``blobs`` lie."""
        copy = self.copies[0]
        copy.use(blobs)
        for step in reversed(copy.steps):
            if step.layer.blobs:
                ask(step.layer, "fill_blobs")

    def multiply_adds(self) -> int:
        """Those of one step."""
        return sum(ask(step.layer, "multiply_adds", step.bottom, step.top) for step in self.copies[0].steps)

    def start_pass(self) -> None:
        for step in (step for copy in self.copies for step in copy.steps):
            ask(step.layer, "start_pass")

    def state(self) -> list[dict]:
        """What the cell's layers keep themselves."""
        cells = [{s.spec.name: ask(s.layer, "state") for s in copy.steps} for copy in self.copies]
        cells = [{name: kept for name, kept in cell.items() if kept} for cell in cells]
        return cells if any(cells) else []

    def set_state(self, cells: list[dict]) -> None:
        for copy, kept in zip(self.copies, cells, strict=False):
            for step in copy.steps:
                if step.spec.name in kept:
                    ask(step.layer, "set_state", ask(step.layer, "state") | kept[step.spec.name])
