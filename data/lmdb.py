"""LMDB folders of Caffe's Datum records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..net.errors import NettrainError, format_shape
from ..net.extras import extra
from .dataset import DataSet
from .images import decode

# A Datum is one small message of protocol buffers: to read its seven fields here saves a library and a schema.
CHANNELS, HEIGHT, WIDTH, DATA, LABEL, FLOATS, ENCODED = range(1, 8)


def read_datum(record: bytes, where: str) -> tuple[np.ndarray, int]:
    """(C x H x W values, label) of a serialized Datum. Raises NettrainError when it is none."""
    found: dict[int, Any] = {CHANNELS: 0, HEIGHT: 0, WIDTH: 0, LABEL: 0, DATA: b"", ENCODED: 0}
    floats = b""
    try:
        for field, value in _fields(record):
            if field == FLOATS:
                floats += value
            else:
                found[field] = value
    except (IndexError, ValueError):
        raise NettrainError(f"{where} is no Datum, or damaged ({len(record):,} bytes)", key="source") from None
    label = found[LABEL] - 2**64 if found[LABEL] >= 2**63 else found[LABEL]  # a negative int32
    if found[ENCODED]:
        return decode(found[DATA], where), label
    shape = (found[CHANNELS], found[HEIGHT], found[WIDTH])
    values = np.frombuffer(floats, "<f4") if floats else np.frombuffer(found[DATA], np.uint8)
    if values.size != np.prod(shape, dtype=int) or not values.size:
        raise NettrainError(f"{where} says {format_shape(shape)} and holds {values.size:,} values", key="source")
    return values.reshape(shape), label


def _fields(record: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: whole numbers, and bytes of strings, packed and single floats."""
    at = 0
    while at < len(record):
        tag, at = _varint(record, at)
        field, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(record, at)
            yield field, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if size is None:
            if kind != 2:
                raise ValueError(kind)
            size, at = _varint(record, at)
        if at + size > len(record):
            raise ValueError(size)
        yield field, record[at : at + size]
        at += size


def _varint(record: bytes, at: int) -> tuple[int, int]:
    """A whole number in groups of seven bits, the lowest first, and where it ends."""
    value = shift = 0
    while True:
        byte = record[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            return value, at
        if shift > 63:
            raise ValueError(shift)


class Records:
    """The records of an LMDB in the order of their keys, read when they are asked for."""

    def __init__(self, path: Path):
        self.path = path
        library = extra("lmdb", "lmdb", f"reading {path}")
        try:
            self.database = library.open(str(path), readonly=True, lock=False, subdir=path.is_dir())
            with self.database.begin() as transaction:
                self.keys = list(transaction.cursor().iternext(keys=True, values=False))
        except library.Error as error:
            raise NettrainError(f"{path} cannot be read as LMDB: {error}", key="source") from None
        if not self.keys:
            raise NettrainError(f"{path} holds no examples", key="source")
        self.example = self.read(0)[0].shape

    def read(self, i: int) -> tuple[np.ndarray, int]:
        with self.database.begin() as transaction:
            record = transaction.get(self.keys[i])
        return read_datum(record, f"record {self.keys[i].decode(errors='replace')} of {self.path}")

    def values(self, indices: np.ndarray) -> np.ndarray:
        """The examples with these numbers, all of the first one's shape."""
        values = [self.read(int(i))[0] for i in indices]
        for i, array in zip(indices, values, strict=True):
            if array.shape != self.example:
                raise NettrainError(
                    f"record {self.keys[int(i)].decode(errors='replace')} of {self.path} is "
                    f"{format_shape(array.shape)}, the first one {format_shape(self.example)}"
                )
        return np.stack(values)


class _Column:
    """What a DataSet asks of its arrays, from records."""

    def __init__(self, records: Records, is_label: bool):
        self.records, self.is_label = records, is_label
        self.shape = (len(records.keys), *(() if is_label else records.example))

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        if self.is_label:
            return np.array([self.records.read(int(i))[1] for i in indices])
        return self.records.values(indices)


_open: dict[Path, tuple[int, Records]] = {}  # LMDB lets a process open a folder once


def read_lmdb(path: Path) -> DataSet:
    """A folder with an LMDB of Datum records. Raises NettrainError when it is none."""
    file = path / "data.mdb" if path.is_dir() else path
    key, stamp = path.resolve(), file.stat().st_mtime_ns
    if key in _open and _open[key][0] != stamp:
        _open.pop(key)[1].database.close()
    if key not in _open:
        _open[key] = stamp, Records(path)
    records = _open[key][1]
    return DataSet(_Column(records, False), _Column(records, True), path.name)
