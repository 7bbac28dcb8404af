"""Sums and products as lines of numpy."""

from __future__ import annotations

from ...layers.algebra.bias import Bias
from ...layers.algebra.eltwise import Eltwise
from ...layers.algebra.embed import Embed
from ...layers.algebra.inner_product import InnerProduct
from ...layers.algebra.mat_mul import MatMul
from ...layers.algebra.parameter import Parameter
from ...layers.algebra.reduction import Reduction
from ...layers.algebra.scale import Scale
from .code import Writer
from .expressions import along, in_brackets, number, over, shaped, summed_to, times
from .writers import writes


@writes(InnerProduct)
class _InnerProduct(Writer):
    def formula(self):
        return f"y = x {'W' if self.p.transpose else 'W.T'}{' + b' if self.p.bias_term else ''}"

    def rows(self):
        """The name of x as a matrix, one example in each row."""
        return self.x[0] if self.bottoms[0] == (self.layer.N, self.layer.K) else self.local("in")

    def forward(self):
        N, K, M = self.layer.N, self.layer.K, self.layer.M
        if self.rows() != self.x[0]:
            self.say(f"{self.rows()} = {shaped(self.x[0], self.bottoms[0], (N, K))}")
        y = f"{self.rows()} @ {self.w[0]}" + ("" if self.p.transpose else ".T")
        if self.p.bias_term:
            y += f" + {self.w[1]}"
        self.say(f"{self.y[0]} = {shaped(y, (N, M), self.tops[0])}")

    def backward(self):
        N, K, M = self.layer.N, self.layer.K, self.layer.M
        d = shaped(self.d(), self.tops[0], (N, M))
        if d != self.d():
            self.say(f"{self.local('d_out')} = {d}")
            d = self.local("d_out")
        if self.learns(0):
            self.learn(0, f"{self.rows()}.T @ {d}" if self.p.transpose else f"{d}.T @ {self.rows()}")
        if self.learns(1):
            self.learn(1, f"{d}.sum(axis=0)")
        if self.wants():
            dx = f"{d} @ {self.w[0]}" + (".T" if self.p.transpose else "")
            self.give(0, shaped(dx, (N, K), self.bottoms[0]))


@writes(MatMul)
class _MatMul(Writer):
    def formula(self):
        return f"Y = A{'.T' if self.p.transpose_a else ''} B{'.T' if self.p.transpose_b else ''}"

    def turned(self, name, axes, really=True):
        return (f"{in_brackets(name)}.T" if axes == 2 else f"{in_brackets(name)}.swapaxes(-1, -2)") if really else name

    def factors(self):
        turns = self.p.transpose_a, self.p.transpose_b
        return [self.turned(x, len(s), t) for x, s, t in zip(self.x, self.bottoms, turns, strict=True)]

    def forward(self):
        self.say(f"{self.y[0]} = {' @ '.join(self.factors())}")

    def backward(self):
        d = self.d()
        a, b = self.bottoms
        if self.wants(0):
            other = self.turned(self.x[1], len(b), not self.p.transpose_b)
            self.hand(0, f"{d} @ {other}", self.p.transpose_a)
        if self.wants(1):
            other = self.turned(self.x[0], len(a), not self.p.transpose_a)
            self.hand(1, f"{other} @ {d}", self.p.transpose_b)

    def hand(self, i, product, turn):
        have = [*self.tops[0][:-2], *self.bottoms[i][-2:]]
        if turn:
            product = self.turned(product, len(self.tops[0]))
        self.give(i, summed_to(product, have, self.bottoms[i]))


@writes(Parameter)
class _Parameter(Writer):
    parameters = ("",)

    def __init__(self, code, step):
        super().__init__(code, step)

    def formula(self):
        return "learned numbers"

    def forward(self):
        if self.y[0] != self.w[0]:
            self.say(f"{self.y[0]} = {self.w[0]}")

    def backward(self):
        if self.learns(0):
            self.learn(0, self.d())


@writes(Eltwise)
class _Eltwise(Writer):
    def formula(self):
        return {"SUM": "a sum", "PROD": "a product", "MAX": "the largest", "POW": "a power"}[self.p.operation]

    def forward(self):
        xs, operation = self.x, self.p.operation
        if operation == "SUM":
            self.say(f"{self.y[0]} = {self.total()}")
        elif operation == "PROD":
            self.say(f"{self.y[0]} = {' * '.join(xs)}")
        elif operation == "POW":
            self.say(f"{self.y[0]} = {xs[0]}**{xs[1]}")
        else:
            largest = f"np.maximum({xs[0]}, {xs[1]})"
            for x in xs[2:]:
                largest = f"np.maximum({largest}, {x})"
            self.say(f"{self.y[0]} = {largest}")

    def total(self):
        text = ""
        for c, x in zip(self.p.coeff or [1.0] * len(self.x), self.x, strict=True):
            term = times(abs(c), x)
            text += (f" {'-' if c < 0 else '+'} {term}") if text else (f"-{term}" if c < 0 else term)
        return text

    def backward(self):
        for i in range(len(self.x)):
            if self.wants(i):
                self.give(i, summed_to(self.gradient(i, self.d()), self.tops[0], self.bottoms[i]))

    def gradient(self, i, d):
        if self.p.operation == "SUM":
            return times(self.p.coeff[i], d) if self.p.coeff else d
        if self.p.operation == "PROD":
            return times(d, *(x for j, x in enumerate(self.x) if j != i))
        if self.p.operation == "MAX":
            return times(d, self.chosen(i))
        base, exponent = self.x
        if i:
            return times(d, f"np.where(({base} == 0) & ({exponent} > 0), 0, {self.y[0]} * np.log({base}))")
        return times(d, f"np.where({exponent} == 0, 0, {exponent} * {base} ** ({exponent} - 1.0))")

    def chosen(self, i):
        """Where bottom i is the largest. Of equal values the first two choose the second, further ones the earlier."""
        x, before, after = self.x[i], self.x[:i], self.x[i + 1 :]
        if i == 0:
            tests = [f"({x} > {self.x[1]})", *(f"({x} >= {other})" for other in self.x[2:])]
        else:
            later = [f"({x} {'>=' if i == 1 else '>'} {other})" for other in before]
            tests = [*later, *(f"({x} >= {other})" for other in after)]
        return tests[0] if len(tests) == 1 else f"({' & '.join(tests)})"


