"""The types of value a parameter may have, each a class with the three things that a declaration gives: how a node is
read, the words for it in errors and docs, and its JSON schema.

``value_type`` alone looks at annotations. What reads itself (a Declared, a class of a layer's own such as ``Shape``)
is its own type: the class has the three things as class methods and a class attribute. A new kind of value is one new
class.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from . import foreign
from .advice import look_up
from .errors import did_you_mean
from .node import Node
from .reader import MISSING, Reader


@runtime_checkable
class ValueType(Protocol):
    """What a parameter may hold."""

    @property
    def words(self) -> str:
        """What a value must be, as errors and docs say it: ``an integer >= 1``."""

    def from_node(self, reader: Reader, node: Node, what: str) -> Any:
        """The node's value, or MISSING after the reader was told what is wrong with it. ``what`` is its name."""

    def schema(self) -> dict:
        """JSON schema of a value."""

    # One whose value is a list of layers says so: `holds_layers = True`.


@dataclass(frozen=True)
class Bounds:
    """What a number must satisfy besides its type."""

    minimum: float | None = None
    maximum: float | None = None
    above: float | None = None
    below: float | None = None

    def words(self) -> str:
        parts = [
            f"{sign} {limit:g}"
            for sign, limit in ((">=", self.minimum), (">", self.above), ("<=", self.maximum), ("<", self.below))
            if limit is not None
        ]
        return " and ".join(parts)

    def allow(self, value: float) -> bool:
        return (
            (self.minimum is None or value >= self.minimum)
            and (self.maximum is None or value <= self.maximum)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def schema(self) -> dict:
        names = {"minimum": self.minimum, "maximum": self.maximum}
        names |= {"exclusiveMinimum": self.above, "exclusiveMaximum": self.below}
        return {name: limit for name, limit in names.items() if limit is not None}


_NUMBER = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_PRODUCT = re.compile(f"({_NUMBER}) *([*/]) *({_NUMBER})", re.ASCII)
_LONGEST = 40  # characters of a string that is searched for what was meant


@dataclass(frozen=True)
class Real:
    """``float``: a finite number; an integer is one too."""

    bounds: Bounds = Bounds()

    noun: ClassVar[str] = "a number"
    json: ClassVar[str] = "number"

    @property
    def words(self) -> str:
        return f"{self.noun} {self.bounds.words()}".strip()

    def schema(self) -> dict:
        return {"type": self.json} | self.bounds.schema()

    def from_node(self, reader: Reader, node: Node, what: str) -> Any:
        value = node.value
        if type(value) is int and abs(value) >= 2**63:
            return reader.wrong(node, what, "a number that fits into 64 bits")
        if not self.fits(value) or not self.bounds.allow(value):
            meant = self.meant(value)
            return reader.wrong(node, what, self.words, f"; write {meant}" if meant else "")
        return self.exactly(value)

    def fits(self, value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)

    def exactly(self, value: Any) -> float:
        """A value that fits, as this type."""
        return float(value)

    def meant(self, value: Any) -> str:
        """What to write for a value that is not right, or nothing: a quoted number, or a product or quotient of two."""
        if not isinstance(value, str) or len(value) > _LONGEST:
            return ""
        if re.fullmatch(_NUMBER, value, re.ASCII):
            return f"{value}, without quotes" if self.fits_quoted(float(value)) else ""
        parts = _PRODUCT.fullmatch(value)
        if parts and float(parts[3]):
            result = float(parts[1]) / float(parts[3]) if parts[2] == "/" else float(parts[1]) * float(parts[3])
            return f"the number itself, {result:.8g}" if math.isfinite(result) else ""
        return ""

    def fits_quoted(self, value: float) -> bool:
        """Whether a number written in quotes would be right without them."""
        return True


class Whole(Real):
    """``int``: an integer of at most 64 bits."""

    noun = "an integer"
    json = "integer"

    def fits(self, value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool)

    def exactly(self, value: Any) -> int:
        return int(value)

    def meant(self, value: Any) -> str:
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        return super().meant(value)

    def fits_quoted(self, value: float) -> bool:
        return value.is_integer()


class Boolean:
    """``bool``."""

    words = "true or false"
    of_yaml_1_1 = {"yes": "true", "on": "true", "no": "false", "off": "false"}

    def from_node(self, reader: Reader, node: Node, what: str) -> Any:
        if isinstance(node.value, bool):
            return node.value
        meant = self.of_yaml_1_1.get(node.value.casefold()) if isinstance(node.value, str) else None
        return reader.wrong(node, what, self.words, f"; write {meant}" if meant else "")

    def schema(self) -> dict:
        return {"type": "boolean"}


class Text:
    """``str``."""

    words = "a string"

    def from_node(self, reader: Reader, node: Node, what: str) -> Any:
        return str(node.value) if isinstance(node.value, str) else reader.wrong(node, what, self.words)

    def schema(self) -> dict:
        return {"type": "string"}


@dataclass(frozen=True)
class OneOf:
    """``Literal``: one of several names."""

    names: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"{'one of ' if len(self.names) > 1 else ''}{', '.join(self.names)}"

    def from_node(self, reader: Reader, node: Node, what: str) -> Any:
        if node.value in self.names:
            return node.value
        advice = look_up(foreign.CHOICES, node.value, self.names) if isinstance(node.value, str) else None
        if advice and not advice.is_name:
            return reader.wrong(node, what, self.words, f"; {advice.text}")
        meant = advice.text if advice else node.value
        return reader.wrong(node, what, self.words, did_you_mean(meant, self.names) if isinstance(meant, str) else "")

    def schema(self) -> dict:
        return {"enum": list(self.names)}


@dataclass(frozen=True)
class ListOf:
    """``tuple[X, ...]``: a list; one value may stand for a list of one."""

    item: ValueType

    @property
    def words(self) -> str:
        return f"{self.item.words}, or a list of them"

    def from_node(self, reader: Reader, node: Node, what: str) -> Any:
        items = node.value if isinstance(node.value, list) else [node]
        values = [
            self.item.from_node(reader, item, f"{what}[{i}]" if len(items) > 1 else what)
            for i, item in enumerate(items)
        ]
        return MISSING if any(value is MISSING for value in values) else tuple(values)

    def schema(self) -> dict:
        item = self.item.schema()
        return {"anyOf": [item, {"type": "array", "items": item}]}


def value_type(annotation: Any, bounds: Bounds = Bounds()) -> ValueType:
    """The type of value that an annotation stands for. ``bounds`` are those of each number in it.

    For ``X | None`` it is X: None is what is not written. Raises TypeError for a type that no parameter can have.
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        several = [argument for argument in arguments if argument is not type(None)]
        if len(several) == 1:
            return value_type(several[0], bounds)
    elif origin is tuple and arguments[1:] == (...,):
        return ListOf(value_type(arguments[0], bounds))
    elif origin is Literal:
        return OneOf(arguments)
    elif annotation in _PLAIN:
        return _PLAIN[annotation](bounds)
    elif isinstance(annotation, ValueType):
        return annotation
    raise TypeError(
        f"a parameter cannot be of type {annotation}: it is int, float, bool, str, Literal, tuple[X, ...], X | None, "
        "or a class with `words`, `from_node` and `schema`"
    )


_PLAIN: dict[Any, Callable[[Bounds], ValueType]] = {
    int: Whole,
    float: Real,
    bool: lambda _: Boolean(),
    str: lambda _: Text(),
}
