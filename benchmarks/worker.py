"""One side of side_by_side.py: makes a net, says what it is, then runs and measures steps as it is told.

Told on stdin: ``steps N`` answers the median seconds of N steps, ``finish`` the memory and, from nettrain, the peak of
matrix products. Every answer is a line of JSON; a side that cannot be had answers ``missing`` and ends.
"""

import json
import logging
import resource
import statistics
import sys
import time
import tracemalloc
import warnings
from importlib.util import find_spec
from pathlib import Path

WARM_UP = 3


def nettrain_side(name, wanted, threads):
    """(one step, what the other sides must know, measurements for the end)."""
    import nettrain
    import numpy as np
    from nettrain.compute.parallel import session, use_threads
    from nettrain.tools import timing

    use_threads(threads)
    session().__enter__()  # as one run of many steps is
    spec = Path(__file__).parent / f"{name}.yaml"
    solver = None if wanted["forward"] else nettrain.get_solver(spec)
    net = solver.net if solver else nettrain.Net(spec, phase="TEST")
    data, label = net.blobs["data"], net.blobs.get("label")
    axis = 1 if "cont" in net.inputs else 0  # sequences lie side by side
    if wanted["batch"]:
        for blob in (net.blobs[name] for name in net.inputs):
            blob.reshape((*blob.shape[:axis], wanted["batch"], *blob.shape[axis + 1 :]))
        net.reshape()
    if "cont" in net.inputs:
        net.blobs["cont"].data[1:] = 1  # and begin with each batch, as PyTorch's
    passes = slice(2 if solver else 1)  # forward and backward, or forward alone
    rng = np.random.default_rng(0)
    if label is None:  # the data are targets too, which lie in 0 to 1
        rng.random(dtype=np.float32, out=data.data)
    else:
        rng.standard_normal(dtype=np.float32, out=data.data)
        label.data[...] = rng.integers(0, 10, label.shape)
    about = {
        "parameters": sum(parameter.blob.count for parameter in net.parameters if parameter.lr_mult),
        "shape": data.shape,
        "labels": label.shape if label else None,
        "batch": data.shape[axis],
        "forward": wanted["forward"],
        "engine": net.computed_by,
        "gflop": 1e-9 * sum(sum(timing.flops(step)[passes]) for step in net.steps),
    }
    if solver:
        rates = {"lr": solver.p.base_lr, "momentum": solver.updater.rule.p.momentum}
        about["rates"] = rates | {"weight_decay": solver.p.weight_decay}

        def step():
            solver.step(1)
    else:
        step = forward_of(net)
    return step, about, lambda: {"new_bytes": new_bytes(step), "peak_gflops": timing.sgemm_peak()}


def forward_of(net):
    """Inference, without the loss; statistics as PyTorch's are before training, mean 0 and variance 1."""
    for step in net.steps:
        if step.spec.cls.__name__ == "BatchNorm":
            for blob, value in zip(step.layer.blobs[:3], (0, 1, 1), strict=True):
                blob.data.fill(value)
    last = [name for name, layer in net.layers.items() if not layer.is_loss][-1]

    return lambda: net.forward(end=last)


def torch_net(name, about, threads):
    """The net and its input in PyTorch; stops when it is not the same net."""
    import torch
    from torch_nets import NETS, learned

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = NETS[name]()
    count = sum(parameter.numel() for parameter, _ in learned(net))
    if count != about["parameters"]:
        sys.exit(f"{name}: {count:,} parameters in PyTorch, {about['parameters']:,} in nettrain")
    return net, (torch.rand if about["labels"] is None else torch.randn)(about["shape"])


def torch_side(name, about, threads, memory_format=None):
    """The same net, data and rule."""
    need("torch")
    import torch
    from torch_nets import loss

    net, x = torch_net(name, about, threads)
    if memory_format:
        net, x = (one.to(memory_format=getattr(torch, memory_format)) for one in (net, x))
    version = {"version": torch.__version__}
    if about["forward"]:
        net.eval()

        def step():
            with torch.no_grad():
                net(x)

        return step, version, dict
    label = None if about["labels"] is None else torch.randint(0, 10, about["labels"]).flatten()
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], **about["rates"])

    def step():
        optimizer.zero_grad()
        loss(net(x), x, label).backward()
        optimizer.step()

    return step, version, dict


def channels_last_side(name, about, threads):
    """PyTorch with images and weights in its other order of memory."""
    return torch_side(name, about, threads, "channels_last")


def onnxruntime_side(name, about, threads):
    """PyTorch's net, exported; inference only."""
    need("torch", "onnx", "onnxscript", "onnxruntime")
    import onnxruntime
    import torch

    logging.disable(logging.WARNING)  # the exporter has much to say
    warnings.simplefilter("ignore")
    net, x = torch_net(name, about, threads)
    model = torch.onnx.export(net.eval(), (x,), dynamo=True, verbose=False).model_proto.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    values = {session.get_inputs()[0].name: x.numpy()}

    def step():
        session.run(None, values)

    return step, {"version": onnxruntime.__version__}, dict


class MissingError(Exception):
    """A side that cannot be had here."""


def need(*packages):
    """Raises MissingError when one of them is not installed."""
    if absent := [package for package in packages if not find_spec(package)]:
        raise MissingError(f"{sys.executable} does not have {', '.join(absent)}")


SIDES = {
    "nettrain": nettrain_side,
    "torch": torch_side,
    "channels_last": channels_last_side,
    "onnxruntime": onnxruntime_side,
}


def seconds(step, count):
    """Median of this many steps."""
    times = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def new_bytes(step):
    """The most memory that one step holds beyond what was there before it."""
    tracemalloc.start()
    step()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak - before


def resident_bytes():
    """The most memory this process has had; Linux counts in kB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def answer(**data):
    print(json.dumps(data), flush=True)


def main(side, name, wanted, threads):
    try:
        step, about, finish = SIDES[side](name, json.loads(wanted), int(threads))
    except MissingError as why:
        answer(missing=str(why))
        return
    seconds(step, WARM_UP)
    answer(**about)
    for line in sys.stdin:
        if line.startswith("steps"):
            answer(seconds=seconds(step, int(line.split()[1])))
        else:
            resident = resident_bytes()  # before anything else is measured
            answer(resident_bytes=resident, **finish())


if __name__ == "__main__":
    main(*sys.argv[1:])
