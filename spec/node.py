"""Node: a value of a spec together with the place where it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .errors import Place


@dataclass
class Node:
    """A scalar, a list of nodes or a dict of nodes, and its place; ``keys`` has the places of a mapping's keys.

    ``is_broken``: who made it reported what is wrong with it, so nobody checks it again.
    """

    value: Any
    place: Place
    keys: dict[str, Place] = field(default_factory=dict)
    is_broken: bool = False

    @classmethod
    def plain(cls, value: Any, place: Place, in_one_place: bool = False) -> Node:
        """A node tree of plain Python data; each place is a path of keys, or all are the one given."""

        def below(step: str, item: Any) -> Node:
            deeper = place if in_one_place or place.line else Place(f"{place.file}{step}")
            return cls.plain(item, deeper, in_one_place)

        if hasattr(value, "tolist"):  # numpy's arrays and numbers
            value = value.tolist()
        if isinstance(value, dict):
            items = {str(key): below(f".{key}", item) for key, item in value.items()}
            return cls(items, place, {key: item.place for key, item in items.items()})
        if isinstance(value, list | tuple):
            return cls([below(f"[{i}]", item) for i, item in enumerate(value)], place)
        return cls(value, place)

    def at(self, key: str | tuple[str, ...] | None) -> Place:
        """The place of ``key``'s value (of several the first one written), or of this node when it is not here."""
        for name in (key,) if isinstance(key, str) else key or ():
            if isinstance(self.value, dict) and name in self.value:
                return self.value[name].place
        return self.place

    def words(self) -> str:
        """The value as an error message names it."""
        value = self.value
        if value is None:
            return "nothing"
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str):
            shown = value if len(value) <= 40 else value[:37] + "..."
            return f'the string "{shown}"'
        if isinstance(value, list):
            return "a list" if value else "an empty list"
        if isinstance(value, dict):
            return "a mapping"
        return "a very long number" if isinstance(value, int) and abs(value) >= 10**30 else str(value)

    def to_python(self) -> Any:
        """The plain data without places."""
        if isinstance(self.value, dict):
            return {key: item.to_python() for key, item in self.value.items()}
        if isinstance(self.value, list):
            return [item.to_python() for item in self.value]
        return self.value
