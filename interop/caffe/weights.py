"""Parameters in caffemodels of all generations."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from ...files.reading import Mapped
from ...net.parameter_files import Borrowed
from ...spec.errors import NettrainError, format_shape
from . import binary
from .message import Message, message

LARGEST_RANK = 32


def parameters(net: Message, origin: str, memory: Mapped | None = None) -> dict[str, Borrowed]:
    """The blobs of a net by name, ``param/LAYER/INDEX``; of layers with one name the last. Values are not copied.

    Raises NettrainError for a blob whose shape and values do not agree.
    """
    last = {name: (kind, blobs) for name, kind, blobs in _layers(net)}
    found: dict[str, Borrowed] = {}
    for name, (kind, blobs) in last.items():
        arrays = [array_of(blob, f"{origin}: blob {i} of layer `{name}`") for i, blob in enumerate(blobs)]
        for i, (array, is_legacy) in enumerate(_of_bn(arrays) if kind == "BN" else arrays):
            found[f"param/{name}/{i}"] = Borrowed(array, memory.forget if memory else None, is_legacy)
    return found


def _of_bn(arrays: list[tuple[np.ndarray, bool]]) -> list[tuple[np.ndarray, bool]]:
    """Blobs of a fork's BN, 1 x C x 1 x 1, as those of the layers it is read as, C.

    SegNet's two are those of a Scale; PSPNet's factor, offset, mean and variance a BatchNorm's with ``affine``.
    """
    flat = [(array.reshape(-1), False) for array, _ in arrays]
    if len(flat) != 4:
        return flat
    factor, offset, mean, variance = flat
    return [mean, variance, (np.ones(1, mean[0].dtype), False), factor, offset]


def _layers(net: Message) -> Iterator[tuple[str, str, list[Message]]]:
    """Name, type and blobs of each layer that has blobs, as any generation wrote them."""
    for layer in [*net.many("layers"), *net.many("layer")]:
        inner = layer.one("layer") if layer.type == "V1LayerParameter" else None
        holder = inner if inner is not None else layer
        blobs = holder.many("blobs") or layer.many("blobs")
        if blobs:
            yield holder.one("name"), holder.one("type"), blobs


def array_of(blob: Message, what: str) -> tuple[np.ndarray, bool]:
    """The values of a blob in its shape, and whether that is the old one of four axes. Raises NettrainError."""
    values = blob.array("double_data") if blob.has("double_data") else blob.array("data")
    is_legacy = any(blob.has(name) for name in ("num", "channels", "height", "width"))
    if is_legacy:
        shape = tuple(blob.one(name) for name in ("num", "channels", "height", "width"))
    elif blob.has("shape"):
        shape = tuple(blob.one("shape").many("dim"))
    else:
        shape = () if values.size == 1 else (values.size,)
    if len(shape) > LARGEST_RANK or any(size < 0 for size in shape) or math.prod(shape) != values.size:
        raise NettrainError(f"{what} says {format_shape(shape)} but holds {values.size:,} values")
    return values.reshape(shape), is_legacy


def blob_of(array: np.ndarray) -> Message:
    """An array as a blob: single precision, or double where the array is."""
    field = "double_data" if array.dtype == np.float64 else "data"
    dtype = np.float64 if field == "double_data" else np.float32
    made = Message("BlobProto").add("shape", message("BlobShape", dim=[int(size) for size in array.shape]))
    return made.add(field, np.ascontiguousarray(array, dtype).reshape(-1))


def caffemodel(
    arrays: Mapping[str, np.ndarray], name: str = "", layers: Mapping[str, Message] | None = None
) -> list[bytes | memoryview]:
    """A caffemodel in pieces: each layer's name and blobs, and all that ``layers`` say of it."""
    net = message("NetParameter", name=name or None)
    blobs: dict[str, list[Message]] = {}
    for key, array in arrays.items():
        layer, _, _ = key.removeprefix("param/").rpartition("/")
        blobs.setdefault(layer, []).append(blob_of(array))
    for layer in dict.fromkeys([*(layers or {}), *blobs]):
        made = Message("LayerParameter").add("name", layer)
        known = (layers or {}).get(layer)
        if known is not None:
            made.fields |= {field: entries for field, entries in known.fields.items() if field not in ("name", "blobs")}
        net.add("layer", made.add("blobs", *blobs.get(layer, [])))
    return binary.write(net)


def without_affine(arrays: Mapping[str, np.ndarray], scales: Mapping[str, str]) -> dict[str, np.ndarray]:
    """Parameters as Caffe has them: the last two of a BatchNorm's five belong to the Scale behind it, by ``scales``."""
    found = {}
    for key, array in arrays.items():
        layer, index = layer_of(key)
        if layer in scales and index > 2:
            key = f"param/{scales[layer]}/{index - 3}"
        found[key] = array
    return found


def with_affine(arrays: Mapping[str, np.ndarray], counts: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Parameters for a net in which a BatchNorm has its factors itself: those of the Scale that is behind it in Caffe.

    ``counts`` are the parameters of each layer of the net. The Scale is told by its name: ``bn1_scale`` as nettrain
    writes it, or, as in many nets, ``scale1`` for ``bn1``.
    """
    found = dict(arrays)
    for layer, count in counts.items():
        names = [f"{layer}_scale", f"scale_{layer}", f"{layer}/scale", *(layer.replace(a, b) for a, b in _CALLED)]
        scale = next((name for name in names if name not in counts and f"param/{name}/1" in found), None)
        if count == 5 and f"param/{layer}/3" not in found and f"param/{layer}/2" in found and scale is not None:
            for i in range(2):
                found[f"param/{layer}/{3 + i}"] = found.pop(f"param/{scale}/{i}")
    return found


_CALLED = (("bn", "scale"), ("/bn", "/scale"), ("BatchNorm", "Scale"), ("batchnorm", "scale"), ("norm", "scale"))


def layer_of(key: str) -> tuple[str, int]:
    """The layer and number of a parameter by its name in files."""
    layer, _, index = key.removeprefix("param/").rpartition("/")
    return layer, int(index)
