"""Parts of a net that one blob goes into and one comes out of, and those among them that are alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from ..net import registry
from ..spec.node import Node
from .block_names import may_differ
from .yaml_out import WHEN_LEFT_OUT

LONGEST = 120  # layers of a part
MOST_GROUPS = 8  # of parts that are alike but for how names go with them
NAMED = ("name", "type", "bottom", "top")
_Version = tuple[str, int]  # a blob's name, and the layer that made it so


@dataclass
class Item:
    """A layer, or the use of a block, with the names of its blobs."""

    node: Node
    bottoms: list[str]
    tops: list[str]
    text: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return str(self.node.value["name"].value)

    @property
    def type(self) -> str:
        return str(self.node.value["type"].value)

    @classmethod
    def of(cls, layer: Node) -> Item:
        kind = registry.layer_type(str(layer.value["type"].value))
        makes = kind is None or kind.num_tops != 0
        tops = names_of(layer, "top") or ([str(layer.value["name"].value)] if makes else [])
        return cls(layer, names_of(layer, "bottom"), tops)


def names_of(layer: Node, key: str) -> list[str]:
    """The names that a layer has under a key."""
    node = layer.value.get(key)
    value = [] if node is None else node.to_python()
    return [str(name) for name in value] if isinstance(value, list) else [str(value)]


def default_of(item: Item, key: str) -> Any:
    """The number, word or truth value that leaving a key out means; None where there is none."""
    kind = registry.layer_type(item.type)
    field = next((one for one in kind.Parameters.fields() if one.name == key), None) if kind else None
    if field is None:
        return None
    if key in WHEN_LEFT_OUT and field.default in ((), None) and f"{key}_h" not in item.node.value:
        return WHEN_LEFT_OUT[key]
    return field.default if isinstance(field.default, bool | int | float | str) else None


def outline(item: Item) -> Any:
    """What items have alike that may be one layer of a block: all but numbers, and texts that are not choices."""
    kind = registry.layer_type(item.type)
    known = {one.name: default_of(item, one.name) for one in kind.Parameters.fields()} if kind else {}
    fixed = {key: default for key, default in known.items() if isinstance(default, bool | str)}
    given = {key: node.to_python() for key, node in item.node.value.items() if key not in NAMED}
    fixed |= {key: value for key, value in given.items() if key in fixed}
    rest = {key: _kind(value) for key, value in given.items() if known.get(key) is None}
    return item.type, tuple(sorted(fixed.items())), tuple(sorted(rest.items()))


def _kind(value: Any) -> str:
    if isinstance(value, dict):
        return repr({key: _kind(one) for key, one in value.items()})
    if isinstance(value, list):
        return repr([_kind(one) for one in value])
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def alike(items: Sequence[Item], shortest: int, inside: Set[int] = frozenset()) -> list[list[range]]:
    """Parts that may be uses of one block, as far as their structure goes; those with most text first.

    None begins or ends before the items of these numbers.
    """
    found: dict[tuple[int, int], list[range]] = {}
    for part, shape in _parts(items):
        if len(part) >= shortest and not {part.start, part.stop} & inside:
            found.setdefault((len(part), shape), []).append(part)
    families = [parts for parts in found.values() if len(_apart(parts)) > 1]
    return sorted(families, key=lambda parts: -most_saved(parts, items))


def _apart(parts: Sequence[range]) -> list[range]:
    kept: list[range] = []
    for part in parts:
        if not kept or part.start >= kept[-1].stop:
            kept.append(part)
    return kept


def most_saved(parts: Sequence[range], items: Sequence[Item]) -> int:
    """No more lines can be saved by a block for these parts."""
    return sum(len(items[i].text) for part in _apart(parts)[1:] for i in part)


def groups(items: Sequence[Item], parts: Sequence[range]) -> Iterator[list[range]]:
    """Those of the parts that do not overlap and have names alike: the first and all like it, then the next."""
    left = list(parts)
    for _ in range(MOST_GROUPS):
        if len(left) < 2:
            return
        group: list[range] = [left[0]]
        others: list[range] = []
        for part in left[1:]:
            fits = part.start >= group[-1].stop and may_differ(
                [(items[a].name, items[b].name) for a, b in zip(group[0], part, strict=True)]
            )
            (group if fits else others).append(part)
        if len(group) > 1:
            yield group
        left = others


def _parts(items: Sequence[Item]) -> Iterator[tuple[range, int]]:
    """All parts with one blob in and one out, made by the last layer; and a number that is equal for equal parts."""
    reads, last_read = _versions(items)
    first_made: dict[str, int] = {}
    for i, item in enumerate(items):
        for top in item.tops:
            first_made.setdefault(top, i)
    outlines = [hash(outline(item)) for item in items]
    for start in range(len(items)):
        local: dict[str, int] = {}
        input_: _Version | None = None
        is_open: list[_Version] = []
        shape = branchings = 0
        in_branches = False
        for i in range(start, min(len(items), start + LONGEST)):
            item = items[i]
            if not _may_be_in_block(item) or any(first_made[top] < start for top in item.tops):
                break
            outside = {version for version in reads[i] if version[1] < start}
            if outside - {input_} and (input_ is not None or len(outside) > 1):
                break
            input_ = next(iter(outside), input_)
            here = [-1 if version[1] < start else local[version[0]] for version in reads[i]]
            for top in item.tops:
                local.setdefault(top, len(local))
            shape = hash((shape, outlines[i], tuple(here), tuple(local[top] for top in item.tops)))
            is_open = [one for one in [*is_open, *((top, i) for top in item.tops)] if last_read.get(one, -1) > i]
            alive = len(is_open) + (input_ is not None and last_read[input_] > i)
            branchings += alive > 1 and not in_branches
            in_branches = alive > 1
            if branchings > 1:  # several units, each of which is a part
                break
            ends = len(item.tops) == 1 and all(one == (item.tops[0], i) for one in is_open)
            if ends and input_ is not None:
                yield range(start, i + 1), shape


def _may_be_in_block(item: Item) -> bool:
    return bool(item.bottoms) and not {"include", "exclude"} & item.node.value.keys() and "$" not in _written(item)


def _written(item: Item) -> str:
    """The texts of a layer in which a dollar sign would mean a parameter; a use of a block has none."""
    return "" if registry.layer_type(item.type) is None else str(item.node.to_python())


def _versions(items: Sequence[Item]) -> tuple[list[list[_Version]], dict[_Version, int]]:
    """For each layer the blobs it reads, with who made them as they are then; and for each of these its last reader."""
    maker: dict[str, int] = {}
    reads: list[list[_Version]] = []
    last: dict[_Version, int] = {}
    for i, item in enumerate(items):
        reads.append([(name, maker.get(name, -1)) for name in item.bottoms])
        last.update(dict.fromkeys(reads[-1], i))
        maker.update(dict.fromkeys(item.tops, i))
    return reads, last
