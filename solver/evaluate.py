"""Testing a net: the mean of every output over the test set."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..net.net import Net
from .parameters import NetState, SolverParameters

Scores = dict[str, Any]  # output -> number, or nested lists for an output with several


TOTAL_LOSS = "total_loss"  # the score that test_compute_loss adds


@dataclass
class TestNet:
    """A net to test with: what stands before the names of its scores, and its batches; None is the whole set, once."""

    prefix: str
    net: Net
    batches: int | None

    @property
    def can_run(self) -> bool:
        """Whether it makes something to look at, and a test of it ends."""
        return bool(self.net.outputs) and (has_end(self.net) or self.batches is not None)

    def scores(self) -> dict[str, bool | None]:
        """Its scores, and whether higher is better: true for scores, false for losses, None for what is neither."""
        makers = {key[0]: step for step in self.net.steps for key in step.top_keys}
        steps = {name: makers[name] for name in self.net.outputs}
        return {
            self.prefix + name: True if step.layer.is_score else False if any(step.loss_weights) else None
            for name, step in steps.items()
        }


def name_test_nets(p: SolverParameters, nets: list[Net]) -> list[TestNet]:
    """The nets of ``test_state`` with their names (of several nets: the stages, if no two have the same, else the
    number) and their numbers of batches."""
    given: list[int | None] = [*p.test_iter]
    batches = given if len(given) == len(nets) else (given or [None]) * len(nets)
    names = ["+".join(state.stage) or f"level{state.level}" for state in p.test_state or (NetState(),)]
    prefixes = [f"{name if names.count(name) == 1 else i}/" if len(nets) > 1 else "" for i, name in enumerate(names)]
    return [TestNet(*one) for one in zip(prefixes, nets, batches, strict=True)]


def evaluate_all(tests: list[TestNet], compute_loss: bool, after_batch: Callable[[TestNet], None]) -> Scores:
    """The scores of all test nets. When ``after_batch`` raises, the nets are as they were before."""
    before = [test.net.layer_states() for test in tests]
    scores: Scores = {}
    try:
        for test in tests:
            found = evaluate(test.net, test.batches, compute_loss, partial(after_batch, test))
            scores |= {test.prefix + name: score for name, score in found.items()}
    except Exception:
        for test, states in zip(tests, before, strict=True):
            test.net.set_layer_states(states)
        raise
    return scores


def evaluate(
    net: Net, batches: int | None = None, compute_loss: bool = False, after_batch: Callable[[], None] = lambda: None
) -> Scores:
    """Mean of each output: over the whole data set once, weighted by examples, or over a number of batches.

    An output with a row for each example, such as probabilities nobody reads, is averaged over all its rows. There
    may be more or fewer than examples, where a layer filters or chooses them; of none the mean is NaN.
    ``compute_loss`` adds the weighted sum of all losses; ``after_batch`` may end the test by raising.
    """
    totals: dict[str, Any] = dict.fromkeys(net.outputs, np.float64(0))
    weights = dict.fromkeys(net.outputs, 0)
    in_rows = rows_for_examples(net)
    seen, loss = 0, 0.0
    with np.errstate(all="ignore"), closing(net.passes() if batches is None else _some(net, batches)) as passes:
        for examples, batch_loss in passes:
            seen, loss = seen + examples, loss + examples * batch_loss
            for name in net.outputs:
                values = net.blobs[name].data.astype(np.float64)
                rows = len(values) if name in in_rows else examples
                weights[name] += rows
                totals[name] = totals[name] + (values.sum(axis=0) if name in in_rows else examples * values)
            after_batch()
        scores = {name: (total / weights[name]).tolist() for name, total in totals.items()}
        return scores | ({TOTAL_LOSS: loss / seen} if compute_loss else {})


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


def _some(net: Net, batches: int) -> Generator[tuple[int, float], None, None]:
    for _ in range(batches):
        yield 1, net.run_forward()
