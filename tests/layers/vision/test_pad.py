"""Pad at the limits: the widest frame that reflects, images of nothing, and what is no pad."""

import nettrain
import numpy as np
import pytest
from nettrain import SpecError


def padded(x, **params):
    layers = [{"name": "x", "type": "Input", "shape": list(x.shape)}, {"name": "y", "type": "Pad", **params}]
    return nettrain.Net({"layers": layers}, dtype="float64").forward(x=x)["y"]


@pytest.mark.parametrize("pad", [[0, 4], [4, 0], [4, 4]])
def test_a_frame_that_reflects_more_than_there_is_on_one_side_is_an_error(pad):
    x = np.arange(8.0).reshape(2, 4)
    with pytest.raises(SpecError, match=r"axis 1 of 2 x 4 can have at most 3 on each side, got"):
        padded(x, axis=1, pad=[pad], mode="reflect")
    widest = [min(width, 3) for width in pad]
    y = padded(x, axis=1, pad=[widest], mode="reflect")
    np.testing.assert_array_equal(y, np.pad(x, [(0, 0), widest], mode="reflect"))


@pytest.mark.parametrize(("mode", "pad"), [("reflect", [[0, 0]]), ("edge", [[0, 0]]), ("constant", [[2, 1]])])
def test_an_axis_of_nothing(mode, pad):
    y = padded(np.zeros((3, 0)), axis=1, pad=pad, mode=mode, **{"value": 5} if mode == "constant" else {})
    np.testing.assert_array_equal(y, np.full((3, sum(pad[0])), 5.0))


def test_each_pad_that_is_none_is_named_and_nothing_else():
    with pytest.raises(SpecError) as error:
        padded(np.zeros((2, 4, 4)), axis=1, pad=[[1, 2, 3], "x"])
    first, second = (problem.message for problem in error.value.problems)
    assert "pad[0] must be an integer >= 0 or [before, after]" in first
    assert "pad[1] must be " in second
