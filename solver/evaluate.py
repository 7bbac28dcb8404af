"""Testing a net: the mean of every output over the test set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ..net.net import Net

Scores = dict[str, Any]  # output -> number, or nested lists for an output with several


def evaluate(net: Net, batches: int | None = None) -> Scores:
    """Mean of each output: over the whole data set once, weighted by examples, or over a number of batches.

    An output with a row for each example, such as probabilities nobody reads, is averaged over all its rows. There
    may be more or fewer than examples, where a layer filters or chooses them; of none the mean is NaN.
    """
    totals: dict[str, Any] = dict.fromkeys(net.outputs, np.float64(0))
    weights = dict.fromkeys(net.outputs, 0)
    in_rows = rows_for_examples(net)
    with np.errstate(all="ignore"):
        for examples, _ in net.passes() if batches is None else _some(net, batches):
            for name in net.outputs:
                values = net.blobs[name].data.astype(np.float64)
                rows = len(values) if name in in_rows else examples
                weights[name] += rows
                totals[name] = totals[name] + (values.sum(axis=0) if name in in_rows else examples * values)
        return {name: (total / weights[name]).tolist() for name, total in totals.items()}


def rows_for_examples(net: Net) -> list[str]:
    """Outputs with rows for the examples of a batch: all but what measures a whole batch, or is learned alone."""
    others: set[Any] = set()
    for step in net.steps:
        of_parameters = all(key in others for key in step.bottom_keys) if step.bottom else bool(step.layer.blobs)
        if step.layer.is_score or of_parameters:
            others.update(step.top_keys)
        elif step.layer.is_loss:
            others.add(step.top_keys[0])
    last = {key[0]: key for step in net.steps for key in step.top_keys}
    return [name for name in net.outputs if last[name] not in others and net.blobs[name].shape]


def has_end(net: Net) -> bool:
    """Whether some layer of the net reads a data set that ends, so that a test can be one pass over it."""
    return any(layer.pass_size for layer in net.layers.values())


def _some(net: Net, batches: int) -> Iterable[tuple[int, float]]:
    for _ in range(batches):
        yield 1, net.run_forward()


def monitored(net: Net) -> tuple[str, bool]:
    """The output that says how good the net is, and whether higher is better: an accuracy, else a loss."""
    makers = {key[0]: step for step in net.steps for key in step.top_keys}
    for name in net.outputs:
        if makers[name].layer.is_score:
            return name, True
    losses = [name for name in net.outputs if any(makers[name].loss_weights)]
    return (losses or net.outputs)[0], False
