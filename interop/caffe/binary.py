"""Messages in the wire format: caffemodels, solver states, means, and nets that were saved in binary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ...files import wire
from ...spec.errors import NettrainError, Place
from .message import Entry, Message
from .schema import INTEGERS, Field, by_number

MOST_MESSAGES = 50_000  # in one file; nets of a thousand layers have some 10,000
MOST_FIELDS = 150_000  # in one file, each integer of a list among them, a run of single floats counting as one
DEEPEST = 50
LARGEST = 2**31 - 1  # bytes that Caffe reads

_WIDTHS = {"float": ("<f4", wire.FOUR_BYTES), "double": ("<f8", wire.EIGHT_BYTES)}


class _Reader:
    def __init__(self, place: Place):
        self.place, self.count, self.fields = place, 0, 0

    def read(self, buffer: wire.Buffer, into: Message, depth: int) -> None:
        """Add what the bytes say to a message; of a single field the last one counts, and messages are merged."""
        self.count += 1
        if self.count > MOST_MESSAGES or depth > DEEPEST:
            raise wire.WireError("more messages than any net has", 0)
        known = by_number(into.type)
        for number, kind, value in wire.fields(buffer):
            self._count()
            field = known.get(number)
            if field is None:
                continue
            if field.is_message:
                if kind == wire.BYTES:
                    self._message(field, value, into, depth)
                continue
            for item in self._values(field, kind, value):
                if field.is_repeated:
                    into.add(field.name, item, place=self.place)
                else:
                    into.fields[field.name] = [Entry(item, self.place)]

    def _count(self) -> None:
        self.fields += 1
        if self.fields > MOST_FIELDS:
            raise wire.WireError("more fields than any net has", 0)

    def _message(self, field: Field, value: wire.Buffer, into: Message, depth: int) -> None:
        if field.is_repeated or not into.has(field.name):
            into.add(field.name, Message(field.type, self.place), place=self.place)
        self.read(value, into.fields[field.name][-1].value, depth + 1)

    def _values(self, field: Field, kind: int, value: Any) -> Iterator[Any]:
        """What a field holds; nothing where it is written in a way that its type is not."""
        if field.type in ("string", "bytes"):
            if kind == wire.BYTES:
                yield bytes(value) if field.type == "bytes" else _text(bytes(value))
            return
        if field.type in _WIDTHS:
            dtype, single = _WIDTHS[field.type]
            if kind != single and not (kind == wire.BYTES and field.is_repeated):
                return
            if len(value) % np.dtype(dtype).itemsize:
                raise wire.WireError(f"`{field.name}` has {len(value):,} bytes, not a whole number of values", 0)
            array = np.frombuffer(value, dtype)
            if field.is_repeated:
                yield array
            elif array.size:
                yield _shortest(float(array[-1])) if field.type == "float" else float(array[-1])
            return
        if kind == wire.NUMBER:
            numbers = [value]
        elif kind == wire.BYTES and field.is_repeated:
            numbers, at = [], 0
            while at < len(value):
                number, at = wire.varint(value, at)
                numbers.append(number)
                self._count()
        else:
            return
        for number in numbers:
            yield from _integer(field, number)


def _integer(field: Field, number: int) -> Iterator[Any]:
    if field.type == "bool":
        yield bool(number)
    elif field.choices is not None:
        yield from (name for name, value in field.choices.items() if value == number)
    else:
        low, high = INTEGERS[field.type]
        size = high - low + 1
        yield (number - low) % size + low


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _shortest(value: float) -> float:
    """A float32 as the shortest decimal that gives it: 0.1, not 0.10000000149011612."""
    return float(str(np.float32(value)))


def read(buffer: wire.Buffer, type_name: str, name: str) -> Message:
    """The message that bytes hold; lists of floats are views of them. Raises NettrainError naming the file."""
    place = Place(name)
    result = Message(type_name, place)
    try:
        _Reader(place).read(buffer, result, 0)
    except wire.WireError as error:
        raise NettrainError(f"{name} is damaged, or not a {type_name} of Caffe's: {error}") from None
    return result


def write(message: Message) -> list[bytes | memoryview]:
    """The message in pieces, one after the other; the values of large arrays are not copied.

    Raises NettrainError for more than Caffe can read.
    """
    pieces, size = _pieces(message)
    if size > LARGEST:
        raise NettrainError(
            f"{size / 1e9:.1f} GB are more than a file of Caffe's can have (2.1 GB); .h5 has no such limit"
        )
    return pieces


def _pieces(message: Message) -> tuple[list[bytes | memoryview], int]:
    found: list[bytes | memoryview] = []
    for field in by_number_of(message):
        entries = message.fields[field.name]
        if field.type in _WIDTHS and field.label == "packed":
            array = np.ascontiguousarray(message.array(field.name), _WIDTHS[field.type][0])
            found.append(wire.tag_of(field.number, wire.BYTES) + wire.write_varint(array.nbytes))
            if array.size:
                found.append(memoryview(array.reshape(-1).view(np.uint8)))  # type: ignore[arg-type]
            continue
        if field.label == "packed":
            packed = b"".join(wire.write_varint(value) for value in message.many(field.name))
            found.append(wire.tag_of(field.number, wire.BYTES) + wire.write_varint(len(packed)) + packed)
            continue
        for entry in entries:
            found += _entry(field, entry.value)
    return found, sum(map(len, found))


def by_number_of(message: Message) -> list[Field]:
    """The fields that a message has and the wire format too, by number, which is the order Caffe writes."""
    found = [message.about(name) for name, entries in message.fields.items() if entries]
    return sorted((field for field in found if field.number), key=lambda field: field.number)


def _entry(field: Field, value: Any) -> list[bytes | memoryview]:
    if isinstance(value, Message):
        inner, size = _pieces(value)
        return [wire.tag_of(field.number, wire.BYTES) + wire.write_varint(size), *inner]
    if field.type in _WIDTHS:
        dtype, kind = _WIDTHS[field.type]
        tag = wire.tag_of(field.number, kind)
        return [tag + one.tobytes() for one in np.atleast_1d(np.asarray(value, dtype))]
    if field.type in ("string", "bytes"):
        raw = value.encode() if isinstance(value, str) else value
        return [wire.tag_of(field.number, wire.BYTES) + wire.write_varint(len(raw)) + raw]
    number = field.choices[value] if field.choices is not None else int(value)
    return [wire.tag_of(field.number, wire.NUMBER) + wire.write_varint(number)]
