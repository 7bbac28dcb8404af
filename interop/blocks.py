"""Parts of a net that repeat, written once: the residual units of a ResNet become uses of a block.

Layers keep their names, so that weights still fit. Where these are ``USE/NAME`` throughout, as in a GoogLeNet, that is
what a block gives by itself; elsewhere it names its layers in whole, ``/res$(id)_branch2a``, and a use says its ``id``.
What saves most is taken first, and again, until nothing becomes much shorter: so blocks may have blocks in them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..net import registry
from ..spec.node import Node
from .block_names import Names, common_start, local_names, word
from .block_values import Slot, in_parameters
from .caffe.layers import Mapping
from .repeats import NAMED, Item, alike, default_of, groups, most_saved, names_of
from .runs import cuts, in_runs, with_numbers, without_defaults
from .yaml_out import block_lines, layer_lines, leaves_bottom_out

SHORTEST = 3  # layers of a part; of one whose layers are called USE/NAME two
WORTH = 4  # lines that a block must save
SHARE = 0.3  # of the text it stands for
_LINE = 25  # characters that a line counts for besides its own


@dataclass
class _Found:
    """A block, and the uses that stand for parts of the net."""

    name: str
    block: Node
    uses: list[tuple[range, Item]]
    lines: int
    saved: int  # in characters
    renamed: dict[str, str] = field(default_factory=dict)  # blobs


def with_blocks(root: Node) -> Node:
    """The spec with blocks for what repeats; the same tree where nothing does."""
    items = [Item.of(layer) for layer in root.value["layers"].value]
    _write_lines(items)
    blocks = Mapping(root.place)
    while (best := _best(items, blocks)) is not None:
        blocks.put(best.name, best.block)
        items = _with_uses(items, best)
    if not blocks.node.value:
        return root
    result = Mapping(root.place)
    for key, node in root.value.items():
        if key == "layers":
            result.put("blocks", blocks.node)
            items = in_runs(items, blocks.node.value)
            layers = [_without_bottom(items, i) for i in range(len(items))]
            layers = [without_defaults(layer, blocks.node.value) for layer in layers]
            node = Node([with_numbers(layer, blocks.node.value) for layer in layers], node.place)
        result.put(key, node)
    return result.node


def _write_lines(items: Sequence[Item]) -> None:
    for before, item in zip([None, *items], items, strict=False):
        item.text = layer_lines([item.node], "  ", before=before.node if before else None)


def _without_bottom(items: Sequence[Item], i: int) -> Node:
    """A layer's node; where it is a use of a block, or follows one, without the bottom that it reads anyway."""
    layer = items[i].node
    if i == 0 or not {True} & {registry.layer_type(one.type) is None for one in items[i - 1 : i + 1]}:
        return layer
    before = items[i - 1]
    is_use = registry.layer_type(items[i].type) is None
    if before.tops[:1] != items[i].bottoms or {"include", "exclude"} & before.node.value.keys():
        return layer
    if not is_use and not leaves_bottom_out(layer):
        return layer
    value = {key: node for key, node in layer.value.items() if key != "bottom"}
    return Node(value, layer.place, layer.keys)


def _best(items: list[Item], blocks: Mapping) -> _Found | None:
    """The block that makes the text shorter than any other does; None where none is worth it."""
    best: _Found | None = None
    text = _text(items, blocks.node.value)
    for parts in alike(items, 2, cuts(items, blocks.node.value)):
        if best is not None and most_saved(parts, items) < best.lines:
            break
        for group in groups(items, parts):
            found = _Family(items, text, group, blocks).found()
            if found is not None and (best is None or found.saved > best.saved):
                best = found
    return best


def _text(items: Sequence[Item], blocks: dict[str, Node]) -> list[str]:
    """The lines of layers, with those in a row as one where they may be."""
    return [line for item in in_runs(items, blocks) for line in item.text or layer_lines([item.node], "  ")]


def _size_of(lines: Sequence[str]) -> int:
    return sum(_LINE + len(line) for line in lines)


def _replaced(items: Sequence[Item], uses: Sequence[tuple[range, Item]]) -> list[Item]:
    made: list[Item] = []
    at = 0
    for part, use in uses:
        made += [*items[at : part.start], use]
        at = part.stop
    return made + list(items[at:])


