"""Parts of a net that repeat, written once: ``inception_3a/1x1``, ``inception_3b/1x1`` … become uses of a block.

Layers keep their names, so that weights still fit: only parts whose layers are called ``USE/NAME`` are looked at.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from ..net import registry
from ..spec.node import Node
from .caffe.layers import Mapping

_NAME_OF_PARAMETER = re.compile(r"[^A-Za-z0-9_]+")
_FIRST = ("name", "type", "bottom", "top")


@dataclass
class _Part:
    """Layers in a row with one name before the slash; one blob goes in, one comes out."""

    use: str
    layers: list[Node]
    input: str = ""
    output: str = ""
    local: list[dict[str, Any]] = field(default_factory=list)  # the layers as they would stand in a block


def with_blocks(root: Node) -> Node:
    """The spec with blocks for what repeats; the same tree where nothing does."""
    rows = _rows(root.value["layers"].value)
    parts = {id(row): part for row in rows if (part := _part(row, root.value["layers"].value)) is not None}
    families: dict[Any, list[_Part]] = {}
    for part in parts.values():
        families.setdefault(_shape(part), []).append(part)
    families = {shape: family for shape, family in families.items() if len(family) > 1}
    if not families:
        return root
    blocks = Mapping(root.place)
    uses: dict[str, Node] = {}
    renamed: dict[str, str] = {}
    for family in families.values():
        name, block, of_use = _block(family, blocks)
        blocks.put(name, block)
        for part in family:
            use = Mapping(part.layers[0].place)
            use.put("name", Node(part.use, part.layers[0].place))
            use.put("type", Node(name, part.layers[0].place))
            use.put("bottom", Node(part.input, part.layers[0].place))
            for key, node in of_use[part.use].items():
                use.put(key, node)
            uses[part.use] = use.node
            renamed[part.output] = part.use
    layers = []
    for row in rows:
        part = parts.get(id(row))
        layers += [uses[part.use]] if part is not None and part.use in uses else row
    result = Mapping(root.place)
    for key, node in root.value.items():
        if key == "layers":
            result.put("blocks", blocks.node)
            node = Node([_with_names(layer, renamed) for layer in layers], node.place)
        result.put(key, node)
    return result.node


def _rows(layers: list[Node]) -> list[list[Node]]:
    """Layers that follow each other and share what stands before the first slash; others alone."""
    rows: list[list[Node]] = []
    for layer in layers:
        use = _use(layer)
        if rows and use and _use(rows[-1][0]) == use:
            rows[-1].append(layer)
        else:
            rows.append([layer])
    return rows


def _use(layer: Node) -> str:
    return _name(layer).partition("/")[0] if "/" in _name(layer) else ""


def _name(layer: Node) -> str:
    return str(layer.value["name"].value)


def _names(layer: Node, key: str) -> list[str]:
    node = layer.value.get(key)
    if node is None:
        return [_name(layer)] if key == "top" else []
    value = node.to_python()
    return value if isinstance(value, list) else [value]


def _part(row: list[Node], layers: list[Node]) -> _Part | None:
    """A row as a part that a block may stand for; None where it is none."""
    use = _use(row[0])
    if len(row) < 2 or not use or any({"include", "exclude"} & layer.value.keys() for layer in row):
        return None
    made = {name for layer in row for name in _names(layer, "top")}
    outside = [layer for layer in layers if all(layer is not own for own in row)]
    read = {name for layer in outside for name in _names(layer, "bottom")}
    inputs = list(dict.fromkeys(name for layer in row for name in _names(layer, "bottom") if name not in made))
    outputs = [name for name in made if name in read]
    taken = {name for layer in outside for name in [_name(layer), *_names(layer, "top"), *_names(layer, "bottom")]}
    last = _names(row[-1], "top")
    if len(inputs) != 1 or len(outputs) != 1 or last != outputs or use in taken or _is_overwritten(inputs[0], row):
        return None
    if any(layer.value.get("param") is not None and "name" in str(layer.value["param"].to_python()) for layer in row):
        return None
    part = _Part(use, row, inputs[0], outputs[0])
    inside = {name: name.removeprefix(f"{use}/") for name in made} | {inputs[0]: "in"}
    if len(set(inside.values())) < len(inside) or any("$" in str(layer.to_python()) for layer in row):
        return None
    for layer in row:
        plain = dict(layer.to_python())
        plain["name"] = plain["name"].removeprefix(f"{use}/")
        for key in ("bottom", "top"):
            names = [inside[name] for name in _names(layer, key)]
            plain[key] = names[0] if len(names) == 1 else names
        part.local.append(plain)
    return part


def _is_overwritten(name: str, row: list[Node]) -> bool:
    return any(name in _names(layer, "top") for layer in row)


def _shape(part: _Part) -> Any:
    """What parts of one block have alike: everything but plain values."""

    def outline(value: Any) -> Any:
        if isinstance(value, dict):
            return tuple((key, outline(item)) for key, item in value.items())
        if isinstance(value, list):
            return tuple(map(outline, value))
        return type(value).__name__

    return tuple(
        (*(str(layer[key]) for key in _FIRST), outline({k: v for k, v in layer.items() if k not in _FIRST}))
        for layer in part.local
    )


def _block(family: list[_Part], blocks: Mapping) -> tuple[str, Node, dict[str, dict[str, Node]]]:
    """A name, the block, and what each use must say."""
    first = family[0]
    place = first.layers[0].place
    of_use: dict[str, dict[str, Node]] = {part.use: {} for part in family}
    differing = [
        (i, key)
        for i, layer in enumerate(first.local)
        for key in layer
        if key not in _FIRST and any(part.local[i][key] != layer[key] for part in family)
    ]
    keys = [key for _, key in differing]
    layers = []
    for i, layer in enumerate(first.local):
        made = Mapping(first.layers[i].place)
        for key, value in layer.items():
            node = first.layers[i].value.get(key)
            if key in _FIRST or node is None:
                made.put(key, Node.plain(value, place, in_one_place=True))
            elif (i, key) in differing:
                name = key if keys.count(key) == 1 else f"{_short(key)}_{_NAME_OF_PARAMETER.sub('_', layer['name'])}"
                made.put(key, Node(f"${name}", node.place))
                for part in family:
                    of_use[part.use][name] = part.layers[i].value[key]
            else:
                made.put(key, node)
        layers.append(made.node)
    block = Mapping(place)
    names = list(next(iter(of_use.values())))
    if names:
        parameters = Mapping(place)
        for name in names:
            parameters.put(name, Node(None, place))
        block.put("parameters", parameters.node)
    block.put("layers", Node(layers, place))
    return _name_of(family, blocks), block.node, of_use


def _short(key: str) -> str:
    return {"num_output": "n"}.get(key, key)


def _name_of(family: list[_Part], blocks: Mapping) -> str:
    """What the uses are called, without what tells them apart."""
    first, last = min(part.use for part in family), max(part.use for part in family)
    alike = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    stem = re.sub(r"[^A-Za-z]+$", "", first[:alike]) or "block"
    taken = [*blocks.node.value, *(part.use for part in family)]
    while stem in taken or registry.layer_type(stem) is not None:
        stem += "_block"
    return stem


def _with_names(layer: Node, renamed: dict[str, str]) -> Node:
    """A layer that reads blobs by their new names."""
    if "bottom" not in layer.value or not set(_names(layer, "bottom")) & renamed.keys():
        return layer
    names = [renamed.get(name, name) for name in _names(layer, "bottom")]
    value = dict(layer.value)
    value["bottom"] = Node.plain(names[0] if len(names) == 1 else names, layer.value["bottom"].place, in_one_place=True)
    return Node(value, layer.place, layer.keys)
