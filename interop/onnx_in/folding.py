"""Nodes whose inputs are constants, computed while the model is read: mostly shapes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .builder import broadcast
from .converter import Converter, folds, operation, refuse
from .graph import GraphNode, branch_of
from .tensors import to_array

_DTYPES = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float32, 11: np.float64, 16: np.float32}


@operation("Constant")
def constant(net: Converter, node: GraphNode) -> np.ndarray:
    found: np.ndarray
    tensor = node.tensor("value")
    if tensor is not None:
        found = to_array(tensor, net.folder)
    elif node.has("value_float"):
        found = np.array(node.real("value_float"), np.float32)
    elif node.has("value_int"):
        found = np.array(node.integer("value_int"), np.int64)
    elif node.has("value_floats"):
        found = node.floats("value_floats")
    elif node.has("value_ints"):
        found = np.array(node.ints("value_ints"), np.int64)
    else:
        raise refuse("it holds no numbers")
    for name in node.outputs:
        net.fixed[name] = None
    return np.asarray(found)


@operation("Shape")
def shape(net: Converter, node: GraphNode) -> np.ndarray:
    found = net.known(node, 0)
    if found is None:
        raise refuse("its input is missing")
    sizes = found.shape[node.integer("start") : node.integer("end", len(found.shape)) if node.has("end") else None]
    net.fixed[node.outputs[0]] = None
    return np.array(sizes, np.int64)


@operation("Size")
def size(net: Converter, node: GraphNode) -> np.ndarray:
    found = net.known(node, 0)
    if found is None:
        raise refuse("its input is missing")
    net.fixed[node.outputs[0]] = None
    return np.array(math.prod(found.shape), np.int64)


@operation("If")
def branch(net: Converter, node: GraphNode) -> list:
    """The branch that is taken, where that is known: exporters write these about shapes."""
    condition = net.known(node, 0)
    if not isinstance(condition, np.ndarray) or condition.size != 1:
        raise refuse("a spec has no branches that depend on values")
    graph = node.graph("then_branch" if condition.ravel()[0] else "else_branch")
    if graph is None:
        raise refuse("its branch is missing")
    prefix = f"{node.outputs[0]}/"
    for tensor in graph.initializer:
        net.values[f"{prefix}{tensor.name}"] = to_array(tensor, net.folder)
    nodes = branch_of(graph, {"": node.opset}, prefix)
    net.enter(nodes)
    own = {name for inner in nodes for name in inner.outputs} | {f"{prefix}{t.name}" for t in graph.initializer}
    ends = [f"{prefix}{item.name}" if f"{prefix}{item.name}" in own else item.name for item in graph.output]
    return [net.values[name] for name in ends]


def _computed(net: Converter, node: GraphNode, function: Any, inputs: list) -> np.ndarray:
    """A formula of numpy's over inputs that are broadcast."""
    arrays = [_needed(value) for value in inputs]
    net.must_be_made(broadcast(*(array.shape for array in arrays)), max(a.itemsize for a in arrays))
    with np.errstate(all="ignore"):
        result = np.asarray(function(*arrays))
    if node.op not in _COMPARISONS and arrays[0].dtype.kind != "b":
        result = result.astype(arrays[0].dtype, copy=False)
    return result


def _needed(value: np.ndarray | None) -> np.ndarray:
    if value is None:
        raise refuse("an input is missing")
    return value


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if a.dtype.kind in "iu":
        if not b.all():
            raise refuse("it divides by zero")
        return np.trunc(a / b).astype(a.dtype) if (a < 0).any() or (b < 0).any() else a // b
    return a / b


def _remainder(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """With the sign of the divisor, or for floats of the dividend."""
    if a.dtype.kind in "iu" and not b.all():
        raise refuse("it divides by zero")
    return np.mod(a, b) if a.dtype.kind in "iu" else np.fmod(a, b)


_COMPARISONS = ("Equal", "Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Not", "And", "Or")
_FORMULAS: dict[str, Any] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Pow": np.power,
    "Neg": np.negative,
    "Mod": _remainder,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
    "Exp": np.exp,
    "Log": np.log,
    "Abs": np.abs,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Equal": np.equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Not": np.logical_not,
    "And": np.logical_and,
    "Or": np.logical_or,
}


