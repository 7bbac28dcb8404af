"""A formula typed by a person as a graph of gates: ``(x + y) * z``.

It is read with Python's ``ast`` and never run: names, numbers, + - * / **, and the functions in FUNCTIONS are all there
is. Every operation becomes one layer, named by its part of the formula; the variables are Parameter layers. A part that
occurs twice is computed once, and its gradients add up.
"""

from __future__ import annotations

import ast
import itertools
import keyword
import re
import string
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..net.fillers import LARGEST
from ..net.netspec import load
from ..net.records import NetSpec
from ..spec.errors import NettrainError, SpecError, did_you_mean

FUNCTIONS = {
    "exp": "Exp",
    "log": "Log",
    "sigmoid": "Sigmoid",
    "tanh": "TanH",
    "relu": "ReLU",
    "abs": "AbsVal",
    "sqrt": "Power",
    "max": "Eltwise",
    "pow": "Power",
}
ABSOLUTE = {"Sigmoid"}  # known to the last place of 1, since it is (tanh(x/2) + 1) / 2
MOST_NODES = 500
LONGEST_NAME = 24
LONGEST_QUOTE = 60


def spec_of(expression: str, assignments: Sequence[str]) -> NetSpec:
    """The net that computes a formula of the variables given as ``name=value`` (or ``name=1,2,3``).

    Raises NettrainError for anything but a formula, and for variables without a value or values without a variable.
    """
    values = _values(assignments)
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
        graph = _Graph(values)
        top = graph.whole(tree)
    except (SyntaxError, ValueError) as error:
        why = getattr(error, "msg", None) or error
        raise NettrainError(f"`{_cut(expression)}` is not a formula: {why}{_advice(expression)}") from None
    except (RecursionError, MemoryError):
        raise NettrainError(f"the formula is nested too deeply: `{_cut(expression)}`") from None
    unused = [name for name in values if name not in graph.used]
    if unused:
        raise NettrainError(f"the formula has no variable {', '.join(f'`{name}`' for name in unused)}")
    if isinstance(top, float) or not graph.used:
        raise NettrainError(f"`{_cut(expression)}` has no variable, so no gradient; give some of its numbers names")
    next(layer for layer in graph.layers if layer["name"] == top)["loss_weight"] = 1
    try:
        return load({"name": "expression", "layers": _readable(graph.layers, values)})
    except SpecError as error:
        raise NettrainError(message_of(error)) from None


def message_of(error: SpecError) -> str:
    """What is wrong with a formula whose net cannot be made, without the places of a spec nobody wrote."""
    lines = [line for problem in error.problems for line in (problem.message, *problem.details)]
    return "the formula cannot be computed: " + "\n   ".join(lines)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"


def _advice(expression: str) -> str:
    """What a person may have meant who wrote something that is not a formula."""
    words = [word for word in re.findall(r"[A-Za-z_]\w*", expression) if keyword.iskeyword(word)]
    if words:
        return f"; `{words[0]}` is a Python keyword, choose another name"
    product = re.search(r"(\d)\s*([A-Za-z_(])", expression)
    return f"; write a product with *: {product[1]} * {product[2]}…" if product else ""


