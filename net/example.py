"""Example: a small case of a layer, by which it is tested, gradient-checked and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Values = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


@dataclass(frozen=True)
class Example:
    """A small case of a layer: it is tested, gradient-checked and shown in the docs.

    ``values`` gives bottoms that are not normally distributed, by index; ``tops`` the number of tops when it
    is not the least the type allows; ``prepare`` is called with the layer before the first forward pass; ``files``
    writes the files the layer reads into a folder. Raises TypeError for anything else.
    """

    bottoms: Sequence[tuple[int, ...]] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[int, Values] = field(default_factory=dict)
    tops: int | None = None
    phase: str = "TRAIN"
    prepare: Callable[[Any], None] | None = None
    files: Callable[[Path], None] | None = None

    def __post_init__(self) -> None:
        wrong = self._wrong()
        if wrong:
            raise TypeError(wrong)

    def _wrong(self) -> str:
        """What is wrong with the example, and what would be right; nothing when it is all right."""
        if not isinstance(self.bottoms, list | tuple) or not all(map(is_shape, self.bottoms)):
            one = is_shape(self.bottoms) and bool(self.bottoms)
            meant = f"Example([({', '.join(map(str, self.bottoms))}{',' * (len(self.bottoms) == 1)})])" if one else ""
            return f"an example is a list of shapes: {meant or 'Example([(3, 4)])'}, got {briefly(self.bottoms)}"
        if not isinstance(self.params, Mapping) or not all(isinstance(key, str) for key in self.params):
            wanted = 'a mapping of names, as in Example([(3, 4)], {"num_output": 2})'
            return f"the parameters of an example are {wanted}; got {briefly(self.params)}"
        if not isinstance(self.values, Mapping) or not all(map(callable, self.values.values())):
            wanted = (
                "functions by the index of the bottom, as in values={0: lambda rng, shape: rng.uniform(1, 2, shape)}"
            )
            return f"the values of an example are {wanted}; got {briefly(self.values)}"
        beyond = [i for i in self.values if not is_size(i) or i >= len(self.bottoms)]
        if beyond:
            return f"the example has values for bottom {briefly(beyond[0])}, but {len(self.bottoms)} bottoms, from 0"
        if self.tops is not None and not is_size(self.tops):
            return f"the tops of an example are a number, as in tops=2; got {briefly(self.tops)}"
        if self.phase not in ("TRAIN", "TEST"):
            return f'the phase of an example is "TRAIN" or "TEST"; got {briefly(self.phase)}'
        for name, takes in (("prepare", "the layer"), ("files", "a folder")):
            function = getattr(self, name)
            if not (function is None or callable(function)):
                return f"`{name}` of an example is a function that takes {takes}; got {briefly(function)}"
        return ""


def is_size(value: Any) -> bool:
    """Whether it is an integer >= 0."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and bool(value >= 0)


def is_shape(value: Any) -> bool:
    """Whether it is a list of sizes."""
    return isinstance(value, list | tuple) and all(map(is_size, value))


def briefly(value: Any) -> str:
    """A value in a message, however long it is or badly it prints."""
    try:
        text = " ".join(repr(value).split())
    except Exception:
        text = type(value).__name__
    return text if len(text) <= 80 else text[:80] + "…"


def labels(classes: int, *others: int) -> Values:
    """Random class labels 0 … classes-1 (and the ``others``, such as an ignored one) for an Example."""
    choices = np.array([*range(classes), *others])
    return lambda rng, shape: rng.choice(choices, shape).astype(float)
