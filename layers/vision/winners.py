"""Pooling that takes one element of each window, the largest or one that is drawn, and the way back to it."""

from __future__ import annotations

import numpy as np

from ...compute.memory import memory_order
from ...compute.parallel import scratch
from .pools import Pools


class Winners(Pools):
    """Windows that have a winner each: its number, of the elements counted from 1 in reading order; 0 for none."""

    located: tuple | None = None

    def numbers(self) -> type[np.integer]:
        """A type for the numbers of winners."""
        elements = self.kernel[0] * self.kernel[1]
        return np.uint8 if elements < 255 else np.int32 if elements < 2**31 else np.int64

    def positions(self, winner: np.ndarray) -> np.ndarray:
        """Where in its image each winner is, as h·W + w; -1 where there is none."""
        i, j = np.divmod(winner.astype(np.int64) - 1, self.kernel[1])
        i += (np.arange(self.output[0]) * self.stride[0] - self.pad[0])[:, None]
        j += np.arange(self.output[1]) * self.stride[1] - self.pad[1]
        return np.where(winner == 0, -1, i * self.sizes[1] + j)

    def largest(self, x, y, winner):
        """First along the rows, then down them: of equal values the first in reading order wins.

        ``winner`` numbers the elements of a window from 1; later ones have higher numbers, so that where one is
        larger than all before it, its number is too.
        """
        across = self.scratch("rows", (*x.shape[:3], self.output[1]), x.dtype)
        column = self.scratch("column", across.shape, winner.dtype)
        for number, (out, inside) in enumerate(self.axes[1], 1):
            if number == 1:
                self.begin(x[..., inside], number, across[..., out], column[..., out], across, column)
            else:
                self.compete(x[..., inside], number, across[..., out], column[..., out])
        for i, (out, inside) in enumerate(self.axes[0]):
            numbers = column[:, :, inside]
            if i == 0:
                self.begin(across[:, :, inside], numbers, y[:, :, out], winner[:, :, out], y, winner)
                continue
            numbers += i * self.kernel[1]
            self.compete(across[:, :, inside], numbers, y[:, :, out], winner[:, :, out])
            numbers -= i * self.kernel[1]
        if y.min(initial=0) == np.finfo(y.dtype).min:
            winner[y == np.finfo(y.dtype).min] = 0  # a window of nothing but NaN and -infinity has no maximum

    def begin(self, x, number, best, winner, whole_best, whole_winner):
        """The first element of the windows: the best so far, and NaN or -infinity the lowest number there is."""
        lowest = np.finfo(x.dtype).min
        if best.shape != whole_best.shape:
            whole_best.fill(lowest)
            whole_winner.fill(0)
        np.fmax(x, lowest, out=best)
        np.copyto(winner, number)

    def compete(self, x, number, best, winner):
        """Where x is larger than the best so far, it and its number take the place. NaN never is."""
        larger = self.scratch("larger", best.shape, bool)
        np.greater(x, best, out=larger)
        np.fmax(x, best, out=best)
        self.number_where(larger, number, winner)

    def number_where(self, mask, number, winner):
        """Where the mask holds, ``number``, larger than any before, becomes the winner. The mask is overwritten."""
        marks = mask.view(np.uint8)
        if winner.dtype != np.uint8:
            marks = self.scratch("marks", mask.shape, winner.dtype)
            np.copyto(marks, mask)
        marks *= number
        np.maximum(winner, marks, out=winner)

    def draw(self, x, y, total, limit, winner):
        """y = the first x of each window at which the sum so far reaches u Σ x; ``limit`` comes as 1 - u."""
        elements = [
            (number, (..., down, across), (..., rows, columns))
            for i, (down, rows) in enumerate(self.axes[0])
            for number, (across, columns) in enumerate(self.axes[1], 1 + i * self.kernel[1])
        ]
        total.fill(0)
        for _, out, inside in elements:
            total[out] += x[inside]
        np.subtract(1, limit, out=limit)
        limit *= total
        sums, below = self.scratch("sums", y.shape, y.dtype), self.scratch("below", y.shape, bool)
        sums.fill(0)
        winner.fill(1)
        for number, out, inside in elements:
            if number > 1:
                np.less(sums, limit, out=below)
                self.number_where(below, number, winner)
            sums[out] += x[inside]
        place, _ = self.places(x, winner)
        np.take(memory_order(x), place, out=memory_order(y).reshape(place.shape), mode="clip")
        if np.isnan(total.max(initial=0)):
            y[np.isnan(total)] = np.nan

    def locate(self, x):
        """Where each window of one example begins in the memory of x, and how far from there its elements are."""
        if self.located == (x.shape, x.strides):
            return
        self.located = (x.shape, x.strides)
        sizes = (x.shape[1], *self.output)
        steps = [s // x.itemsize for s in x.strides[1:]]
        c, i, j = np.ogrid[: sizes[0], : sizes[1], : sizes[2]]
        i, j = i * self.stride[0] - self.pad[0], j * self.stride[1] - self.pad[1]
        origins = c * steps[0] + i * steps[1] + j * steps[2]
        self.origins = (origins.transpose(1, 2, 0) if self.channels_last else origins).ravel()
        elements = np.add.outer(np.arange(self.kernel[0]) * steps[1], np.arange(self.kernel[1]) * steps[2])
        self.offsets = np.concatenate([[0], elements.ravel()])

    def places(self, images, winner):
        """Where in the memory of the images each window's winner is, and the winners, a row for each image."""
        n = len(images)
        winner = memory_order(winner).reshape(n, len(self.origins))
        number, place = scratch("number", winner.shape, np.intp), scratch("place", winner.shape, np.intp)
        np.copyto(number, winner)
        np.take(self.offsets, number, out=place, mode="clip")
        place += self.origins
        place += np.arange(n)[:, None] * (images.size // max(1, n))
        return place, winner

    def route(self, dx, dy, winner):
        """Add every dy to where its window's maximum was."""
        place, winner = self.places(dx, winner)
        dy = only_where_there_is_a_maximum(memory_order(dy).reshape(place.shape), winner, place)
        dx.fill(0)
        np.add.at(memory_order(dx), place.ravel(), dy.ravel())


def only_where_there_is_a_maximum(dy, winner, place):
    """dy, but nothing for windows of NaN and -infinity only, whose place is nowhere."""
    if winner.all():
        return dy
    place[winner == 0] = 0
    return np.where(winner == 0, 0, dy)
