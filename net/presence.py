"""When a layer of a block is in the net: where its own rules and those of the block's use are both met.

Rules are alternatives and the fields of a rule must all hold, so "both" is the rules in pairs. What `exclude` says is
turned into the `include` that means the same: out in TEST is in in TRAIN.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from typing import Any

from ..spec.errors import Place, Problems
from ..spec.node import Node
from ..spec.reader import MISSING, Reader
from ..spec.values import ListOf
from .records import Rule

KEYS = ("include", "exclude")


def condition(node: Node) -> str | None:
    """The rules of a layer as a text that is equal for equal rules, or None for a layer that is always there."""
    rules = {key: node.value[key].to_python() for key in KEYS if key in node.value}
    return repr(rules) if rules else None


def restrict(node: Node, use: Node) -> bool:
    """Let a layer's node be there only where the use of its block is, too. False when it would never be there."""
    given = next((key for key in KEYS if key in use.value), None)
    own = next((key for key in KEYS if key in node.value), None)
    if given is None or condition(node) == condition(use):
        return True
    place = use.value[given].place
    if own is None:
        node.value[given], node.keys[given] = use.value[given], place
        return True
    rules = [_as_include(key, one.value[key]) for key, one in ((given, use), (own, node))]
    if any(rule is None for rule in rules):  # which is reported where the rules are read
        return True
    both = [rule for a in rules[0] or () for b in rules[1] or () if (rule := _both(a, b)) is not None]
    if not both:
        return False
    del node.value[own], node.keys[own]
    node.value["include"], node.keys["include"] = _written(both, place), place
    return True


def _as_include(key: str, node: Node) -> list[Rule] | None:
    """Rules of which one must be met, or None when they cannot be read."""
    rules = ListOf(Rule).from_node(Reader(Problems()), node, key)
    if rules is MISSING:
        return None
    if key == "include":
        return list(rules)
    outside = [list(_not(rule)) for rule in rules]
    start = [Rule()]
    return reduce(
        lambda found, more: [r for a in found for b in more if (r := _both(a, b)) is not None], outside, start
    )


def _not(rule: Rule) -> Iterator[Rule]:
    """Rules of which one is met where this one is not."""
    if rule.phase:
        yield Rule(phase="TEST" if rule.phase == "TRAIN" else "TRAIN")
    if rule.min_level is not None:
        yield Rule(max_level=rule.min_level - 1)
    if rule.max_level is not None:
        yield Rule(min_level=rule.max_level + 1)
    yield from (Rule(not_stage=(stage,)) for stage in rule.stage)
    yield from (Rule(stage=(stage,)) for stage in rule.not_stage)


def _both(a: Rule, b: Rule) -> Rule | None:
    """The rule that is met where both are, or None when there is no such place."""
    least = [level for level in (a.min_level, b.min_level) if level is not None]
    most = [level for level in (a.max_level, b.max_level) if level is not None]
    both = Rule(
        phase=a.phase or b.phase,
        min_level=max(least, default=None),
        max_level=min(most, default=None),
        stage=tuple(dict.fromkeys(a.stage + b.stage)),
        not_stage=tuple(dict.fromkeys(a.not_stage + b.not_stage)),
    )
    empty = least and most and max(least) > min(most)
    if (a.phase and b.phase and a.phase != b.phase) or empty or set(both.stage) & set(both.not_stage):
        return None
    return both


def _written(rules: list[Rule], place: Place) -> Node:
    """Rules as a spec has them, in their short form where they have one."""

    def plain(rule: Rule) -> Any:
        given = {one.name: getattr(rule, one.name) for one in Rule.fields()}
        given = {name: value for name, value in given.items() if value not in (None, ())}
        return rule.phase if given.keys() == {"phase"} else given

    found = list({repr(rule): plain(rule) for rule in rules}.values())
    return Node.plain(found[0] if len(found) == 1 else found, place, in_one_place=True)
