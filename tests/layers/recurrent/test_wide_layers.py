"""Layers of so many units that their sequences are shared out to threads: each sequence is what it is alone."""

import nettrain
import numpy as np
import pytest
from nettrain.layers.recurrent.recurrence import LARGE, SEQUENCES


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("count", [1, SEQUENCES - 1, SEQUENCES, 2 * SEQUENCES + 1])
def test_a_sequence_is_the_same_alone_and_among_others(kind, count):
    def outputs(x, dy):
        T, N, D = x.shape
        inputs = [
            {"name": "x", "type": "Input", "shape": [T, N, D]},
            {"name": "cont", "type": "Input", "shape": [T, N]},
        ]
        layer = {"name": "y", "type": kind, "bottom": ["x", "cont"], "num_output": LARGE, "weight_filler": "xavier"}
        net = nettrain.Net({"force_backward": True, "layers": [*inputs, layer]}, "TRAIN", dtype="float64", seed=1)
        y = net.forward(x=x, cont=np.ones((T, N)))["y"].copy()
        return y, net.backward(y=dy)["x"].copy()

    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((3, count, 2)), rng.standard_normal((3, count, LARGE))
    y, dx = outputs(x, dy)
    for n in {0, count - 1}:
        alone = outputs(x[:, [n, n]], dy[:, [n, n]])
        np.testing.assert_allclose(y[:, n], alone[0][:, 1], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(dx[:, n], alone[1][:, 1], rtol=1e-8, atol=1e-14)
    assert np.abs(y).min(axis=(0, 2)).max() > 0
