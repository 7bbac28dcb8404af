"""The file of a spec: which one is meant, on disk or among those that come with nettrain, and what it says."""

from __future__ import annotations

import errno
import importlib.resources
import os
import re
import shlex
from pathlib import Path

from ..files.reading import read_bytes
from ..spec.errors import NettrainError, Place, Problem, Problems, SpecError, nearest, why
from ..spec.node import Node
from ..spec.reading import read_text
from .registry import other_programs

MOST_BYTES = 1_000_000
OF_DATA = (".csv", ".tsv", ".parquet", ".npy", ".tar")  # how files of data end


def read_file(
    path: Path, name: str | None = None, problems: Problems | None = None, warnings: list[Problem] | None = None
) -> Node:
    """Parse a file, as ``read_text`` does: YAML, or what ``interop`` knows of other programs' specs.

    What may be a mistake is added to ``warnings``. Raises SpecError for anything that cannot be read; with ``problems``
    only when nothing can.
    """
    name = name or str(path)

    def bad(message: str) -> SpecError:
        return SpecError([Problem(Place(name), message)])

    try:
        raw = read_bytes(path, MOST_BYTES, pipes=True)
    except IsADirectoryError:
        raise bad(f"this is a folder, not a YAML file; {_how_to_begin(path)}") from None
    except OSError as error:
        if error.errno == errno.EFBIG and path.suffix.lower() in OF_DATA:
            raise bad(f"this is data, not a spec; {_how_to_begin(path)}") from None
        if error.errno == errno.EFBIG:
            large = other_programs("specs").read_large(path, name, problems, warnings)
            if large is not None:
                return large
            raise bad(f"too large for a spec: more than {MOST_BYTES:,} bytes") from None
        raise bad(f"cannot be read: {why(error)}") from None
    if path.suffix.lower() in OF_DATA:
        raise bad(f"this is data, not a spec; {_how_to_begin(path)}")
    collected = Problems() if problems is None else problems
    if (node := foreign(raw, path, name, collected, [] if warnings is None else warnings)) is not None:
        if problems is None:
            collected.raise_if_any()
        return node
    try:
        return read_text(raw.decode("utf-8-sig"), name, problems)
    except UnicodeDecodeError as error:
        before = raw[: error.start].split(b"\n")
        place = Place(name, len(before), len(before[-1]) + 1)
        message = f"this is not a YAML file: byte {error.start} is not UTF-8"
        raise SpecError([Problem(place, message)]) from None


def _how_to_begin(data: Path) -> str:
    """What makes a spec for data."""
    name = re.sub(r"\W+", "_", data.stem if data.suffix.lower() in OF_DATA else data.name).strip("_") or "NAME"
    return f"a spec for data is written by: nettrain new {name} --data {shlex.quote(str(data))}"


def foreign(raw: bytes, path: Path, name: str, problems: Problems, warnings: list[Problem]) -> Node | None:
    """The spec in another program's words that bytes hold; None where they are not known to be any."""
    return other_programs("specs").read(raw, path, name, problems, warnings)


def bundled() -> dict[str, Path]:
    """The specs that come with nettrain, by their names, such as ``mlp`` and ``lecture/svm``, sorted."""
    folder = _bundled_folder()
    names = {str(path.relative_to(folder).with_suffix("").as_posix()): path for path in folder.rglob("*.yaml")}
    return dict(sorted(names.items(), key=lambda item: ("/" in item[0], item[0])))


def _bundled_folder() -> Path:
    return Path(str(importlib.resources.files(__package__.rpartition(".")[0]) / "configs"))


def find(path: str | Path) -> tuple[Path, str]:
    """The spec file meant by ``path``: on disk, or else among the bundled configs (with a note saying so)."""
    path = Path(path)
    if str(path) == "-":
        raise NettrainError("-: a spec is a file; to read what a command writes, give /dev/stdin, or <(…) in the shell")
    try:
        if path.exists():
            return path, ""
    except OSError as error:
        raise NettrainError(f"{str(path)[-80:]}: {why(error)}") from None
    folder = _bundled_folder()
    wanted = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    if not path.is_absolute() and ".." not in path.parts and os.path.isfile(folder / wanted):
        return folder / wanted, f"{path} is not in this folder; using the one that comes with nettrain"
    names = [f"configs/{name}.yaml" for name in bundled()]
    near = nearest(str(path), names) or {Path(name).stem: name for name in names}.get(
        nearest(path.stem, [Path(name).stem for name in names]) or ""
    )
    if near:
        hint = f"; did you mean `{near}`?"
    else:  # the lecture's and Caffe's own would fill the screen
        first = [name for name in names if len(Path(name).parts) == 2]
        hint = f"; bundled: {', '.join(first)}, and more in configs/lecture and configs/caffe"
    raise NettrainError(f"{path}: no such file{hint}")


def folder_named(root: Node, beside: Path) -> Path:
    """The folder of a spec's files: the one under its key ``folder``, which is taken out, if that is there; else its
    own."""
    node = root.value.get("folder")
    if node is None or not isinstance(node.value, str):
        return beside
    root.value.pop("folder")
    root.keys.pop("folder", None)
    return beside / node.value if os.path.isdir(beside / node.value) else beside
