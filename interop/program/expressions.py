"""Python's expressions as text: numbers, products, shapes, and lines that are short enough."""

from __future__ import annotations

import ast
import builtins
import itertools
import json
import keyword
import math
import re
import textwrap
from collections.abc import Iterable, Sequence

WIDTH = 120
RESERVED = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "np", "sys", "math", "iteration", "part", "rate"}
RESERVED |= {
    "arrays",
    "losses",
    "correction",
    "delta",
    "norm",
    "scale",
    "stream",
    "windows",
    "add_windows",
    "neighbours",
}
Shape = Sequence[int]


class Names:
    """Identifiers for the names of a spec: safe, and each used once. ``d_NAME``, its gradient, is taken with it."""

    def __init__(self) -> None:
        self.taken = set(RESERVED)

    def new(self, wanted: str) -> str:
        """An identifier like this name: ``conv1/3x3`` becomes ``conv1_3x3``, ``class`` becomes ``class_2``."""
        stem = re.sub(r"[^0-9A-Za-z_]", "_", wanted)
        if not re.match(r"[A-Za-z]", stem):
            stem = f"blob_{stem.strip('_')}"
        name, count = stem, 1
        while {name, f"d_{name}"} & self.taken:
            count += 1
            name = f"{stem}_{count}"
        self.taken |= {name, f"d_{name}"}
        return name


def number(value: float) -> str:
    """A number as a person writes it: 128, not 128.0."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    if math.isfinite(value):
        return repr(value)
    return "np.nan" if value != value else "np.inf" if value > 0 else "-np.inf"


def text(value: str) -> str:
    """A string as Python has it, in double quotes unless that takes more backslashes."""
    double = json.dumps(value, ensure_ascii=False)
    if value.count('"') <= value.count("'"):
        return double
    return "'" + double[1:-1].replace('\\"', '"').replace("'", "\\'") + "'"


def plain(value: str) -> str:
    """Words of a spec for a comment or docstring: in one line, and nothing that could end it."""
    printable = "".join(letter if letter.isprintable() else " " for letter in value)
    return printable.replace("\\", "/").replace('"""', "'")


def tuple_of(values: Iterable[int]) -> str:
    """``(0, 2, 3)``, and ``(0,)``."""
    return repr(tuple(int(value) for value in values))


def in_brackets(expression: str, *, also: tuple[type, ...] = ()) -> str:
    """The expression, in brackets unless it is one thing: a name, a number, a call, an element."""
    node = ast.parse(expression, mode="eval").body
    whole = (ast.Name, ast.Constant, ast.Call, ast.Attribute, ast.Subscript, *also)
    return expression if isinstance(node, whole) or has_brackets(expression) else f"({expression})"


def has_brackets(expression: str) -> bool:
    """Whether one pair of brackets is around all of it."""
    depths = list(itertools.accumulate({"(": 1, ")": -1}.get(letter, 0) for letter in expression))
    return expression.startswith("(") and 0 not in depths[:-1]


def is_product(expression: str) -> bool:
    node = ast.parse(expression, mode="eval").body
    return isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div)


def times(*factors: str | float) -> str:
    """The product of expressions, without factors of 1."""
    texts = [factor if isinstance(factor, str) else number(factor) for factor in factors]
    texts = [text for text in texts if text != "1"]
    if not texts:
        return "1"
    if len(texts) == 1:
        return texts[0]
    first = texts[0] if is_product(texts[0]) else in_brackets(texts[0], also=(ast.UnaryOp,))
    return " * ".join([first, *map(in_brackets, texts[1:])])


def over(expression: str, divisor: str) -> str:
    """The expression divided by another."""
    if divisor == "1":
        return expression
    above = expression if is_product(expression) else in_brackets(expression)
    return f"{above} / {in_brackets(divisor)}"


def sigmoid(x: str) -> str:
    return f"1 / (1 + np.exp(-{in_brackets(x)}))"


def shaped(expression: str, have: Shape, wanted: Shape) -> str:
    """The expression in another shape; the first axis, which may be that of the examples, follows from the others."""
    if tuple(have) == tuple(wanted):
        return expression
    if not wanted:
        return f"{in_brackets(expression)}.reshape(())"
    first = -1 if math.prod(wanted[1:]) else wanted[0]
    return f"{in_brackets(expression)}.reshape({', '.join(map(str, [first, *wanted[1:]]))})"


def summed_to(expression: str, have: Shape, wanted: Shape) -> str:
    """The gradient of something that was stretched from one shape to another: sums over the axes it lacked."""
    if tuple(have) == tuple(wanted):
        return expression
    more = len(have) - len(wanted)
    axes = [*range(more), *(more + i for i, size in enumerate(wanted) if size == 1 and have[more + i] != 1)]
    rest = [size for i, size in enumerate(have) if i not in axes]
    total = f"{in_brackets(expression)}.sum(axis={tuple_of(axes)})" if axes else expression
    return shaped(total, rest, wanted)


def along(name: str, shape: Shape, after: int) -> str:
    """Values of this shape, to be stretched over as many further axes after them."""
    if not after or not shape:
        return name
    if len(shape) == 1:
        return f"{name}[:{', None' * after}]"
    return shaped(name, shape, [*shape, *[1] * after])


def comment(words: str, indent: int = 0) -> list[str]:
    """A comment, in as many lines as it needs."""
    return [f"# {line}" for line in textwrap.wrap(plain(words), WIDTH - indent - 2)]


def fit(line: str, indent: int) -> list[str]:
    """A line of code, broken at its last brackets where it is too long; a comment between words."""
    if len(line) + indent <= WIDTH:
        return [line]
    room = " " * (len(line) - len(line.lstrip()))
    if line.startswith(f"{room}# "):
        return [room + part for part in comment(line[len(room) + 2 :], indent + len(room))]
    opens, depth = [], 0
    for at, letter in enumerate(line):
        if letter in "([{":
            if depth == 0:
                opens.append(at)
            depth += 1
        elif letter in ")]}":
            depth -= 1
            end = at
    if not opens:
        return [line]
    start = opens[-1]
    body, rest = line[start + 1 : end], line[end:]
    if len(room) + len(body) + indent + 4 <= WIDTH:
        return [line[: start + 1], f"{room}    {body}", room + rest]
    pieces = top_level(body)
    if len(pieces) == 1:
        return [line]
    return [line[: start + 1], *(f"{room}    {piece}," for piece in pieces), room + rest]


def block(lines: Iterable[str], indent: int) -> list[str]:
    """Lines of code at this depth, each short enough."""
    room = " " * indent
    return [room + part if part else "" for line in lines for part in fit(line, indent)]


def indented(lines: Iterable[str]) -> list[str]:
    """Lines of code one step deeper."""
    return [f"    {line}" if line else "" for line in lines]


def top_level(text: str) -> list[str]:
    """The parts between commas that stand in no brackets."""
    pieces, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += letter in "([{"
        depth -= letter in ")]}"
        if letter == "," and depth == 0:
            pieces.append(text[start:at].strip())
            start = at + 1
    return [*pieces, text[start:].strip()]
