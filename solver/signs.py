"""Signs that something is wrong with a layer though training runs, each looked for in the tests.

The looks are cheap: the first batch of a test, and the others only where the first one gave reason to.

It is one file because each sign is a few lines, and what may be wrong is read as a list.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..net.net import Net
from ..net.plan import has_gradient
from ..net.step import Step
from ..net.user_code import ask
from .evaluate import Scores

MOST = 0.5  # of the units or values: above that it is no longer normal
ENOUGH = 50  # values; a share of fewer says nothing
SMALLEST_IMAGE = 64  # values of an example: a row of fewer is one of a table


class Sign:
    """One thing that may be wrong with a layer of a test net."""

    def __init__(self, step: Step):
        self.step, self.title = step, step.spec.title()
        self.begin()

    def begin(self) -> None:
        """A test begins."""

    def batch(self, first: bool) -> None:
        """A batch of it has run; the blobs hold its values."""

    def seen(self) -> Any:
        """What the batches have shown."""

    def join(self, seen: list[Any]) -> None:
        """Know what all have seen that shared the batches; the test's first batch was that of the first."""

    def verdict(self, scores: Scores, prefix: str, iteration: int) -> str:
        """At the end of the test: a sentence, or nothing."""
        return ""


class DeadUnits(Sign):
    """Most units of a ReLU are 0 for every example."""

    def begin(self):
        self.alive: Any = None
        self.values = 0  # of each unit

    def batch(self, first):
        y = self.step.top[0].data
        if y.ndim < 2 or not y.size or not (first or self._may_be()):
            return
        now = y.max(axis=(0, *range(2, y.ndim))) > 0
        self.alive = now if self.alive is None else self.alive | now
        self.values += y.size // y.shape[1]

    def seen(self):
        return self.alive, self.values

    def join(self, seen):
        alive = [one for one, _ in seen if one is not None]
        self.alive = np.logical_or.reduce(alive) if alive else None
        self.values = sum(values for _, values in seen)

    def _may_be(self) -> bool:
        return self.alive is not None and self.alive.mean() < 1 - MOST

    def verdict(self, scores, prefix, iteration):
        if not iteration or self.values < ENOUGH or not self._may_be():
            return ""
        dead = int((~self.alive).sum())
        return (
            f"{dead:,} of {self.alive.size:,} units of {self.title} were 0 in the whole test and no longer learn; "
            "try a smaller base_lr, or weight_filler: msra before it"
        )


class Saturation(Sign):
    """Most values of a hidden layer such as Sigmoid are at its limits, and the loss has not come down."""

    def __init__(self, step: Step, limits: tuple[float, float], losses: list[str], learns_before: bool):
        self.limits, self.losses, self.learns_before = limits, losses, learns_before
        self.at_first: float | None = None
        super().__init__(step)

    def begin(self):
        self.share = 0.0

    def batch(self, first):
        y = self.step.top[0].data
        if first and y.size >= ENOUGH:
            low, high = self.limits
            near = 0.01 * (high - low)
            self.share = float(((y < low + near) | (y > high - near)).mean())

    def seen(self):
        return self.share

    def join(self, seen):
        self.share = seen[0]

    def verdict(self, scores, prefix, iteration):
        loss = sum(one for name in self.losses if isinstance(one := scores.get(prefix + name), float))
        self.at_first = loss if self.at_first is None else self.at_first
        if self.share <= MOST or loss < self.at_first / 2:
            return ""
        weights = "smaller weights before it (weight_filler: xavier) or " if self.learns_before else ""
        return (
            f"{self.share:.0%} of the values of {self.title} are at their limits, where the gradient is almost 0; "
            f"try {weights}scaled inputs"
        )


class Guessing(Sign):
    """The loss of a classifier stays at ln C, that of the same score for each of C classes."""

    def __init__(self, step: Step):
        super().__init__(step)
        self.classes = step.layer.guesses_among
        self.tests, self.at_first = 0, 0.0

    def verdict(self, scores, prefix, iteration):
        at = math.log(self.classes)
        loss = scores.get(prefix + self.step.top_keys[0][0])
        near = iteration > 0 and isinstance(loss, float) and abs(loss - at) < 0.01 * at
        if not near or not self.tests or loss < self.at_first - 0.001 * at:  # it may go down slowly, from ln C
            self.tests, self.at_first = int(near), loss if near else 0.0
            return ""
        self.tests += 1
        return (
            f"the loss of {self.title} sits at ln({self.classes}) = {at:.3f}, that of guessing; try another base_lr, "
            "and check that labels belong to their examples and inputs are scaled"
        )


class NoLabelZero(Sign):
    """No example has label 0, not in the training data either, but some have label 1: they may be counted from 1."""

    def __init__(self, step: Step, trained: Step | None):
        super().__init__(step)
        self.classes = step.layer.classes
        self.known = trained.bottom[1].known if trained else None

    def begin(self):
        self.least, self.count = math.inf, 0

    def batch(self, first):
        labels = self.step.bottom[1].data
        if labels.size and labels.size * self.classes == self.step.bottom[0].count:
            self.least, self.count = min(self.least, float(labels.min())), self.count + labels.size

    def seen(self):
        return self.least, self.count

    def join(self, seen):
        self.least, self.count = min(least for least, _ in seen), sum(count for _, count in seen)

    def verdict(self, scores, prefix, iteration):
        if self.least != 1 or self.count < 5 * self.classes:
            return ""
        trained = self.known.range() if self.known else None
        if trained and trained.low < 1:
            return ""
        return (
            f"none of {self.count:,} test labels of {self.title} is 0; the {self.classes} classes are 0 to "
            f"{self.classes - 1}: are yours counted from 1?"
        )


