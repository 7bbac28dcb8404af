"""Pictures as a data set: their size and channels, which of them cannot be read, and what is said of that."""

from __future__ import annotations

import os
import weakref
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...files.extras import extra
from ...files.reading import open_file
from ...spec.errors import NettrainError, WrongKindError, format_shape
from ..dataset import FIRST, DataSet, digest, some_of, whole
from ..npy import holds_arrays
from .ahead import each
from .decoding import is_picture, picture
from .folder import Found, class_names, given_files, read_folder
from .heads import Head, read_head
from .kept import Kept
from .shards import shards_of
from .tar import read_tar

NAMED = 20  # files in a message about damaged ones
MANY = 20_000  # pictures: of more the heads alone are looked at when one of them is damaged
QUICK = 1 << 26  # bytes of pictures that are all read before every run, so that damage is found then


@dataclass(frozen=True)
class Look:
    """How a net takes pictures. Without a ``size`` (H, W) all must have the same; ``color`` None: three channels where
    any picture has colours. ``cache`` are the bytes of decoded pictures that are kept, None for a share of the
    memory. ``size_by`` is how people say the size."""

    size: tuple[int, int] | None = None
    color: bool | None = None
    damaged: Literal["refuse", "skip"] = "refuse"
    cache: int | None = None
    size_by: str = "`size`, such as size: 64 or size: [48, 64]"


PLAIN = Look()


class Pictures(Kept):
    """Decoded pictures, as a DataSet has its examples.

    Where they ``may_fail``, zeros stand for those that cannot be read, and ``unreadable`` says why, by number, once
    they have been asked for. Else one that cannot be read is an error that names all of them.
    """

    def __init__(
        self,
        found: Found,
        shape: tuple[int, ...],
        size: tuple[int, int] | None,
        cache: int | None,
        may_fail: bool = False,
    ):
        super().__init__(len(found.names), self.decode, shape, cache)
        self.found, self.size, self.may_fail = found, size, may_fail
        self.unreadable: dict[int, str] = {}
        self.damaged: Mapping[int, str] = {}  # which nobody may ask for

    def decode(self, i: int) -> np.ndarray:
        """Picture i. Raises NettrainError, also for one of another shape."""
        name = self.found.names[i]
        pixels = picture(self.found.source(i), name, self.shape[1] == 3, self.size)
        if pixels.shape != self.shape[1:]:
            raise NettrainError(f"{name} is {format_shape(pixels.shape)}, others are {format_shape(self.shape[1:])}")
        return pixels

    def _new(self, i: int) -> np.ndarray:
        try:
            return super()._new(i)
        except NettrainError as error:
            if not self.may_fail:
                raise damage(self.found, self.check(), len(self)) from None
            self.unreadable[i] = str(error)
            return np.zeros(self.shape[1:], self.dtype)

    def check(self) -> dict[int, str]:
        """Why, by number, pictures cannot be read. All are read; they are kept as far as there is room."""
        wrong = {}
        with self._mine():
            for i, example in each(self.decode, np.flatnonzero(self.place < 0).tolist()):
                try:
                    self.keep(i, self.decode(i) if example is None else example)
                except NettrainError as error:
                    wrong[i] = str(error)
        return wrong

    @property
    def is_quick(self) -> bool:
        """Whether reading all of them before a run costs little, because they are kept."""
        return self.keeps_all and int(np.prod(self.shape)) <= QUICK

    @property
    def digest(self) -> str:
        """Of all names, and of how some begin, evenly spread: all may be too many to be read."""
        names = "\n".join(self.found.names).encode(errors="surrogateescape")
        return digest([names, *(_beginning(self.found.source(i)) for i in some_of(len(self)))])


def _beginning(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:FIRST]
    try:
        with open_file(source) as file:
            return file.read(FIRST)
    except OSError:  # reading the picture will say so
        return b""


