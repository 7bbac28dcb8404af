"""Classes of unequal size: weights that make up for it, and a remark where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...net.blob import Known
from ...spec.errors import did_you_mean
from ...spec.node import Node
from ...spec.reader import Reader
from ...spec.values import Bounds, ListOf, Real

BALANCED = "balanced"
TOO_UNEQUAL = 5  # times as many examples as the smallest class has: then it is said
NUMBERS = ListOf(Real(Bounds(minimum=0)))


class ClassWeight(tuple):
    """A weight for each class; or the text ``balanced``."""

    words = f"{NUMBERS.words}, or {BALANCED}"

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        if isinstance(node.value, str):
            hint = did_you_mean(node.value, [BALANCED])
            return BALANCED if node.value == BALANCED else reader.wrong(node, what, cls.words, hint)
        return NUMBERS.from_node(reader, node, what)

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"const": BALANCED}, *NUMBERS.schema()["anyOf"]]}


def balanced(counts: np.ndarray) -> np.ndarray:
    """n / (k n_c) for the n_c examples of class c, of n examples in k classes; 1 for a class without any."""
    there = counts > 0
    return np.where(there, counts.sum() / (max(1, np.count_nonzero(there)) * np.maximum(counts, 1)), 1.0)


def remark_on(known: Known | None, classes: int, ignored: float | None) -> str:
    """What to know of classes of very unequal size; nothing where they are not, or sizes are not known."""
    counts = known.counts(classes, ignored) if known is not None else None
    if known is None or counts is None:
        return ""
    if np.count_nonzero(counts) < 2:
        only = int(counts.argmax())
        named = f"`{known.classes[only]}`" if len(known.classes) == classes else f"class {only}"
        return (
            f"all {counts.sum():,} labels are {named}: there is nothing to tell apart"
            if counts.sum() > 1 < classes
            else ""
        )
    sizes = np.where(counts > 0, counts, counts.max())
    most, least = int(counts.argmax()), int(sizes.argmin())
    if counts[most] <= TOO_UNEQUAL * counts[least]:
        return ""

    def of(k: int) -> tuple[str, str]:
        share = counts[k] / counts.sum()
        name = f"`{known.classes[k]}`" if len(known.classes) == classes else f"class {k}"
        return name, f"{share:.{0 if share >= 0.1 else 1 if share >= 0.001 else 3}%}"

    (large, much), (small, little) = of(most), of(least)
    return (
        f"{large} is {much} of the {counts.sum():,} labels and {small} {little}; "
        "class_weight: balanced in the loss weighs all classes alike"
    )
