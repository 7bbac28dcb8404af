"""Declared parameters: one line gives the check, the error text and the JSON schema."""

import dataclasses
import functools
import inspect
import json
import math
import re
from pathlib import Path
from typing import Literal

import nettrain
import numpy as np
import pytest
from nettrain import Declared, SpecError, param
from nettrain.net import registry
from nettrain.net.records import Common, Rule, Top
from nettrain.net.spec_file import read_file
from nettrain.solver.parameters import SolverParameters
from nettrain.spec.declare import Choice
from nettrain.spec.errors import Place, Problems
from nettrain.spec.node import Node
from nettrain.spec.reader import MISSING, Reader
from nettrain.tools.schema import schema as schema_of_specs


class Colour(Declared):
    """A mapping with a short form, used as a parameter's type."""

    name: Literal["red", "green"] = param(default="red", doc="which")
    weight: float = param(default=1.0, above=0, doc="how much")

    words = "a colour"

    @classmethod
    def shorthand(cls, value):
        return {"name": value} if isinstance(value, str) else None

    @classmethod
    def schema(cls):
        return {"anyOf": [{"enum": ["red", "green"]}, super().schema()]}

    def validate(self):
        if self.name == "green" and self.weight > 5:
            yield "weight", f"must be <= 5 for green, got {self.weight:g}"


class Plain(Declared):
    """A mapping without a short form."""

    size: int = param(minimum=1, doc="how large")


def declared(hint, **options):
    """A set with one parameter ``x`` of this type."""
    namespace = {"__annotations__": {"x": hint}, "x": param(doc="the one", **options)}
    return type("Some", (Declared,), namespace)


def read(cls, **values):
    return cls.from_mapping(values, "it")


def problems(cls, **values):
    with pytest.raises(SpecError) as error:
        cls.from_mapping(values, "it")
    return [problem.message for problem in error.value.problems]


# Types: what is accepted and as what, what is refused and in which words. The schema must say the same.

ACCEPTED = [
    (int, 3, 3),
    (int, -3, -3),
    (float, 3, 3.0),
    (float, 1e-3, 1e-3),
    (bool, True, True),
    (bool, False, False),
    (str, "a string", "a string"),
    (str, "", ""),
    (Literal["MAX", "AVE"], "AVE", "AVE"),
    (tuple[int, ...], [1, 2, 3], (1, 2, 3)),
    (tuple[int, ...], 5, (5,)),
    (tuple[int, ...], [], ()),
    (tuple[float, ...], [1, 2.5], (1.0, 2.5)),
    (tuple[str, ...], "a", ("a",)),
    (tuple[bool, ...], [True, False], (True, False)),
    (tuple[Literal["a", "b"], ...], ["b", "a"], ("b", "a")),
    (int | None, 4, 4),
    (float | None, 4, 4.0),
    (tuple[str, ...] | None, ["a", "b"], ("a", "b")),
    (Plain, {"size": 2}, Plain(size=2)),
    (Plain | None, {"size": 2}, Plain(size=2)),
    (Colour, {}, Colour()),
    (Colour, {"name": "green", "weight": 2}, Colour(name="green", weight=2.0)),
    (Colour, "green", Colour(name="green")),
    (tuple[Colour, ...], "green", (Colour(name="green"),)),
    (tuple[Colour, ...], ["green", {"weight": 3}], (Colour(name="green"), Colour(weight=3.0))),
    (tuple[Plain, ...], {"size": 2}, (Plain(size=2),)),
]

