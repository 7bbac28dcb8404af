"""From YAML nodes to checked records: a spec is read, settings applied, every key checked."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..spec import foreign as words
from ..spec.advice import Advice, advice_on, as_advice, look_up, say
from ..spec.declare import Nothing
from ..spec.errors import NettrainError, Place, Problem, Problems, SpecError, did_you_mean, folded, nearest
from ..spec.node import Node
from ..spec.reader import MISSING, Reader
from ..spec.reading import read_text
from . import registry
from .arguments import strings
from .expansion import expand
from .records import Broken, Common, LayerSpec, NetSpec, Top
from .registry import LayerType
from .settings import override
from .spec_file import find, folder_named, foreign, read_file
from .user_code import ALLOW, UserCodeError, run_layer_file


def load(
    source: NetSpec | Path | str | Mapping[str, Any],
    settings: Iterable[str] = (),
    problems: Problems | None = None,
    allow_python: bool = False,
    folder: Path | None = None,
) -> NetSpec:
    """Read and check a spec: a path, YAML text (anything with a line break) or a mapping; or the path of a run.

    ``allow_python`` lets it have layers that run code of the user's. ``folder`` is where files that the spec names
    are looked for; by default, the one it lies in.
    ``settings`` are ``KEY=VALUE`` overrides. With ``problems`` the caller collects the errors of single layers
    and continues; without it they are raised. Raises SpecError.
    """
    settings = list(strings(settings, "settings"))
    if not isinstance(source, NetSpec | str | Path | Mapping):
        wanted = "a path, YAML text, a mapping or a loaded NetSpec"
        raise NettrainError(f"a spec is {wanted}, got {type(source).__name__}")
    if isinstance(source, NetSpec):
        return _again(source, settings) if settings else source
    collected = Problems() if problems is None else problems
    beside, note = Path(), ""
    warnings: list[Problem] = []
    if isinstance(source, Mapping):
        root, file = Node.plain(dict(source), Place("spec")), "spec"
    elif isinstance(source, str) and "\n" in source:
        written = foreign(source.encode(errors="replace"), Path("spec"), "spec", collected, warnings)
        root, file = written or read_text(source, "spec", collected), "spec"
    else:
        if (found := registry.runs().spec_of_run(source, settings, allow_python)) is not None:
            return found
        path, note = find(source)
        root, file, beside = read_file(path, str(source), collected, warnings), str(source), path.parent
    if not isinstance(root.value, dict):
        message = f"a spec is a mapping with `layers:` and usually `solver:`, got {root.words()}"
        raise SpecError([Problem(root.place, message)])
    override(root, settings, collected)
    spec = from_nodes(root, file, collected, folder or folder_named(root, beside), allow_python)
    spec.note = note
    spec.warnings += warnings
    if problems is None:
        collected.raise_if_any()
    return spec


def _refuse_code(spec: NetSpec, problems: Problems) -> None:
    """Report layers that run code of the user's, and make sure that no caller that continues makes one."""
    for i, layer in enumerate(spec.layers):
        if layer.cls.runs_code:
            spec.layers[i] = _broken(layer.node)
            problems.add(
                layer.node.at("type"),
                f"{layer.title()} runs code from a file; {ALLOW}",
            )


def _again(spec: NetSpec, settings: list[str]) -> NetSpec:
    """A loaded spec with further overrides."""
    root, problems = copy.deepcopy(spec.root), Problems()
    override(root, settings, problems)
    changed = from_nodes(root, spec.file, problems, spec.folder, spec.allow_python)
    problems.raise_if_any()
    return changed


