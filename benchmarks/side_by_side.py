"""nettrain and PyTorch on the same nets, taking turns: the same batch, threads and rule, data already in memory.

    python benchmarks/side_by_side.py --nets resnet18,lenet --threads 1
    python benchmarks/side_by_side.py --forward --onnxruntime
    python benchmarks/side_by_side.py --only nettrain --batch 512

Each side is a process of its own: nettrain, PyTorch as it comes and, for nets with images, in channels_last, its other
order of memory. They take turns A B C A B C, and the ratio is taken within each round, so that what else the machine
does touches all of them. This process imports none.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
NETS = {
    **{"a": "mlp64", "b": "mlp256", "c": "lenet", "d": "cifar10_quick", "e": "alexnet", "f": "lstm"},
    **{"g": "resnet18", "h": "resnet20", "i": "vgg11", "j": "squeezenet", "k": "mobilenet", "l": "autoencoder"},
}
ENGINES = ["auto", "numpy", "onednn"]
LAYOUTS = ["torch", "channels_last"]  # PyTorch's
FORWARD_BATCHES = [1, 32]
ROUND = 0.5  # seconds
PAUSE = 0.05  # seconds in which threads that still wait for work go to sleep
# Variables that hold a library to older kernels, or to a number of threads: users run without them.
PINS = {
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES"),
}


class MissingError(Exception):
    """A side that cannot be had here."""


class Side:
    """A worker process, which has made its net when it is made. Raises MissingError."""

    def __init__(self, python, side, name, wanted, threads, **environment):
        command = [python, str(HERE / "worker.py"), side, name, json.dumps(wanted), str(threads)]
        free = {key: value for key, value in os.environ.items() if not pinned(key)}
        self.name = side
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=free | environment, cwd=HERE
        )
        self.steps = 1
        self.about = self._read()
        if "missing" in self.about:
            self.__exit__()
            raise MissingError(self.about["missing"])

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the {self.name} process stopped (see above)")
        return json.loads(line)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self._read()

    def choose_steps(self):
        """As many steps as make a round of the wanted length."""
        self.steps = max(1, round(ROUND / self.ask("steps 3")["seconds"]))

    def turn(self):
        """Median seconds of a step in this round."""
        time.sleep(PAUSE)
        return self.ask(f"steps {self.steps}")["seconds"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def pinned(variable):
    """Whether an environment variable holds a library to certain kernels or threads."""
    return variable in PINS or variable.startswith("NVPL_")


def others(shape, options):
    """The sides that are compared with nettrain."""
    if options.only:
        return []
    layouts = LAYOUTS if len(shape) == 4 else LAYOUTS[:1]
    return [*layouts, "onnxruntime"] if options.onnxruntime else layouts


def compare(name, batch, options):
    """Run one net on all sides; everything that is known about it."""
    wanted = {"batch": batch, "forward": options.forward}
    with ExitStack() as stack:
        mine = Side(sys.executable, "nettrain", name, wanted, options.threads, NETTRAIN_ENGINE=options.engine)
        sides = [stack.enter_context(mine)]
        for other in others(mine.about["shape"], options):
            try:
                side = Side(options.torch_python, other, name, mine.about, options.threads)
            except MissingError as why:
                if other in LAYOUTS:
                    sys.exit(f"PyTorch cannot be compared: {why}; --torch-python names another interpreter")
                print(f"{name}: {other} left out: {why}", file=sys.stderr)
            else:
                sides.append(stack.enter_context(side))
        for side in sides:
            side.choose_steps()
        rounds = [[side.turn() for side in sides] for _ in range(options.rounds)]
        ends = [side.ask("finish") for side in sides]
    return summary(name, options, sides, rounds, ends)


def summary(name, options, sides, rounds, ends):
    """What one net's rounds come to: each side under its name, and nettrain's ratios to the others."""
    about = sides[0].about
    batch, gflop, peak = about["batch"], about["gflop"], ends[0]["peak_gflops"]
    result = {"net": name, "batch": batch, "forward": options.forward, "engine": about["engine"]}
    result |= {"threads": options.threads, "parameters": about["parameters"], "sides": [side.name for side in sides]}
    result |= {"gflop_per_step": gflop, "peak_gflops": peak, "new_bytes_per_step": ends[0]["new_bytes"], "ratios": {}}
    for i, side in enumerate(sides):
        step = statistics.median(turns[i] for turns in rounds)
        result[side.name] = {
            "ms": 1e3 * step,
            "samples_per_second": batch / step,
            "gflops": gflop / step,
            "share_of_peak": gflop / step / peak,
            "resident_bytes": ends[i]["resident_bytes"],
            "steps_per_round": side.steps,
            "rounds_ms": [1e3 * turns[i] for turns in rounds],
        }
        if i:
            result[side.name]["version"] = side.about["version"]
            result["ratios"][side.name] = spread([turns[0] / turns[i] for turns in rounds])
    if layouts := [side for side in LAYOUTS if side in result]:
        result["better"] = min(layouts, key=lambda side: result[side]["ms"])
    return result


def spread(ratios):
    """Lowest, quartiles and highest."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"median": middle, "lowest": min(ratios), "lower": low, "upper": high, "highest": max(ratios)}


