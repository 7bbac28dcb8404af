"""A message that was read or is to be written: the values of its fields, each with its place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...spec.errors import Place
from .schema import Field, messages

NOWHERE = Place("")


@dataclass(slots=True)
class Entry:
    """One value of a field: a number, a bool, a text, the name of an enum's value, bytes or a Message.

    Of a list of numbers in binary there is one entry for all: an array.
    """

    value: Any
    place: Place = NOWHERE


@dataclass(slots=True)
class Unknown:
    """A field that is not in the table; ``value`` is what the text says, as far as that can be shown."""

    message: str  # the type of the message that has it
    name: str
    place: Place


@dataclass
class Message:
    """Fields by name, in the order in which they were written. What is not there was not written."""

    type: str
    place: Place = NOWHERE
    fields: dict[str, list[Entry]] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)
    last_line: int = 0  # in text: where its bracket closes
    extra: dict[str, Any] = field(default_factory=dict)  # of a layer: keys of nettrain's own, which Caffe has not

    def about(self, name: str) -> Field:
        """What the table says of a field."""
        return messages()[self.type][name]

    def has(self, name: str) -> bool:
        """Whether a field was written, with whatever value."""
        return bool(self.fields.get(name))

    def one(self, name: str) -> Any:
        """The value of a single field, or what it means to leave it out; None for a message that is not there."""
        entries = self.fields.get(name)
        if entries:
            return entries[-1].value
        about = self.about(name)
        return None if about.is_message else about.when_missing()

    def entries(self, name: str) -> list[Entry]:
        """All values of a field with their places."""
        return self.fields.get(name, [])

    def many(self, name: str) -> list[Any]:
        """All values of a field."""
        return [
            item
            for entry in self.fields.get(name, ())
            for item in (entry.value.tolist() if isinstance(entry.value, np.ndarray) else [entry.value])
        ]

    def array(self, name: str) -> np.ndarray:
        """A list of numbers; without a copy when it lies in one piece."""
        dtype = {"double": np.float64, "float": np.float32}.get(self.about(name).type, np.int64)
        entries = self.fields.get(name, [])
        if len(entries) == 1 and isinstance(entries[0].value, np.ndarray):
            return entries[0].value
        if any(isinstance(entry.value, np.ndarray) for entry in entries):
            return np.concatenate([np.atleast_1d(entry.value) for entry in entries]).astype(dtype, copy=False)
        return np.array([entry.value for entry in entries], dtype)

    def at(self, name: str) -> Place:
        """Where a field's first value is written, or this message when it is not."""
        entries = self.fields.get(name)
        return entries[0].place if entries else self.place

    def add(self, name: str, *values: Any, place: Place | None = None) -> Message:
        """Append values to a field; returns this message."""
        here = self.place if place is None else place
        self.fields.setdefault(name, []).extend(Entry(value, here) for value in values)
        return self

    def make(self, name: str, place: Place | None = None) -> Message:
        """A message in a field: the one that is there, or a new one."""
        if not self.has(name):
            self.add(name, Message(self.about(name).type, self.place if place is None else place))
        return self.one(name)

    def take(self, name: str) -> list[Entry]:
        """Remove a field; what it held."""
        return self.fields.pop(name, [])

    def parts(self) -> Iterator[Message]:
        """This message and all within it."""
        yield self
        for entries in self.fields.values():
            for entry in entries:
                if isinstance(entry.value, Message):
                    yield from entry.value.parts()


def message(type_name: str, /, **fields: Any) -> Message:
    """A message of plain values; a list, tuple or array gives several of one field, None leaves it out."""
    made = Message(type_name)
    for name, value in fields.items():
        if isinstance(value, np.ndarray):
            made.add(name, value)
        elif isinstance(value, Iterable) and not isinstance(value, str | bytes | Message):
            made.add(name, *value)
        elif value is not None:
            made.add(name, value)
    return made
