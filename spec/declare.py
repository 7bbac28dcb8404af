"""Parameters declared once: the check, the error text, the JSON schema and the docs come from one line.

    class Parameters(Declared):
        num_output: int = param(minimum=1, doc="M, outputs per example")

A ``Declared`` class becomes a frozen dataclass. Its fields may be int, float, bool, str, ``Literal`` names,
``tuple[X, ...]`` (a list; one value may stand for a list of one), ``X | None``, another Declared (a mapping),
or any class with ``from_node(reader, node, what)`` and ``schema()``. A field of type ``Choice`` names one of several
kinds of a thing, each of which has ``Parameters`` of its own; they are written beside the choice.
"""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, dataclass_transform

from . import foreign
from .errors import Place, Problem, Problems, SpecError, did_you_mean, folded, nearest
from .node import Node


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


@dataclass(frozen=True)
class Param:
    """What ``param`` declared about one field."""

    doc: str
    bounds: Bounds
    kinds: Mapping[str, type] = field(default_factory=dict)  # of a Choice: the classes by name


@dataclass(frozen=True)
class Choice:
    """One of several kinds of a thing: its name, its class, and the parameters that belong to it."""

    name: str
    cls: Any
    p: Any


def param(
    *,
    doc: str,
    default: Any = dataclasses.MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    below: float | None = None,
    kinds: Mapping[str, type] = {},
) -> Any:
    """Declare a parameter. Without a default it must be given. Bounds hold for each number of a list.

    ``kinds`` are what a ``Choice`` has to choose from, classes with ``Parameters`` by name; its default is a name.
    """
    about = Param(doc, Bounds(minimum, maximum, above, below), kinds)
    if kinds and default is not dataclasses.MISSING:
        default = Choice(default, kinds[default], kinds[default].Parameters())  # type: ignore[attr-defined]
    return dataclasses.field(default=default, metadata={"param": about})