HEAD = ["net", "batch", "side", "ms/step", "samples/s", "GFLOP/s", "of peak", "resident MB", "new kB/step"]
RATIO_HEAD = ["to torch", "quartiles", "to its better", "quartiles"]


def report(results):
    """The results as tables: each side by itself, then side by side."""
    rows = [
        [
            *(result["net"], str(result["batch"]), side, digits(one["ms"]), f"{one['samples_per_second']:,.0f}"),
            *(f"{one['gflops']:.1f}", f"{one['share_of_peak']:.0%}"),
            "" if side == "onnxruntime" else f"{one['resident_bytes'] / 1e6:.0f}",  # that process has PyTorch in it too
            f"{result['new_bytes_per_step'] / 1e3:.1f}" if side == "nettrain" else "",
        ]
        for result in results
        for side, one in ((side, result[side]) for side in result["sides"])
    ]
    from nettrain.tools.table import table  # the side of PyTorch has no nettrain

    text = table(HEAD, rows, right=(1, 3, 4, 5, 6, 7, 8))
    compared = [result for result in results if result["ratios"]]
    return f"{text}\n\n{side_by_side(compared)}" if compared else text


def side_by_side(results):
    """Milliseconds of all sides, and nettrain's ratios to PyTorch as it comes and to the better of its layouts."""
    sides = [side for side in ("nettrain", *LAYOUTS, "onnxruntime") if any(side in result for result in results)]
    rows = [
        [
            *(result["net"], str(result["batch"])),
            *(digits(result[side]["ms"]) if side in result else "-" for side in sides),
            *ratio(result["ratios"]["torch"]),
            *ratio(result["ratios"][result["better"]]),
        ]
        for result in results
    ]
    head = ["net", "batch", *(f"{side} ms" for side in sides), *RATIO_HEAD]
    from nettrain.tools.table import table

    return table(head, rows, right=range(1, len(head)))


def digits(ms):
    """At least three of them."""
    return f"{ms:,.{max(0, 2 - math.floor(math.log10(ms)))}f}"


def ratio(found):
    """The median and the quartiles, in words."""
    return f"{found['median']:.2f}", f"{found['lower']:.2f}-{found['upper']:.2f}"


def positive(text):
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return int(text)


def read_options(arguments=None):
    def nets(text):
        names = [NETS.get(item.strip(), item.strip()) for item in text.split(",")]
        if unknown := [name for name in names if name not in NETS.values()]:
            raise argparse.ArgumentTypeError(f"no net {unknown[0]!r}; there are {known}")
        return names

    known = ", ".join(f"{letter} {name}" for letter, name in NETS.items())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", type=nets, default=list(NETS.values()), help=f"by letter or name: {known}")
    parser.add_argument("--forward", action="store_true", help="inference only, in batches of 1 and of 32")
    parser.add_argument("--engine", choices=ENGINES, default="auto", help="nettrain's; default auto")
    parser.add_argument("--onnxruntime", action="store_true", help="with --forward: onnxruntime too, if it is there")
    parser.add_argument("--rounds", type=positive, default=9, help="turns of each side; default 9")
    parser.add_argument("--threads", type=positive, default=cores, help="of all sides; default all cores")
    parser.add_argument("--batch", type=positive, help="examples in a batch, instead of the spec's")
    parser.add_argument("--only", choices=["nettrain"], help="without PyTorch")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH", help="interpreter that has torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write everything to this file")
    options = parser.parse_args(arguments)
    if options.onnxruntime and not options.forward:
        parser.error("--onnxruntime does not train: add --forward")
    return options


def main():
    options = read_options()
    removed = sorted(filter(pinned, os.environ))
    if removed:
        print(f"left out of all environments: {', '.join(removed)}", file=sys.stderr)
    batches = [options.batch] if options.batch or not options.forward else FORWARD_BATCHES
    results = []
    for name in options.nets:
        for batch in batches:
            print(f"{name}{f' in batches of {batch}' if batch else ''} …", file=sys.stderr)
            results.append(compare(name, batch, options))
    threads = f"{options.threads} thread{'s' if options.threads != 1 else ''}"
    peak = statistics.median(result["peak_gflops"] for result in results)
    what = "forward passes" if options.forward else "training steps"
    print(f"{what} · engine {options.engine} · {threads} · {options.rounds} rounds · peak {peak:.0f} GFLOP/s")
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps({"removed": removed, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
