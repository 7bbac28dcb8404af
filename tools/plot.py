"""`nettrain plot`: curves of runs, and the activation functions with their derivatives, as SVG, PNG or PDF."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..files.extras import extra
from ..net.net import Net
from ..solver.evaluate import TOTAL_LOSS
from ..solver.finding import is_run, run_at, stem_of
from ..solver.metrics import METRICS, read_metrics
from ..solver.record import read_record, shares_of
from ..solver.runs import Run
from ..spec.errors import NettrainError, did_you_mean, why

FORMATS = ("svg", "png", "pdf")
VALUE, GRADIENT = "#0a7d2c", "#c21d1d"  # as on explain's page
LARGEST = 1e300  # number that can be drawn with room around it
LOG_FROM = 30  # largest / smallest loss above which the axis is logarithmic
Series = tuple[list[int], list[float]]

# What the lecture shows. Maxout needs its two lines, x and -x/2 + 1/2 here.
ACTIVATIONS: dict[str, list[dict[str, Any]]] = {
    "sigmoid  1 / (1 + exp(-x))": [{"type": "Sigmoid"}],
    "tanh(x)": [{"type": "TanH"}],
    "ReLU  max(0, x)": [{"type": "ReLU"}],
    "leaky ReLU  max(0.1 x, x)": [{"type": "ReLU", "negative_slope": 0.1}],
    "Maxout  max(x, (1 - x) / 2)": [
        {
            "type": "InnerProduct",
            "num_output": 2,
            "weight_filler": {"values": [1, -0.5]},
            "bias_filler": {"values": [0, 0.5]},
        },
        {"type": "Maxout", "num_pieces": 2},
    ],
    "ELU  x, or exp(x) - 1 below 0": [{"type": "ELU"}],
}


@dataclass
class Curves:
    """The metrics of a run: its name, and for each metric the iterations and values; ``test loss`` and so on."""

    name: str
    metrics: dict[str, Series] = field(default_factory=dict)
    shares: set[str] = field(default_factory=set)  # those that are read as percentages


def read_run(where: str) -> Curves:
    """A run's metrics, from whatever names the run, or from its metrics.jsonl. A truncated last line is skipped.

    Raises NettrainError when there are none.
    """
    path = Path(where)
    if os.path.isdir(path):
        path = path / METRICS
    elif is_run(path):
        path = run_at(path).path(METRICS)
    run = Curves(str(Path(where).parent if path == Path(where) else where))
    try:
        for row in read_metrics(path):
            for name, at, value in _numbers(row):
                iterations, values = run.metrics.setdefault(name, ([], []))
                iterations.append(at)
                values.append(value)
    except OSError as error:
        inside = Path(where).glob("*/metrics.jsonl") if os.path.isdir(where) else ()
        runs = sorted(str(found.parent) for found in inside)
        hint = f"there are {', '.join(runs[-5:])}" if runs else "a run is a folder such as runs/mlp/001"
        raise NettrainError(f"no metrics in {where}: {path} ({why(error)}); {hint}") from None
    if not run.metrics:
        raise NettrainError(f"no metrics in {where}: {path} has no line with numbers")
    with contextlib.suppress(OSError):
        beside = Run("", folder=path.parent)
        beside.stem = stem_of(path.name) or ""
        run.shares = {f"test {_shown(name)}" for name in shares_of(read_record(beside))}
    return run


def _numbers(row: Mapping[str, Any]) -> list[tuple[str, int, float]]:
    """(metric, iteration, value) of a line of metrics."""
    tests = row["test"] if isinstance(row.get("test"), dict) else {}
    found = {"train loss": row.get("train_loss")} | {f"test {_shown(name)}": value for name, value in tests.items()}
    numbers = {
        name: value for name, value in found.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }
    return [(name, row["iter"], float(value)) for name, value in numbers.items() if abs(value) < LARGEST]  # nor NaN


def _shown(name: str) -> str:
    """A name as a picture can show it."""
    return "".join(character if character.isprintable() else "\ufffd" for character in name)


def curves(runs: Sequence[Curves], metrics: Sequence[str], file: str) -> None:
    """Draw the runs' metrics over the iterations: losses in one picture, each other metric in one of its own.

    Where the tests have the weighted sum of several losses, that is drawn with the train loss, in its unit. The name of
    a metric is that of its column in training, with or without ``test``.

    Raises NettrainError for a metric that no run has, or a file that cannot be written.
    """
    known = list(dict.fromkeys(name for run in runs for name in run.metrics))
    metrics = [f"test {name}" if name not in known and f"test {name}" in known else name for name in metrics]
    for name in metrics:
        if name not in known:
            raise NettrainError(
                f"no run has the metric `{name}`{did_you_mean(name, known).rstrip('?')}; there are: {', '.join(known)}"
            )
    shown = list(metrics) or known
    losses = [name for name in shown if name.endswith("loss") and not _has_own_unit(name, known)]
    panels = ([losses] if losses else []) + [[name] for name in shown if name not in losses]
    figure, axes = _figure(len(panels), 1)
    for axis, names in zip(axes, panels, strict=True):
        for k, run in enumerate(runs):
            for style, name in zip(itertools.cycle(("-", ":", "--", "-.")), names, strict=False):
                if name in run.metrics:
                    label = " · ".join([run.name] * (len(runs) > 1) + [name]).replace("$", r"\$")  # no formulas
                    axis.plot(*run.metrics[name], style, color=f"C{k}" if len(runs) > 1 else None, label=label)
        values = [v for run in runs for name in names for v in run.metrics.get(name, ([], []))[1] if v > 0]
        if names is losses and values and max(values) > LOG_FROM * min(values):
            axis.set_yscale("log")
        axis.set_ylabel(names[0].replace("$", r"\$") if len(names) == 1 else "loss")
        if all(name in run.shares for run in runs for name in names if name in run.metrics):
            axis.yaxis.set_major_formatter(_percentages())
        axis.legend()
    axes[-1].set_xlabel("iteration")
    _save(figure, file)


def _has_own_unit(name: str, known: Sequence[str]) -> bool:
    """Whether a test loss is in a different unit from the train loss: it is part of a weighted sum that is there."""
    where, slash, _ = name.rpartition("/")
    prefix, total = f"{where}{slash}" or "test ", TOTAL_LOSS
    while f"{prefix}weighted_{total}" in known:  # an output is named like the sum
        total = f"weighted_{total}"
    return name != "train loss" and prefix + total in known and name != prefix + total


def lines(series: Mapping[str, tuple[Sequence[float], Sequence[float]]], x: str, y: str, file: str) -> None:
    """Draw named series of (x, y) in one picture. Raises NettrainError for a file that cannot be written."""
    figure, (axis,) = _figure(1, 1)
    for name, (places, values) in series.items():
        axis.plot(places, values, "o-", label=name)
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.legend()
    _save(figure, file)


def activation_curves() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """(x, f(x), f'(x)) of each of the lecture's activation functions, by a forward and a backward pass of its layer."""
    x = np.linspace(-4, 4, 401)
    x[200] = 0
    result = {}
    for name, layers in ACTIVATIONS.items():
        given = [{"name": f"layer{i}", **layer} for i, layer in enumerate(layers)]
        source = {"name": "x", "type": "Input", "shape": [len(x), 1]}
        net = Net({"force_backward": True, "layers": [source, *given]}, dtype="float64")
        last = given[-1]["name"]
        y = net.forward(x=x[:, None])[last][:, 0].copy()
        start: dict[str, Any] = {last: np.ones((len(x), 1))}
        net.backward(**start)
        result[name] = x, y, net.blobs["x"].diff[:, 0].copy()
    return result


def activations(file: str) -> None:
    """Draw them: the function in green, its derivative in red."""
    figure, axes = _figure(2, 3)
    for axis, (name, (x, y, slope)) in zip(axes, activation_curves().items(), strict=True):
        axis.plot(x, y, color=VALUE, label="value")
        axis.plot(x, slope, color=GRADIENT, linestyle="--", label="derivative")
        axis.set_title(name, fontsize=10)
        axis.set_ylim(-1.5, 3)
        axis.axhline(0, color="#999", linewidth=0.5)
        axis.axvline(0, color="#999", linewidth=0.5)
    axes[0].legend()
    _save(figure, file)


def _percentages() -> Any:
    """How an axis of shares of a whole is labelled: ``98.5%``, as scores are shown elsewhere."""
    from matplotlib.ticker import PercentFormatter

    return PercentFormatter(1.0)


def _figure(rows: int, columns: int) -> tuple[Any, list[Any]]:
    """A figure with that many pictures, drawn without a screen."""
    extra("matplotlib", "plot", "plot")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10 if columns > 1 else 8, 3.2 * rows), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _save(figure: Any, file: str) -> None:
    """Write the figure; the same figure gives the same file."""
    kind = Path(file).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        raise NettrainError(f"--out {file}: the name must end in {', '.join(f'.{name}' for name in FORMATS)}")
    from matplotlib import rc_context

    when = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    try:
        with rc_context({"svg.hashsalt": "nettrain", "svg.fonttype": "none"}):
            figure.savefig(file, dpi=120, metadata=when)
    except OSError as error:
        raise NettrainError(f"--out {file} cannot be written: {why(error)}", exit_code=1) from None


def plot(runs: Sequence[str], metrics: Sequence[str], show_activations: bool, file: str | None) -> str:
    """Draw what the command asks for; returns what to report. Raises NettrainError when there is nothing."""
    if show_activations and (runs or metrics):
        raise NettrainError("--activations draws functions, not runs; give one or the other")
    if show_activations:
        file = file or "activations.svg"
        activations(file)
    elif runs:
        file = file or "curves.svg"
        curves([read_run(run) for run in runs], metrics, file)
    else:
        raise NettrainError("plot what? a run, such as runs/mlp/001, or --activations")
    return f"drawn: {file}"
