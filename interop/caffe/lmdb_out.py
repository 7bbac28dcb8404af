"""A data set as an LMDB of Datum records, as Caffe's convert_imageset makes them."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ...data.dataset import DataSet
from ...files.extras import extra
from ...spec.errors import NettrainError, format_shape
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
    if over and (folder / "data.mdb").exists():
        (folder / "data.mdb").unlink()
    elif folder.exists():
        raise NettrainError(f"{folder} is there already; it is not written over")
    whole = (*shape, 1, 1, 1)[:3] if len(shape) < 3 else shape
    if len(shape) == 2:
        whole = (1, *shape)
    os.makedirs(folder, exist_ok=True)
    space = 2 * int(np.prod(whole)) * 8 * len(data) + (64 << 20)
    with library.open(str(folder), map_size=space, subdir=True) as environment:
        for start in range(0, len(data), AT_ONCE):
            numbers = np.arange(start, min(start + AT_ONCE, len(data)))
            examples = np.asarray(data.data[numbers])
            labels = None if data.labels is None else np.asarray(data.labels[numbers])
            with environment.begin(write=True) as transaction:
                for i, number in enumerate(numbers):
                    record = _datum(examples[i].reshape(whole), None if labels is None else labels[i])
                    transaction.put(f"{number:08d}".encode(), record)


def _datum(example: np.ndarray, label: object) -> bytes:
    made = message("Datum", **dict(zip(("channels", "height", "width"), map(int, example.shape), strict=True)))
    if example.dtype == np.uint8:
        made.add("data", example.tobytes())
    else:
        made.add("float_data", np.ascontiguousarray(example, np.float32).reshape(-1))
    if label is not None:
        made.add("label", int(label))  # type: ignore[call-overload]
    return b"".join(binary.write(made))
