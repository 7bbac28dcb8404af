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
from .dataset import UNDIVIDED, DataSet, SizeCheck, digest, some_of, whole
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
        self.last: tuple[np.ndarray, list[bytes], list[np.ndarray], np.ndarray] | None = None  # what a batch was read

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

    def batch(self, indices: np.ndarray) -> tuple[list[bytes], list[np.ndarray], np.ndarray]:
        """(keys, examples, labels) with these numbers; read once, though asked for twice."""
        if self.last is None or not np.array_equal(self.last[0], indices):
            found = list(self.read(indices.tolist()))
            keys, arrays = [key for key, *_ in found], [array for _, array, _ in found]
            self.last = indices.copy(), keys, arrays, np.array([label for *_, label in found])
        return self.last[1:]

    def examples(self, indices: np.ndarray, check: SizeCheck | None) -> list[np.ndarray]:
        """Examples of the first one's shape, or where there is a ``check``, of its channels and any size that passes.

        Raises NettrainError for others, with their keys.
        """
        keys, arrays, _ = self.batch(indices)
        for key, array in zip(keys, arrays, strict=True):
            if array.shape == self.example:
                continue
            if check is None or array.shape[0] != self.example[0]:
                raise NettrainError(
                    f"{self.where(key)} is {format_shape(array.shape)}, but the first one is "
                    f"{format_shape(self.example)}{self.how_to_mix(array.shape)}"
                )
            try:
                check(array.shape)
            except NettrainError as error:
                raise NettrainError(f"{self.where(key)}: {error}", key="transform") from None
        return arrays

    def how_to_mix(self, shape: tuple[int, ...]) -> str:
        """What brings images of another size, or grey and coloured ones, together."""
        if shape[0] == self.example[0]:
            return "; transform: {crop_size: …} cuts one size out of all of them, resize: [height, width] resizes them"
        if not self.encoded:
            return ""
        return "; transform: {force_color: true} gives all of them three channels, force_gray: true one"


class _Column:
    """What a DataSet asks of its arrays, from records."""

    def __init__(self, records: Records, is_label: bool):
        self.records, self.is_label = records, is_label
        self.shape = (len(records.database), *(() if is_label else records.example))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        if self.is_label:
            return self.records.batch(indices)[2]
        return np.stack(self.records.examples(indices, None))

    def of_any_size(self, indices: np.ndarray, check: SizeCheck | None = None) -> list[np.ndarray]:
        return self.records.examples(indices, check or _any)

    @property
    def digest(self) -> str:
        """Of the keys and values of some records, evenly spaced: all may be too many to read."""
        return digest(part for record in self.records.raw(some_of(len(self))) for part in record)


def _any(shape: tuple[int, ...]) -> None:
    """A check that every size passes."""


def has_sizes_of_its_own(data: Any) -> bool:
    """Whether each of a set's examples, or of a part's, may have a size of its own."""
    return isinstance(whole(data), _Column)


@functools.lru_cache(maxsize=4)
def _records(path: Path, stamp: tuple[int, int], color: bool | None) -> Records:
    """An LMDB is looked through once; ``stamp`` makes a changed one a different one."""
    return Records(path, color)


def is_of_encoded(data: Any) -> bool:
    """Whether a set's examples, or those of a part, are encoded images in an LMDB."""
    data = whole(data)
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
