"""Python's own cost: an MLP so small that arithmetic takes no time, at several depths.

    python benchmarks/overhead.py

Microseconds of a step (forward, backward, update), and of each layer in it. The cost is linear when the last column
stays as it is; it is the cost of one more layer, from the row above.
"""

import argparse
import statistics
import time

import nettrain
from nettrain.tools.table import table

WIDTH, BATCH = 16, 4
HEAD = ["depth", "layers", "us/step", "us/layer", "us for one more"]


def solver_of(depth):
    """A chain of this many pairs of InnerProduct and ReLU, with a loss."""
    shapes = [[BATCH, WIDTH], [BATCH]]
    layers = [{"name": "data", "type": "Input", "shape": shapes, "top": ["data", "label"]}]
    for i in range(depth):
        layers.append({"name": f"ip{i}", "type": "InnerProduct", "num_output": WIDTH, "weight_filler": "msra"})
        layers.append({"name": f"relu{i}", "type": "ReLU", "top": f"ip{i}"})
    layers[1]["bottom"] = "data"
    layers.append({"name": "loss", "type": "SoftmaxWithLoss", "bottom": [f"ip{depth - 1}", "label"]})
    rates = {"base_lr": 0.0001, "momentum": 0.9, "weight_decay": 5e-4, "max_iter": 1000}
    return nettrain.get_solver({"solver": rates, "layers": layers})


def seconds(solver, repeats):
    """Median of single steps, after a few that do not count."""
    solver.net.blobs["data"].data[...] = 1
    solver.step(3)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        solver.step(1)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(depths, repeats):
    """Per depth: layers, microseconds of a step, of a layer, and of each layer beyond those of the row before."""
    rows, before = [], None
    for depth in depths:
        solver = solver_of(depth)
        layers, us = len(solver.net.steps), 1e6 * seconds(solver, repeats)
        more = (us - before[1]) / (layers - before[0]) if before else None
        rows.append({"depth": depth, "layers": layers, "us": us, "us_per_layer": us / layers, "us_one_more": more})
        before = layers, us
    return rows


def report(rows):
    cells = [
        [
            *(str(row["depth"]), str(row["layers"]), f"{row['us']:.0f}", f"{row['us_per_layer']:.1f}"),
            "" if row["us_one_more"] is None else f"{row['us_one_more']:.1f}",
        ]
        for row in rows
    ]
    return table(HEAD, cells, right=range(5))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--depths", type=int, nargs="+", default=[4, 16, 64, 256], help="default 4 16 64 256")
    parser.add_argument("--repeats", type=int, default=200, help="steps at each depth; default 200")
    options = parser.parse_args()
    print(report(measure(sorted(set(options.depths)), options.repeats)))


if __name__ == "__main__":
    main()
