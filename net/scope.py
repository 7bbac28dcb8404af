"""What the layers and blobs of a block are called outside it, and what a layer reads that does not say so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.errors import Place, Use
from ..spec.node import Node


class Order:
    """What a layer without `bottom` reads: the first top of the layer before it, which may depend on the phase.

    ``options`` are the blobs it may be, each with the condition under which its layer is there; the last that is there
    counts.
    """

    def __init__(self, options: Sequence[tuple[str, str | None]] = ()):
        self.options = list(options)

    def add(self, blob: str, when: str | None) -> None:
        self.options = [] if when is None else [one for one in self.options if one[1] != when]
        self.options.append((blob, when))

    def choices(self, sure: set[str | None]) -> list[tuple[str, str | None]]:
        """The options of a layer that is there only under conditions that are ``sure``."""
        last = max((i for i, one in enumerate(self.options) if one[1] in sure), default=0)
        return [(blob, None if when in sure else when) for blob, when in self.options[last:]]


@dataclass
class Scope:
    """Where layers stand: at the top of a spec (without a use), or in a block as one use of it has it."""

    prefix: str
    use: Use | None
    blobs: Mapping[str, str]  # inputs and outputs of the block -> their names outside
    sure: frozenset[str | None]  # conditions that hold wherever the use is there

    def outer(self, name: str) -> str:
        return self.blobs.get(name) or f"{self.prefix}{name}"


def set_value(node: Node, key: str, value: Any, place: Place) -> None:
    node.value[key], node.keys[key] = Node.plain(value, place, in_one_place=True), place


def is_name(node: Node) -> bool:
    return isinstance(node.value, str) and bool(node.value)


def names_of(node: Node, key: str) -> list[str]:
    """The names that a layer has under a key."""
    value = node.value.get(key)
    items = value.value if value is not None and isinstance(value.value, list) else [value] if value else []
    return [item.value for item in items if is_name(item)]


def top_name(use: str, output: str, outputs: Sequence[str]) -> str:
    """What an output is called outside: like the use where it is the only one."""
    return use if len(outputs) == 1 else f"{use}/{output}"


def most(count: int | tuple[int, int | None]) -> int | None:
    return count if isinstance(count, int) else count[1]
