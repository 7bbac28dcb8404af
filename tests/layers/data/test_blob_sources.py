"""Input, DummyData and MemoryData: the shapes and values of their tops, and what they refuse."""

from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net

source_net = partial(layer_net, {}, name="d", seed=1, force_backward=False)


@pytest.mark.parametrize("kind", ["Input", "DummyData"])
@pytest.mark.parametrize(
    ("shape", "tops", "expected"),
    [
        ([2, 3], ["a"], [(2, 3)]),
        ({"dim": [2, 3]}, ["a"], [(2, 3)]),
        ([2, 3], ["a", "b"], [(2, 3), (2, 3)]),
        ([[2, 3], [2]], ["a", "b"], [(2, 3), (2,)]),
        ([{"dim": [2, 3]}, [4]], ["a", "b"], [(2, 3), (4,)]),
        ([[5]], ["a", "b"], [(5,), (5,)]),
        ([], ["a"], [()]),
        ([0, 3], ["a"], [(0, 3)]),
        ([3, 0], ["a"], [(3, 0)]),
        (7, ["a"], [(7,)]),
    ],
)
def test_shapes(kind, shape, tops, expected):
    net = source_net(type=kind, shape=shape, top=tops)
    assert [array.shape for array in net.forward().values()] == expected


@pytest.mark.parametrize("kind", ["Input", "DummyData"])
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"shape": [[2], [3]], "top": ["a", "b", "c"]}, "needs one shape, or one for each of its 3 tops, got 2"),
        ({"shape": [[2], [3]]}, "needs one shape, or one for each of its 1 tops, got 2"),
        ({"shape": [2, -3]}, "must be an integer >= 0, got -3"),
        ({"shape": [2, 1.5]}, "must be an integer >= 0, got 1.5"),
        ({"shape": "2x3"}, "must be a shape such as"),
        ({"shape": {"dims": [2]}}, "must be a shape such as"),
        ({"shape": [2**16, 2**16]}, r"65536 x 65536 = 4,294,967,296 elements is larger than 2\^31 - 1"),
        ({"shape": [2], "bottom": ["d"]}, "`d` takes 0 bottoms, got 1"),
    ],
)
def test_wrong_shapes(kind, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        source_net(type=kind, **params)


def test_an_input_without_a_shape_is_a_scalar():
    net = source_net(type="Input")
    assert net.forward(d=2.5)["d"].tolist() == 2.5


def test_an_input_takes_the_shape_of_what_it_is_given():
    net = source_net(type="Input", shape=[[2, 3], [2]], top=["a", "b"])
    assert net.forward(a=[[1, 2]], b=[7])["a"].tolist() == [[1, 2]]
    assert net.forward(a=np.zeros((5, 1, 2)))["a"].shape == (5, 1, 2)
    assert net.forward()["b"].tolist() == [7]  # what was given last stays


def test_an_input_keeps_no_reference():
    net, x = source_net(type="Input", shape=[2]), np.array([1.0, 2.0])
    y = net.forward(d=x)["d"]
    x[0] = 99
    assert y.tolist() == [1, 2]


def test_dummy_data_is_zero_unless_told():
    assert source_net(type="DummyData", shape=[2, 3]).forward()["d"].tolist() == [[0, 0, 0], [0, 0, 0]]


def test_one_filler_for_all_tops_or_one_for_each():
    both = source_net(type="DummyData", shape=[2], data_filler=0.5, top=["a", "b"]).forward()
    assert [values.tolist() for values in both.values()] == [[0.5, 0.5], [0.5, 0.5]]
    each = source_net(type="DummyData", shape=[[2], [1]], data_filler=[3, -1], top=["a", "b"]).forward()
    assert [values.tolist() for values in each.values()] == [[3, 3], [-1]]


def test_random_values_are_drawn_anew_and_constants_are_not():
    fillers = [{"type": "uniform", "min": 2, "max": 4}, 5]
    net = source_net(type="DummyData", shape=[100], data_filler=fillers, top=["a", "b"])
    first = {name: values.copy() for name, values in net.forward().items()}
    assert first["a"].min() > 2
    assert first["a"].max() < 4
    net.blobs["b"].data[...] = 6
    second = net.forward()
    assert (first["a"] != second["a"]).all()
    assert (second["b"] == 6).all()  # filled once, as in Caffe


def test_random_values_follow_from_the_seed():
    def draw(**options):
        return source_net(type="DummyData", shape=[5], data_filler="gaussian", **options).forward()["d"].tolist()

    assert draw() == draw()
    assert draw() != draw(seed=2)
    assert draw() != draw(name="e", top="d")


def test_a_batch_draws_the_same_again_by_its_number():
    net = source_net(type="DummyData", shape=[5], data_filler="gaussian")
    net.forward()
    later = net.forward()["d"].tolist()
    fresh = source_net(type="DummyData", shape=[5], data_filler="gaussian")
    fresh.batch = 1
    assert fresh.forward()["d"].tolist() == later
    assert fresh.forward()["d"].tolist() != later


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "DummyData needs `shape`"),
        ({"shape": [2], "data_filler": [1, 2]}, "needs one filler, or one for each of its 1 tops, got 2"),
        ({"shape": [2], "data_filler": "normal"}, "must be one of constant, uniform, gaussian,"),
        ({"shape": [2], "data_filler": {"type": "uniform", "min": 1, "max": 0}}, "must be <= max, got 1 and 0"),
        ({"shape": [2], "filler": 1}, "no key `filler`; did you mean `data_filler`"),
    ],
)
def test_wrong_fillers(params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        source_net(type="DummyData", **params)


def memory(batch_size=2, **params):
    shape = {"channels": 1, "height": 1, "width": 2}
    return source_net(type="MemoryData", top=["x", "label"], batch_size=batch_size, **(shape | params))


def examples(n):
    """Examples i, i + 0.5 with label 10 + i."""
    return (np.arange(n)[:, None] + [0, 0.5]).reshape(n, 1, 1, 2), np.arange(10, 10 + n)


def test_memory_data_goes_round_in_order():
    net = memory()
    net.layers["d"].reset(*examples(4))
    for first in (0, 2, 0, 2, 0):
        batch = net.forward()
        assert batch["x"].tolist() == [[[[first, first + 0.5]]], [[[first + 1, first + 1.5]]]]
        assert batch["label"].tolist() == [first + 10, first + 11]


def test_new_arrays_begin_at_their_start():
    net = memory()
    net.layers["d"].reset(*examples(4))
    net.forward()
    data, labels = examples(6)
    net.layers["d"].reset(data + 100, labels + 100)
    assert [net.forward()["label"].tolist() for _ in range(4)] == [[110, 111], [112, 113], [114, 115], [110, 111]]
    assert net.blobs["x"].data[0, 0, 0].tolist() == [100, 100.5]


def test_memory_data_before_it_is_given_any():
    with pytest.raises(nettrain.NettrainError, match=r"MemoryData `d`: has no data yet: call .*reset\(data, labels\)"):
        memory().forward()


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        ((3, 1, 1, 2), (3,)),  # no multiple of the batch
        ((0, 1, 1, 2), (0,)),
        ((4, 1, 2, 1), (4,)),
        ((4, 2), (4,)),
        ((4, 1, 1, 2), (2,)),
        ((4, 1, 1, 2), (4, 1)),
        ((), ()),
    ],
)
def test_arrays_that_do_not_fit_memory_data(data, labels):
    layer = memory().layers["d"]
    with pytest.raises(
        nettrain.ShapeError, match="MemoryData `d` takes n x 1 x 1 x 2 examples and n labels, n a multi"
    ):
        layer.reset(np.zeros(data), np.zeros(labels))


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"batch_size": 0}, "batch_size must be an integer >= 1"),
        ({"width": 0}, "width must be an integer >= 1"),
        ({"height": None}, "height must be an integer >= 1, got nothing"),
        ({"top": ["x"]}, "MemoryData `d` takes 2 tops, got 1"),
    ],
)
def test_wrong_memory_data(params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        source_net(
            **(
                {"type": "MemoryData", "batch_size": 1, "channels": 1, "height": 1, "width": 1, "top": ["x", "y"]}
                | params
            )
        )


def test_memory_data_goes_on_where_a_state_says():
    spec = {
        "name": "m",
        "type": "MemoryData",
        "top": ["x", "t"],
        "batch_size": 2,
        "channels": 1,
        "height": 1,
        "width": 1,
    }
    nets = [nettrain.Net({"layers": [spec]}) for _ in range(2)]
    for net in nets:
        net.layers["m"].reset(np.arange(6.0).reshape(6, 1, 1, 1), np.arange(6))
    nets[0].forward()
    nets[1].layers["m"].set_state(nets[0].layers["m"].state())
    assert nets[1].forward()["t"].tolist() == nets[0].forward()["t"].tolist() == [2, 3]
