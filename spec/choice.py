"""Several kinds of a thing in one mapping: a key that names the kind, and beside it the keys that belong to this kind.

The functions are parts of ``Declared``, for classes with fields of type ``Choice``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .errors import Problem
from .node import Node
from .reader import MISSING, Reader

if TYPE_CHECKING:
    from .declare import Declared, Field


class Kind(Protocol):
    """A class that a ``Choice`` may choose."""

    @property
    def Parameters(self) -> type[Declared]:
        """The parameters that belong to it."""


@dataclass(frozen=True)
class Choice:
    """One of several kinds of a thing: its name, its class, and the parameters that belong to it."""

    name: str
    cls: Any
    p: Any


def read_choice(cls: type[Declared], choice: Field, reader: Reader, node: Node, what: str) -> Any:
    """The kind that a mapping names, or the default one, with the parameters it has beside the name."""
    name, kind = choice.name, choice.default.name
    if name in node.value:
        kind = choice.type.from_node(reader, node.value[name], f"{what}.{name}")
    if kind is MISSING:
        return MISSING
    chosen = choice.about.kinds[kind]
    p = chosen.Parameters.from_known(reader, node, what, cls.names(), cls.aliases, needed_for=f" for {name} {kind}")
    return MISSING if p is MISSING else Choice(kind, chosen, p)


def check_other_kinds(cls: type[Declared], reader: Reader, node: Node, what: str, values: Mapping[str, Any]) -> bool:
    """Check the keys of kinds that were not chosen. A value that makes no difference is not reported."""
    own = {one.name for one in cls.fields()}
    choices = [value for value in values.values() if isinstance(value, Choice)]
    own.update(key for choice in choices for key in choice.p.names())
    undecided = {name for name, value in values.items() if value is MISSING}
    owners: dict[str, list[tuple[str, str, type[Declared]]]] = {}
    for name, owner, parameters in cls.kinds():
        for key in parameters.names():
            owners.setdefault(key, []).append((name, owner, parameters))
    good = True
    for key, of in owners.items():
        name, _, parameters = of[0]
        if key not in node.value or key in own:
            continue
        _, kind, _, default = next(one for one in parameters.fields() if one.name == key)
        value = kind.from_node(reader, node.value[key], f"{what}.{key}")
        good &= value is not MISSING
        if value is MISSING or value == default or name in undecided:
            continue
        place, chosen = node.at(key), values[name].name
        whose = _listed([owner for _, owner, _ in of])
        if key in cls.without_effect - values[name].p.refuses:
            message = f"{what}.{key} is not used by {name} {chosen}; it belongs to {whose}"
            reader.warnings.append(Problem(place, message, with_line=False))
        else:
            message = f"{what}.{key} belongs to {name} {whose}, not {chosen}; leave it out"
            reader.problems.add(place, message)
            good = False
    return good


def keys_of_kinds(cls: type[Declared]) -> dict[str, dict]:
    """The keys of all kinds. Which belong together is left open: an editor completes what is half written."""
    found: dict[str, dict] = {}
    docs: dict[str, dict[str, list[str]]] = {}
    for _, kind, parameters in cls.kinds():
        for name, about in parameters.schema()["properties"].items():
            docs.setdefault(name, {}).setdefault(about["description"], []).append(kind)
            found.setdefault(name, about)
            if found[name].get("default") != about.get("default"):  # each kind has its own
                found[name] = {key: value for key, value in found[name].items() if key != "default"}
    for name, by_doc in docs.items():
        found[name] = found[name] | {
            "description": "; ".join(f"{', '.join(kinds)}: {doc}" for doc, kinds in by_doc.items())
        }
    return found


def _listed(names: Sequence[str]) -> str:
    """``step, exp and inv``"""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