@folds(*_FORMULAS)
def _formula(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    return _computed(net, node, _FORMULAS[node.op], inputs)


@folds("Min", "Max", "Sum")
def _extreme(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    function = {"Min": np.minimum, "Max": np.maximum, "Sum": np.add}[node.op]
    result = _needed(inputs[0])
    for other in inputs[1:]:
        result = _computed(net, node, function, [result, other])
    return result


@folds("Where")
def _where(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    arrays = [_needed(value) for value in inputs]
    net.must_be_made(broadcast(*(array.shape for array in arrays)), 8)
    return np.where(*arrays)


@folds("Cast", "CastLike")
def _cast(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    array = _needed(inputs[0])
    dtype = _DTYPES.get(node.integer("to")) if node.op == "Cast" else _needed(inputs[1]).dtype
    if dtype is None:
        raise refuse("it makes numbers of a type that is not known here")
    return _everywhere(net, array, lambda x: x.astype(dtype, copy=False))


def _everywhere(net: Converter, array: np.ndarray, function: Any) -> np.ndarray:
    """A function of each value; of one that is repeated without end it is computed once."""
    if array.size > 1 and not any(array.strides):
        return np.broadcast_to(function(array[(slice(0, 1),) * array.ndim]), array.shape)
    net.must_be_made(array.shape, array.itemsize)
    with np.errstate(all="ignore"):
        return function(array)


@folds("Identity", "Dropout")
def _identity(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    return _needed(inputs[0])


@folds("ConstantOfShape")
def _constant_of_shape(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    tensor = node.tensor("value")
    value = np.zeros(1, np.float32) if tensor is None else to_array(tensor, None)
    net.fixed[node.outputs[0]] = None
    return np.broadcast_to(value.ravel()[:1], _shape(inputs[0]))


@folds("Expand")
def _expand(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    array = _needed(inputs[0])
    return np.broadcast_to(array, broadcast(array.shape, _shape(inputs[1])))


def _shape(value: np.ndarray | None) -> tuple[int, ...]:
    array = _needed(value)
    if array.ndim != 1 or array.size > 32 or array.dtype.kind not in "iu" or (array < 0).any():
        raise refuse("the shape it is given is none")
    return tuple(int(size) for size in array)


@folds("Range")
def _range(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    start, stop, step = (_needed(value).ravel()[0] for value in inputs)
    if not step:
        raise refuse("its step is zero")
    net.must_be_made([max(0, int(np.ceil((stop - start) / step)))], 8)
    return np.arange(start, stop, step)


@folds("Gather")
def _gather(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    array, places = _needed(inputs[0]), _needed(inputs[1])
    axis = node.integer("axis")
    net.must_be_made((*places.shape, *np.delete(array.shape, axis)), array.itemsize)
    return np.take(array, places.astype(np.int64), axis=axis)


@folds("Concat")
def _concat(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    arrays = [_needed(value) for value in inputs]
    for array in arrays:
        net.must_be_made(array.shape, array.itemsize)
    result = np.concatenate(arrays, node.integer("axis"))
    net.must_be_made(result.shape, result.itemsize)
    return result


@folds("Transpose")
def _transpose(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    return _needed(inputs[0]).transpose(node.ints("perm", None))


@folds("Tile")
def _tile(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    array, times = _needed(inputs[0]), _shape(inputs[1])
    net.must_be_made([size * n for size, n in zip(array.shape, times, strict=True)], array.itemsize)
    return np.tile(array, times)


@folds("ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceMean")
def _reduce(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    array = _needed(inputs[0])
    net.must_be_made(array.shape, array.itemsize)
    axes = net.integers(node, 1, "axes")
    function: Any = {"Prod": np.prod, "Sum": np.sum, "Max": np.max, "Min": np.min, "Mean": np.mean}[node.op[6:]]
    result = function(array, axis=tuple(axes) if axes else None, keepdims=bool(node.integer("keepdims", 1)))
    return np.asarray(result).astype(array.dtype)
