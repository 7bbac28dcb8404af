"""A net of Caffe's as the ``layers:`` of a spec: duplicates renamed, the data of both phases in one layer."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from pathlib import Path

from ...net import registry
from ...spec.errors import Place, Problem, Problems
from ...spec.node import Node
from .forks.rewriting import Forks, without_equal
from .layers import LayerReader, Mapping
from .message import Entry, Message

BOTH = frozenset(("TRAIN", "TEST"))
_NOT_OF_NETS = {"debug_info": "it prints values; nettrain shows them with `explain`", "state": "a run has its own"}


@dataclass
class Found:
    """What a file said, as far as it could be understood."""

    problems: Problems
    warnings: list[Problem]  # what may be a mistake, or is not as in Caffe
    notes: list[Problem]  # what was left out or written otherwise, without an effect on numbers
    folder: Path = Path()  # of the file, where paths are looked for

    def note(self, place: Place, words: str) -> None:
        self.notes.append(Problem(place, words))

    def warn(self, place: Place, words: str) -> None:
        self.warnings.append(Problem(place, words))


def phases(layer: Message) -> frozenset[str]:
    """The phases that a layer may be in, by what its rules say of the phase."""
    if layer.has("include"):
        return frozenset(
            phase
            for rule in layer.many("include")
            for phase in (BOTH if not rule.has("phase") else {rule.one("phase")})
        )
    out = {
        rule.one("phase")
        for rule in layer.many("exclude")
        if {name for name in rule.fields if rule.has(name)} == {"phase"}
    }
    return BOTH - out


def is_about_phase_alone(layer: Message) -> bool:
    """Whether the rules of a layer name no stage and no level."""
    rules = layer.many("include") + layer.many("exclude")
    return all({name for name in rule.fields if rule.has(name)} <= {"phase"} for rule in rules)


def read_net(net: Message, found: Found, until: str = "") -> Mapping:
    """``name``, ``force_backward`` and ``layers`` of an upgraded net; ``until`` is the last layer taken."""
    result = Mapping(net.place)
    for name in ("name", "force_backward"):
        if net.has(name) and net.one(name):
            result.put(name, Node(net.one(name), net.at(name)))
    for name, why in _NOT_OF_NETS.items():
        if net.has(name):
            found.note(net.at(name), f"`{name}` is left out: {why}")
    for unknown in net.unknown:
        found.warn(unknown.place, f"`{unknown.name}` is left out: it is not a field of Caffe's nets")
    layers = _until(net.many("layer"), until, found)
    scaled = [b for layer in layers if layer.one("type") == "Scale" and len(b := layer.many("bottom")) == 1]
    forks = Forks(found.problems, found.warnings, found.notes, _is_deployed(layers), [names[0] for names in scaled])
    layers = [made for layer in layers for made in forks.layers(layer)]
    for layer in layers:
        _report_unknown(layer, found)
    _rename_twice(layers, found)
    reader = LayerReader(found.problems, found.warnings, found.notes, found.folder)
    nodes = [(layer, reader.node(layer)) for layer in layers]
    _mark_broken(nodes, found.problems)
    for layer, node in nodes:
        _no_mirror_in_tests(layer, node, found)
    entries = _with_data_merged(nodes)
    if not entries:
        found.problems.add(net.place, "there is no layer in this net")
    result.put("layers", Node(entries, entries[0].place if entries else net.place))
    return result


def _is_deployed(layers: list[Message]) -> bool:
    """Whether a net is to be used, not to be trained: what it reads comes from outside."""
    kinds = {layer.one("type") for layer in layers}
    return "Input" in kinds and not any("Data" in kind for kind in kinds)


def _until(layers: list[Message], last: str, found: Found) -> list[Message]:
    if not last:
        return layers
    names = [layer.one("name") for layer in layers]
    if last not in names:
        found.problems.add(layers[0].place if layers else Place(""), f"there is no layer `{last}` to end with")
        return layers
    kept = names.index(last) + 1
    for layer in layers[kept:]:
        found.note(layer.place, f"`{layer.one('name')}` is left out: it comes after `{last}`")
    return layers[:kept]


def _report_unknown(layer: Message, found: Found) -> None:
    """Report a layer that has no equal here, of a fork or none at all."""
    kind = layer.one("type")
    what = without_equal(kind)
    if not kind or registry.layer_type(kind) is not None:
        return
    if what:
        found.problems.add(layer.at("type"), f"`{layer.one('name')}` is of type {kind}, {what}")
    else:
        message = registry.unknown_type(kind)
        if "?" not in message:  # no slip: there is no such layer
            message += "; the layers before one that has no equal: nettrain convert … --until LAYER"
        found.problems.add(layer.at("type"), message)


def _mark_broken(nodes: list[tuple[Message, Node]], problems: Problems) -> None:
    """Layers in whose lines something is wrong are not checked further: what is missing there may be what is wrong."""
    lines = sorted({(problem.place.file, problem.place.line) for problem in problems.found if problem.place.line})
    for layer, node in nodes:
        place = layer.place
        at = bisect.bisect_left(lines, (place.file, place.line))
        node.is_broken = bool(place.line and at < len(lines) and lines[at] <= (place.file, layer.last_line))


def _rename_twice(layers: list[Message], found: Found) -> None:
    """Caffe allows several layers of one name in one phase."""
    seen: dict[str, set[frozenset[str]]] = {}
    last: dict[str, int] = {}  # the number that a name was given last
    for layer in layers:
        name, here = layer.one("name"), phases(layer)
        if not name:
            tops = layer.many("top")
            name = tops[0] if tops else layer.one("type").lower()
            layer.fields["name"] = [Entry(name, layer.place)]
        taken = seen.setdefault(name, set())
        if is_about_phase_alone(layer) and any(here & other for other in taken):
            number = last.get(name, 1) + 1
            while f"{name}_{number}" in seen:
                number += 1
            last[name], new = number, f"{name}_{number}"
            found.note(layer.at("name"), f"a second layer `{name}` is called `{new}`: names are given once")
            if not layer.has("top"):
                layer.fields["top"] = []
            layer.fields["name"] = [Entry(new, layer.at("name"))]
            seen[new] = {here}
        elif is_about_phase_alone(layer):
            taken.add(here)


def _no_mirror_in_tests(layer: Message, node: Node, found: Found) -> None:
    transform = node.value.get("transform")
    if transform is None or "mirror" not in transform.value or phases(layer) != {"TEST"}:
        return
    place = transform.value["mirror"].place
    found.note(place, "`mirror` is left out: nothing is random in tests here, while Caffe flips there too")
    del transform.value["mirror"], transform.keys["mirror"]
    if not transform.value:
        del node.value["transform"], node.keys["transform"]


def _with_data_merged(nodes: list[tuple[Message, Node]]) -> list[Node]:
    """A Data layer of each phase with the same tops becomes one, which says what differs."""
    kept: list[tuple[Message, Node]] = []
    for layer, node in nodes:
        partner = None
        if layer.one("type") == "Data":
            partner = next((pair for pair in kept if _belong_together(pair, (layer, node))), None)
        if partner is None:
            kept.append((layer, node))
            continue
        (_, train), (_, test) = (partner, (layer, node)) if phases(layer) == {"TEST"} else ((layer, node), partner)
        kept[kept.index(partner)] = (partner[0], _merged(train, test))
    return [node for _, node in kept]


def _belong_together(one: tuple[Message, Node], other: tuple[Message, Node]) -> bool:
    layers, nodes = (one[0], other[0]), (one[1], other[1])
    if any(layer.one("type") != "Data" or not is_about_phase_alone(layer) for layer in layers):
        return False
    if {phases(layer) for layer in layers} != {frozenset({"TRAIN"}), frozenset({"TEST"})}:
        return False

    def rest(node: Node) -> dict:
        plain = node.to_python()
        transform = plain.pop("transform", {})
        transform.pop("mirror", None)
        return {key: plain.get(key) for key in ("top", "backend", "shuffle", "param")} | {"transform": transform}

    return rest(nodes[0]) == rest(nodes[1])


def _merged(train: Node, test: Node) -> Node:
    merged = Mapping(train.place)
    for key, value in train.value.items():
        if key == "include":
            continue
        other = test.value.get(key)
        if key in ("source", "batch_size") and other is not None and other.value != value.value:
            both = Mapping(value.place)
            both.put("train", value)
            both.put("test", other)
            value = both.node
        merged.put(key, value)
    merged.node.is_broken = train.is_broken or test.is_broken
    return merged.node
