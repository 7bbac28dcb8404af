"""Walks through a graph in its order: each node becomes layers, or a constant, or only another view of a blob.

It is one file since all of it is about one table, what the names of the graph stand for so far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...spec.errors import NettrainError, Place, Problems
from .builder import BATCH, TIME, Builder, Shape, Value, has_batch, plain
from .graph import GraphNode, UnsupportedError, needed
from .messages import Message
from .names import name_of
from .tensors import to_array

Known = np.ndarray | Value
Result = Known | Sequence[Known | None]
Operation = Callable[["Converter", GraphNode], Result]
OPERATIONS: dict[str, Operation] = {}
STEPS = 10  # of sequences of any length, as the spec writes them down
_REASONS = {
    "Loop": "a spec has no loops that depend on values",
    "NonMaxSuppression": "how many boxes it leaves depends on values",
    "NonZero": "the shape of its output depends on values",
    "TopK": "no layer gives the places of the k largest along an axis in ONNX's order",
    "QuantizeLinear": "quantized nets are not trained here; export the net before it was quantized",
    "DequantizeLinear": "quantized nets are not trained here; export the net before it was quantized",
    "ai.onnx.ml.TreeEnsembleClassifier": "trees are not trained by gradients",
    "ai.onnx.ml.TreeEnsembleRegressor": "trees are not trained by gradients",
    "ai.onnx.ml.SVMClassifier": "no layer computes kernels between examples",
    "ai.onnx.ml.SVMRegressor": "no layer computes kernels between examples",
}


def operation(*kinds: str) -> Callable[[Operation], Operation]:
    """Decorator of what makes layers of a node of these kinds."""

    def add(function: Operation) -> Operation:
        OPERATIONS.update(dict.fromkeys(kinds, function))
        return function

    return add


class LostError(UnsupportedError):
    """A node that cannot be converted for reasons that are told already."""


def refuse(words: str) -> UnsupportedError:
    return UnsupportedError(words)


class Converter:
    """The values of a graph's names so far."""

    def __init__(self, nodes: list[GraphNode], outputs: Sequence[str], folder: Path | None, most: int):
        self.nodes, self.outputs, self.folder = nodes, outputs, folder
        self.most = most  # bytes that a constant may have when it is computed
        self.room = float(max(1 << 26, 2 * most))  # bytes that all that are computed may still have
        self.values: dict[str, Known] = {}
        self.lost: set[str] = set()  # names whose node was refused
        self.fixed: dict[str, None] = {}  # constants that are part of the graph, not parameters
        self.written_batch: int | None = None  # the number of examples where the file fixes it
        self.has_inputs = True
        self.inputs: dict[str, str] = {}  # the graph's inputs and their blobs
        self.carried: dict[str, float] = {}  # blobs that are states of the batch before; their values before the first
        self.problems, self.file = Problems(), ""
        self.build = Builder(room=self.room)
        self.parameters: dict[str, Value] = {}
        self.done: set[int] = set()
        self.readers: dict[str, list[GraphNode]] = {}
        self.makers: dict[str, GraphNode] = {}
        self._read_by(nodes)

    def _read_by(self, nodes: list[GraphNode]) -> None:
        for node in nodes:
            for name in dict.fromkeys(filter(None, [*node.inputs, *node.captured])):
                self.readers.setdefault(name, []).append(node)
            for name in node.outputs:
                self.makers.setdefault(name, node)

    def inner(self, nodes: list[GraphNode], outputs: Sequence[str]) -> Converter:
        """One for the body of a loop, with constants as they are here."""
        other = Converter(needed(nodes, outputs), outputs, self.folder, self.most)
        other.written_batch, other.fixed, other.room = self.written_batch, self.fixed, self.room
        return other

    def enter(self, nodes: list[GraphNode]) -> None:
        """Convert the nodes of a branch, as if they stood here. Raises NettrainError for the first that cannot be."""
        self._read_by(nodes)
        for node in nodes:
            if id(node) not in self.done:
                self._convert(node)

    # what a node reads

    def known(self, node: GraphNode, i: int) -> Known | None:
        """Input i of a node; None where it was left out."""
        name = node.inputs[i] if i < len(node.inputs) else ""
        return self.values[name] if name else None

    def value(self, node: GraphNode, i: int = 0) -> Value:
        """Input i as a view of a blob; a constant becomes a Parameter that is not learned."""
        found = self.known(node, i)
        if found is None:
            raise refuse(f"input {i} is missing")
        return found if isinstance(found, Value) else self.as_value(found, node.inputs[i])

    def as_value(self, array: np.ndarray, name: str) -> Value:
        """A constant as a blob."""
        if name not in self.parameters:
            hint = name.rpartition("/")[2] or "constant"
            free = [axis for axis, size in enumerate(array.shape) if has_batch(size)]
            if len(free) == 1 and array.shape[free[0]] == BATCH and not array.strides[free[0]]:
                found = self._for_each_example(array[(slice(None),) * free[0] + (slice(0, 1),)], name, free[0])
                return self.parameters.setdefault(name, found)
            self.must_be_made(array.shape, 4)
            shape = list(array.shape)
            made = self.build.add("Parameter", hint, [], blobs=[array], shape=shape, **self.rates(name, 1))
            self.parameters[name] = plain(made[0], array.shape)
        return self.parameters[name]

    def _for_each_example(self, array: np.ndarray, name: str, axis: int) -> Value:
        """A constant that is repeated for all examples, such as the token of a class: added to zeros, one for each."""
        if not any(stride for stride, size in zip(array.strides, array.shape, strict=True) if size > 1):
            self.fixed[f"{name}/of_one"] = None  # a number that is repeated is no parameter
        one = self.as_value(array, f"{name}/of_one")
        like = next((v for v in (self.values[x] for x in self.inputs) if v.shape[:1] == (BATCH,)), None)
        if not isinstance(like, Value):
            raise refuse("it needs an array with one part for each example")
        if len(like.shape) == 1:
            zeros = self.build.elementwise("Power", "each", like, scale=0)
        else:
            made = self.build.add("Reduction", "each", [self.build.blob(like)], axis=1, coeff=0)
            zeros = plain(made[0], (BATCH,))
        shape = tuple(BATCH if i == axis else 1 for i in range(array.ndim))
        blobs = [one.blob, self.build.blob(zeros.viewed(shape, "each_example"))]
        more: dict[str, Any] = {"broadcast": True}
        made = self.build.add("Eltwise", name.rpartition("/")[2] or "repeated", blobs, **more)
        return plain(made[0], tuple(BATCH if i == axis else n for i, n in enumerate(array.shape)))

    def constant(self, node: GraphNode, i: int, what: str) -> np.ndarray:
        """Input i, which must not depend on the net's inputs."""
        found = self.known(node, i)
        if not isinstance(found, np.ndarray):
            raise refuse(f"{what} {'is missing' if found is None else 'is computed by the net, and not a constant'}")
        return found

    def weights(self, node: GraphNode, i: int, what: str) -> np.ndarray:
        """Input i as floats."""
        array = self.constant(node, i, what)
        self.must_be_made(array.shape, 4)
        if array.dtype.kind not in "fiub":
            raise refuse(f"{what} holds no numbers")
        return array.astype(np.float32, copy=False)

    def integers(self, node: GraphNode, i: int, name: str) -> list[int] | None:
        """A list that newer opsets have as input i and older ones as an attribute; None where it is missing."""
        found = self.known(node, i)
        if found is None:
            return node.ints(name, None)
        array = self.constant(node, i, f"`{name}`")
        if array.dtype.kind not in "iu" or array.size > 64:
            raise refuse(f"`{name}` is no short list of integers")
        return [int(number) for number in array.ravel()]

    def number(self, node: GraphNode, i: int, name: str, default: float) -> float:
        """A number that newer opsets have as input i and older ones as an attribute."""
        found = self.known(node, i)
        if found is None:
            return node.real(name, default)
        array = self.constant(node, i, f"`{name}`")
        if array.size != 1:
            raise refuse(f"`{name}` is no single number")
        return float(array.ravel()[0])

    def must_be_made(self, shape: Sequence[int], size: int) -> None:
        """Raise UnsupportedError for an array that a file of this size has no reason to ask for."""
        count = size
        for length in shape:
            count *= int(length)
        if count > self.most:
            raise refuse(
                "it needs an array with one part for each example"
                if any(has_batch(length) for length in shape)
                else f"it makes an array of {count:,} bytes, many times the size of the file"
            )

    # what a node's neighbours are

    def only_reader(self, name: str) -> GraphNode | None:
        """The one node that reads a name, if there is just one and the name is no output."""
        readers = self.readers.get(name, [])
        return readers[0] if len(readers) == 1 and name not in self.outputs else None

    def maker(self, name: str) -> GraphNode | None:
        return self.makers.get(name)

    def rates(self, name: str, blobs: int) -> dict:
        """``param`` for constants that are not learned: those that are part of the graph and no parameter of it."""
        if name and name not in self.fixed:
            return {}
        rate = {"lr_mult": 0, "decay_mult": 0}
        return {"param": rate if blobs == 1 else [rate] * blobs}

    def name(self, node: GraphNode, *parameters: int) -> str:
        """What the layer of a node is called; ``parameters`` are the inputs that hold its weights."""
        return name_of(node, [node.inputs[i] for i in parameters if i < len(node.inputs)])

    # the walk

    def initialise(self, tensor: Message, problems: Problems, file: str) -> None:
        try:
            self.values[tensor.name] = to_array(tensor, self.folder)
        except NettrainError as error:
            self.lost.add(tensor.name)
            problems.add(Place(f"{file}: tensor `{tensor.name}`"), str(error))

    def input(self, name: str, shape: Shape, whole: bool, batch: int) -> None:
        written = [{BATCH: batch, TIME: STEPS}.get(size, size) for size in shape]
        self.inputs[name] = self.build.add("Input", name, [], shape=written)[0]
        self.values[name] = plain(self.inputs[name], shape, whole)

    def run(self, problems: Problems, file: str) -> None:
        """Convert all nodes; each that cannot be is a problem, and what depends on it is passed over.

        Constants come first, so that a node can tell what those after it do with its output.
        """
        self.problems, self.file = problems, file
        first = [node for node in self.nodes if node.kind == "Constant"]
        for node in [*first, *(node for node in self.nodes if node.kind != "Constant")]:
            if id(node) in self.done:
                continue
            try:
                self._convert(node)
            except LostError:
                self.lost.update(node.outputs)
            except NettrainError as error:
                problems.add(Place(f"{file}: node {node.title()}"), str(error))
                self.lost.update(node.outputs)
            except (ArithmeticError, LookupError, TypeError, ValueError, MemoryError) as error:
                problems.add(
                    Place(f"{file}: node {node.title()}"),
                    f"its inputs and attributes do not fit together ({str(error)[:200] or type(error).__name__})",
                )
                self.lost.update(node.outputs)

    def _convert(self, node: GraphNode) -> None:
        made = OPERATIONS.get(node.kind)
        if made is None and node.kind not in FOLDS:
            why = _REASONS.get(node.kind, "there is nothing here that computes it")
            if node.domain not in ("", "ai.onnx", "ai.onnx.ml"):
                why = f"it is of the domain {node.domain}, of one program alone"
            raise refuse(why)
        if self.lost.intersection(node.inputs):
            self.lost.update(node.outputs)
            return
        for name in node.inputs:
            if name and name not in self.values:
                raise refuse(f"it reads `{name}`, which nothing before it makes")
        result = self._folded(node)
        if result is None and made is None:
            raise refuse("it is computed of the net's inputs; only of constants is it known here")
        if result is None and made is not None:
            result = made(self, node)
        results: list[Known | None]
        results = list(result) if isinstance(result, list) else [result]  # type: ignore[list-item]
        results += [None] * (len(node.outputs) - len(results))
        for name, value in zip(node.outputs, results, strict=False):
            if value is None and (name in self.readers or name in self.outputs):
                raise refuse(f"its output `{name}` is used, and no layer gives it")
            if value is not None and name:
                self.values[name] = value if isinstance(value, Value) else np.asarray(value)
                if not isinstance(value, Value):
                    self._keep_kind(node, name)

    def _keep_kind(self, node: GraphNode, name: str) -> None:
        """A constant made of a parameter, such as its transpose, is a parameter."""
        if all(other in self.fixed for other in node.inputs if other):
            self.fixed[name] = None

    def _folded(self, node: GraphNode) -> Result | None:
        """What a node of constants gives; None for any other."""
        inputs = [self.values[name] if name else None for name in node.inputs]
        fold = FOLDS.get(node.kind)
        if fold is None or any(isinstance(value, Value) for value in inputs) or self._is_all_there_is(node, inputs):
            return None
        result = fold(self, node, inputs)
        for array in result if isinstance(result, list) else [result]:
            if isinstance(array, np.ndarray) and array.base is None:
                self.room -= array.nbytes
        if self.room < 0:
            raise refuse("with it the constants are many times the size of the file")
        return result

    def _is_all_there_is(self, node: GraphNode, inputs: list) -> bool:
        """Whether a node of parameters is part of a net that has no inputs, and computes of parameters alone."""
        return (
            not self.has_inputs
            and node.kind in OPERATIONS
            and any(isinstance(item, np.ndarray) and item.dtype.kind == "f" for item in inputs)
            and any(name and name not in self.fixed for name in node.inputs)
        )


Fold = Callable[[Converter, GraphNode, list], Result]
FOLDS: dict[str, Fold] = {}


def folds(*kinds: str) -> Callable[[Fold], Fold]:
    """Decorator of what computes nodes of these kinds whose inputs are all constants."""

    def add(function: Fold) -> Fold:
        FOLDS.update(dict.fromkeys(kinds, function))
        return function

    return add


def is_all(array: np.ndarray, number: float) -> bool:
    """Whether all values are this one; of one number that is repeated without end it looks at one."""
    seen = array[tuple(slice(0, 1) if stride == 0 else slice(None) for stride in array.strides)]
    return bool((seen == number).all())
