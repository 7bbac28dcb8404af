"""Shapes as parameters: a list, Caffe's {dim: [...]}, or several of them."""

from __future__ import annotations

from typing import Any

from ...spec.errors import NettrainError
from ...spec.node import Node
from ...spec.reader import MISSING, Reader
from ...spec.values import Bounds, ListOf, Whole


class Shape(tuple):
    """One shape: ``[8, 6]`` or ``{dim: [8, 6]}``. Numbers below ``least`` are refused."""

    words = "a shape such as [8, 6]"
    least = 0

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        if isinstance(node.value, dict) and list(node.value) == ["dim"]:
            node = node.value["dim"]
        if isinstance(node.value, dict | str | bool) or node.value is None:
            return reader.wrong(node, what, cls.words)
        sizes = cls._sizes().from_node(reader, node, what)
        return sizes if sizes is MISSING else cls(sizes)

    @classmethod
    def _sizes(cls) -> ListOf:
        return ListOf(Whole(Bounds(minimum=cls.least)))

    @classmethod
    def schema(cls) -> dict:
        sizes = cls._sizes().schema()
        return {"anyOf": [sizes, {"type": "object", "properties": {"dim": sizes}, "required": ["dim"]}]}


class Shapes(tuple):
    """One shape for every top, ``[2, 3]``, or a list of one for each, ``[[2, 3], [2]]``."""

    words = "a shape such as [8, 6], or a list of shapes"

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        several = isinstance(node.value, list) and all(isinstance(item.value, list | dict) for item in node.value)
        items = node.value if several else [node]
        shapes = [Shape.from_node(reader, item, what) for item in items]
        return MISSING if any(shape is MISSING for shape in shapes) else cls(shapes)

    @classmethod
    def schema(cls) -> dict:
        return {"anyOf": [Shape.schema(), {"type": "array", "items": Shape.schema()}]}

    def check_count(self, tops: int) -> None:
        """Raise NettrainError unless there is no shape, one, or one for each top."""
        if len(self) not in (0, 1, tops):
            raise NettrainError(f"needs one shape, or one for each of its {tops} tops, got {len(self)}", key="shape")

    def of(self, i: int) -> tuple[int, ...]:
        """The shape of top i."""
        return tuple(self[i] if len(self) > 1 else self[0] if self else ())
