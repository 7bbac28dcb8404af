"""A model's file, whole: which outputs are wanted, what the inputs' sizes are, and the spec that comes of it."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from ...files import wire
from ...spec.errors import NettrainError, Place, Problems, SpecError
from ...spec.node import Node
from .builder import BATCH, TIME, Layer, Value, entries
from .converter import STEPS, Converter
from .graph import GraphNode, needed, nodes_of, opsets_of
from .messages import Message, read_model
from .metadata import carried, preparation, said_in
from .sharing import share
from .tensors import FLOATS, read_file

OLDEST = 7  # opset: before it, operations broadcast in ways of their own
_WHOLE = frozenset((2, 3, 4, 5, 6, 7, 9, 12, 13))  # types of tensors without fractions


@dataclass
class Read:
    """A model of ONNX's as a spec."""

    root: Node  # the whole spec: name and layers
    arrays: dict[str, np.ndarray]  # param/LAYER/INDEX
    notes: list[str] = field(default_factory=list)  # what is other than in the file, or left out
    outputs: dict[str, str] = field(default_factory=dict)  # the graph's outputs, and the blobs that hold them
    head: list[str] = field(default_factory=list)  # of the notes, what whoever reads the spec should see


def read(path: Path, name: str, *, batch: int = 1, sizes: Mapping[str, int] | None = None) -> Read:
    """The spec and the parameters of an ONNX model.

    ``name`` is what messages call the file. ``batch`` is the number of examples of its inputs, where the file leaves it
    open; ``sizes`` gives other axes that it has only names for. Raises SpecError with every node that no layer can
    stand for, and NettrainError for a file that is no model.
    """
    _find_operations()
    raw = read_file(path)
    try:
        model = read_model(raw)
    except wire.WireError as error:
        raise NettrainError(f"{name} is damaged or not an ONNX model: {error}") from None
    if not model.has("graph") or not model.graph.node:
        raise NettrainError(f"{name} is damaged or not an ONNX model: there is no graph in it")
    opset = opsets_of(model).get("", 0)
    if 0 < opset < OLDEST:
        raise NettrainError(f"{name} is of opset {opset}; models of opset {OLDEST} and newer are read")
    if model.graph.sparse_initializer:
        raise NettrainError(f"{name} has sparse tensors, which are not read")
    try:
        nodes = nodes_of(model)
    except NettrainError as error:
        raise NettrainError(f"{name}: {error}") from None
    attempts = [_Attempt(model, nodes, path, name, batch, sizes or {}, len(raw), is_open) for is_open in (True, False)]
    try:
        return attempts[0].read()
    except SpecError as error:
        if not attempts[0].was_fixed:
            raise
        try:  # the number of examples is part of the graph
            found = attempts[1].read()
        except SpecError:
            raise error from None
        found.notes.append("the file is for one number of examples, and so is the net")
        return found


@cache
def _find_operations() -> None:
    """Import the files beside this one: what nodes become is registered by those that know."""
    for module in pkgutil.iter_modules([str(Path(__file__).parent)], f"{__package__}."):
        importlib.import_module(module.name)


