"""`nettrain runs`: which runs there are, how far they came, what was best."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ...solver.evaluate import shown
from ...solver.finding import run_at, stem_of, stems_in
from ...solver.lock import writer
from ...solver.metrics import METRICS, read_metrics
from ...solver.monitor import Monitor
from ...solver.record import read_record, shares_of
from ...solver.runs import RECORD, Run
from ...spec.errors import NettrainError, why
from ..table import table
from . import folds

DEEPEST = 4  # folders below the one that is listed
LONGEST = 60  # characters of settings in a row


@dataclass
class Listed:
    """A run as the list has it. ``state`` is running, finished, interrupted, failed, damaged, or unknown for a run of
    an older nettrain; ``score`` is the best, of the metric that the run watches, a ``percent`` where that is a share;
    ``fold`` is its number among ``folds`` where it was trained on one."""

    run: str
    when: str | None = None
    spec: str | None = None
    settings: list[str] = field(default_factory=list)
    iteration: int | None = None
    max_iter: int | None = None
    metric: str | None = None
    score: float | None = None
    percent: bool = False
    at: int | None = None
    fold: int | None = None
    folds: int | None = None
    state: str = "unknown"
    why: str = ""
    bytes: int = 0


def listing(folders: Sequence[str]) -> list[Listed]:
    """The runs in folders and below, the newest last. Raises NettrainError where there are none."""
    found: dict[str, Listed] = {}
    for name in folders or ["runs"]:
        there = [*runs_at(Path(name))]
        if not there:
            some = "a run is a folder such as runs/mlp/001" if os.path.isdir(name) else "there is no such folder"
            raise NettrainError(f"no runs in {name}; {some}")
        for run in there:
            found[str(run.where)] = look_at(run)
    return sorted(found.values(), key=lambda one: (one.when or "", one.run))


def runs_at(where: Path) -> Iterator[Run]:
    """The run of this name, or the runs in a folder and below it."""
    if not os.path.isdir(where):
        run = run_at(where)
        if run.folder and os.path.isdir(run.folder) and run.stem in stems_in(run.folder):
            yield run
        return
    for at, folders, files in os.walk(where):
        folders[:] = sorted(one for one in folders if not one.startswith("."))
        if len(Path(at).relative_to(where).parts) >= DEEPEST:
            folders.clear()
        for stem in sorted({stem for name in files if (stem := stem_of(name)) is not None}):
            run = Run("", folder=at)
            run.stem = stem
            yield run


def look_at(run: Run) -> Listed:
    """What there is to say of a run; whatever is wrong with its files is said, and ends nothing."""
    listed = Listed(str(run.where))
    try:
        _fill(listed, run)
    except (OSError, NettrainError) as error:
        listed.state, listed.why = "damaged", str(error) if isinstance(error, NettrainError) else why(error)
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # of a record that somebody has changed
        listed.state, listed.why = "damaged", f"{run.path(RECORD)} is not what nettrain writes: {error!r}"
    return listed


def _fill(listed: Listed, run: Run) -> None:
    record, files = read_record(run), _files(run)
    listed.bytes = sum(stat.st_size for stat in files.values())
    listed.when = _time(min((stat.st_mtime for stat in files.values()), default=0.0))
    rows = list(read_metrics(run.path(METRICS))) if os.path.lexists(run.path(METRICS)) else []
    listed.iteration = max((row["iter"] for row in rows), default=None)
    is_running = bool(writer(run.lock_path))
    if record is None:
        if os.path.lexists(run.path(RECORD)):
            raise NettrainError(f"{run.path(RECORD)} is damaged, or not nettrain's")
        listed.state = "running" if is_running else "unknown"
        return
    began, ended = record["began"], record.get("ended")
    listed.when, listed.spec = str(began[0]["at"]), record["file"] or record["name"]
    given = [str(setting).partition("=") for one in began for setting in one["settings"]]
    listed.settings = ["".join(one) for one in {one[0]: one for one in given}.values()]  # the last of each key
    listed.max_iter = int(record["max_iter"])
    best = best_of(record, rows)
    if best is not None:
        listed.metric, (listed.score, listed.at) = record["monitor"]["name"], best
        listed.percent = listed.metric in shares_of(record)
    splits = (layer.get("split") for layer in record["spec"]["layers"])
    divided = next((split for split in splits if isinstance(split, dict) and {"fold", "folds"} <= split.keys()), None)
    if divided is not None:
        listed.fold, listed.folds = int(divided["fold"]), int(divided["folds"])
    if is_running:
        listed.state = "running"
    elif ended is None:
        listed.state, listed.why = "interrupted", "its process ended without a word"
    else:
        listed.iteration = int(ended["iteration"])
        listed.state, listed.why = str(ended["how"]), str(ended["why"])


def best_of(record: dict[str, Any], rows: list[dict[str, Any]]) -> tuple[float, int] | None:
    """The best score and where: as the run itself said at its end, or else by its rows."""
    ended, about = record.get("ended"), record["monitor"]
    if about is None:
        return None
    if ended and ended["best"]:
        return float(ended["best"]["score"]), int(ended["best"]["at"])
    monitor = Monitor(str(about["name"]), bool(about["higher"]))
    for row in rows:
        score = row["test"].get(monitor.name) if isinstance(row.get("test"), dict) else None
        if isinstance(score, int | float):
            monitor.see(float(score), row["iter"])
    return monitor.best


def _files(run: Run) -> dict[str, os.stat_result]:
    assert run.folder is not None
    names = [path for path in run.folder.iterdir() if not run.stem or path.name.startswith(f"{run.stem}_")]
    return {path.name: path.stat() for path in names if os.path.isfile(path) and path != run.lock_path}


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def report(runs: Sequence[Listed]) -> str:
    """A table of runs."""
    rows = []
    for one in runs:
        of = f" of {one.max_iter:,}" if one.max_iter is not None and one.iteration != one.max_iter else ""
        settings = " ".join(one.settings)
        settings = settings if len(settings) <= LONGEST else f"{settings[: LONGEST - 1]}…"
        state = f"{one.state}: {one.why}" if one.why and one.state in ("failed", "damaged") else one.state
        iterations = "-" if one.iteration is None else f"{one.iteration:,}{of}"
        when = (one.when or "-")[:16]
        rows.append([one.run, when, one.spec or "-", settings, iterations, _score(one), state, _size(one)])
    listed = table(["run", "when", "spec", "set", "iterations", "best", "state", "size"], rows, right=(7,))
    return "\n".join([listed, *(f"{one['folder']}: {folds.together(one, one['of'])}" for one in groups(runs))])


def groups(runs: Sequence[Listed]) -> list[dict[str, Any]]:
    """The folders of `train --folds` among the runs, with the mean and spread of the folds that are finished; ``of``
    is how many there are to be."""
    found: dict[tuple[str, int, str], list[Listed]] = {}
    for one in runs:
        folder, name = os.path.split(one.run)
        if one.folds and name == f"fold{one.fold}" and one.state == "finished" and one.score is not None:
            found.setdefault((folder, one.folds, one.metric or ""), []).append(one)
    return [
        folds.summary(
            folder,
            metric,
            several[0].percent,
            [
                {"fold": one.fold, "run": one.run, "score": one.score, "at": one.at}
                for one in sorted(several, key=lambda one: one.fold or 0)
            ],
        )
        | {"of": of}
        for (folder, of, metric), several in found.items()
    ]


def _score(one: Listed) -> str:
    return "-" if one.score is None else f"{one.metric} {shown(one.score, one.percent)} at {one.at:,}"


def _size(one: Listed) -> str:
    size, unit = one.bytes / 1e3, "kB"
    return f"{size / 1e3:,.1f} MB" if size >= 1e3 else f"{size:,.1f} {unit}"


def as_json(runs: Sequence[Listed]) -> dict[str, Any]:
    return {"runs": [asdict(one) for one in runs], "folds": groups(runs)}
