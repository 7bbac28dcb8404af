"""Normalizations as lines of numpy."""

from __future__ import annotations

from ...layers.normalization.batch_norm import BatchNorm
from ...layers.normalization.group_norm import GroupNorm
from ...layers.normalization.layer_norm import LayerNorm
from ...layers.normalization.mvn import MVN
from ...layers.normalization.normalize import Normalize
from .code import Writer
from .expressions import along, in_brackets, number, times, tuple_of
from .writers import writes


@writes(BatchNorm)
class _BatchNorm(Writer):
    parameters = ("mean_sum", "variance_sum", "count", "w", "b")

    def __init__(self, code, step):
        super().__init__(code, step)
        n = len(self.bottoms[0])
        self.axes = f"axis={tuple_of(i for i in range(n) if i != 1)}"
        self.spread = f"[:{', None' * (n - 2)}]" if n > 2 else ""
        self.hat = self.local("hat") if self.p.affine else self.y[0]

    def formula(self):
        of = "all batches so far" if self.layer.use_global else "the batch"
        more = ", then w y + b" if self.p.affine else ""
        return f"y = (x - mean) / sqrt(variance + eps), of {of}, for each channel{more}"

    def forward(self):
        x, sigma, eps = self.x[0], self.local("sigma"), number(self.p.eps)
        if self.layer.use_global:
            mean, variance = self.remembered()
        else:
            mean, variance = self.local("mean"), self.local("variance")
            self.say(f"{mean} = {x}.mean({self.axes})", f"{variance} = {x}.var({self.axes})")
            self.remember(mean, variance)
        self.say(f"{sigma} = np.sqrt({variance} + {eps}){self.spread}")
        self.say(f"{self.hat} = ({x} - {in_brackets(mean) if self.spread else mean}{self.spread}) / {sigma}")
        if self.p.affine:
            self.say(f"{self.y[0]} = {self.hat} * {self.w[3]}{self.spread} + {self.w[4]}{self.spread}")

    def remembered(self):
        """Mean and variance of all batches so far; zero before the first."""
        total, of_variance, count = self.w[:3]
        if self.code.once:
            seen = self.layer.blobs[2].data[0] != 0
            return [f"{one} / {count}" if seen else f"0 * {one}" for one in (total, of_variance)]
        share = self.local("share")
        self.say("# nothing is known before the first batch")
        self.say(f"{share} = 1 / {count}[0] if {count}[0] else 0")
        return [f"{share} * {one}" for one in (total, of_variance)]

    def remember(self, mean, variance):
        """The batch becomes part of what tests take; its variance as an estimate for what it was drawn from."""
        m, kept = self.local("m"), number(self.p.moving_average_fraction)
        total, of_variance, count = self.w[:3]
        self.say(
            f"{m} = {self.x[0]}.size // {self.layer.C}",
            f"{total} = {kept} * {total} + {mean}",
            f"{of_variance} = {kept} * {of_variance} + {variance} * {m} / max(1, {m} - 1)",
            f"{count} = {kept} * {count} + 1",
        )

    def backward(self):
        d, sigma, hat = self.d(), self.local("sigma"), self.hat
        if self.p.affine:
            if self.learns(3):
                self.learn(3, f"({d} * {hat}).sum({self.axes})")
            if self.learns(4):
                self.learn(4, f"{d}.sum({self.axes})")
            if self.wants():
                self.say(f"{self.local('d_hat')} = {d} * {self.w[3]}{self.spread}")
                d = self.local("d_hat")
        if not self.wants():
            return
        if self.layer.use_global:
            self.give(0, f"{d} / {sigma}")
            return
        level, slope = self.local("d_level"), self.local("d_slope")
        self.say(f"{level} = {d}.mean({self.axes}, keepdims=True)")
        self.say(f"{slope} = ({d} * {hat}).mean({self.axes}, keepdims=True)")
        self.give(0, f"({d} - {level} - {hat} * {slope}) / {sigma}")


