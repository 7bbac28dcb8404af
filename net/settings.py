"""``--set`` settings: values of a spec that are given on the command line, a layer's by its name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..spec.errors import Place, Problems, SpecError, nearest
from ..spec.node import Node
from ..spec.reading import read_text
from ..spec.template import may_give
from . import registry


def override(root: Node, settings: Iterable[str], problems: Problems) -> None:
    """Apply ``--set solver.base_lr=0.1`` style settings; a layer is addressed by its name."""
    for setting in settings:
        path, equals, text = setting.partition("=")
        place = Place(f"--set {setting}")
        if not equals or not path.strip():
            problems.add(place, "write it as KEY=VALUE, such as solver.base_lr=0.1 or conv1.num_output=32")
            continue
        try:
            is_empty = not text.strip() or text.strip().startswith("#")
            value = Node(None, place) if is_empty else read_text(text, place.file)
        except SpecError as error:
            for problem in error.problems:
                problems.add(place, problem.message)
            continue
        _set(root, path.strip().split("."), Node.plain(value.to_python(), place, in_one_place=True), place, problems)


def _set(root: Node, path: list[str], value: Node, place: Place, problems: Problems) -> None:
    named = _named_layers(root)
    # a name may contain dots; the longest that fits is meant
    first = next((name for n in range(len(path), 0, -1) if (name := ".".join(path[:n])) in named), path[0])
    rest = path[first.count(".") + 1 :]
    blocks = _mapping(root.value.get("blocks"))
    if first in named and not rest:
        kind = named[first][0].value.get("type")
        name = str(kind.value) if kind else ""
        cls = registry.layer_type(name)
        keys = _mapping(_mapping(blocks.get(name)).get("parameters")) if name in blocks and not cls else {}
        key = next(iter(cls.Parameters.names() if cls else keys), "bottom")
        what = "a layer" if cls or name not in blocks else f"a use of the block `{name}`"
        problems.add(place, f"`{first}` is {what}; set one of its keys, such as {first}.{key}=…")
    elif first in named:
        for node in named[first]:
            _set_below(node, [first], rest, value, place, problems)
    elif first == "blocks" and len(path) > 2 and path[1] in blocks:
        _set_in_block(path[1], blocks[path[1]], path[2:], value, place, problems)
    elif not rest or first in ("solver", "blocks"):
        _set_below(root, [], path, value, place, problems)
    elif whole := _whole_name(first, blocks):
        where = ".".join(["blocks", *whole, *rest])
        message = f"`{first}` is written in a block; {where} sets it in every use"
        problems.add(place, message)
    elif use := _use_around(first, named, blocks):
        block = str(named[use][0].value["type"].value)
        parameters = ", ".join(f"{use}.{key}" for key in _mapping(_mapping(blocks[block]).get("parameters")))
        inner = ".".join(["blocks", block, first.rpartition("/")[2], *rest])
        message = f"`{first}` is written in the block `{block}`; {inner} sets it in every use"
        problems.add(place, message + (f", and these set a parameter of this one: {parameters}" if parameters else ""))
    else:
        problems.add(place, f"there is no layer `{first}`{_meant_path(first, rest, list(named))}")


def _set_in_block(name: str, block: Node, path: list[str], value: Node, place: Place, problems: Problems) -> None:
    """Set a key of a block, or of a layer in it, by the layer's name."""
    named = _named_layers(block)
    if path[0] in named and path[0] not in ("parameters", "inputs", "outputs", "layers"):
        if not path[1:]:
            problems.add(place, f"`{path[0]}` is a layer of the block `{name}`; set one of its keys")
        for node in named[path[0]] if path[1:] else []:
            _set_below(node, ["blocks", name, path[0]], path[1:], value, place, problems)
    else:
        _set_below(block, ["blocks", name], path, value, place, problems)


def _use_around(name: str, named: dict[str, list[Node]], blocks: dict[str, Node]) -> str:
    """The use of a block that a name such as ``res2a/conv1`` begins with, or nothing."""
    use = name.partition("/")[0]
    kind = named[use][0].value.get("type") if use in named and use != name else None
    return use if kind is not None and isinstance(kind.value, str) and kind.value in blocks else ""


def _whole_name(name: str, blocks: dict[str, Node]) -> tuple[str, str] | None:
    """The block and the layer in it that may have a name which does not begin with its use's, or nothing."""
    return next(
        (
            (block, inner)
            for block, node in blocks.items()
            for inner in _named_layers(node)
            if inner.startswith("/") and may_give(inner[1:], name)
        ),
        None,
    )


def _mapping(node: Node | None) -> dict[str, Node]:
    return node.value if node is not None and isinstance(node.value, dict) else {}


def _named_layers(root: Node) -> dict[str, list[Node]]:
    """The layers of a spec or a block by name; those of two phases may have the same."""
    result: dict[str, list[Node]] = {}
    layers = root.value["layers"].value if isinstance(root.value, dict) and "layers" in root.value else []
    for node in layers if isinstance(layers, list) else []:
        if isinstance(node.value, dict) and "name" in node.value:
            result.setdefault(str(node.value["name"].value), []).append(node)
    return result


def _meant_path(first: str, rest: list[str], names: list[str]) -> str:
    """The end of a message about the path of a setting that begins with nothing known."""
    if first in ("layer", "layers", "net"):
        if rest[0] in names:
            return f"; did you mean `{'.'.join(rest)}`?"
        return f"; a layer is addressed by its name{': ' if names else ''}{', '.join(names[:8])}"
    near = nearest(first, ["solver", *names])
    if near:
        return f"; did you mean `{'.'.join([near, *rest])}`?"
    shown = ", ".join(names[:8]) + (" …" if len(names) > 8 else "")
    return f"; the layers are {shown}" if names else ""


def _set_below(target: Node, above: list[str], path: list[str], value: Node, place: Place, problems: Problems) -> None:
    """Set a value inside a node; mappings and lists on the way that do not exist yet are made."""
    step, rest = path[0], path[1:]
    made = value if not rest else Node([] if _is_index(rest[0]) else {}, place)
    if isinstance(target.value, dict):
        if not rest or step not in target.value:
            target.keys.pop(step, None)  # what was set last comes last
            target.value.pop(step, None)
            target.value[step], target.keys[step] = made, replace(place, setting=".".join([*above, "*", *rest]))
        inside = target.value[step]
    elif isinstance(target.value, list) and _is_index(step) and int(step) <= len(target.value):
        if int(step) == len(target.value):
            target.value.append(made)
        elif not rest:
            target.value[int(step)] = made
        inside = target.value[int(step)]
    else:
        problems.add(place, f"`{step}` cannot be set inside {target.words()}")
        return
    if rest:
        _set_below(inside, [*above, step], rest, value, place, problems)


def _is_index(step: str) -> bool:
    return step.isascii() and step.isdigit() and len(step) < 6
