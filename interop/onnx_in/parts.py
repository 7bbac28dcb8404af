"""Nodes that take parts of values, or put values together."""

from __future__ import annotations

from typing import Any

import numpy as np

from .builder import Value, has_batch, plain
from .converter import Converter, folds, operation, refuse
from .graph import GraphNode


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
    more: dict[str, Any] = {} if at == 1 else {"axis": at}
    return net.build.repermuted(values[0], net.build.add("Concat", name, [v.blob for v in values], **more)[0], base)


@operation("Concat")
def concat(net: Converter, node: GraphNode) -> Value:
    values = [net.value(node, i) for i in range(len(node.inputs)) if 0 not in net.known(node, i).shape]  # type: ignore[union-attr]
    if not values:
        raise refuse("it has nothing to join")
    return joined(net, net.name(node), values, values[0].axis(node.integer("axis")))


@operation("Split")
def split(net: Converter, node: GraphNode) -> list[Value]:
    value = net.value(node)
    axis = value.axis(node.integer("axis"))
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
    more: dict[str, Any] = {} if len(set(sizes)) == 1 else {"slice_point": _one_or_more(points)}
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
    array, axis = inputs[0], node.integer("axis")
    sizes, count = net.integers(node, 1, "split"), len(node.outputs)
    step = -(-array.shape[axis] // count)
    points = np.cumsum(sizes)[:-1] if sizes else np.arange(1, count) * step
    return list(np.split(array, points, axis))


def reversed_along(net: Converter, name: str, value: Value, axis: int) -> Value:
    """The values in the opposite order along an axis, which is cut into single places and joined again."""
    size = value.shape[axis]
    if size == 1:
        return value
    if has_batch(size):
        raise refuse("it turns sequences of any length around; export the model for one length")
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
    axis = value.axis(node.integer("axis"))
    size = value.shape[axis]
    if index.ndim == 2:
        made = _around(net, node, value, index, axis)
        if made is not None:
            return made
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


def _around(net: Converter, node: GraphNode, value: Value, index: np.ndarray, axis: int) -> Value | None:
    """CircularConvolution, y_i = Σ_j s_j w_{i - j}, which has the neighbours of each i as a row; None for others."""
    (size, count), last = index.shape, len(value.shape) - 1
    times = net.only_reader(node.outputs[0])
    total = times and net.only_reader(times.outputs[0])
    if times is None or total is None or (times.op, total.op) != ("Mul", "ReduceSum") or total.integer("keepdims", 1):
        return None
    shifts = net.maker(next((name for name in times.inputs if name != node.outputs[0]), ""))
    if shifts is None or shifts.op != "Unsqueeze" or axis != last or size != value.shape[last] or size > 1 << 20:
        return None
    s = net.values.get(shifts.inputs[0])
    if net.integers(shifts, 1, "axes") != [last] or net.integers(total, 1, "axes") not in ([last + 1], [-1]):
        return None
    neighbours = (np.arange(size)[:, None] - (np.arange(count) - count // 2)) % size
    if not isinstance(s, Value) or s.shape != (*value.shape[:-1], count) or not np.array_equal(index, neighbours):
        return None
    bottoms = [net.build.blob(value), net.build.blob(s)]
    made = plain(net.build.add("CircularConvolution", net.name(node), bottoms)[0], value.shape)
    net.values[total.outputs[0]] = made
    net.done |= {id(times), id(total)}
    return made


def _embedded(net: Converter, node: GraphNode, table: np.ndarray, places: Value) -> Value:
    if table.ndim != 2 or node.integer("axis") != 0:
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