class _Rows(Writer):
    """(x - mean) / divisor over some axes; then w y + b. With ``rows`` x is looked at in another shape."""

    parameters: tuple[str, ...] = ("w", "b")

    def axes(self) -> tuple[int, ...]:
        """Over which mean and variance are taken."""
        raise NotImplementedError

    def rows(self, name: str) -> str:
        return name

    def back(self, rows: str) -> str:
        return rows

    def divisor(self, variance: str) -> str:
        return f"np.sqrt({variance} + {number(self.p.eps)})"

    def learned(self) -> list[str]:
        """w and b as they multiply x and are added."""
        return self.w

    def learned_axes(self) -> tuple[int, ...]:
        """Those that w and b do not have."""
        raise NotImplementedError

    def over(self):
        return f"axis={tuple_of(self.axes())}, keepdims=True"

    def hat(self):
        return self.local("hat") if self.w else self.y[0]

    def forward(self):
        x, s, over = self.rows(self.x[0]), self.local("sigma"), self.over()
        if x != self.x[0]:
            self.say(f"{self.local('rows')} = {x}")
            x = self.local("rows")
        self.say(f"{s} = {self.divisor(f'{x}.var({over})')}")
        self.say(f"{self.hat()} = {self.back(f'({x} - {x}.mean({over})) / {s}')}")
        if self.w:
            w, b = self.learned()
            self.say(f"{self.y[0]} = {self.hat()} * {w} + {b}")

    def backward(self):
        d, hat, s, over = self.d(), self.hat(), self.local("sigma"), self.over()
        axes = f"axis={tuple_of(self.learned_axes())}" if self.w else ""
        if self.learns(0):
            self.learn(0, f"({d} * {hat}).sum({axes})")
        if self.learns(1):
            self.learn(1, f"{d}.sum({axes})")
        if not self.wants():
            return
        if self.w:
            self.say(f"{self.local('d_hat')} = {d} * {self.learned()[0]}")
            d = self.local("d_hat")
        if self.rows(d) != d:
            of_rows = self.local("d_rows"), self.local("hat_rows")
            self.say(f"{of_rows[0]} = {self.rows(d)}", f"{of_rows[1]} = {self.rows(hat)}")
            d, hat = of_rows
        along_hat = times(hat, f"({d} * {hat}).mean({over})", *self.factor())
        self.give(0, self.back(f"({d} - {d}.mean({over}) - {along_hat}) / {s}"))

    def factor(self) -> list[str]:
        """How the divisor follows the deviation, where that is not 1."""
        return []


@writes(LayerNorm)
class _LayerNorm(_Rows):
    def formula(self):
        return "y = (x - mean) / sqrt(variance + eps)" + (", then w y + b" if self.w else "")

    def axes(self):
        count = len(self.bottoms[0])
        return tuple(range(count - len(self.layer.shape), count))

    def learned_axes(self):
        return tuple(range(len(self.bottoms[0]) - len(self.layer.shape)))


@writes(GroupNorm)
class _GroupNorm(_Rows):
    def formula(self):
        return f"y = (x - mean) / sqrt(variance + eps), of {self.p.num_groups} groups of channels" + (
            ", then w y + b" if self.w else ""
        )

    def axes(self):
        return (2,)

    def rows(self, name):
        return f"{name}.reshape(len({name}), {self.p.num_groups}, -1)"

    def back(self, rows):
        return f"({rows}).reshape({self.x[0]}.shape)"

    def learned(self):
        return [along(name, [self.layer.C], len(self.bottoms[0]) - 2) for name in self.w]

    def learned_axes(self):
        return tuple(i for i in range(len(self.bottoms[0])) if i != 1)


@writes(MVN)
class _MVN(_Rows):
    parameters = ()

    def formula(self):
        return "y = (x - mean) / (sigma + eps)" if self.p.normalize_variance else "y = x - mean"

    def axes(self):
        return tuple(range(1 if self.p.across_channels else 2, len(self.bottoms[0])))

    def divisor(self, variance):
        eps = number(self.p.eps)
        return f"np.sqrt({variance}) + {eps}"

    def refusal(self):
        return "" if self.p.eps or not self.p.normalize_variance else "eps 0 is not"

    def factor(self):
        """With a deviation of 0 there is nothing to be multiplied."""
        s = self.local("sigma")
        return [f"({s} / np.maximum({s} - {number(self.p.eps)}, 1e-300))"]

    def forward(self):
        if self.p.normalize_variance:
            super().forward()
        else:
            self.say(f"{self.y[0]} = {self.x[0]} - {self.x[0]}.mean({self.over()})")

    def backward(self):
        if self.p.normalize_variance:
            super().backward()
        elif self.wants():
            self.give(0, f"{self.d()} - {self.d()}.mean({self.over()})")


@writes(Normalize)
class _Normalize(Writer):
    parameters = ("s",)

    def formula(self):
        return f"y = s x / sqrt(sum of x² + eps), over {'each example' if self.p.across_spatial else 'the channels'}"

    def scale(self):
        return along(self.w[0], self.layer.blobs[0].shape, len(self.bottoms[0]) - 2)

    def over(self):
        axes = range(1, len(self.bottoms[0])) if self.p.across_spatial else (1,)
        return f"axis={tuple_of(axes)}, keepdims=True"

    def forward(self):
        x, hat, r = self.x[0], self.local("hat"), self.local("length")
        self.say(f"{r} = np.sqrt(({x}**2).sum({self.over()}) + {number(self.p.eps)})")
        self.say(f"{hat} = {x} / {r}", f"{self.y[0]} = {self.scale()} * {hat}")

    def backward(self):
        d, hat, r, d_hat = self.d(), self.local("hat"), self.local("length"), self.local("d_hat")
        if self.learns(0):
            axes = "" if self.p.channel_shared else tuple_of(i for i in range(len(self.bottoms[0])) if i != 1)
            self.learn(0, f"({d} * {hat}).sum({f'axis={axes}' if axes else ''})")
        if self.wants():
            self.say(f"{d_hat} = {self.scale()} * {d}")
            self.give(0, f"({d_hat} - {hat} * ({d_hat} * {hat}).sum({self.over()})) / {r}")
