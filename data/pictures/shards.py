"""Several tar files as one data set: a folder of them, a pattern such as ``a-*.tar``, or ``a-{000..009}.tar``."""

from __future__ import annotations

import glob
import itertools
import os
import re
from pathlib import Path

from ...spec.errors import NettrainError, why

BRACES = re.compile(r"\{([^{}]*)\}")
RANGE = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")
MOST = 100_000  # files
SOME = 3  # names in a message


def shards_of(path: Path) -> list[Path]:
    """The tar files that a path stands for: those of a folder without folders, or of a pattern, by name, those of
    braces in their order; itself where it is nothing of these. Raises NettrainError."""
    try:
        if os.path.isdir(path):
            names = sorted(name for name in os.listdir(path) if not name.startswith("."))
            tars = [path / name for name in names if name.endswith(".tar")]
            return [] if tars and any(os.path.isdir(path / name) for name in names) else tars
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
    if os.path.exists(path):
        return [path]
    found = []
    for name in _expanded(str(path)):
        found += [Path(one) for one in sorted(glob.glob(name))] if glob.has_magic(name) else [Path(name)]
    return found


def are_there(path: Path) -> bool:
    """Whether a pattern or braces stand for at least one file that is there."""
    return path.name.endswith(".tar") and any(os.path.exists(one) for one in shards_of(path))


def _expanded(text: str) -> list[str]:
    """A text for each of the numbers or words that stand in its braces."""
    pieces = BRACES.split(text)  # plain, inside braces, plain, …
    choices, count = [], 1
    for i, piece in enumerate(pieces):
        choices.append(_choices(piece) if i % 2 else [piece])
        count *= len(choices[-1])
        if count > MOST:
            raise NettrainError(f"{text} stands for more than {MOST:,} files", key="source")
    return ["".join(parts) for parts in itertools.product(*choices)]


def _choices(inside: str) -> list[str]:
    numbers = RANGE.fullmatch(inside)
    if numbers is None:
        return inside.split(",") if "," in inside else [f"{{{inside}}}"]
    first, last = int(numbers[1]), int(numbers[2])
    return [f"{i:0{len(numbers[1])}}" for i in range(first, min(last, first + MOST) + 1)]


def check_shards(path: Path, shards: list[Path]) -> None:
    """Raise NettrainError where tar files are missing, or a folder has several kinds of them."""
    if missing := [one.name for one in shards if not os.path.exists(one)]:
        more = f" and {len(missing) - SOME:,} more" if len(missing) > SOME else ""
        raise NettrainError(f"{path}: there is no {', '.join(missing[:SOME])}{more}", key="source")
    kinds = sorted({re.sub("[0-9]+", "*", one.name) for one in shards})
    if len(kinds) > 1 and os.path.isdir(path):
        first, second = kinds[:2]
        raise NettrainError(
            f"{path} has tar files of several kinds, {', '.join(kinds[:SOME])}; say which are for what, such as "
            f"source: {{train: {path / first}, test: {path / second}}}",
            key="source",
        )
