"""Chains: what layers do together is, to the bit, what they do one after the other."""

import nettrain
import numpy as np
import pytest
from helpers import layer
from nettrain.compute import parallel
from nettrain.net.chain import Chain

SIZES = {"kernel_size": 3, "pad": 1}
STEM = [
    layer("conv1", "Convolution", "x", num_output=16, **SIZES),
    layer("bn1", "BatchNorm", affine=True),
    layer("relu1", "ReLU", "bn1", "bn1"),
]
NETS = {
    "plain": [
        layer("conv1", "Convolution", "x", num_output=8, **SIZES),
        layer("relu1", "ReLU", negative_slope=0.1),
        layer("pool1", "Pooling", kernel_size=3, stride=2),
        layer("conv2", "Convolution", num_output=64, kernel_size=3),
        layer("relu2", "ReLU"),
        layer("pool2", "Pooling", pool="AVE", global_pooling=True),
        layer("ip", "InnerProduct", num_output=10),
    ],
    "residual": [
        *STEM,
        layer("conv2", "Convolution", "bn1", num_output=16, **SIZES),
        layer("bn2", "BatchNorm"),
        layer("scale2", "Scale", bias_term=True),
        layer("sum", "Eltwise", ["scale2", "bn1"]),
        layer("relu2", "ReLU", "sum", "sum"),
        layer("short", "Convolution", "sum", num_output=16, kernel_size=1, stride=2, bias_term=False),
        layer("conv3", "Convolution", "sum", num_output=16, stride=2, **SIZES),
        layer("sum3", "Eltwise", ["conv3", "short"], coeff=[1, -2]),
        layer("ip", "InnerProduct", num_output=10),
    ],
    "with a layer that is not known between": [
        *STEM,
        layer("drop", "Dropout", "bn1"),
        layer("conv2", "Convolution", num_output=16, group=16, **SIZES),
        layer("tanh", "TanH"),
        layer("ip", "InnerProduct", num_output=10),
    ],
    "shared weights": [
        layer("conv1", "Convolution", "x", num_output=3, param=[{"name": "w"}, {"name": "b"}], **SIZES),
        layer("relu1", "ReLU"),
        layer("conv2", "Convolution", num_output=3, param=[{"name": "w"}, {"name": "b"}], **SIZES),
        layer("ip", "InnerProduct", num_output=10),
    ],
    "own weights": [
        layer("conv1", "Convolution", "x", num_output=3, **SIZES),
        layer("relu1", "ReLU"),
        layer("conv2", "Convolution", num_output=3, **SIZES),
        layer("ip", "InnerProduct", num_output=10),
    ],
    "large weights": [
        layer("conv1", "Convolution", "x", num_output=256, kernel_size=3, stride=4),
        layer("relu1", "ReLU"),
        layer("conv2", "Convolution", num_output=512, **SIZES),
        layer("ip", "InnerProduct", num_output=10),
    ],
}


def net_of(name, batch=12, **keys):
    inputs = layer("in", "Input", top=["x", "label"], shape=[[batch, 3, 16, 16], [batch]])
    layers = [inputs, *NETS[name], layer("loss", "SoftmaxWithLoss", ["ip", "label"])]
    net = nettrain.Net({"layers": layers}, "TRAIN", engine="onednn", **keys)
    for blob in net.flat.data, *(blob.data for blob in net.blobs.values()):
        blob[...] = 0.1 * np.random.default_rng(blob.size).standard_normal(blob.shape)
    net.blobs["label"].data[...] = np.arange(batch) % 10
    return net


def step(net, layer_by_layer):
    """One step, and everything there is after it."""
    count = len(net.steps)
    net.clear_param_diffs()
    if layer_by_layer:
        net.begin(net.batch)
        net.batch += 1
        net.loss = sum(one.forward() for one in net.steps)
        for one in net.steps:
            for blob, weight in zip(one.top, one.loss_weights, strict=True):
                if weight:
                    blob.diff.fill(weight)
        for i in reversed(range(count)):
            net.run_backward(i, i)
    else:
        net.forward_backward()
    arrays = [net.flat.data, net.flat.diff, *(array for b in net.blobs.values() for array in (b.data, b.diff))]
    return [net.loss, *(array.tobytes() for array in arrays)]


