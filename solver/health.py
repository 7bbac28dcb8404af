"""Signs that something is wrong though training runs: looked for in the tests, each said once.

The looks are cheap: the first batch of a test, and the others only where the first one gave reason to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ..net.build import Step
from ..net.net import Net
from ..net.plan import has_gradient
from .evaluate import Evaluation, Scores, TestNet

MOST = 0.5  # of the units or values: above that it is no longer normal


class Sign:
    """One thing that may be wrong with a layer of a test net."""

    def __init__(self, step: Step):
        self.step, self.title = step, step.spec.title()
        self.begin()

    def begin(self) -> None:
        """A test begins."""

    def batch(self, first: bool) -> None:
        """A batch of it has run; the blobs hold its values."""

    def verdict(self, scores: Scores, prefix: str, iteration: int) -> str:
        """At the end of the test: a sentence, or nothing."""
        return ""


class DeadUnits(Sign):
    """Most units of a ReLU are 0 for every example."""

    def begin(self):
        self.alive: Any = None

    def batch(self, first):
        y = self.step.top[0].data
        if y.ndim < 2 or not y.size or not (first or self._may_be()):
            return
        now = y.max(axis=(0, *range(2, y.ndim))) > 0
        self.alive = now if self.alive is None else self.alive | now

    def _may_be(self) -> bool:
        return self.alive is not None and self.alive.mean() < 1 - MOST

    def verdict(self, scores, prefix, iteration):
        if not iteration or not self._may_be():
            return ""
        dead = int((~self.alive).sum())
        return (
            f"{dead:,} of {self.alive.size:,} units of {self.title} were 0 in the whole test and learn no more; "
            "try a smaller base_lr, or weight_filler: msra before it"
        )


class Saturation(Sign):
    """Most values of a hidden Sigmoid or TanH are at their limits."""

    def begin(self):
        self.share = 0.0

    def batch(self, first):
        y = self.step.top[0].data
        if first and y.size:
            far = np.abs(y - 0.5) * 2 if self.step.spec.cls.__name__ == "Sigmoid" else np.abs(y)
            self.share = float((far > 0.98).mean())

    def verdict(self, scores, prefix, iteration):
        if self.share <= MOST:
            return ""
        return (
            f"{self.share:.0%} of the values of {self.title} are at their limits, where the gradient is next to 0; "
            "try smaller weights before it (weight_filler: xavier) or scaled inputs"
        )


class Guessing(Sign):
    """The loss of a classifier stays at ln C, that of the same score for each of C classes."""

    def __init__(self, step: Step):
        super().__init__(step)
        self.classes = step.bottom[0].shape[step.spec.parameters.axis]
        self.tests = 0

    def verdict(self, scores, prefix, iteration):
        at = math.log(self.classes)
        loss = scores.get(prefix + self.step.top_keys[0][0])
        near = iteration > 0 and isinstance(loss, float) and abs(loss - at) < 0.01 * at
        self.tests = self.tests + 1 if near else 0
        if self.tests < 2:
            return ""
        return (
            f"the loss of {self.title} sits at ln({self.classes}) = {at:.3f}, that of guessing; try another base_lr, "
            "and look whether labels belong to their examples and inputs are scaled"
        )


class NoLabelZero(Sign):
    """No example has label 0, but some have label 1: they may be counted from 1."""

    def __init__(self, step: Step):
        super().__init__(step)
        self.classes = step.bottom[0].shape[step.spec.parameters.axis]

    def begin(self):
        self.least, self.seen = math.inf, 0

    def batch(self, first):
        labels = self.step.bottom[1].data
        if labels.size and labels.size * self.classes == self.step.bottom[0].count:
            self.least, self.seen = min(self.least, float(labels.min())), self.seen + labels.size

    def verdict(self, scores, prefix, iteration):
        if self.least != 1 or self.seen < 5 * self.classes:
            return ""
        return (
            f"none of {self.seen:,} test labels of {self.title} is 0; the {self.classes} classes are 0 to "
            f"{self.classes - 1}: are yours counted from 1?"
        )


class Unscaled(Sign):
    """A layer with weights reads values such as 0 to 255 from a layer of data."""

    def __init__(self, step: Step, i: int):
        super().__init__(step)
        self.name, self.blob = step.bottom_keys[i][0], step.bottom[i]

    def begin(self):
        self.range = 0.0, 0.0

    def batch(self, first):
        if first and self.blob.count:
            self.range = float(self.blob.data.min()), float(self.blob.data.max())

    def verdict(self, scores, prefix, iteration):
        least, most = self.range
        if least < 0 or most <= 100 or not math.isfinite(most):
            return ""
        return (
            f"{self.title} reads `{self.name}` unscaled, values up to {most:g}; learning is easier near -1 to 1: "
            "transform: {scale: 0.0078125, mean_value: 128} for bytes"
        )


class Unready(Sign):
    """Layers that say nothing yet, such as a BatchNorm whose statistics are those of no batch."""

    def __init__(self, steps: list[Step]):
        self.steps = steps
        super().__init__(steps[0])

    def begin(self):
        self.first, self.count = "", 0
        for step in self.steps:
            why = step.layer.unready()
            self.first = self.first or (f"{step.spec.title()} {why}" if why else "")
            self.count += bool(why)

    def verdict(self, scores, prefix, iteration):
        if not self.first:
            return ""
        others = f" (so it is with {self.count - 1:,} more)" if self.count > 1 else ""
        return f"{self.first}{others}; this test says little"


def signs(net: Net) -> Iterator[Sign]:
    """What to look for in a test net."""
    makers = {key: step for step in net.steps for key in step.top_keys}
    if any(step.layer.unready() for step in net.steps):
        yield Unready(net.steps)
    for i, step in enumerate(net.steps):
        type_name, p = step.spec.cls.__name__, step.spec.parameters
        if type_name == "ReLU" and p.negative_slope == 0 and _stays(net.steps, i):
            yield DeadUnits(step)
        if type_name in ("Sigmoid", "TanH") and _is_hidden(net.steps, i) and _stays(net.steps, i):
            yield Saturation(step)
        if type_name == "SoftmaxWithLoss":
            yield Guessing(step)
            if p.ignore_label != 0:
                yield NoLabelZero(step)
        for b, key in enumerate(step.bottom_keys):
            if step.layer.blobs and not makers[key].bottom and has_gradient(step.layer, b):
                yield Unscaled(step, b)


def _is_hidden(steps: list[Step], i: int) -> bool:
    """Whether a layer with parameters reads what this one makes."""
    return any(step.layer.blobs and steps[i].top_keys[0] in step.bottom_keys for step in steps)


def _stays(steps: list[Step], i: int) -> bool:
    """Whether a layer's top still has its values when the net has run: no later layer works in its memory.

    Dropout may, which changes nothing in a test.
    """
    later = (step for step in steps[i + 1 :] if not step.layer.passes_memory_on and step.spec.cls.__name__ != "Dropout")
    return not any(top.shares_data_with(steps[i].top[0]) for step in later for top in step.top)


def same_examples(net: Net, tests: Iterable[Net]) -> list[str]:
    """A sentence for each set of examples that is both trained and tested on."""
    trained = {key: layer for layer in net.layers.values() for key in layer.reads}
    tested = {key: name for test in tests for layer in test.layers.values() for key, name in layer.reads.items()}
    return [
        f"{name} is both training and test set: the scores say nothing of new data; {trained[key].how_to_split}"
        for key, name in tested.items()
        if key in trained
    ]


class Health:
    """Looks for signs in the tests of a training run. ``said`` names those that were told."""

    def __init__(self, net: Net, tests: list[TestNet]):
        self.net = net
        self.signs = {test.prefix: list(signs(test.net)) for test in tests}
        self.said: list[str] = []
        self.without: set[str] = set()  # parameters that had no gradient at the last look
        self._first: dict[str, bool] = {}

    def begin(self) -> None:
        """The tests begin."""
        self._first = dict.fromkeys(self.signs, True)
        for sign in (sign for group in self.signs.values() for sign in group):
            sign.begin()

    def batch(self, test: TestNet) -> None:
        """A test net has run a batch."""
        for sign in self.signs[test.prefix]:
            if self._key(sign) not in self.said:
                sign.batch(self._first[test.prefix])
        self._first[test.prefix] = False

    def finish(self, scores: Scores, iteration: int) -> list[str]:
        """What is to be said after the tests."""
        found = []
        for prefix, group in self.signs.items():
            for sign in group:
                text = "" if self._key(sign) in self.said else sign.verdict(scores, prefix, iteration)
                if text:
                    self.said.append(self._key(sign))
                    found.append(text)
        return found

    def not_finite(self, found: Evaluation) -> list[str]:
        """What is to be said of scores that are not finite: why, each cause once."""
        key = f"not finite {found.trouble.layer}" if found.trouble else ""
        if found.trouble is None or key in self.said:
            return []
        self.said.append(key)
        names = ", ".join(f"`{name}`" for name in found.bad)
        return [f"the test gives no finite number for {names}: {found.trouble.sentence}"]

    def gradients(self) -> list[str]:
        """What is to be said of the gradients of an iteration: parameters that had none, twice in a row."""
        without = {
            f"parameter {i} of {step.spec.title()}"
            for step in self.net.steps
            for i, blob in enumerate(step.layer.blobs)
            if step.needs_backward and step.layer.param_propagate_down[i] and blob.count and not blob.diff.any()
        }
        found = sorted(name for name in without & self.without if name not in self.said)
        self.without = without
        self.said += found
        return [f"{name} gets no gradient: nothing it makes reaches a loss, or all behind it is 0" for name in found]

    @staticmethod
    def _key(sign: Sign) -> str:
        return f"{type(sign).__name__} {sign.title}"
