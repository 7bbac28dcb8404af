"""One side of side_by_side.py: makes a net, says what it is, then runs and measures steps as it is told.

Told on stdin: ``steps N`` answers the median seconds of N steps, ``finish`` the memory and, from nettrain, the peak of
matrix products. Every answer is a line of JSON.
"""

import json
import resource
import statistics
import sys
import time
import tracemalloc
from pathlib import Path

WARM_UP = 3


def nettrain_side(name, batch, threads):
    """(one step, what the other side must know, measurements for the end)."""
    import nettrain
    import numpy as np
    from nettrain.compute.parallel import use_threads
    from nettrain.tools import timing

    use_threads(threads)
    solver = nettrain.get_solver(Path(__file__).parent / f"{name}.yaml")
    net = solver.net
    data, label = net.blobs["data"], net.blobs["label"]
    axis = 1 if "cont" in net.inputs else 0  # sequences lie side by side
    if batch:
        for blob in (net.blobs[name] for name in net.inputs):
            blob.reshape((*blob.shape[:axis], batch, *blob.shape[axis + 1 :]))
        net.reshape()
    if "cont" in net.inputs:
        net.blobs["cont"].data[1:] = 1  # and begin with each batch, as PyTorch's
    shape = data.shape
    rng = np.random.default_rng(0)
    rng.standard_normal(dtype=np.float32, out=data.data)
    label.data[...] = rng.integers(0, 10, label.shape)
    about = {
        "parameters": net.flat.count,
        "shape": shape,
        "labels": label.shape,
        "batch": shape[axis],
        "lr": solver.p.base_lr,
        "momentum": solver.updater.rule.p.momentum,
        "weight_decay": solver.p.weight_decay,
        "gflop": 1e-9 * sum(sum(timing.flops(step)) for step in net.steps),
    }

    def step():
        solver.step(1)

    return step, about, lambda: {"new_bytes": new_bytes(step), "peak_gflops": timing.sgemm_peak()}


def torch_side(name, about, threads):
    """The same net, data and rule; stops when the net is not the same."""
    import torch
    from torch_nets import NETS

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = NETS[name]()
    count = sum(p.numel() for p in net.parameters() if p.requires_grad)
    if count != about["parameters"]:
        sys.exit(f"{name}: {count:,} parameters in PyTorch, {about['parameters']:,} in nettrain")
    x = torch.randn(about["shape"])
    label = torch.randint(0, 10, about["labels"]).flatten()
    rates = {"lr": about["lr"], "momentum": about["momentum"], "weight_decay": about["weight_decay"]}
    learned = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(learned, **rates)

    def step():
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), label).backward()
        optimizer.step()

    return step, {"version": torch.__version__}, dict


def seconds(step, count):
    """Median of so many steps."""
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


def main(side, name, about_or_batch, threads):
    make = nettrain_side if side == "nettrain" else torch_side
    step, about, finish = make(name, json.loads(about_or_batch), int(threads))
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
