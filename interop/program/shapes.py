"""What moves numbers without computing: as lines of numpy."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...layers.shape.concat import Concat
from ...layers.shape.flatten import Flatten
from ...layers.shape.reshape import Reshape
from ...layers.shape.silence import Silence
from ...layers.shape.slice import Slice
from ...layers.shape.split import Split
from .code import Writer
from .expressions import shaped
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