class _Channels(Writer):
    """Scale, and Bias, which is one without a factor."""

    def __init__(self, code, step):
        super().__init__(code, step)
        self.is_scale = isinstance(self.layer, Scale)
        self.given = len(self.x) == 2
        shape, self.shape = self.bottoms[0], self.layer.shape
        axis = step.bottom[0].canonical_axis(self.p.axis) if self.shape else 0
        self.after = len(shape) - axis - len(self.shape)
        self.others = tuple(i for i in range(len(shape)) if not axis <= i < axis + len(self.shape))

    @property
    def offset(self):
        """Which parameter is the offset, if one is."""
        if self.is_scale:
            return len(self.w) - 1 if self.p.bias_term else None
        return None if self.given else 0

    def formula(self):
        return "y = s x" + (" + b" if self.offset is not None else "") if self.is_scale else "y = x + b"

    def spread(self, name):
        return along(name, self.shape, self.after)

    def values(self):
        return self.spread(self.x[1] if self.given else self.w[0])

    def forward(self):
        x = self.x[0]
        if not self.is_scale:
            self.say(f"{self.y[0]} = {x} + {self.values()}")
            return
        offset = "" if self.offset is None else f" + {self.spread(self.w[self.offset])}"
        self.say(f"{self.y[0]} = {times(x, self.values())}{offset}")

    def total(self, terms):
        return f"{in_brackets(terms)}.sum(axis={self.others})" if self.others else terms

    def backward(self):
        d, x = self.d(), self.x[0]
        of_values = self.total(times(d, x) if self.is_scale else d)
        if self.given and self.wants(1):
            self.give(1, of_values)
        elif not self.given and self.learns(0):
            self.learn(0, of_values)
        if self.is_scale and self.offset is not None and self.learns(self.offset):
            self.learn(self.offset, self.total(d))
        if self.wants(0):
            self.give(0, times(d, self.values()) if self.is_scale else d)


@writes(Scale)
class _Scale(_Channels):
    parameters = ("s", "b")


@writes(Bias)
class _Bias(_Channels):
    parameters = ("b",)


@writes(Embed)
class _Embed(Writer):
    def formula(self):
        return "y = W[x]" + (" + b" if self.p.bias_term else "")

    def index(self):
        x = self.x[0]
        return x if self.step.bottom_keys[0] in self.code.whole else f"{x}.astype(int)"

    def forward(self):
        self.say(f"{self.y[0]} = {self.w[0]}[{self.index()}]" + (f" + {self.w[1]}" if self.p.bias_term else ""))

    def backward(self):
        if self.learns(0):
            total = self.local("total")
            self.say(f"{total} = np.zeros_like({self.w[0]})", f"np.add.at({total}, {self.index()}, {self.d()})")
            self.learn(0, total)
        if self.learns(1):
            self.learn(1, f"{self.d()}.sum(axis={tuple(range(len(self.bottoms[0])))})")


@writes(Reduction)
class _Reduction(Writer):
    def __init__(self, code, step):
        super().__init__(code, step)
        self.axis = step.bottom[0].canonical_axis(self.p.axis)
        axes = range(self.axis, len(self.bottoms[0]))
        self.axes = f"axis={tuple(axes)}" if self.axis else ""

    def formula(self):
        terms = {"SUM": "x", "MEAN": "x", "ASUM": "|x|", "SUMSQ": "x²"}[self.p.operation]
        factor = "" if self.p.coeff == 1 else f"{number(self.p.coeff)} * "
        return f"y = {factor}the {'mean' if self.p.operation == 'MEAN' else 'sum'} of {terms}"

    def forward(self):
        x = self.x[0]
        terms = {"ASUM": f"np.abs({x})", "SUMSQ": f"({x}**2)"}.get(self.p.operation, x)
        total = f"{terms}.{'mean' if self.p.operation == 'MEAN' else 'sum'}({self.axes})"
        self.say(f"{self.y[0]} = {times(self.p.coeff, total)}")

    def backward(self):
        if not self.wants():
            return
        x, operation, d = self.x[0], self.p.operation, self.d()
        further = len(self.bottoms[0]) - self.axis
        if self.tops[0] and further:
            d = f"{d}[..., {', '.join(['None'] * further)}]"
        if operation == "ASUM":
            self.give(0, times(self.p.coeff, d, f"np.sign({x})"))
        elif operation == "SUMSQ":
            self.give(0, times(2 * self.p.coeff, d, x))
        else:
            share = over(times(self.p.coeff, d), number(self.layer.K) if operation == "MEAN" else "1")
            self.give(0, f"np.full({x}.shape, {share})" if not self.tops[0] else f"np.broadcast_to({share}, {x}.shape)")
