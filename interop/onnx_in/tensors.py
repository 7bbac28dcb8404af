"""Tensors of ONNX's as arrays: what they say of their size is compared with their bytes before anything is made."""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath

import numpy as np

from ...files.reading import open_file, read_bytes, size_of
from ...spec.errors import NettrainError, why
from .messages import Message

_BFLOAT16 = 16
_DTYPES = {
    1: ("<f4", "float_data"),
    2: ("u1", "int32_data"),
    3: ("i1", "int32_data"),
    4: ("<u2", "int32_data"),
    5: ("<i2", "int32_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    10: ("<f2", "int32_data"),
    11: ("<f8", "double_data"),
    12: ("<u4", "uint64_data"),
    13: ("<u8", "uint64_data"),
    _BFLOAT16: ("<u2", "int32_data"),
}
FLOATS = frozenset((1, 10, 11, _BFLOAT16))
STRINGS = 8
_NAMES = {8: "text", 14: "complex numbers", 15: "complex numbers"}
_DEEPEST = 32  # axes
_LARGEST = 1 << 20  # size of an axis beside one of none


class TensorError(NettrainError):
    """A tensor that cannot be read, and why."""


def to_array(tensor: Message, folder: Path | None) -> np.ndarray:
    """The values of a tensor, half precision as float32. Raises TensorError.

    What lies in another file is read when that is in ``folder``, the model's own.
    """
    if tensor.data_type not in _DTYPES:
        raise TensorError(f"it holds {_NAMES.get(tensor.data_type, f'values of type {tensor.data_type}')}, not numbers")
    dtype, listed = _DTYPES[tensor.data_type]
    shape = tuple(tensor.dims)
    if len(shape) > _DEEPEST or any(size < 0 for size in shape) or (0 in shape and max(shape) > _LARGEST):
        raise TensorError(f"it has no shape: {list(shape)[:8]}")
    need = math.prod(shape) * np.dtype(dtype).itemsize
    if tensor.data_location == 1 or tensor.external_data:
        flat = np.frombuffer(_external(tensor, folder, need), dtype)
    elif tensor.has("raw_data"):
        if len(tensor.raw_data) != need:
            raise TensorError(f"its shape {list(shape)} needs {need:,} bytes, and it has {len(tensor.raw_data):,}")
        flat = np.frombuffer(tensor.raw_data, dtype)
    else:
        flat = _listed(getattr(tensor, listed), dtype, tensor.data_type)
        if flat.size != math.prod(shape):
            raise TensorError(f"its shape {list(shape)} needs {math.prod(shape):,} values, and it has {flat.size:,}")
    array = flat.reshape(shape)
    if tensor.data_type == _BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _listed(parts: list[np.ndarray], dtype: str, data_type: int) -> np.ndarray:
    values = parts[0] if len(parts) == 1 else np.concatenate(parts) if parts else np.empty(0, dtype)
    if data_type == 10:  # the bits of halves, as integers
        return values.astype(np.uint16).view(np.float16)
    return values.astype(dtype, copy=False)


def _external(tensor: Message, folder: Path | None, need: int) -> bytes:
    said = {pair.key: pair.value for pair in tensor.external_data}
    location = said.get("location", "")
    name = PurePosixPath(location.replace("\\", "/"))
    if folder is None or not location or name.is_absolute() or ".." in name.parts or ":" in location:
        raise TensorError(f"its values are in the file `{location}`; only files in the model's own folder are read")
    path, home = folder / name, folder.resolve()
    if not path.resolve().is_relative_to(home):
        raise TensorError(f"its values are in the file `{location}`, which leads out of the model's folder")
    try:
        offset, length = int(said.get("offset", "0")), int(said.get("length", str(need)))
    except ValueError:
        raise TensorError(f"the place of its values in `{location}` is no number") from None
    if length != need or offset < 0:
        raise TensorError(f"its shape needs {need:,} bytes, and it names {length:,} of `{location}`")
    try:
        with open_file(path) as file:
            size = size_of(file)
            if offset + need > size:
                raise TensorError(f"its values end at byte {offset + need:,} of `{location}`, which has {size:,}")
            file.seek(offset)
            return file.read(need)
    except OSError as error:
        raise TensorError(f"its values are in the file `{location}`, which cannot be read: {why(error)}") from None


def read_file(path: Path) -> bytes:
    """The bytes of a model. Raises NettrainError."""
    try:
        return read_bytes(path, most=2**31 - 1)  # as much as ONNX allows
    except OSError as error:
        raise NettrainError(f"{path} cannot be read: {why(error)}") from None
