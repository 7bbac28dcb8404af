"""A data set as an LMDB of Datum records, as Caffe's convert_imageset makes them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...data.dataset import DataSet
from ...files.extras import extra
from ...spec.errors import NettrainError, format_shape, why
from . import binary
from .message import message

AT_ONCE = 1000  # records in a transaction


def write_lmdb(data: DataSet, folder: Path, over: bool = False) -> None:
    """Write all examples and labels into a new folder; ``over`` an LMDB that is there. Raises NettrainError for what no
    Datum can hold."""
    library = extra("lmdb", "lmdb", f"writing {folder}")
    shape = data.data.shape[1:]
    if len(shape) > 3:
        raise NettrainError(
            f"{data.origin} has examples of {format_shape(shape)}; a Datum has channels, height and width"
        )
    if data.labels is not None and np.ndim(data.labels[np.arange(1)]) > 1:
        raise NettrainError(f"{data.origin} has several labels an example; a Datum has one")
    is_there = os.path.exists(folder / "data.mdb")
    if os.path.lexists(folder) and not (over and is_there):
        hint = "; to write over it: --force" if is_there else ", and is no LMDB"
        raise NettrainError(f"{folder} is there already{hint}")
    whole = (*shape, 1, 1, 1)[:3] if len(shape) < 3 else shape
    if len(shape) == 2:
        whole = (1, *shape)
    space = 2 * int(np.prod(whole)) * 8 * len(data) + (64 << 20)
    try:
        if is_there:
            os.unlink(folder / "data.mdb")
        os.makedirs(folder, exist_ok=True)
        with library.open(str(folder), map_size=space, subdir=True) as environment:
            for start in range(0, len(data), AT_ONCE):
                with environment.begin(write=True) as transaction:
                    for number, record in _records(data, start, whole):
                        transaction.put(f"{number:08d}".encode(), record)
    except (OSError, ValueError, library.Error) as error:
        raise NettrainError(f"cannot write {folder}: {why(error)}", exit_code=1) from None


def _records(data: DataSet, start: int, shape: tuple[int, ...]) -> Iterator[tuple[int, bytes]]:
    numbers = np.arange(start, min(start + AT_ONCE, len(data)))
    examples = np.asarray(data.data[numbers])
    labels = None if data.labels is None else np.asarray(data.labels[numbers])
    for i, number in enumerate(numbers):
        yield int(number), _datum(examples[i].reshape(shape), None if labels is None else labels[i])


def _datum(example: np.ndarray, label: object) -> bytes:
    made = message("Datum", **dict(zip(("channels", "height", "width"), map(int, example.shape), strict=True)))
    if example.dtype == np.uint8:
        made.add("data", example.tobytes())
    else:
        made.add("float_data", np.ascontiguousarray(example, np.float32).reshape(-1))
    if label is not None:
        made.add("label", int(label))  # type: ignore[call-overload]
    return b"".join(binary.write(made))
