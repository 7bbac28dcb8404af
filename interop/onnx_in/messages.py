"""ONNX's messages as they lie in a file, read without protobuf: only what a net is made of, nothing copied twice.

Source: onnx.proto3 of the ONNX project, whose numbers are in ``_FIELDS``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...files import wire

MOST_MESSAGES = 200_000  # in one file: the largest language models have some 100,000
MOST_INTEGERS = 1 << 16  # in one list, other than a tensor's values
DEEPEST = 30

# message: {number: (name, type)}; a list where the type has a star, text where it is `string`.
_FIELDS: dict[str, dict[int, tuple[str, str]]] = {
    "Model": {
        1: ("ir_version", "int"),
        2: ("producer_name", "string"),
        7: ("graph", "Graph"),
        8: ("opset_import", "Opset*"),
        14: ("metadata_props", "Pair*"),
        25: ("functions", "Function*"),
    },
    "Opset": {1: ("domain", "string"), 2: ("version", "int")},
    "Pair": {1: ("key", "string"), 2: ("value", "string")},
    "Graph": {
        1: ("node", "Node*"),
        2: ("name", "string"),
        5: ("initializer", "Tensor*"),
        11: ("input", "ValueInfo*"),
        12: ("output", "ValueInfo*"),
        15: ("sparse_initializer", "bytes*"),
    },
    "Node": {
        1: ("input", "string*"),
        2: ("output", "string*"),
        3: ("name", "string"),
        4: ("op_type", "string"),
        5: ("attribute", "Attribute*"),
        7: ("domain", "string"),
    },
    "Attribute": {
        1: ("name", "string"),
        2: ("f", "float"),
        3: ("i", "int"),
        4: ("s", "string"),
        5: ("t", "Tensor"),
        6: ("g", "Graph"),
        7: ("floats", "values:<f4"),
        8: ("ints", "int*"),
        9: ("strings", "string*"),
        20: ("type", "int"),
        21: ("ref_attr_name", "string"),
    },
    "Tensor": {
        1: ("dims", "int*"),
        2: ("data_type", "int"),
        4: ("float_data", "values:<f4"),
        5: ("int32_data", "values:int"),
        7: ("int64_data", "values:int"),
        8: ("name", "string"),
        9: ("raw_data", "bytes"),
        10: ("double_data", "values:<f8"),
        11: ("uint64_data", "values:int"),
        13: ("external_data", "Pair*"),
        14: ("data_location", "int"),
    },
    "Function": {
        1: ("name", "string"),
        4: ("input", "string*"),
        5: ("output", "string*"),
        6: ("attribute", "string*"),
        7: ("node", "Node*"),
        9: ("opset_import", "Opset*"),
        10: ("domain", "string"),
        11: ("attribute_proto", "Attribute*"),
    },
    "ValueInfo": {1: ("name", "string"), 2: ("type", "Type")},
    "Type": {1: ("tensor_type", "TensorType"), 4: ("sequence_type", "bytes"), 5: ("map_type", "bytes")},
    "TensorType": {1: ("elem_type", "int"), 2: ("shape", "Shape")},
    "Shape": {1: ("dim", "Dim*")},
    "Dim": {1: ("dim_value", "int"), 2: ("dim_param", "string")},
}
_SCALARS = ("int", "float", "string", "bytes", "values")


@dataclass
class Message:
    """A message's fields by name; a list is empty and a number 0 where it was left out."""

    kind: str
    fields: dict[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__.get("fields", {})
        if name in fields:
            return fields[name]
        kind = _KINDS[self.__dict__["kind"]].get(name) if "kind" in self.__dict__ else None
        if kind is None:
            raise AttributeError(name)
        return _nothing(kind)

    def has(self, name: str) -> bool:
        return name in self.fields


_KINDS = {kind: dict(known.values()) for kind, known in _FIELDS.items()}


def _nothing(kind: str) -> Any:
    if kind.endswith("*") or kind.startswith("values"):
        return []
    return {"int": 0, "float": 0.0, "string": "", "bytes": b""}.get(kind)


def read_model(buffer: bytes) -> Message:
    """A ModelProto. Raises wire.WireError for bytes that are none."""
    return _Reader().read(memoryview(buffer), "Model", 0)


class _Reader:
    def __init__(self) -> None:
        self.count = 0

    def read(self, buffer: wire.Buffer, kind: str, depth: int) -> Message:
        self.count += 1
        if self.count > MOST_MESSAGES or depth > DEEPEST:
            raise wire.WireError("more messages than any net has", 0)
        known, found = _FIELDS[kind], Message(kind)
        for number, how, value in wire.fields(buffer):
            if number not in known:
                continue
            name, wanted = known[number]
            if wanted.startswith("values"):
                found.fields.setdefault(name, []).append(_values(wanted, how, value))
                continue
            items = self._items(wanted.rstrip("*"), how, value, depth)
            if wanted.endswith("*"):
                into = found.fields.setdefault(name, [])
                into += items
                if len(into) > MOST_MESSAGES:
                    raise wire.WireError(f"more of `{name}` than any net has", 0)
            elif items:
                found.fields[name] = items[-1]
        return found

    def _items(self, kind: str, how: int, value: Any, depth: int) -> list[Any]:
        """What a field holds; nothing where it is written in a way that its type is not."""
        if kind == "int":
            return _integers(value) if how == wire.BYTES else [_signed(value)] if how == wire.NUMBER else []
        if kind == "float":
            return [float(np.frombuffer(value, "<f4")[-1])] if how == wire.FOUR_BYTES else []
        if how != wire.BYTES:
            return []
        if kind == "string":
            return [bytes(value).decode("utf-8", errors="replace")]
        return [value] if kind == "bytes" else [self.read(value, kind, depth + 1)]


def _values(wanted: str, how: int, value: Any) -> np.ndarray:
    """Values of a tensor or a list of floats, which may be many."""
    dtype = wanted.partition(":")[2]
    if dtype == "int":
        if how == wire.NUMBER:
            return np.array([_signed(value)], np.int64)
        return many_integers(value) if how == wire.BYTES else np.empty(0, np.int64)
    if how == wire.NUMBER or len(value) % np.dtype(dtype).itemsize:
        raise wire.WireError("numbers of an odd number of bytes", 0)
    return np.frombuffer(value, dtype)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _integers(value: wire.Buffer) -> list[int]:
    if len(value) > 10 * MOST_INTEGERS:
        raise wire.WireError("a list of more numbers than any net has", 0)
    return [int(number) for number in many_integers(value)]


def many_integers(value: wire.Buffer) -> np.ndarray:
    """Integers in groups of seven bits, one after the other, without a loop over them; some at a time, as what is made
    on the way takes forty times their bytes."""
    raw = np.frombuffer(value, np.uint8)
    count = int(np.count_nonzero(raw < 128))
    if raw.size and raw[-1] >= 128:
        raise wire.WireError("the message ends within a number", 0)
    result, done, at = np.empty(count, np.int64), 0, 0
    while at < raw.size:
        ends = np.flatnonzero(raw[at : at + _PIECE] < 128)
        if not ends.size:
            raise wire.WireError("a number of more than ten bytes", at)
        result[done : done + ends.size] = _integers_of(raw[at : at + ends[-1] + 1], ends)
        done, at = done + ends.size, at + int(ends[-1]) + 1
    return result


_PIECE = 1 << 18  # bytes


def _integers_of(raw: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The integers whose last bytes are at ``ends``."""
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > 10:
        raise wire.WireError("a number of more than ten bytes", 0)
    result = np.zeros(len(ends), np.uint64)
    for i in range(int(lengths.max())):
        has = lengths > i
        result[has] |= (raw[starts[has] + i] & np.uint8(127)).astype(np.uint64) << np.uint64(7 * i)
    return result.view(np.int64)