MOST_KEYS = 100  # unknown keys of a mapping that get advice
MISSING: Any = object()  # what reading returns when it reported a problem


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(param,))
class Declared:
    """Base of declared parameter sets; see the module's text."""

    _hints: ClassVar[dict[str, Any]] = {}
    _names: ClassVar[list[str]] = []
    aliases: ClassVar[Mapping[str, str]] = {}  # names people know from elsewhere -> ours, or a sentence
    # groups of keys, or of tuples of keys, of which only one may be written; one that `--set` gives replaces the others
    exclusive: ClassVar[Sequence[Sequence[str | tuple[str, ...]]]] = ()
    stands_for: ClassVar[str] = ""  # the key that a plain text in place of the mapping gives
    # keys of kinds that were not chosen, which are read past, with a warning; others are errors
    without_effect: ClassVar[frozenset[str]] = frozenset()
    refuses: ClassVar[frozenset[str]] = frozenset()  # of a kind: those that are errors beside it all the same

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        dataclass(frozen=True, kw_only=True)(cls)

    @classmethod
    def fields(cls) -> Iterator[tuple[str, Any, Param, Any]]:
        """(name, type, what was declared, default) of every parameter, in order."""
        if "_hints" not in cls.__dict__:
            cls._hints = typing.get_type_hints(cls)
        for one in dataclasses.fields(cls):  # type: ignore[arg-type]
            yield one.name, cls._hints[one.name], one.metadata["param"], one.default

    @classmethod
    def kinds(cls) -> Iterator[tuple[str, str, type[Declared]]]:
        """(choice, kind, its parameters) of everything there is to choose."""
        for name, _, about, _ in cls.fields():
            for kind, chosen in about.kinds.items():
                yield name, kind, chosen.Parameters  # type: ignore[attr-defined]

    @classmethod
    def names(cls) -> list[str]:
        """Every key that may be written, those of all kinds too."""
        if "_names" not in cls.__dict__:  # asked for each layer of a net, and of each type for a key that none has
            own = [one.name for one in dataclasses.fields(cls)]  # type: ignore[arg-type]
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
                return reader.wrong(node, what, getattr(cls, "words", "a mapping of " + ", ".join(cls.names()[:6])))
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
        aliases: Mapping[str, str] = {},
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
        for name, hint, about, default in cls.fields():
            if about.kinds:
                value = cls._choose(name, about, default, reader, node, what)
                complete &= value is not MISSING
                values[name] = value
            elif name in node.value:
                value = reader.read(hint, node.value[name], about.bounds, what if is_short else f"{what}.{name}")
                complete &= value is not MISSING
                values[name] = value
            elif default is dataclasses.MISSING:
                if name not in meant:  # else that is reported, once is enough
                    reader.problems.add(node.place, f"{what} needs `{name}`{needed_for}: {about.doc}")
                complete = False
        complete &= cls._check_others(reader, node, what, values)
        if not complete:
            return MISSING
        result = cls(**values)
        if unknown:  # rules between parameters may only fail for the one that is misspelt
            return MISSING
        for key, message in result.validate():
            reader.problems.add(node.at(key), f"{what}{'.' + key if key in cls.names() else ''} {message}")
            complete = False
        return result if complete else MISSING

    @classmethod
    def _choose(cls, name: str, about: Param, default: Any, reader: Reader, node: Node, what: str) -> Any:
        """The kind that a mapping names, or the default one, with the parameters of it that stand beside the name."""
        kind = default.name
        if name in node.value:
            kind = reader.choice(tuple(about.kinds), node.value[name], f"{what}.{name}")
        if kind is MISSING:
            return MISSING
        chosen = about.kinds[kind]
        p = chosen.Parameters.from_known(  # type: ignore[attr-defined]
            reader, node, what, cls.names(), cls.aliases, needed_for=f" for {name} {kind}"
        )
        return MISSING if p is MISSING else Choice(kind, chosen, p)

    @classmethod
    def _check_others(cls, reader: Reader, node: Node, what: str, values: Mapping[str, Any]) -> bool:
        """Look at the keys of kinds that were not chosen. A value that would make no difference says nothing."""
        own = {one.name for one in dataclasses.fields(cls)}  # type: ignore[arg-type]
        choices = [value for value in values.values() if isinstance(value, Choice)]
        own.update(key for choice in choices for key in choice.p.names())
        undecided = {name for name, value in values.items() if value is MISSING}
        owners: dict[str, list[tuple[str, str, type[Declared]]]] = {}
        for name, kind, parameters in cls.kinds():
            for key in parameters.names():
                owners.setdefault(key, []).append((name, kind, parameters))
        good = True
        for key, of in owners.items():
            name, _, parameters = of[0]
            if key not in node.value or key in own:
                continue
            (hint, about, default) = next((h, a, d) for n, h, a, d in parameters.fields() if n == key)
            value = reader.read(hint, node.value[key], about.bounds, f"{what}.{key}")
            good &= value is not MISSING
            if value is MISSING or value == default or name in undecided:
                continue
            place, chosen = node.at(key), values[name].name
            whose = in_words([kind for _, kind, _ in of])
            if key in cls.without_effect - values[name].p.refuses:
                message = f"{what}.{key} is not used by {name} {chosen}; it belongs to {whose}"
                reader.warnings.append(Problem(place, message, with_line=False))
            else:
                message = f"{what}.{key} belongs to {name} {whose}, not {chosen}; leave it out"
                reader.problems.add(place, message)
                good = False
        return good

    @classmethod
    def _exclude(cls, reader: Reader, node: Node, what: str) -> bool:
        """Take keys out of the node that a later setting replaces; report those that exclude each other otherwise."""
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
                    message = f"{what}.{last[0]} cannot stand beside `{form[0]}`{where}; write one of them"
                    reader.problems.add(node.at(last[0]), message)
                    good = False
        return good

    @classmethod
    def _meant(cls, node: Node, unknown: list[str], aliases: Mapping[str, str]) -> set[str]:
        """The parameters that unknown keys were probably meant to be, or hold as Caffe's ``…_param`` do."""
        meant: set[str] = set()
        for key in unknown[:MOST_KEYS]:
            meant.update(foreign.names_in(advice_on(key, cls.names(), aliases)))
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
    def _schema_of_kinds(cls) -> dict[str, dict]:
        """The keys of all kinds. Which belong together is not said: an editor completes what is half written."""
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

    @classmethod
    def schema(cls) -> dict:
        """JSON schema of a mapping of these parameters."""
        properties = {}
        for name, hint, about, default in cls.fields():
            kind = {"enum": list(about.kinds)} if about.kinds else schema_of(hint, about.bounds)
            properties[name] = {"description": about.doc} | kind
            if default is not dataclasses.MISSING and default is not None:
                properties[name]["default"] = _plain(default)
        properties |= cls._schema_of_kinds()
        required = [name for name, _, _, default in cls.fields() if default is dataclasses.MISSING]
        result: dict = {"type": "object", "properties": properties, "additionalProperties": False}
        result |= {"required": required} if required else {}
        return {"anyOf": [{"type": "string"}, result]} if cls.stands_for else result


