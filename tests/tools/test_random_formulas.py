"""Random formulas at ordinary, extreme and singular points: `explain` against derivatives by dual numbers."""

import math
import random
import re

import numpy as np
import pytest
from nettrain.files import plain_json
from nettrain.spec.errors import NettrainError
from nettrain.tools import explanation

POINTS = [0, 0, 1, -1, 2, -2, 3, 0.5, -0.5, 1.5, 1e-8, 1e8, 1e30, -1e30, 1e-30, 1e-200, 10, 100, 700, 1000]
NUMBERS = ["0", "1", "2", "3", "0.5", "-1", "-2", "1e10", "1e-10", "4", "1.5", "1e30", "0.25"]


class Dual:
    """A value and its derivative; ``odd`` once it went through a point without a gradient."""

    def __init__(self, value, slope=0.0, odd=False):
        self.value, self.slope, self.odd = np.float64(value), np.float64(slope), odd

    def join(self, other, value, slope, odd=False):
        return Dual(value, slope, self.odd or other.odd or odd)

    def __add__(self, other):
        a, b = self, lift(other)
        return a.join(b, a.value + b.value, a.slope + b.slope)

    def __mul__(self, other):
        a, b = self, lift(other)
        return a.join(b, a.value * b.value, a.slope * b.value + a.value * b.slope)

    def __truediv__(self, other):
        a, b = self, lift(other)
        y = a.value / b.value
        return a.join(b, y, (a.slope - y * b.slope) / b.value)

    def __pow__(self, other):
        a, b = self, lift(other)
        y, slope = np.power(a.value, b.value), np.float64(0)
        if a.slope and b.value:
            slope += b.value * np.power(a.value, b.value - 1) * a.slope
        if b.slope:
            slope += y * np.log(a.value) * b.slope
        whole = b.value == np.round(b.value) and b.value >= 1
        return a.join(b, y, slope, odd=(a.value == 0 and not whole) or bool(a.value <= 0 and b.slope))

    def __neg__(self):
        return Dual(-self.value, -self.slope, self.odd)

    def __sub__(self, other):
        return self + -lift(other)

    def __radd__(self, other):
        return lift(other) + self

    def __rsub__(self, other):
        return lift(other) - self

    def __rmul__(self, other):
        return lift(other) * self

    def __rtruediv__(self, other):
        return lift(other) / self

    def __rpow__(self, other):
        return lift(other) ** self


def lift(x):
    return x if isinstance(x, Dual) else Dual(x)


def function(value, slope, odd=lambda x: False):
    def apply(x):
        x = lift(x)
        return Dual(value(x.value), slope(x.value) * x.slope, x.odd or bool(odd(x.value)))

    return apply


def largest(a, b):
    a, b = lift(a), lift(b)
    more = b if b.value >= a.value else a
    return a.join(b, more.value, more.slope, odd=bool(a.value == b.value))


def logistic(x):
    return 1 / (1 + np.exp(-x)) if x > -700 else np.exp(x)


NAMES = {
    "exp": function(np.exp, np.exp),
    "log": function(np.log, lambda x: 1 / x, lambda x: x <= 0),
    "sigmoid": function(logistic, lambda x: logistic(x) * logistic(-x)),
    "tanh": function(np.tanh, lambda x: 1 / np.cosh(x) ** 2),
    "relu": function(lambda x: np.maximum(x, 0), lambda x: float(x > 0), lambda x: x == 0),
    "abs": function(np.abs, np.sign, lambda x: x == 0),
    "sqrt": function(np.sqrt, lambda x: 0.5 / np.sqrt(x), lambda x: x <= 0),
    "max": largest,
}


def formula(rng, depth):
    kind = rng.random()
    if depth == 0 or kind < 0.22:
        return rng.choice("xyz") if rng.random() < 0.75 else rng.choice(NUMBERS)
    if kind < 0.5:
        return f"({formula(rng, depth - 1)} {rng.choice('+-*/')} {formula(rng, depth - 1)})"
    if kind < 0.62:
        exponent = formula(rng, depth - 1) if rng.random() < 0.5 else rng.choice(NUMBERS)
        return f"({formula(rng, depth - 1)}) ** ({exponent})"
    if kind < 0.9:
        return f"{rng.choice([name for name in NAMES if name != 'max'])}({formula(rng, depth - 1)})"
    if kind < 0.96:
        return f"max({formula(rng, depth - 1)}, {formula(rng, depth - 1)})"
    return f"-({formula(rng, depth - 1)})"


def cases(seed, count):
    rng = random.Random(seed)
    for _ in range(count):
        text = formula(rng, rng.choice([1, 2, 2, 3, 3, 4]))
        used = [name for name in "xyz" if re.search(rf"\b{name}\b", text)]
        yield text, {n: rng.choice(POINTS) if rng.random() < 0.5 else rng.uniform(-3, 3) for n in used}


@pytest.mark.parametrize("seed", range(4))
def test_gradients_and_verdicts(seed):
    agreed = without = 0
    for text, values in cases(seed, 150):
        asked = explanation.Question(None, tuple(f"{name}={value!r}" for name, value in values.items()), text)
        try:
            answer = explanation.answer(asked, lambda path: pytest.fail(path))
        except NettrainError:  # too large a number, or one that is divided by 0
            continue
        assert answer.report()
        plain_json.text(answer.as_json())
        assert answer.ok, (text, values, [check.failures for check in answer.checks])
        for check in answer.checks:
            name = check.subject
            with np.errstate(all="ignore"):
                duals = {other: Dual(value, float(other == name)) for other, value in values.items()}
                try:
                    exact = lift(eval(text, {"__builtins__": {}}, NAMES | duals))
                except (ZeroDivisionError, OverflowError, TypeError):  # of its numbers among themselves
                    continue
            if check.without:
                without += 1
                continue
            if not exact.odd and math.isfinite(exact.slope):
                assert answer.explanation.values[name].diff == pytest.approx(exact.slope, rel=1e-6, abs=1e-9), text
                agreed += 1
    assert agreed > 50
    assert without > 5
