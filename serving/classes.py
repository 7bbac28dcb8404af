"""How good a classifier is: which classes are taken for which, how sure it is, its worst mistakes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .measures import Name, Scores, Worst, auc, mean_of, share, weighted

BINS = 15  # of the calibration error
TOP = 5  # the k of top-k, where there are more classes than that
MOST_PAIRS = 1000  # classes of which a confusion matrix is kept
ROUNDING = 1e-4  # by which probabilities may miss a sum of 1: they may be of half precision
SMALLEST = float(np.finfo(np.float64).eps)  # that the logarithm of a given probability is taken of


class Classes:
    """Scores or probabilities of C classes against the true ones.

    The predicted class has the largest score, of equals the first; so has ``top_5`` the first five of the classes in
    that order. A score that is NaN is below all others, and where no class has another there is no answer: such an
    example is wrong, and no class is predicted. ``applies`` is ``Softmax`` where the scores are taken by a softmax;
    else they are probabilities if all of them look so, and otherwise there is no log loss and no calibration.
    ``names`` are those of the classes, if there are any; ``mistakes`` how many are listed.
    """

    def __init__(self, count: int, applies: str = "", names: Sequence[str] = (), mistakes: int = 10):
        self.C, self.applies = count, applies
        self.names: Sequence[Any] = names if len(names) == count else range(count)
        self.support, self.predicted, self.hits = (np.zeros(count, np.int64) for _ in range(3))
        self.confusion = np.zeros((count, count), np.int64) if count <= MOST_PAIRS else None
        self.right = self.right_in_top = 0
        self.log_loss = 0.0
        self.bins = np.zeros((3, BINS))  # answers, right ones, sum of confidences
        self.are_probabilities: bool | None = True if applies else None
        self.scores = Scores()
        # by what tells how sure a mistake was: a later batch may show that scores are no probabilities
        self.worst = {key: Worst(mistakes) for key in ("probability", "ahead", "share")}
        self.are_maps = False

    def add(self, scores: np.ndarray, label: np.ndarray, counted: np.ndarray, name: Name) -> None:
        """Take in N x C x positions scores, with N x positions labels and whether they count."""
        N, C, inner = scores.shape
        x = np.moveaxis(scores, 1, 2).reshape(-1, C)[counted.reshape(-1)].astype(np.float64)
        t, of = label.reshape(-1)[counted.reshape(-1)], np.flatnonzero(counted) // max(1, inner)
        if not len(t):
            return
        np.copyto(x, -np.inf, where=np.isnan(x))
        rows = np.arange(len(t))
        true, best = x[rows, t], x.argmax(axis=1)
        right = (best == t) & (true > -np.inf)
        self._count(x, true, t, best, right)
        with np.errstate(invalid="ignore"):  # NaN, of infinities: nobody is ahead there
            sure = {"ahead": x[rows, best] - true}
        p = self._probabilities(x, true, t)
        if p is not None:
            sure["probability"] = p[rows, best]
            bins = np.clip(np.ceil(sure["probability"] * BINS).astype(int) - 1, 0, BINS - 1)
            for total, weights in zip(self.bins, (None, right, sure["probability"]), strict=True):
                total += np.bincount(bins, weights, minlength=BINS)
        if p is not None or C == 2:
            self.scores.add(x if p is None else p, t)
        self.are_maps |= inner > 1
        if self.are_maps:
            self._add_maps(np.bincount(of[~right], minlength=N), np.bincount(of, minlength=N), name)
            return
        for key, certainty in sure.items():

            def entry(i: int, key: str = key, certainty: np.ndarray = certainty) -> dict:
                return {
                    "example": name(int(of[i])),
                    "true": self.names[t[i]],
                    "predicted": self.names[best[i]],
                    key: float(certainty[i]),
                }

            self.worst[key].add(np.where(right, np.nan, certainty), entry)

    def _count(self, x: np.ndarray, true: np.ndarray, t: np.ndarray, best: np.ndarray, right: np.ndarray) -> None:
        """Count answers by class, n x C scores with those of the true classes, these, the predicted ones and whether
        they are right."""
        C, said = self.C, x.max(axis=1) > -np.inf
        self.right += int(right.sum())
        if C > TOP:
            before = (x > true[:, None]) | ((x == true[:, None]) & (np.arange(C) < t[:, None]))
            self.right_in_top += int(((before.sum(axis=1) < TOP) & (true > -np.inf)).sum())
        for count, which in ((self.support, t), (self.predicted, best[said]), (self.hits, t[right])):
            count += np.bincount(which, minlength=C)
        if self.confusion is not None:
            pairs, counts = np.unique((t * C + best)[said], return_counts=True)
            self.confusion.reshape(-1)[pairs] += counts

    def _add_maps(self, wrong: np.ndarray, answers: np.ndarray, name: Name) -> None:
        """Take in how many answers of each example are wrong, of how many."""
        self.worst["share"].add(
            np.where(wrong > 0, wrong / np.maximum(answers, 1), np.nan),
            lambda k: {"example": name(k), "wrong": int(wrong[k]), "of": int(answers[k])},
        )

    def _probabilities(self, x: np.ndarray, true: np.ndarray, t: np.ndarray) -> np.ndarray | None:
        """Those of the classes, None where the scores are none; adds to the log loss."""
        if self.applies:
            largest = x.max(axis=1, keepdims=True)
            p = np.exp(x - largest)
            total = p.sum(axis=1, keepdims=True)
            self.log_loss += float((np.log(total) + largest)[:, 0].sum() - true.sum())
            return np.divide(p, total, out=p)
        if self.are_probabilities is not False:
            off = np.abs(x.sum(axis=1) - 1).max()
            self.are_probabilities = bool(x.min() >= -ROUNDING and off <= ROUNDING and self.C > 1)
        if not self.are_probabilities:
            return None
        self.log_loss -= float(np.log(np.clip(true, SMALLEST, 1)).sum())
        return x

    def result(self) -> dict:
        """Precision, recall and F1 of each class (``precision_recall_fscore_support``: 0 of nothing) with their plain
        mean over the classes that occur, and weighted by examples; accuracy; ``balanced_accuracy``, the mean recall;
        ``log_loss``, exact for scores; ``ece``, Σ_b n_b/n |share of right answers in b - mean certainty in b| over 15
        bins (k/15, (k+1)/15] of the certainty, the probability of the predicted class; ``roc_auc``, of more than two
        classes the mean of each against the rest; for maps the IoU of each class and its mean (``jaccard_score``)."""
        n = int(self.support.sum())
        occur = (self.support > 0) | (self.predicted > 0)
        precision, recall = share(self.hits, self.predicted), share(self.hits, self.support)
        f1 = share(2 * self.hits, self.support + self.predicted)
        columns = {"precision": precision, "recall": recall, "f1": f1}
        if self.are_maps:
            columns["iou"] = share(self.hits, self.support + self.predicted - self.hits)
        counts = {"examples": self.support, "predicted": self.predicted}
        found: dict[str, Any] = {"examples": n, "accuracy": self.right / n if n else None}
        if self.C > TOP:
            found[f"top_{TOP}"] = self.right_in_top / n if n else None
        found["balanced_accuracy"] = mean_of(recall[self.support > 0])
        certain = bool(self.are_probabilities and n)
        found["log_loss"] = self.log_loss / n if certain else None
        found["ece"] = float(np.abs(self.bins[1] - self.bins[2]).sum() / n) if certain else None
        found["roc_auc"] = self._area()
        found |= {f"mean_{name}": mean_of(values[occur]) for name, values in columns.items()}
        found |= {f"weighted_{name}": weighted(columns[name], self.support) for name in ("precision", "recall", "f1")}
        found["classes"] = [
            {"class": self.names[k]}
            | {name: float(values[k]) if occur[k] else None for name, values in columns.items()}
            | {name: int(values[k]) for name, values in counts.items()}
            for k in range(self.C)
        ]
        found["confusion"] = None if self.confusion is None else self.confusion.tolist()
        found["confused"] = [] if self.confusion is None else list(self._confused(self.confusion))
        by = "share" if self.are_maps else "probability" if self.are_probabilities else "ahead"
        return found | {"mistakes": self.worst[by].entries()}

    def _area(self) -> float | None:
        kept = self.scores.whole()
        if kept is None or (self.C > 2 and not self.are_probabilities):
            return None
        scores, t = kept
        if self.C == 2:
            return auc(scores[:, 1] if self.are_probabilities else scores[:, 1] - scores[:, 0], t == 1)
        areas = [auc(scores[:, k], t == k) for k in range(self.C)]
        return mean_of(np.array([area for area in areas if area is not None]))

    def _confused(self, matrix: np.ndarray) -> Iterator[dict]:
        """Which class was taken for which, the most frequent first."""
        wrong = matrix - np.diag(np.diag(matrix))
        for at in np.argsort(-wrong, axis=None, kind="stable")[: np.count_nonzero(wrong)].tolist():
            t, y = divmod(at, self.C)
            yield {"true": self.names[t], "predicted": self.names[y], "examples": int(wrong[t, y])}