def _readable(layers: list[dict[str, Any]], values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The layers under short names, a, b … f, where their parts of the formula are too long to be names."""
    if all(len(layer["name"]) <= LONGEST_NAME for layer in layers):
        return layers
    letters = (name for name in _letters() if name not in values)
    made = [layer["name"] for layer in layers if layer["bottom"]]
    names = dict(zip(made, letters, strict=False))
    return [
        layer | {"name": names.get(layer["name"], layer["name"]), "bottom": [names.get(b, b) for b in layer["bottom"]]}
        for layer in layers
    ]


def _letters() -> Iterator[str]:
    """a, b … z, a1, b1 …"""
    for number in itertools.count():
        yield from (f"{letter}{number or ''}" for letter in string.ascii_lowercase)


def _values(assignments: Sequence[str]) -> dict[str, list[float]]:
    """The variables' values."""
    values: dict[str, list[float]] = {}
    for text in assignments:
        name, equals, numbers = text.partition("=")
        name = unicodedata.normalize("NFKC", name.strip())  # as Python reads names in formulas
        try:
            value = [float(number) for number in numbers.split(",")]
        except ValueError:
            equals, value = "", []
        if not equals or not name.isidentifier():
            raise NettrainError(f"`{_cut(text)}` gives no variable its value; write x=2, or x=1,2,3 for a vector")
        if not all(abs(number) <= LARGEST for number in value):
            raise NettrainError(f"`{_cut(text)}`: a value must be a number between -{LARGEST:g} and {LARGEST:g}")
        if name in values:
            raise NettrainError(f"the variable `{name}` is given twice")
        values[name] = value
    return values


class _Graph:
    """Layers made from parts of a formula. A part is the name of a blob, or a number where it has no variable."""

    def __init__(self, values: Mapping[str, list[float]]):
        self.values = values
        self.layers: list[dict[str, Any]] = []
        self.made: dict[str, str] = {}  # what a layer computes -> its name
        self.used: set[str] = set()

    def whole(self, tree: ast.expr) -> str | float:
        """The part that the whole formula is."""
        self.nodes = list(itertools.islice(ast.walk(tree), 10 * MOST_NODES + 1))
        if len(self.nodes) > 10 * MOST_NODES:
            raise NettrainError(f"the formula has more than {MOST_NODES} parts")
        return self.add(tree)

    def add(self, node: ast.expr) -> str | float:
        """The part that a node stands for, with the layers it needs."""
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                if not abs(value) <= LARGEST:
                    raise NettrainError(f"the number {_cut(ast.unparse(node))} is too large")
                return float(value)
            case ast.Name(id=name):
                return self.variable(name)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.scaled(self.add(operand), -1, node)
            case ast.UnaryOp(op=ast.UAdd(), operand=operand):
                return self.add(operand)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as op, right=right):
                return self.sum(self.add(left), self.add(right), -1 if isinstance(op, ast.Sub) else 1, node)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self.product(self.add(left), self.add(right), node)
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                return self.quotient(self.add(left), self.add(right), node)
            case ast.BinOp(left=left, op=ast.Pow(), right=right):
                return self.power(self.add(left), self.add(right), node)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]):
                return self.function(name, [self.add(argument) for argument in arguments], node)
        power = "; a power is written **" if isinstance(getattr(node, "op", None), ast.BitXor) else ""
        raise NettrainError(
            f"`{_cut(_text(node))}` cannot be part of a formula, which may have names, numbers, + - * / **, "
            f"and {', '.join(FUNCTIONS)}{power}"
        )

    def layer(self, name: str, kind: str, bottoms: Sequence[str], **parameters: Any) -> str:
        """The name of a layer that computes this: of one that is there already, or of a new one."""
        what = repr((kind, list(bottoms), parameters, name if not bottoms else ""))
        if what not in self.made:
            if len(self.layers) >= MOST_NODES:
                raise NettrainError(f"the formula has more than {MOST_NODES} parts")
            taken = set(self.made.values())
            name = next(one for one in itertools.accumulate(itertools.repeat("'"), initial=name) if one not in taken)
            self.made[what] = name
            self.layers.append({"name": name, "type": kind, "bottom": list(bottoms), **parameters})
        return self.made[what]

    def variable(self, name: str) -> str:
        if name not in self.values:
            called = {id(node.func) for node in self.nodes if isinstance(node, ast.Call)}
            found = [node for node in self.nodes if isinstance(node, ast.Name) and id(node) not in called]
            names = [node.id for node in sorted(found, key=lambda node: (node.lineno, node.col_offset))]
            missing = [one for one in dict.fromkeys(names) if one not in self.values]
            near = did_you_mean(name, self.values)
            listed = ", ".join(f"`{one}`" for one in missing)
            start = f"the variable {listed} has" if len(missing) == 1 else f"the variables {listed} have"
            raise NettrainError(f"{start} no value; add {' '.join(f'{one}=1' for one in missing)}{near}")
        self.used.add(name)
        value = self.values[name]
        shape = [] if len(value) == 1 else [len(value)]
        return self.layer(name, "Parameter", [], shape=shape, filler={"values": value})

    def scaled(self, part: str | float, factor: float, node: ast.expr) -> str | float:
        if isinstance(part, float):
            return factor * part
        return self.layer(_text(node), "Power", [part], scale=factor)

    def sum(self, left: str | float, right: str | float, sign: int, node: ast.expr) -> str | float:
        match left, right:
            case float(), float():
                return left + sign * right
            case str(), float():
                return self.layer(_text(node), "Power", [left], shift=sign * right)
            case float(), str():
                return self.layer(_text(node), "Power", [right], scale=sign, shift=left)
        return self.combined(_text(node), "SUM", [left, right], coeff=[1, sign])

    def combined(self, name: str, operation: str, parts: list[Any], **more: Any) -> str:
        """Eltwise. The same part twice, as in x * x, needs two wires, which Split makes."""
        return self.layer(name, "Eltwise", parts, operation=operation, broadcast=True, **more)

    def product(self, left: str | float, right: str | float, node: ast.expr) -> str | float:
        match left, right:
            case float(), float():
                return left * right
            case str(), float():
                return self.scaled(left, right, node)
            case float(), str():
                return self.scaled(right, left, node)
        return self.combined(_text(node), "PROD", [left, right])

    def quotient(self, left: str | float, right: str | float, node: ast.expr) -> str | float:
        if isinstance(right, float):
            if not right:
                raise NettrainError(f"`{_text(node)}` divides by 0")
            return left / right if isinstance(left, float) else self.scaled(left, 1 / right, node)
        if left == 1.0:
            return self.layer(_text(node), "Power", [right], power=-1)
        inverse = self.layer(f"1 / {right if right.isidentifier() else f'({right})'}", "Power", [right], power=-1)
        return self.product(left, inverse, node)

    def power(self, base: str | float, exponent: str | float, node: ast.expr) -> str | float:
        match base, exponent:
            case float(), float():
                try:
                    result = base**exponent
                except OverflowError:
                    raise NettrainError(f"`{_text(node)}` is too large") from None
                except ZeroDivisionError:
                    raise NettrainError(f"`{_text(node)}` divides by 0") from None
                if isinstance(result, complex):
                    raise NettrainError(f"`{_text(node)}` is not a real number")
                return result
            case str(), float():
                return self.layer(_text(node), "Power", [base], power=exponent)
            case float(), str():
                if base > 0:
                    return self.layer(_text(node), "Exp", [exponent], base=base)
        return self.combined(_text(node), "POW", [self.constant(base), self.constant(exponent)])

    def function(self, name: str, parts: list[str | float], node: ast.expr) -> str | float:
        if name not in FUNCTIONS:
            smallest = "; min(x, y) is -max(-x, -y)" if name == "min" else ""
            raise NettrainError(f"there is no function `{name}`; there are {', '.join(FUNCTIONS)}{smallest}")
        least, most = {"max": (2, None), "pow": (2, 2)}.get(name, (1, 1))
        if len(parts) < least or (most is not None and len(parts) > most):
            wanted = f"{least} argument{'s' if least > 1 else ''}" + (" or more" if most is None else "")
            raise NettrainError(f"`{name}` takes {wanted}, got {len(parts)} in `{_text(node)}`")
        if name == "pow":
            return self.power(parts[0], parts[1], node)
        if name == "max" and all(isinstance(part, float) for part in parts):
            return max(part for part in parts if isinstance(part, float))
        if name == "max" and 0.0 in parts and len(parts) == 2:  # max(0, x) is the ReLU of the lecture
            return self.layer(_text(node), "ReLU", [str(part) for part in parts if part != 0.0])
        blobs = [self.constant(part) for part in parts]
        if name == "max":
            return self.combined(_text(node), "MAX", blobs)
        more = {"power": 0.5} if name == "sqrt" else {}
        return self.layer(_text(node), FUNCTIONS[name], blobs, **more)

    def constant(self, part: str | float) -> str:
        """A number as a blob, for gates that take blobs only."""
        if isinstance(part, str):
            return part
        name = f"{part:g}" if float(f"{part:g}") == part else repr(part)
        return self.layer(name, "DummyData", [], shape=[[]], data_filler=part)


def _text(node: ast.expr) -> str:
    """A part of the formula as it is named."""
    return ast.unparse(node)
