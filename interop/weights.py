"""Weights of other programs, as the arrays ``param/LAYER/INDEX`` that a net takes: told by what is in the file."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from ..files.extras import extra
from ..files.reading import Mapped, mapped, open_file
from ..net.parameter_files import Arrays, Borrowed
from ..spec.errors import NettrainError, why
from . import torch_names
from .caffe import binary, hdf5, weights
from .kinds import HEAD, kind_of_weights


def open_weights(path: Path, what: str) -> AbstractContextManager[Arrays] | None:
    """The arrays of a file while it is open; None for an .npz, and for what is not known to be weights.

    Opening raises NettrainError for a file that is damaged.
    """
    kind = kind_of(path)
    if not kind and path.suffix in OTHERS and os.path.isfile(path):
        size = os.path.getsize(path)
        raise NettrainError(f"{what} {path} is damaged, or no {path.suffix} file ({size:,} bytes)")
    reader = {"caffe": _caffemodel, "hdf5": _hdf5, "safetensors": _safetensors}.get(kind)
    return reader(path, what) if reader else None


OTHERS = (".caffemodel", ".h5", ".safetensors")


def kind_of(path: Path) -> str:
    """The kind of weights in a file; nothing where it cannot be read, which whoever reads it says."""
    try:
        with open_file(path) as file:
            return kind_of_weights(file.read(HEAD))
    except OSError:
        return ""


@contextlib.contextmanager
def _caffemodel(path: Path, what: str) -> Iterator[Arrays]:
    try:
        with mapped(path) as memory:
            net = binary.read(memory.bytes, "NetParameter", f"{what} {path}")
            yield weights.parameters(net, f"{what} {path}", memory)
            del net
    except OSError as error:
        raise NettrainError(f"{what} {path} cannot be read: {why(error)}") from None


@contextlib.contextmanager
def _hdf5(path: Path, what: str) -> Iterator[Arrays]:
    found = hdf5.read_h5(path, "data", what)
    yield {f"param/{name}" if _IS_BLOB.fullmatch(name) else name: array for name, array in found.items()}


@contextlib.contextmanager
def _safetensors(path: Path, what: str) -> Iterator[Arrays]:
    try:
        with mapped(path) as memory:
            found = torch_names.from_torch(read_safetensors(path, what, memory), f"{what} {path}")
            yield {key: Borrowed(array, memory.forget) for key, array in found.items()}
            del found
    except OSError as error:
        raise NettrainError(f"{what} {path} cannot be read: {why(error)}") from None


_IS_BLOB = re.compile(r".+/[0-9]{1,5}", re.DOTALL)
LARGEST_HEADER = 4_000_000  # bytes; 100 for each array, which take 25 times as many once they are read
_NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4"}


def read_safetensors(path: Path, what: str, memory: Mapped) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors, whose bytes are ``memory``, by the names in it; not copied, unless their type is
    one that nets are not made of. Raises NettrainError."""
    library = extra("safetensors", "safetensors", f"{what} {path}")
    try:
        size, has = int.from_bytes(memory.bytes[:8], "little"), len(memory.bytes)
        if size > has - 8:  # an error of the library's too, but after it made room for it
            raise NettrainError(f"{what} {path} is damaged: a header of {size:,} bytes in {has:,}")
        if size > LARGEST_HEADER:
            raise NettrainError(f"{what} {path} has a header of {size:,} bytes, more arrays than any net has")
        header = json.loads(bytes(memory.bytes[8 : 8 + size]))
        header.pop("__metadata__", None)
        if odd := {entry["dtype"] for entry in header.values()} - set(_NUMBERS):
            raise NettrainError(f"{what} {path} holds values of type {', '.join(sorted(odd))}, not floats")
        with library.safe_open(str(path), framework="numpy") as tensors:  # checks every size and place
            names = list(tensors.keys())
        return {name: _array(memory, 8 + size, header[name]) for name in names}
    except NettrainError:
        raise
    except Exception as error:  # the library's own errors, and those of JSON
        raise NettrainError(f"{what} {path} is damaged, or not a safetensors file: {why(error)}") from None


def _array(memory: Mapped, start: int, entry: dict) -> np.ndarray:
    """The values of an entry of the header; half precision, of either kind, as single."""
    dtype, shape = _NUMBERS[entry["dtype"]], tuple(entry["shape"])
    at, count = start + entry["data_offsets"][0], math.prod(shape)
    array = (np.frombuffer(memory.bytes, dtype, count, at) if count else np.empty(0, dtype)).reshape(shape)
    if entry["dtype"] == "BF16":  # which numpy has no type for: the upper half of the bits
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32) if entry["dtype"] == "F16" else array


__all__ = ["Borrowed", "kind_of", "open_weights", "read_safetensors"]
