"""Escapes with a backslash in the strings of a prototxt."""

from __future__ import annotations

import re
from collections.abc import Iterator

_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_NO_ESCAPE = re.compile(  # group 1 is a backslash with something behind it that means nothing
    r"\\(?:[0-7abfnrtv\\'\"?]|[xX][0-9a-fA-F]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}|U00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4})|(\\.)"
)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def meaningless(text: str) -> Iterator[tuple[int, str]]:
    """Each backslash with what is behind it that stands for nothing, and where it is."""
    for match in _NO_ESCAPE.finditer(text) if "\\" in text else ():
        if match[1]:
            yield match.start(), match[1]


def unescaped(text: str) -> bytes:
    """The bytes that a string in quotes stands for."""
    if "\\" not in text:
        return text.encode()
    parts, last = [], 0
    for match in _ESCAPE.finditer(text):
        parts.append(text[last : match.start()].encode())
        last = match.end()
        octal, hexadecimal, short, long, letter = match.groups()
        if octal or hexadecimal:
            parts.append(bytes([int(octal, 8) & 255 if octal else int(hexadecimal, 16)]))
        elif short or long:
            parts.append(chr(min(int(short or long, 16), 0x10FFFF)).encode(errors="replace"))
        else:
            parts.append(_LETTERS.get(letter, letter).encode())
    return b"".join([*parts, text[last:].encode()])
