"""How good answers are that say yes or no to several labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .classes import Classes
from .measures import Name, Scores, Worst, auc, mean_of, share
from .values import Values


class Bits:
    """A score for each of L labels, any of which may hold, against 1 (it does) and 0; of maps at every position.

    ``applies`` is ``Sigmoid`` where the scores are taken by a sigmoid, else they may be probabilities. Yes is a score
    above ``threshold``. With targets other than 0 and 1 these are no labels, but values that are measured as such; with
    a single label they are two classes, which ``classes`` are the names of. An example of which nothing counts is none.
    """

    def __init__(
        self,
        count: int,
        applies: str = "",
        threshold: float = 0.0,
        names: Sequence[str] = (),
        classes: Sequence[str] = (),
        mistakes: int = 10,
    ):
        self.L, self.applies, self.threshold = count, applies, threshold
        self.names: Sequence[Any] = names if len(names) == count else range(count)
        self.as_values = Values(count, names, mistakes)
        self.as_classes = Classes(2, applies and "Softmax", classes, mistakes)
        self.are_whole = True
        self.hits, self.said, self.held, self.counted, self.right = (np.zeros(count, np.int64) for _ in range(5))
        self.examples = self.exact = 0
        self.log_loss = 0.0
        self.scores = Scores()
        self.worst = Worst(mistakes)

    def add(self, scores: np.ndarray, targets: np.ndarray, counted: np.ndarray, name: Name) -> None:
        """Take in N x L x positions scores, with targets and whether they count."""
        x, t = scores.astype(np.float64), targets.astype(np.float64)
        p = 0.5 * (np.tanh(0.5 * x) + 1) if self.applies else x
        self.are_whole &= bool(np.isin(t[counted], (0, 1)).all())
        self.as_values.add(p, t, counted, name)
        if not self.are_whole:
            return
        if self.L == 1:
            other = np.zeros_like(x) if self.applies else 2 * self.threshold - x  # equal to x at the threshold
            two = np.concatenate([other, x], axis=1)
            self.as_classes.add(two, (t == 1).astype(np.intp)[:, 0], counted[:, 0], name)
            return
        yes, holds = (x > self.threshold) & counted, (t == 1) & counted
        right = (yes == holds) & ~np.isnan(x) & counted
        self._count(yes, holds, counted, right)
        if self.applies:
            losses = np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))
            self.log_loss += float(losses[counted].sum())
        self.scores.add(*(np.moveaxis(one, 1, 2).reshape(-1, self.L) for one in (x, np.where(counted, t, -1))))
        certainty = np.where(yes, p, 1 - p) if self.applies else np.abs(x - self.threshold)
        key = "probability" if self.applies else "ahead"

        def entry(at: int) -> dict:
            k, j, _ = map(int, np.unravel_index(at, x.shape))
            words = ("no", "yes")
            return {
                "example": name(k),
                "label": self.names[j],
                "true": words[int(holds.flat[at])],
                "predicted": words[int(yes.flat[at])],
                key: float(certainty.flat[at]),
            }

        self.worst.add(np.where(counted & ~right, certainty, np.nan).reshape(-1), entry)

    def _count(self, yes: np.ndarray, holds: np.ndarray, counted: np.ndarray, right: np.ndarray) -> None:
        """Count what was said, what holds, what counts and what is right, each N x L x positions."""
        for total, which in zip(
            (self.hits, self.said, self.held, self.counted, self.right),
            (yes & holds, yes, holds, counted, right),
            strict=True,
        ):
            total += which.sum(axis=(0, 2))
        some = counted.any(axis=(1, 2))
        self.examples += int(some.sum())
        self.exact += int((right | ~counted).all(axis=(1, 2))[some].sum())

    def result(self) -> dict:
        """Precision, recall, F1 and area under the ROC curve of each label, and their means; ``accuracy`` over all
        answers; ``exact``, the share of examples with every label right (``accuracy_score``); ``log_loss`` per
        answer."""
        if not self.are_whole:
            return {"kind": "values"} | self.as_values.result()
        if self.L == 1:
            return {"kind": "classes"} | self.as_classes.result()
        n = int(self.counted.sum())
        kept = self.scores.whole()
        areas: list[float | None] = [None] * self.L
        if kept is not None:
            areas = [auc(x[t >= 0], t[t >= 0] == 1) for x, t in zip(kept[0].T, kept[1].T, strict=True)]
        columns = {
            "precision": share(self.hits, self.said),
            "recall": share(self.hits, self.held),
            "f1": share(2 * self.hits, self.said + self.held),
        }
        found: dict[str, Any] = {
            "examples": self.examples,
            "accuracy": int(self.right.sum()) / n if n else None,
            "exact": self.exact / self.examples if self.examples else None,
            "log_loss": self.log_loss / n if n and self.applies else None,
            "roc_auc": mean_of(np.array([area for area in areas if area is not None])),
        }
        found |= {f"mean_{name}": mean_of(values) for name, values in columns.items()}
        found["labels"] = [
            {"label": self.names[j]}
            | {name: float(values[j]) for name, values in columns.items()}
            | {"roc_auc": areas[j], "examples": int(self.held[j]), "predicted": int(self.said[j])}
            for j in range(self.L)
        ]
        return found | {"mistakes": self.worst.entries()}
