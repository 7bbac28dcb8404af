"""What a test measures besides means: each loss or score that compares answers with what is true, and its measures."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..net.graph import Key
from ..net.net import Net
from ..net.step import Step
from ..net.user_code import ask
from ..spec.errors import NettrainError
from .bits import Bits
from .classes import Classes
from .part import of_parameters
from .values import Values


class Judge:
    """Takes the answers that one layer compares with what is true, batch by batch. ``source`` reads what is true."""

    def __init__(self, step: Step, answer: int, source: Step | None, mistakes: int):
        self.step, self.answer, self.source = step, answer, source
        self.mistakes = mistakes
        self.measure: Any = None
        self.rows = 0  # taken in so far
        self.kind = step.layer.judges
        self.applies = step.layer.includes
        fitted = source.layer.fitted if source is not None else {}
        self.classes: Sequence[str] = fitted.get("classes") or ()
        self.columns: Sequence[str] = [label["name"] for label in fitted.get("table", {}).get("labels", ())]

    def add(self) -> None:
        """Take in the batch that the net has just computed."""
        said, true = self.step.bottom[self.answer], self.step.bottom[1 - self.answer]
        (self._add_classes if self.kind == "classes" else self._add_values)(said.data, true.data)

    def _add_classes(self, said: np.ndarray, true: np.ndarray) -> None:
        layer = self.step.layer
        axis = getattr(layer.p, "axis", None)
        if axis is None:
            scores = said.reshape(len(said), -1, 1)
        else:
            axis %= said.ndim
            scores = said.reshape(math.prod(said.shape[:axis]), said.shape[axis], -1)
        outer, C, inner = scores.shape
        if true.shape == said.shape and C > 1:  # a share for each class
            label = true.reshape(scores.shape).argmax(axis=1)
            counted = self._judged((outer, inner))
        else:
            self._check_count(true.size, outer * inner, "labels")
            counted = self._judged((outer, inner))
            label = np.where(counted, true.reshape(outer, inner), 0).astype(np.intp)
            if label.size and not 0 <= label.min() <= label.max() < C:
                raise NettrainError(f"{self.step.spec.title()} judges classes: labels must be from 0 to {C - 1}")
        if self.measure is None:
            self.measure = Classes(C, self.applies, self.classes, self.mistakes)
        self.measure.add(scores, label, counted, self._names_in(true.shape, outer))

    def _add_values(self, said: np.ndarray, true: np.ndarray) -> None:
        # N x outputs x positions: of a map each channel is an output, and pixels are answers of it, as for classes
        values = said.reshape(*said.shape[:2], -1) if said.ndim > 2 else said.reshape(len(said), -1, 1)
        self._check_count(true.size, values.size, "targets")
        targets, counted = true.reshape(values.shape), self._judged(values.shape)
        name = self._names_in(true.shape, len(values))
        if self.kind == "values":
            if self.measure is None:
                self.measure = Values(values.shape[1], self.columns, self.mistakes)
            self.measure.add(values, targets, counted, name)
            return
        if self.measure is None:
            threshold = getattr(self.step.layer.p, "threshold", 0.0)
            names = self.columns, self.classes
            self.measure = Bits(values.shape[1], self.applies, threshold, *names, mistakes=self.mistakes)
        self.measure.add(values, targets, counted, name)

    def _judged(self, shape: tuple[int, ...]) -> np.ndarray:
        """Which answers count."""
        counted = ask(self.step.layer, "judged", self.step.bottom)
        if counted is None:
            return np.ones(shape, bool)
        self._check_count(counted.size, math.prod(shape), "values of `judged`")
        return counted.reshape(shape)

    def _check_count(self, count: int, wanted: int, what: str) -> None:
        """Layers of the program have checked it themselves, a user's may not have."""
        if count != wanted:
            raise NettrainError(
                f"{self.step.spec.title()} judges {self.kind}: bottom[0] needs {wanted:,} {what}, got {count:,}"
            )

    def _names_in(self, true: tuple[int, ...], rows: int) -> Callable[[int], str]:
        """What the example of a row is called: the first axis, or that after an axis of time, has the examples. Where
        nothing reads examples, or some of them were chosen, it is the number of the row, of all so far."""
        before, self.rows = self.rows, self.rows + rows
        layer = None if self.source is None else self.source.layer
        if layer is None or not layer.pass_size or not layer.batch_count or rows % layer.batch_count:
            return lambda k: f"{before + k:,}"
        count = layer.batch_count
        if true[1:2] == (count,) and true[0] != count and rows == math.prod(true):
            return lambda k: str(ask(layer, "name_of", k // math.prod(true[2:]) % count))
        return lambda k: str(ask(layer, "name_of", k * count // rows))

    def result(self) -> dict:
        """``kind`` (classes, labels or values), which blobs were compared, and the figures."""
        said, true = self.step.bottom_keys[self.answer][0], self.step.bottom_keys[1 - self.answer][0]
        about = {"kind": {"bits": "labels"}.get(self.kind, self.kind), "of": said, "by": true}
        return about | (self.measure.result() if self.measure is not None else {"examples": 0})


def judges(net: Net, mistakes: int = 10) -> list[Judge]:
    """Whoever compares what the net computes with what its data has: losses, and scores of what no loss is compared
    with; each pair of blobs once."""
    makers = {key: step for step in net.steps for key in step.top_keys}
    computed = of_parameters(net.steps)
    found: dict[tuple[Key, Key], Judge] = {}
    truths: set[Key] = set()
    comparing = [step for step in net.steps if step.layer.judges and len(step.bottom) > 1]
    for step in sorted(comparing, key=lambda step: step.layer.is_score):  # losses first
        pair = step.bottom_keys[0], step.bottom_keys[1]
        answer = 1 if 1 in step.layer.answers and pair[1] in computed and pair[0] not in computed else 0
        root = _root(pair[1 - answer], makers)
        if pair[1 - answer] in computed or pair in found or (step.layer.is_score and root in truths):
            continue
        truths.add(root)
        source = makers[root] if root in makers and not makers[root].bottom else None
        found[pair] = Judge(step, answer, source, mistakes)
    return sorted(found.values(), key=lambda judge: net.steps.index(judge.step))


def _root(key: Key, makers: dict[Key, Step]) -> Key:
    """The blob that another shape, or a function, was made of."""
    while key in makers and makers[key].bottom:
        key = makers[key].bottom_keys[0]
    return key