def _with_uses(items: list[Item], found: _Found) -> list[Item]:
    made = _replaced(items, found.uses)
    for item in made:
        if found.renamed.keys() & {*item.bottoms, *item.tops}:  # tops of what is in place
            value = dict(item.node.value)
            item.bottoms, item.tops = (
                [found.renamed.get(one, one) for one in some] for some in (item.bottoms, item.tops)
            )
            for key, names in (("bottom", item.bottoms), ("top", item.tops)):
                if key in value:
                    value[key] = Node.plain(_one_or_all(names), value[key].place, in_one_place=True)
            item.node = Node(value, item.node.place, item.node.keys)
    return made


def _one_or_all(names: Sequence[Any]) -> Any:
    return names[0] if len(names) == 1 else list(names)


class _Family:
    """Parts that may be uses of one block, and what the block would be."""

    def __init__(self, items: list[Item], text: list[str], parts: list[range], blocks: Mapping):
        self.items, self.text, self.parts, self.blocks = items, text, parts, blocks
        self.first = [items[i] for i in parts[0]]
        self.size, self.inputs = len(self.first), [self._input(part) for part in parts]
        self.place = self.first[0].node.place
        self.outside = {
            name
            for i, item in enumerate(items)
            if not any(i in part for part in parts)
            for name in (item.name, *item.bottoms, *item.tops)
        }
        self.given: list[dict[str, Node]] = [{} for _ in parts]  # what each use says
        self.parameters: dict[str, Node] = {}

    def _input(self, part: range) -> str:
        made = {top for i in part for top in self.items[i].tops}
        return next(name for i in part for name in self.items[i].bottoms if name not in made)

    def found(self) -> _Found | None:
        """The block with its uses; None where it would save too little, or its names have nothing in common."""
        rows = [[self.items[part[i]].name for part in self.parts] for i in range(self.size)]
        tops = [
            [self.items[part[i]].tops[t] for part in self.parts]
            for i, item in enumerate(self.first)
            for t in range(len(item.tops))
        ]
        local = local_names(rows, tops)
        if local is not None and not set(local) & self.outside:
            return self._made(local, None)
        names = Names([*rows, *tops])
        if self.size < SHORTEST or not names.ids:
            return None
        return self._made(self._names_of_uses(names), names)

    def _names_of_uses(self, names: Names) -> list[str]:
        stem, taken = names.stems()[0], self._taken()
        for text in (f"{stem}{{}}", f"{stem}{{}}_block", "block_{}"):
            found = [text.format(one).strip("_-./ ") for one in names.ids]
            if len({*found}) == len(found) and all(found) and not set(found) & taken:
                return found
        return list(names.ids)

    def _taken(self) -> set[str]:
        return {
            name for i, item in enumerate(self.items) for name in [item.name] if not any(i in p for p in self.parts)
        }

    def _made(self, uses: list[str], names: Names | None) -> _Found | None:
        block = self._block(uses, names)
        name = self._name(uses, names)
        spans = self._uses(name, uses, names)
        of_block = block_lines(name, block)
        for _, use in spans:
            use.text = layer_lines([without_defaults(use.node, {name: block})], "  ")
        after = _text(_replaced(self.items, spans), {**self.blocks.node.value, name: block})
        lines = len(self.text) - len(after) - len(of_block)
        saved = _size_of(self.text) - _size_of(after) - _size_of(of_block)
        stood_for = _text([self.items[i] for part in self.parts for i in part], self.blocks.node.value)
        worth, share = (WORTH, SHARE) if names is not None else (1, 0)
        if lines < worth or saved <= share * _size_of(stood_for):
            return None
        renamed = {}
        if names is None:
            renamed = {self.items[part[-1]].tops[0]: use for part, use in zip(self.parts, uses, strict=True)}
        return _Found(name, block, spans, lines, saved, renamed)

    def _block(self, uses: list[str], names: Names | None) -> Node:
        """The block. What each use says of its parameters is in ``given``."""
        if names is not None:
            self._add({"id": [Node(one, self.place) for one in names.ids]})
        blobs: dict[str, str] = {self.inputs[0]: "in"}
        made: list[Mapping] = []
        for i, item in enumerate(self.first):
            layer = Mapping(item.node.place)
            name = self._text([self.items[part[i]].name for part in self.parts], uses, names)
            layer.put("name", Node(name, item.node.at("name")))
            for t, top in enumerate(item.tops):
                if top not in blobs:
                    row = [self.items[part[i]].tops[t] for part in self.parts]
                    blobs[top] = self._text(row, uses, names)
            layer.put("type", item.node.value["type"])
            bottoms, tops = [blobs[one] for one in item.bottoms], [blobs[one] for one in item.tops]
            if i or bottoms != ["in"]:
                layer.put("bottom", Node.plain(_one_or_all(bottoms), self.place, in_one_place=True))
            if tops != [name] and registry.layer_type(item.type) is not None:
                layer.put("top", Node.plain(_one_or_all(tops), self.place, in_one_place=True))
            made.append(layer)
        stem = word(names.stems()[0]) if names is not None else ""
        labels = [word(str(layer.node.value["name"].value)).removeprefix(f"{stem}_") for layer in made]
        slots = [Slot(i, key, nodes) for i in range(self.size) for key, nodes in self._values(i).items()]
        given = in_parameters(slots, labels, names)
        for slot, node in zip(slots, given.nodes, strict=True):
            made[slot.layer].put(slot.key, node)
        self._add(given.parameters)
        inner = [Item(layer.node, names_of(layer.node, "bottom"), []) for layer in made]
        for one, item in zip(inner, self.first, strict=True):
            one.tops = [blobs[top] for top in item.tops]
        block = Mapping(self.place)
        if self.parameters:
            parameters = Mapping(self.place)
            for name, node in self.parameters.items():
                parameters.put(name, node)
            block.put("parameters", parameters.node)
        layers = [without_defaults(_without_bottom(inner, i), self.blocks.node.value) for i in range(self.size)]
        block.put("layers", Node(layers, self.place))
        return block.node

    def _text(self, row: list[str], uses: list[str], names: Names | None) -> str:
        if names is None:
            return row[0].removeprefix(f"{uses[0]}/")
        return f"/{names.text(row)}"

    def _values(self, i: int) -> dict[str, list[Node]]:
        """What a layer says in each part, by key; where one says nothing, what that means."""
        layers = [self.items[part[i]] for part in self.parts]
        keys = dict.fromkeys(key for layer in layers for key in layer.node.value if key not in NAMED)
        return {
            key: [layer.node.value.get(key) or Node(default_of(layer, key), layer.node.place) for layer in layers]
            for key in keys
        }

    def _add(self, parameters: dict[str, list[Node]]) -> None:
        """Parameters with what each use gives; a small value that most of them give is the default."""
        for name, nodes in parameters.items():
            values = [node.to_python() for node in nodes]
            usual = max(values, key=values.count) if isinstance(values[0], int | float) else None
            if usual not in (0, 1) or values.count(usual) * 2 <= len(values):
                usual = None
            self.parameters[name] = Node(usual, self.place)
            for given, node in zip(self.given, nodes, strict=True):
                given[name] = node

    def _uses(self, name: str, uses: list[str], names: Names | None) -> list[tuple[range, Item]]:
        found = []
        for k, part in enumerate(self.parts):
            use = Mapping(self.items[part.start].node.place)
            use.put("name", Node(uses[k], use.node.place))
            use.put("type", Node(name, use.node.place))
            use.put("bottom", Node(self.inputs[k], use.node.place))
            for key in self.parameters:
                use.put(key, self.given[k][key])
            top = self.items[part[-1]].tops[0] if names is not None else uses[k]
            found.append((part, Item(use.node, [self.inputs[k]], [top])))
        return found

    def _name(self, uses: list[str], names: Names | None) -> str:
        """What the part does with its input, where that has a name; else what uses are called but for their ends."""
        last = next((item for item in reversed(self.first) if len(item.bottoms) > 1), None)
        stem = common_start(uses) if names is None else re.sub("[^A-Za-z]+$", "", names.stems()[0])
        if names is not None and last is not None and last.type in ("Eltwise", "Concat"):
            reads_input = self.inputs[0] in last.bottoms
            stem = {"Eltwise": "residual" if reads_input else "projection", "Concat": "dense" if reads_input else stem}[
                last.type
            ]
        stem = re.sub("[^A-Za-z]+$", "", stem) or "block"
        taken = [*self.blocks.node.value, *(uses if names is None else ())]
        while stem in taken or registry.layer_type(stem) is not None:
            stem += "_block"
        return stem
