"""Convolution, pooling and normalization as lines of numpy."""

from __future__ import annotations

import math

from ...layers.normalization.batch_norm import BatchNorm
from ...layers.vision.convolution import Convolution
from ...layers.vision.lrn import LRN
from ...layers.vision.pooling import Pooling
from .code import Writer
from .expressions import number, shaped, times
from .writers import writes


@writes(Convolution)
class _Convolution(Writer):
    def refusal(self):
        if len(self.layer.kernel) != 2 or self.layer.axis != 1:
            return "it has other than two spatial axes, or its channels are not on axis 1"
        return ""

    def formula(self):
        return "each output is W times a window of x" + (", plus b" if self.p.bias_term else "")

    def how(self):
        """The words for a call of windows or add_windows: stride, pad and dilation."""
        (top, left), layer = self.layer.pad, self.layer
        dilation = f", {layer.dilation}" if layer.dilation != (1, 1) else ""
        return f"{layer.stride}, {((top, top), (left, left))}{dilation}"

    def grouped(self):
        """With groups windows, W and y have one axis more."""
        G = self.p.group
        if G == 1:
            return "nchwij,mcij->nmhw"
        return "ngchwij,gmcij->ngmhw"

    def weights(self):
        M, C, *kernel = self.layer.blobs[0].shape
        if self.p.group == 1:
            return self.w[0]
        return f"{self.w[0]}.reshape({self.p.group}, {M // self.p.group}, {C}, {kernel[0]}, {kernel[1]})"

    def apart(self, name, shape):
        """N x C x rest as N x G x C/G x rest."""
        G = self.p.group
        return name if G == 1 else f"{name}.reshape(-1, {G}, {shape[1] // G}, {', '.join(map(str, shape[2:]))})"

    def looked_at(self, i):
        return self.local("windows" if len(self.x) == 1 else f"windows{i}")

    def forward(self):
        for i, (x, y) in enumerate(zip(self.x, self.y, strict=True)):
            kernel = tuple(self.layer.kernel)
            seen = f"{self.needs('windows')}({x}, {kernel}, {self.how()})"
            shape = [0, self.bottoms[i][1], *self.tops[i][2:], *kernel]
            self.say(f"{self.looked_at(i)} = {self.apart(seen, shape)}")
            W = self.weights()
            if self.p.group > 1:
                self.say(f"{self.local('groups')} = {W}")
                W = self.local("groups")
            product = f'np.einsum("{self.grouped()}", {self.looked_at(i)}, {W}, optimize=True)'
            if self.p.group > 1:
                product = f"{product}.reshape(-1, {', '.join(map(str, self.tops[i][1:]))})"
            self.say(f"{y} = {product}")
            if self.p.bias_term:
                self.say(f"{y} += {self.w[1]}[:, None, None]")

    def backward(self):
        inputs, output = self.grouped().split("->")
        x, W = inputs.split(",")
        for i in range(len(self.x)):
            d = self.d(i)
            if self.learns(1):
                self.learn(1, f"{d}.sum(axis=(0, 2, 3))")
            if self.p.group > 1:
                self.say(f"{self.local('d_out')} = {self.apart(d, self.tops[i])}")
                d = self.local("d_out")
            if self.learns(0):
                dW = f'np.einsum("{output},{x}->{W}", {d}, {self.looked_at(i)}, optimize=True)'
                self.learn(0, dW + (f".reshape{tuple(self.layer.blobs[0].shape)}" if self.p.group > 1 else ""))
            if self.wants(i):
                weights = self.w[0] if self.p.group == 1 else self.local("groups")
                moved = self.local("d_windows")
                self.say(f'{moved} = np.einsum("{output},{W}->{x}", {d}, {weights}, optimize=True)')
                if self.p.group > 1:
                    shape = [self.bottoms[i][1], *self.tops[i][2:], *self.layer.kernel]
                    self.say(f"{moved} = {moved}.reshape(-1, {', '.join(map(str, shape))})")
                self.give(i, f"{self.needs('add_windows')}({moved}, {self.x[i]}.shape, {self.how()})")


