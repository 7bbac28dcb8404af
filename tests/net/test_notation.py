"""Formulas of explanations say what is computed: read as Python they give the number."""

import pytest
from nettrain.net.notation import as_factor, signed

VALUES = {"x": 7.0, "y": -3.0, "f": lambda x: x + 0.5}
NAMES = ["x", "y", "f(x)", "f(x - 1)", "x + y", "-x", "x * y", "f(x) + f(y)", "f(f(x) - f(y))"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("coefficient", [1, -1, 2, -2, 0.5, -0.5, 0])
def test_a_term_with_its_sign(coefficient, name):
    text = signed(coefficient, name)
    assert text[:2] == ("- " if coefficient < 0 else "+ ")
    assert eval(f"100 {text}", {}, VALUES) == 100 + coefficient * eval(name, {}, VALUES)


@pytest.mark.parametrize("name", NAMES)
def test_a_factor(name):
    assert eval(f"2 * {as_factor(name)} ** 2", {}, VALUES) == 2 * eval(name, {}, VALUES) ** 2


def test_what_needs_none_has_no_brackets_and_no_factor():
    assert [signed(1, "x"), signed(-1, "f(x)"), signed(1, "x + y")] == ["+ x", "- f(x)", "+ x + y"]
    assert [as_factor("x"), as_factor("f(x - 1)"), as_factor("net/x")] == ["x", "f(x - 1)", "net/x"]
