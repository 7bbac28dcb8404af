"""Lists of images, ``FILE LABEL`` on each line."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from ..files.reading import lines
from ..spec.errors import NettrainError
from .faults import refuse
from .kinds import not_text, other_kind


def read_list(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(files, labels, numbers of their lines) of a list with ``file label`` on each line, split at the last space or
    tab.

    Empty lines are skipped.
    """
    files, labels, numbers, wrong = [], [], [], []
    try:
        for number, line in lines(path):
            if not line.strip():
                continue
            text = line.strip()
            at = max(text.rfind(" "), text.rfind("\t"))
            file, label = text[: max(at, 0)], text[at + 1 :]
            if not file or not re.fullmatch("[+-]?[0-9]{1,10}", label) or not -(2**31) <= int(label) < 2**31:
                shown = line.strip() if len(line.strip()) <= 200 else line.strip()[:197] + "..."
                wrong.append(f"{path}:{number}: `FILE LABEL` is expected, got `{shown}`; LABEL is an integer")
                if len(wrong) == 1 and (kind := other_kind(path, "images")):  # all of it is something else
                    raise NettrainError(f"{wrong[0]}{kind}", key="source")
                continue
            files.append(file.strip())
            labels.append(int(label))
            numbers.append(number)
    except (OSError, UnicodeDecodeError) as error:
        raise NettrainError(f"{path} is not a list of files{not_text(path, error)}", key="source") from None
    refuse(wrong)
    if not files:
        raise NettrainError(f"{path} lists no images", key="source")
    return files, np.array(labels), np.array(numbers)


def refuse_missing(paths: Iterable[Path], where: Callable[[int], str], root: str) -> None:
    """Raise NettrainError with all images of a list that are not there; ``where`` says which is number i, ``root`` is
    what was put before the names."""
    there = [(path, os.path.exists(path)) for path in paths]
    missing = [i for i, (_, is_there) in enumerate(there) if not is_there]
    before = f"root_folder is `{root}`, which is put before each name; " if root else ""
    refuse(
        (f"{where(i)}: there is no file {there[i][0]}" for i in missing),
        key=("root_folder", "source"),
        hint=f"{len(missing):,} of {len(there):,} images are not there; {before}names are looked for beside the list, "
        "beside the spec and in the current folder",
    )
