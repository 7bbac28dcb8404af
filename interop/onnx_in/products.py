"""Nodes that are matrix products, and those of scikit-learn's models."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import eltwise
from .builder import Value, broadcast, has_batch, plain
from .converter import Converter, operation, refuse
from .graph import GraphNode
from .names import name_of
from .reductions import reduced


def inner_product(net: Converter, name: str, value: Value, weight: np.ndarray, bias: np.ndarray | None) -> Value:
    """x Wᵀ + b over the last axis; W is M x K."""
    size, rank = weight.shape[1], len(value.shape)
    if rank < 2:
        raise refuse("an input without a batch axis has no InnerProduct")
    if value.shape[-1] != size:
        raise refuse(f"it has weights for {size} inputs, and gets {value.shape[-1]}")
    axis = rank - 1
    blob = None
    if rank == 2 and len(value.base) >= 2 and value.perm[0] == 0 and value.base[0] == value.shape[0]:
        if value.is_permuted:  # the columns move instead of the values
            places = np.arange(size).reshape(value.permuted[1:])
            inverse = np.argsort(value.perm[1:])
            weight = weight[:, places.transpose(inverse).ravel()]
        blob = value.blob
    blobs = [weight] if bias is None else [weight, bias]
    more: dict[str, Any] = {} if axis == 1 else {"axis": axis}
    if bias is None:
        more["bias_term"] = False
    made = net.build.add(
        "InnerProduct", name, [blob or net.build.blob(value)], blobs=blobs, num_output=weight.shape[0], **more
    )
    return plain(made[0], (*value.shape[:-1], weight.shape[0]))


@operation("Gemm")
def gemm(net: Converter, node: GraphNode) -> Value:
    """alpha A B + beta C, where B and C are constants."""
    value = net.value(node)
    alpha, beta = node.real("alpha", 1.0), node.real("beta", 1.0)
    if node.integer("transA"):
        value = net.build.permute(value, (1, 0), net.name(node))
    if len(value.shape) != 2:
        raise refuse("its first input is no matrix")
    if isinstance(net.known(node, 1), Value):
        return _product_of_blobs(net, node, value, alpha, beta)
    weight = net.weights(node, 1, "the weight")
    if weight.ndim != 2:
        raise refuse("its weight is no matrix")
    weight = weight if node.integer("transB") else weight.T
    bias = None
    if net.known(node, 2) is not None and beta:
        given = net.weights(node, 2, "the bias")
        if given.size not in (1, weight.shape[0]) or (given.ndim and given.shape[-1] not in (1, weight.shape[0])):
            raise refuse("its bias is not one for each output")
        bias = np.broadcast_to(given.ravel() * np.float32(beta), (weight.shape[0],))
    if alpha != 1:
        weight = weight * np.float32(alpha)
    return inner_product(net, net.name(node, 1, 2), value, weight, bias)


def _product_of_blobs(net: Converter, node: GraphNode, a: Value, alpha: float, beta: float) -> Value:
    if net.known(node, 2) is not None or alpha != 1 or beta != 1:
        raise refuse("it adds to a product of two computed matrices")
    b = net.value(node, 1)
    return _mat_mul(
        net, net.name(node), a, net.build.permute(b, (1, 0), net.name(node)) if node.integer("transB") else b
    )


@operation("MatMul")
def mat_mul(net: Converter, node: GraphNode) -> Value:
    b = net.known(node, 1)
    a = net.value(node, 0)
    if isinstance(b, np.ndarray) and b.ndim == 2 and len(a.shape) > 1:
        weight = net.weights(node, 1, "the weight")
        bias, last = _bias_after(net, node, weight.shape[1])
        parameters = [node.inputs[1], *last.inputs]
        if weight.ndim != 2:
            raise refuse("its weight is no matrix")
        found = inner_product(net, name_of(node, parameters), a, weight.T, bias)
        if last is not node:
            net.values[last.outputs[0]] = found
            net.done.add(id(last))
        return found
    return _mat_mul(net, net.name(node), a, net.value(node, 1))


def _mat_mul(net: Converter, name: str, a: Value, b: Value) -> Value:
    if len(a.shape) < 2 or len(b.shape) < 2:
        raise refuse("one of its inputs is a vector")
    shape = (*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])
    if a.shape[-1] != b.shape[-2]:
        raise refuse("the sizes of its inputs do not fit")
    (a, turned_a), (b, turned_b) = _turned(a), _turned(b)
    more: dict[str, Any] = ({"transpose_a": True} if turned_a else {}) | ({"transpose_b": True} if turned_b else {})
    made = net.build.add("MatMul", name, [net.build.blob(a), net.build.blob(b)], **more)
    return plain(made[0], shape)


def _turned(value: Value) -> tuple[Value, bool]:
    """The value with its last two axes exchanged, and true, where that spares a Permute."""
    rank = len(value.perm)
    swapped = (*range(rank - 2), rank - 1, rank - 2)
    if value.is_reshaped or value.perm != swapped:
        return value, False
    return plain(value.blob, value.base), True


def _bias_after(net: Converter, node: GraphNode, size: int) -> tuple[np.ndarray | None, GraphNode]:
    """The constant that an Add puts onto this node's product, and the Add; else the node itself."""
    plus = net.only_reader(node.outputs[0])
    if plus is None or plus.op != "Add" or len(plus.inputs) != 2:
        return None, node
    array = net.values.get(next((name for name in plus.inputs if name != node.outputs[0]), ""))
    if not isinstance(array, np.ndarray) or array.size != size or not array.ndim or array.shape[-1] != size:
        return None, node
    if array.dtype.kind != "f":
        return None, node
    return array.astype(np.float32).ravel(), plus


