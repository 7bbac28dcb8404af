"""Weights of other programs, as the arrays ``param/LAYER/INDEX`` that a net takes: told by what is in the file."""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from ..files.extras import extra
from ..files.reading import mapped, open_file, size_of
from ..net.parameter_files import Arrays, Borrowed
from ..spec.errors import NettrainError, why
from . import torch_names
from .caffe import binary, hdf5, weights
from .kinds import HEAD, kind_of_weights
from .refused import words


def open_weights(path: Path, what: str) -> AbstractContextManager[Arrays] | None:
    """The arrays of a file while it is open; None for an .npz, and for what is not known to be weights.

    Opening raises NettrainError for a file that is damaged.
    """
    try:
        with mapped(path) as memory:
            kind, refused = kind_of_weights(bytes(memory.bytes[:HEAD])), words(memory.bytes, str(path))
    except OSError:  # which whoever reads it says
        return None
    if refused:
        raise NettrainError(f"{what} {path} {refused}")
    if not kind and path.suffix in OTHERS and os.path.isfile(path):
        size = os.path.getsize(path)
        raise NettrainError(f"{what} {path} is damaged, or no {path.suffix} file ({size:,} bytes)")
    reader = {"caffe": _caffemodel, "hdf5": _hdf5, "safetensors": _safetensors}.get(kind)
    return reader(path, what) if reader else None


OTHERS = (".caffemodel", ".h5", ".safetensors")


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
    yield torch_names.from_torch(read_safetensors(path, what), f"{what} {path}")


_IS_BLOB = re.compile(r".+/[0-9]{1,5}", re.DOTALL)
_NUMBERS = {"F64", "F32", "F16", "BF16", "I64", "I32"}


def read_safetensors(path: Path, what: str) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors by the names in it. Raises NettrainError."""
    library = extra("safetensors", "safetensors", f"{what} {path}")
    try:
        with open_file(path) as file:  # a header that lies is an error of the library's, but after it made room for it
            size = int.from_bytes(file.read(8), "little")
            if size > size_of(file) - 8:
                raise NettrainError(f"{what} {path} is damaged: a header of {size:,} bytes in {size_of(file):,}")
            header = json.loads(file.read(size))
        odd = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"} - _NUMBERS
        found = {}
        if odd:
            raise NettrainError(f"{what} {path} holds values of type {', '.join(sorted(odd))}, not floats")
        with library.safe_open(str(path), framework="numpy") as tensors:
            for name in tensors.keys():  # noqa: SIM118 (it is no mapping)
                if header[name]["dtype"] == "BF16":
                    found[name] = _bfloat16(path, 8 + size, header[name])
                else:
                    array = tensors.get_tensor(name)
                    found[name] = array.astype(np.float32) if array.dtype == np.float16 else array
        return found
    except NettrainError:
        raise
    except Exception as error:  # the library's own errors, and those of JSON
        raise NettrainError(f"{what} {path} is damaged, or not a safetensors file: {why(error)}") from None


def _bfloat16(path: Path, start: int, entry: dict) -> np.ndarray:
    """Values that numpy has no type for, as single precision: the upper half of its bits."""
    begin, end = entry["data_offsets"]
    with open_file(path) as file:
        file.seek(start + begin)
        raw = np.frombuffer(file.read(end - begin), "<u2")
    return (raw.astype(np.uint32) << 16).view(np.float32).reshape(entry["shape"])


__all__ = ["Borrowed", "open_weights", "read_safetensors"]
