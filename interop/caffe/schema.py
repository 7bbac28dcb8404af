"""The table of Caffe's messages: names, numbers, types and defaults of all fields, from fields.json.

Fields of forks, which have a name in text but no number that two forks agree on, come from ``forks``.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...files.reading import read_text
from .forks.fields import FORK_ENUMS, FORK_FIELDS

INTEGERS = {  # name: lowest and highest value
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
    "int64": (-(2**63), 2**63 - 1),
}


@dataclass(frozen=True)
class Field:
    """One field of a message. ``number`` is 0 where only a fork has it; a ``default`` of None is the type's zero."""

    name: str
    number: int
    type: str  # int32 uint32 int64 float double bool string bytes, an enum's or a message's name
    label: str = "optional"  # or required, repeated, packed
    default: Any = None

    @property
    def is_repeated(self) -> bool:
        return self.label in ("repeated", "packed")

    @property
    def is_message(self) -> bool:
        return self.type in messages()

    @property
    def choices(self) -> dict[str, int] | None:
        """Names and numbers of an enum; None for other types."""
        return enums().get(self.type)

    def when_missing(self) -> Any:
        """What it means to leave it out."""
        if self.default is not None:
            return self.default
        if self.choices:
            return next(iter(self.choices))
        return {"bool": False, "string": "", "bytes": b"", "float": 0.0, "double": 0.0}.get(self.type, 0)


@functools.cache
def _table() -> dict:
    return json.loads(read_text(Path(__file__).with_name("fields.json")))


@functools.cache
def enums() -> dict[str, dict[str, int]]:
    """The values of each enum, by name; those that forks add have numbers below zero, which no file has."""
    found = {name: dict(values) for name, values in _table()["enums"].items()}
    for name, values in FORK_ENUMS.items():
        found[name] = found.get(name, {}) | {value: -1 - i for i, value in enumerate(values)}
    return found


@functools.cache
def messages() -> dict[str, dict[str, Field]]:
    """The fields of each message by name."""
    found = {
        message: {name: Field(name, *row) for name, row in fields.items()}
        for message, fields in _table()["messages"].items()
    }
    for message, extra in FORK_FIELDS.items():
        own = found.setdefault(message, {})
        for name, (type_name, *label) in extra.items():
            own.setdefault(name, Field(name, 0, type_name, *label))
    return found


@functools.cache
def by_number(message: str) -> dict[int, Field]:
    """The fields of a message as the wire format names them."""
    return {field.number: field for field in messages()[message].values() if field.number}
