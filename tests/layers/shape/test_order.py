"""Permute and ShuffleChannel: known values, and that order says where each axis comes from, not where it goes."""

import numpy as np
import pytest
from helpers import layer_net


@pytest.mark.parametrize(
    ("order", "shape"),
    [
        ([0, 2, 3, 1], (2, 4, 5, 3)),
        ([0, 2], (2, 4, 3, 5)),
        ([3], (5, 2, 3, 4)),
        ([-1, -2], (5, 4, 2, 3)),
        ([], (2, 3, 4, 5)),
        ([1, 2, 0], (3, 4, 2, 5)),
    ],
)
def test_sizes_follow_the_order(order, shape):
    net = layer_net("Permute", (2, 3, 4, 5), order=order)
    assert net.blobs["y"].shape == shape


def test_known_values_of_an_order_that_is_not_its_own_inverse():
    net = layer_net("Permute", (1, 2, 3), order=[1, 2, 0], inputs="x")
    y = net.forward(x=[[[1, 2, 3], [4, 5, 6]]])["y"]
    np.testing.assert_array_equal(y, [[[1], [2], [3]], [[4], [5], [6]]])
    net = layer_net("Permute", (2, 1, 2), order=[2, 0, 1], inputs="x")
    np.testing.assert_array_equal(net.forward(x=[[[1, 2]], [[3, 4]]])["y"], [[[1], [3]], [[2], [4]]])
    np.testing.assert_array_equal(net.backward(y=[[[10], [30]], [[20], [40]]])["x"], [[[10, 20]], [[30, 40]]])


def test_channels_of_the_groups_come_in_turn():
    net = layer_net("ShuffleChannel", (1, 6), group=2, inputs="x")
    np.testing.assert_array_equal(net.forward(x=[[1, 2, 3, 11, 12, 13]])["y"], [[1, 11, 2, 12, 3, 13]])
    np.testing.assert_array_equal(net.backward(y=[[1, 11, 2, 12, 3, 13]])["x"], [[1, 2, 3, 11, 12, 13]])


def test_shuffling_is_a_permutation_of_an_axis_of_groups():
    """What a net says with Reshape, Permute and Reshape, and what is undone by the other number of groups."""
    x = np.random.default_rng(0).standard_normal((2, 12, 3, 2))
    y = layer_net("ShuffleChannel", x.shape, group=3, inputs="x").forward(x=x)["y"]
    spread = layer_net("Permute", (2, 3, 4, 3, 2), order=[0, 2, 1], inputs="x").forward(x=x.reshape(2, 3, 4, 3, 2))
    np.testing.assert_array_equal(y, spread["y"].reshape(x.shape))
    np.testing.assert_array_equal(layer_net("ShuffleChannel", x.shape, group=4, inputs="x").forward(x=y)["y"], x)


@pytest.mark.parametrize("value", [1000, -1000, np.inf, np.nan])
def test_extreme_values_are_moved_as_any_other(value):
    x = np.full((1, 2, 2), value)
    np.testing.assert_array_equal(layer_net("Permute", x.shape, order=[0, 2, 1], inputs="x").forward(x=x)["y"], x)
