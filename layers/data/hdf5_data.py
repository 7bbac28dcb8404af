"""HDF5Data: batches from HDF5 files."""

from __future__ import annotations

import contextlib
import math
import os
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...data.dataset import digest, some_of
from ...data.given import file_in
from ...data.kinds import not_text, other_kind
from ...data.sources import find_file
from ...files.arrays import MOST_UNPACKED
from ...files.extras import extra
from ...files.reading import check_file, lines
from ...net.blob import Known
from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, format_shape, why
from .batches import Batches
from .given import TakesRows, rows_of
from .phases import BatchSize, ListSource

MOST_KNOWN = 1 << 24  # values of a dataset that are looked through before any work, when a layer asks what they are
MOST_OPEN = 64  # files
LARGEST_CHUNK = 1 << 26  # bytes, and four times the file's: a chunk is unpacked whole


def _two_files(folder: Path) -> None:
    library = extra("h5py", "hdf5", "HDF5Data")
    for k in range(2):
        with library.File(folder / f"{k}.h5", "w") as file:
            file["top0"], file["top1"] = np.arange(6.0).reshape(3, 2) + k, np.arange(3)
    (folder / "files.txt").write_text("0.h5\n1.h5\n", encoding="utf-8")


@register
class HDF5Data(TakesRows, Batches):
    """Batches of rows from HDF5 files; each top is the dataset of its name.

    top[i]: N x (shape of a row), any shape and any type of numbers.
    ``source`` is a text file that lists .h5 files, separated by blanks or line breaks; their rows follow each other.
    In TRAIN with ``shuffle`` all rows of all files change order each epoch. Rows are read when they are needed.
    Needs h5py: pip install "nettrain[hdf5]".
    Errors: a list or file that is missing or damaged; a file without a top's dataset; datasets with different numbers
    of rows; rows of a different shape from the first file's.
    Source: Caffe's HDF5Data, which holds a file in memory and shuffles files and the rows of each, without a seed.
    """

    class Parameters(Declared):
        source: ListSource = param(doc="a text file that lists .h5 files, or {train: …, test: …}")
        batch_size: BatchSize = param(doc="rows in a batch, or {train: …, test: …}")
        shuffle: bool = param(default=False, doc="TRAIN: a new order each epoch")

        aliases = {
            "hdf5_data_param": "write its fields beside type",
            "transform": "HDF5Data has none, as in Caffe: store the rows as the net should see them",
            "transform_param": "HDF5Data has none, as in Caffe: store the rows as the net should see them",
        }

    num_tops = (1, None)
    how_to_split = "give source: {train: LIST, test: ANOTHER}, lists of other files"
    examples = (
        Example(params={"source": "files.txt", "batch_size": 2}, tops=2, files=_two_files),
        Example(params={"source": "files.txt", "batch_size": 4, "shuffle": True}, files=_two_files),
    )

    def setup(self, bottom, top):
        self.paths: list[Path] = []
        self.opened: OrderedDict[int, Any] = OrderedDict()
        if self.serves and "rows" in self.fitted:
            rows = [tuple(row) for row in self.fitted["rows"]]
            self.begin(1, self.p.batch_size.of(self.phase), False, rows, "what is given")
            return
        self.library = extra("h5py", "hdf5", "HDF5Data")
        listing = find_file(self.p.source.of(self.phase), self.folder)
        try:
            named = [(number, name) for number, line in lines(listing) for name in line.split()]
        except (OSError, UnicodeDecodeError) as error:
            raise NettrainError(
                f"{listing} is not a list of .h5 files{not_text(listing, error)}", key="source"
            ) from None
        if not named:
            raise NettrainError(f"{listing} lists no files", key="source")
        with contextlib.ExitStack() as stack:
            stack.callback(self.close)
            shapes, counts = [], []
            for number, name in named:
                self.paths.append(self.place(listing, number, name))
                shapes.append([data.shape for data in self.datasets(len(self.paths) - 1)])
                counts.append(self.count(self.paths[-1], shapes[-1], shapes[0]))
            self.ends = np.cumsum(counts)
            rows = [shape[1:] for shape in shapes[0]]
            self.fitted = {"rows": [list(map(int, row)) for row in rows]}
            self.begin(int(self.ends[-1]), self.p.batch_size.of(self.phase), self.p.shuffle, rows, str(listing))
            self.reads = {str(path.resolve()): str(path) for path in self.paths}
            for t, blob in enumerate(top):
                if sum(math.prod(of_file[t]) for of_file in shapes) <= MOST_KNOWN:
                    blob.known = Known(partial(self.everything, t), str(listing))
            stack.pop_all()  # the files stay open

    def row_shape(self, name):
        return self.shapes[self.top_names.index(name)]

    def read_given(self, given):
        """As from a program, or an .h5 file with the datasets of the tops that are read."""
        file = file_in(given)
        if file is not None and file.endswith((".h5", ".hdf5")):
            self.library = extra("h5py", "hdf5", "HDF5Data")
            path = find_file(file, self.folder)
            datasets = self.open(path, self.wanted)
            with datasets[0].file:
                self.take({name: data[...] for name, data in zip(self.wanted, datasets, strict=True)})
        else:
            self.take(rows_of(given, self.wanted, self.folder))

    def Forward_cpu(self, bottom, top):
        if self.rows is None:
            super().Forward_cpu(bottom, top)
            return
        self.next_rows(top)
        for blob in top:
            blob.reshape((self.batch_count, *blob.shape[1:]))

    def place(self, listing, number, name):
        """Where a file of the list lies: beside it, or where other files do."""
        beside = listing.parent / name
        if os.path.isdir(beside):
            what = other_kind(beside, "HDF5")
            raise NettrainError(f"{listing}:{number}: {beside} is not an HDF5 file{what}", key="source")
        try:
            return beside if os.path.exists(beside) else find_file(name, self.folder)
        except NettrainError as error:
            raise NettrainError(f"{listing}:{number}: {error}{other_kind(listing, 'HDF5')}", key="source") from None

    def count(self, path, shapes, firsts):
        """How many rows every dataset of a file has; their shapes must be those of the first file."""
        for top, shape, first in zip(self.top_names, shapes, firsts, strict=True):
            if shape[1:] != first[1:]:
                raise NettrainError(
                    f"{path}: rows of `{top}` are {format_shape(shape[1:])}, in {self.paths[0]} "
                    f"{format_shape(first[1:])}",
                    key="source",
                )
        if len({shape[0] for shape in shapes}) > 1:
            counts = ", ".join(f"{top} {shape[0]:,}" for top, shape in zip(self.top_names, shapes, strict=True))
            raise NettrainError(f"{path}: every dataset needs the same number of rows, got {counts}", key="source")
        return shapes[0][0]

    def datasets(self, f):
        """The datasets of the tops in a file. Of many files the most recently used stay open."""
        if f not in self.opened:
            self.opened[f] = self.open(self.paths[f])
            if len(self.opened) > MOST_OPEN:
                self.opened.popitem(last=False)[1][0].file.close()
        self.opened.move_to_end(f)
        return self.opened[f]

    def close(self):
        """Close the files: an open file cannot be replaced."""
        while self.opened:
            self.opened.popitem()[1][0].file.close()

    def open(self, path, names=None):
        """The datasets of the tops in an HDF5 file, or of those named, after looking at them."""
        with contextlib.ExitStack() as stack:
            try:
                check_file(path)
                file = stack.enter_context(self.library.File(path, "r"))
                found = [self.find(path, file, name) for name in names or self.top_names]
            except NettrainError:
                raise
            except Exception as error:  # h5py raises whatever its library's error looks like
                what = other_kind(path, "HDF5") or f", or damaged: {why(error)}"
                raise NettrainError(f"{path} is not an HDF5 file{what}", key="source") from None
            stack.pop_all()  # it stays open
            return found

    def find(self, path, file, name):
        """A dataset of numbers that lies entirely in this file."""
        data = self.follow(path, file, name, name)
        if data is None or not hasattr(data, "dtype"):
            has = ", ".join(file) or "nothing"
            raise NettrainError(f"{path} has no dataset `{name}` for that top; it has {has}", key="top")
        if data.dtype.kind not in "fiub" or not data.shape:
            raise NettrainError(f"{path}: `{name}` must hold rows of numbers, it holds {data.dtype}", key="source")
        if data.is_virtual or data.external:
            raise NettrainError(f"{path}: `{name}` lies in other files, which are not read", key="source")
        size, stored = path.stat().st_size, data.id.get_storage_size()
        chunk = math.prod(data.chunks or ()) * data.dtype.itemsize
        is_packed = data.id.get_create_plist().get_nfilters() > 0
        if (
            stored > size
            or max(data.nbytes, len(data)) > stored * (MOST_UNPACKED if is_packed else 1)
            or (data.chunks and chunk > LARGEST_CHUNK + 4 * size)
        ):
            raise NettrainError(
                f"{path}: `{name}` is damaged: {format_shape(data.shape)} values of {data.dtype} are more than the "
                f"{stored:,} bytes stored for them can hold",
                key="source",
            )
        return data

    def follow(self, path, group, name, top, links=16):
        """What a name stands for in a file, or None. Raises NettrainError for what lies in another file."""
        for part in filter(None, name.split("/")):
            link = group.get(part, getlink=True) if hasattr(group, "get") else None
            if isinstance(link, self.library.ExternalLink):
                raise NettrainError(f"{path}: `{top}` is a link to another file, which is not read", key="source")
            if isinstance(link, self.library.SoftLink):
                start = group.file if link.path.startswith("/") else group
                group = self.follow(path, start, link.path, top, links - 1) if links else None
            else:
                group = None if link is None else group[part]
        return group

    def everything(self, t):
        """All values of top t in all files, flat. Raises NettrainError."""
        return np.concatenate([self.read(f, t, ...).reshape(-1) for f in range(len(self.paths))])

    def read(self, f, t, wanted):
        """Rows of top t in a file. Raises NettrainError."""
        try:
            return self.datasets(f)[t][wanted]
        except NettrainError:
            raise
        except Exception as error:  # as above: what a damaged file can cause
            raise NettrainError(f"{self.paths[f]} cannot be read: {why(error)}", key="source") from None

    def fingerprint(self):
        """The rows and sizes of the files, and some rows, evenly spread: all may be too many to be read."""
        sizes = [os.path.getsize(path) for path in self.paths]
        return {"rows": int(self.ends[-1]), "files": len(sizes), "bytes": sum(sizes), "contents": digest(self.some())}

    def some(self):
        """Rows of all tops, evenly spread over the files."""
        for row in some_of(int(self.ends[-1])):
            f = int(np.searchsorted(self.ends, row, side="right"))
            for t in range(len(self.top_names)):
                yield np.ascontiguousarray(self.read(f, t, row - (self.ends[f - 1] if f else 0)))

    def fill(self, indices, top, rng):
        number = np.searchsorted(self.ends, indices, side="right")  # which file has the row
        for f in np.unique(number):
            where = np.flatnonzero(number == f)
            rows = indices[where] - (self.ends[f - 1] if f else 0)
            distinct, back = np.unique(rows, return_inverse=True)  # HDF5 takes rows once, in ascending order
            wanted = slice(distinct[0], distinct[-1] + 1) if np.ptp(distinct) + 1 == len(distinct) else distinct
            for t, blob in enumerate(top):
                with np.errstate(
                    over="ignore", invalid="ignore"
                ):  # an infinity then, which is found where it does harm
                    blob.data[where] = self.read(int(f), t, wanted)[back]
