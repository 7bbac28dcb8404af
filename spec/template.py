"""Values with parameters in them, as a block has them: ``$channels``, ``4 * $channels + 1``, ``$folder/train.csv``.

``$name`` alone stands for the parameter's value, whatever it is. Numbers may be added and multiplied. Anywhere else in
a text ``$name`` is replaced by the value as text, and ``$$`` by a dollar sign; ``$(name)`` is the same where a letter
follows. There is nothing more to it on purpose.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from .errors import Place, Problem, Problems, SpecError, Use, did_you_mean
from .node import Node
from .reading import MOST_NODES, scalar

LONGEST_TEXT = 1000  # characters of a text that was put together

_REFERENCE = r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\([A-Za-z_][A-Za-z0-9_]*\))"
_NUMBER = r"-?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_TERM = rf"(?:{_REFERENCE}|{_NUMBER})"
_FORMULA = re.compile(rf"\s*{_TERM}(?:\s*[+*]\s*{_TERM})*\s*", re.ASCII)
_TOKEN = re.compile(rf"{_REFERENCE}|{_NUMBER}|[+*]", re.ASCII)
_IN_TEXT = re.compile(rf"\$\$|{_REFERENCE}", re.ASCII)
_ARITHMETIC = re.compile(r"[-+*/%^()0-9.\s]*[-+*/%^()][-+*/%^()0-9.\s]*", re.ASCII)


class Budget:
    """How many values all blocks together may still give, so that a few nested ones cannot fill the memory."""

    def __init__(self) -> None:
        self.left = MOST_NODES

    def take(self, place: Place) -> None:
        """Count one value. Raises SpecError when there are too many, with the place of the use."""
        self.left -= 1
        if self.left < 0:
            message = f"with its blocks written out, the spec has more than {MOST_NODES:,} values"
            raise SpecError([Problem(place, f"{message}; is a `repeat` too large?")])


def references(node: Node) -> Iterator[str]:
    """The parameters that a value names."""
    if isinstance(node.value, dict | list):
        for item in node.value.values() if isinstance(node.value, dict) else node.value:
            yield from references(item)
    elif isinstance(node.value, str):
        yield from (_parameter(found) for found in _IN_TEXT.findall(node.value) if found != "$$")


def may_give(text: str, result: str) -> bool:
    """Whether a text with parameters in it is ``result`` with some values."""
    pieces = re.split(_IN_TEXT.pattern, text, flags=re.ASCII)
    return re.fullmatch(".+".join(map(re.escape, pieces)), result, re.DOTALL) is not None


def in_brackets(node: Node) -> dict[str, Node]:
    """The values of a mapping, each ``$name`` in them as ``$(name)``, which may have letters after it."""

    def changed(node: Node) -> Node:
        if isinstance(node.value, list):
            return Node([changed(item) for item in node.value], node.place)
        if not isinstance(node.value, str):
            return node
        return Node(
            _IN_TEXT.sub(lambda it: it[0] if it[0] == "$$" else f"$({_parameter(it[0])})", node.value), node.place
        )

    return {key: changed(value) for key, value in node.value.items()}


def _parameter(reference: str) -> str:
    """The name in ``$name`` or ``$(name)``."""
    return reference.strip("$()")


def moved(node: Node, place: Place, budget: Budget) -> Node:
    """A copy of a value of which every part has this place."""
    budget.take(place)
    if isinstance(node.value, dict):
        items = {key: moved(item, place, budget) for key, item in node.value.items()}
        return Node(items, place, dict.fromkeys(items, place))
    if isinstance(node.value, list):
        return Node([moved(item, place, budget) for item in node.value], place)
    return Node(node.value, place)


@dataclass
class Template:
    """Copies what a block has for one use of it: parameters have their values, and every place knows the use.

    ``later`` are parameters that a default cannot use yet.
    """

    block: str
    values: Mapping[str, Node]
    use: Use
    problems: Problems
    budget: Budget
    later: tuple[str, ...] = ()

    def fill(self, node: Node) -> Node:
        """A copy of a value for this use. What is wrong with it is reported, and left as it is."""
        place = self.at(node.place)
        self.budget.take(self.use.place)
        if isinstance(node.value, dict):
            keys = {key: self.at(where) for key, where in node.keys.items()}
            return Node({key: self.fill(item) for key, item in node.value.items()}, place, keys)
        if isinstance(node.value, list):
            return Node([self.fill(item) for item in node.value], place)
        if not isinstance(node.value, str) or "$" not in node.value:
            return Node(node.value, place)
        unknown = [name for name in references(node) if name not in self.values]
        for name in unknown:
            if name in self.later:
                message = f"a default is made from parameters that stand before it; `{name}` stands after it"
                self.problems.add(place, message)
                continue
            names = [one for one in dict.fromkeys([*self.values, *self.later]) if one != "name"]
            near = did_you_mean(name, names, f"; it has {', '.join(names) or 'none'}")
            self.problems.add(place, f"block `{self.block}` has no parameter `{name}`{near}")
        return Node(None if unknown else node.value, place) if unknown else self._filled(node, place)

    def of_use(self, defaults: Mapping[str, Node], given: Mapping[str, Node], name: str, copy: int | None) -> Template:
        """The same with the parameters of one use of the block, or one of its copies: what is given, else the default.

        Of a list that is given to copies each gets one value, and the last goes to all that follow.
        """
        made = replace(self, values={"name": Node(name, self.use.place)}, later=tuple(defaults))
        for key, default in defaults.items():
            value = given.get(key)
            if value is None:
                value = made.fill(default) if any(True for _ in references(default)) else default
            elif copy is not None and isinstance(value.value, list):
                value = value.value[min(copy, len(value.value) - 1)]
            made.values = {**made.values, key: value}
        return made

    def at(self, place: Place) -> Place:
        """A place in the block, for this use."""
        return replace(place, used=self.use)

    def _filled(self, node: Node, place: Place) -> Node:
        text, names = node.value, list(dict.fromkeys(references(node)))
        given = tuple(line for name in names for line in self._given(name))
        place = replace(place, used=replace(self.use, given=given))
        if re.fullmatch(_REFERENCE, text, re.ASCII):
            return moved(self.values[_parameter(text)], place, self.budget)
        if _FORMULA.fullmatch(text):
            return Node(self._computed(text, place), place)
        numbers = all(_is_number(self.values[name].value) for name in names)
        if names and numbers and _ARITHMETIC.fullmatch(_IN_TEXT.sub("", text)):
            message = f"parameters can be added and multiplied, as in 2 * $channels + 1, and nothing else; got {text}"
            self.problems.add(place, message)
            return Node(None, place)
        return Node(self._joined(text, place), place)

    def _given(self, name: str) -> Iterator[str]:
        """Lines that say what a parameter is, and where that is written."""
        if name == "name":
            return
        value = self.values[name]
        yield f"`${name}` is {value.words()}, given at {value.place}"
        if value.place.used:
            yield from value.place.used.given

    def _computed(self, text: str, place: Place) -> int | float | None:
        """A sum of products, or None when it is none that fits into a number."""
        total: int | float = 0
        product: int | float = 1
        for token in [*_TOKEN.findall(text), "+"]:
            if token == "+":
                total, product = total + product, 1
            elif token != "*":
                value = self.values[_parameter(token)].value if token[0] == "$" else scalar(token)
                if not _is_number(value):
                    words = self.values[_parameter(token)].words()
                    self.problems.add(place, f"`{token}` is {words}, which cannot be added or multiplied")
                    return None
                product = product * value if abs(value) < 2**63 else math.inf
            if not abs(total) + abs(product) < 2**63:
                self.problems.add(place, f"{text.strip()} is too large a number")
                return None
        return total

    def _joined(self, text: str, place: Place) -> str | None:
        for name in references(Node(text, place)):
            if isinstance(self.values[name].value, dict | list) or self.values[name].value is None:
                words = self.values[name].words()
                self.problems.add(place, f"`${name}` is {words}, which cannot be a part of a text")
                return None

        def text_of(found: re.Match) -> str:
            if found[0] == "$$":
                return "$"
            value = self.values[_parameter(found[0])].value
            return str(value).lower() if isinstance(value, bool) else str(value)

        result = _IN_TEXT.sub(text_of, text)
        if len(result) > LONGEST_TEXT:
            self.problems.add(place, f"a text of {len(result):,} characters is too long")
            return None
        return result


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
