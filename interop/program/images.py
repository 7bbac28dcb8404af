"""Convolution, pooling and what else looks at neighbours in an image: as lines of numpy."""

from __future__ import annotations

import math

from ...layers.vision.convolution import Convolution
from ...layers.vision.deconvolution import Deconvolution
from ...layers.vision.im2col import Im2col
from ...layers.vision.lrn import LRN
from ...layers.vision.pooling import Pooling
from .code import Writer
from .expressions import in_brackets, number, shaped, times
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


@writes(Deconvolution)
class _Deconvolution(_Convolution):
    def formula(self):
        return "each x times W, added up where these windows lie" + (", plus b" if self.p.bias_term else "")

    def grouped(self):
        return "nchw,cmij->nmhwij" if self.p.group == 1 else "ngchw,gcmij->ngmhwij"

    def weights(self):
        C, M, *kernel = self.layer.blobs[0].shape
        if self.p.group == 1:
            return self.w[0]
        return f"{self.w[0]}.reshape({self.p.group}, {C // self.p.group}, {M}, {kernel[0]}, {kernel[1]})"

    def apart_x(self, i):
        return self.apart(self.x[i], self.bottoms[i])

    def forward(self):
        M, *output = self.tops[0][1:]
        W = self.weights()
        if self.p.group > 1:
            self.say(f"{self.local('groups')} = {W}")
            W = self.local("groups")
        for i, (x, y) in enumerate(zip(self.x, self.y, strict=True)):
            made = self.looked_at(i)
            self.say(f'{made} = np.einsum("{self.grouped()}", {self.apart_x(i)}, {W}, optimize=True)')
            if self.p.group > 1:
                shape = [M, *self.bottoms[i][2:], *self.layer.kernel]
                self.say(f"{made} = {made}.reshape(-1, {', '.join(map(str, shape))})")
            whole = f"(len({x}), {M}, {output[0]}, {output[1]})"
            self.say(f"{y} = {self.needs('add_windows')}({made}, {whole}, {self.how()})")
            if self.p.bias_term:
                self.say(f"{y} += {self.w[1]}[:, None, None]")

    def backward(self):
        inputs, output = self.grouped().split("->")
        x, W = inputs.split(",")
        for i in range(len(self.x)):
            d = self.d(i)
            if self.learns(1):
                self.learn(1, f"{d}.sum(axis=(0, 2, 3))")
            if not (self.learns(0) or self.wants(i)):
                continue
            seen = self.local("d_windows")
            found = f"{self.needs('windows')}({d}, {tuple(self.layer.kernel)}, {self.how()})"
            shape = [0, self.tops[i][1], *self.bottoms[i][2:], *self.layer.kernel]
            self.say(f"{seen} = {self.apart(found, shape)}")
            if self.learns(0):
                dW = f'np.einsum("{output},{x}->{W}", {seen}, {self.apart_x(i)}, optimize=True)'
                self.learn(0, dW + (f".reshape{tuple(self.layer.blobs[0].shape)}" if self.p.group > 1 else ""))
            if self.wants(i):
                weights = self.w[0] if self.p.group == 1 else self.local("groups")
                dx = f'np.einsum("{output},{W}->{x}", {seen}, {weights}, optimize=True)'
                self.give(i, dx if self.p.group == 1 else f"{dx}.reshape({self.x[i]}.shape)")


@writes(Im2col)
class _Im2col(Writer):
    def refusal(self):
        if len(self.layer.kernel) != 2 or self.layer.axis != 1:
            return "it has other than two spatial axes, or its channels are not on axis 1"
        return ""

    def formula(self):
        return "the windows of x, each element of them a channel"

    def how(self):
        (top, left), layer = self.layer.pad, self.layer
        return f"{layer.stride}, {((top, top), (left, left))}, {layer.dilation}"

    def forward(self):
        seen = f"{self.needs('windows')}({self.x[0]}, {tuple(self.layer.kernel)}, {self.how()})"
        shape = ", ".join(map(str, self.tops[0][1:]))
        self.say(f"{self.y[0]} = {seen}.transpose(0, 1, 4, 5, 2, 3).reshape(-1, {shape})")

    def backward(self):
        if self.wants():
            shape = ", ".join(map(str, [self.bottoms[0][1], *self.layer.kernel, *self.layer.output]))
            moved = f"{in_brackets(self.d())}.reshape(-1, {shape}).transpose(0, 1, 4, 5, 2, 3)"
            self.give(0, f"{self.needs('add_windows')}({moved}, {self.x[0]}.shape, {self.how()})")


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
        return "pool STOCHASTIC is not" if self.p.pool == "STOCHASTIC" else ""

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
            self.say(f"{windows} = {flat}")
            if len(self.y) > 1 or not self.code.forward_only:
                self.say(f"{first} = {windows}.argmax(axis=4)")
            self.say(f"{y} = {windows}.max(axis=4)")
            if len(self.y) > 1:
                self.say("# where in the image", f"{self.y[1]} = {self.places(first)}")
        else:
            area = self.area()
            if not area.isdigit():
                self.code.before.append(f"{self.local('area')} = {area}")
                area = self.local("area")
            self.say(f"{y} = {self.seen()}.sum(axis=(4, 5)) / {area}")
            self.size = area

    def places(self, first):
        """Where in the image the chosen element of each window is."""
        rows, columns = (f"{s} * np.arange({n})" for s, n in zip(self.stride, self.output, strict=True))
        width, (top, left) = self.bottoms[0][3], self.pad
        row = f"({rows}{f' - {top}' if top else ''})[:, None] + {first} // {self.kernel[1]}"
        return f"({row}) * {width} + {columns}{f' - {left}' if left else ''} + {first} % {self.kernel[1]}"

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
    def formula(self):
        where = "places" if self.within() else "channels"
        over = "size²" if self.within() else "size"
        return f"y = x / s**beta, s = k + alpha / {over} times the sum of x² over the {where} around it"

    def within(self):
        return self.layer.axes != (1,)

    def around(self, values):
        size = self.p.local_size
        if not self.within():
            return f"{self.needs('neighbours')}({values}, {size})"
        reach = (size // 2, size // 2)
        return f"{self.needs('windows')}({values}, {(size, size)}, (1, 1), {(reach, reach)}).sum(axis=(4, 5))"

    def forward(self):
        s, x = self.local("s"), self.x[0]
        total = times(self.layer.a, self.around(f"{x}**2"))
        self.say(f"{s} = {number(self.layer.k)} + {total}", f"{self.y[0]} = {x} / {s}**{number(self.p.beta)}")

    def backward(self):
        if self.wants():
            s, x, d, beta = self.local("s"), self.x[0], self.d(), self.p.beta
            total = self.local("total")
            self.say(f"{total} = {self.around(f'{d} * {self.y[0]} / {s}')}")
            self.give(0, f"{d} / {s}**{number(beta)} - {times(2 * self.layer.a * beta, x, total)}")
