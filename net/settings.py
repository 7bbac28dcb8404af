"""``--set`` settings: values of a spec that are given on the command line, a layer's by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..spec.errors import Place, Problems, SpecError, did_you_mean, nearest
from ..spec.node import Node
from ..spec.reading import read_text
from ..spec.template import may_give
from . import registry

BLOCK_KEYS = ("parameters", "inputs", "outputs", "layers")


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
        keys = _parameters(blocks[name]) if name in blocks and not cls else {}
        key = next(iter(cls.Parameters.names() if cls else keys), "bottom")
        what = "a layer" if cls or name not in blocks else f"a use of the block `{name}`"
        problems.add(place, f"`{first}` is {what}; set one of its keys, such as {first}.{key}=…")
    elif first in named:
        for node in named[first]:
            _set_below(node, [first], rest, value, place, problems)
    elif first == "blocks" and len(path) > 2 and path[1] in blocks:
        _set_in_block(path[1], blocks[path[1]], path[2:], value, place, problems)
    elif first == "blocks" and len(path) > 2 and _is_block_mapping(root):
        known = f"; the blocks are {', '.join(blocks)}" if blocks else "; this spec has none"
        problems.add(place, f"there is no block `{path[1]}`{did_you_mean(path[1], blocks, known)}")
    elif not rest or first in ("solver", "blocks"):
        _set_below(root, [], path, value, place, problems)
    elif whole := _whole_name(first, blocks):
        where = ".".join(["blocks", *whole, *rest])
        problems.add(place, f"`{first}` is written in a block; {where} sets it in every use")
    elif written := _written_in(first, named, blocks):
        problems.add(place, f"`{first}` is {_advice(written, rest, named, blocks)}")
    else:
        problems.add(place, f"there is no layer `{first}`{_meant_path(first, rest, list(named))}")


def _set_in_block(name: str, block: Node, path: list[str], value: Node, place: Place, problems: Problems) -> None:
    """Set a key of a block, or of a layer in it, by the layer's name."""
    named = _named_layers(block)
    key, rest = path[0], path[1:]
    if key in named and key not in BLOCK_KEYS:
        if not rest:
            problems.add(place, f"`{key}` is a layer of the block `{name}`; set one of its keys")
        for node in named[key] if rest else []:
            _set_below(node, ["blocks", name, key], rest, value, place, problems)
    elif key == "layers" and rest[:1] and rest[0] in named:
        problems.add(place, f"a layer is addressed by its name: `{'.'.join(['blocks', name, *rest])}`")
    elif key in _parameters(block) and key not in BLOCK_KEYS:
        meant = ".".join(["blocks", name, "parameters", *path])
        problems.add(place, f"`{key}` is a parameter of the block; {meant}=… gives it a value where a use gives none")
    else:
        _set_below(block, ["blocks", name], path, value, place, problems)


def _is_block_mapping(root: Node) -> bool:
    return "blocks" not in root.value or isinstance(root.value["blocks"].value, dict)


@dataclass
class _Written:
    """Where a name such as ``res2a/conv1`` comes from: a layer of a block, or without ``layer`` a copy of a use."""

    use: str  # the outermost, which is a layer of the spec
    block: str
    layer: str


def _written_in(name: str, named: Mapping[str, list[Node]], blocks: Mapping[str, Node]) -> _Written | None:
    """Which layer of which block has this name outside, blocks in blocks included."""
    for use, nodes in named.items():
        kind = nodes[0].value.get("type")
        block = kind.value if kind is not None and isinstance(kind.value, str) else ""
        if not name.startswith(f"{use}/") or block not in blocks:
            continue
        inner = name.removeprefix(f"{use}/")
        if "repeat" in nodes[0].value:
            copy, _, inner = inner.partition("/")
            if not _is_index(copy):
                continue
            if not inner:
                return _Written(use, block, "")
        inside = _named_layers(blocks[block])
        if inner in inside:
            return _Written(use, block, inner)
        if len(inner) < len(name) and (found := _written_in(inner, inside, blocks)):
            return replace(found, use=use) if found.layer else _Written(use, block, found.use)
    return None


def _advice(written: _Written, rest: list[str], named: Mapping[str, list[Node]], blocks: Mapping[str, Node]) -> str:
    """What a name in a block is, and which settings there are instead of one of its keys."""
    use, outer = written.use, str(named[written.use][0].value["type"].value)
    parameters = [f"{use}.{key}" for key in _parameters(blocks[outer])]
    if not written.layer:
        lists = ", ".join(f"{one}=[…]" for one in parameters)
        return f"a copy of `{use}`" + (
            f", whose parameters take a list with a value for each: {lists}" if lists else ""
        )
    inner = ".".join(["blocks", written.block, written.layer, *rest])
    message = f"written in the block `{written.block}`; {inner} sets it in every use"
    return message + (f", and these set a parameter of this one: {', '.join(parameters)}" if parameters else "")


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


def _parameters(block: Node) -> dict[str, Node]:
    return _mapping(_mapping(block).get("parameters"))


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
