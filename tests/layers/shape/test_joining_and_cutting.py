"""Concat, Slice, Split and Silence: where values and gradients go, axes, and what they refuse."""

from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net

joined = partial(layer_net, {})


def tops(count):
    return [f"y{i}" for i in range(count)]


def numbers(shape, start=0):
    return np.arange(start, start + np.prod(shape, dtype=int), dtype=float).reshape(shape)


def test_concat_of_columns():
    net = joined((2, 2), (2, 1), type="Concat")
    assert net.forward(x0=[[1, 2], [3, 4]], x1=[[8], [9]])["y"].tolist() == [[1, 2, 8], [3, 4, 9]]
    dx = net.backward(y=[[10, 20, 30], [40, 50, 60]])
    assert dx["x0"].tolist() == [[10, 20], [40, 50]]
    assert dx["x1"].tolist() == [[30], [60]]


@pytest.mark.parametrize("key", ["axis", "concat_dim"])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -2, -4])
def test_concat_along_any_axis(axis, key):
    if axis < 0 and key == "concat_dim":
        axis += 4
    shapes = []
    for size in (2, 1, 3):
        shape = [2, 3, 2, 4]
        shape[axis] = size
        shapes.append(tuple(shape))
    net = joined(*shapes, type="Concat", **{key: axis})
    xs = [numbers(shape, 1000 * i) for i, shape in enumerate(shapes)]
    y = net.forward(**{f"x{i}": x for i, x in enumerate(xs)})["y"]
    dxs = net.backward(y=-y)
    at = 0
    for i, x in enumerate(xs):
        for j in range(x.shape[axis]):
            np.testing.assert_array_equal(np.take(y, at, axis), np.take(x, j, axis))
            at += 1
        np.testing.assert_array_equal(dxs[f"x{i}"], -x)
    assert at == y.shape[axis]


@pytest.mark.parametrize(
    ("shapes", "axis", "expected"),
    [
        ([(2, 3)], 1, (2, 3)),
        ([(0, 2), (0, 3)], 1, (0, 5)),
        ([(2, 0), (2, 3)], 1, (2, 3)),
        ([(0, 3), (2, 3)], 0, (2, 3)),
    ],
)
def test_concat_of_one_or_of_nothing(shapes, axis, expected):
    net = joined(*shapes, type="Concat", axis=axis)
    x = numbers(shapes[-1], 1)
    y = net.forward(**{f"x{len(shapes) - 1}": x})["y"]
    assert y.shape == expected
    np.testing.assert_array_equal(y[y != 0], x.ravel())
    dxs = net.backward(y=y)
    np.testing.assert_array_equal(dxs[f"x{len(shapes) - 1}"], x)


def test_concat_of_a_blob_with_itself():
    net = joined((1, 2), bottom=["x0", "x0"], type="Concat", axis=0)
    assert net.forward(x0=[[1, 2]])["y"].tolist() == [[1, 2], [1, 2]]
    assert net.backward(y=[[1, 2], [10, 20]])["x0"].tolist() == [[11, 22]]


