"""Keys of data layers that have a value for each phase: ``source: {train: …, test: …}`` and ``batch_size``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...spec.declare import Declared, param

PHASES = {"training": "train", "val": "test", "valid": "test", "validation": "test", "eval": "test", "testing": "test"}


class BatchSize(Declared):
    """An integer, or one for each phase: ``{train: 64, test: 100}``."""

    train: int = param(minimum=1, doc="examples in a training batch")
    test: int = param(minimum=1, doc="examples in a test batch")

    words = "an integer >= 1, or {train: 64, test: 100}"
    aliases = PHASES

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        if isinstance(value, int) and not isinstance(value, bool):
            return {"train": value, "test": value}
        return None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "integer", "minimum": 1}, super().schema()]}


class OneOrTwo(Declared):
    """A text, or one for each phase."""

    train: str = param(doc="of the TRAIN phase")
    test: str = param(doc="of the TEST phase")

    aliases = PHASES

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        return {"train": value, "test": value} if isinstance(value, str) else None

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [{"type": "string"}, super().schema()]}


class Source(OneOrTwo):
    """A name or a path, or one for each split: ``{train: a.npz, test: b.npz}``."""

    words = "a name such as digits, a path, or {train: a.npz, test: b.npz}"


class ListSource(OneOrTwo):
    """A path of a list, or one for each phase: ``{train: a.txt, test: b.txt}``."""

    words = "a path, or {train: a.txt, test: b.txt}"


def of_phase(value: Any, phase: str) -> Any:
    """What such a key says for a phase."""
    return value.train if phase == "TRAIN" else value.test
