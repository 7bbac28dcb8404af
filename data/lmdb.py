"""LMDB folders of Caffe's Datum records."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..files.wire import BYTES, FOUR_BYTES, NUMBER, fields
from ..spec.errors import NettrainError, format_shape, why
from .btree import Database
from .dataset import UNDIVIDED, DataSet, Rows, digest, some_of
from .images import decode

# The fields of a Datum
CHANNELS, HEIGHT, WIDTH, DATA, LABEL, FLOATS, ENCODED = range(1, 8)


def read_datum(record: bytes, where: str, color: bool | None = None) -> tuple[np.ndarray, int]:
    """(C x H x W values, label) of a serialized Datum; an encoded image in ``color`` or grey, None: as it is stored.

    Raises NettrainError for anything else.
    """
    found: dict[int, Any] = {CHANNELS: 0, HEIGHT: 0, WIDTH: 0, LABEL: 0, DATA: b"", ENCODED: 0}
    floats = b""
    try:
        for field, kind, value in fields(record):
            if field == FLOATS and kind in (BYTES, FOUR_BYTES) and len(value) % 4 == 0:
                floats += value
            elif field in found and kind == (BYTES if field == DATA else NUMBER):
                found[field] = value
            elif field in found or field == FLOATS:
                raise ValueError(kind)
    except (IndexError, ValueError):
        raise NettrainError(f"{where} is not a Datum, or is damaged ({len(record):,} bytes)", key="source") from None
    label = (found[LABEL] + 2**31) % 2**32 - 2**31  # an int32; a negative one is written with 64 bits
    if found[ENCODED]:
        return decode(found[DATA], where, color=color), label
    shape = (found[CHANNELS], found[HEIGHT], found[WIDTH])
    values = np.frombuffer(found[DATA], np.uint8) if found[DATA] else np.frombuffer(floats, "<f4")
    if values.size != math.prod(shape) or not values.size:
        raise NettrainError(f"{where} says {format_shape(shape)} but holds {values.size:,} values", key="source")
    return values.reshape(shape), label


def is_encoded(record: bytes) -> bool:
    """Whether a Datum holds an encoded image."""
    return any(field == ENCODED and value for field, _, value in fields(record))


class Records:
    """The records of an LMDB in the order of their keys, read when they are asked for. ``color`` is as in
    ``read_datum``, ``encoded`` whether the first is an encoded image."""

    def __init__(self, path: Path, color: bool | None = None):
        self.path, self.color = path, color
        try:
            self.database = Database(path / "data.mdb" if os.path.isdir(path) else path)
        except (OSError, ValueError) as error:
            raise NettrainError(f"{path} cannot be read as LMDB: {why(error)}", key="source") from None
        if not len(self.database):
            raise NettrainError(f"{path} holds no examples", key="source")
        self.example = next(self.read([0]))[1].shape
        self.encoded = is_encoded(next(self.raw([0]))[1])
        self.last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None  # numbers, examples and labels of a batch

    def where(self, key: bytes) -> str:
        name = key.decode(errors="backslashreplace")
        return f"record {name if name.isprintable() else ascii(name)[1:-1]} of {self.path}"

    def raw(self, numbers: Sequence[int]) -> Iterator[tuple[bytes, bytes]]:
        """Keys and values of records."""
        done = 0
        try:
            for record in self.database.several(numbers):
                yield record
                done += 1
        except (OSError, ValueError) as error:
            message = f"record {numbers[done]:,} of {self.path} cannot be read: {why(error)}"
            raise NettrainError(message, key="source") from None

    def read(self, numbers: Sequence[int]) -> Iterator[tuple[bytes, np.ndarray, int]]:
        """Keys, examples and labels of records."""
        for key, record in self.raw(numbers):
            yield key, *read_datum(record, self.where(key), self.color)

    def how_to_mix(self, shape: tuple[int, ...]) -> str:
        """What brings grey and coloured images of one size together."""
        if not self.encoded or shape[1:] != self.example[1:]:
            return ""
        return "; transform: {force_color: true} gives all of them three channels, force_gray: true one"

    def batch(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(examples, labels) with these numbers, all of the first one's shape; read once, though asked for twice."""
        if self.last is None or not np.array_equal(self.last[0], indices):
            arrays, labels = [], []
            for key, array, label in self.read(indices.tolist()):
                if array.shape != self.example:
                    raise NettrainError(
                        f"{self.where(key)} is {format_shape(array.shape)}, but the first one is "
                        f"{format_shape(self.example)}{self.how_to_mix(array.shape)}"
                    )
                arrays.append(array)
                labels.append(label)
            self.last = indices.copy(), np.stack(arrays), np.array(labels)
        return self.last[1:]


class _Column:
    """What a DataSet asks of its arrays, from records."""

    def __init__(self, records: Records, is_label: bool):
        self.records, self.is_label = records, is_label
        self.shape = (len(records.database), *(() if is_label else records.example))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return self.records.batch(indices)[self.is_label]

    @property
    def digest(self) -> str:
        """Of the keys and values of some records, evenly spaced: all may be too many to read."""
        return digest(part for record in self.records.raw(some_of(len(self))) for part in record)


@functools.lru_cache(maxsize=4)
def _records(path: Path, stamp: tuple[int, int], color: bool | None) -> Records:
    """An LMDB is looked through once; ``stamp`` makes a changed one a different one."""
    return Records(path, color)


def is_of_encoded(data: Any) -> bool:
    """Whether a set's examples, or those of a part, are encoded images in an LMDB."""
    while isinstance(data, Rows):
        data = data.of
    return isinstance(data, _Column) and data.records.encoded


def read_lmdb(path: Path, color: bool | None = None) -> DataSet:
    """A folder with an LMDB of Datum records; encoded images are decoded in ``color`` or grey, None: as they are
    stored. Raises NettrainError for anything else."""
    try:
        found = (path / "data.mdb" if os.path.isdir(path) else path).stat()
    except OSError as error:
        raise NettrainError(f"{path} cannot be read as LMDB: {why(error)}", key="source") from None
    records = _records(path, (found.st_mtime_ns, found.st_size), color)
    return DataSet(_Column(records, False), _Column(records, True), path.name, UNDIVIDED)
