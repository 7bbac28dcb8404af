"""Images of other sizes as lines of numpy: cut, framed, enlarged, interpolated."""

from __future__ import annotations

from ...layers.vision.crop import Crop
from ...layers.vision.interp import Interp
from ...layers.vision.pad import Pad
from ...layers.vision.upsample import Upsample
from .code import Writer
from .expressions import in_brackets, number
from .writers import writes


def part(slices) -> str:
    """An index: ``:, :, 1:4``."""
    return ", ".join(":" if one.start is None else f"{one.start}:{one.stop}" for one in slices)


@writes(Crop)
class _Crop(Writer):
    def formula(self):
        return "a part of x, as large as the other"

    def forward(self):
        self.say(f"{self.y[0]} = {self.x[0]}[{part(self.layer.part)}]")

    def backward(self):
        if self.wants(0):
            dx = self.local("d0")
            self.say(f"{dx} = np.zeros_like({self.x[0]})", f"{dx}[{part(self.layer.part)}] = {self.d()}")
            self.give(0, dx)
        if self.wants(1):
            self.give(1, f"np.zeros_like({self.x[1]})")


@writes(Pad)
class _Pad(Writer):
    def formula(self):
        frame = {"constant": number(self.p.value), "edge": "the nearest value", "reflect": "what lies inside"}
        return f"a frame around x, of {frame[self.p.mode]}"

    def pads(self):
        return tuple(tuple(self.layer.pads.get(axis, (0, 0))) for axis in range(len(self.bottoms[0])))

    def how(self):
        return "" if self.p.mode == "constant" else f', mode="{self.p.mode}"'

    def forward(self):
        value = f", constant_values={number(self.p.value)}" if self.p.value else self.how()
        self.say(f"{self.y[0]} = np.pad({self.x[0]}, {self.pads()}{value})")

    def backward(self):
        if not self.wants():
            return
        if self.p.mode == "constant":
            self.give(0, f"{self.d()}[{part(self.layer.inside)}]")
            return
        x, places = self.x[0], self.local("places")
        self.say(f"{places} = np.pad(np.arange({x}.size).reshape({x}.shape), {self.pads()}{self.how()})")
        self.give(0, f"np.bincount({places}.ravel(), {self.d()}.ravel(), {x}.size).reshape({x}.shape)")


@writes(Upsample)
class _Upsample(Writer):
    def formula(self):
        return "each x at its place, else 0" if len(self.x) > 1 else "each pixel several times"

    def forward(self):
        x, y, (_, C, H, W) = self.x[0], self.y[0], self.bottoms[0]
        if len(self.x) == 1:
            down, across = self.layer.scales
            self.say(f"{y} = {x}.repeat({down}, axis=2).repeat({across}, axis=3)")
            return
        height, width = self.layer.sizes
        size, row, place, flat = height * width, self.local("row"), self.local("place"), self.local("flat")
        self.say(f"{row} = np.arange(len({x}) * {C})[:, None]")
        self.say("# -1, which is no place, is one behind the end")
        self.say(f"{place} = np.rint({self.x[1]}).astype(int).reshape(-1, {H * W})")
        self.say(f"{flat} = np.zeros(({row}.size, {size + 1}))", f"{flat}[{row}, {place}] = {x}.reshape(-1, {H * W})")
        self.say(f"{y} = {flat}[:, :{size}].reshape(-1, {C}, {height}, {width})")

    def backward(self):
        if len(self.x) == 2 and self.wants(1):
            self.give(1, f"np.zeros_like({self.x[1]})")
        if not self.wants():
            return
        _, C, H, W = self.bottoms[0]
        d = in_brackets(self.d())
        if len(self.x) == 1:
            down, across = self.layer.scales
            self.give(0, f"{d}.reshape(-1, {C}, {H}, {down}, {W}, {across}).sum(axis=(3, 5))")
            return
        size, row, place = self.layer.sizes[0] * self.layer.sizes[1], self.local("row"), self.local("place")
        holder, moved, number_of = self.local("holder"), self.local("d_flat"), f"np.arange({H * W})"
        self.say("# which x has the place: of several the last", f"{holder} = np.zeros(({row}.size, {size + 1}), int)")
        self.say(f"{holder}[{row}, {place}] = {number_of}")
        self.say(f"{moved} = np.pad({d}.reshape(-1, {size}), ((0, 0), (0, 1)))[{row}, {place}]")
        self.give(0, f"({moved} * ({holder}[{row}, {place}] == {number_of})).reshape({self.x[0]}.shape)")


@writes(Interp)
class _Interp(Writer):
    def formula(self):
        return "rows and columns of x, interpolated by a matrix for each axis"

    def names(self):
        return self.local("down"), self.local("across")

    def forward(self):
        for name, whole, new in zip(self.names(), *self.layer.sides, strict=True):
            self.code.before += self.matrix(name, whole, new)
        down, across = self.names()
        self.say(f"{self.y[0]} = {down} @ {self.x[0]} @ {across}.T")

    def matrix(self, name, whole, new):
        """How much each of ``whole`` x counts for each of ``new`` y."""
        p = self.p
        i, k, share, first = f"np.arange({new})", f"{name}_k", f"{name}_share", -p.pad_beg
        size, steps = whole + p.pad_beg + p.pad_end, max(1, new - 1)
        lines = [f"{name} = np.zeros(({new}, {whole}))"]
        moved = f" + {first}" if first else ""
        if p.mode == "nearest":
            place = f"{i} * {size} // {new}"
            if p.align_corners:
                place = f"({2 * (size - 1)} * {i} + {steps}) // {2 * steps}"
            return [*lines, f"{name}[{i}, {place}{moved}] = 1"]
        above = f"{size - 1} * {i}, {steps}"
        if not p.align_corners:
            above = f"np.maximum({size} * (2 * {i} + 1) - {new}, 0), {2 * new}"
        below = steps if p.align_corners else 2 * new
        return [
            f"{k}, {share} = np.divmod({above})",
            *lines,
            f"{name}[{i}, {k}{moved}] = 1 - {share} / {below}",
            f"{name}[{i}, np.minimum({k} + 1, {size - 1}){moved}] += {share} / {below}",
        ]

    def backward(self):
        down, across = self.names()
        if self.wants():
            self.give(0, f"{down}.T @ {self.d()} @ {across}")
        if len(self.x) == 2 and self.wants(1):
            self.give(1, f"np.zeros_like({self.x[1]})")
