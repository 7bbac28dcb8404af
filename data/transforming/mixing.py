"""Mixup: pairs of a training batch's examples mixed, and their labels, which become probabilities of the classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...net.blob import Known
from ...spec.errors import NettrainError
from .formulas import mix
from .records import Mixup


class Mixing:
    """What a data layer needs in training: how many classes there are, and the mixing of a batch.

    ``named`` is how many classes have names, of which the training part may lack some. Raises NettrainError for labels
    that are no classes, and for further arrays, which nothing is known of.
    """

    def __init__(self, mixup: Mixup, labels: list[Any], origin: str, named: int = 0):
        if len(labels) != 1:
            has = f"{len(labels) - 1} more" if labels else "no top for the labels"
            raise NettrainError(f"mixup mixes the examples and one label each; this layer has {has}", key="transform")
        (values,) = labels
        if values.shape[1:] not in ((), (1,)):
            raise NettrainError("mixup needs one label for each example, a class", key="transform")
        self.alpha, self.classes, self.origin = mixup.alpha, mixup.classes or named, origin
        if isinstance(values, np.ndarray):
            seen = Known(values, origin).range()
            if seen is not None and (seen.fractional is not None or seen.low < 0):
                odd = seen.low if seen.low < 0 else seen.fractional
                raise NettrainError(f"mixup needs classes as labels, 0, 1, …; {origin} has {odd:g}", key="transform")
            self.classes = self.classes or int(seen.high) + 1 if seen is not None else self.classes
        elif not self.classes:
            raise NettrainError(
                f"mixup must know how many classes there are, and the labels of {origin} are read one by one: write "
                "mixup: {alpha: …, classes: …}",
                key="transform",
            )

    def __call__(
        self, examples: np.ndarray, labels: np.ndarray, out: np.ndarray, rng: np.random.Generator | None
    ) -> None:
        """Write the probabilities of the labels into ``out``, N x classes, and mix them and the examples in place;
        ``rng`` None: nothing is mixed. Raises NettrainError for a label that is no class."""
        numbers = labels.reshape(-1).astype(int)
        bad = (numbers < 0) | (numbers >= self.classes) | (numbers != labels.reshape(-1))
        if bad.any():
            odd = labels.reshape(-1)[bad][0]
            raise NettrainError(f"label {odd:g} of {self.origin} is not one of mixup's {self.classes} classes")
        out.fill(0)
        out[np.arange(len(numbers)), numbers] = 1
        if rng is not None:
            mix([examples, out], self.alpha, rng)