REFUSED = [
    (int, 2.5, "it.x must be an integer, got 2.5"),
    (int, "3", 'it.x must be an integer, got the string "3"; write 3, without quotes'),
    (int, True, "it.x must be an integer, got true"),
    (int, [3], "it.x must be an integer, got a list"),
    (int, {"a": 3}, "it.x must be an integer, got a mapping"),
    (int, None, "it.x must be an integer, got nothing"),
    (float, "1e-3", 'it.x must be a number, got the string "1e-3"; write 1e-3, without quotes'),
    (float, True, "it.x must be a number, got true"),
    (bool, 1, "it.x must be true or false, got 1"),
    (bool, "true", 'it.x must be true or false, got the string "true"'),
    (str, 5, "it.x must be a string, got 5"),
    (str, False, "it.x must be a string, got false"),
    (Literal["MAX", "AVE"], "max", 'it.x must be one of MAX, AVE, got the string "max"; did you mean `MAX`?'),
    (Literal["MAX", "AVE"], 1, "it.x must be one of MAX, AVE, got 1"),
    (Literal["MAX", "AVE"], ["MAX"], "it.x must be one of MAX, AVE, got a list"),
    (Literal["SGD"], "Adam", 'it.x must be SGD, got the string "Adam"'),
    (int | None, None, "it.x must be an integer, got nothing"),
    (int | None, "a", 'it.x must be an integer, got the string "a"'),
    (tuple[int, ...], "a", 'it.x must be an integer, got the string "a"'),
    (tuple[int, ...], [1, 2.5, 3], "it.x[1] must be an integer, got 2.5"),
    (tuple[int, ...], [[1, 2]], "it.x must be an integer, got a list"),
    (Plain, 3, "it.x must be a mapping with keys size, got 3"),
    (Plain, [{"size": 1}], "it.x must be a mapping with keys size, got a list"),
    (Plain, {}, "it.x needs `size`: how large"),
    (Plain, {"size": 0}, "it.x.size must be an integer >= 1, got 0"),
    (Colour, ["red"], "it.x must be a colour, got a list"),
    (Colour, "blue", 'it.x must be one of red, green, got the string "blue"'),
    (tuple[Colour, ...], ["red", {"weight": 0}], "it.x[1].weight must be a number > 0, got 0"),
]


@pytest.mark.parametrize(("hint", "given", "expected"), ACCEPTED)
def test_values_that_are_accepted(hint, given, expected):
    value = read(declared(hint), x=given).x
    assert value == expected
    assert type(value) is type(expected)
    if isinstance(value, tuple):
        assert [type(item) for item in value] == [type(item) for item in expected]
    assert conforms(declared(hint).schema(), {"x": given})


@pytest.mark.parametrize(("hint", "given", "message"), REFUSED)
def test_values_that_are_refused(hint, given, message):
    assert problems(declared(hint), x=given) == [message]
    assert not conforms(declared(hint).schema(), {"x": given})


@pytest.mark.parametrize("given", [math.nan, math.inf, -math.inf])
def test_numbers_are_finite(given):
    assert problems(declared(float), x=given) == [f"it.x must be a number, got {given}"]


@pytest.mark.parametrize("hint", [float, float | None, tuple[float, ...]])
def test_an_integer_too_large_for_a_float_is_refused(hint):
    (message,) = problems(declared(hint), x=10**400)
    assert message.startswith("it.x must be a number")


@pytest.mark.parametrize(
    ("given", "fits"), [(2**63 - 1, True), (2**63, False), (1 - 2**63, True), (-(2**63) - 1, False)]
)
@pytest.mark.parametrize("hint", [int, float])
def test_integers_fit_into_64_bits(hint, given, fits):
    if fits:
        assert read(declared(hint), x=given).x == hint(given)
    else:
        assert problems(declared(hint), x=given) == [f"it.x must be a number that fits into 64 bits, got {given}"]


@pytest.mark.parametrize(("hint", "given"), [(int, np.int64(3)), (float, np.float32(0.5)), (bool, np.bool_(True))])
def test_numpy_scalars_are_plain_values(hint, given):
    assert read(declared(hint), x=given).x == given.item()


# Bounds

BOUNDS = [
    ({"minimum": 1}, [1, 2], [0, -1], ">= 1"),
    ({"maximum": 4}, [4, -9], [5], "<= 4"),
    ({"above": 0}, [1], [0, -1], "> 0"),
    ({"below": 3}, [2], [3, 4], "< 3"),
    ({"minimum": 0, "below": 3}, [0, 2], [-1, 3], ">= 0 and < 3"),
    ({"above": 0, "maximum": 2}, [1, 2], [0, 3], "> 0 and <= 2"),
]


