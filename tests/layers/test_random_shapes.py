"""Layers that copy, cut, join, repeat and stretch, over random shapes and parameters: numpy says which element of the
bottoms each element of the top is, and the gradient is what goes back there. Empty axes, any order of memory, work in
pieces and as it comes. Numbers are small and whole, so results are equal."""

import itertools

import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel


def shape_of(rng, least=0, most=5):
    """A random shape, sometimes with an empty axis."""
    shape = tuple(int(size) for size in rng.integers(1, 6, rng.integers(least, most + 1)))
    if shape and rng.random() < 0.1:
        k = int(rng.integers(len(shape)))
        shape = (*shape[:k], 0, *shape[k + 1 :])
    return shape


def axis_of(rng, shape):
    """(an axis, and one of the two numbers it has)."""
    axis = int(rng.integers(len(shape)))
    return axis, int(rng.choice([axis, axis - len(shape)]))


def replaced(shape, axis, size):
    return (*shape[:axis], size, *shape[axis + 1 :])


# Each gives (layer, shapes of bottoms, function of the bottoms that gives the tops).


def crop(rng):
    shape = shape_of(rng, 1)
    axis, written = axis_of(rng, shape)
    sizes = [int(rng.integers(0, size + 1)) for size in shape[axis:]]
    offset = [int(rng.integers(0, size - part + 1)) for size, part in zip(shape[axis:], sizes, strict=True)]
    if rng.random() < 0.3:
        offset = [min(offset)]
    like = (*(int(size) for size in rng.integers(0, 4, axis)), *sizes, *shape_of(rng, 0, 1))
    offsets = offset * len(sizes) if len(offset) == 1 else offset
    part = (..., *(slice(start, start + size) for start, size in zip(offsets, sizes, strict=True)))
    return {"type": "Crop", "axis": written, "offset": offset}, [shape, like], lambda x, r: [x[part]]


def pad(rng):
    shape = shape_of(rng, 1)
    axis, written = axis_of(rng, shape)
    mode = str(rng.choice(["constant", "edge", "reflect"]))
    pads = [[int(rng.integers(0, 8)), int(rng.integers(0, 8))] for _ in shape[axis:]]
    if mode == "reflect":
        pads = [[min(p, max(0, size - 1)) for p in pair] for pair, size in zip(pads, shape[axis:], strict=True)]
    if mode == "edge" and 0 in shape:
        mode = "constant"
    layer = {"type": "Pad", "axis": written, "mode": mode, "pad": pads}
    return layer, [shape], lambda x: [np.pad(x, [(0, 0)] * axis + [tuple(pair) for pair in pads], mode)]


def cut(rng):
    shape = shape_of(rng, 1)
    axis, written = axis_of(rng, shape)
    tops = int(rng.integers(1, 5))
    layer = {"type": "Slice", "axis": written}
    if rng.random() < 0.5 and shape[axis] >= tops:
        points = sorted(int(point) for point in rng.choice(np.arange(1, shape[axis]), tops - 1, replace=False))
        layer |= {"slice_point": points} if points else {}
        return layer | {"top": [f"y{i}" for i in range(tops)]}, [shape], lambda x: np.split(x, points, axis)
    shape = replaced(shape, axis, shape[axis] * tops)
    return layer | {"top": [f"y{i}" for i in range(tops)]}, [shape], lambda x: np.split(x, tops, axis)


def join(rng):
    shape = shape_of(rng, 1)
    axis, written = axis_of(rng, shape)
    shapes = [replaced(shape, axis, int(rng.integers(0, 5))) for _ in range(rng.integers(1, 5))]
    return {"type": "Concat", "axis": written}, shapes, lambda *xs: [np.concatenate(xs, axis)]


def tile(rng):
    shape = shape_of(rng, 1)
    axis, written = axis_of(rng, shape)
    tiles = int(rng.integers(1, 5))
    return {"type": "Tile", "axis": written, "tiles": tiles}, [shape], lambda x: [np.concatenate([x] * tiles, axis)]


def flatten(rng):
    shape = shape_of(rng, 1)
    first, last = sorted(axis_of(rng, shape)[0] for _ in range(2))
    end = last - len(shape) if rng.random() < 0.5 else last
    made = (*shape[:first], int(np.prod(shape[first : last + 1])), *shape[last + 1 :])
    return {"type": "Flatten", "axis": first, "end_axis": end}, [shape], lambda x: [x.reshape(made)]