def from_nodes(root: Node, file: str, problems: Problems, folder: Path, allow_python: bool) -> NetSpec:
    """The checked records of a tree, settings applied; ``file`` is what messages call it. Problems are collected."""
    reader = Reader(problems)
    known = ["name", "solver", "layers", *(key for key in Top.names() if key != "name"), "blocks"]
    aliases = {key: advice for key in root.keys if key not in known and (advice := _belongs(key, root, known))}
    reader.unknown_keys(root, known, "a spec", aliases)
    top = Top.from_known(reader, root, "spec", known)
    if top is MISSING:
        top = Top()
    ran = [_run_layer_file(path, root.value["layer_files"], problems, folder, allow_python) for path in top.layer_files]
    solver = root.value.get("solver")
    if solver is not None and not isinstance(solver.value, dict):
        problems.add(solver.place, f"solver must be a mapping such as {{base_lr: 0.01}}, got {solver.words()}")
        solver = None
    layers: list[LayerSpec] = []
    expanded = expand(root, reader)
    flat = expanded.root
    if "layers" not in root.value:
        meant = [advice_on(key, known, aliases) for key in root.keys if key not in known]
        if as_advice("layers") not in meant:  # otherwise it is reported already: once is enough
            problems.add(root.place, "a spec needs `layers:`, the list of its layers")
    elif not isinstance(root.value["layers"].value, list) or not root.value["layers"].value:
        node = root.value["layers"]
        problems.add(
            node.place, f"layers must be a list with at least one layer, each after a `- `, got {node.words()}"
        )
    else:
        # while a file is missing, a type that is unknown may be one of its types
        layers = [
            _broken(n)
            if n.is_broken or id(n) in expanded.broken or (not all(ran) and _unknown(n))
            else read_layer(n, reader)
            for n in flat.value["layers"].value
        ]
    spec = NetSpec(top.name, layers, solver, top.force_backward, root, file, folder, allow_python=allow_python)
    spec.flat, spec.uses, spec.warnings = flat, expanded.uses, expanded.warnings
    if not allow_python:
        _refuse_code(spec, problems)
    spec.warnings += _names_used_once(layers)
    return spec


def _names_used_once(layers: list[LayerSpec]) -> Iterator[Problem]:
    """Warnings of parameter names that share nothing: the other layer may have another spelling."""
    uses: dict[str, list[LayerSpec]] = {}
    for layer in layers:
        for entry in layer.common.param:
            if entry.name:
                uses.setdefault(entry.name, []).append(layer)
    once = {name: users[0] for name, users in uses.items() if len(users) == 1}
    alone = []
    for name, layer in once.items():
        # w1 and w2 are not misspellings of each other
        others = [other for other in uses if other != name and _without_digits(other) != _without_digits(name)]
        close = nearest(name, others)
        if close:
            near = f"; did you mean `{close}`, as in `{uses[close][0].name}`{uses[close][0].where()}?"
            message = f"the parameter name `{name}` is used only once, so {layer.title()} shares nothing{near}"
            yield Problem(_place_of_parameter(layer, name), message, with_line=False)
        else:
            alone.append(name)
    if alone:
        names = ", ".join(f"`{name}`" for name in alone[:8]) + (" …" if len(alone) > 8 else "")
        words = (
            "the parameter name {} is used only once"
            if len(alone) == 1
            else "the parameter names {} are each used only once"
        )
        message = f"{words.format(names)}, so nothing is shared by {'it' if len(alone) == 1 else 'them'}"
        yield Problem(_place_of_parameter(once[alone[0]], alone[0]), message, with_line=False)


def _place_of_parameter(layer: LayerSpec, name: str) -> Place:
    """Where a layer gives a parameter this name."""
    node = layer.node.value["param"]
    entries = node.value if isinstance(node.value, list) else [node]
    names = [entry.value["name"] for entry in entries if isinstance(entry.value, dict) and "name" in entry.value]
    return next((item.place for item in names if item.value == name), node.place)


def _without_digits(name: str) -> str:
    return re.sub("[0-9]", "", name)


def _belongs(key: str, root: Node, known: list[str]) -> str | Advice:
    """What to say of an unknown key of a whole spec: it may be misspelt, or belong to the solver or a layer."""
    is_setting = bool(root.keys[key].setting)
    advice = (None if is_setting else look_up(words.TOP, key, known)) or nearest(key, known)
    if advice:
        return advice
    layers = root.value["layers"].value if _is_list(root.value.get("layers")) else []
    named = [(node, kind) for node in layers if (kind := _kind(node))]
    first, *rest = re.split(r"[/:\]\[]+", key.strip("/:[]"))
    if is_setting and rest and first in ["solver", *(str(node.value["name"].value) for node, _ in named)]:
        return ".".join([first, *rest])
    solver = registry.solver_parameters()
    of_solver = advice_on(key, solver.names(), solver.aliases)
    if of_solver:
        if not of_solver.is_name:
            return of_solver
        return f"solver.{of_solver.text}" if is_setting else say("{} belongs in {}", of_solver.text, "solver:")
    owners = [node for node, kind in named if key in kind.Parameters.names()]
    if owners and is_setting:
        paths = [f"`{node.value['name'].value}.{key}`" for node in owners[:4]]
        return f"it is a key of a layer: {', '.join(paths)}{' …' if len(owners) > 4 else ''}"
    return say("{} belongs in a layer", key) if owners else ""