@pytest.mark.parametrize("hint", [int, float, int | None, float | None, tuple[int, ...], tuple[float, ...]])
@pytest.mark.parametrize(("bounds", "inside", "outside", "words"), BOUNDS)
def test_bounds(hint, bounds, inside, outside, words):
    cls = declared(hint, **bounds)
    for value in inside:
        assert read(cls, x=value).x in (value, (value,))
        assert conforms(cls.schema(), {"x": value})
    for value in outside:
        (message,) = problems(cls, x=value)
        assert message.endswith(f" {words}, got {value}")
        assert not conforms(cls.schema(), {"x": value})


@pytest.mark.parametrize(("value", "fits"), [(0.999999, True), (1.0, False), (0.0, True), (-1e-9, False)])
def test_bounds_of_fractions(value, fits):
    cls = declared(float, minimum=0, below=1)
    if fits:
        assert read(cls, x=value).x == value
    else:
        assert len(problems(cls, x=value)) == 1


def test_bounds_hold_for_each_number_of_a_list():
    assert problems(declared(tuple[int, ...], minimum=1), x=[3, 0, 2, -1]) == [
        "it.x[1] must be an integer >= 1, got 0",
        "it.x[3] must be an integer >= 1, got -1",
    ]


# Keys


class Layered(Declared):
    """Required and optional parameters, aliases, a rule."""

    num_output: int = param(minimum=1, doc="M, outputs per example")
    axis: int = param(default=1, doc="first axis")
    last: int = param(default=9, doc="last axis")
    colour: Colour = param(default=Colour(), doc="nested")

    aliases = {"units": "num_output", "scale": "write it as transform: {scale: …}"}

    def validate(self):
        if self.axis > self.last:
            yield "axis", f"must not come after last, got {self.axis} and {self.last}"
        if self.num_output == 13:
            yield "luck", "has no luck with 13"


def test_defaults_fill_what_is_left_out():
    assert read(Layered, num_output=3) == Layered(num_output=3, axis=1, last=9, colour=Colour(name="red", weight=1.0))


def test_a_required_parameter_left_out():
    assert problems(Layered) == ["it needs `num_output`: M, outputs per example"]


@pytest.mark.parametrize(
    ("key", "ending"),
    [
        ("axes", "; did you mean `axis`?"),
        ("AXIS", "; did you mean `axis`?"),
        ("units", "; did you mean `num_output`?"),
        ("scale", "; write it as transform: {scale: …}"),
        ("zzz", "; it has num_output, axis, last, colour"),
    ],
)
def test_an_unknown_key(key, ending):
    assert problems(Layered, num_output=3, **{key: 1}) == [f"it has no key `{key}`{ending}"]


def test_a_rule_between_parameters_blames_its_key():
    assert problems(Layered, num_output=3, axis=5, last=2) == ["it.axis must not come after last, got 5 and 2"]
    assert problems(Layered, num_output=13) == ["it has no luck with 13"]
    assert problems(Layered, num_output=3, colour={"name": "green", "weight": 6}) == [
        "it.colour.weight must be <= 5 for green, got 6"
    ]


def test_rules_see_whole_sets_only():
    assert problems(Layered, num_output="x", axis=5, last=2) == [
        'it.num_output must be an integer >= 1, got the string "x"'
    ]


def test_all_problems_at_once():
    found = problems(Layered, num_output=0, axis="a", last=2.5, colour={"name": 1, "weight": -1, "whose": "mine"})
    assert sorted(found) == sorted(
        [
            "it.num_output must be an integer >= 1, got 0",
            'it.axis must be an integer, got the string "a"',
            "it.last must be an integer, got 2.5",
            "it.colour has no key `whose`; it has name, weight",
            "it.colour.name must be one of red, green, got 1",
            "it.colour.weight must be a number > 0, got -1",
        ]
    )


