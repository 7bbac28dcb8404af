"""How good answers are, over a whole test set: counts and sums that take batches of any size and give the exact figure.

Each takes arrays with ``add`` and gives plain data with ``result``. Memory does not grow with the number of examples,
except for the scores that an area under the ROC curve needs, of which at most ``MOST_SCORES`` are kept. Figures have
scikit-learn's definitions, named in each docstring; one that cannot be computed is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

MOST_SCORES = 1 << 22  # kept for areas under ROC curves: 32 MB, and what is true beside them

Name = Callable[[int], str]  # what the example at a place of the batch is called


def auc(scores: np.ndarray, positive: np.ndarray) -> float | None:
    """Area under the ROC curve: the share of pairs of a positive and a negative example in which the positive one has
    the larger score, ties counting half (``roc_auc_score``). None where one kind is missing."""
    yes, no = scores[positive], np.sort(scores[~positive])
    if not yes.size or not no.size:
        return None
    below = np.searchsorted(no, yes, "left").sum(dtype=np.int64) + np.searchsorted(no, yes, "right").sum(dtype=np.int64)
    return float(below / (2 * len(yes) * len(no)))


class Worst:
    """The largest few of many, each with an entry that is made when it is among them; of equals the first."""

    def __init__(self, most: int):
        self.most = most
        self.kept: list[tuple[float, dict]] = []

    def add(self, sizes: np.ndarray, entry: Callable[[int], dict]) -> None:
        """Take in things of these sizes; what has NaN does not count."""
        if not self.most:
            return
        least = self.kept[-1][0] if len(self.kept) == self.most else -math.inf
        places = np.flatnonzero(sizes > least)
        for i in places[np.argsort(-sizes[places], kind="stable")[: self.most]].tolist():
            self.kept.append((float(sizes[i]), entry(i)))
        self.kept.sort(key=lambda one: -one[0])
        del self.kept[self.most :]

    def entries(self) -> list[dict]:
        return [entry for _, entry in self.kept]


class Scores:
    """Scores that are kept, unless they become too many."""

    def __init__(self) -> None:
        self.parts: list[tuple[np.ndarray, np.ndarray]] = []
        self.count = 0

    def add(self, scores: np.ndarray, truth: np.ndarray) -> None:
        self.count += scores.size
        if self.count > MOST_SCORES:
            self.parts.clear()
        else:
            self.parts.append((scores, truth))

    def whole(self) -> tuple[np.ndarray, np.ndarray] | None:
        if not self.parts:
            return None
        scores, truth = zip(*self.parts, strict=True)
        return np.concatenate(scores), np.concatenate(truth)


def share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Shares, 0 of nothing."""
    return part / np.maximum(whole, 1)


def mean_of(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None


def weighted(values: np.ndarray, weights: np.ndarray) -> float | None:
    return float((values * weights).sum() / weights.sum()) if weights.any() else None


def number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