# scikit-learn's models.


@operation("ai.onnx.ml.Scaler")
def scaler(net: Converter, node: GraphNode) -> Value:
    """(x - offset) · scale; fixed, since it was found by counting."""
    value, name = _rows(net, node), net.name(node)
    size = value.shape[-1]
    offset, scale = node.floats("offset"), node.floats("scale")
    if offset.size not in (1, size) or scale.size not in (1, size) or has_batch(size):
        raise refuse(f"it has {offset.size} offsets and {scale.size} factors for {size} columns")
    scale = np.broadcast_to(scale, (size,))
    blobs = [scale, -offset * scale]
    rate = {"lr_mult": 0, "decay_mult": 0}
    return net.build.elementwise("Scale", name, value, blobs=blobs, bias_term=True, param=[rate, rate])


def _rows(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    if len(value.shape) != 2:
        raise refuse("its input is no table")
    return net.build.flat(value)


@operation("ai.onnx.ml.LinearClassifier")
def linear_classifier(net: Converter, node: GraphNode) -> list[Value | None]:
    """Its first output, the names of the classes, is no number."""
    value = _rows(net, node)
    labels = len(node.texts("classlabels_strings")) or len(node.ints("classlabels_ints") or ())
    weight, bias = _coefficients(node, value.shape[1])
    name = net.name(node)
    if len(weight) != labels:
        raise refuse(f"it has {len(weight)} scores for {labels} classes")
    scores = _transformed(net, node, name, inner_product(net, name, value, weight, bias))
    return [None, scores]


@operation("ai.onnx.ml.LinearRegressor")
def linear_regressor(net: Converter, node: GraphNode) -> Value:
    value = _rows(net, node)
    weight, bias = _coefficients(node, value.shape[1])
    if len(weight) != node.integer("targets", 1):
        raise refuse("its coefficients are not those of its targets")
    name = net.name(node)
    return _transformed(net, node, name, inner_product(net, name, value, weight, bias))


def _coefficients(node: GraphNode, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    weight, bias = node.floats("coefficients"), node.floats("intercepts")
    if not weight.size or weight.size % size:
        raise refuse(f"its {weight.size} coefficients are not those of {size} columns")
    weight = weight.reshape(-1, size)
    if bias.size not in (0, len(weight)):
        raise refuse(f"it has {bias.size} intercepts for {len(weight)} scores")
    return weight, bias if bias.size else None


def _transformed(net: Converter, node: GraphNode, name: str, scores: Value) -> Value:
    after = node.text("post_transform", "NONE")
    kinds = {"NONE": "", "SOFTMAX": "Softmax", "LOGISTIC": "Sigmoid"}
    if after not in kinds:
        raise refuse(f"its post_transform {after} is that of no layer")
    return net.build.elementwise(kinds[after], f"{name}_{kinds[after].lower()}", scores) if kinds[after] else scores


@operation("ai.onnx.ml.Normalizer", "LpNormalization")
def normalizer(net: Converter, node: GraphNode) -> Value:
    """Rows divided by the sum of their absolute values, or by their length."""
    value, name = net.value(node), net.name(node)
    if node.op == "Normalizer":
        norm, axis = node.text("norm", "MAX"), len(value.shape) - 1
    else:
        norm, axis = f"L{node.integer('p', 2)}", value.axis(node.integer("axis", -1))
    if norm not in ("L1", "L2"):
        raise refuse(f"no layer divides by the norm {norm}")
    if norm == "L1" and net.build.sums_to_one(value, axis):
        return value
    size = reduced(net, f"{name}_size", value, [axis], "L1" if norm == "L1" else "SumSquare")
    below = net.build.elementwise("Power", f"{name}_below", size, power=-1 if norm == "L1" else -0.5)
    return eltwise(net, name, [value, below], "PROD")
