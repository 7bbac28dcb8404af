"""Activations of single numbers as lines of numpy."""

from __future__ import annotations

from ...layers.activation.abs_val import AbsVal
from ...layers.activation.bnll import BNLL
from ...layers.activation.clip import Clip
from ...layers.activation.elu import ELU
from ...layers.activation.exp import Exp
from ...layers.activation.gelu import CUBE, GELU, SLOPE
from ...layers.activation.log import Log
from ...layers.activation.mish import Mish
from ...layers.activation.power import Power
from ...layers.activation.relu import ReLU
from ...layers.activation.sigmoid import Sigmoid
from ...layers.activation.silu import SiLU
from ...layers.activation.softplus import Softplus
from ...layers.activation.swish import Swish
from ...layers.activation.tanh import TanH
from ...layers.activation.threshold import Threshold
from .code import Writer
from .expressions import in_brackets, number, times
from .writers import writes


class Elementwise(Writer):
    """y from x, and dx from dy times a slope. ``value`` and ``slope`` give these with the names x and y."""

    def value(self, x: str) -> str:
        raise NotImplementedError

    def slope(self, x: str, y: str) -> str:
        raise NotImplementedError

    def formula(self):
        return f"y = {self.value('x')}".replace("np.", "")

    def forward(self):
        self.say(f"{self.y[0]} = {self.value(self.x[0])}")

    def backward(self):
        if self.wants():
            self.give(0, times(self.d(), self.slope(self.x[0], self.y[0])))


@writes(ReLU)
class _ReLU(Elementwise):
    def value(self, x):
        s = self.p.negative_slope
        return f"np.where({x} > 0, {x}, {number(s)} * {x})" if s else f"np.maximum({x}, 0)"

    def slope(self, x, y):
        s = self.p.negative_slope
        return f"np.where({x} > 0, 1, {number(s)})" if s else f"({x} > 0)"


@writes(Sigmoid)
class _Sigmoid(Elementwise):
    def value(self, x):
        return f"1 / (1 + np.exp(-{x}))"

    def slope(self, x, y):
        return f"{y} * (1 - {y})"

    def backward(self):
        if self.wants():
            self.give(0, times(self.d(), self.y[0], f"1 - {self.y[0]}"))


@writes(TanH)
class _TanH(Elementwise):
    def value(self, x):
        return f"np.tanh({x})"

    def slope(self, x, y):
        return f"(1 - {y}**2)"


@writes(ELU)
class _ELU(Elementwise):
    def value(self, x):
        return f"np.where({x} > 0, {x}, {times(self.p.alpha, f'np.expm1(np.minimum({x}, 0))')})"

    def slope(self, x, y):
        return f"np.where({x} > 0, 1, {y} + {number(self.p.alpha)})"


@writes(BNLL)
class _BNLL(Elementwise):
    def formula(self):
        return "y = log(1 + exp(x))"

    def value(self, x):
        return f"np.logaddexp(0, {x})"

    def slope(self, x, y):
        return f"1 / (1 + np.exp(-{x}))"

    def backward(self):
        if self.wants():
            self.give(0, f"{self.d()} / (1 + np.exp(-{self.x[0]}))")


@writes(Softplus)
class _Softplus(Elementwise):
    def formula(self):
        return "y = log(1 + exp(beta x)) / beta, and x above the threshold"

    def value(self, x):
        beta, inside = self.p.beta, times(self.p.beta, x)
        smooth = f"np.logaddexp(0, {inside})" + (f" / {number(beta)}" if beta != 1 else "")
        return f"np.where({inside} > {number(self.p.threshold)}, {x}, {smooth})"

    def slope(self, x, y):
        inside = times(self.p.beta, x)
        return f"np.where({inside} > {number(self.p.threshold)}, 1, 1 / (1 + np.exp({times(-self.p.beta, x)})))"


def linear(x: str, factor: float, summand: float) -> str:
    """factor x + summand"""
    if not summand:
        return f"-{x}" if factor == -1 else times(factor, x)
    return f"{times(factor, x)} {'-' if summand < 0 else '+'} {number(abs(summand))}"


def power(base: str, exponent: float) -> str:
    if exponent == 1:
        return base
    if exponent == -1:
        return f"1 / {in_brackets(base)}"
    inside = in_brackets(base)
    return f"{inside}**{number(exponent)}" if inside.isidentifier() else f"{inside} ** {number(exponent)}"


