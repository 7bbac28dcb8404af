"""How formulas are written in explanations."""

from __future__ import annotations

import re


def as_factor(name: str) -> str:
    """A name or formula as it stands in a product: a sum, or a sign, in brackets."""
    whole = re.fullmatch(r"[\w./:']+(\(.*\))?", name)
    return name if whole else f"({name})"


def signed(coefficient: float, name: str) -> str:
    """A term of a sum, with its sign: ``- 2 * x``."""
    size = "" if abs(coefficient) == 1 else f"{abs(coefficient):g} * "
    minus = coefficient < 0
    return f"{'-' if minus else '+'} {size}{as_factor(name) if size or minus else name}"
