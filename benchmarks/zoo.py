"""Every layer type against PyTorch on a blob of 64 x 64 x 28 x 28: forward and backward, taking turns.

    python benchmarks/zoo.py
    python benchmarks/zoo.py --types Pooling,LRN --threads 1

PyTorch does each layer as its users would write it: with its own function where it has one, else with the shortest
formula. The last column is the median of the ratios of neighbouring turns; a type above 3 is marked.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from side_by_side import Side, pinned, positive

BLOB = (64, 64, 28, 28)
SCORES = (64 * 28 * 28, 64)
ROUND = 0.15  # seconds
LIMIT = 3.0
SEQUENCES = ((20, 32, 128), (20, 32))


@dataclass
class Case:
    """A layer, and ``formula(torch, functional, *bottoms, *params)`` for the same, if there is anything to compare.

    ``kinds`` says what each bottom holds: ``normal``, ``positive``, ``unit`` (0 to 1) or the number of classes.
    """

    type: str
    formula: object = None
    layer: dict = field(default_factory=dict)
    bottoms: tuple = (BLOB,)
    kinds: tuple = ("normal",)
    params: tuple = ()
    tops: int = 1
    phase: str = "TRAIN"


def two(formula, type_name, layer=None, **more):
    return Case(type_name, formula, layer or {}, (BLOB, BLOB), ("normal", "normal"), **more)


def scores(type_name, formula, layer=None, **more):
    """Class scores in rows, with labels."""
    return Case(type_name, formula, layer or {}, (SCORES, SCORES[:1]), ("normal", SCORES[1]), **more)


CASES = [
    Case("AbsVal", lambda t, f, x: x.abs()),
    scores("Accuracy", lambda t, f, x, y: (x.argmax(1) == y).float().mean()),
    Case("ArgMax", lambda t, f, x: x.argmax(1), {"axis": 1}),
    Case("BNLL", lambda t, f, x: f.softplus(x)),
    Case(
        "BatchNorm",
        lambda t, f, x: f.batch_norm(x, t.zeros(64), t.ones(64), training=True, momentum=0.001),
    ),
    Case("BatchReindex", lambda t, f, x, i: x[i], {}, (BLOB, (64,)), ("normal", 64)),
    Case("Bias", lambda t, f, x, b: x + b[:, None, None], params=((64,),)),
    Case("Clip", lambda t, f, x: x.clamp(-1, 1), {"min": -1, "max": 1}),
    two(lambda t, f, x, y: t.cat([x, y], 1), "Concat"),
    Case(
        "ContrastiveLoss",
        lambda t, f, a, b, s: (
            (s * ((a - b) ** 2).sum(1) + (1 - s) * (1 - ((a - b) ** 2).sum(1).sqrt()).clamp(min=0) ** 2).mean() / 2
        ),
        {},
        (SCORES, SCORES, SCORES[:1]),
        ("normal", "normal", 2),
    ),
    Case(
        "Convolution",
        lambda t, f, x, w, b: f.conv2d(x, w, b, padding=1),
        {"num_output": 64, "kernel_size": 3, "pad": 1},
        params=((64, 64, 3, 3), (64,)),
    ),
    Case(
        "Convolution",
        lambda t, f, x, w, b: f.conv2d(x, w, b),
        {"num_output": 64, "kernel_size": 1},
        params=((64, 64, 1, 1), (64,)),
    ),
    Case(
        "Convolution",
        lambda t, f, x, w, b: f.conv2d(x, w, b, padding=1, groups=64),
        {"num_output": 64, "kernel_size": 3, "pad": 1, "group": 64},
        params=((64, 1, 3, 3), (64,)),
    ),
    Case(
        "Crop",
        lambda t, f, x, y: x[:, :, 2:26, 2:26],
        {"offset": 2},
        (BLOB, (64, 64, 24, 24)),
        ("normal", "normal"),
    ),
    Case(
        "Deconvolution",
        lambda t, f, x, w, b: f.conv_transpose2d(x, w, b, stride=2, padding=1),
        {"num_output": 32, "kernel_size": 4, "stride": 2, "pad": 1},
        params=((64, 32, 4, 4), (32,)),
    ),
    Case(
        "Deconvolution",
        lambda t, f, x, w: f.conv_transpose2d(x, w, stride=2, padding=1, groups=64),
        {"num_output": 64, "kernel_size": 4, "stride": 2, "pad": 1, "group": 64, "bias_term": False},
        params=((64, 1, 4, 4),),
    ),
    Case("Dropout", lambda t, f, x: f.dropout(x, 0.5)),
    Case("ELU", lambda t, f, x: f.elu(x)),
    two(lambda t, f, x, y: x + y, "Eltwise"),
    two(lambda t, f, x, y: x * y, "Eltwise", {"operation": "PROD"}),
    two(lambda t, f, x, y: t.maximum(x, y), "Eltwise", {"operation": "MAX"}),
    Case(
        "Embed",
        lambda t, f, i, w, b: f.embedding(i, w) + b,
        {"num_output": 64, "input_dim": 10000},
        (SCORES[:1],),
        (10000,),
        ((10000, 64), (64,)),
    ),
    two(lambda t, f, x, y: ((x - y) ** 2).sum() / (2 * len(x)), "EuclideanLoss"),
    Case("Exp", lambda t, f, x: x.exp()),
    Case("Filter", lambda t, f, x, s: x[s != 0], {}, (BLOB, (64,)), ("normal", 2)),
    Case("Flatten", lambda t, f, x: x.flatten(1)),
    Case("GELU", lambda t, f, x: f.gelu(x)),
    Case("GELU", lambda t, f, x: f.gelu(x, approximate="tanh"), {"approximate": "tanh"}),
    Case(
        "GroupNorm",
        lambda t, f, x, w, b: f.group_norm(x, 8, w, b),
        {"num_groups": 8},
        params=((64,), (64,)),
    ),
    scores(
        "HingeLoss",
        lambda t, f, x, y: (1 - x * (2 * f.one_hot(y, SCORES[1]) - 1)).clamp(min=0).sum() / len(x),
    ),
    Case("Im2col", lambda t, f, x: f.unfold(x, 3, padding=1), {"kernel_size": 3, "pad": 1}),
    Case(
        "InfogainLoss",
        lambda t, f, x, y, h: -(h[0, 0, y] * x.log_softmax(1)).sum() / len(x),
        {},
        (SCORES, SCORES[:1], (1, 1, SCORES[1], SCORES[1])),
        ("normal", SCORES[1], "unit"),
    ),
    Case(
        "InnerProduct",
        lambda t, f, x, w, b: f.linear(x.flatten(1), w, b),
        {"num_output": 64},
        params=((64, 50176), (64,)),
    ),
    two(lambda t, f, x, y: f.l1_loss(x, y), "L1Loss"),
    Case(
        "LRN",
        lambda t, f, x: f.local_response_norm(x, 5, 1e-4, 0.75, 1.0),
        {"alpha": 1e-4},
    ),
    Case(
        "LRN",
        lambda t, f, x: x * (1 + 1e-4 * f.avg_pool2d(x * x, 5, 1, 2)) ** -0.75,
        {"alpha": 1e-4, "norm_region": "WITHIN_CHANNEL"},
    ),
    Case(
        "LayerNorm",
        lambda t, f, x, w, b: f.layer_norm(x, BLOB[1:], w, b),
        {},
        params=(BLOB[1:], BLOB[1:]),
    ),
    Case(
        "LSTM",
        lambda t, f, x, c, w, b, wh: t.lstm(
            x, (t.zeros(1, 32, 256),) * 2, (w, wh, b, b.detach()), True, 1, 0.0, True, False, False
        )[0],
        {"num_output": 256},
        SEQUENCES,
        ("normal", 2),
        ((1024, 128), (1024,), (1024, 256)),
    ),
    Case(
        "GRU",
        lambda t, f, x, c, w, b, wh, bh: t.gru(
            x, t.zeros(1, 32, 256), (w, wh, b, bh), True, 1, 0.0, True, False, False
        )[0],
        {"num_output": 256},
        SEQUENCES,
        ("normal", 2),
        ((768, 128), (768,), (768, 256), (768,)),
    ),
    Case("RNN", None, {"num_output": 256}, SEQUENCES, ("normal", 2)),
    Case("LSTMUnit", None, {}, ((1, 64, 256), (1, 64, 1024), (1, 64)), ("normal", "normal", 2), tops=2),
    Case(
        "Recurrent",
        None,
        {
            "cell": [
                {"name": "both", "type": "Concat", "bottom": ["x", "h"]},
                {"name": "sum", "type": "InnerProduct", "num_output": 256},
                {"name": "h_next", "type": "TanH"},
            ],
            "states": {"name": "h", "next": "h_next", "shape": 256},
            "outputs": "h_next",
        },
        SEQUENCES,
        ("normal", 2),
    ),
    Case("Log", lambda t, f, x: x.log(), kinds=("positive",)),
    Case("LogSoftmax", lambda t, f, x: x.log_softmax(1)),
    Case(
        "MVN",
        lambda t, f, x: (x - x.mean((2, 3), True)) / (x.std((2, 3), keepdim=True, correction=0) + 1e-9),
    ),
    Case(
        "MatMul",
        lambda t, f, x, y: x @ y,
        {},
        (BLOB, BLOB),
        ("normal", "normal"),
    ),
    Case("Maxout", lambda t, f, x: x.unflatten(1, (32, 2)).amax(2), {"num_pieces": 2}),
    Case("Mish", lambda t, f, x: f.mish(x)),
    scores(
        "MulticlassSVMLoss",
        lambda t, f, x, y: ((x - x.gather(1, y[:, None]) + 1).clamp(min=0).sum() - len(x)) / len(x),
    ),
    Case(
        "MultinomialLogisticLoss",
        lambda t, f, x, y: -x.gather(1, y[:, None]).clamp(min=1e-20).log().mean(),
        {},
        (SCORES, SCORES[:1]),
        ("unit", SCORES[1]),
    ),
    Case(
        "PReLU",
        lambda t, f, x, a: f.prelu(x, a),
        params=((64,),),
    ),
    Case("Pad", lambda t, f, x: f.pad(x, (1, 1, 1, 1)), {"pad": 1}),
    Case("Pad", lambda t, f, x: f.pad(x, (1, 1, 1, 1), mode="reflect"), {"pad": 1, "mode": "reflect"}),
    Case("Parameter", None, {"shape": list(BLOB)}, (), ()),
    Case("Pooling", lambda t, f, x: f.max_pool2d(x, 3, 2, ceil_mode=True), {"kernel_size": 3, "stride": 2}),
    Case(
        "Pooling",
        lambda t, f, x: f.avg_pool2d(x, 3, 2, ceil_mode=True),
        {"pool": "AVE", "kernel_size": 3, "stride": 2},
    ),
    Case("Pooling", None, {"pool": "STOCHASTIC", "kernel_size": 3, "stride": 2}, kinds=("positive",)),
    Case("Power", lambda t, f, x: (1 + 2 * x) ** 2, {"power": 2, "scale": 2, "shift": 1}),
    Case("Power", lambda t, f, x: (1 + 2 * x) ** 0.75, {"power": 0.75, "scale": 2, "shift": 1}, kinds=("positive",)),
    Case("ReLU", lambda t, f, x: f.relu(x)),
    Case("ReLU", lambda t, f, x: f.leaky_relu(x, 0.1), {"negative_slope": 0.1}),
    Case("Reduction", lambda t, f, x: x.flatten(1).sum(1), {"axis": 1}),
    Case("Reduction", lambda t, f, x: x.flatten(2).square().sum(2), {"axis": 2, "operation": "SUMSQ"}),
    Case("Reshape", lambda t, f, x: x.reshape(64, 8, 8, 28, 28), {"shape": [0, 8, 8, 28, 28]}),
    Case("SPP", None, {"pyramid_height": 3}),
    Case(
        "Scale",
        lambda t, f, x, s, b: x * s[:, None, None] + b[:, None, None],
        {"bias_term": True},
        params=((64,), (64,)),
    ),
    Case("SiLU", lambda t, f, x: f.silu(x)),
    Case("Sigmoid", lambda t, f, x: x.sigmoid()),
    Case(
        "SigmoidCrossEntropyLoss",
        lambda t, f, x, y: f.binary_cross_entropy_with_logits(x, y, reduction="sum") / len(x),
        {},
        (BLOB, BLOB),
        ("normal", "unit"),
    ),
    Case("Slice", lambda t, f, x: x.split(32, 1), {"slice_point": 32}, tops=2),
    two(lambda t, f, x, y: f.smooth_l1_loss(x, y), "SmoothL1Loss"),
    Case("Softmax", lambda t, f, x: x.softmax(1)),
    scores("SoftmaxWithLoss", lambda t, f, x, y: f.cross_entropy(x, y)),
    Case(
        "SoftmaxWithLoss",
        lambda t, f, x, y: f.cross_entropy(x, y),
        {},
        (BLOB, (64, 28, 28)),
        ("normal", 64),
    ),
    Case("Softplus", lambda t, f, x: f.softplus(x)),
    Case("Split", lambda t, f, x: (x.clone(), x.clone()), tops=2),
    Case("Swish", lambda t, f, x: x * (2 * x).sigmoid(), {"beta": 2}),
    Case("TanH", lambda t, f, x: x.tanh()),
    Case("Threshold", lambda t, f, x: (x > 0).float()),
    Case("Tile", lambda t, f, x: x.repeat(1, 2, 1, 1), {"tiles": 2}),
]


def values(kind, shape, rng):
    """What a bottom holds."""
    if isinstance(kind, int):
        return rng.integers(0, kind, shape)
    numbers = rng.standard_normal(shape, "f") if kind != "unit" else rng.random(shape, "f")
    return abs(numbers) + 0.1 if kind == "positive" else numbers


def nettrain_side(case, threads):
    """Forward and backward of a layer."""
    import nettrain
    import numpy as np
    from nettrain.compute.parallel import use_threads

    use_threads(threads)
    names = [f"b{i}" for i in range(len(case.bottoms))]
    layers = [
        {"name": name, "type": "Input", "shape": list(shape)} for name, shape in zip(names, case.bottoms, strict=True)
    ]
    tops = ["it"] if case.tops == 1 else [f"t{i}" for i in range(case.tops)]
    layers.append({"name": "it", "type": case.type, "bottom": names, "top": tops} | case.layer)
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase=case.phase)
    rng = np.random.default_rng(0)
    for name, kind, shape in zip(names, case.kinds, case.bottoms, strict=True):
        net.blobs[name].data[...] = values(kind, shape, rng)
    at = len(names)
    net.run_forward(at, at)
    for top in tops:
        net.blobs[top].diff[...] = 1
    backward = net.steps[at].needs_backward

    def step():
        net.run_forward(at, at)
        if backward:
            net.run_backward(at, at)

    return step


def torch_side(case, threads):
    """The same in PyTorch."""
    import numpy as np
    import torch

    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    bottoms = []
    for kind, shape in zip(case.kinds, case.bottoms, strict=True):
        bottoms.append(torch.tensor(values(kind, shape, rng)).requires_grad_(not isinstance(kind, int)))
    bottoms += [torch.randn(shape).mul_(0.1).requires_grad_() for shape in case.params]
    learned = [tensor for tensor in bottoms if tensor.requires_grad]
    seeds = []

    def step():
        tops = case.formula(torch, torch.nn.functional, *bottoms)
        tops = tops if isinstance(tops, tuple) else (tops,)
        if tops[0].requires_grad:
            if not seeds:
                seeds.extend(torch.ones_like(top) for top in tops)
            torch.autograd.grad(tops, learned, seeds, allow_unused=True)

    return step


def serve(threads, cases, make):
    """Told on stdin: ``case N`` makes a case, ``steps N`` runs it and answers the median seconds of a step."""
    step = None
    for line in sys.stdin:
        what, number = line.split()
        if what == "case":
            step = make(cases[int(number)], threads)
            step()
            step()
            print(json.dumps({}), flush=True)
            continue
        times = []
        for _ in range(int(number)):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        print(json.dumps({"seconds": statistics.median(times)}), flush=True)


class Server(Side):
    """A process, a script told to ``serve``, that measures one side of every case."""

    def __init__(self, script, python, side, threads):
        command = [python, script, "--side", side, "--threads", str(threads)]
        free = {key: value for key, value in os.environ.items() if not pinned(key)}
        self.name, self.steps = side, 1
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=free, cwd=Path(__file__).parent
        )

    def take(self, number):
        self.ask(f"case {number}")
        self.steps = max(1, min(50, round(ROUND / self.ask("steps 1")["seconds"])))


def compare(mine, theirs, number, rounds):
    """Milliseconds of both sides, and their ratio, for one case."""
    case = CASES[number]
    sides = [mine, theirs] if case.formula and theirs else [mine]
    for side in sides:
        side.take(number)
    turns = [[side.turn() for side in sides] for _ in range(rounds)]
    times = [1e3 * statistics.median(column) for column in zip(*turns, strict=True)]
    ratio = statistics.median(first / second for first, second in turns) if len(sides) == 2 else None
    parameters = " ".join(
        f"{key} {value}" for key, value in case.layer.items() if key not in ("shape", "cell", "states")
    )
    return {"type": case.type, "parameters": parameters, "ms": times, "ratio": ratio}


def report(results):
    rows = [
        [
            *(result["type"], result["parameters"], f"{result['ms'][0]:.2f}"),
            *(f"{result['ms'][1]:.2f}" if len(result["ms"]) > 1 else "-",),
            *("-" if result["ratio"] is None else f"{result['ratio']:.2f}{' !' * (result['ratio'] > LIMIT)}",),
        ]
        for result in results
    ]
    from nettrain.tools.table import table  # the side of PyTorch has no nettrain

    return table(["type", "parameters", "nettrain ms", "torch ms", "ratio"], rows, right=(2, 3, 4))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser.add_argument("--types", help="only these, separated by commas")
    parser.add_argument("--rounds", type=positive, default=5, help="turns of each side; default 5")
    parser.add_argument("--threads", type=positive, default=cores, help="of both sides; default all cores")
    parser.add_argument("--only", choices=["nettrain"], help="without PyTorch")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH", help="interpreter that has torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to this file")
    parser.add_argument("--side", choices=["nettrain", "torch"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        make = {"nettrain": nettrain_side, "torch": torch_side}[options.side]
        return serve(options.threads, CASES, make)
    wanted = options.types.split(",") if options.types else None
    results = []
    with Server(__file__, sys.executable, "nettrain", options.threads) as mine:
        theirs = None if options.only else Server(__file__, options.torch_python, "torch", options.threads)
        for number, case in enumerate(CASES):
            if wanted is None or case.type in wanted:
                print(f"{case.type} …", file=sys.stderr)
                results.append(compare(mine, theirs, number, options.rounds))
        if theirs:
            theirs.__exit__()
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return None


if __name__ == "__main__":
    main()