class Unscaled(Sign):
    """A layer with weights reads values such as 0 to 255 from a layer of data."""

    def __init__(self, step: Step, i: int, maker: Step):
        super().__init__(step)
        self.name, self.blob, self.maker = step.bottom_keys[i][0], step.bottom[i], maker

    def begin(self):
        self.advice, self.range = "", ""

    def batch(self, first):
        x = self.blob.data
        if not first or not x.size:
            return
        least, most = float(x.min()), float(x.max())
        if not math.isfinite(least) or not math.isfinite(most):
            return
        is_table = x.size // len(x) < SMALLEST_IMAGE and x.ndim == 2
        if most <= 100 and not (is_table and least < -100):
            return
        if is_table:
            self.range = f"values from {least:g} to {most:g}"
            self.advice = "bring each column to mean 0 and standard deviation 1, or put a BatchNorm between them"
        elif least >= 0:
            self.range = f"values up to {most:g}"
            self.advice = self._scaled(most <= 255 and bool((x == np.rint(x)).all()), most)

    def seen(self):
        return self.advice, self.range

    def join(self, seen):
        self.advice, self.range = seen[0]

    def _scaled(self, is_bytes: bool, most: float) -> str:
        """How to have the layer that makes the values make smaller ones."""
        scale, middle = (1 / 128, 128.0) if is_bytes else (float(f"{2 / most:.2g}"), most / 2)
        keys = self.maker.spec.cls.Parameters.names()
        if "transform" not in keys:
            return f"{self.maker.spec.title()} has no transform, so scale them where they come from"
        if "scale" in keys:  # beside it
            return f"scale: {scale:.7g}, transform: {{mean_value: {middle:g}}}{' for bytes' if is_bytes else ''}"
        return f"transform: {{scale: {scale:.7g}, mean_value: {middle:g}}}{' for bytes' if is_bytes else ''}"

    def verdict(self, scores, prefix, iteration):
        if not self.advice:
            return ""
        return (
            f"{self.title} reads `{self.name}` unscaled, {self.range}; learning is easier near -1 to 1: {self.advice}"
        )


class Unready(Sign):
    """Layers that say nothing yet, such as a BatchNorm whose statistics are those of no batch."""

    def __init__(self, steps: list[Step]):
        self.steps = steps
        super().__init__(steps[0])

    def begin(self):
        self.first, self.count = "", 0
        for step in self.steps:
            why = ask(step.layer, "unready")
            self.first = self.first or (f"{step.spec.title()} {why}" if why else "")
            self.count += bool(why)

    def verdict(self, scores, prefix, iteration):
        if not self.first:
            return ""
        others = f" (and so have {self.count - 1:,} more)" if self.count > 1 else ""
        return f"{self.first}{others}; this test says little"


def signs(net: Net, training: Net) -> Iterator[Sign]:
    """What to look for in a test net of this training net."""
    makers = {key: step for step in net.steps for key in step.top_keys}
    trained = {step.spec.name: step for step in training.steps}
    losses = [key[0] for step in net.steps if any(step.loss_weights) for key in step.top_keys]
    if any(ask(step.layer, "unready") for step in net.steps):
        yield Unready(net.steps)
    for i, step in enumerate(net.steps):
        layer, learns_before = step.layer, _learns_before(step, makers, trained)
        if layer.may_die and learns_before and _stays(net.steps, i):
            yield DeadUnits(step)
        if layer.limits and _is_hidden(net.steps, i) and _stays(net.steps, i):
            yield Saturation(step, layer.limits, losses, learns_before)
        if layer.guesses_among:
            yield Guessing(step)
        if layer.classes:
            yield NoLabelZero(step, trained.get(step.spec.name))
        if _learns(trained.get(step.spec.name)) and not _is_normalized(net.steps, i):
            for b, key in enumerate(step.bottom_keys):
                maker = _first_maker(key, makers)
                if not maker.bottom and not maker.layer.blobs and has_gradient(step.layer, b):
                    yield Unscaled(step, b, maker)


def _learns(step: Step | None) -> bool:
    """Whether a layer of the training net learns something."""
    return step is not None and any(step.layer.param_propagate_down)


def _learns_before(step: Step, makers: dict[Any, Step], trained: dict[str, Step]) -> bool:
    """Whether a layer that learns is somewhere above this one."""
    seen, above = set(), list(step.bottom_keys)
    while above:
        key = above.pop()
        if key not in seen:
            seen.add(key)
            if _learns(trained.get(makers[key].spec.name)):
                return True
            above += makers[key].bottom_keys
    return False


def _first_maker(key: Any, makers: dict[Any, Step]) -> Step:
    """The layer that computes a blob: not one that only gives it another shape or name."""
    while makers[key].layer.passes_memory_on:
        key = makers[key].bottom_keys[0]
    return makers[key]


def _is_normalized(steps: list[Step], i: int) -> bool:
    """Whether a layer, or all that read what it makes, gives the same whatever the scale of its bottom."""
    keys = steps[i].top_keys
    readers = [step for step in steps for key in keys if key in step.bottom_keys]
    return steps[i].layer.normalizes or (bool(readers) and all(reader.layer.normalizes for reader in readers))


def _is_hidden(steps: list[Step], i: int) -> bool:
    """Whether a layer with parameters reads what this one makes."""
    return any(step.layer.blobs and steps[i].top_keys[0] in step.bottom_keys for step in steps)


def _stays(steps: list[Step], i: int) -> bool:
    """Whether a layer's top still has its values when the net has run: no later layer works in its memory, except those
    that change nothing in a test."""
    later = (step for step in steps[i + 1 :] if not (step.layer.passes_memory_on or step.layer.same_in_tests))
    return not any(top.shares_data_with(steps[i].top[0]) for step in later for top in step.top)
