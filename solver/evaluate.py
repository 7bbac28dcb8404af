"""Testing a net: the mean of every output over the test set, whatever the size of a batch.

It is one file because a test is read as a whole, from its nets to its scores.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import zip_longest
from typing import Any

import numpy as np

from ..net.net import Net
from ..net.step import Step
from ..net.user_code import ask
from ..ranks.sharing import tests_alike
from ..ranks.team import ALONE, Team
from .divergence import Trouble, find_trouble
from .parameters import NetState, SolverParameters

Scores = dict[str, Any]  # output -> number, or nested lists for an output with several; NaN where nothing counted


TOTAL_LOSS = "total_loss"  # the score that is the weighted sum of all losses, as the training loss is


@dataclass
class TestNet:
    """A net to test with: what stands before the names of its scores, its batches (None is the whole set, once), and
    whether its weighted loss is a score of its own though it equals the only loss."""

    prefix: str
    net: Net
    batches: int | None
    compute_loss: bool = False

    @property
    def has_length(self) -> bool:
        """Whether a test of it ends."""
        return self.batches is not None or has_end(self.net)

    @property
    def can_run(self) -> bool:
        """Whether it makes something to look at, and a test of it ends."""
        return bool(self.net.outputs) and self.has_length

    def shared_by(self, team: Team) -> Team:
        """Those that share its batches: of a ``team`` all, or each alone tests with all of them."""
        return team if tests_alike(self.net) else ALONE

    @property
    def total(self) -> str | None:
        """What the score for its weighted loss is called, without the prefix, if it has one."""
        return name_of_total(self.net) if self.compute_loss or not has_plain_loss(self.net) else None

    def scores(self) -> dict[str, bool | None]:
        """Its scores, and whether higher is better: true for scores, false for losses, None for what is neither.

        What training minimizes comes before other losses.
        """
        makers = {key[0]: step for step in self.net.steps for key in step.top_keys}
        found: dict[str, bool | None] = {}
        for name in self.net.outputs:
            is_loss = any(makers[name].loss_weights)
            found[self.prefix + name] = True if makers[name].layer.is_score else False if is_loss else None
        if self.total is None:
            return found
        total: dict[str, bool | None] = {self.prefix + self.total: False}
        return found | total if has_plain_loss(self.net) else total | found

    def shares(self) -> list[str]:
        """Those of its scores that are shares of a whole."""
        makers = {key[0]: step for step in self.net.steps for key in step.top_keys}
        return [self.prefix + name for name in self.net.outputs if makers[name].layer.is_share]


@dataclass
class Evaluation:
    """What a test found: its scores; of each layer that reads a data set how many examples it gave, and how many it
    has; sentences on scores that depend on the size of a batch; the scores that were not finite in some batch, each
    once, and why in the first one."""

    scores: Scores = field(default_factory=dict)
    measured: dict[str, tuple[int, int]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    trouble: Trouble | None = None

    def add(self, other: Evaluation, prefix: str) -> None:
        """Take in the test of another net."""
        self.scores |= {prefix + name: score for name, score in other.scores.items()}
        self.measured |= {prefix + name: counts for name, counts in other.measured.items()}
        self.notes += other.notes
        self.bad += [prefix + name for name in other.bad]
        self.trouble = self.trouble or other.trouble


def one_number(score: Any) -> float:
    """A score as one number: of several the mean of those that counted something."""
    values = np.asarray(score, np.float64)
    counted = values[~np.isnan(values)]
    return float(counted.mean()) if counted.size else math.nan


def shown(score: float, is_share: bool) -> str:
    """A score as people read it: ``98.33%`` where it is a share of a whole, else ``0.07384``."""
    return f"{score:.2%}" if is_share else f"{score:.4g}"


def name_test_nets(p: SolverParameters, nets: list[Net]) -> list[TestNet]:
    """The nets of ``test_state`` with their names (of several nets: the stages, if no two have the same, else the
    number) and their numbers of batches."""
    given: list[int | None] = [*p.test_iter]
    batches = given if len(given) == len(nets) else (given or [None]) * len(nets)
    names = ["+".join(state.stage) or f"level{state.level}" for state in p.test_state or (NetState(),)]
    prefixes = [f"{name if names.count(name) == 1 else i}/" if len(nets) > 1 else "" for i, name in enumerate(names)]
    return [TestNet(*one, p.test_compute_loss) for one in zip(prefixes, nets, batches, strict=True)]


def evaluate_all(tests: list[TestNet], after_batch: Callable[[TestNet], None], team: Team = ALONE) -> Evaluation:
    """The scores of all test nets, whose batches a team shares. When ``after_batch`` raises, the nets are as they were
    before."""
    before = [test.net.layer_states() for test in tests]
    result = Evaluation()
    try:
        for test in tests:
            sharing = test.shared_by(team)
            result.add(run_test(test.net, test.batches, test.total, partial(after_batch, test), sharing), test.prefix)
    except Exception:
        for test, states in zip(tests, before, strict=True):
            test.net.set_layer_states(states)
        raise
    return result


def evaluate(net: Net, batches: int | None = None) -> Scores:
    """The scores of ``run_test``."""
    return run_test(net, batches).scores


def run_test(
    net: Net,
    batches: int | None = None,
    total: str | None = None,
    after_batch: Callable[[], None] = lambda: None,
    team: Team = ALONE,
) -> Evaluation:
    """Mean of each output: over the whole data set once, or over a number of batches.

    What a layer says its top is a mean over (``mean_over``) is added up, so that any batch size gives the same. An
    output with a row for each example, such as probabilities nobody reads, is averaged over all its rows. These may be
    more or fewer than examples, where a layer filters or chooses them. The mean of none is NaN. What is not a mean is
    averaged over batches, weighted by their examples; ``notes`` say so.
    ``total`` is what the weighted sum of all losses is called, None to leave it out; ``after_batch`` may end the test
    by raising. The ``team`` shares the batches, and each adds all of them up in their order: the scores are those of
    one process.
    """
    outputs = _means(net)
    losses = [_Mean(step, i, of_sum=True) for step in net.steps for i, w in enumerate(step.loss_weights) if w]
    means = [*outputs.values(), *(losses if total is not None else [])]
    names = [*outputs, *([total] * len(losses) if total is not None else [])]
    sources = {name: layer for name, layer in net.layers.items() if layer.pass_size}
    given = dict.fromkeys(sources, 0)
    found = Evaluation()

    def take(measured: list[_Measured]) -> None:
        bad = [name for name, mean, one in zip(names, means, measured, strict=True) if not mean.add(one)]
        found.bad = list(dict.fromkeys([*found.bad, *bad]))

    ours: list[tuple[list[_Measured], Trouble | None]] = []
    with np.errstate(all="ignore"), closing(_batches(net, batches, team)) as passes:
        for examples, loss in passes:
            for name, layer in sources.items():
                given[name] += layer.batch_count
            if loss is None:
                continue
            measured = [mean.measure(examples) for mean in means]
            is_first_trouble = not any(trouble for _, trouble in ours) and not found.trouble
            trouble = find_trouble(net) if is_first_trouble and not all(map(_is_finite, measured)) else None
            if team.size > 1:
                ours.append((measured, trouble))
            else:
                found.trouble = found.trouble or trouble
                take(measured)
            after_batch()
        for round in zip_longest(*team.gather(ours)) if team.size > 1 else ():
            for measured, trouble in filter(None, round):
                found.trouble = found.trouble or trouble
                take(measured)
        found.measured = {name: (count, sources[name].pass_size or 0) for name, count in given.items()}
        found.scores = {name: mean.value().tolist() for name, mean in outputs.items()}
        if total is not None:
            found.scores[total] = _sum_of(losses)
    shown = [*outputs.items(), *((total, mean) for mean in losses if total is not None)]
    by_batch = dict.fromkeys(name for name, mean in shown if mean.is_of_batches)
    found.notes = [
        f"`{name}` is a mean over batches, not over examples: another batch_size gives another number"
        for name in by_batch
    ]
    return found


_Measured = tuple[Any, Any, bool]  # of a batch: what it adds to a sum, its weight, whether that is by batches


def _is_finite(measured: _Measured) -> bool:
    return bool(np.isfinite(measured[0]).all())


class _Mean:
    """The mean of a top over the batches of a test.

    ``per_example``: it has a row for each example. ``constant``: the data does not change it. ``of_sum``: the sum
    over its elements is meant, as for a loss.
    """

    def __init__(self, step: Step, i: int, per_example: bool = False, constant: bool = False, of_sum: bool = False):
        self.step, self.i = step, i
        self.per_example, self.constant, self.of_sum = per_example, constant, of_sum
        self.total: Any = np.float64(0)
        self.weight: Any = 0
        self.is_of_batches = False

    def measure(self, examples: int) -> _Measured:
        """What the batch that has just run adds to the sum, and to its weight, and whether that is by batches."""
        step, layer = self.step, self.step.layer
        values = step.top[self.i].data.astype(np.float64)
        weight: Any
        of_batches = False
        if self.per_example:
            added, weight = values.sum(axis=0), len(values)
        else:
            weight = None if self.constant else ask(layer, "mean_over", self.i, step.bottom, step.top)
            of_batches = weight is None and not self.constant
            weight = examples if weight is None else weight
            if self.of_sum and np.ndim(weight) == 0:
                values = values.sum()
            added = np.where(np.equal(weight, 0), 0, values * weight)
        return added, weight, of_batches

    def add(self, measured: _Measured) -> bool:
        """Take in a batch; whether what it adds is finite."""
        added, weight, of_batches = measured
        self.total, self.weight = self.total + added, self.weight + weight
        self.is_of_batches |= of_batches
        return _is_finite(measured)

    def value(self) -> np.ndarray:
        return np.asarray(self.total / self.weight)


def _sum_of(losses: Iterable[_Mean]) -> float:
    """The losses times their weights, added up; one that counted nothing adds nothing. 0 without losses."""
    return float(sum(m.step.loss_weights[m.i] * m.value().sum() for m in losses if np.any(m.weight)))


def _means(net: Net) -> dict[str, _Mean]:
    """How each output is averaged."""
    kinds = _kinds(net)
    makers = {key[0]: (step, i, kinds[key]) for step in net.steps for i, key in enumerate(step.top_keys)}
    result = {}
    for name in net.outputs:
        step, i, kind = makers[name]
        result[name] = _Mean(step, i, kind == "per_example" and bool(net.blobs[name].shape), kind == "constant")
    return result


def _kinds(net: Net) -> dict[Any, str]:
    """Of every blob: ``per_example`` of the batch; ``whole``, a measure of the whole batch; ``constant``,
    made of parameters alone."""
    kinds: dict[Any, str] = {}
    for step in net.steps:
        read = {kinds[key] for key in step.bottom_keys} or {"constant" if step.layer.blobs else "per_example"}
        kind = next(kind for kind in ("per_example", "whole", "constant") if kind in read)
        for i, key in enumerate(step.top_keys):
            measures = step.layer.is_score or (step.layer.is_loss and i == 0)
            kinds[key] = "whole" if measures else kind
    return kinds


def has_plain_loss(net: Net) -> bool:
    """Whether the weighted loss of a net is the same number as one of its outputs: there is one loss of weight 1, or
    none."""
    weights = [(step, i, w) for step in net.steps for i, w in enumerate(step.loss_weights) if w]
    if len(weights) != 1:
        return not weights
    step, i, weight = weights[0]
    key = step.top_keys[i]
    return weight == 1 and key[0] in net.outputs and net.blobs[key[0]] is step.top[i] and not step.top[i].shape


def name_of_total(net: Net) -> str:
    """A name for the weighted loss that no output has."""
    name = TOTAL_LOSS
    while name in net.outputs:
        name = f"weighted_{name}"
    return name


def has_end(net: Net) -> bool:
    """Whether some layer of the net reads a data set that ends, so that a test can be one pass over it."""
    return any(layer.pass_size for layer in net.layers.values())


def _batches(net: Net, batches: int | None, team: Team) -> Generator[tuple[int, float | None], None, None]:
    """(examples, loss) of the batches of a test; the loss is None where another of the team computes them."""
    if batches is None:
        yield from net.passes(team.rank, team.size)
        return
    net.batch = 0
    for number in range(batches):
        if number % team.size == team.rank:
            yield 1, net.run_forward()
        else:
            net.skip(1)
            yield 1, None
