"""Which gradients may share memory: what shares is seen by whoever writes to one of the two."""

import nettrain
import numpy as np
import pytest


@pytest.mark.parametrize(
    "passes_on",
    [
        {"type": "Eltwise", "bottom": ["x", "a"]},
        {"type": "Bias", "bottom": ["x"]},
        {"type": "Bias", "bottom": ["x", "a"], "axis": 0},
    ],
)
def test_the_gradient_of_an_input_is_the_users(passes_on):
    """A sum passes its gradient on as it is, and may let a bottom's lie in the memory of its top's: not an input's,
    which the user clears, scales and adds to as he likes."""
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 3]},
        {"name": "a", "type": "Parameter", "shape": [2, 3]},
        {"name": "s", "top": "s", **passes_on},
        {"name": "l", "type": "Reduction", "bottom": "s", "operation": "SUMSQ"} | {"loss_weight": 1},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, "TRAIN", dtype="float64")
    net.blobs["x"].data[...] = [[1, 2, 3], [4, 5, 6]]
    net.forward_backward()
    gradient = 2 * net.blobs["s"].data
    np.testing.assert_array_equal(net.blobs["x"].diff, gradient)
    net.blobs["x"].diff.fill(0)
    np.testing.assert_array_equal(net.blobs["s"].diff, gradient)