def read_pictures(path: Path, split: str, look: Look, classes: Sequence[str] = ()) -> DataSet:
    """The pictures of a folder, or of tar files, to train on (``train``) or to test on (``test``).

    ``classes`` are those that labels count, where another folder has the pictures to train on. Raises NettrainError.
    """
    extra("PIL.Image", "images", f"reading pictures in {path}")
    return set_of(find_pictures(path, split, classes), look)


def find_pictures(path: Path, split: str, classes: Sequence[str] = ()) -> Found:
    """As ``read_pictures``, but nothing of the pictures is read yet."""
    of_folders = os.path.isdir(path) and not shards_of(path)
    return read_folder(path, split, classes) if of_folders else read_tar(path, classes)


def set_of(found: Found, look: Look) -> DataSet:
    """Pictures that were found, as a data set. Raises NettrainError."""
    key = (str(found.place.resolve()), _stamp(found), look)
    pictures = _open.get(key)
    if pictures is None:
        pictures = _open[key] = _pictures(found, look)
    remarks = [*found.remarks, *_left_out(pictures.damaged)]
    whole = DataSet(
        pictures, found.labels, found.origin, found.split, {}, found.classes, found.names, None, "; ".join(remarks)
    )
    if not pictures.damaged:
        return whole
    return whole.part(np.array([i for i in range(len(whole)) if i not in pictures.damaged]), found.split)


def given_pictures(given: Any, find: Any, example: tuple[int, ...], in_bgr: bool) -> DataSet | None:
    """Pictures that a trained net is given: a folder of them, a file, or a list of files; None for what is none of
    these. They get the size and channels of an ``example`` of the net's. One that cannot be read is ``unreadable`` once
    it has been asked for. ``find`` gives the place of a file. Raises NettrainError."""
    if isinstance(given, str | os.PathLike):
        if is_picture(os.fspath(given)):
            found = given_files([find(os.fspath(given))])
        else:
            path = find(os.fspath(given))
            if not os.path.isdir(path) or os.path.exists(path / "data.mdb") or holds_arrays(path, "test"):
                return None
            found = given_files([], path)
    elif isinstance(given, list | tuple) and given and all(isinstance(one, str | os.PathLike) for one in given):
        found = given_files(given)
    else:
        return None
    if not found.names:
        raise NettrainError(f"{found.origin} holds no pictures", key="source")
    if len(example) != 3 or example[0] not in (1, 3) or (example[0] == 3 and not in_bgr):
        raise WrongKindError(
            f"{found.names[0]}: this net was not trained on pictures but on examples of {format_shape(example)}; give "
            "an array of those (.npz, .npy)"
        )
    extra("PIL.Image", "images", f"reading {found.origin}")
    pictures = Pictures(found, example, (example[1], example[2]), cache=0, may_fail=True)
    return DataSet(pictures, None, found.origin, names=found.names)


def classes_of_folder(source: str, folder: Path) -> tuple[str, ...]:
    """The classes that a folder of pictures, or tar files, have to train on; none of what is nothing of these."""
    for place in (folder / source, Path(source)):
        if source.endswith(".tar") and any(map(os.path.exists, shards_of(place))):
            return read_tar(place).classes
        if os.path.isdir(place) and not os.path.exists(place / "data.mdb"):
            return read_tar(place).classes if shards_of(place) else class_names(place)
    return ()


def _pictures_of(data: Any) -> Pictures | None:
    data = whole(data)
    return data if isinstance(data, Pictures) else None


def is_of_pictures(data: Any) -> bool:
    """Whether a set's examples are pictures, or some of them."""
    return _pictures_of(data) is not None


def is_quick_to_read(data: Any) -> bool:
    """Whether all of a set's examples are in memory, or are few pictures that will be."""
    pictures = _pictures_of(data)
    return isinstance(data, np.ndarray) if pictures is None else pictures.is_quick


_open: weakref.WeakValueDictionary[Any, Pictures] = weakref.WeakValueDictionary()  # nets share what they read


