"""Uses of one block in a row, each reading what the one before makes, as a single use with ``repeat``."""

from __future__ import annotations

import re
from collections.abc import Mapping as Values
from collections.abc import Sequence
from typing import Any

from ..spec.node import Node
from .block_names import common_start
from .caffe.layers import Mapping
from .repeats import Item

MOST_LISTS = 2  # values that are another in the first copy, besides the ids


def in_runs(items: Sequence[Item], blocks: Values[str, Node]) -> list[Item]:
    """The same with uses in a row that differ in their ids, and in values of the first alone, as one."""
    runs: list[list[Item]] = []
    for item in items:
        if runs and _continues(runs[-1], item, blocks):
            runs[-1].append(item)
        else:
            runs.append([item])
    taken = {*blocks, *(run[0].name for run in runs if len(run) == 1)}
    made: list[Item] = []
    for run in runs:
        if len(run) > 1:
            name = common_start([item.name for item in run])
            name = run[0].name if not name or name in taken else name
            taken.add(name)
            made.append(_joined(run, name, _parameters(blocks[run[0].type])))
        else:
            made += run
    return made


def cuts(items: Sequence[Item], blocks: Values[str, Node]) -> set[int]:
    """The items before which a run would be cut in two."""
    return {i for i in range(1, len(items)) if _continues([items[i - 1]], items[i], blocks)}


def _parameters(block: Node) -> dict[str, Node]:
    return block.value["parameters"].value if "parameters" in block.value else {}


def _continues(run: list[Item], item: Item, blocks: Values[str, Node]) -> bool:
    block = blocks.get(item.type)
    parameters = _parameters(block) if block is not None else {}
    last = run[-1]
    if "id" not in parameters or item.type != last.type or item.bottoms != last.tops or "repeat" in last.node.value:
        return False
    values = [{key: _value(one, key, parameters) for key in parameters if key != "id"} for one in (run[0], last, item)]
    if len(run) > 1 and values[2] != values[1]:
        return False
    return sum(values[0][key] != values[2][key] for key in values[0]) <= MOST_LISTS


def _value(item: Item, key: str, parameters: Values[str, Node]) -> Any:
    return item.node.value.get(key, parameters[key]).to_python()


def _joined(run: list[Item], name: str, parameters: Values[str, Node]) -> Item:
    first = run[0].node
    use = Mapping(first.place)
    use.put("name", Node(name, first.place))
    for key in ("type", "bottom"):
        use.put(key, first.value.get(key))
    use.put("repeat", Node(len(run), first.place))
    for key, default in parameters.items():
        nodes = [item.node.value.get(key, default) for item in run]
        values = [node.to_python() for node in nodes]
        while len(values) > 1 and values[-1] == values[-2]:
            values.pop()
        is_list = len(values) > 1 or isinstance(values[0], list)  # of values for copies, or one that is a list itself
        use.put(key, Node(nodes[: len(values)], nodes[0].place) if is_list else nodes[0])
    return Item(use.node, run[0].bottoms, run[-1].tops)


def without_defaults(layer: Node, blocks: Values[str, Node]) -> Node:
    """A use of a block without what leaving it out means too."""
    block = blocks.get(str(layer.value["type"].value))
    defaults = {key: one.value for key, one in _parameters(block).items() if one.value is not None} if block else {}
    kept = {
        key: node
        for key, node in layer.value.items()
        if key not in defaults or isinstance(node.value, str) or node.to_python() != defaults[key]
    }
    return Node(kept, layer.place, layer.keys)


def with_numbers(layer: Node, blocks: Values[str, Node]) -> Node:
    """A use of a block whose ids are numbers, where numbers give the same names."""
    ids = layer.value.get("id")
    if ids is None or str(layer.value["type"].value) not in blocks:
        return layer
    nodes = ids.value if isinstance(ids.value, list) else [ids]
    if not all(isinstance(one.value, str) and re.fullmatch("0|[1-9][0-9]{0,8}", one.value) for one in nodes):
        return layer
    numbers = [Node(int(one.value), one.place) for one in nodes]
    value = layer.value | {"id": Node(numbers, ids.place) if isinstance(ids.value, list) else numbers[0]}
    return Node(value, layer.place, layer.keys)
