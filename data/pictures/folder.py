"""Folders of pictures: a folder for each class, perhaps with train, val and test above them."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...spec.errors import NettrainError, why
from ..dataset import WHOLE
from .decoding import is_picture

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
SPLITS |= {"test": "test", "testing": "test"}
FOR_TESTS = ("val", "test")  # the first of these that is there is what TEST reads
OF_SYSTEMS = ("thumbs.db", "desktop.ini", "__macosx")
SOME = 5  # names in a message


@dataclass
class Found:
    """Pictures: how each is called, its label (None without), where it is read from; what else there is to say."""

    origin: str
    names: Sequence[str]
    labels: np.ndarray | None
    source: Callable[[int], Path | bytes]
    place: Path  # the folder or file that they lie in
    classes: tuple[str, ...] = ()
    split: str = WHOLE
    remarks: list[str] = field(default_factory=list)
    files: Sequence[Path] = ()  # where these are not a file for each picture, by its name


class _Ignored:
    """What lies in a folder and is no picture of a class."""

    def __init__(self) -> None:
        self.hidden, self.outside = 0, 0
        self.others: Counter[str] = Counter()  # by the ending of the name

    def takes(self, name: str) -> bool:
        """Whether a file is ignored, which is then counted."""
        if is_hidden(name):
            self.hidden += 1
        elif not is_picture(name):
            self.others[os.path.splitext(name)[1].lower() or "no ending"] += 1
        else:
            return False
        return True

    def remarks(self) -> list[str]:
        found = []
        if count := self.others.total():
            kinds = ", ".join(f"{n:,} {kind}" for kind, n in self.others.most_common(SOME))
            what = "file that is no picture" if count == 1 else "files that are no pictures"
            what = "file that is no picture" if count == 1 else "files that are no pictures"
            found.append(f"{count:,} {what} ignored ({kinds})")
        if self.hidden:
            found.append(f"{self.hidden:,} hidden {'file' if self.hidden == 1 else 'files'} ignored")
        if self.outside:
            found.append(f"{self.outside:,} picture{'s' * (self.outside > 1)} outside the folders of classes ignored")
        return found


def is_hidden(name: str) -> bool:
    """Whether a name is one that people do not see, or a system's own."""
    return name.startswith(".") or name.lower() in OF_SYSTEMS


def pictures_in(top: Path, ignored: _Ignored | None = None) -> list[str]:
    """All pictures below a folder, as paths relative to it, sorted. Links are followed, circles of them are not."""
    ignored = ignored or _Ignored()
    found, seen = [], {os.path.realpath(top)}
    for folder, folders, files in os.walk(top, followlinks=True, onerror=_cannot_be_read):
        kept = []
        for name in folders:
            real = os.path.realpath(os.path.join(folder, name))
            if not is_hidden(name) and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = kept
        below = os.path.relpath(folder, top)
        found += [name if below == "." else f"{below}/{name}" for name in files if not ignored.takes(name)]
    return sorted(found)


def _cannot_be_read(error: OSError) -> None:
    raise NettrainError(f"{error.filename} cannot be read: {why(error)}", key="source")


def _inside(folder: Path) -> tuple[list[str], list[str]]:
    """(folders, files) of a folder, sorted, hidden folders left out."""
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise NettrainError(f"{folder} cannot be read: {why(error)}", key="source") from None
    folders = [name for name in names if not is_hidden(name) and os.path.isdir(folder / name)]
    return folders, [name for name in names if not os.path.isdir(folder / name)]


def parts_of(folder: Path) -> dict[str, str]:
    """The folders ``train``, ``val`` and ``test`` of a folder, by these words; nothing of one whose folders are
    classes, of which one may be called train. Parts to test on without folders of classes are left out."""
    folders, _ = _inside(folder)
    parts = {SPLITS[name.lower()]: name for name in folders if name.lower() in SPLITS}
    has_classes = {part for part, name in parts.items() if _inside(folder / name)[0]}
    nothing_else = len(parts) == len(folders)
    if "train" not in parts or not (nothing_else or (len(parts) > 1 and "train" in has_classes)):
        return {}
    return {part: name for part, name in parts.items() if part == "train" or part in has_classes}