def reshape(rng):
    shape = shape_of(rng, 1)
    first = int(rng.integers(0, len(shape) + 1))
    count = int(rng.integers(0, len(shape) - first + 1))
    middle = shape[first : first + count]
    new = [int(size) for size in rng.permutation(middle)]
    if new and 0 not in shape and rng.random() < 0.5:
        new[int(rng.integers(len(new)))] = -1
    elif not middle or 0 not in middle:
        new = [*new, 1]
    made = (*shape[:first], *new, *shape[first + count :])
    if 0 in new:  # 0 copies the bottom's size
        new = made = shape
        first, count = 0, -1
    layer = {"type": "Reshape", "axis": first, "num_axes": count, "shape": list(new)}
    return layer, [shape], lambda x: [x.reshape(made)]


def batch_reindex(rng):
    shape = shape_of(rng, 1)
    shape = (max(1, shape[0]), *shape[1:])
    numbers = rng.integers(0, shape[0], rng.integers(0, 9))
    return {"type": "BatchReindex", "values": numbers}, [shape, numbers.shape], lambda x, i: [x[numbers]]


def permute(rng):
    shape = shape_of(rng)
    order = [int(axis) for axis in rng.permutation(len(shape))][: rng.integers(0, len(shape) + 1)]
    whole = [*order, *(axis for axis in range(len(shape)) if axis not in order)]
    written = [axis - len(shape) if rng.random() < 0.3 else axis for axis in order]
    return {"type": "Permute", "order": written}, [shape], lambda x: [x.transpose(whole)]