def chains(net):
    return [part for one in net._passes.values() for part in one.parts if isinstance(part, Chain)]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("batch", [1, 2, 12, 19])
@pytest.mark.parametrize("name", NETS)
def test_layers_do_together_what_they_do_one_by_one(name, batch, threads):
    before = parallel.threads()
    parallel.use_threads(threads)
    try:
        together, alone = net_of(name, batch), net_of(name, batch)
        for _ in range(3):
            assert step(together, False) == step(alone, True)
        assert any(len(one.steps) > 1 and one.made for one in chains(together))
    finally:
        parallel.use_threads(before)


def test_gradients_of_several_passes_are_added():
    together, alone = net_of("residual"), net_of("residual")
    for one, layer_by_layer in ((together, False), (alone, True)):
        step(one, layer_by_layer)
        step(one, layer_by_layer)
        for _ in range(2):
            if layer_by_layer:
                for i in range(len(one.steps)):
                    one.run_forward(i, i)
                for i in reversed(range(len(one.steps))):
                    one.run_backward(i, i)
            else:
                one.forward_backward()
    assert together.flat.diff.tobytes() == alone.flat.diff.tobytes()


def test_a_chain_notices_that_memory_moved():
    net, other = net_of("residual", 12), net_of("residual", 12)
    step(net, False)
    step(net, False)
    for batch in (5, 12, 30):
        for one in (net, other):
            one.blobs["x"].reshape((batch, 3, 16, 16))
            one.blobs["label"].reshape((batch,))
            one.reshape()
            one.blobs["x"].data[...] = np.random.default_rng(batch).standard_normal(one.blobs["x"].shape)
            one.blobs["label"].data[...] = np.arange(batch) % 10
        for array, theirs in zip(net.layer_states().items(), other.layer_states().items(), strict=True):
            assert str(array) == str(theirs)
        other.flat.data[...] = net.flat.data
        for _ in range(3):
            assert step(net, False) == step(other, True)
    third = net_of("residual", 30)
    third.flat.data[...] = 0.5 * net.flat.data
    net.share_with(third)
    other.flat.data[...] = third.flat.data
    for _ in range(2):
        assert step(net, False) == step(other, True)


def test_parameters_that_layers_come_to_share_are_noticed():
    """Two layers of their own weights each, then the weights of a net where both have the same."""
    together, alone = net_of("own weights"), net_of("own weights")
    for _ in range(2):
        assert step(together, False) == step(alone, True)
    for one in (together, alone):
        one.share_with(net_of("shared weights"))
    for _ in range(3):
        assert step(together, False) == step(alone, True)
    back = [{step.spec.name for step in one.steps} for one in chains(together) if one.is_backward]
    assert {"conv1", "conv2"} <= set.union(*back)
    assert not any({"conv1", "conv2"} <= names for names in back)  # threads would add to one gradient at once


def test_an_error_says_which_layers_it_came_from(monkeypatch):
    net = net_of("residual")
    step(net, False)
    step(net, False)

    def fails(*_):
        raise RuntimeError("no more")

    monkeypatch.setattr(type(net.layers["bn1"]), "put_together", fails)
    net.blobs["x"].reshape((13, 3, 16, 16))  # new memory: made layer by layer
    net.blobs["label"].reshape((13,))
    with pytest.raises(RuntimeError, match="no more") as caught:
        net.forward()
    assert "BatchNorm `bn1`" in caught.value.__notes__[0]


def test_layers_without_known_work_make_no_chain():
    net = nettrain.Net({"layers": [layer("x", "Input", shape=[2, 3]), layer("y", "ReLU")]}, engine="numpy")
    net.forward()
    assert not chains(net)
