"""How a training step grows with the batch, the depth, the width, the image and the sequence, beside PyTorch.

    python benchmarks/growth.py
    python benchmarks/growth.py --axes batch,depth --torch-python ~/torch/bin/python

The same net on both sides, turn by turn, in processes of their own; nets with images in PyTorch's channels_last order.
"""

import argparse
import os
import sys
from contextlib import nullcontext
from statistics import median

from side_by_side import positive
from zoo import Server, serve

AXES = {
    "batch": (1, 4, 16, 64, 256, 512),
    "depth": (4, 40, 400),
    "width": (16, 64, 256, 1024, 4096),
    "image": (16, 56, 112, 224, 448),
    "sequence": (1, 10, 100, 1000),
}
NETS = {
    "batch": "3 x 32 x 32, two convolutions with pooling (32, 64 channels, 5 x 5), 10 classes",
    "depth": "16 images of 16 x 16 x 16, so many 3 x 3 convolutions of 16 channels with ReLU",
    "width": "64 examples of 256, two hidden layers of that width, 10 classes",
    "image": "4 images of that size with 3 channels, 16 and 32 channels 3 x 3 with pooling, a mean over places",
    "sequence": "16 sequences of that length, an LSTM 64 -> 64, a class for each step",
}
CASES = [(axis, value) for axis, values in AXES.items() for value in values]
RATES = {"base_lr": 1e-4, "momentum": 0.9, "weight_decay": 5e-4, "max_iter": 10**6}


def shapes_of(axis, value):
    """Of the data and of the labels."""
    return {
        "batch": ((value, 3, 32, 32), (value,)),
        "depth": ((16, 16, 16, 16), (16,)),
        "width": ((64, 256), (64,)),
        "image": ((4, 3, value, value), (4,)),
        "sequence": ((value, 16, 64), (value, 16)),
    }[axis]


def layers_of(axis, value):
    """The layers between the data and the loss, each as type and keys."""

    def convolution(outputs, kernel):
        return ("Convolution", {"num_output": outputs, "kernel_size": kernel, "pad": kernel // 2})

    pool, scores = ("Pooling", {"kernel_size": 2, "stride": 2}), ("InnerProduct", {"num_output": 10})
    if axis == "batch":
        return [convolution(32, 5), ("ReLU", {}), pool, convolution(64, 5), ("ReLU", {}), pool, scores]
    if axis == "depth":
        return [convolution(16, 3), ("ReLU", {})] * value + [scores]
    if axis == "width":
        return [("InnerProduct", {"num_output": value}), ("ReLU", {})] * 2 + [scores]
    if axis == "image":
        mean = ("Pooling", {"pool": "AVE", "global_pooling": True})
        return [convolution(16, 3), ("ReLU", {}), pool, convolution(32, 3), ("ReLU", {}), pool, mean, scores]
    return [("LSTM", {"num_output": 64}), ("InnerProduct", {"num_output": 10, "axis": 2})]


def nettrain_side(case, threads):
    import nettrain
    import numpy as np
    from nettrain.compute.parallel import use_threads

    use_threads(threads)
    axis, value = case
    data, label = shapes_of(axis, value)
    names, shapes = ["data", "label"], [list(data), list(label)]
    if axis == "sequence":
        names, shapes = [*names, "cont"], [*shapes, list(label)]
    layers, before = [{"name": "in", "type": "Input", "top": names, "shape": shapes}], "data"
    for i, (kind, keys) in enumerate(layers_of(axis, value)):
        bottom = [before, "cont"] if kind == "LSTM" else before
        layers.append({"name": f"l{i}", "type": kind, "bottom": bottom, "top": f"l{i}", **keys})
        before = f"l{i}"
    loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": [before, "label"]}
    if axis == "sequence":
        loss["axis"] = 2
    solver = nettrain.get_solver({"solver": RATES, "layers": [*layers, loss]})
    rng = np.random.default_rng(0)
    solver.net.blobs["data"].data[...] = rng.standard_normal(data, dtype=np.float32)
    solver.net.blobs["label"].data[...] = rng.integers(0, 10, label)
    if axis == "sequence":
        solver.net.blobs["cont"].data[1:] = 1
    return lambda: solver.step(1)


def one_run():
    """What holds from the first step of a run to its last."""
    from nettrain.compute.parallel import session

    return session()


def torch_side(case, threads):
    import torch
    from torch import nn

    torch.set_num_threads(threads)
    axis, value = case
    data, label = shapes_of(axis, value)
    make = {
        "Convolution": lambda keys: nn.LazyConv2d(keys["num_output"], keys["kernel_size"], padding=keys["pad"]),
        "Pooling": lambda keys: nn.AdaptiveAvgPool2d(1) if "pool" in keys else nn.MaxPool2d(2),
        "ReLU": lambda keys: nn.ReLU(inplace=True),
        "InnerProduct": lambda keys: nn.LazyLinear(keys["num_output"]),
        "LSTM": lambda keys: nn.LSTM(64, keys["num_output"]),
    }
    parts = [make[kind](keys) for kind, keys in layers_of(axis, value)]
    x, target = torch.randn(data), torch.randint(0, 10, label)
    if x.ndim == 4:
        parts.insert(-1, nn.Flatten())
        x = x.contiguous(memory_format=torch.channels_last)
    if axis == "sequence":
        recurrent, scores = parts

        def forward():
            return scores(recurrent(x)[0]).flatten(0, 1)
    else:
        net = nn.Sequential(*parts)

        def forward():
            return net(x)

    forward()  # makes what is lazy
    modules = nn.ModuleList(parts)
    if x.ndim == 4:
        modules.to(memory_format=torch.channels_last)
    rates = {"lr": RATES["base_lr"], "momentum": RATES["momentum"], "weight_decay": RATES["weight_decay"]}
    optimizer = torch.optim.SGD(modules.parameters(), **rates)

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(forward(), target.flatten()).backward()
        optimizer.step()

    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--axes", default=",".join(AXES), help=f"only these of {', '.join(AXES)}")
    parser.add_argument("--rounds", type=positive, default=5, help="turns of each side; default 5")
    parser.add_argument("--threads", type=positive, default=cores, help="of both sides; default all cores")
    parser.add_argument("--only", choices=["nettrain"], help="without PyTorch")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH", help="interpreter that has torch")
    parser.add_argument("--side", choices=["nettrain", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    makers = {"nettrain": nettrain_side, "torch": torch_side}
    if options.side:
        with one_run() if options.side == "nettrain" else nullcontext():
            serve(options.threads, CASES, makers[options.side])
        return
    with Server(__file__, sys.executable, "nettrain", options.threads) as mine:
        theirs = None if options.only else Server(__file__, options.torch_python, "torch", options.threads)
        for axis in options.axes.split(","):
            print(f"{axis}: {NETS[axis]}\n{axis:>10s} nettrain ms   torch ms   ratio")
            for number, case in enumerate(CASES):
                if case[0] != axis:
                    continue
                sides = [mine, theirs] if theirs else [mine]
                for side in sides:
                    side.take(number)
                turns = [[side.turn() for side in sides] for _ in range(options.rounds)]
                times = [f"{1e3 * median(column):11.2f}" for column in zip(*turns, strict=True)]
                ratio = f"{median(a / b for a, b in turns):7.2f}" if theirs else ""
                print(f"{case[1]:10d} {' '.join(times)} {ratio}", flush=True)
        if theirs:
            theirs.__exit__()


if __name__ == "__main__":
    main()
