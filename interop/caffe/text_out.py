"""Messages as prototxt, the way Caffe's own files look."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from .message import Message
from .schema import Field


def to_text(message: Message) -> str:
    """The text of a message, its fields in the order in which they were given."""
    return "".join(f"{line}\n" for line in _lines(message, ""))


def _lines(message: Message, indent: str) -> Iterator[str]:
    for name in message.fields:
        field = message.about(name)
        values = message.many(name) if not field.is_message else [entry.value for entry in message.fields[name]]
        for value in values:
            if isinstance(value, Message):
                yield f"{indent}{name} {{"
                yield from _lines(value, indent + "  ")
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {scalar(field, value)}"


def scalar(field: Field, value: Any) -> str:
    """One value as prototxt has it."""
    if field.type == "bool":
        return "true" if value else "false"
    if field.choices is not None:
        return str(value)
    if field.type in ("string", "bytes"):
        return quoted(value)
    if field.type not in ("float", "double"):
        return str(int(value))
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    shortest = str(np.float32(number)) if field.type == "float" else repr(number)
    return shortest.removesuffix(".0")


_ESCAPES = {ord("\\"): "\\\\", ord('"'): '\\"', ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}


def quoted(value: str | bytes) -> str:
    """Text between quotation marks; what cannot be printed is escaped."""
    if isinstance(value, bytes):
        value = value.decode("latin-1")
        text = value.translate(_ESCAPES)
        return '"' + "".join(c if " " <= c <= "~" else f"\\{ord(c):03o}" for c in text) + '"'
    text = value.translate(_ESCAPES)
    parts = (c if c.isprintable() else "".join(f"\\{byte:03o}" for byte in c.encode()) for c in text)
    return '"' + "".join(parts) + '"'
