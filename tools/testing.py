"""`nettrain test`: a trained net on its test data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..net import plain_json
from ..net.errors import NettrainError
from ..net.net import Net
from ..net.netspec import NetSpec
from ..net.user_code import ask
from ..solver.evaluate import TestNet, has_end, run_test
from ..solver.parameters import parameters_of
from ..solver.runs import find_snapshot, is_run, quoted
from .table import table


def run(
    what: str,
    weights: str | None,
    iterations: int | None,
    settings: Iterable[str],
    read: Callable[[str], NetSpec],
    say: Callable[[str], None],
    *,
    level: int = 0,
    stages: Iterable[str] = (),
    allow_python: bool = False,
) -> dict:
    """Test the weights of a spec, or those of a run: the best, or else the newest, with the spec, level and stages it
    was trained with. ``read`` reads a spec, ``say`` gets notes for the user. See ``measure``."""
    where = Path(what)
    if not what or not is_run(where):
        if weights is None:
            raise NettrainError(
                f"nothing to test: give the weights too (--weights FILE), or in place of {quoted(what)} a run such as "
                "runs/mlp/001, which has its spec and its weights"
            )
        return measure(read(what), weights, iterations, level=level, stages=stages)
    found = find_snapshot(where, best_first=True)
    for note in found.notes:
        say(note)
    snapshot = found.snapshot
    level, stages = snapshot.level_and_stages(level, stages)
    spec = snapshot.spec(settings, allow_python)
    spec.file = what
    return measure(spec, weights or snapshot.path, iterations, level=level, stages=stages)


def measure(
    spec: NetSpec, weights: str | Path, iterations: int | None = None, *, level: int = 0, stages: Iterable[str] = ()
) -> dict:
    """Mean of each output of the TEST net with these weights, and what of the file was used.

    ``notes`` say what to know of the scores, ``exit_code`` is 0 unless one is not finite (2: the data is to blame). A
    score that is no number, or of nothing that counts, is None.

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
    total = TestNet("", net, iterations).total
    found = run_test(net, iterations, total)
    notes = [f"{step.spec.title()} {why}" for step in net.steps if (why := ask(step.layer, "unready"))]
    notes += found.notes
    if found.trouble:
        notes.append(f"no finite number for {', '.join(f'`{name}`' for name in found.bad)}: {found.trouble.sentence}")
    sets = {name: len(layer.set) for name, layer in net.layers.items() if hasattr(layer, "set")}
    files = {"loaded": loaded.loaded, "missing": loaded.missing, "ignored": loaded.ignored}
    return {
        "spec": spec.file,
        "weights": str(weights),
        "examples": sets,
        "scores": plain_json.plain(found.scores),
        "notes": notes,
        "layers": files,
        "exit_code": (2 if found.trouble.in_data else 1) if found.trouble else 0,
    }


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
    notes = [f"  note: {note}" for note in result["notes"]]
    return "\n".join([*lines, table(["output", "mean"], rows, right=(1,)), *notes])


def _number(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_number, value))}]"
    return "-" if value is None else f"{value:.6g}"
