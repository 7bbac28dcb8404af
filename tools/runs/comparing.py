"""`nettrain runs A B`: what differs between two runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...solver.evaluate import shown
from ...solver.finding import find_snapshot, run_at
from ...solver.metrics import METRICS, read_metrics
from ...solver.record import read_record, shares_of
from ...solver.runs import Run
from ...spec.differences import differences, written
from ...spec.errors import NettrainError, why
from ..table import table
from .listing import best_of, runs_at


def are_two(names: Sequence[str]) -> bool:
    """Whether exactly two runs are named, which are then compared."""
    return len(names) == 2 and all(
        [str(run.where) for run in runs_at(Path(name))] == [str(Path(name))] for name in names
    )


def compare(names: Sequence[str]) -> dict[str, Any]:
    """What differs between two runs: in the spec, the data, versions and seed, each a list of keys with both values,
    None where one has none; and their scores, those of the best iteration and of the last, all of them.

    Raises NettrainError for a run of which nothing is known.
    """
    one, other = (_known(run_at(Path(name))) for name in names)
    scores = [(key, one["scores"].get(key), other["scores"].get(key)) for key in one["scores"] | other["scores"]]
    shares = one["shares"] | other["shares"]
    parts = {key: differences(one[key], other[key]) for key in ("spec", "data", "versions")}
    found = {"spec": parts["spec"], "scores": scores, "data": parts["data"], "versions": parts["versions"]}
    return {"runs": list(names)} | {
        part: [
            {"key": key, "values": [here, there]} | ({"percent": key in shares} if part == "scores" else {})
            for key, here, there in rows
        ]
        for part, rows in found.items()
    }


def _known(run: Run) -> dict[str, Any]:
    """What two runs are compared by: from the record, or of an older run from its newest snapshot."""
    try:
        record = read_record(run)
        rows = list(read_metrics(run.path(METRICS))) if os.path.lexists(run.path(METRICS)) else []
    except OSError as error:
        raise NettrainError(f"{run.where} cannot be read: {why(error)}") from None
    versions: dict[str, Any] = {}
    if record is None:
        record = find_snapshot(run.where).snapshot.state
        best = record["monitor"]["best"] if record["monitor"] else None
    else:
        versions, best = record["began"][-1]["versions"], best_of(record, rows)
    monitor = record["monitor"]
    scores: dict[str, Any] = {f"best {monitor['name']}": best[0], "best at iteration": best[1]} if best else {}
    if rows:
        scores |= {"last iteration": rows[-1]["iter"], "last train loss": rows[-1].get("train_loss")}
        tested: dict[str, Any] = next((row for row in reversed(rows) if row.get("test")), {"test": {}})
        scores |= {f"last test {name}": value for name, value in tested["test"].items()}
    data = {("training" if not i else f"test {i}".removesuffix(" 1")): nets for i, nets in enumerate(record["data"])}
    shares = {f"{when} {name}" for name in shares_of(record) for when in ("best", "last test")}
    versions |= {"seed": record["seed"]}
    return {"spec": record["spec"], "data": data, "scores": scores, "versions": versions, "shares": shares}


def report(found: dict[str, Any]) -> str:
    """The comparison as a table."""
    rows = []
    for part in ("spec", "scores", "data", "versions"):
        rows += [[part, "", ""]] if found[part] else [[part, "the same", ""]]
        rows += [
            [f"  {one['key']}", *(_value(value, one.get("percent", False)) for value in one["values"])]
            for one in found[part]
        ]
    return table(["", *found["runs"]], rows)


def _value(value: Any, is_share: bool) -> str:
    if is_share and isinstance(value, float):
        return shown(value, is_share)
    return f"{value:.6g}" if isinstance(value, float) else written(value)
