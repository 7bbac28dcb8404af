"""The checked records of a spec: what a net consists of, before any blob exists."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..spec.declare import Declared, param
from ..spec.errors import NettrainError, Place, Problem
from ..spec.node import Node
from .layer import Layer
from .registry import LayerType

Phase = Literal["TRAIN", "TEST"]


def as_phase(phase: Any) -> Phase:
    """The phase meant, in upper or lower case. Raises NettrainError for anything else."""
    known: dict[str, Phase] = {"TRAIN": "TRAIN", "TEST": "TEST"}
    upper = phase.upper() if isinstance(phase, str) else ""
    if upper in known:
        return known[upper]
    raise NettrainError(f"the phase must be TRAIN or TEST, got {phase!r}")


class Rule(Declared):
    """When a layer is in the net: every field given must hold. ``TEST`` alone stands for ``{phase: TEST}``."""

    phase: Literal["TRAIN", "TEST"] | None = param(default=None, doc="the phase")
    min_level: int | None = param(default=None, doc="lowest level")
    max_level: int | None = param(default=None, doc="highest level")
    stage: tuple[str, ...] = param(default=(), doc="stages that must all be set")
    not_stage: tuple[str, ...] = param(default=(), doc="stages of which none may be set")

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, str):
            return {"phase": value.upper() if value.casefold() in ("train", "test") else value}
        return None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"enum": ["TRAIN", "TEST", "train", "test"]}, super().schema()]}

    def met(self, state: State) -> bool:
        return (
            (self.phase is None or self.phase == state.phase)
            and (self.min_level is None or state.level >= self.min_level)
            and (self.max_level is None or state.level <= self.max_level)
            and all(stage in state.stages for stage in self.stage)
            and not any(stage in state.stages for stage in self.not_stage)
        )


@dataclass(frozen=True)
class State:
    """Caffe's NetState: what include and exclude rules are compared with."""

    phase: Phase = "TEST"
    level: int = 0
    stages: tuple[str, ...] = ()


class ParamSpec(Declared):
    """How one parameter blob of a layer is learned and shared."""

    name: str = param(default="", doc="blobs with the same name are one blob")
    lr_mult: float | None = param(
        default=None, doc="multiplies the learning rate; 1 when left out, 0 keeps the blob fixed"
    )
    decay_mult: float | None = param(default=None, doc="multiplies the weight decay; 1 when left out")
    share_mode: Literal["STRICT", "PERMISSIVE"] = param(
        default="STRICT", doc="a shared blob must have an equal shape, or only an equal count"
    )


class Common(Declared):
    """Keys that every layer has."""

    name: str = param(doc="the layer's name, unique in the net")
    type: str = param(doc="the layer type, as `nettrain layers` lists them")
    bottom: tuple[str, ...] | None = param(default=None, doc="blobs it reads; left out: the previous layer's first top")
    top: tuple[str, ...] | None = param(default=None, doc="blobs it makes; left out: the layer's name")
    include: tuple[Rule, ...] = param(default=(), doc="the layer is in the net if one of these rules is met")
    exclude: tuple[Rule, ...] = param(default=(), doc="the layer is left out of the net if one of these rules is met")
    loss_weight: tuple[float, ...] = param(default=(), doc="weight of each top in the loss")
    propagate_down: tuple[bool, ...] = param(default=(), doc="for each bottom: whether its gradient is computed")
    engine: Literal["DEFAULT", "CAFFE", "CUDNN", "auto", "numpy", "onednn"] = param(
        default="DEFAULT", doc="what computes it: the formulas (numpy, CAFFE), oneDNN, or what the net has (DEFAULT)"
    )
    # last, because the name hides the function from here on
    param: tuple[ParamSpec, ...] = param(
        default=(), doc="for each parameter blob: name, lr_mult, decay_mult, share_mode"
    )

    exclusive = (("include", "exclude"),)

    def validate(self) -> Iterable[tuple[str, str]]:
        if not self.name:
            yield "name", "must not be empty"


class Broken(Layer):
    """The type of a layer with something wrong in it, so that what surrounds it can still be checked. It never runs."""

    num_bottoms = num_tops = (0, None)


@dataclass
class LayerSpec:
    """One layer as the spec has it: common keys, the type's class and its checked parameters."""

    common: Common
    cls: LayerType
    parameters: Declared
    node: Node

    @property
    def name(self) -> str:
        return self.common.name

    @property
    def place(self) -> Place:
        """Where the name is written."""
        return self.node.at("name")

    @property
    def names(self) -> tuple[str, ...]:
        """Its name and those of the uses of blocks that it is part of."""
        used = self.node.place.used
        around = (name for use in used.chain() for name in (use.name, use.whole)) if used else ()
        return tuple(dict.fromkeys([self.name, *around]))

    def title(self) -> str:
        """``Convolution `conv1```, as errors name it."""
        return f"{self.cls.__name__} `{self.name}`"

    def where(self) -> str:
        """`` (line 12)``, or nothing when the spec is not a file."""
        return f" (line {self.place.line})" if self.place.line else ""


@dataclass(frozen=True)
class BlockUse:
    """A use of a block among the layers of a spec: what was given, and the blobs it makes."""

    name: str
    block: str
    repeat: int | None
    given: Mapping[str, Any]
    tops: tuple[str, ...]
    place: Place


@dataclass(frozen=True)
class Trained:
    """What a spec that comes from a run brings with it: a file of weights, what layers found in the training data, and
    the level and stages that were given."""

    weights: Path
    fitted: Mapping[str, Mapping[str, Any]]
    level: int
    stages: tuple[str, ...]

    def level_and_stages(self, level: int, stages: Iterable[str]) -> tuple[int, tuple[str, ...]]:
        """Those given now, or else those of the run."""
        return level or self.level, tuple(stages) or self.stages


@dataclass
class NetSpec:
    """A whole spec. ``solver`` stays a node: the solver knows its own keys. ``trained`` is what a run has besides."""

    name: str
    layers: list[LayerSpec]
    solver: Node | None
    force_backward: bool
    root: Node
    file: str
    folder: Path = field(default_factory=Path)
    note: str = ""  # told to the user once, such as that a bundled config is used
    allow_python: bool = False
    warnings: list[Problem] = field(default_factory=list)  # what may be a mistake, though it can be run
    uses: list[BlockUse] = field(default_factory=list)  # of blocks, among the layers as they are written
    trained: Trained | None = None
    flat: Node = field(init=False)  # the root with its blocks written out; the root itself where there are none

    def __post_init__(self) -> None:
        self.flat = self.root

    def to_python(self) -> dict:
        """The spec as plain data, overrides applied and blocks as they are written."""
        return self.root.to_python()


class Top(Declared):
    """Top-level keys of a spec."""

    name: str = param(default="net", doc="the net's name; runs are filed under it")
    folder: str = param(
        default="", doc="where the files it names are looked for, seen from its own folder, which is the default"
    )
    force_backward: bool = param(default=False, doc="compute every gradient, including those of inputs")
    layer_files: tuple[str, ...] = param(
        default=(), doc="Python files beside the spec that register layer types; run only with --allow-python"
    )
