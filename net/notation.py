"""How formulas are written in explanations."""

from __future__ import annotations

import itertools
import re


def as_factor(name: str) -> str:
    """A name or formula as it stands in a product: a sum, or a sign, in brackets."""
    return name if _is_one_thing(name) else f"({name})"


def _is_one_thing(name: str) -> bool:
    """Whether it is a name, a number, or one call of a function: ``f(x)``, not ``f(x) + f(y)``."""
    begins = re.match(r"[\w./:']+", name)
    rest = name[begins.end() :] if begins else name
    if not begins or not rest:
        return bool(begins)
    depths = list(itertools.accumulate({"(": 1, ")": -1}.get(letter, 0) for letter in rest))
    return 0 not in depths[:-1] and depths[-1] == 0


def signed(coefficient: float, name: str) -> str:
    """A term of a sum, with its sign: ``- 2 * x``."""
    size = "" if abs(coefficient) == 1 else f"{abs(coefficient):g} * "
    minus = coefficient < 0
    return f"{'-' if minus else '+'} {size}{as_factor(name) if size or minus else name}"
