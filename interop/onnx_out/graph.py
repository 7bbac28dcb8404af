"""A graph of ONNX while it is being built: nodes over tensors, which get their names when all of them are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...files.extras import extra
from .sizes import Dim

HEAVY = 1 << 16  # bytes of a parameter that need not be looked at to know the shapes of edges


def library() -> Any:
    """The module ``onnx``. Raises MissingExtraError."""
    return extra("onnx", "onnx", "writing an ONNX file")


class Tensor:
    """A value of the graph. ``array`` holds it where it is known: then it becomes an initializer.

    ``hint`` is the name it gets if nobody else has it; ``exact`` says that it must be this one.
    """

    def __init__(self, hint: str, array: np.ndarray | None = None, exact: bool = False):
        self.hint, self.array, self.exact = hint, array, exact
        self.dims: tuple[Dim, ...] | None = None  # where it is a blob


@dataclass
class Node:
    """One operation. A missing optional input is None; a ``Graph`` among the attributes is a body."""

    kind: str
    name: str
    inputs: list[Tensor | None]
    outputs: list[Tensor]
    attributes: dict[str, Any] = field(default_factory=dict)


class Graph:
    """Nodes in the order they run, over ``inputs`` and initializers, for ``outputs``. A body has an ``outer`` graph.

    Parameters become initializers of the outermost graph, each array once, however many layers share it.
    """

    def __init__(self, name: str, outer: Graph | None = None):
        self.name, self.outer = name, outer
        self.nodes: list[Node] = []
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.constants: list[Tensor] = []
        self._parameters: dict[Any, Tensor] = {}

    @property
    def outermost(self) -> Graph:
        return self.outer.outermost if self.outer else self

    def add(
        self, kind: str, name: str, inputs: Iterable[Tensor | None], outputs: int = 1, **attributes: Any
    ) -> list[Tensor]:
        """A node with new tensors as its outputs."""
        made = [Tensor(f"{name}/{i}" if i else name) for i in range(outputs)]
        self.nodes.append(Node(kind, name, list(inputs), made, attributes))
        return list(made)

    def constant(self, name: str, array: np.ndarray) -> Tensor:
        """A value that is no parameter."""
        tensor = Tensor(name, np.asarray(array))
        self.constants.append(tensor)
        return tensor

    def parameter(self, name: str, key: Any, array: np.ndarray) -> Tensor:
        """A parameter, of which ``key`` says whether it has been used already."""
        graph = self.outermost
        if key not in graph._parameters:
            graph._parameters[key] = graph.constant(name, np.asarray(array, np.float32, order="C"))
        return graph._parameters[key]

    def walk(self) -> Iterator[Graph]:
        """This graph and its bodies, outermost first."""
        yield self
        for node in self.nodes:
            for value in node.attributes.values():
                if isinstance(value, Graph):
                    yield from value.walk()

    def keep_what_is_needed(self) -> None:
        """Drop nodes whose outputs nobody reads, and constants; inputs stay."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if needed.isdisjoint(node.outputs):
                continue
            kept.append(node)
            needed.update(tensor for tensor in node.inputs if tensor)
            for body in (value for value in node.attributes.values() if isinstance(value, Graph)):
                body.keep_what_is_needed()
                needed.update(body.reads())
        self.nodes = kept[::-1]
        self.constants = [tensor for tensor in self.constants if tensor in needed]

    def reads(self) -> set[Tensor]:
        """Every tensor that something reads, here or in a body."""
        found = set(self.outputs)
        for graph in self.walk():
            found.update(graph.outputs)
            found.update(tensor for node in graph.nodes for tensor in node.inputs if tensor)
        return found

    # Into protocol buffers

    def heavy(self) -> dict[Tensor, np.ndarray]:
        """Large parameters, with their values."""
        known = {tensor: tensor.array for tensor in self.constants if tensor.array is not None}
        return {tensor: array for tensor, array in known.items() if array.nbytes > HEAVY}

    def proto(self, names: dict[Tensor, str], light: bool = False) -> Any:
        """The GraphProto, with these names of tensors. ``light``: large parameters are inputs instead."""
        helper, numpy_helper = library().helper, library().numpy_helper
        heavy = self.heavy() if light else {}

        def value(tensor: Tensor) -> Any:
            dims = [dim.size if dim.size is not None else dim.symbol for dim in tensor.dims or ()]
            return helper.make_tensor_value_info(names[tensor], 1, dims)

        nodes = []
        for node in self.nodes:
            given = {
                key: what.proto(names) if isinstance(what, Graph) else what for key, what in node.attributes.items()
            }
            inputs = [names[tensor] if tensor else "" for tensor in node.inputs]
            nodes.append(
                helper.make_node(node.kind, inputs, [names[tensor] for tensor in node.outputs], node.name, **given)
            )
        ends = {*self.inputs, *self.outputs}
        between = [t for node in self.nodes for t in node.outputs if t.dims is not None and t not in ends]
        return helper.make_graph(
            nodes,
            self.name,
            [
                *(value(tensor) for tensor in self.inputs),
                *(helper.make_tensor_value_info(names[tensor], 1, array.shape) for tensor, array in heavy.items()),
            ],
            [value(tensor) for tensor in self.outputs],
            [numpy_helper.from_array(tensor.array, names[tensor]) for tensor in self.constants if tensor not in heavy],
            value_info=[value(tensor) for tensor in between],
        )


def name_all(graph: Graph) -> dict[Tensor, str]:
    """A name for every tensor, different from all others, those of bodies included; and for nodes too."""
    tensors: dict[Tensor, None] = {}
    for part in graph.walk():
        made = [tensor for node in part.nodes for tensor in node.outputs]
        tensors.update(dict.fromkeys([*part.inputs, *part.outputs, *part.constants, *made]))
    names: dict[Tensor, str] = {}
    taken: set[str] = set()
    # inputs and blobs have the names that people know, whatever else would like them
    for tensor in sorted(tensors, key=lambda tensor: not tensor.exact):
        names[tensor] = unused(tensor.hint, taken)
    taken = set()
    for part in graph.walk():
        for node in part.nodes:
            node.name = unused(node.name, taken)
    return names


def unused(name: str, taken: set[str]) -> str:
    """The name, or the first of name_2, name_3 … that is not taken; it is then."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name}_{count}"
    taken.add(free)
    return free
