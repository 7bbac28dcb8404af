"""The spec and the parameters while they are made, and the values of the graph as views of blobs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .graph import UnsupportedError
from .names import unique

# The number of examples while a graph is read, and that of steps in sequences of any length: larger than any axis and
# prime, so that sizes made of them are told.
BATCH, TIME = 2**31 - 1, 2**31 - 19
Shape = tuple[int, ...]


def has_batch(size: int) -> bool:
    """Whether a size depends on the number of examples, or of steps."""
    return size > BATCH // 2


def broadcast(*shapes: Sequence[int]) -> Shape:
    """The shape that these are stretched to together. numpy's own takes no sizes as large as BATCH times TIME."""
    rank = max((len(shape) for shape in shapes), default=0)
    found = [1] * rank
    for shape in shapes:
        for i, size in enumerate(shape, rank - len(shape)):
            if size != 1 and found[i] not in (1, size):
                raise UnsupportedError(f"sizes {found[i]} and {size} do not go together")
            found[i] = size if found[i] == 1 else found[i]
    return tuple(found)


@dataclass(frozen=True)
class Value:
    """What a name of the graph stands for: a blob of shape ``base``, its axes in the order ``perm``, as ``shape``.

    No layer is made for order and shape until one is needed: reshapes and transposes that follow each other become
    one, or none.
    """

    blob: str
    base: Shape
    perm: Shape
    shape: Shape
    hint: str = ""  # what a layer that makes this view would be called
    whole: bool = False  # whether it holds whole numbers, such as indices
    written: Shape | None = None  # the blob's own shape, where ``base`` is only another reading of it

    @property
    def permuted(self) -> Shape:
        return tuple(self.base[axis] for axis in self.perm)

    @property
    def is_permuted(self) -> bool:
        return self.perm != tuple(range(len(self.perm)))

    @property
    def is_reshaped(self) -> bool:
        return self.shape != self.permuted or self.written is not None

    def on(self, blob: str) -> Value:
        """The same view of another blob of this shape."""
        return replace(self, blob=blob, whole=False)

    def same_view(self, other: Value) -> bool:
        """Whether both are read from their blobs in one way."""
        mine, its = ((v.base, v.perm, v.shape, v.written) for v in (self, other))
        return mine == its

    def viewed(self, shape: Sequence[int], hint: str = "") -> Value:
        return replace(self, shape=tuple(shape), hint=hint or self.hint)

    def axis(self, axis: int) -> int:
        """An axis counted from the start. Raises UnsupportedError where there is none."""
        rank = len(self.shape)
        if not -rank <= axis < rank:
            raise UnsupportedError(f"it names axis {axis} of {rank}")
        return axis % rank


def plain(blob: str, shape: Sequence[int], whole: bool = False) -> Value:
    shape = tuple(shape)
    return Value(blob, shape, tuple(range(len(shape))), shape, whole=whole)


@dataclass
class Layer:
    name: str
    type: str
    bottoms: list[str]
    tops: list[str]
    parameters: dict[str, Any]
    blobs: list[np.ndarray]
    wanted: str  # what it would be called if no other layer were
    sources: list[tuple] = field(default_factory=list)  # for each parameter the memory it was read from
    shared: set[int] = field(default_factory=set)  # parameters that are those of a layer before

    @property
    def rank(self) -> int:
        """Who may have a name that several want: inputs, then layers of ONNX's own nodes, then those added to them."""
        return 0 if self.type == "Input" else 2 if self.type in _ADDED else 1


