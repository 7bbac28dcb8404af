"""Parameters declared once: the check, the error text, the JSON schema and the docs come from one line.

    class Parameters(Declared):
        num_output: int = param(minimum=1, doc="M, outputs per example")

A ``Declared`` class becomes a frozen dataclass. Its fields may be int, float, bool, str, ``Literal`` names,
``tuple[X, ...]`` (a list; one value may stand for a list of one), ``X | None``, another Declared (a mapping),
or any other class that is a ``ValueType`` (``values`` has them all). A field of type ``Choice`` names one of several
kinds of a thing, each of which has ``Parameters`` of its own; they are written beside the choice.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, dataclass_transform

from .advice import Advice, advice_on
from .choice import Choice, Kind, check_other_kinds, keys_of_kinds, read_choice
from .errors import Place, Problems
from .node import Node
from .reader import MISSING, MOST_KEYS, Reader
from .values import Bounds, OneOf, ValueType, value_type


@dataclass(frozen=True)
class Param:
    """What ``param`` declared about one field."""

    doc: str
    bounds: Bounds
    kinds: Mapping[str, Kind]  # of a Choice: the classes by name


class Field(NamedTuple):
    """One parameter of a Declared."""

    name: str
    type: ValueType  # of a Choice: of the name that is written
    about: Param
    default: Any  # or dataclasses.MISSING


def param(
    *,
    doc: str,
    default: Any = dataclasses.MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    kinds: Mapping[str, Kind] = {},
) -> Any:
    """Declare a parameter. Without a default it is required. Bounds hold for each number of a list.

    ``kinds`` are what a ``Choice`` has to choose from, classes with ``Parameters`` by name; its default is a name.
    """
    about = Param(doc, Bounds(minimum, maximum, above, below), kinds)
    if kinds and default is not dataclasses.MISSING:
        default = Choice(default, kinds[default], kinds[default].Parameters())
    return dataclasses.field(default=default, metadata={"param": about})


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(param,))
@dataclass(frozen=True)
class Declared:
    """Base of declared parameter sets; see the module's text."""

    _fields: ClassVar[tuple[Field, ...]] = ()
    _names: ClassVar[list[str]] = []
    words: ClassVar[str] = "a mapping"  # what may be written, as errors and docs say it
    aliases: ClassVar[Mapping[str, str | Advice]] = {}  # names people know from elsewhere -> ours, or a sentence
    # groups of keys, or of tuples of keys, of which only one may be written; one that `--set` gives replaces the others
    exclusive: ClassVar[Sequence[Sequence[str | tuple[str, ...]]]] = ()
    stands_for: ClassVar[str] = ""  # the key that a plain string in place of the mapping sets
    # keys of kinds that were not chosen, which are ignored, with a warning; others are errors
    without_effect: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[frozenset[str]] = frozenset()  # of a kind: those that are errors with it all the same

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def fields(cls) -> tuple[Field, ...]:
        """Every parameter, in order."""
        if "_fields" not in cls.__dict__:  # not before the first use: an annotation may name what follows in its module
            hints, found = typing.get_type_hints(cls), []
            for one in dataclasses.fields(cls):
                about: Param = one.metadata["param"]
                kind = OneOf(tuple(about.kinds)) if about.kinds else value_type(hints[one.name], about.bounds)
                found.append(Field(one.name, kind, about, one.default))
            cls._fields = tuple(found)
        return cls._fields

    @classmethod
    def kinds(cls) -> Iterator[tuple[str, str, type[Declared]]]:
        """(choice, kind, its parameters) of everything there is to choose."""
        for name, _, about, _ in cls.fields():
            for kind, chosen in about.kinds.items():
                yield name, kind, chosen.Parameters

    @classmethod
    def names(cls) -> list[str]:
        """Every key that may be written, those of all kinds too."""
        if "_names" not in cls.__dict__:  # called for each layer of a net, and for each type when a key is unknown
            own = [one.name for one in dataclasses.fields(cls)]
            cls._names = list(dict.fromkeys([*own, *(key for *_, kind in cls.kinds() for key in kind.names())]))
        return cls._names.copy()

    @classmethod
    def shorthand(cls, value: Any) -> Mapping[str, Any] | None:
        """The mapping that a plain value stands for, if this class has a short form."""
        return {cls.stands_for: value} if cls.stands_for and isinstance(value, str) else None

    def validate(self) -> Iterable[tuple[str, str]]:
        """Rules between parameters: yields (key to blame, message)."""
        return ()

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        """Read and check a mapping node; problems are collected in the reader."""
        if not isinstance(node.value, dict):
            short = None if isinstance(node.value, list) else cls.shorthand(node.value)
            if short is None:
                of = " with keys " + ", ".join(cls.names()[:6]) if cls.words is Declared.words else ""
                return reader.wrong(node, what, cls.words + of)
            whole = Node.plain(dict(short), node.place, in_one_place=True)
            return cls.from_known(reader, whole, what, is_short=True)
        reader.unknown_keys(node, cls.names(), what, cls.aliases)
        return cls.from_known(reader, node, what)

    @classmethod
    def from_known(
        cls,
        reader: Reader,
        node: Node,
        what: str,
        others: Iterable[str] = (),
        aliases: Mapping[str, str | Advice] = {},
        is_short: bool = False,
        needed_for: str = "",
    ) -> Any:
        """Like ``from_node``, but unknown keys have been reported, and ``others`` are known elsewhere.

        ``is_short``: the mapping stands for a single value, so messages do not name its keys. ``needed_for``: what
        needs a key that is missing, beside ``what``.
        """
        complete = cls._exclude(reader, node, what)
        own = {*cls.names(), *others}
        unknown = [key for key in node.keys if key not in own]
        meant = cls._meant(node, unknown, {**cls.aliases, **aliases})
        values = {}
        for one in cls.fields():
            name, kind, about, default = one
            if about.kinds:
                value = read_choice(cls, one, reader, node, what)
                complete &= value is not MISSING
                values[name] = value
            elif name in node.value:
                value = kind.from_node(reader, node.value[name], what if is_short else f"{what}.{name}")
                complete &= value is not MISSING
                values[name] = value
            elif default is dataclasses.MISSING:
                if name not in meant:  # otherwise it is reported already: once is enough
                    reader.problems.add(node.place, f"{what} needs `{name}`{needed_for}: {about.doc}")
                complete = False
        complete &= check_other_kinds(cls, reader, node, what, values)
        if not complete:
            return MISSING
        result = cls(**values)
        if unknown:  # rules between parameters may fail only because of the misspelt one
            return MISSING
        for key, message in result.validate():
            reader.problems.add(node.at(key), f"{what}{'.' + key if key in cls.names() else ''} {message}")
            complete = False
        return result if complete else MISSING

    @classmethod
    def _exclude(cls, reader: Reader, node: Node, what: str) -> bool:
        """Remove keys from the node that a later setting replaces; else report those that exclude each other."""
        good = True
        for group in cls.exclusive:
            order = list(node.keys)  # a key that is set moves to the end
            forms = [[key for key in ((one,) if isinstance(one, str) else one) if key in order] for one in group]
            written = sorted(filter(None, forms), key=lambda form: max(map(order.index, form)))
            for form in written[:-1]:
                last = written[-1]
                is_set = [next((key for key in one if node.keys[key].setting), None) for one in (last, form)]
                if is_set[0] and not is_set[1]:
                    for key in form:
                        del node.value[key], node.keys[key]
                else:
                    where = f" ({node.at(is_set[1])})" if is_set[1] else ""
                    message = f"{what}.{last[0]} cannot be combined with `{form[0]}`{where}; write one of them"
                    reader.problems.add(node.at(last[0]), message)
                    good = False
        return good

    @classmethod
    def _meant(cls, node: Node, unknown: list[str], aliases: Mapping[str, str | Advice]) -> set[str]:
        """The parameters that unknown keys were probably meant to be, or hold as Caffe's ``…_param`` do."""
        meant: set[str] = set()
        for key in unknown[:MOST_KEYS]:
            advice = advice_on(key, cls.names(), aliases)
            meant.update(advice.names if advice else ())
            inner = node.value[key].value
            meant.update(inner if isinstance(inner, dict) else [])
        return meant

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], what: str = "") -> Any:
        """Build from a plain Python mapping, with the same checks. Raises SpecError."""
        problems = Problems()
        result = cls.from_node(Reader(problems), Node.plain(dict(mapping), Place(what)), what)
        problems.raise_if_any()
        return result

    @classmethod
    def schema(cls) -> dict:
        """JSON schema of a mapping of these parameters."""
        properties = {}
        for name, kind, about, default in cls.fields():
            properties[name] = {"description": about.doc} | kind.schema()
            if default is not dataclasses.MISSING and default is not None:
                properties[name]["default"] = _plain(default)
        properties |= keys_of_kinds(cls)
        required = [name for name, _, _, default in cls.fields() if default is dataclasses.MISSING]
        result: dict = {"type": "object", "properties": properties, "additionalProperties": False}
        result |= {"required": required} if required else {}
        return {"anyOf": [{"type": "string"}, result]} if cls.stands_for else result


class Nothing(Declared):
    """A kind without parameters."""


def _plain(default: Any) -> Any:
    """A default as JSON has it."""
    if isinstance(default, Choice):
        return default.name
    if isinstance(default, Declared):
        values = {name: getattr(default, name) for name in default.names()}
        return {name: _plain(value) for name, value in values.items() if value is not None}  # None is not written
    return list(default) if isinstance(default, tuple) else default
