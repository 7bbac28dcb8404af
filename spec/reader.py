"""What is collected while a spec is read: everything that is wrong, and what may be a mistake."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .advice import Advice, advice_on
from .errors import Problem, Problems
from .node import Node

MOST_KEYS = 100  # unknown keys of a mapping that get advice
MISSING: Any = object()  # what reading returns when it reported a problem


class Reader:
    """Goes along while nodes are read: takes every problem and warning, and words those common to all types."""

    def __init__(self, problems: Problems):
        self.problems = problems
        self.warnings: list[Problem] = []  # for what may be a mistake, though it can be read

    def wrong(self, node: Node, what: str, expected: str, ending: str = "") -> Any:
        """Report a value that is not what was expected; returns MISSING."""
        self.problems.add(node.place, f"{what} must be {expected}, got {node.words()}{ending}")
        return MISSING

    def few(self, unknown: list[str], node: Node, what: str) -> list[str]:
        """The first of many unknown keys; the others are only counted."""
        if len(unknown) > MOST_KEYS:
            more = f"{what} has {len(unknown) - MOST_KEYS:,} more unknown keys"
            self.problems.add(node.keys[unknown[MOST_KEYS]], more)
        return unknown[:MOST_KEYS]

    def unknown_keys(
        self, node: Node, known: Iterable[str], what: str, aliases: Mapping[str, str | Advice] = {}
    ) -> None:
        """Report the keys of a mapping that are not known, each with advice."""
        known = list(known)
        for key in self.few([key for key in node.keys if key not in known], node, what):
            advice, place = advice_on(key, known, aliases), node.keys[key]
            if not advice:
                words = f"it has {', '.join(known)}"
            elif advice.is_name:
                words = f"did you mean `{place.setting.replace('*', advice.text) if place.setting else advice.text}`?"
            else:
                words = advice.text
            self.problems.add(place, f"{what} has no key `{key}`; {words}")
