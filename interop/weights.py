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
from typing import Any

import numpy as np

from ..files.extras import extra
from ..files.reading import Mapped, mapped
from ..net.graph import wire
from ..net.parameter_files import Arrays, Borrowed
from ..net.records import LayerSpec, NetSpec, Phase, State
from ..spec.errors import NettrainError, Problems, why
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


def for_net(arrays: Arrays, spec: NetSpec) -> Arrays:
    """Parameters as a net has them: a factor and an offset behind a BatchNorm are its own (``affine``), or a Scale's.

    Which Scale is behind a BatchNorm, the file says where it holds the layers; else its name tells it (``bn1_scale`` as
    nettrain writes it, or, as in many nets, ``scale1`` for ``bn1``). What is not sure stays as it is.
    """
    kinds = {layer.name: _kind(layer) for layer in spec.layers}
    whole = [name for name, kind in kinds.items() if kind == "affine" and _count(arrays, name) == 3]
    scales = {name: _scale_of(name, arrays) for name in whole}
    scales = {name: scale for name, scale in scales.items() if _fits(name, scale, arrays) and scale not in kinds}
    if scales:
        arrays = weights.with_affine(arrays, scales)
    if not any(kind == "BatchNorm" and _count(arrays, name) == 5 for name, kind in kinds.items()):
        return arrays
    apart = {norm: scale for norm, scale in _scales_of(spec).items() if _count(arrays, norm) == 5}
    return weights.without_affine(arrays, {norm: s for norm, s in apart.items() if not _count(arrays, s)})


def _count(arrays: Arrays, layer: str) -> int:
    """How many parameters of a layer a file has; those of a BatchNorm are 3 or 5."""
    return next(i for i in range(6) if f"param/{layer}/{i}" not in arrays or i == 5)


def _scale_of(norm: str, arrays: Arrays) -> str:
    """The Scale behind a BatchNorm in a file, nothing where it is not known."""
    layers = getattr(arrays, "layers", {})
    if norm in layers and layers[norm].has("type"):
        return arrays.scales.get(norm, "")  # type: ignore[attr-defined]
    called = [norm.replace(ours, theirs) for ours, theirs in _CALLED if ours in norm]
    names = [f"{norm}_scale", f"scale_{norm}", f"{norm}/scale", *called]
    return next((name for name in names if _fits(norm, name, arrays)), "")


def _fits(norm: str, scale: str, arrays: Arrays) -> bool:
    """Whether parameters are those of a Scale for each channel of a BatchNorm's."""
    shapes = [arrays[f"param/{scale}/{i}"].shape for i in range(_count(arrays, scale))]
    return 1 <= len(shapes) <= 2 and set(shapes) == {arrays[f"param/{norm}/0"].shape}


_CALLED = (("bn", "scale"), ("/bn", "/scale"), ("BatchNorm", "Scale"), ("batchnorm", "scale"), ("norm", "scale"))


def _scales_of(spec: NetSpec) -> dict[str, str]:
    """The Scale with an offset behind each BatchNorm without factors of a spec, the same in TRAIN and TEST."""
    phases: tuple[Phase, ...] = ("TRAIN", "TEST")
    train, test = (
        weights.scales_behind(
            (one.spec.name, _kind(one.spec), one.bottoms, one.tops) for one in wire(spec, State(phase), Problems())
        )
        for phase in phases
    )
    return {norm: scale for norm, scale in (train | test).items() if train.get(norm, scale) == test.get(norm, scale)}


def _kind(layer: LayerSpec) -> str:
    """The type of a layer: ``affine`` for a BatchNorm with factors, OTHER for a Scale that is not like these."""
    kind, p = layer.cls.__name__, layer.parameters
    if kind == "Scale" and any(getattr(p, key) != value for key, value in _LIKE_FACTORS.items()):
        return weights.OTHER
    return "affine" if kind == "BatchNorm" and getattr(p, "affine", False) else kind


_LIKE_FACTORS: dict[str, Any] = {"axis": 1, "num_axes": 1, "bias_term": True}


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


__all__ = ["for_net", "open_weights", "read_safetensors"]