def class_names(folder: Path) -> tuple[str, ...]:
    """The names of the classes to train on: of the folders with pictures, sorted."""
    parts = parts_of(folder)
    found = _by_class(folder / parts["train"] if parts else folder, _Ignored())
    return tuple(name for name, pictures in found.items() if pictures)


def _by_class(folder: Path, ignored: _Ignored) -> dict[str, list[str]]:
    return {name: pictures_in(folder / name, ignored) for name in _inside(folder)[0]}


def read_folder(folder: Path, split: str, classes: Sequence[str] = ()) -> Found:
    """The pictures to train on (``train``) or to test on (``test``), of a folder with one for each class.

    With folders ``train``, ``val`` and ``test`` above those of classes, tests read val, or test where there is no val.
    Labels count ``classes``, or the names of the folders with pictures to train on, sorted. Raises NettrainError.
    """
    parts = parts_of(folder)
    wanted = "train" if split == "train" else next((part for part in FOR_TESTS if part in parts), "train")
    below = parts.get(wanted, "")
    place = folder / below
    ignored, remarks = _Ignored(), []
    found = _by_class(place, ignored)
    _, files = _inside(place)
    ignored.outside = sum(not ignored.takes(name) for name in files)
    if not any(found.values()):
        raise NettrainError(_without_classes(place, ignored), key="source")
    if not classes:
        classes = [name for name, pictures in found.items() if pictures] if wanted == "train" else class_names(folder)
    if others := [name for name, pictures in found.items() if pictures and name not in classes]:
        raise NettrainError(
            f"{place} has pictures of {_some(others)}, which {'is no class' if len(others) == 1 else 'are no classes'} "
            f"that is trained on; those are {_some(classes)}",
            key="source",
        )
    if empty := [name for name, pictures in found.items() if not pictures]:
        remarks.append(f"no pictures in {_some([f'{name}/' for name in empty])}, so that this is no class")
    if missing := [name for name in classes if not found.get(name)]:
        remarks.append(f"no pictures of {_some(missing)} in {place}")
    if "test" in parts and "val" in parts:
        remarks.append(f"tests read {parts['val']}/; {parts['test']}/ is kept aside")
    extra = [name for name in _inside(folder)[0] if parts and name not in parts.values()]
    if extra:
        remarks.append(f"beside {', '.join(parts.values())}: {_some(extra)} not read")
    start = f"{below}/" if below else ""
    names = [f"{start}{one}/{name}" for one in classes for name in found.get(one, ())]
    labels = np.repeat(np.arange(len(classes)), [len(found.get(one, ())) for one in classes])
    part = WHOLE if len(parts) < 2 else "train" if wanted == "train" else "test"
    return Found(
        folder.name or str(folder),
        names,
        labels,
        lambda i: folder / names[i],
        folder,
        tuple(classes),
        part,
        [*ignored.remarks(), *remarks],
    )


def _without_classes(place: Path, ignored: _Ignored) -> str:
    if ignored.outside:
        return (
            f"{place} holds {ignored.outside:,} picture{'s' * (ignored.outside > 1)} but no folder for each class: put "
            f"them into folders named after the classes, such as {place}/cat and {place}/dog; or give ImageData a list "
            "with `FILE LABEL` on each line. To classify them use nettrain predict"
        )
    has = "".join(f"; {remark}" for remark in ignored.remarks())
    return f"{place} is a folder, not a data file: it has neither a folder of pictures for each class nor an LMDB{has}"


def _some(names: Iterable[str]) -> str:
    names = [f"`{name}`" for name in names]
    more = f" and {len(names) - SOME:,} more" if len(names) > SOME else ""
    return ", ".join(names[:SOME]) + more


def given_files(names: Sequence[str | Path], folder: Path | None = None) -> Found:
    """Pictures without labels: those below a folder, or these files."""
    if folder is not None:
        inside = pictures_in(folder)
        return Found(str(folder), inside, None, lambda i: folder / inside[i], folder)
    paths = [Path(name) for name in names]
    origin = str(paths[0]) if len(paths) == 1 else f"{len(paths):,} pictures"
    return Found(origin, [str(name) for name in names], None, lambda i: paths[i], Path())