def test_all_problems_of_a_spec_at_once_each_with_its_place():
    text = """\
name: 3
layers:
  - {name: x, type: Input, shape: [2, 3]}
  - {name: ip, type: InnerProduct, num_output: 0, weight_filler: {type: gaussian, std: -1}}
  - {name: drop, type: Dropout, dropout_ratio: 1}
  - {name: relu, type: ReLU, negative_slop: 0.1}
"""
    with pytest.raises(SpecError) as error:
        nettrain.Net(text)
    assert [(p.place.line, p.place.column, p.message) for p in error.value.problems] == [
        (1, 7, "spec.name must be a string, got 3"),
        (4, 48, "InnerProduct.num_output must be an integer >= 1, got 0"),
        (4, 88, "InnerProduct.weight_filler.std must be a number >= 0, got -1"),
        (5, 48, "Dropout.dropout_ratio must be a number >= 0 and < 1, got 1"),
        (6, 30, "ReLU has no key `negative_slop`; did you mean `negative_slope`?"),
    ]
    assert str(error.value).splitlines()[-1] == "5 errors in spec."


def test_a_set_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError):
        read(Layered, num_output=3).axis = 2


def test_parameters_are_inherited():
    class Further(Layered):
        more: bool = param(default=True, doc="one more")

    assert Further.names() == ["num_output", "axis", "last", "colour", "more"]
    assert read(Further, num_output=2, more=False).more is False
    assert problems(Layered, num_output=2, more=False) == [
        "it has no key `more`; it has num_output, axis, last, colour"
    ]


# JSON schemas


@functools.cache
def referred(pointer):
    """What a pointer into the schema of specs means."""
    found = schema_of_specs()
    for step in pointer.removeprefix("#/").split("/"):
        found = found[int(step) if isinstance(found, list) else step]
    return found


