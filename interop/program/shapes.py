"""What moves numbers without computing: as lines of numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...layers.shape.arg_max import ArgMax
from ...layers.shape.batch_reindex import BatchReindex
from ...layers.shape.concat import Concat
from ...layers.shape.filter import Filter
from ...layers.shape.flatten import Flatten
from ...layers.shape.permute import Permute
from ...layers.shape.reshape import Reshape
from ...layers.shape.shuffle_channel import ShuffleChannel
from ...layers.shape.silence import Silence
from ...layers.shape.slice import Slice
from ...layers.shape.split import Split
from ...layers.shape.tile import Tile
from .code import Writer
from .expressions import in_brackets, shaped, tuple_of
from .writers import writes


@writes(Flatten, Reshape)
class _Reshaping(Writer):
    def formula(self):
        return "the same numbers in another shape"

    def forward(self):
        self.say(f"{self.y[0]} = {shaped(self.x[0], self.bottoms[0], self.tops[0])}")

    def backward(self):
        if self.wants():
            d = self.d() if self.tops[0] or not self.bottoms[0] else f"np.array({self.d()})"
            self.give(0, shaped(d, self.tops[0], self.bottoms[0]))


@writes(Silence)
class _Silence(Writer):
    def formula(self):
        return "nothing is computed"

    def forward(self):
        """Nothing."""

    def backward(self):
        for i in range(len(self.x)):
            if self.wants(i):
                self.give(i, f"np.zeros_like({self.x[i]})")


@writes(Split)
class _Split(Writer):
    def formula(self):
        return "copies"

    def forward(self):
        self.say(*(f"{y} = {self.x[0]}" for y in self.y))

    def backward(self):
        if self.wants():
            self.give(0, " + ".join(self.d(i) for i in range(len(self.y))))


class Pieces(Writer):
    """Pieces of a blob along an axis."""

    def piece(self, whole, start, stop):
        """The part of an array along the axis."""
        return f"{whole}[{':, ' * self.layer.axis}{start}:{stop}]"

    def joined(self, names):
        return f"np.concatenate([{', '.join(names)}], axis={self.layer.axis})"


@writes(Concat)
class _Concat(Pieces):
    def formula(self):
        return "one after the other"

    def forward(self):
        self.say(f"{self.y[0]} = {self.joined(self.x)}")

    def backward(self):
        ends = np.cumsum([0, *(shape[self.layer.axis] for shape in self.bottoms)]).tolist()
        for i, (start, stop) in enumerate(pairwise(ends)):
            if self.wants(i):
                self.give(i, self.piece(self.d(), start, stop))


@writes(Slice)
class _Slice(Pieces):
    def formula(self):
        return "cut into pieces"

    def forward(self):
        ends = [0, *self.layer.points, self.bottoms[0][self.layer.axis]]
        for y, (start, stop) in zip(self.y, pairwise(ends), strict=True):
            self.say(f"{y} = {self.piece(self.x[0], start, stop)}")

    def backward(self):
        if self.wants():
            self.give(0, self.joined([self.d(i) for i in range(len(self.y))]))


@writes(Permute)
class _Permute(Writer):
    def formula(self):
        return "the axes in another order"

    def forward(self):
        self.say(f"{self.y[0]} = {self.x[0]}.transpose{tuple_of(self.layer.order)}")

    def backward(self):
        if self.wants():
            self.give(0, f"{in_brackets(self.d())}.transpose{tuple_of(np.argsort(self.layer.order))}")


@writes(ShuffleChannel)
class _ShuffleChannel(Writer):
    def formula(self):
        return "the first channel of each group, then the second of each, and so on"

    def exchanged(self, name, groups):
        _, C, *places = self.bottoms[0]
        shape = ", ".join(map(str, [-1, groups, C // groups, *places]))
        return f"{in_brackets(name)}.reshape({shape}).swapaxes(1, 2).reshape({self.x[0]}.shape)"

    def forward(self):
        self.say(f"{self.y[0]} = {self.exchanged(self.x[0], self.p.group)}")

    def backward(self):
        if self.wants():
            self.give(0, self.exchanged(self.d(), self.bottoms[0][1] // self.p.group))


@writes(Tile)
class _Tile(Writer):
    def formula(self):
        return "copy after copy"

    def forward(self):
        axis = self.layer.axis
        self.say(f"{self.y[0]} = np.concatenate([{self.x[0]}] * {self.p.tiles}, axis={axis})")

    def backward(self):
        if self.wants():
            shape, axis = self.bottoms[0], self.layer.axis
            copies = [*shape[:axis], self.p.tiles, *shape[axis:]]
            self.give(0, f"{shaped(self.d(), self.tops[0], copies)}.sum(axis={axis})")


class Chosen(Writer):
    """Some of the examples."""

    def back(self, i, d, places):
        """The gradient of bottom i from that of the examples at these places."""
        dx = self.local(f"d{i}")
        self.say(f"{dx} = np.zeros_like({self.x[i]})", f"np.add.at({dx}, {places}, {d})")
        self.give(i, dx)


@writes(BatchReindex)
class _BatchReindex(Chosen):
    def formula(self):
        return "examples by number"

    def forward(self):
        self.say(f"{self.local('numbers')} = {self.x[1]}.astype(int)")
        self.say(f"{self.y[0]} = {self.x[0]}[{self.local('numbers')}]")

    def backward(self):
        if self.wants():
            self.back(0, self.d(), self.local("numbers"))


@writes(Filter)
class _Filter(Chosen):
    def formula(self):
        return "the examples whose selector is not zero"

    def forward(self):
        kept = self.local("kept")
        self.say(f"{kept} = np.flatnonzero({self.x[-1]})")
        self.say(*(f"{y} = {x}[{kept}]" for x, y in zip(self.x, self.y, strict=False)))

    def backward(self):
        for i in range(len(self.y)):
            if self.wants(i):
                self.back(i, self.d(i), self.local("kept"))


@writes(ArgMax)
class _ArgMax(Writer):
    def formula(self):
        return "where the largest values are, the largest first"

    def forward(self):
        x, order, k, (N, count, inner) = self.local("in"), self.local("order"), self.p.top_k, self.layer.split
        self.say(f"{x} = {shaped(self.x[0], self.bottoms[0], (N, count, inner))}")
        self.say(f'{order} = np.argsort({x}, axis=1, kind="stable")[:, ::-1][:, :{k}]')
        values, found = f"np.take_along_axis({x}, {order}, axis=1)", order
        if self.p.out_max_val:
            found = values if self.p.axis is not None else f"np.stack([{order}, {values}], axis=1)"
        self.say(f"{self.y[0]} = {shaped(found, (), self.tops[0])}")

    def backward(self):
        """There is no gradient."""
