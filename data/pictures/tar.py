"""Pictures in a tar file, as WebDataset writes them: ``KEY.jpg`` beside ``KEY.cls`` or ``KEY.json``.

It is never unpacked: names are only names, and a picture is read from its place in the file.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...files.reading import open_file, size_of
from ...spec.errors import NettrainError, why
from ..dataset import WHOLE
from .decoding import is_picture
from .folder import Found, is_hidden

MOST_OF_A_LABEL = 1 << 16  # bytes
LABELS = (".cls", ".json")
KEYS_OF_JSON = ("cls", "label", "class")  # where an object holds its label
AT_A_TIME = 1000  # members after which tarfile forgets what it has seen


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
        with open_file(path) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            length = size_of(file)
            for number, info in enumerate(tar):
                if number % AT_A_TIME == 0:
                    tar.members = []  # which would grow with the file
                if not info.isreg() or info.issparse():
                    continue
                member = _Member(info.name, info.offset_data, info.size)
                if not 0 <= member.size <= length - member.start:
                    raise NettrainError(f"{path} is damaged: it ends within {member.name}", key="source")
                yield member, _content(file, member, path) if member.name.endswith(LABELS) else None
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise NettrainError(
            f"{path} is not a tar file, or is damaged: {why(error)}; a compressed one must be unpacked to .tar first",
            key="source",
        ) from None
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None


def _content(file: Any, member: _Member, path: Path) -> bytes:
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
