"""Dividing one set into a part to train on and a part to test on: at random, by class, by group, or in folds."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..net.fillers import stream
from ..spec.declare import Declared, param
from ..spec.errors import NettrainError
from ..spec.node import Node
from ..spec.reader import Reader
from .dataset import DataSet

MOST_CLASSES = 1000  # labels with more distinct values are no classes to be kept in proportion


class Column(str):
    """A column of a table, by name or by number from 0."""

    words = "a name, or a number from 0"

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        if node.value is None:  # `top: data, label` in braces is a key `label` without a value
            return reader.wrong(node, what, cls.words, "; several names go in brackets, such as top: [data, label]")
        if isinstance(node.value, bool) or not isinstance(node.value, int | str):
            return reader.wrong(node, what, cls.words)
        return cls(node.value)

    @classmethod
    def schema(cls) -> dict:
        return {"type": ["string", "integer"]}


class Split(Declared):
    """The part of a set that is kept for tests, such as 0.2, or ``{test: 0.2, group: patient}``.

    It follows from the set's size, labels and ``seed`` alone: the same in every command, whatever the solver's seed.
    """

    test: float = param(
        default=0.2, minimum=0, below=1, doc="share of the examples that is tested on; 0: all are both (no test of use)"
    )
    stratify: bool = param(default=True, doc="classes keep their proportions in both parts")
    group: Column | None = param(
        default=None, doc="a column, or array of an .npz: examples with one value stay together; `test` counts groups"
    )
    folds: int = param(
        default=0, minimum=0, doc="divide into so many parts of equal size, of which `fold` is tested on"
    )
    fold: int = param(default=1, minimum=1, doc="which of the folds, counted from 1")
    seed: int = param(default=0, minimum=0, doc="another one gives another division")

    words = "a share such as 0.2, or {test: 0.2, group: COLUMN}"

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {"test": value} if isinstance(value, int | float) and not isinstance(value, bool) else None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "number", "minimum": 0, "exclusiveMaximum": 1}, super().schema()]}

    def validate(self) -> Iterable[tuple[str, str]]:
        if self.folds == 1:
            yield "folds", "must be at least 2"
        if self.folds and self.fold > self.folds:
            yield "fold", f"must be at most {self.folds}, the number of folds"


def part_of(whole: DataSet, how: Split, split: str) -> DataSet:
    """The part of a set to train on (``train``) or to test on (``test``). Raises NettrainError."""
    if not how.test and not how.folds:
        return whole
    groups = None
    if how.group is not None:
        if how.group not in whole.others:
            has = ", ".join(whole.others) or "none"
            raise NettrainError(
                f"{whole.origin} has no column or array `{how.group}` to group by; it has {has}", key="split"
            )
        groups = np.asarray(whole.others[how.group])
        if groups.size != len(whole):
            raise NettrainError(
                f"{whole.origin}: `{how.group}` has {groups.size // len(whole):,} values for each example; to group by "
                "it must have one",
                key="split",
            )
        groups = groups.reshape(-1)
    rows = divide(len(whole), how, whole.labels, groups)
    return whole.part(rows[split == "test"], split)


def divide(
    count: int, how: Split, labels: Any = None, groups: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the examples to train on, and of those to test on, both in the order of the set.

    Of n examples ceil(n * test) are tested on. Of labels that are classes each has its share there, rounded so that
    the parts have the right size: the largest remainders are rounded up. With ``groups``, a value for each example,
    ceil(g * test) of the g groups are tested on. Folds are of equal size up to one; stratified ones deal out each class
    in turn, groups go one by one into the smallest fold, the largest first.

    Raises NettrainError when a part would be empty.
    """
    rng = stream(how.seed, "split")
    if how.folds > (count if groups is None else len(np.unique(groups))):
        raise NettrainError(_cannot(count, how, groups), key="split")
    if how.folds:
        fold = _folds(count, how, labels, groups, rng)
        tested = fold == how.fold - 1
    elif groups is not None:
        found, of_example = np.unique(groups, return_inverse=True)
        chosen = rng.permutation(len(found))[: math.ceil(len(found) * how.test)]
        tested = np.isin(of_example, chosen)
    else:
        tested = np.zeros(count, bool)
        size = math.ceil(count * how.test)
        for members, share in _shares(count, size, classes_of(labels) if how.stratify else None):
            tested[rng.permutation(members)[:share]] = True
    if tested.all() or not tested.any():
        raise NettrainError(_cannot(count, how, groups), key="split")
    return np.flatnonzero(~tested), np.flatnonzero(tested)


