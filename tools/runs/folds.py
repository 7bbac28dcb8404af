"""`nettrain train --folds K`: a run on each of K folds, and what they say together."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...files.plain_json import plain
from ...net.netspec import load
from ...solver.evaluate import shown
from ...solver.record import read_record
from ...solver.runs import Run, next_folder, quoted
from ...solver.solver import Solver
from ...spec.differences import differences, written
from ...spec.errors import NettrainError, why
from .. import training
from ..table import table


@dataclass
class Fold:
    """One of the folds, counted from 1: the settings that make it, and the best score of its run."""

    number: int
    run: Path
    settings: list[str]
    score: float | None = None
    at: int | None = None


def train(
    spec: str,
    settings: Iterable[str],
    count: int,
    say: Callable[[str], None],
    run: Callable[[Solver], None],
    command: str = "",
    **options: Any,
) -> dict[str, Any]:
    """Train on each fold, as ``run`` does it, in FOLDER/fold1 and so on; returns the scores, their mean and spread.

    In a folder that has some of them already, finished folds are taken as they are, and unfinished ones resumed. Raises
    NettrainError when no data can be divided, nothing is tested, or the runs there are of another spec.
    """
    probe = Solver(spec, settings=settings, **options | {"weights": None})
    names = [*_divided(probe, count)]
    given, is_named = tuple(settings), options.get("out") is not None
    out = options.pop("out", None) or probe.p.snapshot_prefix
    folder = Path(out) if out else next_folder(Path("runs") / probe.run.name)
    folds = [
        Fold(i, folder / f"fold{i}", [*given, *(_split(probe, name, count, i) for name in names)])
        for i in range(1, count + 1)
    ]
    left = [fold for fold in folds if not _is_finished(fold, spec, options)]
    made = [] if out else [folder, folder.parent, folder.parent.parent]
    for fold in folds:
        try:
            if fold in left:
                say(f"fold {fold.number} of {count}")
                solver = _prepared(fold, spec, say, command, options)
                run(solver)
                assert solver.best is not None  # else it is an error of the run
                fold.score, fold.at = solver.best
        except BaseException as error:
            for empty in made:
                with contextlib.suppress(OSError):
                    empty.rmdir()  # if nothing came of the first
            done = sum(one.score is not None for one in folds)
            if not isinstance(error, NettrainError) or not (done or os.path.isdir(fold.run)):
                raise
            again = command if is_named else f"{command} --out {quoted(folder)}"
            words = f"{error}\n{done} of {count} folds are finished; to go on: {again}"
            raise NettrainError(words, exit_code=error.exit_code) from error
    assert probe.monitor is not None
    scored = [{"fold": f.number, "run": str(f.run), "score": f.score, "at": f.at} for f in folds]
    return summary(str(folder), probe.monitor.name, probe.monitor.is_share, scored)


def summary(folder: str, metric: str, percent: bool, folds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What folds say together: each fold's score, their mean and spread."""
    scores = np.array([fold["score"] for fold in folds])
    return {
        "folder": folder,
        "metric": metric,
        "percent": percent,
        "folds": list(folds),
        "mean": float(scores.mean()),
        "std": float(scores.std()),
    }


def _divided(solver: Solver, count: int) -> Iterator[str]:
    """The layers whose data is divided. Raises NettrainError where there is none, or no score to compare."""
    if solver.monitor is None:
        raise NettrainError("--folds compares scores, and nothing is tested: no layer of the TEST net gives one")
    nets = [solver.net, *solver.test_nets]
    found = [name for name in solver.net.layers if any(name in net.layers for net in solver.test_nets)]
    found = [name for name in found if all(net.layers[name].can_be_divided for net in nets if name in net.layers)]
    if not found:
        data = dict.fromkeys(f"`{name}`" for net in nets for name, layer in net.layers.items() if layer.pass_size)
        raise NettrainError(
            f"--folds {count} divides a source that is one set for training and for tests, such as source: all.csv; "
            f"{' and '.join(data) or 'a layer of this spec'} does not read one"
        )
    yield from found


def _split(solver: Solver, name: str, count: int, number: int) -> str:
    """The setting that makes a layer test on one fold; groups, classes and seed stay those of its ``split``."""
    node = next(layer.node for layer in solver.spec.layers if layer.name == name).value.get("split")
    before = node.to_python() if node is not None else None
    kept = {k: v for k, v in before.items() if k not in ("test", "folds", "fold")} if isinstance(before, dict) else {}
    return f"{name}.split={json.dumps(kept | {'folds': count, 'fold': number})}"


def _is_finished(fold: Fold, spec: str, options: dict[str, Any]) -> bool:
    """Whether the run of a fold is there and came to its end; its score is then taken. Raises NettrainError when what
    is there is a run of something else."""
    try:
        record = read_record(Run("", folder=fold.run))
    except OSError as error:
        raise NettrainError(f"{fold.run} cannot be read: {why(error)}") from None
    if record is None:
        return False
    now = plain(load(spec, fold.settings, allow_python=options.get("allow_python", False)).to_python())
    for path, there, here in differences(record["spec"], now):
        raise NettrainError(
            f"{fold.run} is a run of another spec: {path} is {written(here)} now and {written(there)} there; "
            "choose another --out"
        )
    ended = record["ended"] or {"how": ""}
    if ended["how"] != "finished" or not ended["best"]:
        return False
    fold.score, fold.at = ended["best"]["score"], ended["best"]["at"]
    return True


def _prepared(fold: Fold, spec: str, say: Callable[[str], None], command: str, options: dict[str, Any]) -> Solver:
    """A solver for a fold, resumed where its run was interrupted."""
    if Run("", folder=fold.run).snapshots():
        return training.prepare(None, (), say, str(fold.run), command, **options | {"weights": None})
    return training.prepare(spec, fold.settings, say, None, command, out=str(fold.run), **options)


def report(found: dict[str, Any]) -> str:
    """The folds as a table, their mean and standard deviation."""
    rows = [
        [str(one["fold"]), shown(one["score"], found["percent"]), f"{one['at']:,}", one["run"]]
        for one in found["folds"]
    ]
    head = ["fold", f"best {found['metric']}", "at", "run"]
    return f"{table(head, rows, right=(1, 2))}\n{together(found)}"


def together(found: Mapping[str, Any], of: int | None = None) -> str:
    """The mean and standard deviation of the folds in words; ``of`` how many there are, where some are unfinished."""
    mean, std = (shown(found[key], found["percent"]) for key in ("mean", "std"))
    count = len(found["folds"])
    those = f"{count} of {of}" if of not in (None, count) else f"{count}"
    return f"{found['metric']} {mean} ± {std} (mean and standard deviation of the best of {those} folds)"
