"""Convolutions of single channels take a path of their own; it gives what one convolution for each channel gives."""

import nettrain
import numpy as np
import pytest
from nettrain.layers.vision.depthwise import Depthwise

GEOMETRIES = [
    {"kernel_size": 3, "pad": 1},
    {"kernel_size": [5, 2], "pad": [2, 1], "dilation": [1, 2]},
    {"kernel_size": 3, "stride": 2, "pad": 1},
    {"kernel_size": [2, 3], "stride": [3, 1], "dilation": 2, "pad": 2},
    {"kernel_size": 1},
]


def run(layers, shape, x, weights):
    """Tops, gradients of bottom and parameters for the loss Σ y² / 2 of one net in float64."""
    net = nettrain.Net(
        {"force_backward": True, "layers": [{"name": "x", "type": "Input", "shape": list(shape)}, *layers]},
        dtype="float64",
    )
    for name, (W, b) in weights.items():
        net.params[name][0].data[...] = W
        net.params[name][1].data[...] = b
    net.forward(x=x)
    net.blobs["y"].diff[...] = net.blobs["y"].data
    net.backward()
    return net


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("channels", [3, 17])
@pytest.mark.parametrize("behind", [False, True], ids=["plain", "channels last"])
def test_equals_one_convolution_for_each_channel(kind, geometry, channels, behind):
    compare(kind, geometry, (3, channels, 9, 26), behind)


def compare(kind, geometry, shape, behind=False):
    rng, channels, axes = np.random.default_rng(5), shape[1], len(shape) - 2
    x = rng.standard_normal(shape)
    first = {"name": "first", "type": "Convolution", "kernel_size": 1, "num_output": channels, "top": "f"}
    start = [{**first, "bottom": "x"}] if behind else []
    source = "f" if behind else "x"
    W0 = rng.standard_normal((channels, channels, *[1] * axes)), np.zeros(channels)
    kernel = geometry["kernel_size"]
    kernel = kernel if isinstance(kernel, list) else [kernel] * axes
    W, b = rng.standard_normal((channels, 1, *kernel)), rng.standard_normal(channels)
    layer = {"name": "y", "type": kind, "bottom": source, **geometry}
    given = {"first": W0} if behind else {}
    one = run([*start, {**layer, "num_output": channels, "group": channels}], shape, x, {**given, "y": (W, b)})
    slices = {"name": "cut", "type": "Slice", "bottom": source, "top": [f"x{i}" for i in range(channels)]}
    alone = [{**layer, "name": f"c{i}", "num_output": 1, "bottom": f"x{i}", "top": f"y{i}"} for i in range(channels)]
    joined = {"name": "y", "type": "Concat", "bottom": [f"y{i}" for i in range(channels)]}
    each = {f"c{i}": (W[i : i + 1], b[i : i + 1]) for i in range(channels)}
    many = run([*start, slices, *alone, joined], shape, x, {**given, **each})

    def same(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)

    same(one.blobs["y"].data, many.blobs["y"].data)
    same(one.blobs["x"].diff, many.blobs["x"].diff)
    for k in (0, 1):
        parts = [many.params[f"c{i}"][k].diff for i in range(channels)]
        same(one.params["y"][k].diff, np.concatenate(parts))


@pytest.mark.parametrize("kind", ["Convolution", "Deconvolution"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(16, 17, 40), (17, 16, 7, 9), (1, 16, 80, 70), (3, 16, 4, 5, 6)], ids=str)
def test_any_number_of_axes_examples_and_bands(kind, stride, shape):
    compare(kind, {"kernel_size": 3, "stride": stride, "pad": 1}, shape)


def test_takes_that_path_where_enough_lies_together():
    assert Depthwise.serves(3, 3, 3, (2, 1))
    assert Depthwise.serves(16, 16, 16, (2, 2))
    assert not Depthwise.serves(3, 3, 3, (1, 2))
    assert not any(Depthwise.serves(*sizes, (1, 1)) for sizes in ((1, 1, 1), (4, 4, 2), (4, 8, 4)))