@dataclass
class Builder:
    """Layers and notes as they come."""

    layers: list[Layer] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    views: dict[tuple, str] = field(default_factory=dict)
    held: list[np.ndarray] = field(default_factory=list)  # so that no memory is taken for another's
    room: float = math.inf  # bytes that parameters may still have

    def note(self, words: str) -> None:
        self.notes[words] = None

    def unique(self, name: str) -> str:
        """A name that no layer and blob has yet."""
        return unique(name, self.names)

    def needed(self, outputs: Iterable[str], given: Sequence[str] = ()) -> tuple[list[Layer], dict[str, str]]:
        """The layers that some blobs depend on, and what each of their blobs is called in the end.

        ``given`` are blobs that no layer makes.
        """
        wanted, kept = set(outputs), []
        for layer in reversed(self.layers):
            if wanted.intersection(layer.tops):
                kept.append(layer)
                wanted.update(layer.bottoms)
        kept.reverse()
        return kept, self._named_anew(kept, given)

    @staticmethod
    def _named_anew(layers: list[Layer], given: Sequence[str]) -> dict[str, str]:
        """Give layers the names they want, as far as each is wanted once; old names of blobs to new."""
        names = dict.fromkeys(given, 1)
        blobs: dict[str, str] = {name: name for name in given}
        for layer in sorted(layers, key=lambda layer: layer.rank):
            layer.name = unique(layer.wanted, names)
            tops = layer.tops
            layer.tops = (
                [layer.name] if len(tops) == 1 else [unique(f"{layer.name}_{i}", names) for i in range(len(tops))]
            )
            blobs.update(zip(tops, layer.tops, strict=True))
        for layer in layers:
            layer.bottoms = [blobs[name] for name in layer.bottoms]
        return blobs

    def add(
        self,
        kind: str,
        name: str,
        bottoms: Sequence[str],
        *,
        tops: int = 1,
        blobs: Sequence[np.ndarray] = (),
        **parameters: Any,
    ) -> list[str]:
        """A layer, and the names of its tops. ``blobs`` are its parameters."""
        _no_batch(parameters)
        wanted, name = name, self.unique(name)
        made = [name] if tops == 1 else [self.unique(f"{name}_{i}") for i in range(tops)]
        given = [np.asarray(array) for array in blobs]
        self.room -= sum(array.size * 4 for array in given)
        if self.room < 0:
            raise UnsupportedError("with it the parameters are many times the size of the file")
        self.held += given
        arrays = [np.ascontiguousarray(array, np.float32).reshape(array.shape) for array in given]
        sources = [(a.__array_interface__["data"][0], a.shape, a.strides, a.dtype.str) for a in given]
        self.layers.append(Layer(name, kind, list(bottoms), made, parameters, arrays, wanted, sources))
        return made

    def elementwise(self, kind: str, name: str, value: Value, **parameters: Any) -> Value:
        """A layer that leaves the shape as it is, and does not ask for it."""
        return value.on(self.add(kind, name, [value.blob], **parameters)[0])

    def blob(self, value: Value) -> str:
        """The blob that has exactly the value's shape, by a Permute and a Reshape where the view needs them."""
        found, base = value.blob, value.written or value.base
        if not _keeps_order(value.perm, value.base):
            if base != value.base:
                found = self._view(found, base, plain(found, value.base), "Reshape", _sizes(base, value.base))
            found, base = self._view(found, value.base, value, "Permute", list(value.perm)), value.permuted
        if value.shape != base:
            found = self._view(found, base, value, "Reshape", _sizes(base, value.shape))
        return found

    def _view(self, blob: str, base: Shape, value: Value, kind: str, numbers: list[int]) -> str:
        key = (blob, kind, tuple(numbers))
        if key not in self.views:
            more: dict[str, Any] = {"order": numbers} if kind == "Permute" else {"shape": numbers}
            axis = len(value.shape) - 1
            if kind == "Reshape" and 0 < axis < len(base) and value.shape == (*base[:axis], math.prod(base[axis:])):
                kind, more = "Flatten", {} if axis == 1 else {"axis": axis}
            self.views[key] = self.add(kind, value.hint or kind.lower(), [blob], **more)[0]
        return self.views[key]

    def sums_to_one(self, value: Value, axis: int) -> bool:
        """Whether a value is a Softmax along this axis."""
        maker = next((layer for layer in reversed(self.layers) if value.blob in layer.tops), None)
        if maker is None or maker.type != "Softmax" or value.is_reshaped:
            return False
        return value.perm[axis] == maker.parameters.get("axis", 1) % len(value.base)

    def flat(self, value: Value) -> Value:
        """The same as a blob of its own shape, without a view."""
        return plain(self.blob(value), value.shape, value.whole)

    def unpermuted(self, value: Value, axis: int) -> tuple[Value, int]:
        """For a layer that works along an axis: a blob and its axis that is the value's, and no need of a Permute."""
        if value.is_reshaped:
            return self.flat(value), axis
        return plain(value.blob, value.base, value.whole), value.perm[axis]

    def permute(self, value: Value, order: Sequence[int], hint: str) -> Value:
        """The value with its axes in another order."""
        order = tuple(order)
        if sorted(order) != list(range(len(value.shape))):
            raise UnsupportedError(f"{list(order)} is no order of {len(value.shape)} axes")
        shape = tuple(value.shape[axis] for axis in order)
        if value.shape != value.permuted and _keeps_order(order, value.shape):
            return value.viewed(shape, hint)
        if value.shape != value.permuted:
            value = self.flat(value)
        return replace(value, perm=tuple(value.perm[axis] for axis in order), shape=shape, hint=hint)

    def repermuted(self, like: Value, blob: str, base: Sequence[int]) -> Value:
        """A blob whose axes are those of the blob of ``like``, in its order."""
        base = tuple(base)
        if like.is_reshaped:
            return plain(blob, base)
        return Value(blob, base, like.perm, tuple(base[axis] for axis in like.perm), like.hint)


_ADDED = ("Permute", "Reshape", "Flatten", "Pad", "Power", "Slice")


def _keeps_order(order: Sequence[int], shape: Sequence[int]) -> bool:
    """Whether an order of axes only moves axes of one place, so that the values lie as before."""
    moved = [axis for axis in order if shape[axis] != 1]
    return moved == sorted(moved)


def _sizes(base: Shape, shape: Shape) -> list[int]:
    """A shape for Reshape that holds for any number of examples."""
    found = []
    for i, size in enumerate(shape):
        if has_batch(size):
            found.append(0 if i < len(base) and base[i] == size else -1)
        else:
            found.append(size)
    if found.count(-1) > 1:
        raise UnsupportedError("its shape depends on the number of examples twice")
    return found


def _no_batch(parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        for number in np.ravel(np.asarray(value, dtype=object)):
            if isinstance(number, int) and not isinstance(number, bool) and has_batch(abs(number)):
                raise UnsupportedError(f"`{name}` would depend on the number of examples")


def entries(layers: list[Layer]) -> list[dict[str, Any]]:
    """The layers as a person would write them: what a layer reads is left out where it is what stands before it."""
    found, previous = [], None
    for layer in layers:
        entry: dict[str, Any] = {"name": layer.name, "type": layer.type}
        if layer.bottoms and layer.bottoms != [previous]:
            entry["bottom"] = layer.bottoms[0] if len(layer.bottoms) == 1 else layer.bottoms
        if layer.tops != [layer.name]:
            entry["top"] = layer.tops
        found.append(entry | layer.parameters)
        previous = layer.tops[0]
    return found
