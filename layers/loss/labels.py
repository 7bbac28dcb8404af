"""Reading class labels, checked: Caffe reads out of bounds when a label is out of range."""

from __future__ import annotations

import math

import numpy as np

from ...net.blob import Blob
from ...spec.errors import NettrainError, ShapeError, format_shape


def positions(scores: Blob, labels: Blob, axis: int) -> tuple[int, int, int]:
    """(outer, classes, inner): sizes before, on and after the class axis. Raises ShapeError unless there is one
    label for each of the outer x inner positions."""
    axis = scores.canonical_axis(axis)
    outer, classes, inner = math.prod(scores.shape[:axis]), scores.shape[axis], math.prod(scores.shape[axis + 1 :])
    if classes == 0:
        raise ShapeError(f"axis {axis} of {format_shape(scores.shape)} has no classes", key="axis")
    if labels.count != outer * inner:
        hint = ""
        if len(labels.shape) > 1 and labels.shape[0] == outer and inner == 1:
            hint = (
                f"; if these are probabilities of {labels.shape[1]} classes, as mixup makes them in training, "
                "SoftmaxWithLoss takes them for as many scores, and a score belongs into tests: include: test; if they "
                "are one-hot labels of a data set, one_hot: true of Data makes classes of them"
            )
        raise ShapeError(
            f"scores of {format_shape(scores.shape)} with the classes on axis {axis} need {outer * inner} labels, "
            f"got {format_shape(labels.shape)}{f' = {labels.count}' if len(labels.shape) > 1 else ''}{hint}"
        )
    return outer, classes, inner


def check_range(blob: Blob, classes: int, ignore_label: int | None = None) -> None:
    """Raise NettrainError when the data set is known to hold a label that no output stands for."""
    known = blob.known.range(ignore_label) if blob.known is not None else None
    if known is None or blob.known is None:
        return
    ignored = np.nan if ignore_label is None else ignore_label
    if not (known.low >= 0 and known.high < classes):  # NaN is neither
        first = blob.known.first(lambda values: ~((values >= 0) & (values < classes) | (values == ignored)))
        hint = f"; the first such label is that of {first}" if first else ""
        if known.low == 1 and known.high == classes:
            hint = "; labels start at 0: subtract 1 from each, or use one more output"
        raise NettrainError(
            f"{known.sentence('the labels', 'some labels')}, but there are {classes} outputs (0..{classes - 1}){hint}",
            key="bottom",
        )
    if known.fractional is not None:
        first = blob.known.first(lambda values: values != np.rint(values))
        where = f", in {first}" if first else ""
        raise NettrainError(
            f"a label must be an integer, the data set has {known.fractional:g}{where}; for amounts the loss is "
            "EuclideanLoss",
            key="bottom",
        )


def read_indices(blob: Blob, out: np.ndarray, count: int) -> None:
    """Write indices into ``out``. Raises NettrainError for one that is out of range or not an integer."""
    values = blob.data.reshape(out.shape)
    with np.errstate(invalid="ignore"):  # NaN is not an integer: it is found below
        np.copyto(out, values, casting="unsafe")
    bad = (out < 0) | (out >= count) | (out != values)
    if bad.any():
        first = int(np.argmax(bad))
        place = ", ".join(map(str, np.unravel_index(first, blob.shape)))
        raise NettrainError(f"index {values.flat[first]:g} at [{place}] is not one of the {count} (0..{count - 1})")


def read_labels(blob: Blob, out: np.ndarray, classes: int, ignore_label: int | None = None) -> np.ndarray | None:
    """Write the labels into ``out`` as indices 0 … classes-1; returns where they are ignored (as 0), or None.

    Raises NettrainError for a label that is out of range or not an integer.
    """
    values = blob.data.reshape(out.shape)
    with np.errstate(invalid="ignore"):  # NaN is not an integer: it is found below
        np.copyto(out, values, casting="unsafe")
    ignored = np.equal(values, ignore_label) if ignore_label is not None else None
    bad = (out < 0) | (out >= classes) | (out != values)
    if ignored is not None:
        bad &= ~ignored
    if bad.any():
        first = int(np.argmax(bad))
        where = [int(i) for i in np.unravel_index(first, blob.shape)] or [0]
        place = where if any(size > 1 for size in blob.shape[1:]) else f"example {where[0]}"
        raise NettrainError(
            f"label {values.flat[first]:g} at {place} of the batch is not one of the {classes} classes "
            f"(0..{classes - 1})"
        )
    if ignored is not None:
        out[ignored] = 0
    return ignored
