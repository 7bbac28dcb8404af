"""Pictures in a tar file, as WebDataset writes them: ``KEY.jpg`` beside ``KEY.cls`` or ``KEY.json``.

It is never unpacked: names are only names, and a picture is read from its place in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from ...files.reading import open_file, size_of
from ...spec.errors import NettrainError, why
from ..dataset import WHOLE
from .decoding import is_picture
from .folder import Found, is_hidden

MOST_OF_A_LABEL = 1 << 16  # bytes
LABELS = (".cls", ".json")
KEYS_OF_JSON = ("cls", "label", "class")  # where an object holds its label
BLOCK = 512  # bytes: of a header, and what contents are filled up to
WITHOUT_DATA = tuple(b"%d" % kind for kind in range(1, 7))  # links, devices, folders


class _Member(NamedTuple):
    name: str
    start: int
    size: int


def read_tar(path: Path, classes: Sequence[str] = ()) -> Found:
    """The pictures of a tar file, with labels where it has some: whole numbers, or words, which are classes, sorted, or
    number the ``classes``. Raises NettrainError for a file that is damaged, or has labels for only some."""
    pictures: dict[str, _Member] = {}
    labels: dict[str, int | str] = {}
    others = 0
    for member, content in _members(path):
        folder, slash, base = member.name.rpartition("/")
        stem, dot, ending = base.partition(".")
        key = f"{folder}{slash}{stem}"
        if content is not None:
            labels[key] = _label(content, f"{member.name} of {path}", member.name.endswith(".json"))
        elif is_picture(member.name) and not is_hidden(base):
            if key in pictures:
                raise NettrainError(
                    f"{path} has two pictures with one key: {pictures[key].name} and {member.name}", key="source"
                )
            pictures[key] = member
        elif dot or ending:
            others += 1
    if not pictures:
        raise NettrainError(f"{path} holds no pictures", key="source")
    members = list(pictures.values())
    without = [member.name for key, member in pictures.items() if key not in labels]
    if labels and without:
        raise NettrainError(
            f"{path} has labels, but none for {without[0]}{f' and {len(without) - 1:,} more' if without[1:] else ''}: "
            "a KEY.cls or KEY.json is expected beside each KEY.jpg",
            key="source",
        )
    numbers, names = _numbers([labels[key] for key in pictures], path, classes) if not without else (None, ())
    remarks = [f"{others:,} file{'s' * (others > 1)} in {path.name} that are no pictures ignored"] if others else []
    called = [one.name for one in members]
    return Found(path.name, called, numbers, lambda i: _read(path, members[i]), path, names, WHOLE, remarks)


def _members(path: Path) -> Iterator[tuple[_Member, bytes | None]]:
    """The regular files in a tar file, in its order, and of those that hold labels what they hold."""
    try:
        with open_file(path) as file:
            for member in _headers(file, path):
                yield member, _content(file, member, path) if member.name.endswith(LABELS) else None
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None


def _headers(file: IO[bytes], path: Path) -> Iterator[_Member]:
    """The regular files that lie in an open tar file as they are: of the formats of POSIX and GNU."""
    length, at, given = size_of(file), 0, dict[str, str]()  # what a header before says of the next file
    while at < length:
        file.seek(at)
        head = file.read(BLOCK)
        if at and not any(head):  # the end
            return
        if at and len(head) < BLOCK:
            raise NettrainError(f"{path} is damaged: it ends within the header at byte {at:,}", key="source")
        size, kind = _number(head[124:136]), head[156:157]
        if len(head) < BLOCK or sum(head[:148]) + 8 * ord(" ") + sum(head[156:]) != _number(head[148:156]) or size < 0:
            raise NettrainError(
                f"{path} is not a tar file, or is damaged at byte {at:,}; what is compressed must be unpacked to .tar",
                key="source",
            )
        start = at + BLOCK
        is_file = kind in (b"0", b"\0", b"7")
        if is_file and "size" in given:
            size = int(given["size"])
        name = given.get("path") or _name(head)
        size = 0 if kind in WITHOUT_DATA else size
        if size > length - start or start + -(-size // BLOCK) * BLOCK > length:
            raise NettrainError(f"{path} is damaged: it ends within {name}", key="source")
        at = start + -(-size // BLOCK) * BLOCK
        if kind in (b"L", b"x"):
            if size > MOST_OF_A_LABEL:
                raise NettrainError(f"{path} is damaged: a name in it has {size:,} bytes", key="source")
            told = file.read(size)
            given |= {"path": _text(told.partition(b"\0")[0])} if kind == b"L" else _records(told)
        elif kind not in (b"K", b"g"):
            if is_file and not any(key.startswith("GNU.sparse") for key in given):
                yield _Member(name, start, size)
            given = {}


def _number(field: bytes) -> int:
    """A number of a header: octal digits, or where those are too few, bytes after one of 128. -1 for anything else."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.strip(b"\0 ")
    return int(text, 8) if re.fullmatch(b"[0-7]*", text) and text else 0 if not text else -1


