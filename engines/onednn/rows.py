"""Formulas with one value for each channel, over rows of channels: memory that lies channels last.

oneDNN's batch normalization is the tool: with given statistics it is y = s (x - μ) / √(v + ε) + t for each channel, and
its backward pass sums dy and dy x̂. With μ = 0 and v = 1 - ε it multiplies and adds, and sums dy x.
"""

from __future__ import annotations

import numpy as np

from ...compute.memory import memory_order
from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import ADDING, Memory, Primitive, plain
from ...compute.onednn.stages import Work, Works

EPS = 1e-5
BLOCK = 1 << 17  # elements that stay in a processor's own cache
LONGEST = 2048  # rows: oneDNN adds them one after the other, in single precision
MOST_TASKS = 16
WIDE = 128  # channels, where a vector of the processor's is well filled


class Rows:
    """Blocks of rows x channels, and what oneDNN does to them. Raises UnimplementedError.

    Where there are few channels, several rows count as one with as many more channels: ``channels`` counts these, and
    ``repeats`` says how often a channel is among them.
    """

    def __init__(self, rows: int, channels: int):
        self.repeats = next(k for k in range(max(1, WIDE // channels), 0, -1) if rows % k == 0)
        rows, channels = rows // self.repeats, channels * self.repeats
        self.rows, self.channels = rows, channels
        step = max(1, min(BLOCK // channels, LONGEST))
        self.blocks = [slice(i, min(i + step, rows)) for i in range(0, rows, step)]
        self.counts = np.array([block.stop - block.start for block in self.blocks], np.float64)
        self.made: dict[tuple, Primitive] = {}
        self.descriptor = plain((channels,))
        self.zeros = Memory(self.descriptor, np.zeros(channels, np.float32))
        self.ones = Memory(self.descriptor, np.ones(channels, np.float32))
        self.unit = Memory(self.descriptor, np.full(channels, 1 - EPS, np.float32))
        for block in (self.blocks[0], self.blocks[-1]):
            for kind in (self.statistics_of, self.change_of, self.sums_of, self.times_of):
                kind(block.stop - block.start)

    # Primitives, for so many rows

    def block_descriptor(self, count):
        return plain((1, self.channels, 1, count), True)

    def once(self, key, make):
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]

    def forward(self, count, propagation, flags):
        d = self.block_descriptor(count)
        return Primitive("batch_normalization_forward", propagation, d, d, EPS, flags)

    def statistics_of(self, count):
        return self.once(("statistics", count), lambda: self.forward(count, dnn.TRAINING, 0))

    def change_of(self, count):
        flags = dnn.GLOBAL_STATISTICS | dnn.SCALE | dnn.SHIFT
        return self.once(("change", count), lambda: self.forward(count, dnn.INFERENCE, flags))

    def sums_of(self, count):
        d, flags = self.block_descriptor(count), dnn.GLOBAL_STATISTICS | dnn.SCALE | dnn.SHIFT

        def make():
            forward = self.forward(count, dnn.TRAINING, flags)
            return Primitive("batch_normalization_backward", dnn.BACKWARD, d, d, d, EPS, flags, forward)

        return self.once(("sums", count), make)

    def times_of(self, count):
        d, each = self.block_descriptor(count), plain((1, self.channels, 1, 1), True)
        return self.once(("times", count), lambda: Primitive("binary", dnn.MULTIPLY, d, each, d, post_ops=ADDING))

    # Calls, for a block of arrays

    def memory(self, array, block):
        """The rows of a block."""
        flat = memory_order(array).reshape(self.rows, self.channels)
        return Memory(self.block_descriptor(block.stop - block.start), flat[block])

    def each(self, values):
        """Values of the channels, ``repeats`` times each."""
        return Memory(self.descriptor, values)

    def room(self):
        """Memory for values of the channels: assign them to it, and each is there ``repeats`` times."""
        return np.zeros((self.repeats, self.channels // self.repeats), np.float32)

    def statistics(self, x, means, variances, block, b):
        """Mean and variance of block b."""
        count = block.stop - block.start
        memories = {
            dnn.SRC: self.memory(x, block),
            dnn.DST: self.block_descriptor(count),
            dnn.MEAN: self.each(means[b]),
            dnn.VARIANCE: self.each(variances[b]),
        }
        return self.statistics_of(count), memories

    def change(self, x, y, factor, offset, block, mean=None):
        """y = factor (x - mean) + offset."""
        memories = {
            dnn.SRC: self.memory(x, block),
            dnn.DST: self.memory(y, block),
            dnn.MEAN: self.zeros if mean is None else self.each(mean),
            dnn.VARIANCE: self.unit,
            dnn.SCALES: self.ones if factor is None else self.each(factor),
            dnn.SHIFTS: self.zeros if offset is None else self.each(offset),
        }
        return self.change_of(block.stop - block.start), memories

    def sums(self, x, dy, sums, products, block, b):
        """Σ dy and Σ dy x of block b."""
        count = block.stop - block.start
        memories = {
            dnn.SRC: self.memory(x, block),
            dnn.MEAN: self.zeros,
            dnn.VARIANCE: self.unit,
            dnn.DIFF_DST: self.memory(dy, block),
            dnn.SCALES: self.ones,
            dnn.DIFF_SRC: self.block_descriptor(count),
            dnn.DIFF_SCALES: self.each(products[b]),
            dnn.DIFF_SHIFTS: self.each(sums[b]),
        }
        return self.sums_of(count), memories

    def add_product(self, x, factor, y, block):
        """y += factor x."""
        memories = {
            dnn.SRC: self.memory(x, block),
            dnn.SRC_1: Memory(plain((1, self.channels, 1, 1), True), factor),
            dnn.DST: self.memory(y, block),
        }
        return self.times_of(block.stop - block.start), memories

    def stage(self, work) -> list[Works]:
        """Tasks of blocks, with the calls that ``work(block, b)`` lists for each."""
        count = len(self.blocks)
        tasks: list[Works] = []
        for i in range(min(count, MOST_TASKS)):
            task: list[Work] = []
            for b in range(i * count // min(count, MOST_TASKS), (i + 1) * count // min(count, MOST_TASKS)):
                task += work(self.blocks[b], b)
            tasks.append(task)
        return tasks
