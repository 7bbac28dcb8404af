"""Formulas with one value for each channel, over rows of channels: memory that lies channels last.

oneDNN's batch normalization is the tool: with given statistics it is y = s (x - μ) / √(v + ε) + t for each channel, and
its backward pass sums dy and dy x̂. With μ = 0 and v = 1 - ε it multiplies and adds, and sums dy x.
"""

from __future__ import annotations

import numpy as np

from ...compute.memory import memory_order
from ...compute.onednn import primitives as dnn
from ...compute.onednn.primitives import ADDING, Memory, Primitive, plain
from ...compute.stages import TOUCH, Stage, Works, parts_of

EPS = 1e-5
BLOCK = 1 << 17  # elements that stay in a processor's own cache
LONGEST = 2048  # rows: oneDNN adds them one after the other, in single precision
WIDE = 128  # channels, where a vector of the processor's is well filled


class Rows:
    """Blocks of rows x channels, and what oneDNN does to them. Raises UnimplementedError.

    Where there are few channels, several rows count as one with as many more channels: ``channels`` counts these, and
    ``repeats`` says how often a channel is among them. The blocks lie within parts of the batch.
    """

    def __init__(self, examples: int, rows: int, channels: int):
        """So many examples with so many rows each."""
        parts = parts_of(examples, examples * rows * channels)
        if examples == 1 and rows > 1:  # rows are cut as well as examples
            parts, rows = parts_of(rows, rows * channels), 1
        self.examples, self.size = examples, examples * rows * channels
        most = max(1, WIDE // channels)
        sizes = [rows * (part.stop - part.start) for part in parts]
        self.repeats = next(k for k in range(most, 0, -1) if all(size % k == 0 for size in sizes))
        self.channels, k = channels * self.repeats, self.repeats
        step = max(1, min(BLOCK // self.channels, LONGEST))
        self.parts = []  # the blocks of each, by number
        self.blocks: list[slice] = []
        for part in parts:
            first, stop = rows * part.start // k, rows * part.stop // k
            blocks = [slice(i, min(i + step, stop)) for i in range(first, stop, step)]
            self.parts.append(range(len(self.blocks), len(self.blocks) + len(blocks)))
            self.blocks += blocks
        self.rows = self.blocks[-1].stop
        self.counts = np.array([block.stop - block.start for block in self.blocks], np.float64)
        self.made: dict[tuple, Primitive] = {}
        self.descriptor = plain((self.channels,))
        self.zeros = Memory(self.descriptor, np.zeros(self.channels, np.float32))
        self.ones = Memory(self.descriptor, np.ones(self.channels, np.float32))
        self.unit = Memory(self.descriptor, np.full(self.channels, 1 - EPS, np.float32))
        for count in sorted({block.stop - block.start for block in self.blocks}):
            for kind in (self.statistics_of, self.change_of, self.sums_of, self.times_of):
                kind(count)

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

    def stage(self, work) -> Stage:
        """Tasks of parts of the batch, with the calls that ``work(block, b)`` lists for each block."""
        tasks: list[Works] = [[call for b in numbers for call in work(self.blocks[b], b)] for numbers in self.parts]
        return Stage(tasks, self.examples if self.examples > 1 else 0, work=TOUCH * self.size)
