"""Upsample: repeated pixels, unpooling beside the Pooling it undoes, places that are taken twice or are none."""

import nettrain
import numpy as np
import pytest
from helpers import layer, layer_net


def unpooled(x, places, dy=None, **params):
    """One image: y, and dx when dy is given."""
    net = layer_net("Upsample", (1, 1, *np.shape(x)), (1, 1, *np.shape(x)), inputs="x m", **params)
    y = net.forward(x=[[x]], m=[[places]])["y"]
    return (y[0, 0].tolist(), net.backward(y=[[dy]])["x"][0, 0].tolist()) if dy is not None else y[0, 0].tolist()


def test_pixels_are_repeated():
    net = layer_net("Upsample", (1, 1, 1, 2), inputs="x", scale_h=2, scale_w=3)
    y = net.forward(x=[[[[1, 2]]]])["y"]
    assert y[0, 0].tolist() == [[1, 1, 1, 2, 2, 2]] * 2
    dx = net.backward(y=[[[[1, 2, 3, 4, 5, 6], [10, 20, 30, 40, 50, 60]]]])["x"]
    assert dx[0, 0].tolist() == [[66, 165]]
    assert layer_net("Upsample", (2, 3, 4, 5)).blobs["y"].shape == (2, 3, 8, 10)
    assert layer_net("Upsample", (2, 3, 4, 5), scale=1).blobs["y"].shape == (2, 3, 4, 5)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (40, 64, 12, 10), (0, 2, 3, 3)])
def test_repetition_is_a_tensor_product_with_ones(shape, channels_last):
    net = layer_net("Upsample", shape, inputs="x", scale_h=3, scale_w=2, channels_last=channels_last)
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal(shape), rng.standard_normal((*shape[:2], 3 * shape[2], 2 * shape[3]))
    np.testing.assert_array_equal(net.forward(x=x)["y"], np.kron(x, np.ones((1, 1, 3, 2))))
    sums = dy.reshape(*shape[:3], 3, shape[3], 2).sum(axis=(3, 5))
    np.testing.assert_allclose(net.backward(y=dy)["x"], sums, rtol=1e-10, atol=1e-13)


def test_each_value_goes_to_its_place():
    y, dx = unpooled([[1, 2], [9, 4]], [[2, 5], [12, 14]], np.arange(16).reshape(4, 4))  # the example of SegNet's test
    assert y == [[0, 0, 1, 0], [0, 2, 0, 0], [0, 0, 0, 0], [9, 0, 4, 0]]
    assert dx == [[2, 5], [12, 14]]


def test_of_several_with_one_place_the_last_counts():
    y, dx = unpooled([[1, 2], [3, 4]], [[5, 5], [-1, 0]], np.arange(16).reshape(4, 4))
    assert y == [[4, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert dx == [[0, 5], [0, 0]]
    assert unpooled([[1, 2]], [[1, 1]], [[7, 8, 9, 9]] * 2) == ([[0, 2, 0, 0], [0, 0, 0, 0]], [[0, 8]])


def test_one_place_at_a_time():
    rng = np.random.default_rng(1)
    for _ in range(30):
        shape = tuple(int(n) for n in rng.integers(1, 5, 4))
        sizes = [int(n) for n in rng.integers(1, 7, 2)]
        net = layer_net("Upsample", shape, shape, inputs="x m", upsample_h=sizes[0], upsample_w=sizes[1])
        for name in ("x", "m"):
            net.blobs[name].reshape(shape, channels_last=bool(rng.integers(2)))
        net.reshape()
        x, dy = rng.standard_normal(shape), rng.standard_normal((*shape[:2], *sizes))
        m = rng.integers(-1, sizes[0] * sizes[1], shape)
        y, dx = net.forward(x=x, m=m)["y"], net.backward(y=dy)["x"]
        expected, origin = np.zeros(dy.shape), {}
        for place in np.ndindex(*shape):
            if m[place] >= 0:
                at = (*place[:2], *divmod(m[place], sizes[1]))
                expected[at], origin[at] = x[place], place
        back = np.zeros(shape)
        for at, place in origin.items():
            back[place] = dy[at]
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(dx, back)
        assert not net.blobs["m"].diff.any()


@pytest.mark.parametrize(
    ("size", "params"),
    [
        ((6, 8), {}),
        ((5, 8), {"pad_out_h": True}),
        ((5, 7), {"pad_out_h": True, "pad_out_w": True}),
        ((5, 7), {"upsample_h": 5, "upsample_w": 7}),
    ],
)
def test_it_undoes_the_pooling_whose_places_it_gets(size, params):
    """Of y, pooled again, comes what was pooled; elsewhere y is 0."""
    x = 1 + np.random.default_rng(0).random((2, 3, *size))
    layers = [
        layer("x", "Input", shape=list(x.shape)),
        layer("pool", "Pooling", "x", ["small", "where"], kernel_size=2, stride=2),
        layer("y", "Upsample", ["small", "where"], **params),
        layer("again", "Pooling", "y", kernel_size=2, stride=2),
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, dtype="float64")
    net.forward(x=x)
    y = net.blobs["y"].data
    assert y.shape == x.shape
    np.testing.assert_array_equal(net.blobs["again"].data, net.blobs["small"].data)
    np.testing.assert_array_equal(y[y != 0], x[y != 0])
    net.backward(again=np.ones(net.blobs["again"].shape))
    np.testing.assert_array_equal(net.blobs["x"].diff, y != 0)


def test_a_net_that_learns_may_pool_and_unpool():
    """The places come from a layer after one that learns, and have no gradient to give it."""
    layers = [
        layer("x", "Input", shape=[2, 3, 8, 8]),
        layer("conv", "Convolution", num_output=4, kernel_size=3, pad=1, weight_filler="xavier"),
        layer("pool", "Pooling", "conv", ["small", "where"], kernel_size=2, stride=2),
        layer("up", "Upsample", ["small", "where"]),
        layer("mean", "Reduction", "up", operation="SUMSQ", loss_weight=1),
    ]
    net = nettrain.Net({"layers": layers}, phase="TRAIN", dtype="float64")
    net.forward(x=np.random.default_rng(0).standard_normal((2, 3, 8, 8)))
    net.backward()
    small, where = net.blobs["small"].data, net.blobs["where"].data.astype(int)
    expected = np.zeros((2, 4, 64))
    np.put_along_axis(expected, where.reshape(2, 4, 16), 2 * small.reshape(2, 4, 16), 2)
    np.testing.assert_allclose(net.blobs["conv"].diff.reshape(2, 4, 64), expected, rtol=1e-12)
    assert np.abs(net.params["conv"][0].diff).max() > 0


@pytest.mark.parametrize(("place", "named"), [(8, "8"), (-2, "-2"), (7.6, "7.6"), (np.nan, "nan"), (np.inf, "inf")])
def test_a_place_that_is_not_there_is_named(place, named):
    words = f"place {named} is beyond an image of 2 x 4, whose places are 0 to 7; the top must be as large as"
    with pytest.raises(nettrain.NettrainError, match=words):
        unpooled([[1, 2]], [[0, place]])


@pytest.mark.parametrize("value", [1000, -1000, 1e30, np.inf, np.nan])
def test_extreme_values_are_moved_as_any_other(value):
    np.testing.assert_array_equal(unpooled([[value]], [[3]]), [[0, 0], [0, value]])
    y = layer_net("Upsample", (1, 1, 1, 1), inputs="x").forward(x=[[[[value]]]])["y"]
    np.testing.assert_array_equal(y, np.full((1, 1, 2, 2), value))
