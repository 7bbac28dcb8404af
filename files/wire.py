"""The wire format of protocol buffers: numbered fields, one after the other, without names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

NUMBER, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # how a field is written
MOST_FIELDS = 300_000  # of one message; what lists of numbers have in a run counts as one
Buffer = bytes | memoryview


class WireError(ValueError):
    """Bytes that are no message; ``at`` is where."""

    def __init__(self, what: str, at: int):
        super().__init__(f"{what} at byte {at:,}")
        self.at = at


def varint(buffer: Buffer, at: int) -> tuple[int, int]:
    """An integer in groups of seven bits, the lowest first, and where it ends. Raises WireError."""
    value = shift = 0
    start = at
    while True:
        if at >= len(buffer):
            raise WireError("the message ends within a number", start)
        byte = buffer[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
        if shift > 63:
            raise WireError("a number of more than ten bytes", start)


def fields(buffer: Buffer) -> Iterator[tuple[int, int, Any]]:
    """(number, kind, value) of each field: an integer for NUMBER, else bytes, not copied where they lie in one piece.

    Values of four or eight bytes that follow each other in one field, as old files write lists of numbers, come as one.
    Raises WireError, also for more fields than any file has that is not made to keep its reader busy.
    """
    at = count = 0
    while at < len(buffer):
        start = at
        count += 1
        if count > MOST_FIELDS:
            raise WireError(f"more than {MOST_FIELDS:,} fields", start)
        tag, at = varint(buffer, at)
        number, kind = tag >> 3, tag & 7
        if not 0 < number < 1 << 29:
            raise WireError("no field has such a number", start)
        if kind == NUMBER:
            value, at = varint(buffer, at)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, at = varint(buffer, at)
        elif kind in (EIGHT_BYTES, FOUR_BYTES):
            size = 8 if kind == EIGHT_BYTES else 4
        else:
            raise WireError("a field of a kind that is not in use", start)
        if size > len(buffer) - at:
            raise WireError(f"a field of {size:,} bytes in {len(buffer) - at:,}", start)
        if kind != BYTES and buffer[at + size : 2 * at + size - start] == buffer[start:at]:
            count, step = _single_values(buffer, start, at, size), at - start + size
            rows = np.frombuffer(buffer, np.uint8, count * step, start).reshape(count, step)
            yield number, kind, rows[:, at - start :].tobytes()
            at = start + count * step
            continue
        yield number, kind, buffer[at : at + size]
        at += size


def _single_values(buffer: Buffer, start: int, at: int, size: int) -> int:
    """How many values of ``size`` bytes follow each other from ``start`` on, each after the tag that ends at ``at``.

    There may be millions, so they are not looked at one by one.
    """
    tag = np.frombuffer(buffer[start:at], np.uint8)
    step = len(tag) + size
    count, most, piece = 0, (len(buffer) - start) // step, 64
    while count < most:
        piece = min(piece * 4, most - count)
        rows = np.frombuffer(buffer, np.uint8, piece * step, start + count * step).reshape(piece, step)
        same = (rows[:, : len(tag)] == tag).all(axis=1)
        if not same.all():
            return count + int(same.argmin())
        count += piece
    return count


def write_varint(value: int) -> bytes:
    """A number as ``varint`` reads it; a negative one as 64 bits."""
    value &= 0xFFFF_FFFF_FFFF_FFFF
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def tag_of(number: int, kind: int) -> bytes:
    """What stands before a field's value."""
    return write_varint(number << 3 | kind)
