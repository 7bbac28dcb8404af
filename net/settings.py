"""``--set`` settings: values of a spec that are given on the command line, a layer's by its name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..spec.errors import Place, Problems, SpecError, nearest
from ..spec.node import Node
from ..spec.reading import read_text
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
    if first in named and not rest:
        kind = named[first][0].value.get("type")
        cls = registry.layer_type(str(kind.value)) if kind else None
        key = next(iter(cls.Parameters.names() if cls else ()), "bottom")
        problems.add(place, f"`{first}` is a layer; set one of its keys, such as {first}.{key}=…")
    elif first in named:
        for node in named[first]:
            _set_below(node, [first], rest, value, place, problems)
    elif not rest or first == "solver":
        _set_below(root, [], path, value, place, problems)
    else:
        problems.add(place, f"there is no layer `{first}`{_meant_path(first, rest, list(named))}")


def _named_layers(root: Node) -> dict[str, list[Node]]:
    """The layers by name; those of two phases may have the same."""
    result: dict[str, list[Node]] = {}
    layers = root.value["layers"].value if "layers" in root.value else []
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