def _is_list(node: Node | None) -> bool:
    return node is not None and isinstance(node.value, list)


def _kind(layer: Node) -> LayerType | None:
    """The class of a layer that has a name and a known type, or None."""
    if not isinstance(layer.value, dict) or not {"name", "type"} <= layer.value.keys():
        return None
    return registry.layer_type(str(layer.value["type"].value))


def _unknown(layer: Node) -> bool:
    kind = layer.value.get("type") if isinstance(layer.value, dict) else None
    return kind is not None and isinstance(kind.value, str) and registry.layer_type(kind.value) is None


def _run_layer_file(path: str, node: Node, problems: Problems, folder: Path, allow_python: bool) -> bool:
    """Let a file of the user's register its layer types, or report why not."""
    places = node.value if isinstance(node.value, list) else [node]
    place = next((item.place for item in places if item.value == path), node.place)
    if not allow_python:
        problems.add(place, f"layer_files runs the code in {path}; {ALLOW}")
        return False
    try:
        run_layer_file(folder / path)
    except UserCodeError as error:
        named = f"layer_files names it at {place}" if place.line else "layer_files names it"
        problems.found.append(replace(error.problem, details=(*error.problem.details, named)))
        return False
    except NettrainError as error:
        problems.add(place, str(error))
        return False
    return True


def _broken(node: Node) -> LayerSpec:
    """What can be known of a layer that did not pass its checks: its name and blobs."""

    def names(key: str) -> tuple[str, ...] | None:
        if not isinstance(node.value, dict) or key not in node.value:
            return None
        value = node.value[key].to_python()
        return tuple(name for name in (value if isinstance(value, list) else [value]) if isinstance(name, str))

    name = (names("name") or (f"layer at {node.place}",))[0]
    return LayerSpec(Common(name=name, type="", bottom=names("bottom"), top=names("top")), Broken, Nothing(), node)


def read_layer(node: Node, reader: Reader) -> LayerSpec:
    """One entry of ``layers``; ``Broken`` when something is wrong with it (the reader knows what)."""
    problems = reader.problems
    if not isinstance(node.value, dict):
        problems.add(node.place, f"a layer must be a mapping such as {{name: ip1, type: ReLU}}, got {node.words()}")
        return _broken(node)
    type_node = node.value.get("type")
    cls = None
    if type_node and isinstance(type_node.value, str):
        cls = registry.layer_type(type_node.value)
        if cls is None:
            problems.add(type_node.place, registry.unknown_type(type_node.value))
    own = cls.Parameters.names() if cls else list(node.keys)
    known = Common.names() + own
    aliases: dict[str, str | Advice] = {key: advice for key in node.keys if (advice := look_up(words.KEYS, key, known))}
    common = Common.from_known(reader, node, cls.__name__ if cls else "layer", own, aliases)
    if cls is None:
        return _broken(node)
    aliases |= cls.Parameters.aliases
    _unknown_keys(node, known, cls.__name__, reader, aliases)
    parameters = cls.Parameters.from_known(reader, node, cls.__name__, Common.names(), aliases)
    if common is MISSING or parameters is MISSING:
        return _broken(node)
    return LayerSpec(common, cls, parameters, node)


def _unknown_keys(node: Node, known: list[str], name: str, reader: Reader, aliases: Mapping[str, str | Advice]) -> None:
    """Unknown keys of a layer; a parameter of another type is reported as one."""
    with_advice = {folded(key) for key in aliases}
    for key in reader.few([key for key in node.keys if key not in known], node, name):
        place = node.keys[key]
        if node.value[key].value is None and folded(key) not in with_advice and not place.setting:
            message = f"{name} has no key `{key}`; several names go in brackets, such as top: [data, label]"
            reader.problems.add(place, message)
            continue
        if key.endswith("_param") and folded(key) not in with_advice and isinstance(node.value[key].value, dict):
            reader.problems.add(place, f"{name} has no key `{key}`; write its fields beside `type`, without `{key}`")
            continue
        owners = [other for other, cls in registry.types().items() if key in cls.Parameters.names()]
        if owners and folded(key) not in with_advice:
            some = ", ".join(owners[:4]) + (" …" if len(owners) > 4 else "")
            mean = did_you_mean(key, known)
            reader.problems.add(place, f"{name} has no key `{key}`; it belongs to {some}{mean}")
        else:
            reader.unknown_keys(Node({key: node.value[key]}, node.place, {key: place}), known, name, aliases)