def _stamp(found: Found) -> str:
    """Another one when a file is another one."""
    stamps = []
    for path in found.files or (os.path.join(found.place, name) for name in found.names):
        try:
            stamp = os.stat(path)
            stamps.append((stamp.st_mtime_ns, stamp.st_size))
        except OSError:  # a link to nothing: reading it will say so
            stamps.append((0, 0))
    return digest(["\n".join(found.names).encode(errors="surrogateescape"), np.array(stamps)])


def heads_of(found: Found, numbers: Sequence[int]) -> list[Head]:
    """The heads of the pictures with these numbers. Raises NettrainError where pillow is missing."""
    extra("PIL.Image", "images", f"reading {found.names[0]}")  # said here, and not in a thread that reads ahead
    return [head for _, head in each(lambda i: read_head(found.source(i), found.names[i]), numbers)]


def _pictures(found: Found, look: Look) -> Pictures:
    """Pictures in the size and channels that are wanted, or in those that all have."""
    size, color = look.size, look.color
    if size is None or color is None:
        heads = heads_of(found, range(len(found.names)))
        whole = [head for head in heads if not head.wrong]
        if color is None:
            color = any(head.color for head in whole)
        if look.damaged == "refuse" and len(whole) < len(heads):
            wrong = {i: head.wrong for i, head in enumerate(heads) if head.wrong}
            raise damage(found, wrong | _others(found, wrong, color), len(heads))
        if not whole:
            raise damage(found, {i: head.wrong for i, head in enumerate(heads)}, len(heads))
        if size is None:
            _check_sizes(found, whole, look)
    shape = (3 if color else 1, *(size or whole[0][:2]))
    pictures = Pictures(found, shape, size, look.cache)
    if look.damaged == "skip":
        pictures.damaged = pictures.check()
        if len(pictures.damaged) == len(pictures):
            raise damage(found, pictures.damaged, len(pictures))
    return pictures


def _others(found: Found, wrong: Container[int], color: bool) -> dict[int, str]:
    """Why pictures whose heads are right cannot be read all the same."""
    if len(found.names) > MANY:
        return {}

    def try_to_read(i: int) -> str:
        try:
            picture(found.source(i), found.names[i], color, None)
        except NettrainError as error:
            return str(error)
        return ""

    numbers = [i for i in range(len(found.names)) if i not in wrong]
    return {i: why for i, why in each(try_to_read, numbers) if why}


def _check_sizes(found: Found, heads: Sequence[Head], look: Look) -> None:
    """Raise NettrainError unless all pictures have one size."""
    sizes = Counter(head[:2] for head in heads)
    if len(sizes) == 1:
        return
    (common, count), *_ = sizes.most_common(1)
    low, high = min(sizes, key=lambda size: size[0] * size[1]), max(sizes, key=lambda size: size[0] * size[1])
    raise NettrainError(
        f"{found.origin}: the pictures have {len(sizes):,} sizes, height x width from {format_shape(low)} to "
        f"{format_shape(high)}, most often {format_shape(common)} ({count:,} of {len(heads):,}); give "
        f"{look.size_by}, to bring all to one",
        key=("size", "source"),
    )


def damage(found: Found, wrong: Mapping[int, str], count: int) -> NettrainError:
    """An error that names pictures that cannot be read."""
    numbers = sorted(wrong)
    lines = "".join(f"\n  {wrong[i]}" for i in numbers[:NAMED])
    more = f"\n  and {len(numbers) - NAMED:,} more" if len(numbers) > NAMED else ""
    return NettrainError(
        f"{found.origin}: {len(numbers):,} of {count:,} pictures cannot be read; repair or remove them, or leave "
        f"them out with `damaged: skip`:{lines}{more}",
        key="source",
    )


def _left_out(damaged: Mapping[int, str]) -> list[str]:
    if not damaged:
        return []
    numbers = sorted(damaged)
    more = f" and {len(numbers) - NAMED:,} more" if len(numbers) > NAMED else ""
    return [f"{len(numbers):,} damaged left out: {'; '.join(damaged[i] for i in numbers[:NAMED])}{more}"]
