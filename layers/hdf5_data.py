"""HDF5Data: batches from HDF5 files."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..data.sources import find_file
from ..net.blob import Known
from ..net.declare import Declared, param
from ..net.errors import NettrainError, format_shape
from ..net.extras import extra
from ..net.registry import register
from .batches import Batches
from .layer import Example

MOST_KNOWN = 1 << 24  # values of a dataset that are looked through before any work, when a layer asks what they are


def _two_files(folder: Path) -> None:
    library = extra("h5py", "hdf5", "HDF5Data")
    for k in range(2):
        with library.File(folder / f"{k}.h5", "w") as file:
            file["top0"], file["top1"] = np.arange(6.0).reshape(3, 2) + k, np.arange(3)
    (folder / "files.txt").write_text("0.h5\n1.h5\n", encoding="utf-8")


@register
class HDF5Data(Batches):
    """Batches of rows from HDF5 files; each top is the dataset of its name.

    top[i]: N x (shape of a row), any shape and any type of numbers.
    ``source`` is a text file that lists .h5 files, with blanks or line breaks between; their rows follow each other.
    In TRAIN with ``shuffle`` all rows of all files change order each epoch. Rows are read when they are needed.
    Needs h5py: pip install "nettrain[hdf5]".
    Errors: a list or file that is missing or damaged; a file without a top's dataset; datasets with different numbers
    of rows; rows of another shape than in the first file.
    Source: Caffe's HDF5Data, which holds a file in memory and shuffles files and the rows of each, without a seed.
    """

    class Parameters(Declared):
        source: str = param(doc="a text file that lists .h5 files")
        batch_size: int = param(minimum=1, doc="rows in a batch")
        shuffle: bool = param(default=False, doc="TRAIN: a new order each epoch")

        aliases = {
            "hdf5_data_param": "write its fields beside type",
            "transform": "HDF5Data has none, as in Caffe: store the rows as the net should see them",
            "transform_param": "HDF5Data has none, as in Caffe: store the rows as the net should see them",
        }

    num_tops = (1, None)
    how_to_split = "give two layers, with include: train and include: test, a list of other files each"
    examples = (
        Example(params={"source": "files.txt", "batch_size": 2}, tops=2, files=_two_files),
        Example(params={"source": "files.txt", "batch_size": 4, "shuffle": True}, files=_two_files),
    )

    def setup(self, bottom, top):
        self.library = extra("h5py", "hdf5", "HDF5Data")
        listing = find_file(self.p.source, self.folder)
        try:
            names = listing.read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise NettrainError(f"{listing} is no list of .h5 files: {error}", key="source") from None
        if not names:
            raise NettrainError(f"{listing} lists no files", key="source")
        self.files: list[Any] = []
        for name in names:
            beside = listing.parent / name
            self.files.append(self.open(beside if beside.exists() else find_file(name, self.folder)))
        self.reads = {str(Path(file.filename).resolve()): file.filename for file in self.files}
        shapes = [self.files[0][name].shape[1:] for name in self.top_names]
        for file in self.files[1:]:
            for name, shape in zip(self.top_names, shapes, strict=True):
                if file[name].shape[1:] != shape:
                    raise NettrainError(
                        f"{file.filename}: rows of `{name}` are {format_shape(file[name].shape[1:])}, in "
                        f"{self.files[0].filename} {format_shape(shape)}",
                        key="source",
                    )
        for blob, name in zip(top, self.top_names, strict=True):
            if sum(file[name].size for file in self.files) <= MOST_KNOWN:
                blob.known = Known(partial(self.everything, name), str(listing))
        self.ends = np.cumsum([len(file[self.top_names[0]]) for file in self.files])
        self.begin(int(self.ends[-1]), self.p.batch_size, self.p.shuffle, shapes, str(listing))

    def open(self, path):
        """An HDF5 file, after looking at its datasets."""
        try:
            file = self.library.File(path, "r")
        except OSError as error:
            raise NettrainError(f"{path} is no HDF5 file, or damaged: {error}", key="source") from None
        for name in self.top_names:
            data = file.get(name)
            if data is None or not hasattr(data, "dtype"):
                has = ", ".join(file) or "nothing"
                raise NettrainError(f"{path} has no dataset `{name}` for that top; it has {has}", key="top")
            if data.dtype.kind not in "fiub" or not data.shape:
                raise NettrainError(f"{path}: `{name}` must hold rows of numbers, it holds {data.dtype}", key="source")
        rows = {name: len(file[name]) for name in self.top_names}
        if len(set(rows.values())) > 1:
            counts = ", ".join(f"{name} {count:,}" for name, count in rows.items())
            raise NettrainError(f"{path}: every dataset needs as many rows, got {counts}", key="source")
        return file

    def everything(self, name):
        """All values of a dataset of all files, flat. Raises NettrainError."""
        return np.concatenate([self.rows(file, name, ...).reshape(-1) for file in self.files])

    def rows(self, file, name, wanted):
        try:
            return file[name][wanted]
        except OSError as error:
            raise NettrainError(f"{file.filename} cannot be read: {error}", exit_code=1) from None

    def fingerprint(self):
        """The rows and sizes of the files; they may be too large to be read for this."""
        sizes = [os.path.getsize(file.filename) for file in self.files]
        return {"rows": int(self.ends[-1]), "files": len(sizes), "bytes": sum(sizes)}

    def fill(self, indices, top, rng):
        number = np.searchsorted(self.ends, indices, side="right")  # which file has the row
        for f in np.unique(number):
            where = np.flatnonzero(number == f)
            rows = indices[where] - (self.ends[f - 1] if f else 0)
            distinct, back = np.unique(rows, return_inverse=True)  # HDF5 takes rows once, in rising order
            wanted = slice(distinct[0], distinct[-1] + 1) if np.ptp(distinct) + 1 == len(distinct) else distinct
            for blob, name in zip(top, self.top_names, strict=True):
                blob.data[where] = self.rows(self.files[f], name, wanted)[back]
