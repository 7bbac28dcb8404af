"""Activations that look at channels or classes, or draw numbers: as lines of numpy."""

from __future__ import annotations

from ...layers.activation.dropout import Dropout
from ...layers.activation.log_softmax import LogSoftmax
from ...layers.activation.maxout import Maxout
from ...layers.activation.prelu import PReLU
from ...layers.activation.softmax import Softmax
from .code import Writer
from .expressions import along, in_brackets, number, shaped, times
from .writers import writes


@writes(PReLU)
class _PReLU(Writer):
    parameters = ("a",)

    def formula(self):
        return "y = x where x > 0, else a x"

    def slopes(self):
        return along(self.w[0], self.layer.blobs[0].shape, len(self.bottoms[0]) - 2)

    def forward(self):
        self.say(f"{self.y[0]} = np.where({self.x[0]} > 0, {self.x[0]}, {self.slopes()} * {self.x[0]})")

    def backward(self):
        shape, x = self.bottoms[0], self.x[0]
        if self.learns(0):
            axes = range(len(shape)) if self.p.channel_shared else [i for i in range(len(shape)) if i != 1]
            self.learn(0, f"({self.d()} * np.minimum({x}, 0)).sum(axis={tuple(axes)})")
        if self.wants():
            self.give(0, times(self.d(), f"np.where({x} > 0, 1, {self.slopes()})"))


@writes(Dropout)
class _Dropout(Writer):
    def refusal(self):
        return "in a cell within a cell it is not" if len(self.code.around) > 1 else ""

    def formula(self):
        return "y = x in tests" if self.layer.phase == "TEST" else "y = x mask, a random share of it 0"

    def forward(self):
        if self.layer.phase == "TEST":
            self.say(f"{self.y[0]} = {self.x[0]}")
            return
        rng, mask = self.code.randomness(self.step), self.local("mask")
        x, blob = self.x[0], self.step.bottom[0]
        drawn = f"{rng}.random({x}.shape)"
        if blob.channels_last and len(blob.shape) > 2:  # drawn in the order in which nettrain has the values in memory
            n, (N, C, *spatial) = len(blob.shape), blob.shape
            drawn = f"{rng}.random({(N, *spatial, C)}).transpose({', '.join(map(str, [0, n - 1, *range(1, n - 1)]))})"
        r = number(self.p.dropout_ratio)
        self.say(f"{mask} = {drawn}", f"{mask} = ({mask} >= {r}) / (1 - {r})", f"{self.y[0]} = {x} * {mask}")

    def backward(self):
        if self.wants():
            self.give(0, self.d() if self.layer.phase == "TEST" else times(self.d(), self.local("mask")))


class ClassAxis(Writer):
    """Along the axis of the classes."""

    def __init__(self, code, step):
        super().__init__(code, step)
        self.axis = step.bottom[0].canonical_axis(self.p.axis)
        self.along = f"axis={self.axis}, keepdims=True"


@writes(Softmax)
class _Softmax(ClassAxis):
    def formula(self):
        return "y = exp(x) / sum of exp(x)"

    def forward(self):
        y, x = self.y[0], self.x[0]
        e = self.local("exp")
        self.say(f"{e} = np.exp({x} - {x}.max({self.along}))", f"{y} = {e} / {e}.sum({self.along})")

    def backward(self):
        if self.wants():
            y, d = self.y[0], self.d()
            self.give(0, f"{y} * ({d} - ({d} * {y}).sum({self.along}))")


@writes(LogSoftmax)
class _LogSoftmax(ClassAxis):
    def formula(self):
        return "y = x - log(sum of exp(x))"

    def forward(self):
        y, x, shifted = self.y[0], self.x[0], self.local("shifted")
        self.say(f"{shifted} = {x} - {x}.max({self.along})")
        self.say(f"{y} = {shifted} - np.log(np.exp({shifted}).sum({self.along}))")

    def backward(self):
        if self.wants():
            self.give(0, f"{self.d()} - np.exp({self.y[0]}) * {in_brackets(self.d())}.sum({self.along})")


@writes(Maxout)
class _Maxout(Writer):
    def formula(self):
        return f"the largest of {self.p.num_pieces} neighbouring channels"

    def forward(self):
        axis, pieces = self.step.bottom[0].canonical_axis(self.p.axis), self.local("pieces")
        self.say(f"{pieces} = {shaped(self.x[0], self.bottoms[0], self.layer.parts)}")
        self.say(f"{self.y[0]} = {pieces}.max(axis={axis + 1})")

    def backward(self):
        if not self.wants():
            return
        axis, pieces, first = self.step.bottom[0].canonical_axis(self.p.axis), self.local("pieces"), self.local("first")
        stretch = f"[{':, ' * (axis + 1)}None]"
        k = along(f"np.arange({self.p.num_pieces})", [self.p.num_pieces], len(self.layer.parts) - axis - 2)
        self.say(f"{first} = {pieces}.argmax(axis={axis + 1})")
        self.give(0, shaped(f"{self.d()}{stretch} * ({first}{stretch} == {k})", self.layer.parts, self.bottoms[0]))
