"""Blob: memory made when it is needed, growth, sharing, and life inside flat arrays."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nettrain import Blob, ShapeError
from nettrain.compute.memory import Memory

BOTH = pytest.mark.parametrize("kind", ["data", "diff"])
MEGA = 1 << 20


@pytest.fixture
def allocated():
    """Bytes allocated since the test began."""
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]
    yield lambda: tracemalloc.get_traced_memory()[0] - start
    tracemalloc.stop()


def share(kind, blob, other):
    (blob.share_data if kind == "data" else blob.share_diff)(other)


def add(kind, blob, values):
    if kind == "data":
        blob.data += values
    else:
        blob.diff += values


# Memory


def test_a_shape_costs_nothing(allocated):
    blob = Blob((MEGA, 8))
    blob.reshape((MEGA, 16))
    assert blob.count == 16 * MEGA
    assert allocated() < 100_000


@BOTH
def test_memory_is_made_only_for_what_is_touched(kind, allocated):
    blob = Blob((MEGA,))
    getattr(blob, kind)
    assert 4 * MEGA <= allocated() < 5 * MEGA


@BOTH
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_starts_at_zero_in_the_dtype_asked_for(kind, dtype):
    array = getattr(Blob((2, 3), dtype), kind)
    assert array.shape == (2, 3)
    assert array.dtype == dtype
    assert not array.any()


def test_the_default_is_a_float32_scalar():
    blob = Blob()
    assert (blob.shape, blob.count, blob.data.shape, blob.data.dtype) == ((), 1, (), np.float32)


def test_data_and_diff_are_apart():
    blob = Blob((3,))
    blob.data[...] = 1
    assert not blob.diff.any()


@BOTH
def test_a_view_is_made_once(kind):
    blob = Blob((2, 3))
    before = getattr(blob, kind)
    blob.reshape((2, 3))
    assert getattr(blob, kind) is before


@BOTH
def test_a_smaller_shape_stays_in_the_same_memory(kind, allocated):
    blob = Blob((MEGA,))
    large = getattr(blob, kind)
    blob.reshape((10, 10))
    small = getattr(blob, kind)
    assert small.shape == (10, 10)
    assert np.shares_memory(small, large)
    blob.reshape((MEGA,))
    assert np.shares_memory(getattr(blob, kind), large)
    assert allocated() < 5 * MEGA


@BOTH
def test_a_larger_shape_gets_memory_that_is_zero(kind):
    blob = Blob((2,))
    getattr(blob, kind)[...] = 7
    blob.reshape((2, 3))
    assert getattr(blob, kind).shape == (2, 3)
    assert not getattr(blob, kind).any()


def test_a_blob_may_be_empty():
    blob = Blob((0, 5))
    assert (blob.count, blob.data.shape, blob.diff.shape) == (0, (0, 5), (0, 5))


# Assignment


@BOTH
@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_augmented_assignment_works_in_place(kind, shape):
    blob = Blob(shape)
    array = getattr(blob, kind)
    add(kind, blob, 2)
    add(kind, blob, np.ones(shape))
    assert getattr(blob, kind) is array
    np.testing.assert_array_equal(array, np.full(shape, 3))


@BOTH
def test_assignment_copies_the_values(kind):
    blob, values = Blob((2, 3)), np.arange(6.0).reshape(2, 3)
    array = getattr(blob, kind)
    setattr(blob, kind, values)
    values[...] = -1
    assert getattr(blob, kind) is array
    np.testing.assert_array_equal(array, np.arange(6).reshape(2, 3))
    setattr(blob, kind, 4)
    np.testing.assert_array_equal(array, np.full((2, 3), 4))


@BOTH
def test_assignment_of_another_shape_is_an_error(kind):
    with pytest.raises(ValueError, match="broadcast"):
        setattr(Blob((2, 3)), kind, np.zeros((3, 2)))


@BOTH
def test_augmented_assignment_after_the_memory_grew_elsewhere(kind):
    blob, other = Blob((2,)), Blob((2,))
    share(kind, blob, other)
    assert not getattr(blob, kind).any()  # a view of the memory before it grows
    other.reshape((100,))
    getattr(other, kind)[...] = 1
    add(kind, blob, 1)
    np.testing.assert_array_equal(getattr(other, kind)[:3], [2, 2, 1])


# Sharing


@BOTH
def test_shared_memory_shows_in_both_whatever_the_shapes(kind):
    blob, other = Blob((2, 3)), Blob((3, 2))
    share(kind, blob, other)
    getattr(blob, kind)[...] = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(getattr(other, kind).ravel(), np.arange(6))
    getattr(other, kind)[0, 0] = 9
    assert getattr(blob, kind)[0, 0] == 9


def test_data_is_shared_without_diff_and_diff_without_data():
    blob, data, diff = Blob((2,)), Blob((2,)), Blob((2,))
    blob.share_data(data)
    blob.share_diff(diff)
    blob.data[...], blob.diff[...] = 1, 2
    assert [data.data[0], data.diff[0], diff.data[0], diff.diff[0]] == [1, 0, 0, 2]
    assert blob.shares_data_with(data)
    assert not blob.shares_data_with(diff)


@BOTH
@pytest.mark.parametrize("grower", [0, 1, 2])
def test_sharing_holds_after_any_of_them_grew(kind, grower):
    blobs = [Blob((2,)) for _ in range(3)]
    share(kind, blobs[1], blobs[0])
    share(kind, blobs[2], blobs[1])
    for blob in blobs:
        getattr(blob, kind)[...] = 1  # every view exists before the memory grows
    blobs[grower].reshape((50,))
    getattr(blobs[grower], kind)[...] = np.arange(50)
    for blob in blobs:
        np.testing.assert_array_equal(getattr(blob, kind)[:2], [0, 1])


@BOTH
def test_sharing_again_lets_go_of_the_old_memory(kind):
    blob, first, second = Blob((2,)), Blob((2,)), Blob((2,))
    share(kind, blob, first)
    getattr(blob, kind)[...] = 1
    share(kind, blob, second)
    getattr(blob, kind)[...] = 2
    assert [getattr(b, kind)[0] for b in (first, second)] == [1, 2]


shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), shapes), max_size=12), st.sampled_from(["data", "diff"]))
def test_blobs_that_share_see_one_memory_through_any_reshapes(steps, kind):
    blobs = [Blob((2,)) for _ in range(3)]
    share(kind, blobs[1], blobs[0])
    share(kind, blobs[2], blobs[0])
    for number, (who, shape) in enumerate(steps):
        blobs[who].reshape(shape)
        getattr(blobs[who], kind)[...] = number
        for blob in blobs:
            array = getattr(blob, kind)
            assert array.shape == blob.shape
            seen = min(blob.count, blobs[who].count)
            np.testing.assert_array_equal(array.reshape(-1)[:seen], np.full(seen, number))


# Flat arrays


def test_a_blob_placed_in_flat_arrays_is_a_view_of_them():
    data, diff = np.arange(10.0), -np.arange(10.0)
    blob = Blob((2, 3), "float64")
    blob.data[...] = 5  # memory of its own, left behind
    blob.place_in(Memory(data[2:8]), Memory(diff[2:8]))
    np.testing.assert_array_equal(blob.data, [[2, 3, 4], [5, 6, 7]])
    np.testing.assert_array_equal(blob.diff, [[-2, -3, -4], [-5, -6, -7]])
    blob.data[0, 0], blob.diff[1, 2] = 20, 30
    assert (data[2], diff[7]) == (20, 30)
    data[3] = 40
    assert blob.data[0, 1] == 40
    blob.reshape((6,))
    assert np.shares_memory(blob.data, data)


# Limits and errors


@pytest.mark.parametrize("shape", [(2**31 - 1,), (2**16, 2**14), (0, 2**40)])
def test_the_largest_shapes(shape):
    assert Blob(shape).shape == shape


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2**31,), r"2147483648 = 2,147,483,648 elements is larger than 2\^31 - 1"),
        ((65536, 32768), "65536 x 32768 = 2,147,483,648 elements"),
        ((2**40, 2**40), "is larger than"),
        ((2, -1), "cannot have the shape 2 x -1"),
        ((0, -1), "cannot have the shape 0 x -1"),
    ],
)
def test_shapes_that_are_refused(shape, message):
    with pytest.raises(ShapeError, match=message):
        Blob(shape)
    blob = Blob((2, 3))
    with pytest.raises(ShapeError, match=message):
        blob.reshape(shape)
    assert (blob.shape, blob.data.shape) == ((2, 3), (2, 3))


@pytest.mark.parametrize(("axis", "expected"), [(0, 0), (2, 2), (-1, 2), (-3, 0)])
def test_axes_count_from_both_ends(axis, expected):
    assert Blob((4, 5, 6)).canonical_axis(axis) == expected


@pytest.mark.parametrize(
    ("shape", "axis", "message"),
    [
        ((4, 5), 2, "axis 2 of 4 x 5: there are axes -2 to 1"),
        ((4, 5), -3, "axis -3 of 4 x 5: there are axes -2 to 1"),
        ((), 0, "axis 0 of a scalar, which has no axes"),
        ((), -1, "axis -1 of a scalar"),
    ],
)
def test_an_axis_that_is_not_there(shape, axis, message):
    with pytest.raises(ShapeError, match=message) as error:
        Blob(shape).canonical_axis(axis)
    assert error.value.key == "axis"
    with pytest.raises(ShapeError) as error:
        Blob(shape).canonical_axis(axis, "end_axis")
    assert error.value.key == "end_axis"


def test_repr_tells_shape_and_dtype():
    assert repr(Blob((2, 3), "float64")) == "Blob(2 x 3, float64)"
    assert repr(Blob()) == "Blob(scalar, float32)"


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ((5, 2, 3), (5, 2, 3)),
        (((5, 2, 3),), (5, 2, 3)),
        (([5, 2, 3],), (5, 2, 3)),
        ((np.array([5, 2]),), (5, 2)),
        ((np.int64(4),), (4,)),
        ((4,), (4,)),
        ((), ()),
        (((),), ()),
    ],
)
def test_a_shape_as_numbers_or_as_a_tuple(given, shape):
    blob = Blob((7,))
    blob.reshape(*given)
    assert blob.shape == shape == blob.data.shape
    assert {type(size) for size in blob.shape} <= {int}


@pytest.mark.parametrize(
    "given", [(2.5, 3), ((2.0, 3),), ("ab",), (("a", 3),), ((2, 3), True), ((2, 3), 4), (2, None), (None,)]
)
def test_a_shape_that_is_not_one(given):
    blob = Blob((7,))
    with pytest.raises(TypeError, match="a shape must be integers"):
        blob.reshape(*given)
    assert blob.shape == (7,)


def test_the_order_in_memory_has_a_name():
    for sizes in ((2, 3, 4), ((2, 3, 4),)):
        blob = Blob()
        blob.reshape(*sizes, channels_last=True)
        assert (blob.channels_last, blob.shape) == (True, (2, 3, 4))
        blob.reshape(*sizes, channels_last=False)
        assert not blob.channels_last


def test_no_more_axes_than_caffe_has():
    assert Blob((1,) * 32).data.ndim == 32
    with pytest.raises(ShapeError, match=r"up to 32 axes, as in Caffe; not 1 x .* \(84 axes\)"):
        Blob((1,) * 84)
