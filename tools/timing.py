"""`nettrain time`: how long each layer of a net takes, and how near its matrix products come to what BLAS reaches."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ..compute.parallel import run, session, threads
from ..net.graph import Key
from ..net.net import Net
from ..net.plan import has_gradient
from ..net.records import NetSpec, Phase, as_phase
from ..net.step import Step
from ..net.user_code import ask
from ..ranks.team import ALONE, Team
from ..solver.parameters import parameters_of
from ..solver.updater import Updater
from .scaling import measured
from .table import table

WARM_UP = 3  # passes before the clock counts: they make buffers and wake threads
PEAK_SIZE = 1024
PEAK_REPEATS = 9


def measure(
    spec: NetSpec,
    phase: Phase | str = "TRAIN",
    iterations: int = 20,
    *,
    level: int = 0,
    stages: Iterable[str] = (),
    team: Team = ALONE,
) -> dict:
    """Median milliseconds of each layer over that many batches, of the update and of a whole step, and GFLOP/s.

    The TRAIN net runs forward and backward (and the update where the spec has a solver, at rate 0, so that the
    weights stay and no loss can diverge); the TEST net runs forward, as in testing. Input blobs are filled once. Layers
    are timed one by one; the whole step is timed by itself, with one clock around it. Of a ``team`` that trains, each
    member does so at the same time, and what an update takes them together is in ``team``. Raises SpecError.
    """
    phase = as_phase(phase)
    p = parameters_of(spec, phase)
    net = Net(spec, phase, level=level, stages=stages, freeze=p.freeze if p else (), engine=p.engine if p else "auto")
    updater = Updater(p, net) if p else None
    fill_inputs(net)
    with np.errstate(all="ignore"), session():
        _repeat(lambda: _whole(net, updater), WARM_UP)
        team.gather(None)  # each has its net: all are timed at once
        parts = np.median([_part_by_part(net, updater) for _ in range(iterations)], axis=0)
        step = median(_repeat(lambda: _whole(net, updater), iterations))
    result = _result(net, iterations, parts, step, sgemm_peak())
    if team.size > 1 and phase == "TRAIN":
        rounds = max(1, (p.iter_size if p else 1) // team.size)
        totals, batch = result["totals"], result["batch"]
        result["team"] = measured.measure(team, net.flat.count, totals, batch, rounds, iterations)
    return result


def fill_inputs(net: Net, seed: int = 0) -> None:
    """Normal values into each input blob; zeros, a class that always exists, where it is read as labels; ones but for
    the first step where it says that sequences go on."""
    labels: set[Key] = set()
    for step in reversed(net.steps):
        passed_on = any(key in labels for key in step.top_keys)
        labels.update(key for i, key in enumerate(step.bottom_keys) if passed_on or _reads_labels(step.layer, i))
    going_on = {step.bottom_keys[step.layer.continues_by] for step in net.steps if step.layer.continues_by is not None}
    rng = np.random.default_rng(seed)
    for step in net.steps:
        for key, blob in zip(step.top_keys, step.top, strict=True):
            if step.layer.is_input and key in going_on:
                blob.data[...] = 1
                blob.data[0] = 0
            elif step.layer.is_input and key not in labels:
                blob.data[...] = rng.standard_normal(blob.shape, dtype=np.float32)


def _reads_labels(layer: Any, i: int) -> bool:
    """Whether bottom i is labels or indices: it has no gradient, though the layer has one or reads another too."""
    return not has_gradient(layer, i) and (i > 0 or layer.no_gradient != "all")


def _seconds(work: Callable[[], Any]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _repeat(work: Callable[[], Any], count: int) -> list[float]:
    return [_seconds(work) for _ in range(count)]


def _whole(net: Net, updater: Updater | None) -> None:
    """One step as the solver makes it; of a TEST net, one forward pass."""
    if net.phase == "TEST":
        net.run_forward()
        return
    net.flat.clear_diff()
    net.forward_backward()
    if updater:
        updater.apply(0.0, 1)


def _part_by_part(net: Net, updater: Updater | None) -> list[float]:
    """Seconds of each layer forward, of each layer backward, and of the update."""
    indices = range(len(net.steps))
    forward = [_seconds(lambda i=i: net.run_forward(i, i)) for i in indices]  # type: ignore[misc]
    backward = [0.0 for _ in indices]
    if net.phase == "TRAIN":
        net.flat.clear_diff()
        for step in net.steps:
            for blob, weight in zip(step.top, step.loss_weights, strict=True):
                if weight:
                    blob.diff.fill(weight)
        for i in reversed(indices):
            if net.steps[i].needs_backward:
                backward[i] = _seconds(lambda i=i: net.run_backward(i, i))  # type: ignore[misc]
    update = _seconds(lambda: updater.apply(0.0, 1)) if updater else 0.0
    return [*forward, *backward, update]


def sgemm_peak() -> float:
    """GFLOP/s that all threads reach together in products of 1024 x 1024 matrices, one product for each: a median."""
    rng = np.random.default_rng(0)
    shape = (threads(), PEAK_SIZE, PEAK_SIZE)
    a, b = (rng.standard_normal(shape, dtype=np.float32) for _ in range(2))
    out = np.empty(shape, np.float32)

    def products() -> None:
        run(lambda i: np.matmul(a[i], b[i], out=out[i]), threads())

    with session():
        products()
        seconds = median(_repeat(products, PEAK_REPEATS))
    return 2e-9 * threads() * PEAK_SIZE**3 / seconds


def flops(step: Step) -> tuple[int, int]:
    """Multiplications and additions in a layer's matrix products, forward and backward.

    Backward makes a product as large as forward's for the weights' gradient and another for the bottoms'.
    """
    forward = 2 * ask(step.layer, "multiply_adds", step.bottom, step.top)
    if not (forward and step.needs_backward):
        return forward, 0
    learns = any(step.layer.param_propagate_down[:1])  # blobs[0] are the weights
    return forward, forward * learns + forward * sum(step.propagate_down) // len(step.bottom)


def _result(net: Net, iterations: int, parts: np.ndarray, step: float, peak: float) -> dict:
    count = len(net.steps)
    forward, backward, update = parts[:count], parts[count : 2 * count], float(parts[-1])
    total = float(parts.sum())
    made = [flops(one) if net.phase == "TRAIN" else (flops(one)[0], 0) for one in net.steps]
    layers = [
        {
            "name": one.spec.name,
            "type": one.spec.cls.__name__,
            "engine": one.layer.computed_by,
            "uncovered": one.layer.uncovered,
            "forward_ms": 1e3 * float(f),
            "backward_ms": 1e3 * float(b),
            "share": _ratio(f + b, total),
            "forward_gflops": _ratio(work[0] / 1e9, f) if work[0] else None,
            "backward_gflops": _ratio(work[1] / 1e9, b) if work[1] else None,
        }
        for one, f, b, work in zip(net.steps, forward, backward, made, strict=True)
    ]
    batch = next((one.top[0].shape[0] for one in net.steps if not one.bottom and one.top[0].shape), 1)
    gflops = _ratio(sum(map(sum, made)) / 1e9, step)
    totals = {
        "forward_ms": 1e3 * float(forward.sum()),
        "backward_ms": 1e3 * float(backward.sum()),
        "update_ms": 1e3 * update,
        "update_share": _ratio(update, total),
        "step_ms": 1e3 * step,
        "examples_per_second": _ratio(batch, step),
        "gflops": gflops,
        "peak_gflops": peak,
        "share_of_peak": _ratio(gflops, peak),
    }
    about = {"name": net.name, "phase": net.phase, "iterations": iterations, "threads": threads(), "batch": batch}
    return about | {"layers": layers, "totals": totals}


def _ratio(part: float, whole: float) -> float:
    """0 where the clock is too coarse to have seen anything."""
    return float(part / whole) if whole > 0 else 0.0


def report(result: dict) -> str:
    """The times as a table."""
    totals = result["totals"]
    rows = [
        [
            layer["name"],
            layer["type"],
            layer["engine"],
            f"{layer['forward_ms']:.3f}",
            f"{layer['backward_ms']:.3f}" if layer["backward_ms"] else "",
            f"{layer['share']:.1%}",
            *("" if layer[key] is None else f"{layer[key]:.1f}" for key in ("forward_gflops", "backward_gflops")),
        ]
        for layer in result["layers"]
    ]
    rows.append(["total", "", "", f"{totals['forward_ms']:.3f}", f"{totals['backward_ms']:.3f}", "", "", ""])
    update = f"update {totals['update_ms']:.3f} ms, {totals['update_share']:.1%}\n" if totals["update_ms"] else ""
    head = ["layer", "type", "engine", "forward ms", "backward ms", "share", "GFLOP/s forward", "backward"]
    missing = [f"numpy computes {row['name']}: {row['uncovered']}\n" for row in result["layers"] if row["uncovered"]]
    what = "step" if result["phase"] == "TRAIN" else "pass"
    many, batch = f"{result['threads']} thread{'s' if result['threads'] != 1 else ''}", result["batch"]
    return (
        f"{result['name']} · {result['phase']} · batch {batch} · {many} · median of {result['iterations']}\n"
        f"{table(head, rows, right=(3, 4, 5, 6, 7))}\n"
        f"{''.join(missing)}{update}whole {what} {totals['step_ms']:.3f} ms · "
        f"{totals['examples_per_second']:,.0f} examples/s · "
        f"{totals['gflops']:.1f} GFLOP/s, {totals['share_of_peak']:.0%} of the {totals['peak_gflops']:.0f} "
        "that matrix products alone reach here" + (f"\n{measured.report(result['team'])}" if "team" in result else "")
    )