@writes(Power)
class _Power(Elementwise):
    def value(self, x):
        p = self.p
        if not (p.scale and p.power):
            return f"np.full({x}.shape, {float(p.shift) ** p.power if p.power else 1.0!r})"
        return power(linear(x, p.scale, p.shift), p.power)

    def backward(self):
        p, x = self.p, self.x[0]
        if not self.wants():
            return
        if not (p.scale and p.power):
            self.give(0, f"np.zeros_like({x})")
        elif p.power == 1:
            self.give(0, f"-{in_brackets(self.d())}" if p.scale == -1 else times(p.scale, self.d()))
        elif p.power == -1:
            self.give(0, f"{times(-p.scale, self.d())} / {power(linear(x, p.scale, p.shift), 2)}")
        else:
            self.give(
                0, times(p.power * p.scale, self.d(), self.raised(power(linear(x, p.scale, p.shift), p.power - 1)))
            )

    def raised(self, text):
        return text


@writes(Exp)
class _Exp(Elementwise):
    def value(self, x):
        p = self.p
        return f"np.exp({linear(x, p.scale * p.log_base, p.shift * p.log_base)})"

    def backward(self):
        if self.wants():
            self.give(0, times(self.p.scale * self.p.log_base, self.d(), self.y[0]))


@writes(Log)
class _Log(Elementwise):
    def value(self, x):
        p = self.p
        logarithm = f"np.log({linear(x, p.scale, p.shift)})"
        return logarithm if p.log_base == 1 else f"{logarithm} / {number(p.log_base)}"

    def backward(self):
        p = self.p
        if self.wants():
            inside = in_brackets(linear(self.x[0], p.scale, p.shift))
            self.give(0, f"{times(p.scale / p.log_base, self.d())} / {inside}")


@writes(AbsVal)
class _AbsVal(Elementwise):
    def value(self, x):
        return f"np.abs({x})"

    def slope(self, x, y):
        return f"np.sign({x})"


@writes(Clip)
class _Clip(Elementwise):
    def value(self, x):
        return f"np.clip({x}, {number(self.p.min)}, {number(self.p.max)})"

    def slope(self, x, y):
        return f"(({x} >= {number(self.p.min)}) & ({x} <= {number(self.p.max)}))"


@writes(Threshold)
class _Threshold(Elementwise):
    def value(self, x):
        return f"1.0 * ({x} > {number(self.p.threshold)})"

    def backward(self):
        """There is no gradient."""


@writes(Swish, SiLU)
class _Swish(Elementwise):
    def formula(self):
        return f"y = x s, s = sigmoid({times(self.layer.beta, 'x')})"

    def forward(self):
        s = self.local("s")
        self.say(
            f"{s} = 1 / (1 + np.exp({linear(self.x[0], -self.layer.beta, 0)}))", f"{self.y[0]} = {self.x[0]} * {s}"
        )

    def backward(self):
        if self.wants():
            s = self.local("s")
            self.give(0, times(self.d(), f"{s} + {times(self.layer.beta, self.y[0])} * (1 - {s})"))


@writes(GELU)
class _GELU(Elementwise):
    def formula(self):
        return "y = x P, P the share of a normal distribution below x"

    def forward(self):
        x, share = self.x[0], self.local("share")
        if self.p.approximate == "none":
            self.code.imports.add("math")
            self.say(f"{share} = 0.5 * (1 + np.vectorize(math.erf)({x} / math.sqrt(2)))")
        else:
            self.say(f"{share} = 0.5 * (1 + np.tanh({SLOPE!r} * ({x} + {CUBE!r} * {x}**3)))")
        self.say(f"{self.y[0]} = {x} * {share}")

    def backward(self):
        x, share = self.x[0], self.local("share")
        if not self.wants():
            return
        if self.p.approximate == "none":
            slope = f"{share} + {x} * np.exp(-(x_**2) / 2) / math.sqrt(2 * math.pi)".replace("x_", x)
        else:
            slope = f"{share} + {x} * 2 * {share} * (1 - {share}) * {SLOPE!r} * (1 + {3 * CUBE!r} * {x}**2)"
        self.give(0, times(self.d(), slope))


@writes(Mish)
class _Mish(Elementwise):
    def formula(self):
        return "y = x tanh(log(1 + exp(x)))"

    def forward(self):
        t = self.local("t")
        self.say(f"{t} = np.tanh(np.logaddexp(0, {self.x[0]}))", f"{self.y[0]} = {self.x[0]} * {t}")

    def backward(self):
        if self.wants():
            x, t = self.x[0], self.local("t")
            self.give(0, times(self.d(), f"{t} + {x} * (1 - {t}**2) / (1 + np.exp(-{x}))"))
