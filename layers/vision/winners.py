"""Pooling that takes one element of each window, the largest or one that is drawn, and the way back to it."""

from __future__ import annotations

import numpy as np

from ...compute.memory import memory_order
from ...compute.parallel import scratch
from .pools import Pools


class _Lanes:
    """The places along one axis, dealt out to ``count`` lanes, so that a window's elements are neighbours' neighbours.

    Window o has its element e at place o + e // count of lane e % count: with a stride of s a lane for each s-th place.
    Where few windows have many elements in common each element has a lane of its own instead, of as many places as
    there are windows.
    """

    def __init__(self, size, stride, pad, output, reach):
        self.size, self.stride, self.pad, self.reach = size, stride, pad, reach
        shared = 2 * ((reach - 1) // stride) <= output
        self.count = min(stride, reach) if shared else reach
        self.places = output + (reach - 1) // self.count
        self.whole = self.count == stride == 1 and self.places == size and not pad

    def inside(self, lane):
        """Which places of the lane are in the image, and where in the image they are."""
        start = lane - self.pad
        first = max(0, -(start // self.stride))
        last = max(first, min(self.places, (self.size - 1 - start) // self.stride + 1))
        return slice(first, last), slice(start + first * self.stride, max(0, start + last * self.stride), self.stride)


class Winners(Pools):
    """Windows that have a winner each: its number, of the elements counted from 1 in reading order; 0 for none."""

    located: tuple | None = None

    def __init__(self, sizes, kernel, stride, pad, output):
        super().__init__(sizes, kernel, stride, pad, output)
        self.lanes = tuple(map(_Lanes, sizes, stride, pad, output, map(len, self.axes)))

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
        larger than all before it, its number is too. Elements that are compared lie in memory in the same order, one
        lane beside the other, so all is done flat; what is computed beyond the last window of a row is not taken.
        """
        down, right = self.lanes
        lanes = self.spread_out(x)
        step = x.shape[1] if self.channels_last else 1  # in memory, from one place of a row to the next
        across = scratch("rows", lanes[0].shape, x.dtype)
        column = scratch("column", lanes[0].shape, winner.dtype)
        column.fill(1)
        best = clean(lanes[0])
        for j in range(1, right.reach):
            self.compete(lanes[j % right.count][j // right.count * step :], j + 1, best, across, column)
            best = across
        room = (*x.shape[:2], down.places, right.places)
        tallest, winners = (self.scratch(name, room, a.dtype) for name, a in (("tallest", x), ("winners", winner)))
        highest, number = memory_order(tallest), memory_order(winners)
        size, step = len(highest), step * right.places
        np.copyto(number, column[:size])
        across = best
        for i in range(1, down.reach):
            lane = slice(i % down.count * size + i // down.count * step, (i % down.count + 1) * size)
            numbers = np.add(column[lane], i * self.kernel[1], out=scratch("numbers", across[lane].shape, winner.dtype))
            self.compete(across[lane], numbers, best, highest, number)
            best = highest
        if best is across:
            np.copyto(highest, best)
        np.copyto(y, tallest[:, :, : self.output[0], : self.output[1]])
        np.copyto(winner, winners[:, :, : self.output[0], : self.output[1]])
        lowest = np.finfo(y.dtype).min
        if y.min(initial=0) == lowest:
            winner[y == lowest] = 0  # a window of nothing but NaN and -infinity has no maximum

    def spread_out(self, x):
        """The lanes: for each of those along a row, flat, those down it one below the other, each of all examples."""
        down, right = self.lanes
        if down.whole and right.whole:
            return [memory_order(x)]
        n, lowest = len(x), np.finfo(x.dtype).min
        flat, places = [], self.places_of(x)
        for j in range(right.count):
            lane = self.scratch(f"lane {j}", (down.count * n, x.shape[1], down.places, right.places), x.dtype)
            flat.append(memory_order(lane))
            across, columns = right.inside(j)
            for i in range(down.count):
                part = lane[i * n : (i + 1) * n]
                along, rows = down.inside(i)
                part[:, :, : along.start] = lowest
                part[:, :, along.stop :] = lowest
                part[:, :, along, : across.start] = lowest
                part[:, :, along, across.stop :] = lowest
                np.copyto(self.places_of(part)[..., along, across], places[..., rows, columns])
        return flat

    def places_of(self, array):
        """The array to be copied; in channels-last memory all channels of a place in one go, which is faster."""
        if not self.channels_last or not array.size:
            return array
        return array.transpose(0, 2, 3, 1).view(np.dtype((np.void, array.shape[1] * array.itemsize)))[..., 0]

    def compete(self, x, number, best, new_best, winner):
        """Where x is larger than the best so far, it and its number take the place; of the first ``len(x)``."""
        size = len(x)
        larger = np.greater(x, best[:size], out=scratch("larger", x.shape, bool))
        np.fmax(x, best[:size], out=new_best[:size])
        self.number_where(larger, number, winner[:size])

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


def clean(best):
    """The same, or a copy with the lowest number there is in place of NaN and -infinity: anything is larger."""
    lowest = np.finfo(best.dtype).min
    if best.min(initial=0) >= lowest:
        return best
    return np.fmax(best, lowest, out=scratch("clean", best.shape, best.dtype))


def only_where_there_is_a_maximum(dy, winner, place):
    """dy, but nothing for windows of NaN and -infinity only, whose place is nowhere."""
    if winner.all():
        return dy
    place[winner == 0] = 0
    return np.where(winner == 0, 0, dy)