def _name(head: bytes) -> str:
    name, prefix = (_text(part.partition(b"\0")[0]) for part in (head[:100], head[345:500]))
    return f"{prefix}/{name}" if prefix and head[257:263] == b"ustar\0" else name


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _records(told: bytes) -> dict[str, str]:
    """The ``LENGTH KEY=VALUE`` lines of a POSIX header, as far as they are whole."""
    found = {}
    while match := re.match(rb"([0-9]{1,6}) ([^=]*)=", told):
        length = int(match[1])
        if not match.end() < length <= len(told):
            break
        found[_text(match[2])] = _text(told[match.end() : length - 1])
        told = told[length:]
    if not re.fullmatch("[0-9]{1,18}", found.get("size", "0"), re.ASCII):
        del found["size"]
    return found


def _content(file: IO[bytes], member: _Member, path: Path) -> bytes:
    if member.size > MOST_OF_A_LABEL:
        raise NettrainError(f"{member.name} of {path} has {member.size:,} bytes, too many for a label", key="source")
    file.seek(member.start)
    return file.read(member.size)


def _read(path: Path, member: _Member) -> bytes:
    """The bytes of a picture."""
    with open_file(path) as file:
        file.seek(member.start)
        return file.read(member.size)


def _label(content: bytes, where: str, is_json: bool) -> int | str:
    """The number or word that a .cls or .json holds."""
    try:
        text = content.decode("utf-8-sig").strip()
        found = json.loads(text) if is_json else text
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict):
        found = next((found[key] for key in KEYS_OF_JSON if key in found), None)
    if isinstance(found, bool) or not isinstance(found, int | str) or found == "":
        raise NettrainError(
            f"{where} holds no label: a whole number, a word, or in .json an object with one as "
            f"{', '.join(KEYS_OF_JSON)} is expected",
            key="source",
        )
    return int(found) if isinstance(found, str) and re.fullmatch("[+-]?[0-9]{1,40}", found) else found


def _numbers(labels: list[int | str], path: Path, classes: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Labels as numbers, and the words they count."""
    words = [label for label in labels if isinstance(label, str)]
    if not words:
        if any(not -(2**31) <= int(label) < 2**31 for label in labels):
            raise NettrainError(f"{path} holds a label with too many digits", key="source")
        return np.array(labels), tuple(classes)
    if len(words) < len(labels):
        raise NettrainError(f"{path} has labels of both kinds, numbers and words such as {words[0]!r}", key="source")
    names = tuple(classes) or tuple(sorted(set(words)))
    number = {name: i for i, name in enumerate(names)}
    if unknown := next((word for word in words if word not in number), None):
        raise NettrainError(f"{path} has the label {unknown!r}, which is no class that is trained on", key="source")
    return np.array([number[word] for word in words]), names
