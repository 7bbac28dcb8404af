"""Nodes that move values: reshapes, transposes, parts, sums over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .builder import BATCH, TIME, Shape, Value, broadcast, has_batch
from .converter import Converter, Known, folds, operation, refuse
from .graph import GraphNode

# Nothing but another name.


@operation("Identity", "Dropout", "ai.onnx.ml.ZipMap", "com.microsoft.Identity")
def identity(net: Converter, node: GraphNode) -> Value:
    """Dropout does nothing once a net is trained; ZipMap names the columns."""
    if node.op == "Dropout":
        net.build.note("Dropout is left out: exported nets no longer have their ratios")
    return net.value(node)


@operation("Cast", "CastLike")
def cast(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    if node.op == "Cast" and node.integer("to") not in (1, 10, 11, 16) and not value.whole:
        readers = net.readers.get(node.outputs[0], [])
        if not readers or any(reader.op != "Gather" for reader in readers) or node.outputs[0] in net.outputs:
            raise refuse("it cuts numbers off to integers")
    return value


# New shapes.


def _resolved(net: Converter, shape: Shape, target: Sequence[int], copy_zero: bool) -> Shape:
    """The shape that Reshape's input asks for. Raises UnsupportedError where the values do not fit."""
    target = list(target)
    if net.written_batch is not None and shape and shape[0] == BATCH and target and target[0] == net.written_batch:
        target[0] = BATCH
    for i, size in enumerate(target):
        if size == 0 and copy_zero:
            if i >= len(shape):
                raise refuse(f"it copies axis {i} of {len(shape)}")
            target[i] = shape[i]
    total = math.prod(shape)
    if target.count(-1) == 1:
        rest = math.prod(size for size in target if size != -1)
        if not rest or total % rest:
            raise refuse(f"{list(target)} does not hold the values of {in_words(shape)}")
        target[target.index(-1)] = total // rest
    if any(size < 0 for size in target) or math.prod(target) != total:
        raise refuse(f"{in_words(target)} does not hold the values of {in_words(shape)}")
    return tuple(target)


def in_words(shape: Sequence[int]) -> str:
    return " x ".join({BATCH: "N", TIME: "T"}.get(size, str(size)) for size in shape) or "a number"


def _reshaped(net: Converter, node: GraphNode, known: Known) -> Shape:
    if node.op == "Flatten":
        axis = node.integer("axis", 1)
        rank = len(known.shape)
        if not -rank <= axis <= rank:
            raise refuse(f"it names axis {axis} of {rank}")
        axis = axis + rank if axis < 0 else axis
        return (math.prod(known.shape[:axis]), math.prod(known.shape[axis:]))
    if node.op == "Reshape":
        target = net.integers(node, 1, "shape")
        if target is None:
            raise refuse("the new shape is missing")
        return _resolved(net, tuple(known.shape), target, not node.integer("allowzero"))
    axes = net.integers(node, 1, "axes")
    shape = list(known.shape)
    rank = len(shape)
    if node.op == "Squeeze":
        if axes is None:
            return tuple(size for size in shape if size != 1)
        gone = {axis % rank for axis in axes if -rank <= axis < rank}
        if len(gone) != len(axes) or any(shape[axis] != 1 for axis in gone):
            raise refuse(f"axes {axes} of {in_words(shape)} are not all of size 1")
        return tuple(size for i, size in enumerate(shape) if i not in gone)
    rank += len(axes or ())
    new = {axis % rank for axis in axes or () if -rank <= axis < rank}
    if len(new) != len(axes or ()):
        raise refuse(f"axes {axes} are not those of {rank}")
    left = iter(shape)
    return tuple(1 if i in new else next(left) for i in range(rank))


@operation("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    return value.viewed(_reshaped(net, node, value), net.name(node))


@folds("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def _fold_reshape(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    array = inputs[0]
    shape = _reshaped(net, node, array)
    if array.size > 1 and not any(array.strides):
        return np.broadcast_to(array[(slice(0, 1),) * array.ndim].ravel(), shape)
    return array.reshape(shape)


@operation("Transpose")
def transpose(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    order = node.ints("perm", range(len(value.shape))[::-1])
    name = net.name(node)
    return net.build.permute(value, order or (), name if "transpose" in name.casefold() else f"{name}_order")


@operation("DepthToSpace", "SpaceToDepth")
def depth_to_space(net: Converter, node: GraphNode) -> Value:
    """Blocks of b x b pixels from channels, or channels from them, as PyTorch's PixelShuffle (CRD) or channels last."""
    value, b, name = net.value(node), node.integer("blocksize"), net.name(node)
    if len(value.shape) != 4 or any(has_batch(size) for size in value.shape[1:]):
        raise refuse("it works on images")
    n, c, h, w = value.shape
    if node.op == "SpaceToDepth":
        if b < 1 or h % b or w % b:
            raise refuse(f"it cuts {h} x {w} pixels into blocks of {b}")
        cut, order, shape = (n, c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4), (n, c * b * b, h // b, w // b)
    else:
        if b < 1 or c % (b * b):
            raise refuse(f"it makes blocks of {b} x {b} pixels of {c} channels")
        c //= b * b
        by_channel = node.text("mode", "DCR") == "CRD"
        cut = (n, c, b, b, h, w) if by_channel else (n, b, b, c, h, w)
        order, shape = (0, 1, 4, 2, 5, 3) if by_channel else (0, 3, 4, 1, 5, 2), (n, c, h * b, w * b)
    return net.build.permute(value.viewed(cut, f"{name}_blocks"), order, name).viewed(shape, name)


@operation("Expand")
def expand(net: Converter, node: GraphNode) -> Value:
    value, target = net.value(node), net.integers(node, 1, "shape") or []
    shape = broadcast(value.shape, tuple(target))
    value = value.viewed((1,) * (len(shape) - len(value.shape)) + value.shape)
    for axis, n in enumerate(shape):
        if value.shape[axis] != n:
            if has_batch(n):
                raise refuse(f"it repeats {in_words(value.shape)} as {in_words(shape)}; use the input's own sizes")
            value = _tiled(net, net.name(node), value, axis, n)
    return value


def _tiled(net: Converter, name: str, value: Value, axis: int, n: int) -> Value:
    """n times the value, one after the other along an axis."""
    if n == 1:
        return value
    inner, at = net.build.unpermuted(value, axis)
    base = list(inner.base)
    base[at] *= n
    if base[at] > 1 << 24 and not has_batch(base[at]):
        raise refuse(f"it makes an axis of {base[at]:,} values")
    more: dict[str, Any] = {} if at == 1 else {"axis": at}
    return net.build.repermuted(value, net.build.add("Tile", name, [inner.blob], **more, tiles=n)[0], base)


@operation("Tile")
def tile(net: Converter, node: GraphNode) -> Value:
    value, times = net.value(node), net.integers(node, 1, "repeats") or []
    if len(times) != len(value.shape) or any(n < 1 for n in times):
        raise refuse(f"its repeats {times} are not one for each axis")
    for axis, n in enumerate(times):
        value = _tiled(net, net.name(node), value, axis, n)
    return value
