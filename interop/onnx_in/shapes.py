"""Nodes that move values: reshapes, transposes, parts, sums over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from .builder import BATCH, Shape, Value, has_batch, plain
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
    if node.op == "Cast" and node.int("to") not in (1, 10, 11, 16) and not value.whole:
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
            raise refuse(f"{list(target)} does not hold the values of {_words(shape)}")
        target[target.index(-1)] = total // rest
    if any(size < 0 for size in target) or math.prod(target) != total:
        raise refuse(f"{_words(target)} does not hold the values of {_words(shape)}")
    return tuple(target)


def _words(shape: Sequence[int]) -> str:
    return " x ".join("N" if size == BATCH else str(size) for size in shape) or "a number"


def _reshaped(net: Converter, node: GraphNode, known: Known) -> Shape:
    if node.op == "Flatten":
        axis = node.int("axis", 1)
        rank = len(known.shape)
        if not -rank <= axis <= rank:
            raise refuse(f"it names axis {axis} of {rank}")
        axis = axis + rank if axis < 0 else axis
        return (math.prod(known.shape[:axis]), math.prod(known.shape[axis:]))
    if node.op == "Reshape":
        target = net.integers(node, 1, "shape")
        if target is None:
            raise refuse("the new shape is missing")
        return _resolved(net, tuple(known.shape), target, not node.int("allowzero"))
    axes = net.integers(node, 1, "axes")
    shape = list(known.shape)
    rank = len(shape)
    if node.op == "Squeeze":
        if axes is None:
            return tuple(size for size in shape if size != 1)
        gone = {axis % rank for axis in axes if -rank <= axis < rank}
        if len(gone) != len(axes) or any(shape[axis] != 1 for axis in gone):
            raise refuse(f"axes {axes} of {_words(shape)} are not all of size 1")
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


@operation("Expand")
def expand(net: Converter, node: GraphNode) -> Value:
    value, target = net.value(node), net.integers(node, 1, "shape") or []
    shape = np.broadcast_shapes(value.shape, tuple(target))
    if shape != value.shape:
        raise refuse(f"it repeats {_words(value.shape)} as {_words(shape)}; use the input's own sizes")
    return value


@operation("Tile")
def tile(net: Converter, node: GraphNode) -> Value:
    value, times = net.value(node), net.integers(node, 1, "repeats") or []
    if len(times) != len(value.shape) or any(n < 1 for n in times):
        raise refuse(f"its repeats {times} are not one for each axis")
    for axis, n in enumerate(times):
        if n > 1:
            inner, at = net.build.unpermuted(value, axis)
            base = list(inner.base)
            base[at] *= n
            value = net.build.repermuted(
                value, net.build.add("Tile", net.name(node), [inner.blob], axis=at, tiles=n)[0], base
            )
    return value


# Parts of blobs, and blobs joined.


def part(net: Converter, name: str, value: Value, axis: int, start: int, stop: int) -> Value:
    """value[start:stop] along an axis."""
    size = value.shape[axis]
    if (start, stop) == (0, size):
        return value
    if not 0 <= start < stop <= size:
        raise refuse(f"it takes values {start} to {stop} of {size}")
    inner, at = net.build.unpermuted(value, axis)
    points = [point for point in (start, stop) if 0 < point < size]
    tops = net.build.add("Slice", name, [inner.blob], tops=len(points) + 1, axis=at, slice_point=_one_or_more(points))
    base = list(inner.base)
    base[at] = stop - start
    return net.build.repermuted(value, tops[1 if start else 0], base)


def _one_or_more(numbers: list[int]) -> int | list[int]:
    return numbers[0] if len(numbers) == 1 else numbers


def joined(net: Converter, name: str, values: list[Value], axis: int) -> Value:
    """The values one after the other along an axis."""
    if len(values) == 1:
        return values[0]
    perms = {value.perm for value in values}
    if len(perms) > 1 or any(value.is_reshaped for value in values):
        values = [net.build.flat(value) for value in values]
    at = values[0].perm[axis]
    base = list(values[0].base)
    if any(len(value.base) != len(base) for value in values):
        raise refuse("its inputs have different numbers of axes")
    base[at] = sum(value.base[at] for value in values)
    more = {} if at == 1 else {"axis": at}
    return net.build.repermuted(values[0], net.build.add("Concat", name, [v.blob for v in values], **more)[0], base)


@operation("Concat")
def concat(net: Converter, node: GraphNode) -> Value:
    values = [net.value(node, i) for i in range(len(node.inputs)) if 0 not in net.known(node, i).shape]  # type: ignore[union-attr]
    if not values:
        raise refuse("it has nothing to join")
    return joined(net, net.name(node), values, values[0].axis(node.int("axis")))


@operation("Split")
def split(net: Converter, node: GraphNode) -> list[Value]:
    value = net.value(node)
    axis = value.axis(node.int("axis"))
    sizes, count, size = net.integers(node, 1, "split"), len(node.outputs), value.shape[axis]
    if sizes is None:
        step = -(-size // count)
        sizes = [min(step, size - i * step) for i in range(count)]
    if sum(sizes) != size or any(part < 1 for part in sizes) or len(sizes) != count:
        raise refuse(f"it cuts {size} into {sizes}")
    if count == 1:
        return [value]
    inner, at = net.build.unpermuted(value, axis)
    points = [int(point) for point in np.cumsum(sizes)[:-1]]
    more = {} if len(set(sizes)) == 1 else {"slice_point": _one_or_more(points)}
    if at != 1:
        more = {"axis": at} | more
    tops = net.build.add("Slice", net.name(node), [inner.blob], tops=count, **more)
    made = []
    for top, length in zip(tops, sizes, strict=True):
        base = list(inner.base)
        base[at] = length
        made.append(net.build.repermuted(value, top, base))
    return made


def _bounds(net: Converter, node: GraphNode, rank: int) -> list[tuple[int, int, int, int]]:
    """(axis, start, stop, step) of a Slice node, as Python has them."""
    starts, stops = net.integers(node, 1, "starts"), net.integers(node, 2, "ends")
    if starts is None or stops is None or len(starts) != len(stops):
        raise refuse("its starts and ends are not both there")
    axes = net.integers(node, 3, "axes") or list(range(len(starts)))
    steps = net.integers(node, 4, "steps") or [1] * len(starts)
    if not len(starts) == len(axes) == len(steps) or any(not -rank <= axis < rank for axis in axes) or 0 in steps:
        raise refuse("its starts, ends, axes and steps do not belong together")
    return [(a % rank, s, e, step) for a, s, e, step in zip(axes, starts, stops, steps, strict=True)]


@operation("Slice")
def slices(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    for axis, start, stop, step in _bounds(net, node, len(value.shape)):
        size = value.shape[axis]
        begin, end, by = slice(start, stop, step).indices(size)
        if by < 0 and size < 64 and len(range(begin, end, by)) == size and by == -1:
            value = reversed_along(net, net.name(node), value, axis)
            continue
        if by != 1:
            raise refuse(f"it takes every {by}. value; Slice takes all between two points")
        value = part(net, net.name(node), value, axis, begin, end)
    return value


@folds("Slice")
def _fold_slice(net: Converter, node: GraphNode, inputs: list) -> np.ndarray:
    array = inputs[0]
    index = [slice(None)] * array.ndim
    for axis, start, stop, step in _bounds(net, node, array.ndim):
        index[axis] = slice(*_python_bounds(start, stop, step, array.shape[axis]))
    return array[tuple(index)]


def _python_bounds(start: int, stop: int, step: int, size: int) -> tuple[int, int | None, int]:
    begin, end, by = slice(start, stop, step).indices(size)
    return begin, None if end < 0 else end, by


@folds("Split")
def _fold_split(net: Converter, node: GraphNode, inputs: list) -> list[np.ndarray]:
    array, axis = inputs[0], node.int("axis")
    sizes, count = net.integers(node, 1, "split"), len(node.outputs)
    step = -(-array.shape[axis] // count)
    points = np.cumsum(sizes)[:-1] if sizes else np.arange(1, count) * step
    return list(np.split(array, points, axis))


def reversed_along(net: Converter, name: str, value: Value, axis: int) -> Value:
    """The values in the opposite order along an axis, which is cut into single places and joined again."""
    size = value.shape[axis]
    if size == 1:
        return value
    if size > 1024:
        raise refuse(f"it turns {size} places around, and no layer does so at once")
    inner, at = net.build.unpermuted(value, axis)
    places = net.build.add("Slice", f"{name}_steps", [inner.blob], tops=size, axis=at)
    turned = net.build.add("Concat", f"{name}_reversed", places[::-1], axis=at)[0]
    return net.build.repermuted(value, turned, inner.base)


@operation("Gather")
def gather(net: Converter, node: GraphNode) -> Value:
    places, data = net.known(node, 1), net.known(node, 0)
    if isinstance(data, np.ndarray) and isinstance(places, Value):
        return _embedded(net, node, net.weights(node, 0, "the table"), places)
    value, index = net.value(node), net.constant(node, 1, "the index")
    axis = value.axis(node.int("axis"))
    size = value.shape[axis]
    if index.size > 64 or index.dtype.kind not in "iu" or index.ndim > 1 or not index.size:
        raise refuse("its index is no short list of integers")
    wanted = [int(i) for i in index.ravel()]
    if any(not -size <= i < size for i in wanted):
        raise refuse(f"it takes values {wanted} of {size}")
    parts = [part(net, net.name(node), value, axis, i % size, i % size + 1) for i in wanted]
    found = joined(net, net.name(node), parts, axis)
    if index.ndim == 0:
        found = found.viewed([n for i, n in enumerate(found.shape) if i != axis], net.name(node))
    return found


def _embedded(net: Converter, node: GraphNode, table: np.ndarray, places: Value) -> Value:
    if table.ndim != 2 or node.int("axis") != 0:
        raise refuse("the table of an embedding has a row for each index")
    made = net.build.add(
        "Embed",
        net.name(node, 0),
        [places.blob],
        blobs=[table],
        num_output=table.shape[1],
        input_dim=table.shape[0],
        bias_term=False,
    )
    base, rank = (*places.base, table.shape[1]), len(places.base)
    if places.is_reshaped:
        found = plain(made[0], base)
        return found.viewed((*places.shape, table.shape[1]))
    perm = (*places.perm, rank)
    return Value(made[0], base, perm, tuple(base[axis] for axis in perm), net.name(node))


# Over axes.


@operation("ReduceMean", "ReduceSum", "ReduceMax", "ReduceSumSquare", "ReduceL1", "ReduceL2")
def reduce(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    axes = net.integers(node, 1, "axes")
    if not axes and node.int("noop_with_empty_axes"):
        return value
    wanted = sorted({value.axis(axis) for axis in axes} if axes else range(len(value.shape)))
    found = reduced(net, net.name(node), value, wanted, node.op.removeprefix("Reduce"))
    if not node.int("keepdims", 1):
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
    if what in ("Mean", "Max") and axes == [2, 3] and rank == 4:
        pool = {} if what == "Max" else {"pool": "AVE"}
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
    if axes[0] == 0 or has_batch(count):
        raise refuse("it computes something of all examples together")
    lead = value.shape[0]
    image = net.build.blob(value.viewed((lead, before // lead, count, after), f"{name}_rows"))
    pool = {} if what == "Max" else {"pool": "AVE"}
    made = net.build.add("Pooling", name, [image], **pool, kernel_h=count, kernel_w=1, stride=1)
    found = plain(made[0], (lead, before // lead, 1, after))
    return net.build.elementwise("Power", f"{name}_sum", found, scale=count) if what == "Sum" else found


@operation("GlobalAveragePool", "GlobalMaxPool")
def global_pool(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    if len(value.shape) < 3:
        raise refuse(f"it pools {_words(value.shape)}, which has no axes after the channels")
    what = "Mean" if node.op == "GlobalAveragePool" else "Max"
    if len(value.shape) == 4:
        return reduced(net, net.name(node), value, [2, 3], what)
    kept = (*value.shape[:2], *[1] * (len(value.shape) - 2))
    flat = net.build.flat(value).viewed((*value.shape[:2], 1, math.prod(value.shape[2:])), net.name(node))
    return reduced(net, net.name(node), flat, [2, 3], what).viewed(kept, net.name(node))


@operation("ArgMax")
def arg_max(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    axis = value.axis(node.int("axis"))
    if not node.int("select_last_index"):
        net.build.note("ArgMax takes the last of equal values here, the first in ONNX")
    inner, at = net.build.unpermuted(value, axis)
    base = list(inner.base)
    base[at] = 1
    found = net.build.repermuted(value, net.build.add("ArgMax", net.name(node), [inner.blob], axis=at)[0], base)
    found = Value(found.blob, found.base, found.perm, found.shape, net.name(node), whole=True)
    if not node.int("keepdims", 1):
        found = found.viewed([n for i, n in enumerate(found.shape) if i != axis], net.name(node))
    return found


@operation("Softmax", "LogSoftmax")
def softmax(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    rank = len(value.shape)
    if node.opset and node.opset < 13:  # over all axes from this one on
        axis = value.axis(node.int("axis", 1))
        if axis < rank - 1 and math.prod(value.shape[axis + 1 :]) != 1:
            flat = value.viewed((*value.shape[:axis], math.prod(value.shape[axis:])), net.name(node))
            inner = net.build.flat(flat)
            return _softmax(net, node, inner, axis).viewed(value.shape)
    else:
        axis = value.axis(node.int("axis", -1))
    inner, at = net.build.unpermuted(value, axis)
    made = _softmax(net, node, inner, at)
    return net.build.repermuted(value, made.blob, inner.base)


def _softmax(net: Converter, node: GraphNode, inner: Value, axis: int) -> Value:
    more = {} if axis == 1 else {"axis": axis}
    return net.build.elementwise(node.op, net.name(node), inner, **more)
