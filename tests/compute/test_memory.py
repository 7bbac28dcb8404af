"""Where memory begins."""

import numpy as np
import pytest
from nettrain.compute.memory import Memory, zeros


@pytest.mark.parametrize("dtype", [np.uint8, bool, np.float32, np.float64, np.int64])
@pytest.mark.parametrize("count", [0, 1, 7, 5000, 10**6])
def test_memory_begins_at_a_line_of_the_cache(dtype, count):
    array = zeros(count, dtype)
    assert (array.size, array.dtype) == (count, dtype)
    assert not array.any()
    assert array.__array_interface__["data"][0] % 64 == 0 or not count


def test_what_a_memory_gives_begins_there_too_and_stays_when_less_is_asked_for():
    memory = Memory()
    for shape in ((3, 5), (400, 9, 7), (2, 2)):
        view = memory.view(shape, np.float32)
        assert view.shape == shape
        assert view.__array_interface__["data"][0] % 64 == 0
    assert memory.array.size == 400 * 9 * 7