@writes(Pooling)
class _Pooling(Writer):
    def __init__(self, code, step):
        super().__init__(code, step)
        sizes = self.bottoms[0][2:]
        self.kernel, self.stride, self.pad, self.after = (tuple(pair) for pair in self.layer.geometry(sizes))
        self.kernel = tuple(map(int, self.kernel))
        self.output = self.tops[0][2:]
        # a last window may hang over the end: so much must be there
        ends = [(n - 1) * s + k - size - p for n, s, k, size, p, _ in self.along_axes(sizes)]
        self.border = tuple((p, max(0, end)) for p, end in zip(self.pad, ends, strict=True))
        self.is_global = self.p.global_pooling and self.p.pool == "AVE"

    def along_axes(self, sizes):
        return zip(self.output, self.stride, self.kernel, sizes, self.pad, self.after, strict=True)

    def refusal(self):
        if self.p.pool == "STOCHASTIC":
            return "pool STOCHASTIC is not"
        return "the second top of MAX is not" if len(self.y) > 1 else ""

    def formula(self):
        return "the largest value of each window" if self.p.pool == "MAX" else "the mean of each window"

    def seen(self, value=""):
        return f"{self.needs('windows')}({self.x[0]}, {self.kernel}, {self.stride}, {self.border}{value})"

    def area(self):
        """How many places a window has, cut to the image or the padded one: a number, or an expression."""
        sizes = list(self.along_axes(self.bottoms[0][2:]))
        if not self.p.count_include_pad and any(map(any, self.border)):
            cut = [
                f"np.minimum({s} * np.arange({n}) + {k - p}, {size}) - np.maximum({s} * np.arange({n}) - {p}, 0)"
                for n, s, k, size, p, _ in sizes
            ]
            return f"np.outer({', '.join(cut)})"
        if all((n - 1) * s + k <= size + p + after for n, s, k, size, p, after in sizes):
            return str(math.prod(self.kernel))
        cut = [f"np.minimum({k}, {size + p + after} - {s} * np.arange({n}))" for n, s, k, size, p, after in sizes]
        return f"np.outer({', '.join(cut)})"

    def forward(self):
        x, y = self.x[0], self.y[0]
        if self.is_global:
            self.say(f"{y} = {x}.mean(axis=(2, 3), keepdims=True)")
        elif self.p.pool == "MAX":
            N, C = self.bottoms[0][:2]
            windows, first = self.local("windows"), self.local("first")
            border = ", value=-np.inf" if any(map(any, self.border)) else ""
            flat = shaped(self.seen(border), (), (N, C, *self.output, math.prod(self.kernel)))
            self.say(f"{windows} = {flat}", f"{first} = {windows}.argmax(axis=4)", f"{y} = {windows}.max(axis=4)")
        else:
            area = self.area()
            if not area.isdigit():
                self.code.before.append(f"{self.local('area')} = {area}")
                area = self.local("area")
            self.say(f"{y} = {self.seen()}.sum(axis=(4, 5)) / {area}")
            self.size = area

    def backward(self):
        if not self.wants():
            return
        d, x, moved, k = self.d(), self.x[0], self.local("d_windows"), self.kernel
        if self.is_global:
            self.give(0, f"np.broadcast_to({d} / {math.prod(self.bottoms[0][2:])}, {x}.shape)")
            return
        C = self.bottoms[0][1]
        if self.p.pool == "MAX":
            first, size = self.local("first"), math.prod(k)
            self.say(f"{moved} = {d}[..., None] * ({first}[..., None] == np.arange({size}))")
            self.say(f"{moved} = {shaped(moved, (), (0, C, *self.output, *k))}")
        else:
            self.say(f"{moved} = np.broadcast_to(({d} / {self.size})[..., None, None], (*{d}.shape, {k[0]}, {k[1]}))")
        self.give(0, f"{self.needs('add_windows')}({moved}, {x}.shape, {self.stride}, {self.border})")


@writes(LRN)
class _LRN(Writer):
    def refusal(self):
        return "" if self.layer.axes == (1,) else "norm_region WITHIN_CHANNEL is not"

    def formula(self):
        return "y = x / s**beta, s = k + alpha / size times the sum of x² over the channels around it"

    def forward(self):
        s, x = self.local("s"), self.x[0]
        total = times(self.layer.a, f"{self.needs('neighbours')}({x}**2, {self.p.local_size})")
        self.say(f"{s} = {number(self.layer.k)} + {total}", f"{self.y[0]} = {x} / {s}**{number(self.p.beta)}")

    def backward(self):
        if self.wants():
            s, x, d, beta = self.local("s"), self.x[0], self.d(), self.p.beta
            total = f"neighbours({d} * {self.y[0]} / {s}, {self.p.local_size})"
            self.give(0, f"{d} / {s}**{number(beta)} - {times(2 * self.layer.a * beta, x, total)}")


@writes(BatchNorm)
class _BatchNorm(Writer):
    parameters = ("mean_sum", "variance_sum", "count", "w", "b")

    def __init__(self, code, step):
        super().__init__(code, step)
        n = len(self.bottoms[0])
        self.axes = f"axis={tuple(i for i in range(n) if i != 1)}"
        self.spread = f"[:{', None' * (n - 2)}]" if n > 2 else ""
        self.hat = self.local("hat") if self.p.affine else self.y[0]

    def formula(self):
        of = "all batches so far" if self.layer.use_global else "the batch"
        more = ", then w y + b" if self.p.affine else ""
        return f"y = (x - mean) / sqrt(variance + eps), of {of}, for each channel{more}"

    def forward(self):
        x, sigma, eps = self.x[0], self.local("sigma"), number(self.p.eps)
        mean, variance, count = self.w[:3]
        if self.layer.use_global:
            seen = self.layer.blobs[2].data[0] != 0
            average = [f"{total} / {count}" if seen else f"0 * {total}" for total in (mean, variance)]
            self.say(f"{sigma} = np.sqrt({average[1]} + {eps}){self.spread}")
            centre = f"({average[0]}){self.spread}" if self.spread else average[0]
            self.say(f"{self.hat} = ({x} - {centre}) / {sigma}")
        else:
            self.say(f"{sigma} = np.sqrt({x}.var({self.axes}, keepdims=True) + {eps})")
            self.say(f"{self.hat} = ({x} - {x}.mean({self.axes}, keepdims=True)) / {sigma}")
        if self.p.affine:
            self.say(f"{self.y[0]} = {self.hat} * {self.w[3]}{self.spread} + {self.w[4]}{self.spread}")

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
