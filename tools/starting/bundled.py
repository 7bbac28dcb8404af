"""`nettrain configs`: the specs that come with nettrain, and a copy of one."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any

from ...data.generators import GENERATORS
from ...files.reading import read_bytes
from ...files.writing import write_atomically
from ...net.net import Net
from ...net.netspec import load
from ...net.spec_file import MOST_BYTES, bundled
from ...spec.errors import NettrainError, SpecError, nearest, why
from ..table import table

_COUNT = re.compile(r"([\d,]+) (?:learned )?parameters")
_SENTENCE = re.compile(r"\.(?= [A-Z\d]|$)")


def listing() -> list[dict]:
    """What is bundled: ``name``, ``about`` (a line), ``parameters``, ``data`` and why some of it is ``missing``."""
    return [details(name) for name in bundled()]


def details(name: str) -> dict:
    """The same of one spec, with its whole ``introduction``. Raises NettrainError for a name that there is not."""
    path = find(name)
    introduction = _introduction(path)
    words = " ".join(introduction.split("\n\n")[0].split())
    count = _COUNT.search(" ".join(introduction.split()))
    data, missing = _data(path)
    return {
        "name": name,
        "about": _SENTENCE.split(words, maxsplit=1)[0],
        "parameters": int(count[1].replace(",", "")) if count else None,
        "data": data,
        "missing": missing,
        "introduction": introduction,
        "file": str(path),
    }


def find(name: str) -> Path:
    """The file of a bundled spec by its name, such as ``lenet`` or ``configs/lenet.yaml``. Raises NettrainError."""
    known, short = bundled(), name.removeprefix("configs/").removesuffix(".yaml")
    found = [short] if short in known else [other for other in known if other.rpartition("/")[2] == short]
    if len(found) == 1:
        return known[found[0]]
    near = nearest(short, [*known, *(other.rpartition("/")[2] for other in known)])
    hint = f"; did you mean `{near}`?" if near else "; `nettrain configs` lists them"
    raise NettrainError(f"no spec called `{name}` comes with nettrain{hint}")


def copy(name: str, force: bool = False) -> Path:
    """Copy a bundled spec into the current folder. Raises NettrainError, also for a file that is there, unless
    ``force``."""
    path = find(name)
    return put(Path(path.name), read_bytes(path, MOST_BYTES), force)


def put(target: Path, content: bytes, force: bool) -> Path:
    """Write a new file, over one that is there only with ``force``. Raises NettrainError."""
    if os.path.lexists(target) and not force:
        raise NettrainError(f"{target} is there already; to write over it: --force")
    if not os.path.isdir(target.parent):
        raise NettrainError(f"cannot write {target}: there is no folder {target.parent}")
    try:
        write_atomically(target, partial(_fill, content))
    except OSError as error:
        raise NettrainError(f"cannot write {target}: {why(error)}", exit_code=1) from None
    return target


def _introduction(path: Path) -> str:
    """The comment at the beginning of a spec, without its marks."""
    lines = []
    for line in read_bytes(path, MOST_BYTES).decode().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").removeprefix(" "))
    return "\n".join(lines)


def _data(path: Path) -> tuple[list[str], str]:
    """The sources that the data layers of a spec name, and why one of them cannot be read; nothing when all can."""
    spec = load(str(path))
    readers = [layer for layer in spec.layers if not layer.cls.num_bottoms and hasattr(layer.parameters, "source")]
    parameters: list[Any] = [layer.parameters for layer in readers]
    sources = [one.source for one in parameters]
    names = [[one] if isinstance(one, str) else [one.train, one.test] for one in sources]
    readers = [layer for layer, one in zip(readers, names, strict=True) if not {*one} <= {*GENERATORS}]
    missing = ""
    try:
        for phase in ("TRAIN", "TEST"):
            Net(replace(spec, layers=readers, folder=Path()), phase)
    except SpecError as error:
        missing = error.problems[0].message
    return list(dict.fromkeys(chain.from_iterable(names))), missing


def report(found: list[dict]) -> str:
    """A row for each."""
    rows = [
        [
            one["name"],
            "" if one["parameters"] is None else f"{one['parameters']:,}",
            (", ".join(one["data"]) or "none needed") + (" (not here)" if one["missing"] else ""),
            one["about"],
        ]
        for one in found
    ]
    return table(["name", "parameters", "data", "what it is"], rows, right=(1,)) + (
        "\n\nnettrain configs NAME says more of one, and with --copy copies it into this folder"
    )


def report_details(one: dict) -> str:
    """The introduction of one, and what is missing of its data."""
    lines = [one["introduction"]]
    if one["missing"]:
        lines.append(f"\nIts data is not here: {one['missing']}")
    return "\n".join(lines)


def _fill(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
