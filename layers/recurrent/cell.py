"""A recurrent cell as a spec writes it: the layers of one step, the states, what it reads and makes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ...net.fillers import Filler
from ...net.netspec import read_layer
from ...net.records import Broken, LayerSpec
from ...spec.declare import MISSING, Declared, Reader, param
from ...spec.errors import ShapeError, did_you_mean
from ...spec.node import Node


@dataclass(frozen=True)
class Cell:
    """The layers of one step, in the language of a spec's ``layers``."""

    layers: tuple[LayerSpec, ...]
    node: Node

    words = "a list of layers, as a spec's `layers` has them"
    holds_layers = True  # so that blocks in it are written out

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
            yield "type", "it runs code and belongs outside the cell"
        if layer.cls.shapes_follow_values:
            yield "type", "the shapes of what it makes follow from values; it belongs outside the cell"
        if layer.cls.is_loss or any(layer.common.loss_weight):
            yield "type", "a loss belongs outside the cell, on the whole sequences"
        if any(param.lr_mult is not None or param.decay_mult is not None for param in layer.common.param):
            yield "param", "lr_mult and decay_mult are written beside the cell, in its layer's own `param`"

    @classmethod
    def schema(cls) -> dict:
        return {"$ref": "#/properties/layers"}


class CellState(Declared):
    """A value that goes from one step to the next."""

    name: str = param(doc="the name under which the cell reads it")
    next: str = param(doc="the cell's blob that is its value at the next step")
    shape: tuple[int, ...] = param(minimum=1, doc="its shape for one example, without N")
    initial: Filler = param(default=Filler(), doc="value before the first step: a number, or a filler")
    learned: bool = param(default=False, doc="the initial value is a parameter and is learned")
    from_bottom: bool = param(default=False, doc="the initial values of a batch come from a bottom, 1 x N x shape")

    words = "a mapping such as {name: h, next: h_new, shape: [256]}"

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.from_bottom and (self.learned or self.initial != Filler()):
            yield "from_bottom", "takes the initial values from a bottom; leave `initial` and `learned` out"

    @property
    def has_blob(self) -> bool:
        """Whether the initial value is kept with the parameters."""
        return self.learned or self.initial.type != "constant" or bool(self.initial.values)


class CellParameters(Declared):
    """A cell with what it reads, keeps and makes."""

    cell: Cell = param(doc="the layers of one step")
    states: tuple[CellState, ...] = param(doc="what goes from step to step: name, next, shape, initial")
    outputs: tuple[str, ...] = param(doc="the cell's blobs that become tops, each T x N x …")
    sequences: tuple[str, ...] = param(default=("x",), doc="names of the bottoms with a time axis")
    static: tuple[str, ...] = param(default=(), doc="names of the bottoms that are the same at every step")
    cont: bool = param(default=True, doc="a bottom after the sequences says where they begin (0) and continue (1)")
    carry: bool = param(default=False, doc="a batch begins with the last states of the one before")
    final_states: bool = param(default=False, doc="the states after the last step are tops too")

    def validate(self) -> Iterable[tuple[str, str]]:
        names = [*self.sequences, *self.static, *(state.name for state in self.states)]
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                yield (
                    "sequences",
                    f"have the name `{name}`, used {names.count(name)} times in sequences, static and states",
                )
        known = {*names, *(top for layer in self.cell.layers for top in layer.common.top or (layer.name,))}
        for key, wanted in (("outputs", self.outputs), ("states", tuple(state.next for state in self.states))):
            for name in wanted:
                if name not in known:
                    yield key, f"names `{name}`, which no layer of the cell makes{did_you_mean(name, known)}"
        if not self.sequences:
            yield "sequences", "must name at least one bottom, which gives the number of steps"

    @property
    def given(self) -> tuple[CellState, ...]:
        """The states whose first values come from bottoms."""
        return tuple(state for state in self.states if state.from_bottom)

    def parts(self, of_bottoms: Sequence[Any]) -> list[Sequence[Any]]:
        """Something for each bottom, cut into sequences, cont (or nothing), static inputs, first states."""
        ends = itertools.accumulate([0, len(self.sequences), self.cont, len(self.static), len(self.given)])
        return [of_bottoms[start:end] for start, end in itertools.pairwise(ends)]

    def check_counts(self, bottoms: int, tops: int) -> None:
        """Raises ShapeError when there are not so many bottoms and tops."""
        read = [*self.sequences, *["cont"] * self.cont, *self.static, *(f"the first {s.name}" for s in self.given)]
        if bottoms != len(read):
            raise ShapeError(f"needs {len(read)} bottoms ({', '.join(read)}), got {bottoms}", key="bottom")
        made = [*self.outputs, *(f"the last {s.name}" for s in self.states if self.final_states)]
        if tops != len(made):
            raise ShapeError(f"makes {len(made)} tops ({', '.join(made)}), got {tops}", key="top")