def conforms(schema, value):
    """Whether a value fits a JSON schema, for the keywords that nettrain's schemas use. Other keywords are an error."""
    words = set(schema)
    if "$ref" in words:
        assert words <= {"$ref", "description"}
        return conforms(referred(schema["$ref"]), value)
    if "not" in words:
        return not conforms(schema["not"], value) and conforms({key: schema[key] for key in words - {"not"}}, value)
    if "anyOf" in words or "oneOf" in words:
        key = "anyOf" if "anyOf" in words else "oneOf"
        assert words <= {key, "description", "default"}
        return any(conforms(choice, value) for choice in schema[key])
    if "enum" in words or "const" in words:
        assert words <= {"enum", "const", "description", "default"}
        return isinstance(value, str) and value in schema.get("enum", [schema.get("const")])
    if isinstance(schema["type"], list):
        return any(conforms(schema | {"type": one}, value) for one in schema["type"])
    number = isinstance(value, int | float) and not isinstance(value, bool)
    about = words - {"description", "default", "title", "$schema", "$defs", "type"}
    if schema["type"] == "object":
        assert about <= {"properties", "required", "additionalProperties"}
        known, more = schema.get("properties", {}), schema.get("additionalProperties")
        return (
            isinstance(value, dict)
            and all(key in value for key in schema.get("required", ()))
            and (more is not False or all(key in known for key in value))
            and (
                not isinstance(more, dict)
                or all(conforms(more, item) for key, item in value.items() if key not in known)
            )
            and all(conforms(known[key], item) for key, item in value.items() if key in known)
        )
    if schema["type"] == "array" and "items" not in schema:
        return isinstance(value, list)
    if schema["type"] == "array":
        assert about <= {"items", "minItems", "maxItems"}
        return (
            isinstance(value, list)
            and schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math.inf)
            and all(conforms(schema["items"], item) for item in value)
        )
    if schema["type"] in ("number", "integer"):
        assert about <= {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"}
        return (
            number
            and (schema["type"] == "number" or isinstance(value, int))
            and value >= schema.get("minimum", -math.inf)
            and value <= schema.get("maximum", math.inf)
            and value > schema.get("exclusiveMinimum", -math.inf)
            and value < schema.get("exclusiveMaximum", math.inf)
        )
    assert about <= ({"pattern", "not"} if schema["type"] == "string" else set())
    if "pattern" in schema and not (isinstance(value, str) and re.search(schema["pattern"], value)):
        return False
    return (
        value is None
        if schema["type"] == "null"
        else isinstance(value, {"string": str, "boolean": bool}[schema["type"]])
    )


def test_the_schema_of_a_set_word_for_word():
    class Small(Declared):
        size: int = param(minimum=1, doc="how large")
        ratio: float = param(default=0.5, above=0, below=1, doc="how much")
        names: tuple[str, ...] = param(default=("a",), doc="what")
        mode: Literal["A", "B"] | None = param(default=None, doc="how")
        inner: Plain = param(default=Plain(size=2), doc="nested")

    assert Small.schema() == {
        "type": "object",
        "properties": {
            "size": {"type": "integer", "minimum": 1, "description": "how large"},
            "ratio": {
                "type": "number",
                "exclusiveMinimum": 0,
                "exclusiveMaximum": 1,
                "description": "how much",
                "default": 0.5,
            },
            "names": {
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
                "description": "what",
                "default": ["a"],
            },
            "mode": {"enum": ["A", "B"], "description": "how"},
            "inner": {
                "type": "object",
                "properties": {"size": {"type": "integer", "minimum": 1, "description": "how large"}},
                "required": ["size"],
                "additionalProperties": False,
                "description": "nested",
                "default": {"size": 2},
            },
        },
        "required": ["size"],
        "additionalProperties": False,
    }


ZOO = {name: cls.Parameters for name, cls in registry.types().items()}
SETS = [*ZOO.items(), ("layer", Common), ("spec", Top), ("rule", Rule), ("solver", SolverParameters)]
SETS += [(f"{choice} {kind}", parameters) for choice, kind, parameters in SolverParameters.kinds()]


@pytest.mark.parametrize("cls", [cls for _, cls in SETS], ids=[name for name, _ in SETS])
def test_the_schema_of_every_declared_set(cls):
    schema = json.loads(json.dumps(cls.schema()))
    if "anyOf" in schema:  # a set with a short form
        schema = next(choice for choice in schema["anyOf"] if choice.get("type") == "object")
    defaults = {name: default for name, _, _, default in cls.fields()}
    required = [name for name, default in defaults.items() if default is dataclasses.MISSING]
    assert list(schema["properties"]) == cls.names()
    assert schema.get("required", []) == required
    assert schema["additionalProperties"] is False
    for name, about in schema["properties"].items():
        assert about["description"]
        if name in defaults:  # else it belongs to a kind, which has its own
            assert ("default" in about) == (defaults[name] is not None and name not in required)
        if about.get("default", ()) != ():
            assert conforms(about, about["default"])


EXAMPLES = [(cls, example) for cls in registry.types().values() for example in cls.examples]


@pytest.mark.parametrize(
    ("cls", "example"),
    EXAMPLES,
    ids=[f"{c.__name__}{i}" for c in registry.types().values() for i in range(len(c.examples))],
)
def test_every_example_fits_its_types_schema(cls, example):
    params = json.loads(json.dumps(dict(example.params)))
    assert conforms(cls.Parameters.schema(), params)
    assert not conforms(cls.Parameters.schema(), params | {"no_such_key": 1})


CONFIGS = sorted((Path(inspect.getfile(nettrain)).parent / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_bundled_config_fits_the_schema_of_specs(path):
    assert conforms(schema_of_specs(), read_file(path).to_python())


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True),
        ({"kernel_size": "2 * $n"}, True),
        ({"kernel_size": "3"}, False),
        ({"kernel": 3}, False),
        ({"weight_filler": {"type": "gaussian", "std": "$n"}}, True),
        ({"num_output": None}, False),
    ],
    ids=str,
)
def test_the_schema_checks_layers_of_a_block(changes, fits):
    layer = {"name": "a", "type": "Convolution", "num_output": "$n", "kernel_size": 3} | changes
    use = {"name": "u", "type": "b", "n": 3, "bottom": "x", "repeat": 2}
    block = {"parameters": {"n": None, "m": 1}, "layers": [layer, {"name": "i", "type": "other", "repeat": "$m"}]}
    spec = {"blocks": {"b": block}, "layers": [{"name": "x", "type": "Input"}, use]}
    assert conforms(schema_of_specs(), spec) == fits
    assert not conforms(schema_of_specs(), spec | {"layers": [{"name": "u", "type": "ReLU", "repeat": 2}]})
    assert not conforms(schema_of_specs(), spec | {"blocks": {"b": {"layers": []}}})


