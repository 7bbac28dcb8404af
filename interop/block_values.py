"""Values of layers in parts that become uses of one block: what differs is a parameter, or is made of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..net.blocks import UseKeys
from ..spec.node import Node
from .block_names import Names

_SHORT = {"num_output": "n", "kernel_size": "kernel"}


@dataclass
class Slot:
    """A key of the block's layer of this number, and its value in each part."""

    layer: int
    key: str
    nodes: list[Node]

    @property
    def values(self) -> list[Any]:
        return [node.to_python() for node in self.nodes]


@dataclass
class Given:
    """The values in the block, one for each slot; and the parameters in them, with what each use gives."""

    nodes: list[Node] = field(default_factory=list)
    parameters: dict[str, list[Node]] = field(default_factory=dict)


def in_parameters(slots: Sequence[Slot], labels: Sequence[str], names: Names | None) -> Given:
    """What the layers of a block say. ``labels`` tell its layers apart where several have parameters for one key."""
    given = Given()
    differs = [not all(_equal(value, slot.values[0]) for value in slot.values) for slot in slots]
    texts = [names.value(slot.values) if names is not None else None for slot in slots]
    open_ = [k for k in range(len(slots)) if differs[k] and texts[k] is None]
    open_.sort(key=lambda k: _size(slots[k].values))
    bases: dict[str, list[int]] = {}  # by key, the slots that get a parameter of their own
    formulas: dict[int, tuple[int, int]] = {}  # a slot is so many times another
    for k in open_:
        of_key = bases.setdefault(slots[k].key, [])
        found = ((base, times) for base in of_key if (times := _times(slots[k].values, slots[base].values)))
        formulas[k] = next(found, (k, 1))
        if formulas[k][0] == k:
            of_key.append(k)
    called: dict[int, str] = {}
    for k in sorted(k for k in open_ if formulas[k][0] == k):
        slot = slots[k]
        same = next((other for other in called if all(map(_equal, slots[other].values, slot.values))), None)
        if same is None:
            alone = len(bases[slot.key]) == 1
            name = slot.key if alone else f"{_SHORT.get(slot.key, slot.key)}_{labels[slot.layer]}"
            called[k] = _free(name, given.parameters)
            given.parameters[called[k]] = slot.nodes
        else:
            called[k] = called[same]
    for k, slot in enumerate(slots):
        node = slot.nodes[0]
        if k in formulas:
            base, times = formulas[k]
            node = Node(f"${called[base]}" if times == 1 else f"{times} * ${called[base]}", node.place)
        elif differs[k]:
            node = Node.plain(texts[k], node.place, in_one_place=True)
        given.nodes.append(node)
    return given


def _equal(one: Any, other: Any) -> bool:
    return one == other and type(one) is type(other)


def _size(values: Sequence[Any]) -> float:
    return sum(values) if all(isinstance(one, int | float) for one in values) else 0.0


def _times(values: Sequence[Any], base: Sequence[Any]) -> int:
    """How many times the base these values are, each of them; 0 where they are not."""
    if all(map(_equal, values, base)):
        return 1
    if not all(type(one) is int and one > 0 for one in [*values, *base]):
        return 0
    times = values[0] // base[0]
    return times if all(a == times * b for a, b in zip(values, base, strict=True)) else 0


def _free(name: str, taken: dict[str, list[Node]]) -> str:
    """A name that a parameter may have; ``id`` is that of the names."""
    name = re.sub("[^A-Za-z0-9_]+", "_", name)
    while name in taken or name in ("name", "id") or name in UseKeys.names() or not re.match("[A-Za-z_]", name):
        name = f"p_{name}"
    return name
