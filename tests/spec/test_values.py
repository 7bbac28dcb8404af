"""Types of value: each has the three things a declaration gives, and only one function looks at annotations."""

import ast
from pathlib import Path
from typing import Literal, Optional

import nettrain
import pytest
from nettrain import Declared, SpecError, param
from nettrain.net import registry
from nettrain.solver.parameters import SolverParameters
from nettrain.spec import values
from nettrain.spec.declare import Nothing
from nettrain.spec.values import Boolean, Bounds, ListOf, OneOf, Real, Text, ValueType, Whole, value_type

ROOT = Path(nettrain.__file__).parent


class Even(int):
    """An even number, as a layer might declare one for itself."""

    words = "an even number"

    @classmethod
    def from_node(cls, reader, node, what):
        return cls(node.value) if node.value in (0, 2, 4) else reader.wrong(node, what, cls.words)

    @classmethod
    def schema(cls):
        return {"type": "integer", "multipleOf": 2}


AS_BEFORE_3_10 = Optional  # which some still write
ANNOTATIONS = [
    (int, Whole(), "an integer", {"type": "integer"}),
    (float, Real(), "a number", {"type": "number"}),
    (bool, Boolean, "true or false", {"type": "boolean"}),
    (str, Text, "a string", {"type": "string"}),
    (Literal["a", "b"], OneOf(("a", "b")), "one of a, b", {"enum": ["a", "b"]}),
    (Literal["a"], OneOf(("a",)), "a", {"enum": ["a"]}),
    (int | None, Whole(), "an integer", {"type": "integer"}),
    (AS_BEFORE_3_10[float], Real(), "a number", {"type": "number"}),
    (
        tuple[int, ...] | None,
        ListOf(Whole()),
        "an integer, or a list of them",
        {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
    ),
    (Even, Even, "an even number", {"type": "integer", "multipleOf": 2}),
    (Nothing, Nothing, "a mapping", {"type": "object", "properties": {}, "additionalProperties": False}),
    (
        tuple[Even, ...],
        ListOf(Even),
        "an even number, or a list of them",
        {"anyOf": [Even.schema(), {"type": "array", "items": Even.schema()}]},
    ),
]


@pytest.mark.parametrize(("annotation", "kind", "words", "schema"), ANNOTATIONS)
def test_an_annotation_stands_for_one_type(annotation, kind, words, schema):
    found = value_type(annotation)
    assert found == kind or type(found) is kind
    assert isinstance(found, ValueType)
    assert found.words == words
    assert found.schema() == schema


def test_bounds_reach_the_numbers_of_a_list():
    bounds = Bounds(minimum=1, below=9)
    assert value_type(tuple[int, ...] | None, bounds) == ListOf(Whole(bounds))
    assert value_type(float, bounds).words == "a number >= 1 and < 9"


@pytest.mark.parametrize("annotation", [bytes, dict, list[int], tuple[int, str], tuple[int], int | str, None, "int"])
def test_what_no_parameter_can_be_is_a_mistake_in_the_declaration(annotation):
    with pytest.raises(TypeError, match="a parameter cannot be of type"):
        value_type(annotation)


def test_a_new_kind_of_value_is_one_class():
    class Some(Declared):
        size: Even = param(default=Even(2), doc="how large")
        sizes: tuple[Even, ...] | None = param(default=None, doc="how large each is")

    assert Some.from_mapping({"size": 4, "sizes": [0, 2]}) == Some(size=Even(4), sizes=(Even(0), Even(2)))
    with pytest.raises(SpecError) as error:
        Some.from_mapping({"size": 3, "sizes": [0, 5]}, "it")
    assert [problem.message for problem in error.value.problems] == [
        "it.size must be an even number, got 3",
        "it.sizes[1] must be an even number, got 5",
    ]
    assert [field.type.words for field in Some.fields()] == ["an even number", "an even number, or a list of them"]
    assert Some.schema()["properties"]["size"] == {"description": "how large", "default": 2} | Even.schema()


def test_every_parameter_has_a_type_with_words():
    sets = [cls.Parameters for cls in registry.types().values()] + [SolverParameters]
    sets += [parameters for _, _, parameters in SolverParameters.kinds()]
    fields = [field for cls in sets for field in cls.fields()]
    assert len(fields) > 200
    assert [field.name for field in fields if not isinstance(field.type, ValueType) or not field.type.words] == []


def test_one_function_looks_at_annotations():
    """What asks for the origin of a type is a switch over types, and there is one."""
    users = {}
    for path in ROOT.glob("*/**/*.py"):
        if path.relative_to(ROOT).parts[0] in ("tests", "benchmarks", ".venv", "build"):
            continue
        code = path.read_text(encoding="utf-8")
        for function in ast.walk(ast.parse(code)) if "get_origin" in code else ():
            if isinstance(function, ast.FunctionDef):
                asked = {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(function)}
                if "get_origin" in asked:
                    users[function.name] = path.relative_to(ROOT).as_posix()
    assert users == {"value_type": "spec/values.py"}
    assert values.value_type is value_type