def _cannot(count: int, how: Split, groups: np.ndarray | None) -> str:
    """Why one part would be empty, and what would be right."""
    units = count if groups is None else len(np.unique(groups))
    have = f"{count:,} example{'s' * (count != 1)}"
    if groups is not None:
        have += f" in {units:,} group{'s' * (units != 1)} (by `{how.group}`)"
    if units < 2:
        return f"{have} cannot be divided so that both parts have some; split: 0 keeps none for tests"
    if how.folds:
        return f"{have} cannot be divided into {how.folds} folds; give folds: {units} or less"
    return (
        f"{have} cannot be divided so that both parts have some: a share of {how.test:g} keeps all for tests; give at "
        f"most {math.floor(1000 * (units - 1) / units) / 1000:g}"
    )


def rare(labels: Any, names: Sequence[str]) -> str:
    """A sentence on classes with a name that have one example, for which no class keeps its share; else nothing."""
    if not names or not isinstance(labels, np.ndarray):
        return ""
    found, counts = np.unique(labels, return_counts=True)
    once = [f"`{names[int(one)]}`" for one in found[counts == 1].tolist()]
    if not once or len(found) == len(labels):
        return ""
    shown = ", ".join(once[:5]) + (f" and {len(once) - 5:,} more" if len(once) > 5 else "")
    have = "has" if len(once) == 1 else "have"
    return f"{shown} {have} one example, in one of the parts alone; no class gets its share then"


def classes_of(labels: Any) -> np.ndarray | None:
    """The class of each example, where labels are classes: whole numbers, one an example, few of them and each at
    least twice; else None."""
    flat = whole_numbers(labels)
    if flat is None:
        return None
    _, of_example, counts = np.unique(flat, return_inverse=True, return_counts=True)
    return of_example if len(counts) <= MOST_CLASSES and counts.min() > 1 else None


def counts_of(labels: Any, names: Sequence[str] = ()) -> dict[str, int]:
    """How many examples of each class, by its name or number; nothing where labels are no classes, or not in memory."""
    flat = whole_numbers(labels)
    if flat is None:
        return {}
    found, counts = np.unique(flat, return_counts=True)
    if len(found) > MOST_CLASSES:
        return {}
    of = dict(zip(map(int, found.tolist()), counts.tolist(), strict=True))
    return {name: of.pop(i, 0) for i, name in enumerate(names)} | {str(number): count for number, count in of.items()}


def whole_numbers(labels: Any) -> np.ndarray | None:
    """Labels, N, that may be classes: in memory, one for each example, without fractions; else None."""
    if not isinstance(labels, np.ndarray) or labels.size != len(labels) or not len(labels):
        return None
    flat = labels.reshape(-1)
    if flat.dtype.kind == "f" and not (np.isfinite(flat).all() and (flat == np.rint(flat)).all()):
        return None
    return flat if flat.dtype.kind in "biuf" else None


def _shares(count: int, size: int, classes: np.ndarray | None) -> list[tuple[np.ndarray, int]]:
    """The members of each class, and how many of them are tested on: together ``size``."""
    if classes is None:
        return [(np.arange(count), size)]
    members = np.split(np.argsort(classes, kind="stable"), np.cumsum(np.bincount(classes))[:-1])
    exact = np.array([len(one) for one in members]) * (size / count)
    shares = np.floor(exact + 1e-9).astype(int)
    for i in np.argsort(-(exact - shares), kind="stable")[: size - shares.sum()]:
        shares[i] += 1
    return list(zip(members, shares.tolist(), strict=True))


def _folds(count: int, how: Split, labels: Any, groups: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """The fold of each example, from 0."""
    fold = np.empty(count, int)
    if groups is not None:
        found, of_example, counts = np.unique(groups, return_inverse=True, return_counts=True)
        sizes, fold_of = np.zeros(how.folds, int), np.empty(len(found), int)
        mixed = rng.permutation(len(found))
        for group in mixed[np.argsort(-counts[mixed], kind="stable")]:
            fold_of[group] = sizes.argmin()
            sizes[fold_of[group]] += counts[group]
        return fold_of[of_example]
    classes = classes_of(labels) if how.stratify else None
    order = rng.permutation(count)
    if classes is not None:
        order = order[np.argsort(classes[order], kind="stable")]
    fold[order] = np.arange(count) % how.folds
    return fold
