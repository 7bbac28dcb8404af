"""A data set as an LMDB of Datum records, as Caffe's convert_imageset makes them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...data.dataset import DataSet
from ...files.extras import extra
from ...spec.errors import NettrainError, format_shape, why
from . import binary
from .message import message

AT_ONCE = 1000  # records in a transaction
SPACE = 64 << 20  # bytes at first


def write_lmdb(data: DataSet, folder: Path, over: bool = False) -> None:
    """Write all examples and labels into a new folder; ``over`` an LMDB that is there. Raises NettrainError for what no
    Datum can hold."""
    shape = data.data.shape[1:]
    if len(shape) > 3:
        raise NettrainError(
            f"{data.origin} has examples of {format_shape(shape)}; a Datum has channels, height and width"
        )
    if data.labels is not None and np.ndim(data.labels[np.arange(1)]) > 1:
        raise NettrainError(f"{data.origin} has several labels an example; a Datum has one")
    whole = (*shape, 1, 1, 1)[:3] if len(shape) < 3 else shape
    if len(shape) == 2:
        whole = (1, *shape)
    starts = range(0, len(data), AT_ONCE)
    records = (record for start in starts for record in _records(data, start, whole))
    write_records(folder, ((f"{number:08d}".encode(), record) for number, record in records), over)


def write_records(folder: Path, records: Iterator[tuple[bytes, bytes]], over: bool = False) -> None:
    """Write keys and values into a new LMDB; ``over`` one that is there, once all are written. Raises NettrainError."""
    library = extra("lmdb", "lmdb", f"writing {folder}")
    is_there = os.path.exists(folder / "data.mdb")
    if os.path.lexists(folder) and not (over and is_there):
        hint = "; to write over it: --force" if is_there else ", and is no LMDB"
        raise NettrainError(f"{folder} is there already{hint}")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as part:
            with library.open(part, map_size=SPACE, subdir=True) as environment:
                for some in iter(lambda: list(islice(records, AT_ONCE)), []):
                    _put(library, environment, some)
            os.makedirs(folder, exist_ok=True)
            os.replace(Path(part) / "data.mdb", folder / "data.mdb")
    except (OSError, ValueError, library.Error) as error:
        raise NettrainError(f"cannot write {folder}: {why(error)}", exit_code=1) from None


def _put(library: Any, environment: Any, records: Sequence[tuple[bytes, bytes]]) -> None:
    """One transaction, with twice the space where it does not suffice."""
    while True:
        try:
            with environment.begin(write=True) as transaction:
                for key, record in records:
                    transaction.put(key, record)
            return
        except library.MapFullError:
            environment.set_mapsize(2 * environment.info()["map_size"])


def _records(data: DataSet, start: int, shape: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    numbers = np.arange(start, min(start + AT_ONCE, len(data)))
    examples = np.asarray(data.data[numbers])
    labels = None if data.labels is None else np.asarray(data.labels[numbers])
    for i, number in enumerate(numbers):
        yield int(number), datum(examples[i].reshape(shape), None if labels is None else labels[i])


def datum(example: np.ndarray, label: object) -> bytes:
    """A Datum of C x H x W values."""
    made = message("Datum", **dict(zip(("channels", "height", "width"), map(int, example.shape), strict=True)))
    if example.dtype == np.uint8:
        made.add("data", example.tobytes())
    else:
        made.add("float_data", np.ascontiguousarray(example, np.float32).reshape(-1))
    if label is not None:
        made.add("label", int(label))  # type: ignore[call-overload]
    return b"".join(binary.write(made))
