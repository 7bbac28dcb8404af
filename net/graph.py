"""Wiring: which layers are in the net, which blob each one reads, and in what order they run.

Names become versions here. A name is made once; a layer whose ``top`` is named like its ``bottom`` makes the
next version, which the layers after it in the file read. (name, 0) is the first version, (name, 1) the next.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field, replace

from ..spec.errors import Problems, nearest
from .records import LayerSpec, NetSpec, State

Key = tuple[str, int]  # a blob: its name and version


@dataclass
class Wired:
    """A layer with its place among the others.

    ``in_place`` maps a top's index to the bottom of the same name; ``whole`` is false when its wiring is wrong.
    """

    spec: LayerSpec
    bottoms: list[Key] = field(default_factory=list)
    tops: list[Key] = field(default_factory=list)
    in_place: dict[int, int] = field(default_factory=dict)
    whole: bool = True


def wire(spec: NetSpec, state: State, problems: Problems) -> list[Wired]:
    """The layers of a net in the order they run. What is wrong is added to ``problems``."""
    layers = [layer for layer in spec.layers if _included(layer, state)]
    if not layers and spec.layers:
        problems.add(spec.root.at("layers"), f"no layer is in the {state.phase} net: check include and exclude")
    _check_names(layers, problems)
    bottoms = _bottoms(layers)
    tops = [_tops(layer) for layer in layers]
    wired = [Wired(layer) for layer in layers]
    makers = _versions(wired, bottoms, tops, problems)
    absent = Absent(spec, state)
    waits = _connect(wired, bottoms, makers, absent, problems)
    for layer, names in zip(wired, tops, strict=True):
        before = len(problems.found)
        _check_counts(layer, len(names), absent, problems)
        layer.whole = layer.whole and len(layer.tops) == len(names) and len(problems.found) == before
    return _order(wired, waits, problems)


class Absent:
    """The layers of a spec that are not in this net, to say which of them would make a missing blob."""

    def __init__(self, spec: NetSpec, state: State):
        self.phase = state.phase
        self.other = replace(state, phase="TEST" if state.phase == "TRAIN" else "TRAIN")
        self.spec, self.layers = spec, [layer for layer in spec.layers if not _included(layer, state)]

    def is_before(self, reader: LayerSpec) -> bool:
        """Whether one of them comes before a layer in the file."""
        order = [id(layer) for layer in self.spec.layers]
        return any(order.index(id(layer)) < order.index(id(reader)) for layer in self.layers)

    def explain(self, name: str, reader: LayerSpec) -> str:
        """Where a blob is made that is not made here, and what to do; nothing when nobody makes it."""
        maker = next((layer for layer in self.layers if name in _tops(layer)), None)
        if maker is None:
            return ""
        makes = f"`{maker.name}`{maker.where()} makes it"
        if not _included(maker, self.other):
            return f"which no layer of this net makes: {makes} where its include and exclude rules hold"
        there = self.other.phase
        return (
            f"which no layer of the {self.phase} net makes: {makes} only in the {there} net; add a layer that makes it "
            f"in {self.phase}, or restrict `{reader.name}` to {there} too: include: {there}"
        )


def _included(layer: LayerSpec, state: State) -> bool:
    include, exclude = layer.common.include, layer.common.exclude
    if include:
        return any(rule.met(state) for rule in include)
    return not any(rule.met(state) for rule in exclude)


def _check_names(layers: list[LayerSpec], problems: Problems) -> None:
    first: dict[str, LayerSpec] = {}
    for layer in layers:
        other = first.setdefault(layer.name, layer)
        if other is not layer:
            problems.add(layer.place, f"the layer name `{layer.name}` is used twice; first{other.where()}")


def _limits(count: int | tuple[int, int | None]) -> tuple[int, int | None]:
    return (count, count) if isinstance(count, int) else count


def _bottoms(layers: list[LayerSpec]) -> list[list[str]]:
    """Names each layer reads; by default, the first top of the layer before it."""
    result: list[list[str]] = []
    previous: str | None = None
    for layer in layers:
        names = layer.common.bottom
        if names is None:
            reads = _limits(layer.cls.num_bottoms)[1] != 0 and previous is not None
            names = (previous,) if reads and previous is not None else ()
        result.append(list(names))
        tops = _tops(layer)
        previous = tops[0] if tops else previous
    return result


def _tops(layer: LayerSpec) -> list[str]:
    if layer.common.top is None:
        return [layer.name] if _limits(layer.cls.num_tops)[1] != 0 else []
    return list(layer.common.top)


def _versions(
    wired: list[Wired], bottoms: list[list[str]], tops: list[list[str]], problems: Problems
) -> dict[str, list[int]]:
    """Give every top its version. Returns for each name the layers (by index) that make it, version by version."""
    origins: dict[str, int] = {}
    rewriters: dict[str, list[int]] = {}
    for i, names in enumerate(tops):
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                problems.add(wired[i].spec.node.at("top"), f"{wired[i].spec.title()} makes `{name}` twice")
            if name in bottoms[i]:
                rewriters.setdefault(name, []).append(i)
            elif name in origins:
                first = wired[origins[name]].spec
                problems.add(
                    wired[i].spec.node.at("top"),
                    f"blob `{name}` is already made by `{first.name}`{first.where()}; give this top another name",
                )
            else:
                origins[name] = i
    makers = {name: [i, *rewriters.get(name, [])] for name, i in origins.items()}
    for name, who in makers.items():
        for version, i in enumerate(who):
            wired[i].tops.append((name, version))
            if version:
                wired[i].in_place[tops[i].index(name)] = bottoms[i].index(name)
    for layer, names in zip(wired, tops, strict=True):
        layer.tops.sort(key=lambda key: names.index(key[0]))
    return makers


def _connect(
    wired: list[Wired],
    bottoms: list[list[str]],
    makers: dict[str, list[int]],
    absent: Absent,
    problems: Problems,
) -> list[set[int]]:
    """Fill in the bottoms. Returns for each layer the layers it waits for."""
    waits: list[set[int]] = [set() for _ in wired]
    for i, layer in enumerate(wired):
        for name in bottoms[i]:
            if name not in makers:
                _unknown_blob(layer.spec, name, wired, makers, absent, problems)
                layer.whole = False
                continue
            # Version 0 is always there; a rewriter before this layer in the file makes the version it reads.
            version = sum(1 for maker in makers[name][1:] if maker < i)
            layer.bottoms.append((name, version))
            waits[i].add(makers[name][version])
    return waits


def _unknown_blob(
    layer: LayerSpec,
    name: str,
    wired: list[Wired],
    makers: dict[str, list[int]],
    absent: Absent,
    problems: Problems,
) -> None:
    why = absent.explain(name, layer)
    lists = [other for other in makers if "," in other and name in other.replace(",", " ").split()]
    if "," in name:
        why = "which no layer makes; several names go in brackets, such as [data, label]"
    elif lists:
        maker = wired[makers[lists[0]][0]].spec
        why = f"which no layer makes; `{maker.name}`{maker.where()} makes one called `{lists[0]}`: write [{lists[0]}]"
    use = layer.place.used
    inner = name.removeprefix(f"{use.name}/") if use else name
    if not why and use and inner in makers:
        why = f"which its block does not make; a block reads `{inner}` only as one of its `inputs`"
    if not why:
        close = nearest(name, makers)
        near = f"; did you mean `{close}`{wired[makers[close][0]].spec.where()}?" if close else ""
        why = f"which no layer makes{near}"
    names = list(makers)
    shown = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
    place = layer.node.at("bottom")
    bottom = layer.node.value.get("bottom")
    if bottom and isinstance(bottom.value, list):
        place = next((item.place for item in bottom.value if item.value == name), place)
    problems.add(place, f"layer `{layer.name}` reads blob `{name}`, {why}", f"blobs: {shown}")


def _check_counts(layer: Wired, tops: int, absent: Absent, problems: Problems) -> None:
    """Compare the number of bottoms and tops with what the type takes."""
    spec = layer.spec
    counts = {"bottom": len(spec.common.bottom or layer.bottoms), "top": tops}
    for what, count in counts.items():
        least, most = _limits(getattr(spec.cls, f"num_{what}s"))
        if count < least or (most is not None and count > most):
            takes = f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            plural = "" if takes in ("1", "at least 1") else "s"
            first = what == "bottom" and not count and spec.common.bottom is None
            why = f": no layer of the {absent.phase} net comes before it" if first and absent.is_before(spec) else ""
            problems.add(spec.node.at(what), f"{spec.title()} takes {takes} {what}{plural}, got {count}{why}")
    if spec.cls.same_number_of_tops and counts["bottom"] != counts["top"]:
        got = " and ".join(f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items())
        problems.add(spec.node.at("top"), f"{spec.title()} needs as many tops as bottoms, got {got}")
    for key, expected in (("loss_weight", counts["top"]), ("propagate_down", counts["bottom"])):
        given = len(getattr(spec.common, key))
        if given not in (0, expected):
            what = "top" if key == "loss_weight" else "bottom"
            problems.add(
                spec.node.at(key), f"{spec.title()}: {key} must have one value for each {what}: {expected}, got {given}"
            )


def _order(wired: list[Wired], waits: list[set[int]], problems: Problems) -> list[Wired]:
    """A topological sort that keeps the file's order where it can."""
    followers: list[list[int]] = [[] for _ in wired]
    for i, needed in enumerate(waits):
        for j in needed:
            followers[j].append(i)
    missing = [len(needed) for needed in waits]
    ready = [i for i, count in enumerate(missing) if count == 0]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for j in followers[i]:
            missing[j] -= 1
            if missing[j] == 0:
                heapq.heappush(ready, j)
    stuck = [i for i, count in enumerate(missing) if count]
    if stuck:
        _report_cycle(wired, waits, set(stuck), problems)
        return []
    return [wired[i] for i in order]


def _report_cycle(wired: list[Wired], waits: list[set[int]], stuck: set[int], problems: Problems) -> None:
    at, path = min(stuck), []
    while at not in path:
        path.append(at)
        at = min(waits[at] & stuck)
    cycle = path[path.index(at) :][::-1]  # from a maker to its reader
    start = cycle.index(min(cycle))
    cycle = cycle[start:] + cycle[: start + 1]
    names = " -> ".join(f"{wired[i].spec.name}{wired[i].spec.where()}" for i in cycle)
    first = wired[cycle[0]].spec
    problems.add(first.node.at("bottom"), f"these layers wait for each other: {names}")
