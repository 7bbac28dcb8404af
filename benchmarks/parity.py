"""The same parameters and the same few examples in nettrain and in PyTorch: what loss and which gradients come out.

    python benchmarks/parity.py resnet18 lstm

Both compute in float64: in float32 a ReLU or a maximum that rounding sends the other way changes the first layer's
gradient of a deep net by up to a hundredth, in either library. Dropout is off on both sides. The numbers of PyTorch
are kept in tests/oracle_torch/nets.npz, for machines without it.
"""

import math
import re
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
SHAPES = {
    "mlp64": (4, 784),
    "mlp256": (4, 784),
    "lenet": (4, 1, 28, 28),
    "cifar10_quick": (4, 3, 32, 32),
    "alexnet": (2, 3, 227, 227),
    "lstm": (5, 3, 128),
    "resnet18": (2, 3, 224, 224),
    "resnet20": (4, 3, 32, 32),
    "vgg11": (1, 3, 224, 224),
    "squeezenet": (2, 3, 224, 224),
    "mobilenet": (2, 3, 224, 224),
    "autoencoder": (4, 784),
}
SAMPLE = 500  # values of the first layer's gradient that are compared


def batch(name):
    """Examples from 0 to 1, and labels, which an autoencoder does not look at."""
    shape = SHAPES[name]
    x = np.random.default_rng(1).random(shape, np.float32)
    count = math.prod(shape[:2]) if name == "lstm" else shape[0]
    return x, np.arange(count) % 10


def values(shapes):
    """Parameters that keep the size of what passes through; what has one axis is an offset, or a factor."""
    rng = np.random.default_rng(2)
    for shape in shapes:
        drawn = rng.random(shape, np.float32)
        if len(shape) > 1:
            reach = math.sqrt(6 / math.prod(shape[1:]))
            drawn *= 2 * reach
            drawn -= reach
        else:
            drawn *= 1.2
            drawn -= 0.2
        yield drawn


def sample(gradient):
    """Values from all over an array."""
    flat = gradient.ravel()
    return flat[:: math.ceil(len(flat) / SAMPLE)]


def nettrain_numbers(name):
    """Shapes of what is learned, the loss, and values of the first layer's gradient."""
    import nettrain

    spec = HERE / f"{name}.yaml"
    x, label = batch(name)
    labels = [list(x.shape[:2])] * 2 if name == "lstm" else [[len(label)]]
    shapes = [list(x.shape), *(labels if name != "autoencoder" else [])]
    dropouts, filled = (
        re.findall(rf"name: (\w+), type: {kind}", spec.read_text())
        for kind in ("Dropout", "(?:Convolution|InnerProduct)")
    )
    settings = [f"data.shape={shapes}", *(f"{layer}.dropout_ratio=0" for layer in dropouts)]
    settings += [f"{layer}.weight_filler=constant" for layer in filled]  # not drawn, as other values take their place
    net = nettrain.Net(spec, "TRAIN", settings=settings, dtype="float64")
    learned = [parameter.blob for parameter in net.parameters if parameter.lr_mult]
    shapes = [blob.shape for blob in learned]
    for blob, drawn in zip(learned, values(shapes), strict=True):
        blob.data[...] = drawn
    net.blobs["data"].data[...] = x
    if "label" in net.inputs:
        net.blobs["label"].data[...] = label.reshape(net.blobs["label"].shape)
    if "cont" in net.inputs:
        net.blobs["cont"].data[1:] = 1
    loss = net.forward_backward()
    return {"shapes": shapes, "loss": loss, "gradient": sample(learned[0].diff)}


def torch_numbers(name):
    """The same from PyTorch."""
    import torch
    import torch_nets

    net = torch_nets.NETS[name]()
    for module in net.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    learned = torch_nets.learned(net)
    shapes = [tuple(parameter.shape) for parameter, _ in learned]
    with torch.no_grad():
        for (parameter, to_torch), drawn in zip(learned, values(shapes), strict=True):
            parameter.copy_(to_torch(torch.from_numpy(drawn)))
    net = net.double()
    x, label = batch(name)
    x = torch.from_numpy(x).double()
    loss = torch_nets.loss(net(x), x, None if name == "autoencoder" else torch.from_numpy(label))
    loss.backward()
    first, to_torch = torch_nets.learned(net)[0]
    return {"shapes": shapes, "loss": loss.item(), "gradient": sample(to_torch(first.grad).numpy())}


def distance(mine, theirs):
    """How far values are from those that are right, as a share of their size."""
    return float(np.linalg.norm(np.subtract(mine, theirs)) / np.linalg.norm(theirs))


def main(names):
    for name in names or SHAPES:
        mine, theirs = nettrain_numbers(name), torch_numbers(name)
        same = "same" if mine["shapes"] == theirs["shapes"] else "OTHER"
        apart = ", ".join(f"{key} {distance(mine[key], theirs[key]):.1e} apart" for key in ("loss", "gradient"))
        print(f"{name}: {same} parameters, {apart}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
