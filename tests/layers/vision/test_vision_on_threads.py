"""Depthwise convolution, Deconvolution, drawn and pyramid pooling, Im2col: the same bits with any number of threads."""

import nettrain
import numpy as np
import pytest
from nettrain.compute import parallel


@pytest.fixture
def threads():
    before = parallel.threads()
    yield parallel.use_threads
    parallel.use_threads(before)


def results():
    """Data and gradients of everything, from batches of many tasks."""
    layers = [
        {"name": "x", "type": "Input", "shape": [24, 8, 28, 26]},
        {"name": "drawn", "type": "Pooling", "pool": "STOCHASTIC", "kernel_size": 3, "stride": 1},
        {"name": "each", "type": "Convolution", "num_output": 8, "kernel_size": 1},
        {"name": "alone", "type": "Convolution", "num_output": 8, "kernel_size": 3, "pad": 1, "group": 8},
        {"name": "up", "type": "Deconvolution", "num_output": 8, "kernel_size": 4, "stride": 2, "pad": 1, "group": 2},
        {"name": "wide", "type": "Deconvolution", "num_output": 4, "kernel_size": 3, "pad": 1},
        {"name": "columns", "type": "Im2col", "kernel_size": 2, "stride": 2},
        {"name": "pyramid", "type": "SPP", "pyramid_height": 3},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN")
    rng = np.random.default_rng(0)
    for _ in range(2):
        net.forward(x=rng.random((24, 8, 28, 26)))
        net.backward(pyramid=rng.standard_normal(net.blobs["pyramid"].shape))
    blobs = [*net.blobs.values(), *(blob for name in ("each", "alone", "up", "wide") for blob in net.params[name])]
    return [(blob.data.copy(), blob.diff.copy()) for blob in blobs]


def test_the_bits_do_not_depend_on_the_number_of_threads(threads):
    threads(1)
    alone = results()
    assert all(np.abs(diff).max() > 0 for _, diff in alone)
    for count in (2, 3):
        threads(count)
        for mine, expected in zip(results(), alone, strict=True):
            np.testing.assert_array_equal(mine, expected)


@pytest.mark.parametrize("size", [64, 100])
def test_a_net_that_begins_like_fcn_trains_to_the_same_bits(size, threads):
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 3, size, size]},
        {"name": "conv1", "type": "Convolution", "num_output": 8, "kernel_size": 3, "pad": 100},
        {"name": "relu1", "type": "ReLU", "top": "conv1"},
        {"name": "conv2", "type": "Convolution", "num_output": 8, "kernel_size": 3, "pad": 1},
        {"name": "pool", "type": "Pooling", "kernel_size": 2, "stride": 2},
        {"name": "alone", "type": "Convolution", "num_output": 8, "kernel_size": 3, "pad": 90, "stride": 2, "group": 8},
        {"name": "up", "type": "Deconvolution", "num_output": 2, "kernel_size": 4, "stride": 2, "pad": 100},
        {"name": "square", "type": "Reduction", "operation": "SUMSQ", "loss_weight": 1e-4},
    ]
    x = np.random.default_rng(0).standard_normal((2, 3, size, size))
    found = []
    for count in (1, 2):
        threads(count)
        net, losses = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN"), []
        blobs = [blob for name in ("conv1", "conv2", "alone", "up") for blob in net.params[name]]
        for _ in range(3):
            net.clear_param_diffs()
            net.blobs["x"].data[...] = x
            losses.append(net.forward_backward())
            for blob in blobs:
                blob.data[...] -= 1e-3 * blob.diff
        assert losses[0] > losses[1] > losses[2] > 0
        found.append([losses, net.blobs["x"].diff.copy(), *(blob.data.copy() for blob in blobs)])
    for mine, expected in zip(*found, strict=True):
        np.testing.assert_array_equal(mine, expected)
