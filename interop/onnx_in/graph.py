"""A model's graph as a list of nodes: functions written out, only what the outputs need."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from ...spec.errors import NettrainError
from .messages import Message

MOST_NODES = 40_000  # functions written out; nets that there are layers for have some thousands
_DEEPEST = 20  # functions in functions
_OWN = ("", "ai.onnx")


class UnsupportedError(NettrainError):
    """What a node does and no layer can, and why."""


@dataclass(eq=False)
class GraphNode:
    """An operation with the opset of its domain; attributes are checked when they are asked for."""

    op: str
    domain: str
    name: str
    inputs: list[str]
    outputs: list[str]
    attributes: dict[str, Message]
    opset: int
    captured: list[str] = field(default_factory=list)  # what the graphs in its attributes read of the one around them

    @property
    def kind(self) -> str:
        """The operation's name, with its domain unless that is ONNX's own."""
        return self.op if self.domain in _OWN else f"{self.domain}.{self.op}"

    def title(self) -> str:
        """The node as messages name it."""
        return f"`{self.name or (self.outputs or [''])[0]}` ({self.kind})"

    def has(self, name: str) -> bool:
        return name in self.attributes

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute; one of 0 may have been left out of the file."""
        if name not in self.attributes:
            return default
        return self.attributes[name].i

    def real(self, name: str, default: float = 0.0) -> float:
        return self.attributes[name].f if name in self.attributes else default

    def text(self, name: str, default: str = "") -> str:
        return self.attributes[name].s if name in self.attributes else default

    def ints(self, name: str, default: Iterable[int] | None = ()) -> list[int] | None:
        if name in self.attributes:
            return list(self.attributes[name].ints)
        return None if default is None else list(default)

    def floats(self, name: str) -> np.ndarray:
        parts = self.attributes[name].floats if name in self.attributes else []
        return np.concatenate([np.empty(0, np.float32), *parts])

    def texts(self, name: str) -> list[str]:
        return list(self.attributes[name].strings) if name in self.attributes else []

    def tensor(self, name: str) -> Message | None:
        return self._part(name, "t")

    def graph(self, name: str) -> Message | None:
        return self._part(name, "g")

    def _part(self, name: str, part: str) -> Message | None:
        """A message in an attribute. Raises UnsupportedError where there is another kind of value."""
        if name not in self.attributes:
            return None
        if not self.attributes[name].has(part):
            raise UnsupportedError(f"its `{name}` is of another kind than ONNX says")
        return getattr(self.attributes[name], part)


@dataclass
class _Inliner:
    functions: dict[tuple[str, str], Message]
    made: list[GraphNode] = field(default_factory=list)
    calls: int = 0

    def add(self, nodes: list[Message], opsets: dict[str, int], names: dict[str, str] | None, call: _Call) -> None:
        for message in nodes:
            if len(self.made) >= MOST_NODES:
                raise NettrainError(f"the graph has more than {MOST_NODES:,} nodes")
            node = GraphNode(
                message.op_type,
                message.domain,
                message.name,
                list(message.input),
                list(message.output),
                call.attributes_of(message),
                opsets.get("" if message.domain in _OWN else message.domain, 0),
                _captured(message),
            )
            if names is not None:
                node = replace(
                    node,
                    name=f"{call.prefix}{node.name or node.op}",
                    inputs=[call.named(names, name) for name in node.inputs],
                    outputs=[call.named(names, name) for name in node.outputs],
                )
                if node.captured:
                    node.captured, node.attributes = [], {}  # their names are those of the function
            function = self.functions.get((node.domain, node.op))
            if function is None:
                self.made.append(node)
            else:
                self._write_out(node, function, call.depth + 1)

    def _write_out(self, node: GraphNode, function: Message, depth: int) -> None:
        if depth > _DEEPEST:
            raise NettrainError(f"the function `{function.name}` calls itself, or too many others")
        self.calls += 1
        if self.calls > MOST_NODES:
            raise NettrainError(f"the graph has more than {MOST_NODES:,} calls of functions")
        given = dict(zip(function.input, node.inputs, strict=False))
        names = {name: given.get(name, "") for name in function.input}
        names |= dict(zip(function.output, node.outputs, strict=False))
        defaults = {attribute.name: attribute for attribute in function.attribute_proto}
        call = _Call(f"{node.name or node.op}/", defaults | node.attributes, depth, self.calls)
        self.add(function.node, opsets_of(function), names, call)


@dataclass
class _Call:
    """A function's call: what its names and attributes stand for."""

    prefix: str = ""
    attributes: dict[str, Message] = field(default_factory=dict)
    depth: int = 0
    number: int = 0

    def named(self, names: dict[str, str], name: str) -> str:
        if not name:
            return ""
        return names.setdefault(name, f"{self.prefix}{name}#{self.number}")

    def attributes_of(self, message: Message) -> dict[str, Message]:
        found = {}
        for attribute in message.attribute:
            other = attribute.ref_attr_name
            if not other:
                found[attribute.name] = attribute
            elif other in self.attributes:
                found[attribute.name] = self.attributes[other]
        return found


def _captured(message: Message) -> list[str]:
    """The names that the graphs of a node read, which may be those of the graph around them."""
    graphs = [attribute.g for attribute in message.attribute if attribute.has("g")]
    return list(dict.fromkeys(name for graph in graphs for name in _read_in(graph)))


def _read_in(graph: Message) -> list[str]:
    names = [output.name for output in graph.output]
    for node in graph.node:
        names += [*node.input, *_captured(node)]
    return names


def nodes_in(graph: Message, opset: int) -> list[GraphNode]:
    """The nodes of a graph in an attribute, under the names they have there."""
    inliner = _Inliner({})
    inliner.add(graph.node, {"": opset}, None, _Call())
    return inliner.made


def branch_of(graph: Message, opsets: dict[str, int], prefix: str) -> list[GraphNode]:
    """The nodes of a graph in an attribute; names that it makes get a prefix."""
    made = {name for node in graph.node for name in node.output if name} | {item.name for item in graph.initializer}
    inliner = _Inliner({})
    names = {name: name for name in _read_in(graph)} | {name: f"{prefix}{name}" for name in made}
    inliner.add(graph.node, opsets, names, _Call())
    return inliner.made


def opsets_of(model: Message) -> dict[str, int]:
    """The version of each domain of operations."""
    return {"" if entry.domain in _OWN else entry.domain: entry.version for entry in model.opset_import}


def nodes_of(model: Message) -> list[GraphNode]:
    """All nodes of a model, its functions written out where they are called. Raises NettrainError for too many."""
    inliner = _Inliner({(function.domain, function.name): function for function in model.functions})
    inliner.add(model.graph.node, opsets_of(model), None, _Call())
    return inliner.made


def needed(nodes: list[GraphNode], outputs: Iterable[str]) -> list[GraphNode]:
    """The nodes that these outputs depend on, in the same order."""
    wanted, kept = set(outputs), []
    for node in reversed(nodes):
        if wanted.intersection(filter(None, node.outputs)):
            kept.append(node)
            wanted.update(node.inputs, node.captured)
    return kept[::-1]