@pytest.mark.parametrize(
    ("shapes", "params", "words"),
    [
        ([(2, 3), (3, 3)], {}, "every axis but axis 1.* must be equal"),
        ([(2, 3), (2, 3), (2, 4)], {"axis": 0}, "every axis but axis 0.* must be equal"),
        ([(2, 3), (2, 3, 1)], {}, "every axis but axis 1.* must be equal"),
        ([(2, 3), (2, 3)], {"axis": 2}, "axis 2 of 2 x 3: there are axes -2 to 1"),
        ([(2,), (2,)], {}, "axis 1 of 2"),
        ([(2, 3), (2, 3)], {"concat_dim": -1}, "concat_dim must be an integer >= 0"),
        ([(2, 3), (2, 3)], {"axis": 0, "concat_dim": 0}, "concat_dim"),  # Caffe: either, not both
    ],
)
def test_what_concat_refuses(shapes, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        joined(*shapes, type="Concat", **params)


def test_slice_of_columns():
    net = joined((2, 4), type="Slice", top=tops(2), slice_point=1)
    parts = net.forward(x0=[[1, 2, 3, 4], [5, 6, 7, 8]])
    assert parts["y0"].tolist() == [[1], [5]]
    assert parts["y1"].tolist() == [[2, 3, 4], [6, 7, 8]]
    dx = net.backward(y0=[[10], [50]], y1=[[20, 30, 40], [60, 70, 80]])["x0"]
    assert dx.tolist() == [[10, 20, 30, 40], [50, 60, 70, 80]]


@pytest.mark.parametrize("key", ["axis", "slice_dim"])
@pytest.mark.parametrize(
    ("axis", "count", "points"), [(0, 2, []), (1, 3, []), (1, 3, [1, 5]), (2, 4, [1, 2, 4]), (-1, 2, [3])]
)
def test_slice_along_any_axis(axis, count, points, key):
    if axis < 0 and key == "slice_dim":
        axis += 3
    x = numbers((4, 6, 5))
    net = joined(x.shape, type="Slice", top=tops(count), slice_point=points, **{key: axis})
    parts = list(net.forward(x0=x).values())
    size = x.shape[axis]
    ends = [*(points or [size // count * i for i in range(1, count)]), size]
    for part, start, end in zip(parts, [0, *ends], ends, strict=False):
        assert part.shape[axis] == end - start
        for i in range(end - start):
            np.testing.assert_array_equal(np.take(part, i, axis), np.take(x, start + i, axis))
    np.testing.assert_array_equal(net.backward(**dict(zip(tops(count), parts, strict=True)))["x0"], x)


@pytest.mark.parametrize(
    ("shape", "count", "expected"), [((2, 3), 1, (2, 3)), ((0, 4), 2, (0, 2)), ((2, 0), 2, (2, 0))]
)
def test_slice_into_one_or_of_nothing(shape, count, expected):
    net = joined(shape, type="Slice", top=tops(count))
    parts = net.forward(x0=numbers(shape))
    assert [part.shape for part in parts.values()] == [expected] * count
    assert net.backward()["x0"].shape == shape


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"top": tops(2)}, "axis 1 of 2 x 5 does not divide into 2 equal tops"),
        ({"top": tops(2), "slice_point": [1, 2]}, "2 tops need 1 slice point, got 2"),
        ({"top": tops(3), "slice_point": [1]}, "3 tops need 2 slice points, got 1"),
        ({"top": tops(3), "slice_point": [3, 2]}, "slice_point must increase, got .3, 2."),
        ({"top": tops(3), "slice_point": [2, 2]}, "slice_point must increase, got .2, 2."),
        ({"top": tops(2), "slice_point": [0]}, "slice_point must be an integer >= 1"),
        ({"top": tops(2), "slice_point": [5]}, "slice point 5 is outside axis 1 of 2 x 5"),
        ({"top": tops(2), "axis": 2}, "axis 2 of 2 x 5: there are axes -2 to 1"),
        ({"top": tops(2), "axis": 0, "slice_dim": 0}, "slice_dim"),  # Caffe: either, not both
    ],
)
def test_what_slice_refuses(params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        joined((2, 5), type="Slice", **params)


def test_a_blob_that_became_too_small_to_slice():
    net = joined((2, 5), type="Slice", top=tops(2), slice_point=4)
    with pytest.raises(nettrain.ShapeError, match="slice point 4 is outside axis 1 of 2 x 3"):
        net.forward(x0=np.zeros((2, 3)))


def test_slice_and_concat_undo_each_other():
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 6, 3]},
        {"name": "cut", "type": "Slice", "top": ["a", "b", "c"], "slice_point": [1, 4]},
        {"name": "join", "type": "Concat", "bottom": ["a", "b", "c"]},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
    x = numbers((2, 6, 3))
    np.testing.assert_array_equal(net.forward(x=x)["join"], x)
    np.testing.assert_array_equal(net.backward(join=2 * x)["x"], 2 * x)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("shape", [(), (3,), (2, 1, 3), (0, 2)])
def test_split_copies_forward_and_adds_backward(count, shape):
    net = joined(shape, type="Split", top=tops(count))
    x = numbers(shape, 1)
    for copy in net.forward(x0=x).values():
        np.testing.assert_array_equal(copy, x)
    gradients = {name: 10.0**i * x for i, name in enumerate(tops(count))}
    np.testing.assert_array_equal(net.backward(**gradients)["x0"], int("1" * count) * x)


def test_a_copy_may_be_changed_in_place():
    layers = [
        {"name": "x", "type": "Input", "shape": [3]},
        {"name": "split", "type": "Split", "top": ["a", "b"]},
        {"name": "relu", "type": "ReLU", "bottom": "a", "top": "a"},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN")
    outputs = net.forward(x=[-1, 0, 2])
    assert outputs["a"].tolist() == [0, 0, 2]
    assert outputs["b"].tolist() == [-1, 0, 2]


def test_silence():
    net = joined((2, 3), (4,), (), type="Silence")
    assert net.forward(x0=np.ones((2, 3)), x1=np.ones(4), x2=1) == {}
    for name in ("x0", "x1", "x2"):
        net.blobs[name].diff[...] = 7
    assert all(not dx.any() for dx in net.backward().values())


def test_a_silenced_blob_is_no_output():
    layers = [
        {"name": "x", "type": "Input", "shape": [2], "top": ["a", "b"]},
        {"name": "quiet", "type": "Silence", "bottom": "a"},
    ]
    assert list(nettrain.Net({"layers": layers}).forward()) == ["b"]


@pytest.mark.parametrize(
    ("kind", "params", "words"),
    [
        ("Silence", {"top": ["y"]}, "Silence `y` takes 0 tops, got 1"),
        ("Silence", {"axis": 1}, "Silence has no key `axis`"),
        ("Split", {"axis": 1}, "Split has no key `axis`"),
        ("Split", {"top": []}, "Split `y` takes at least 1 top, got 0"),
    ],
)
def test_what_silence_and_split_refuse(kind, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        joined((2, 3), type=kind, **params)
