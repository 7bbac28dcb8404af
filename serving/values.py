"""How far values are from the right ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .measures import Name, Worst, mean_of, number

MOST_OUTPUTS = 1000  # that are listed one by one


class Values:
    """D values for each example against those that would be right; of maps a value of each at every position."""

    def __init__(self, count: int, names: Sequence[str] = (), mistakes: int = 10):
        self.D = count
        self.names: Sequence[Any] = names if len(names) == count else range(count)
        self.examples = 0
        self.n = np.zeros(count, np.int64)
        self.absolute, self.squared, self.mean, self.spread = (np.zeros(count) for _ in range(4))
        self.low, self.high = np.full(count, np.inf), np.full(count, -np.inf)
        self.worst = Worst(mistakes)

    def add(self, values: np.ndarray, targets: np.ndarray, counted: np.ndarray, name: Name) -> None:
        """Take in N x D x positions values, with their targets and whether they count."""
        y, t = values.astype(np.float64), targets.astype(np.float64)
        if not t.size:
            return
        error = np.where(counted, y - t, 0)
        n = counted.sum(axis=(0, 2))
        self.examples += int(counted.any(axis=(1, 2)).sum())
        self.absolute += np.abs(error).sum(axis=(0, 2))
        self.squared += (error**2).sum(axis=(0, 2))
        self.low = np.minimum(self.low, np.where(counted, t, np.inf).min(axis=(0, 2)))
        self.high = np.maximum(self.high, np.where(counted, t, -np.inf).max(axis=(0, 2)))
        # the sum of squares about the mean of all, from that of the batch about its own
        mean = np.where(counted, t, 0).sum(axis=(0, 2)) / np.maximum(n, 1)
        apart, both = mean - self.mean, np.maximum(self.n + n, 1)
        self.spread += (np.where(counted, t - mean[:, None], 0) ** 2).sum(axis=(0, 2)) + apart**2 * (self.n * n / both)
        self.mean += apart * (n / both)
        self.n += n
        sizes = np.abs(error).reshape(len(t), -1)
        largest = sizes.argmax(axis=1)

        def entry(k: int) -> dict:
            j, at = divmod(int(largest[k]), t.shape[2])
            output = {"output": self.names[j]} if self.D > 1 else {}
            return {"example": name(k)} | output | {"true": float(t[k, j, at]), "predicted": float(y[k, j, at])}

        size = sizes.max(axis=1)
        self.worst.add(np.where(size > 0, size, np.nan), entry)

    def result(self) -> dict:
        """``mae``, ``rmse`` and ``r2`` of each output and their plain means (``mean_absolute_error``,
        ``root_mean_squared_error``, ``r2_score``: 1 - Σ (y - t)² / Σ (t - mean t)², of targets that are all the same 1
        when every answer is right and else 0, None of fewer than two)."""
        n = np.maximum(self.n, 1)
        squares = {"mae": self.absolute / n, "rmse": np.sqrt(self.squared / n)}
        same = self.low >= self.high
        with np.errstate(all="ignore"):
            r2 = np.where(same, np.equal(self.squared, 0), 1 - self.squared / np.where(same, 1, self.spread))
        columns = {name: np.where(self.n > 0, values, np.nan) for name, values in squares.items()}
        columns["r2"] = np.where(self.n > 1, r2, np.nan)
        found: dict[str, Any] = {"examples": self.examples}
        found |= {name: mean_of(values[~np.isnan(values)]) for name, values in columns.items()}
        rows: list[Mapping[str, Any]] = [
            {"output": self.names[j]} | {name: number(values[j]) for name, values in columns.items()}
            for j in range(self.D if self.D <= MOST_OUTPUTS else 0)
        ]
        return found | {"outputs": rows, "mistakes": self.worst.entries()}