@pytest.mark.parametrize("short", ["test", "TRAIN", {"phase": "TEST"}, [{"stage": "a"}, "test"]])
def test_the_schema_admits_what_include_rules_may_be_written_as(short):
    layer = {"name": "a", "type": "ReLU", "include": short}
    assert nettrain.Net({"layers": [{"name": "x", "type": "Input"}, layer]}, phase="TEST")
    assert conforms(Common.schema(), layer)


@pytest.mark.parametrize("shape", [5, [2, 3], {"dim": [2, 3]}, [[2, 3]], [{"dim": 2}]], ids=str)
def test_the_schema_admits_what_shapes_may_be_written_as(shape):
    assert nettrain.Net({"layers": [{"name": "x", "type": "Input", "shape": shape}]})
    assert conforms(ZOO["Input"].schema(), {"shape": shape})


class Square:
    class Parameters(Declared):
        side: float = param(minimum=0, doc="its side")
        colour: str = param(default="black", doc="its colour")


class Circle:
    class Parameters(Declared):
        radius: float = param(default=1.0, minimum=0, doc="from the middle to the edge")
        dashes: int = param(default=0, doc="of its line")
        refuses = frozenset(["colour"])


class Drawing(Declared):
    shape: Choice = param(default="circle", kinds={"square": Square, "circle": Circle}, doc="what is drawn")
    size: int = param(default=1, doc="how large")

    without_effect = frozenset(["dashes", "colour"])


def drawn(**keys):
    reader = Reader(Problems())
    found = Drawing.from_node(reader, Node.plain(keys, Place("drawing")), "drawing")
    return found, [p.message for p in reader.problems.found], [w.message for w in reader.warnings]


def test_a_choice_brings_its_own_parameters():
    found, problems, warnings = drawn(shape="square", side=3, size=2)
    assert (found.shape.name, found.shape.cls, found.shape.p.side, found.size) == ("square", Square, 3, 2)
    assert (problems, warnings) == ([], [])
    found, *_ = drawn()
    assert (found.shape.name, found.shape.p.radius) == ("circle", 1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shape": "square"}, "drawing needs `side` for shape square: its side"),
        ({"shape": "oval"}, 'drawing.shape must be one of square, circle, got the string "oval"'),
        ({"side": 3}, "drawing.side belongs to shape square, not circle"),
        ({"side": -1}, "drawing.side must be a number >= 0, got -1"),
        ({"shape": "oval", "side": "x"}, 'drawing.side must be a number >= 0, got the string "x"'),
        ({"colour": "red"}, "drawing.colour belongs to shape square, not circle"),
        ({"sid": 3}, "drawing has no key `sid`; did you mean `side`?"),
    ],
)
def test_keys_beside_a_choice_that_are_errors(keys, message):
    found, problems, _ = drawn(**keys)
    assert found is MISSING
    assert any(text.startswith(message) for text in problems), problems


def test_keys_of_another_kind_that_are_ignored():
    found, problems, warnings = drawn(shape="square", side=1, dashes=3)
    assert (found.shape.p.side, problems) == (1, [])
    assert warnings == ["drawing.dashes is not used by shape square; it belongs to circle"]
    assert drawn(shape="square", side=1, dashes=0)[2] == []  # as it would be anyway


def test_the_schema_has_the_keys_of_every_kind():
    properties = Drawing.schema()["properties"]
    assert list(properties) == Drawing.names() == ["shape", "size", "side", "colour", "radius", "dashes"]
    assert properties["shape"] == {"description": "what is drawn", "enum": ["square", "circle"], "default": "circle"}
    assert properties["side"] == {"type": "number", "minimum": 0, "description": "square: its side"}
