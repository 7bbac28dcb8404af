"""Parameters in caffemodels of all generations."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ...files.reading import Mapped
from ...net.parameter_files import Borrowed, by_layer
from ...spec.errors import NettrainError, format_shape
from . import binary
from .message import Message, message

LARGEST_RANK = 32


class Parameters(dict[str, Any]):
    """The blobs of a net by name, ``param/LAYER/INDEX``, and what else the file says of its layers."""

    net_name: str
    layers: Mapping[str, Message]  # those of today's generation without their blobs, by name

    @property
    def scales(self) -> dict[str, str]:
        """The Scale behind each BatchNorm."""
        return scales_behind(
            (name, _kind(layer), layer.many("bottom"), layer.many("top")) for name, layer in self.layers.items()
        )


def _kind(layer: Message) -> str:
    kind, part = layer.one("type"), layer.one("scale_param")
    axes = (1, 1) if part is None else (part.one("axis"), part.one("num_axes"))
    return OTHER if kind == "Scale" and (axes != (1, 1) or len(layer.many("bottom")) > 1) else kind


def parameters(net: Message, origin: str, memory: Mapped | None = None) -> Parameters:
    """The parameters of a net; of layers with one name the last. Values are not copied.

    Raises NettrainError for a blob whose shape and values do not agree.
    """
    last = {name: (kind, blobs) for name, kind, blobs in _layers(net)}
    found = Parameters()
    found.net_name = net.one("name")
    found.layers = {layer.one("name"): _without_blobs(layer) for layer in net.many("layer")}
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


def _without_blobs(layer: Message) -> Message:
    return Message(layer.type, layer.place, {name: own for name, own in layer.fields.items() if name != "blobs"})


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
    blobs = {layer: [blob_of(array) for array in own] for layer, own in by_layer(arrays).items()}
    for layer in dict.fromkeys([*(layers or {}), *blobs]):
        made = Message("LayerParameter").add("name", layer)
        known = (layers or {}).get(layer)
        if known is not None:
            made.fields |= {field: own for field, own in _without_blobs(known).fields.items() if field != "name"}
        net.add("layer", made.add("blobs", *blobs.get(layer, [])))
    return binary.write(net)


def without_affine(arrays: Mapping[str, Any], scales: Mapping[str, str]) -> dict[str, Any]:
    """Parameters as Caffe has them: the last two of a BatchNorm's five belong to the Scale behind it, by ``scales``."""
    renamed = _factors(scales)
    return {renamed.get(key, key): array for key, array in arrays.items()}


def with_affine(arrays: Mapping[str, Any], scales: Mapping[str, str]) -> dict[str, Any]:
    """The reverse: the two of a Scale are the last of the BatchNorm's before it; the offset is 0 where it has none."""
    renamed = {theirs: ours for ours, theirs in _factors(scales).items()}
    found = {renamed.get(key, key): array for key, array in arrays.items()}
    for norm in scales:
        factor = found[f"param/{norm}/3"]
        found.setdefault(f"param/{norm}/4", np.zeros(factor.shape, factor.dtype))
    return found


def _factors(scales: Mapping[str, str]) -> dict[str, str]:
    """Names of factors and offsets of BatchNorms, and what they are called in a Scale."""
    return {f"param/{norm}/{3 + i}": f"param/{scale}/{i}" for norm, scale in scales.items() for i in range(2)}


def scales_behind(layers: Iterable[Wiring]) -> dict[str, str]:
    """The Scale that takes what a BatchNorm makes, by the BatchNorm's name; none where several do, or one of OTHER.

    ``layers`` stand in the order in which they run.
    """
    made_by: dict[Hashable, str] = {}
    found: dict[str, set[str]] = {}
    for name, kind, bottoms, tops in layers:
        norm = made_by.get(bottoms[0]) if kind in ("Scale", OTHER) and bottoms else None
        if norm is not None:
            found.setdefault(norm, set()).add(name if kind == "Scale" else OTHER)
        for top in tops:
            made_by.pop(top, None)
            if kind == "BatchNorm":
                made_by[top] = name
    return {norm: min(names) for norm, names in found.items() if len(names) == 1 and OTHER not in names}


Wiring = tuple[str, str, Sequence[Hashable], Sequence[Hashable]]  # name and type of a layer, its bottoms and its tops
OTHER = "Scale of other axes"


def layer_of(key: str) -> tuple[str, int]:
    """The layer and number of a parameter by its name in files."""
    layer, _, index = key.removeprefix("param/").rpartition("/")
    return layer, int(index)
