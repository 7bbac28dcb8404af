"""Messages of protocol buffers, damaged with the lengths around the damage kept right, so that it is looked at."""

from __future__ import annotations

import random
from typing import Any

from helpers import varint

from .mutations import damage, integer, pick

Tree = list[list[Any]]  # [number, kind, value] of each field: an integer, bytes, or the fields of a message
NUMBER, EIGHT, MESSAGE, FOUR = 0, 1, 2, 5
RAW = -1  # bytes that stand as they are, whatever they mean


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(raw) and shift < 64:
        value |= (raw[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if raw[at - 1] < 128:
            return value, at
    raise ValueError


def split(raw: bytes) -> Tree:
    """The fields of a message; bytes that can be one are taken for one. Raises ValueError."""
    at, found = 0, []
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, kind = tag >> 3, tag & 7
        if kind == NUMBER:
            value: Any
            value, at = _varint(raw, at)
        else:
            size, at = _varint(raw, at) if kind == MESSAGE else ({EIGHT: 8, FOUR: 4}.get(kind, len(raw) + 1), at)
            if not 0 < number < 1000 or size > len(raw) - at:
                raise ValueError
            value, at = raw[at : at + size], at + size
        if kind == MESSAGE and len(value) > 1:
            try:
                inner = split(value)
            except ValueError:
                pass
            else:
                value = inner if join(inner) == value else value
        found.append([number, kind, value])
    return found


def join(tree: Tree) -> bytes:
    """The message of these fields."""
    parts = []
    for number, kind, value in tree:
        if isinstance(value, list):
            value = join(value)
        if kind == RAW:
            parts.append(value)
        else:
            tag = varint(number << 3 | kind)
            parts.append(tag + (varint(value) if kind == NUMBER else value if kind != MESSAGE else _long(value)))
    return b"".join(parts)


def _long(value: bytes) -> bytes:
    return varint(len(value)) + value


def _messages(tree: Tree, many: int = 4000) -> list[Tree]:
    """A message and those within it."""
    found, at = [tree], 0
    while at < len(found) < many:
        found += [value for _, _, value in found[at] if isinstance(value, list)]
        at += 1
    return found


def bad_message(rng: random.Random, raw: bytes, times: int = 3) -> bytes:
    """A message with fields dropped, doubled, renamed, retyped, nested, or of another size than they say."""
    tree = split(raw)
    for _ in range(rng.randint(1, times)):
        inner = rng.choice(_messages(tree))
        if not inner:
            inner.append([rng.randrange(1, 12), MESSAGE, b""])
        at = rng.randrange(len(inner))
        number, kind, value = inner[at]
        match pick(rng, _WAYS):
            case "value":
                inner[at] = _other(rng, number, kind, value)
            case "drop":
                del inner[at]
            case "twice":
                inner.insert(rng.randrange(len(inner) + 1), [number, kind, value])
            case "number":
                inner[at] = [rng.choice([number + 1, max(1, number - 1), *range(1, 12), 100, 2**28]), kind, value]
            case "kind":
                how, rest = rng.choice(
                    [(NUMBER, b"\x05"), (EIGHT, bytes(8)), (MESSAGE, b"\1x"), (FOUR, bytes(4)), (3, b"")]
                )
                inner[at] = [number, RAW, varint(number << 3 | how) + rest]
            case "swap":
                other = rng.choice(_messages(tree))
                if other:
                    to = rng.randrange(len(other))
                    if other[to][1] == kind and not _holds(value, other) and not _holds(other[to][2], inner):
                        inner[at], other[to] = [number, kind, other[to][2]], [other[to][0], kind, value]
            case "move":
                rng.shuffle(inner)
            case "many":
                one = rng.choice([join([[number, kind, value]])[:64], varint(number << 3 | MESSAGE) + b"\0"])
                inner[at] = [0, RAW, one * rng.choice([10, 1000, 100_000])]
            case "wrap":
                for _ in range(rng.choice([1, 2, 40, 300])):
                    value = join([[number, MESSAGE if kind == MESSAGE else kind, value]])
                    kind = MESSAGE
                inner[at] = [number, MESSAGE, value]
            case "lie":
                body = join([[number, kind, value]])
                size = integer(rng) % 2**64 if rng.random() < 0.5 else len(body) + rng.choice([-1, 1, 5])
                inner[at] = [0, RAW, varint(number << 3 | MESSAGE) + varint(max(0, size)) + body]
            case "raw":
                inner[at] = [0, RAW, damage(rng, join([[number, kind, value]]))]
    return join(tree)


_WAYS = "value value value value value value drop drop twice twice number number swap swap move wrap wrap "
_WAYS += "drop value number move twice swap kind many lie raw"


def _holds(value: Any, box: Tree) -> bool:
    return isinstance(value, list) and any(inner is box for inner in _messages(value))


def _other(rng: random.Random, number: int, kind: int, value: Any) -> list[Any]:
    """The field with another value of its kind, or nearly."""
    if kind == NUMBER:
        return [number, kind, rng.choice([integer(rng), value + 1, max(0, value - 1), 2 * value]) % 2**64]
    if kind in (EIGHT, FOUR):
        size = 8 if kind == EIGHT else 4
        odd = [b"\xff" * size, b"\0\0\xc0\x7f".rjust(size, b"\0"), b"\0\0\x80\x7f".rjust(size, b"\0"), bytes(size)]
        return [number, kind, rng.choice([*odd, rng.randbytes(size)])]
    if kind == MESSAGE and isinstance(value, bytes):
        odd = [b"", b"\0", b"\xff\xfe", b"../x", b"x" * 300, b"\x1b[2J", b"\xed\xa0\x80", value[:-1], value * 2]
        return [number, kind, rng.choice([*odd, damage(rng, value), b"/etc/passwd", value.upper(), b"data", b"a/b"])]
    return [number, MESSAGE, rng.choice([b"", damage(rng, join(value)) if kind == MESSAGE else b"x"])]
