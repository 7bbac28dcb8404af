"""Nodes that work along axes: sums, means, maxima, softmax."""

from __future__ import annotations

import math
from typing import Any

from .builder import Value, has_batch, plain
from .converter import Converter, operation, refuse
from .graph import GraphNode
from .shapes import in_words


@operation("ReduceMean", "ReduceSum", "ReduceMax", "ReduceSumSquare", "ReduceL1", "ReduceL2")
def reduce(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    axes = net.integers(node, 1, "axes")
    if not axes and node.integer("noop_with_empty_axes"):
        return value
    wanted = sorted({value.axis(axis) for axis in axes} if axes else range(len(value.shape)))
    found = reduced(net, net.name(node), value, wanted, node.op.removeprefix("Reduce"))
    if not node.integer("keepdims", 1):
        found = found.viewed([n for i, n in enumerate(found.shape) if i not in wanted], net.name(node))
    return found


_REDUCTIONS = {"Mean": "MEAN", "Sum": "SUM", "SumSquare": "SUMSQ", "L1": "ASUM", "L2": "SUMSQ"}


def reduced(net: Converter, name: str, value: Value, axes: list[int], what: str) -> Value:
    """A sum, a mean or a maximum over axes, which become of size 1."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(value.shape))
    if not value.is_reshaped:  # the axes as the blob has them
        here = sorted(value.perm[axis] for axis in axes)
        shape = tuple(1 if i in here else n for i, n in enumerate(value.base))
        found = _reduced(net, name, plain(value.blob, value.base), here, what)
        inner = found.viewed(shape, name)
        return net.build.permute(inner, value.perm, name) if value.is_permuted else inner
    return _reduced(net, name, net.build.flat(value), axes, what).viewed(kept, name)


def _reduced(net: Converter, name: str, value: Value, axes: list[int], what: str) -> Value:
    rank = len(value.shape)
    pool: dict[str, Any] = {} if what == "Max" else {"pool": "AVE"}
    if what in ("Mean", "Max") and axes == [2, 3] and rank == 4:
        return plain(
            net.build.add("Pooling", name, [value.blob], **pool, global_pooling=True)[0], (*value.shape[:2], 1, 1)
        )
    if axes != list(range(axes[0], axes[-1] + 1)):
        raise refuse(f"the axes {axes} do not follow each other")
    if what in _REDUCTIONS and axes[-1] == rank - 1:
        made = net.build.add("Reduction", name, [value.blob], operation=_REDUCTIONS[what], axis=axes[0])
        found = plain(made[0], value.shape[: axes[0]])
        return net.build.elementwise("Power", f"{name}_root", found, power=0.5) if what == "L2" else found
    if what not in ("Mean", "Max", "Sum"):
        raise refuse("it adds up over axes that are not the last ones")
    # One window over the axes, which a blob of four axes has as its third
    before, count, after = (
        math.prod(value.shape[: axes[0]]),
        math.prod(value.shape[axis] for axis in axes),
        math.prod(value.shape[axes[-1] + 1 :]),
    )
    if has_batch(count):
        raise refuse("it computes something of all examples together")
    lead = value.shape[0] if axes[0] else 1
    image = net.build.blob(value.viewed((lead, before // lead, count, after), f"{name}_rows"))
    made = net.build.add("Pooling", name, [image], **pool, kernel_h=count, kernel_w=1, stride=1)
    found = plain(made[0], (lead, before // lead, 1, after))
    return net.build.elementwise("Power", f"{name}_sum", found, scale=count) if what == "Sum" else found


@operation("GlobalAveragePool", "GlobalMaxPool")
def global_pool(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    if len(value.shape) < 3:
        raise refuse(f"it pools {in_words(value.shape)}, which has no axes after the channels")
    what = "Mean" if node.op == "GlobalAveragePool" else "Max"
    if len(value.shape) == 4:
        return reduced(net, net.name(node), value, [2, 3], what)
    kept = (*value.shape[:2], *[1] * (len(value.shape) - 2))
    flat = net.build.flat(value).viewed((*value.shape[:2], 1, math.prod(value.shape[2:])), net.name(node))
    return reduced(net, net.name(node), flat, [2, 3], what).viewed(kept, net.name(node))


@operation("ArgMax")
def arg_max(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    axis = value.axis(node.integer("axis"))
    if not node.integer("select_last_index"):
        net.build.note("ArgMax takes the last of equal values here, the first in ONNX")
    inner, at = net.build.unpermuted(value, axis)
    base = list(inner.base)
    base[at] = 1
    found = net.build.repermuted(value, net.build.add("ArgMax", net.name(node), [inner.blob], axis=at)[0], base)
    found = Value(found.blob, found.base, found.perm, found.shape, net.name(node), whole=True)
    if not node.integer("keepdims", 1):
        found = found.viewed([n for i, n in enumerate(found.shape) if i != axis], net.name(node))
    return found


@operation("Softmax", "LogSoftmax")
def softmax(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    rank = len(value.shape)
    if node.opset and node.opset < 13:  # over all axes from this one on
        axis = value.axis(node.integer("axis", 1))
        if axis < rank - 1 and math.prod(value.shape[axis + 1 :]) != 1:
            flat = value.viewed((*value.shape[:axis], math.prod(value.shape[axis:])), net.name(node))
            inner = net.build.flat(flat)
            return _softmax(net, node, inner, axis).viewed(value.shape)
    else:
        axis = value.axis(node.integer("axis", -1))
    inner, at = net.build.unpermuted(value, axis)
    made = _softmax(net, node, inner, at)
    return net.build.repermuted(value, made.blob, inner.base)


def _softmax(net: Converter, node: GraphNode, inner: Value, axis: int) -> Value:
    more: dict[str, Any] = {} if axis == 1 else {"axis": axis}
    return net.build.elementwise(node.op, net.name(node), inner, **more)
