"""`nettrain test`: a trained net on its test data."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..net.errors import NettrainError
from ..net.net import Net
from ..net.netspec import NetSpec
from ..solver.evaluate import evaluate, has_end
from ..solver.parameters import parameters_of
from .table import table


def measure(
    spec: NetSpec, weights: str | Path, iterations: int | None = None, *, level: int = 0, stages: Iterable[str] = ()
) -> dict:
    """Mean of each output of the TEST net with these weights, and what of the file was used.

    Data without an end is tested for ``iterations`` batches, or else for the solver's test_iter. Raises NettrainError
    when the file does not fit, or nothing says how long a test is.
    """
    net = Net(spec, "TEST", level=level, stages=stages)
    loaded = net.copy_from(weights)
    if iterations is None and not has_end(net):
        p = parameters_of(spec, "TRAIN")
        if p is None or not p.test_iter:
            raise NettrainError(
                "no layer of the TEST net reads a data set that ends; give --iterations, or solver.test_iter"
            )
        iterations = p.test_iter[0]
    scores = evaluate(net, iterations)
    sets = {name: len(layer.set) for name, layer in net.layers.items() if hasattr(layer, "set")}
    files = {"loaded": loaded.loaded, "missing": loaded.missing, "ignored": loaded.ignored}
    return {"spec": spec.file, "weights": str(weights), "examples": sets, "scores": scores, "layers": files}


def report(result: dict) -> str:
    """The scores as a table, with what was left out of the weights."""
    lines = [f"{result['spec']} · {result['weights']}"]
    lines += [f"  {name}: {count:,} examples" for name, count in result["examples"].items()]
    for key, meaning in (
        ("missing", "not in the file, left as initialised"),
        ("ignored", "in the file, not in the net"),
    ):
        if result["layers"][key]:
            lines.append(f"  {meaning}: {', '.join(result['layers'][key])}")
    rows = [[name, _number(value)] for name, value in result["scores"].items()]
    return "\n".join([*lines, table(["output", "mean"], rows, right=(1,))])


def _number(value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
