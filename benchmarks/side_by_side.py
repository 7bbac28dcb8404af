"""nettrain and PyTorch on the same nets, turn by turn: the same batch, threads and rule, data already in memory.

    python benchmarks/side_by_side.py --nets a,c --threads 1
    python benchmarks/side_by_side.py --only nettrain --batch 512

Each side is a process of its own; they take turns A B A B, and the ratio is taken within each pair, so that what else
the machine does touches both. This process imports neither.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from nettrain.tools.table import table

HERE = Path(__file__).parent
NETS = {"a": "mlp64", "b": "mlp256", "c": "lenet", "d": "cifar10_quick", "e": "alexnet", "f": "lstm"}
ROUND = 0.5  # seconds
PAUSE = 0.05  # seconds in which threads that still wait for work go to sleep
# Variables that hold a library to older kernels, or to a number of threads: users run without them.
PINS = {
    *("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"),
    *("MKL_DEBUG_CPU_TYPE", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ATEN_CPU_CAPABILITY", "NPY_DISABLE_CPU_FEATURES"),
}


class Side:
    """A worker process."""

    def __init__(self, python, side, name, first, threads):
        command = [python, str(HERE / "worker.py"), side, name, json.dumps(first), str(threads)]
        free = {key: value for key, value in os.environ.items() if not pinned(key)}
        self.name = side
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=free, cwd=HERE
        )
        self.steps = 1
        self.about = self._read()

    def _read(self):
        line = self.process.stdout.readline()
        if not line:
            hint = "; --torch-python names another interpreter" if self.name == "torch" else ""
            sys.exit(f"the {self.name} process stopped (see above){hint}")
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


def compare(name, options):
    """Run one net on both sides; everything that is known of it."""
    with ExitStack() as stack:
        mine = stack.enter_context(Side(sys.executable, "nettrain", name, options.batch, options.threads))
        sides = [mine]
        if options.only is None:
            torch = Side(options.torch_python, "torch", name, mine.about, options.threads)
            sides.append(stack.enter_context(torch))
        for side in sides:
            side.choose_steps()
        rounds = [[side.turn() for side in sides] for _ in range(options.rounds)]
        ends = [side.ask("finish") for side in sides]
    batch, gflop, peak = mine.about["batch"], mine.about["gflop"], ends[0]["peak_gflops"]
    result = {"net": name, "batch": batch, "threads": options.threads, "parameters": mine.about["parameters"]}
    result |= {"gflop_per_step": gflop, "peak_gflops": peak, "new_bytes_per_step": ends[0]["new_bytes"]}
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
    if len(sides) == 2:
        result["torch_version"] = sides[1].about["version"]
        result["ratio"] = spread([first / second for first, second in rounds])
    return result


def spread(ratios):
    """Lowest, quartiles and highest."""
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
    return {"median": middle, "lowest": min(ratios), "lower": low, "upper": high, "highest": max(ratios)}


HEAD = ["net", "batch", "side", "ms/step", "samples/s", "GFLOP/s", "of peak", "resident MB", "new kB/step"]
RATIO_HEAD = ["net", "nettrain/torch", "lowest", "lower quartile", "upper quartile", "highest"]


def report(results):
    """The results as tables."""
    rows = [
        [
            *(result["net"], str(result["batch"]), side, f"{one['ms']:.2f}", f"{one['samples_per_second']:,.0f}"),
            *(f"{one['gflops']:.1f}", f"{one['share_of_peak']:.0%}", f"{one['resident_bytes'] / 1e6:.0f}"),
            f"{result['new_bytes_per_step'] / 1e3:.1f}" if side == "nettrain" else "",
        ]
        for result in results
        for side, one in ((side, result[side]) for side in ("nettrain", "torch") if side in result)
    ]
    text = table(HEAD, rows, right=(1, 3, 4, 5, 6, 7, 8))
    ratios = [
        [result["net"], *(f"{result['ratio'][key]:.2f}" for key in ("median", "lowest", "lower", "upper", "highest"))]
        for result in results
        if "ratio" in result
    ]
    return f"{text}\n\n{table(RATIO_HEAD, ratios, right=(1, 2, 3, 4, 5))}" if ratios else text


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
    parser.add_argument("--rounds", type=positive, default=9, help="turns of each side; default 9")
    parser.add_argument("--threads", type=positive, default=cores, help="of both sides; default all cores")
    parser.add_argument("--batch", type=positive, help="examples in a batch, instead of the spec's")
    parser.add_argument("--only", choices=["nettrain"], help="leave PyTorch out")
    parser.add_argument("--torch-python", default=sys.executable, metavar="PATH", help="interpreter that has torch")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there too")
    return parser.parse_args(arguments)


def main():
    options = read_options()
    removed = sorted(filter(pinned, os.environ))
    if removed:
        print(f"left out of both environments: {', '.join(removed)}", file=sys.stderr)
    results = []
    for name in options.nets:
        print(f"{name} …", file=sys.stderr)
        results.append(compare(name, options))
    threads = f"{options.threads} thread{'s' if options.threads != 1 else ''}"
    print(
        f"{threads} · {options.rounds} rounds · peak {statistics.median(r['peak_gflops'] for r in results):.0f} GFLOP/s"
    )
    print(report(results))
    if options.json:
        options.json.write_text(json.dumps({"removed": removed, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
