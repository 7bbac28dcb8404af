"""Specs in the words of other programs, told by what is in the file."""

from __future__ import annotations

from pathlib import Path

from ..files.reading import mapped
from ..files.wire import Buffer
from ..spec.errors import Place, Problem, Problems, SpecError
from ..spec.node import Node
from .kinds import HEAD, MOST_TEXT, is_binary, is_net, is_prototxt
from .refused import words


def read(raw: bytes, path: Path, name: str, problems: Problems, warnings: list[Problem]) -> Node | None:
    """The tree of a spec of Caffe's; None for what may be YAML. Raises SpecError where nothing can be understood."""
    head = raw[:HEAD]
    _refuse(raw, name)
    if not is_net(head) and (is_binary(head) or not is_prototxt(raw.decode("utf-8-sig", errors="replace"))):
        return None
    from .caffe.specs import read_spec  # not for YAML: it is not needed there

    imported = read_spec(raw, path, name, problems)
    warnings += imported.warnings
    return imported.root


def _text(buffer: memoryview) -> bytes | None:
    if len(buffer) > MOST_TEXT or is_binary(bytes(buffer[:HEAD])):
        return None
    raw = bytes(buffer)
    return raw if is_prototxt(raw.decode("utf-8-sig", errors="replace")) else None


def read_large(path: Path, name: str, problems: Problems | None, warnings: list[Problem] | None) -> Node | None:
    """A file that is too large for YAML: a net in binary with its weights, or a long prototxt; None for others."""
    try:
        with mapped(path) as memory:
            _refuse(memory.bytes, name)
            raw = memory.bytes if is_net(bytes(memory.bytes[:HEAD])) else _text(memory.bytes)
            if raw is None:
                return None
            from .caffe.specs import read_spec

            collected = Problems() if problems is None else problems
            imported = read_spec(raw, path, name, collected)
    except OSError:  # a pipe, which can be read only once
        return None
    if problems is None:
        collected.raise_if_any()
    if warnings is not None:
        warnings += imported.warnings
    return imported.root


def _refuse(buffer: Buffer, name: str) -> None:
    """Raise SpecError for what is known to be something else."""
    if refused := words(buffer, name):
        raise SpecError([Problem(Place(name), f"this {refused}")])
