"""Labels with a 1 for the class of an example and 0 for all others, N x classes: noticing them, and counting them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..spec.errors import NettrainError, format_shape
from .dataset import DataSet

SAY = "one_hot: true of Data makes classes of them"


def is_one_hot(labels: object) -> bool:
    """Whether all labels are so, of two classes at least."""
    return isinstance(labels, np.ndarray) and labels.ndim == 2 and labels.shape[1] > 1 and not _others(labels).any()


def _others(labels: np.ndarray) -> np.ndarray:
    """Where a row is no class: it has something else than one 1 and zeros."""
    return ~(((labels == 0) | (labels == 1)).all(axis=1) & (np.count_nonzero(labels, axis=1) == 1))


def counted(found: DataSet, names: Sequence[str] = ()) -> DataSet:
    """The set with the numbers of classes for labels that are one-hot; ``names`` are those of the classes, if they have
    some. Raises NettrainError for other labels, with the first rows that are wrong."""
    labels = None if found.labels is None else np.asarray(found.labels[:])
    if labels is None or labels.ndim != 2 or labels.shape[1] < 2:
        has = "has no labels" if labels is None else f"has labels of {format_shape(labels.shape)}"
        raise NettrainError(
            f"one_hot is for labels of N x classes, with a single 1 each; {found.origin} {has}", key="one_hot"
        )
    if wrong := np.flatnonzero(_others(labels)).tolist():
        more = f" and {len(wrong) - 20:,} more" if len(wrong) > 20 else ""
        rows = "; ".join(
            f"{found.name_of(i)}: {', '.join(f'{value:g}' for value in labels[i, :10])}" for i in wrong[:20]
        )
        raise NettrainError(
            f"{found.origin}: with one_hot each row of labels has a single 1 and else 0; these have not: {rows}{more}",
            key="one_hot",
        )
    return replace(found, labels=labels.argmax(axis=1), classes=tuple(names) or found.classes)


def noticed(found: DataSet) -> str:
    """A sentence on labels that are one-hot, with the key that makes classes of them."""
    if not is_one_hot(found.labels):
        return ""
    return f"the labels, {format_shape(found.labels.shape)}, are one-hot: {SAY}"
