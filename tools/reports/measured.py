"""The figures of a test set in words: tables of classes, labels or values, a confusion matrix, the worst mistakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...solver.evaluate import shown
from ..table import columns, table

MOST_ROWS = 20  # classes, labels or outputs shown; of more the ten that are worst
WORST = 10
WIDTH = 120  # of a confusion matrix where no terminal says
SHARES = ("accuracy", "top_5", "exact", "balanced_accuracy", "probability")
WORDS = {
    "top_5": "in the top 5",
    "exact": "all labels right",
    "balanced_accuracy": "balanced accuracy",
    "mean_iou": "mean IoU",
    "log_loss": "log loss",
    "ece": "calibration error (ECE)",
    "roc_auc": "ROC-AUC",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
    "iou": "IoU",
    "f1": "F1",
}


def report(found: Mapping[str, Any]) -> str:
    """What one loss or score found."""
    counted = {"classes": "answers", "labels": "examples", "values": "examples"}[found["kind"]]
    net = f" of {found['net']}" if found["net"] else ""
    head = f"`{found['of']}` against `{found['by']}`{net}: {found['examples']:,} {counted}"
    if len(found.get("classes", ())) > MOST_ROWS:
        head += f", {len(found['classes']):,} classes"
    if not found["examples"]:
        return head
    parts = {"classes": _of_classes, "labels": _of_labels, "values": _of_values}[found["kind"]](found)
    return "\n\n".join(filter(None, [f"{head}\n{parts[0]}", *parts[1:], _mistakes(found)]))


def _of_classes(found: Mapping[str, Any]) -> list[str]:
    names = ["precision", "recall", "f1", *["iou"] * ("mean_iou" in found)]
    rows = [one for one in found["classes"] if one["f1"] is not None]
    means = [("mean", {name: found[f"mean_{name}"] for name in names})]
    means.append(("weighted mean", {name: found.get(f"weighted_{name}") for name in names}))
    parts = [
        _figures(found, ("accuracy", "top_5", "balanced_accuracy", "mean_iou"), ("log_loss", "ece", "roc_auc")),
        _by_row(rows, "class", [*names, "examples", "predicted"], "f1", means),
    ]
    if found["confusion"] is not None and len(found["classes"]) <= MOST_ROWS:
        matrix = _matrix([str(one["class"]) for one in found["classes"]], found["confusion"])
        return [*parts, matrix]
    if found["confused"]:
        pairs = [[str(one["true"]), str(one["predicted"]), f"{one['examples']:,}"] for one in found["confused"][:WORST]]
        parts.append("most often confused:\n" + table(["true", "taken for", "answers"], pairs, right=(2,)))
    return parts


def _of_labels(found: Mapping[str, Any]) -> list[str]:
    names = ["precision", "recall", "f1", "roc_auc"]
    mean = ("mean", {name: found.get(f"mean_{name}", found.get(name)) for name in names})
    return [
        _figures(found, ("accuracy", "exact", "log_loss", "roc_auc")),
        _by_row(found["labels"], "label", [*names, "examples", "predicted"], "f1", [mean]),
    ]


def _of_values(found: Mapping[str, Any]) -> list[str]:
    names = ("mae", "rmse", "r2")
    several = len(found["outputs"]) > 1
    return [_figures(found, names), _by_row(found["outputs"], "output", names, "r2", []) if several else ""]


def _figures(found: Mapping[str, Any], *lines: Sequence[str]) -> str:
    """The figures of all answers, those that there are."""
    shown = []
    for names in lines:
        there = [name for name in names if found.get(name) is not None]
        parts = [f"{WORDS.get(name, name)} {_number(found[name], name)}" for name in there]
        if "roc_auc" in there and len(found.get("classes", ())) > 2:
            parts[-1] += " (the mean of each class against the rest)"
        shown += [f"  {' · '.join(parts)}"] * bool(parts)
    return "\n".join(shown)


def _by_row(
    rows: Sequence[Mapping[str, Any]], first: str, names: Sequence[str], rank: str, means: Sequence[tuple[str, Any]]
) -> str:
    """A table of classes, labels or outputs; of many the worst."""
    shown, more = list(rows), ""
    if len(rows) > MOST_ROWS:
        shown = sorted(rows, key=lambda one: (one[rank] is not None, one[rank]))[:WORST]
        more = f"\nthe {WORST} of {len(rows):,} with the lowest {WORDS.get(rank, rank)}; --json has all"
    cells = [[str(one[first]), *(_number(one[name]) for name in names)] for one in shown]
    cells += [[title, *(_number(of[name]) if name in of else "" for name in names)] for title, of in means]
    return table([first, *(WORDS.get(name, name) for name in names)], cells, right=range(1, len(names) + 1)) + more


def _matrix(names: list[str], matrix: Sequence[Sequence[int]]) -> str:
    """A row for each true class, a column for each predicted one; columns have numbers where names are too wide."""
    cells = [[f"{count:,}" if count else "·" for count in row] for row in matrix]
    heads = names
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    if max(map(len, names)) + sum(2 + width for width in widths) > (columns() or WIDTH):
        heads = list(map(str, range(len(names))))
        names = [name if name == head else f"{head} {name}" for head, name in zip(heads, names, strict=True)]
    rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
    return "confusion matrix: a row is a true class, a column what it was taken for\n" + table(
        ["", *heads], rows, right=range(1, len(heads) + 1)
    )


def _mistakes(found: Mapping[str, Any]) -> str:
    if not found["mistakes"]:
        return ""
    names = list(found["mistakes"][0])
    numbers = [i for i, name in enumerate(names) if isinstance(found["mistakes"][0][name], int | float)]
    rows = [[_number(one[name], name) for name in names] for one in found["mistakes"]]
    what = {"values": "largest errors"}.get(found["kind"], "most certain mistakes")
    if "wrong" in names:
        what = "examples with the largest share of wrong answers"
    return f"{what}:\n" + table(names, rows, right=numbers)


def _number(value: Any, name: str = "") -> str:
    if value is None:
        return "-"
    if name in SHARES:
        return shown(value, is_share=True)
    if isinstance(value, float):
        if 1e4 <= abs(value) < 1e9:
            return f"{value:,.0f}"
        return f"{value:.4f}" if 1e-3 <= abs(value) < 10 or value == 0 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and name not in ("true", "predicted") else str(value)
