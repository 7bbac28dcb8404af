"""Where a file of the user's that is no Python goes wrong."""

from pathlib import Path

import nettrain
import pytest
from nettrain import SpecError
from nettrain.net.user_code import does_not_load


@pytest.mark.parametrize(
    ("text", "line", "column", "length"),
    [
        ("x = 1\ny = f(a b)\n", 2, 7, 3),
        ("f(a b)\n", 1, 3, 3),
        ("x = f(a b,\n  c)\n", 1, 7, 3),
        ('x = """\na\n', 1, 5, 1),
    ],
)
def test_a_line_is_marked_as_python_marks_it(text, line, column, length):
    with pytest.raises(SyntaxError) as error:
        compile(text, "mine.py", "exec")
    place = does_not_load("mine.py", error.value).problem.place
    assert (place.line, place.column, place.length) == (line, column, length)


def test_a_mark_over_several_lines_is_the_place_where_it_begins():
    with pytest.raises(SyntaxError) as error:
        compile("f(x for x in\n y, 1)\n", "mine.py", "exec")
    assert error.value.end_lineno == 2
    place = does_not_load("mine.py", error.value).problem.place
    assert (place.line, place.column, place.length) == (1, 3, 1)


def test_beside_a_file_that_is_missing_what_is_no_layer_is_said_too(workdir):
    """While a file is missing, an unknown type may be one of its types; a string or a list may not."""
    layers = ["ReLU", ["ReLU"], {"name": "y", "type": "Mine", "bottom": "x"}, {"name": "z", "type": 3, "bottom": "x"}]
    spec = {"layer_files": "nowhere.py", "layers": [{"name": "x", "type": "Input", "shape": [2]}, *layers]}
    with pytest.raises(SpecError) as error:
        nettrain.Net(spec, allow_python=True)
    said = [str(problem).partition(": ")[0] for problem in error.value.problems]
    assert said == ["spec.layer_files", "spec.layers[1]", "spec.layers[2]", "spec.layers[4].type"]


def test_a_type_of_the_zoo_that_is_nearly_so_called_is_meant_before_a_class_that_is_no_type(workdir):
    Path("mine.py").write_text("class relu:\n    pass\n\n\nclass Mine:\n    pass\n")
    for name, words in (("relu", "did you mean `ReLU`?"), ("Mine", "mine.py:5:1 has a class Mine")):
        layers = [{"name": "x", "type": "Input", "shape": [2]}, {"name": "y", "type": name}]
        with pytest.raises(SpecError) as error:
            nettrain.Net({"layer_files": "mine.py", "layers": layers}, allow_python=True)
        assert f"unknown layer type `{name}`; {words}" in str(error.value)
