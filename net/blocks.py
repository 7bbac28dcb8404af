"""Blocks of a spec: what one is, and what a use of one may say. ``expansion`` writes them out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.declare import Declared, param
from ..spec.errors import Place, Problem, Use
from ..spec.node import Node
from ..spec.reader import MISSING, Reader
from ..spec.template import references
from . import registry
from .records import Common


@dataclass(frozen=True)
class Defaults:
    """The parameters of a block with their values; one that has none is a node of None."""

    values: Mapping[str, Node]

    words = "a mapping of names to values, such as {channels: , stride: 1}; one without a value must be given"

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        if node.value is None:
            return cls({})
        if not isinstance(node.value, dict):
            return reader.wrong(node, what, cls.words)
        before = len(reader.problems.found)
        for name, place in node.keys.items():
            if name in UseKeys.names():
                reader.problems.add(place, f"{what}: `{name}` is a key of every layer; give the parameter another name")
            elif not re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name):
                message = "a parameter's name has letters, digits and _, and begins with no digit"
                reader.problems.add(place, f"{what}: {message}; got `{name}`")
        return cls(node.value) if len(reader.problems.found) == before else MISSING

    @classmethod
    def schema(cls) -> dict:
        return {"type": ["object", "null"], "description": cls.words}


@dataclass(frozen=True)
class Layers:
    """The layers of a block, which are read once they are written out."""

    nodes: tuple[Node, ...]

    words = "a list with at least one layer, each after a `- `"

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        if not isinstance(node.value, list) or not node.value:
            return reader.wrong(node, what, cls.words)
        before = len(reader.problems.found)
        for layer in node.value:
            if not isinstance(layer.value, dict):
                message = f"a layer must be a mapping such as {{name: ip1, type: ReLU}}, got {layer.words()}"
                reader.problems.add(layer.place, message)
                continue
            for key in ("name", "bottom", "top"):
                for name in names_of(layer, key):
                    if not is_whole(name) and any(True for _ in references(Node(name, layer.place))):
                        message = (
                            f"`{key}` takes no parameters unless it begins with /, and is the whole name then: /{name}"
                        )
                        reader.problems.add(layer.at(key), message)
        return cls(tuple(node.value)) if len(reader.problems.found) == before else MISSING

    @classmethod
    def schema(cls) -> dict:
        return {"$ref": "#/$defs/layers_of_a_block"}


class Block(Declared):
    """A part of a net that is written once and used like a layer type."""

    parameters: Defaults | None = param(default=None, doc="what a use may or must give, by name, with its value if any")
    inputs: tuple[str, ...] = param(default=("in",), doc="what its layers call the bottoms of the use")
    outputs: tuple[str, ...] | None = param(
        default=None, doc="its blobs that are the tops of the use; left out: the tops of its last layer"
    )
    layers: Layers = param(doc="its layers; their names and blobs become USE/NAME")

    @property
    def defaults(self) -> Mapping[str, Node]:
        """Its parameters with their values, of None where a use must give one."""
        return self.parameters.values if self.parameters else {}

    words = "a mapping with `layers` and, where there are any, `parameters`, `inputs` and `outputs`"

    def validate(self) -> Iterable[tuple[str, str]]:
        for key, names in (("inputs", self.inputs), ("outputs", self.outputs or ())):
            twice = next((name for name in names if list(names).count(name) > 1), None)
            if twice:
                yield key, f"has `{twice}` twice"


class UseKeys(Common):
    """What a use of a block may say besides the block's own parameters."""

    repeat: int | None = param(
        default=None, minimum=1, doc="so many copies in a row, USE/1 to USE/n; a list gives one value a copy"
    )

    def validate(self) -> Iterable[tuple[str, str]]:
        yield from super().validate()
        for key in ("param", "propagate_down"):
            if getattr(self, key):
                yield key, "belongs to the layers in the block"


USE_KEYS = [key for key in UseKeys.names() if key not in ("param", "propagate_down")]


def read_blocks(node: Node, reader: Reader) -> dict[str, Block | None]:
    """The blocks of a spec by name; None for one with a mistake, which is reported."""
    if not isinstance(node.value, dict):
        reader.wrong(node, "blocks", "a mapping of names to blocks, such as residual: {layers: […]}")
        return {}
    found: dict[str, Block | None] = {}
    for name, one in node.value.items():
        block = Block.from_node(reader, one, f"blocks.{name}")
        if registry.layer_type(name):
            reader.problems.add(node.keys[name], f"`{name}` is a layer type; give the block another name")
            continue
        found[name] = None if block is MISSING else block
        if block is not MISSING:
            reader.warnings += _unused_parameters(name, block, one)
    return found


def _unused_parameters(name: str, block: Block, node: Node) -> Iterable[Problem]:
    values = block.defaults
    used = {found for one in (*block.layers.nodes, *values.values()) for found in references(one)}
    for parameter in values:
        if parameter not in used:
            message = f"block `{name}` makes no use of its parameter `{parameter}`"
            yield Problem(node.value["parameters"].keys[parameter], message, with_line=False)


# What the layers and blobs of a block are called outside it, and what a layer reads that does not say so.


class Order:
    """What a layer without `bottom` reads: the first top of the layer before it, which may depend on the phase.

    ``options`` are the blobs it may be, each with the condition under which its layer is there; the last that is there
    counts.
    """

    def __init__(self, options: Sequence[tuple[str, str | None]] = ()):
        self.options = list(options)

    def add(self, blob: str, when: str | None) -> None:
        self.options = [] if when is None else [one for one in self.options if one[1] != when]
        self.options.append((blob, when))

    def choices(self, sure: set[str | None]) -> list[tuple[str, str | None]]:
        """The options of a layer that is there only under conditions that are ``sure``."""
        last = max((i for i, one in enumerate(self.options) if one[1] in sure), default=0)
        return [(blob, None if when in sure else when) for blob, when in self.options[last:]]


@dataclass
class Scope:
    """Where layers stand: at the top of a spec (without a use), or in a block as one use of it has it."""

    prefix: str
    use: Use | None
    blobs: Mapping[str, str]  # inputs and outputs of the block -> their names outside
    sure: frozenset[str | None]  # conditions that hold wherever the use is there

    def name(self, name: str) -> str:
        """What a layer is called outside."""
        return name[1:] if is_whole(name) else f"{self.prefix}{name}"

    def outer(self, name: str) -> str:
        """What a blob is called outside."""
        return self.blobs.get(name) or self.name(name)


def set_value(node: Node, key: str, value: Any, place: Place) -> None:
    node.value[key], node.keys[key] = Node.plain(value, place, in_one_place=True), place


def is_name(node: Node) -> bool:
    return isinstance(node.value, str) and bool(node.value)


def names_of(node: Node, key: str) -> list[str]:
    """The names that a layer has under a key."""
    value = node.value.get(key)
    items = value.value if value is not None and isinstance(value.value, list) else [value] if value else []
    return [item.value for item in items if is_name(item)]


def is_whole(name: str) -> bool:
    """Whether a name in a block is the same outside, without the name of the use before it."""
    return name.startswith("/")


def top_name(use: str, output: str, outputs: Sequence[str]) -> str:
    """What an output is called outside: like the use where it is the only one; a whole name stays."""
    return output if is_whole(output) else use if len(outputs) == 1 else f"{use}/{output}"


def most(count: int | tuple[int, int | None]) -> int | None:
    return count if isinstance(count, int) else count[1]