class Nothing(Declared):
    """A kind without parameters."""


def in_words(names: Sequence[str]) -> str:
    """``step, exp and inv``"""
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def advice_on(key: str, known: Iterable[str], aliases: Mapping[str, str] = {}) -> str:
    """What to write instead of an unknown key: a known one, a sentence with it in backticks, or nothing."""
    known = list(known)
    by_folded = {folded(word): advice for word, advice in aliases.items()}
    if folded(key) in by_folded:
        return by_folded[folded(key)]
    plain, colon, value = key.partition(":")
    if colon and plain.strip() in known:
        return f"a space belongs after the colon: `{plain}: {value}`"
    return nearest(key, known) or ""


class Reader:
    """Turns nodes into checked values of a declared type, collecting every problem."""

    def __init__(self, problems: Problems):
        self.problems = problems
        self.warnings: list[Problem] = []  # of what may be a mistake, though it can be read

    def wrong(self, node: Node, what: str, expected: str, meant: str = "") -> Any:
        end = f"; write {meant}" if meant else ""
        self.problems.add(node.place, f"{what} must be {expected}, got {node.words()}{end}")
        return MISSING

    def few(self, unknown: list[str], node: Node, what: str) -> list[str]:
        """The first of many unknown keys; of the others it is said how many they are."""
        if len(unknown) > MOST_KEYS:
            more = f"{what} has {len(unknown) - MOST_KEYS:,} more keys that it does not know"
            self.problems.add(node.keys[unknown[MOST_KEYS]], more)
        return unknown[:MOST_KEYS]

    def unknown_keys(self, node: Node, known: Iterable[str], what: str, aliases: Mapping[str, str] = {}) -> None:
        known = list(known)
        for key in self.few([key for key in node.keys if key not in known], node, what):
            advice, place = advice_on(key, known, aliases), node.keys[key]
            if not advice:
                advice = f"it has {', '.join(known)}"
            elif " " not in advice:
                advice = f"did you mean `{place.setting.replace('*', advice) if place.setting else advice}`?"
            self.problems.add(place, f"{what} has no key `{key}`; {advice}")

    def read(self, hint: Any, node: Node, bounds: Bounds = Bounds(), what: str = "") -> Any:
        """The node's value as ``hint`` says, or MISSING after reporting what is wrong with it."""
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):  # X | None: written means X
            (inner,) = (argument for argument in arguments if argument is not type(None))
            return self.read(inner, node, bounds, what)
        if origin is tuple:
            items = node.value if isinstance(node.value, list) else [node]
            values = [
                self.read(arguments[0], item, bounds, f"{what}[{i}]" if len(items) > 1 else what)
                for i, item in enumerate(items)
            ]
            return MISSING if any(value is MISSING for value in values) else tuple(values)
        if origin is Literal:
            return self.choice(arguments, node, what)
        if hasattr(hint, "from_node"):
            return hint.from_node(self, node, what)
        return self._scalar(hint, node, bounds, what)

    def choice(self, names: tuple[str, ...], node: Node, what: str) -> Any:
        """One of some names, or MISSING after reporting what is wrong."""
        if node.value in names:
            return node.value
        one_of = f"{'one of ' if len(names) > 1 else ''}{', '.join(names)}"
        mean = ""
        if isinstance(node.value, str):
            advice = foreign.advice(foreign.CHOICES, node.value, names)
            mean = did_you_mean(advice or node.value, names, f"; {advice}" if advice else "")
        self.problems.add(node.place, f"{what} must be {one_of}, got {node.words()}{mean}")
        return MISSING

    def _scalar(self, hint: Any, node: Node, bounds: Bounds, what: str) -> Any:
        value = node.value
        if hint in (int, float) and type(value) is int and abs(value) >= 2**63:
            return self.wrong(node, what, "a number that fits into 64 bits")
        right = {
            bool: lambda: isinstance(value, bool),
            int: lambda: isinstance(value, int) and not isinstance(value, bool),
            float: lambda: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
            str: lambda: isinstance(value, str),
        }[hint]()
        if not right or (hint in (int, float) and not bounds.allow(value)):
            return self.wrong(node, what, type_words(hint, bounds), _meant_scalar(hint, value))
        return hint(value)


