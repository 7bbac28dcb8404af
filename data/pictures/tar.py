"""Pictures in tar files, as WebDataset writes them: ``KEY.jpg`` beside ``KEY.cls``, ``KEY.json`` or ``KEY.txt``.

They are never unpacked: names are only names, and a picture is read from its place in the file.
"""

from __future__ import annotations

import json
import os
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
from .shards import check_shards, shards_of

MOST_OF_A_LABEL = 1 << 16  # bytes
LABELS = (".cls", ".json", ".txt")  # the first that is beside a picture holds its label
KEYS_OF_JSON = ("cls", "label", "class")  # where an object holds its label
BLOCK = 512  # bytes: of a header, and what contents are filled up to
WITHOUT_DATA = tuple(b"%d" % kind for kind in range(1, 7))  # links, devices, folders


class _Member(NamedTuple):
    name: str
    start: int
    size: int


class _Shard(NamedTuple):
    """What is in a tar file: members by key, those that hold labels by ending as well."""

    path: Path
    pictures: dict[str, _Member]
    labels: dict[str, int | str]
    others: int


def read_tar(path: Path, classes: Sequence[str] = ()) -> Found:
    """The pictures of a tar file, or of all that a path stands for (see ``shards_of``), with labels where they have
    some: whole numbers, or words, which are classes, sorted, or number the ``classes``. Keys belong to each file.

    Raises NettrainError for a file that is damaged, or has labels for only some.
    """
    paths = shards_of(path)
    check_shards(path, paths)
    shards = [_shard(one) for one in paths]
    found = [(shard, key, member) for shard in shards for key, member in shard.pictures.items()]
    if not found:
        raise NettrainError(f"{path} holds no pictures", key="source")
    called = [f"{one.path.name}/{member.name}" if shards[1:] else member.name for one, _, member in found]
    without = [name for name, (shard, key, _) in zip(called, found, strict=True) if key not in shard.labels]
    if without and any(shard.labels for shard in shards):
        raise NettrainError(
            f"{path} has labels, but none for {without[0]}{f' and {len(without) - 1:,} more' if without[1:] else ''}: "
            "a KEY.cls, KEY.json or KEY.txt is expected beside each KEY.jpg",
            key="source",
        )
    labels = None if without else [shard.labels[key] for shard, key, _ in found]
    numbers, names = (None, ()) if labels is None else _numbers(labels, path, classes)
    others = sum(shard.others for shard in shards)
    remarks = [f"{others:,} file{'s' * (others > 1)} in {path.name} that are no pictures ignored"] if others else []
    places = [(shard.path, member) for shard, _, member in found]
    return Found(path.name, called, numbers, lambda i: _read(*places[i]), path, names, WHOLE, remarks, paths)


def _shard(path: Path) -> _Shard:
    """What is in one tar file."""
    pictures: dict[str, _Member] = {}
    about: dict[str, dict[str, _Member]] = {ending: {} for ending in LABELS}
    others = 0
    try:
        with open_file(path) as file:
            for member in _headers(file, path):
                folder, slash, base = member.name.rpartition("/")
                stem, dot, _ = base.partition(".")
                key, ending = f"{folder}{slash}{stem}", os.path.splitext(base)[1]
                if is_picture(member.name) and not is_hidden(base):
                    if key in pictures:
                        two = f"{pictures[key].name} and {member.name}"
                        raise NettrainError(f"{path} has two pictures with one key: {two}", key="source")
                    pictures[key] = member
                elif ending in about:
                    about[ending][key] = member
                elif dot:
                    others += 1
            labels = {}
            for key in pictures:
                beside = [members[key] for members in about.values() if key in members]
                if beside:
                    labels[key] = _label(_content(file, beside[0], path), f"{beside[0].name} of {path}", beside[0].name)
                    others += len(beside) - 1
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
    return _Shard(path, pictures, labels, others)


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


def _label(content: bytes, where: str, name: str) -> int | str:
    """The number or word that a .cls, .json or .txt holds."""
    try:
        text = content.decode("utf-8-sig").strip()
        found = json.loads(text) if name.endswith(".json") else text if len(text.splitlines()) < 2 else None
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