@dataclass
class _Attempt:
    """One way to read a model: with any number of examples, or with that of the file."""

    model: Message
    nodes: list[GraphNode]
    path: Path
    name: str
    batch: int
    sizes: Mapping[str, int]
    bytes: int
    is_open: bool
    was_fixed: bool = False

    def __post_init__(self) -> None:
        self.said = said_in(self.model)
        self.carried = carried(self.model, self.said)

    def read(self) -> Read:
        graph, problems = self.model.graph, Problems()
        notes: list[str] = []
        outputs = self._outputs(notes)
        nodes = needed(self.nodes, outputs)
        net = Converter(nodes, outputs, self.path.parent, max(1 << 20, 4 * self.bytes))
        used = {name for node in nodes for name in (*node.inputs, *node.captured)} | set(outputs)
        for tensor in graph.initializer:
            if tensor.name in used:
                net.initialise(tensor, problems, self.name)
        batch = self._inputs(net, used, problems)
        net.run(problems, self.name)
        problems.raise_if_any()
        build = net.build
        found = {}
        for output in outputs:
            value = net.values.get(output)
            if isinstance(value, np.ndarray) and not net.has_inputs:
                value = net.as_value(value, output)
            if isinstance(value, Value):
                found[output] = build.blob(value)
            else:
                problems.add(Place(f"{self.name}: output `{output}`"), "it does not depend on the net's inputs")
        problems.raise_if_any()
        layers, blobs = build.needed(found.values())
        share(layers)
        found = {output: blobs[blob] for output, blob in found.items()}
        arrays = {f"param/{layer.name}/{i}": array for layer in layers for i, array in enumerate(layer.blobs)}
        self._describe(notes, net, layers, batch)
        spec = {"name": _title(graph.name) or self.path.stem, "layers": entries(layers)}
        root = Node.plain(spec, Place(self.name, 0), in_one_place=True)
        inputs = {name: blobs[blob] for name, blob in net.inputs.items() if blob in blobs}
        head = list(preparation(self.said, inputs))
        return Read(root, arrays, [*notes, *build.notes, *head], found, head)

    def _outputs(self, notes: list[str]) -> list[str]:
        """The outputs that are numbers; the labels that classifiers give beside them are left out."""
        every = [output.name for output in self.model.graph.output]
        kept = [output.name for output in self.model.graph.output if _type(output) in FLOATS or _is_map(output)]
        made = {name for node in self.nodes for name in node.outputs}
        kept = [name for name in kept or every if name in made]
        kept = [name for name in kept if name not in self.carried.values()] or kept
        if not kept:
            raise NettrainError(f"{self.name} has no output that a node computes")
        for name in every:
            if name not in kept:
                notes.append(f"the output `{name}` is left out: it holds labels, which the others imply")
        return kept

    def _inputs(self, net: Converter, used: set[str], problems: Problems) -> int:
        """Make the Input layers; the number of examples."""
        inputs = [
            item for item in self.model.graph.input if item.name in used and item.name not in net.values
        ]  # older files list parameters too
        dims = {item.name: _dims(item) for item in inputs}
        every = [size for sizes in dims.values() for size in sizes or [] if isinstance(size, str)]
        open_names = [size for size in every if _BATCH_NAMES.fullmatch(size)]  # such as the second of T x N
        if not open_names:
            open_names = [sizes[0] for sizes in dims.values() if sizes and isinstance(sizes[0], str)] or every[:1]
        fixed = [sizes[0] for sizes in dims.values() if sizes and isinstance(sizes[0], int)]
        self.was_fixed = not open_names and bool(fixed)
        lengths = [size for size in self._lengths(dims) if size not in self.sizes and size not in open_names][:1]
        net.has_inputs = any(item.name not in net.values for item in self.model.graph.input)
        batch = fixed[0] if self.was_fixed else self.batch
        if self.was_fixed and self.is_open:
            net.written_batch = batch
        for name, sizes in dims.items():
            if sizes is None:
                problems.add(Place(f"{self.name}: input `{name}`"), "the file does not say what its shape is")
                net.lost.add(name)
                continue
            shape = []
            for i, size in enumerate(sizes):
                if isinstance(size, int):
                    is_batch = self.was_fixed and self.is_open and i == 0 and size == batch
                    shape.append(BATCH if is_batch else size)
                elif size in open_names and (size or i == 0):
                    shape.append(BATCH)
                elif size in self.sizes:
                    shape.append(self.sizes[size])
                elif size in lengths and i < 2:
                    shape.append(TIME)
                else:
                    problems.add(
                        Place(f"{self.name}: input `{name}`"),
                        f"axis {i}{f', `{size}`,' if size else ''} has no size; export the model with a fixed one",
                    )
                    net.lost.add(name)
                    break
            else:
                whole = next((_type(item) in _WHOLE for item in inputs if item.name == name), False)
                net.input(name, tuple(shape), whole, batch)
                if name in self.carried:
                    net.carried[net.inputs[name]] = float(self.said[f"{name}.first"])
        return batch

    def _lengths(self, dims: Mapping[str, list[int | str] | None]) -> list[str]:
        """Names for the number of steps, where the graph has nodes that take any: one of the first two axes has it."""
        if not any(node.op in ("LSTM", "GRU", "RNN", "Scan") for node in self.nodes):
            return []
        first = [size for sizes in dims.values() for size in (sizes or [])[:2]]
        return list(dict.fromkeys(size for size in first if isinstance(size, str) and size))

    def _describe(self, notes: list[str], net: Converter, layers: list[Layer], batch: int) -> None:
        inputs = {layer.name for layer in layers if layer.type == "Input"}
        for layer in layers:
            if layer.type == "Permute" and layer.bottoms[0] in inputs and len(layer.parameters["order"]) > 3:
                name = layer.bottoms[0]
                notes.append(
                    f"the input `{name}` has its channels last, as in the file; `{layer.name}` brings them forward"
                )
        if TIME in {size for value in net.values.values() if isinstance(value, Value) for size in value.shape}:
            notes.append(f"sequences may be of any length; {STEPS} steps are written down in the shape of the Input")
        if self.was_fixed and self.is_open and batch != self.batch:
            notes.append(f"the file is made for batches of {batch}; the net takes any: change the shape of its Input")


_BATCH_NAMES = re.compile(r"n|bs?|.*batch.*", re.IGNORECASE)


def _type(item: Message) -> int:
    return item.type.tensor_type.elem_type if item.has("type") and item.type.has("tensor_type") else 0


def _is_map(item: Message) -> bool:
    return item.has("type") and item.type.has("sequence_type")


def _dims(item: Message) -> list[int | str] | None:
    """The sizes of an input, names where they are open; None where the file does not say."""
    if not item.has("type") or not item.type.has("tensor_type") or not item.type.tensor_type.has("shape"):
        return None
    dims = item.type.tensor_type.shape.dim
    if len(dims) > 32:
        return None
    return [dim.dim_value if 0 < dim.dim_value < 1 << 30 else dim.dim_param for dim in dims]


def _title(name: str) -> str:
    return name if re.fullmatch(r"[\w.\-]{1,60}", name) and name not in ("main_graph", "tf2onnx") else ""