def shuffle(rng):
    shape, group = shape_of(rng, 2), int(rng.integers(1, 4))
    shape = replaced(shape, 1, shape[1] * group)

    def shuffled(x):
        return [np.concatenate([x[:, j :: shape[1] // group] for j in range(shape[1] // group)] or [x], 1)]

    return {"type": "ShuffleChannel", "group": group}, [shape], shuffled


COPYING = [crop, pad, cut, join, tile, flatten, reshape, batch_reindex, permute, shuffle]


@pytest.fixture
def in_pieces(monkeypatch):
    """Sets anew, at random, how work is cut and the number of threads."""
    whole = parallel.BLOCK, parallel.TASK

    def choose(rng):
        for name, size in zip(("BLOCK", "TASK"), [whole, (1, 1)][rng.integers(2)], strict=True):
            monkeypatch.setattr(parallel, name, size)
        monkeypatch.setattr(parallel, "_wanted", int(rng.integers(1, 4)))

    return choose


def net_in_any_layout(rng, layer, shapes):
    net = layer_net({"top": ["y0"]} | layer, *shapes, name="it")
    if net.layers["it"].any_layout:
        for i, shape in enumerate(shapes):
            net.blobs[f"x{i}"].reshape(shape, channels_last=len(shape) > 2 and bool(rng.random() < 0.5))
        net.reshape()
    return net


def run(rng, net, xs):
    """(tops, their gradients, gradients of the bottoms), of the second of two passes."""
    for _ in range(2):
        ys = net.forward(**{f"x{i}": x for i, x in enumerate(xs)})
        tops = [ys[name].copy() for name in sorted(ys)]
        dys = [rng.integers(-9, 10, y.shape).astype(float) for y in tops]
        net.backward(**dict(zip(sorted(ys), dys, strict=True)))
    return tops, dys, [net.blobs[f"x{i}"].diff.copy() for i in range(len(xs))]


@pytest.mark.parametrize("kind", COPYING, ids=lambda kind: kind.__name__)
def test_what_copies_gives_the_gradient_back(kind, in_pieces):
    rng = np.random.default_rng(COPYING.index(kind))
    for _ in range(100):
        layer, shapes, formula = kind(rng)
        given = layer.pop("values", None)
        in_pieces(rng)
        xs = [rng.integers(1, 10**6, shape).astype(float) for shape in shapes]
        if given is not None:
            xs[-1] = given.astype(float)
        try:
            tops, dys, dxs = run(rng, net_in_any_layout(rng, layer, shapes), xs)
            expected = formula(*xs)
            assert len(tops) == len(expected)
            # each element's number in all bottoms put one after the other, 0 for none
            starts = itertools.accumulate((x.size for x in xs), initial=1)
            numbers = formula(
                *(start + np.arange(x.size).reshape(x.shape) for start, x in zip(starts, xs, strict=False))
            )
            gradient = np.zeros(1 + sum(x.size for x in xs))
            for y, e, number, dy in zip(tops, expected, numbers, dys, strict=True):
                np.testing.assert_array_equal(y, e)
                np.add.at(gradient, number, dy)
            ends = np.cumsum([x.size for x in xs])[:-1]
            for dx, part in list(zip(dxs, np.split(gradient[1:], ends), strict=True))[
                : 1 if given is not None else None
            ]:
                np.testing.assert_array_equal(dx.ravel(), part)
        except Exception as error:
            raise AssertionError(f"{layer}, {shapes}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize("broadcast", [False, True])
def test_eltwise(operation, broadcast, in_pieces):
    rng = np.random.default_rng(len(operation))
    for _ in range(80):
        whole = shape_of(rng)
        shapes = [whole] * int(rng.integers(2, 5))
        layer = {"type": "Eltwise", "operation": operation, "broadcast": broadcast}
        if broadcast:
            for i in range(len(shapes)):
                kept = whole[rng.integers(0, len(whole) + 1) :]
                shapes[i] = tuple(1 if rng.random() < 0.3 else size for size in kept)
        c = [float(v) for v in rng.integers(-3, 4, len(shapes))] if operation == "SUM" and rng.random() < 0.5 else None
        layer |= {"coeff": c} if c else {}
        in_pieces(rng)
        xs = [rng.integers(-3, 4, shape).astype(float) for shape in shapes]
        try:
            (y,), (dy,), dxs = run(rng, net_in_any_layout(rng, layer, shapes), xs)
            wide = [np.broadcast_to(x, np.broadcast_shapes(*shapes)) for x in xs]
            expected, slopes = np.zeros(wide[0].shape), [np.zeros(wide[0].shape) for _ in xs]
            for place in np.ndindex(wide[0].shape):
                values = [x[place] for x in wide]
                if operation == "SUM":
                    factors = c or [1.0] * len(values)
                    expected[place] = sum(f * v for f, v in zip(factors, values, strict=True))
                elif operation == "PROD":
                    factors = [np.prod(values[:i] + values[i + 1 :]) for i in range(len(values))]
                    expected[place] = np.prod(values)
                else:  # of equal first two the second, else the first of equal ones
                    best = int(np.argmax([values[1], values[0], *values[2:]]))
                    factors = [float(i == [1, 0, *range(2, len(values))][best]) for i in range(len(values))]
                    expected[place] = max(values)
                for slope, factor in zip(slopes, factors, strict=True):
                    slope[place] = factor * dy[place]
            np.testing.assert_array_equal(y, expected)
            for x, dx, slope in zip(xs, dxs, slopes, strict=True):
                total = np.zeros(x.shape)
                for place in np.ndindex(slope.shape):
                    own = place[len(place) - x.ndim :]
                    total[tuple(0 if size == 1 else i for i, size in zip(own, x.shape, strict=True))] += slope[place]
                np.testing.assert_array_equal(dx, total)
        except Exception as error:
            raise AssertionError(f"{layer}, {shapes}: {type(error).__name__}: {error}") from error


@pytest.mark.parametrize("type", ["Scale", "Bias"])
def test_values_along_some_axes(type, in_pieces):
    rng = np.random.default_rng(len(type))
    for _ in range(150):
        shape = shape_of(rng, 1)
        axis, written = axis_of(rng, shape)
        count = int(rng.integers(0, len(shape) - axis + 1))
        own, learned = shape[axis : axis + count], bool(rng.random() < 0.5)
        layer = {"type": type, "axis": written}
        if learned:
            layer["num_axes"] = count if axis + count < len(shape) or rng.random() < 0.5 else -1
        if type == "Scale":
            layer["bias_term"] = bool(rng.random() < 0.5)
        in_pieces(rng)
        xs = [rng.integers(-9, 10, size).astype(float) for size in ([shape] if learned else [shape, own])]
        try:
            net = net_in_any_layout(rng, layer, [x.shape for x in xs])
            blobs = net.params.get("it", [])
            for blob in blobs:
                blob.data[...] = rng.integers(-9, 10, blob.shape)
            values = [*(x for x in xs[1:]), *(blob.data.copy() for blob in blobs)]
            assert all(value.shape == own for value in values)
            (y,), (dy,), dxs = run(rng, net, xs)
            for blob in blobs:
                blob.diff[...] = 3
            net.backward(y0=dy)
            s = values[0] if type == "Scale" else np.ones(own)
            b = values[-1] if type == "Bias" or layer["bias_term"] else np.zeros(own)
            expected, ds, db = np.zeros(shape), np.zeros(own), np.zeros(own)
            for place in np.ndindex(shape):
                at = place[axis : axis + count]
                expected[place] = xs[0][place] * s[at] + b[at]
                ds[at] += dy[place] * xs[0][place]
                db[at] += dy[place]
            np.testing.assert_array_equal(y, expected)
            stretched = s.reshape((*own, *[1] * (len(shape) - axis - count)))
            np.testing.assert_array_equal(dxs[0], dy * stretched)
            gradients = [ds, db] if type == "Scale" else [db]
            found = [*dxs[1:], *(blob.diff - 3 for blob in blobs)]
            for mine, gradient in zip(found, gradients, strict=False):
                np.testing.assert_array_equal(mine, gradient)
        except Exception as error:
            raise AssertionError(f"{layer}, {[x.shape for x in xs]}: {error}") from error