def _meant_scalar(hint: Any, value: Any) -> str:
    """What a value of another type was probably meant to be, or nothing."""
    if hint is int and isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if not isinstance(value, str) or len(value) > 40:
        return ""
    if hint is bool:
        return {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(value.casefold(), "")
    number = r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    if hint in (int, float) and re.fullmatch(number, value, re.ASCII) and (hint is float or float(value).is_integer()):
        return f"{value}, without quotes"
    parts = re.fullmatch(f"({number}) *([*/]) *({number})", value, re.ASCII)
    if hint in (int, float) and parts and float(parts[3]):
        result = float(parts[1]) / float(parts[3]) if parts[2] == "/" else float(parts[1]) * float(parts[3])
        return f"the number itself, {result:.8g}" if math.isfinite(result) else ""
    return ""


def type_words(hint: Any, bounds: Bounds = Bounds()) -> str:
    """A declared type in words: ``a whole number >= 1``."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return type_words(next(a for a in arguments if a is not type(None)), bounds)
    if origin is tuple:
        return f"{type_words(arguments[0], bounds)}, or a list of them"
    if origin is Literal:
        return f"{'one of ' if len(arguments) > 1 else ''}{', '.join(arguments)}"
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}.get(hint)
    if words is None:
        return getattr(hint, "words", "a mapping")
    return f"{words} {bounds.words()}".strip()


def schema_of(hint: Any, bounds: Bounds = Bounds()) -> dict:
    """JSON schema of one declared type."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return schema_of(next(a for a in arguments if a is not type(None)), bounds)
    if origin is tuple:
        item = schema_of(arguments[0], bounds)
        return {"anyOf": [item, {"type": "array", "items": item}]}
    if origin is Literal:
        return {"enum": list(arguments)}
    names = {bool: "boolean", int: "integer", float: "number", str: "string"}
    if hint in names:
        return {"type": names[hint]} | bounds.schema()
    return hint.schema()


def _plain(default: Any) -> Any:
    """A default as JSON has it."""
    if isinstance(default, Choice):
        return default.name
    if isinstance(default, Declared):
        return {name: _plain(getattr(default, name)) for name in default.names()}
    return list(default) if isinstance(default, tuple) else default


__all__ = ["MISSING", "Bounds", "Declared", "Param", "Reader", "SpecError", "param", "schema_of", "type_words"]
