"""What the normalizations of rows share: each row of M values is brought to mean 0 and, usually, variance 1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ...compute.channels import SHORT
from ...compute.parallel import blocks_of_examples, by_example, run, scratch
from ...net.fillers import Filler
from ...net.layer import Layer


class RowLayout(NamedTuple):
    """x as examples x groups x parts x values: each group of an example is a row, each part has its own w and b."""

    examples: int
    groups: int
    parts: int
    values: int


class RowNorm(Layer):
    """ŷ = (x - μ) / s for each row, y = ŷ or w ŷ + b. ``layout`` of a type says what a row is, ``divisor`` what s is.

    Backward, with a = dŷ: dx = (a - mean(a) - ŷ mean(a ŷ) f) / s, where f is how s follows σ: s dσ / (σ ds), 1 for
    s = √(σ² + eps) and s / σ for s = σ + eps; without a variance dx = a - mean(a).
    A block of examples goes through all steps while in the cache. ŷ is not kept: where it is not y, backward takes
    x - μ again, which costs less than writing it down.
    """

    normalizes = True
    backward_reads: tuple[str, ...] = ("top.data",)
    may_run_in_place = True
    divides = True
    learns = False

    def layout(self, shape: tuple[int, ...]) -> RowLayout:
        raise NotImplementedError

    def divisor(self, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(s, f) of each row."""
        raise NotImplementedError

    def learn(self, shape: tuple[int, ...]) -> None:
        """Give the layer w, initially 1, and b, initially 0."""
        self.learns, self.backward_reads = True, ("bottom.data",)
        self.add_blob(shape, Filler(value=1.0))
        self.add_blob(shape, Filler())

    def reshape(self, bottom, top):
        top[0].reshape(bottom[0].shape)
        self.N, self.G, P, Q = self.layout(bottom[0].shape)
        self.M = P * Q
        # w and b stand in a column, one for each part; where parts are short in a row, one for each value
        self.in_columns = Q > SHORT
        self.parts = (P, Q) if self.in_columns else (self.M, 1)

    def without_spread(self):
        return "takes mean and variance over single values, which have no variance" if self.M == 1 else ""

    def rows(self, *arrays):
        return [array.reshape(self.N, self.G, self.M) for array in arrays]

    def row_values(self):
        """Memory for μ, 1/s and f of each row."""
        return [self.buffer(name, (self.N, self.G, 1)) for name in ("mean", "1/s", "f")]

    def by_part(self, array):
        return array.reshape(len(array), self.G, *self.parts)

    def learned(self):
        """w and b, groups x parts x 1; None where nothing is learned."""
        both: list[Any] = []
        for i, blob in enumerate(self.blobs):
            values = scratch(f"learned {i}", (self.G, self.parts[0], 1), self.dtype)
            np.copyto(values.reshape(blob.count, values.size // blob.count), blob.data.reshape(blob.count, 1))
            both.append(values)
        return both or [None, None]

    def Forward_cpu(self, bottom, top):
        if not bottom[0].count:
            return
        w, b = self.learned()

        def normalize(x, y, mean, inverse, f):
            np.add.reduce(x, axis=2, keepdims=True, out=mean)
            mean /= self.M
            np.subtract(x, mean, out=y)
            if not self.divides:
                return
            variance = np.einsum("ngm,ngm->ng", y, y)[..., None]
            variance /= self.M
            s, f[...] = self.divisor(variance)
            np.divide(1, s, out=inverse)
            if self.learns and self.in_columns:
                y = self.by_part(y)
                y *= np.multiply(inverse[..., None], w, out=scratch("w/s", (*y.shape[:3], 1), y.dtype))
                y += b
                return
            y *= inverse
            if self.learns:
                y *= w[..., 0]
                y += b[..., 0]

        by_example(normalize, *self.rows(bottom[0].data, top[0].data), *self.row_values())

    def Backward_cpu(self, top, propagate_down, bottom):
        learning = self.learns and any(self.param_propagate_down)
        if not bottom[0].count or not (propagate_down[0] or learning):
            return
        x, dy, dx = self.rows((bottom if self.learns else top)[0].data, top[0].diff, bottom[0].diff)
        each_row = self.row_values()
        blocks = blocks_of_examples(self.N, x.size)
        w, _ = self.learned()
        if self.learns:  # the gradients of b and w from each example or, in rows, each block of examples
            count = self.N if self.in_columns else len(blocks)
            sums = self.buffer("sums", (count, 2, self.G, self.parts[0]))

        def some(i):
            block = blocks[i]
            mean, inverse, f = (values[block] for values in each_row)
            pieces = x[block], dy[block], dx[block] if propagate_down[0] else None
            if not self.learns:
                self.gradient(*pieces, inverse, f)
            elif self.in_columns:
                self.gradient_in_columns(*pieces, mean, inverse, f, w, sums[block])
            else:
                self.gradient_in_rows(*pieces, mean, inverse, f, w[..., 0], sums[i])

        run(some, len(blocks))
        if self.learns:
            for blob, parts, wanted in zip(
                self.blobs, (sums[:, 1], sums[:, 0]), self.param_propagate_down, strict=True
            ):
                if wanted:
                    self.add_sum(parts, blob)

    def add_sum(self, parts, blob):
        each = np.add.reduce(parts, axis=0, dtype=np.float64).ravel()
        total = each.reshape(blob.count, each.size // blob.count).sum(axis=1)
        blob.diff += total.reshape(blob.shape).astype(self.dtype)

    def gradient(self, hat, a, dx, inverse, f):
        """dx from ŷ and its gradient a, which may lie in dx."""
        mean = np.add.reduce(a, axis=2, keepdims=True)
        mean /= self.M
        if not self.divides:
            np.subtract(a, mean, out=dx)
            return
        along = np.einsum("ngm,ngm->ng", a, hat)[..., None]
        along /= self.M
        along *= f
        along = np.multiply(hat, along, out=scratch("along", a.shape, a.dtype))
        along += mean
        np.subtract(a, along, out=dx)
        dx *= inverse

    def gradient_in_rows(self, x, dy, dx, mean, inverse, f, w, sums):
        """Of x and, summed over the examples, of b and w."""
        hat = np.subtract(x, mean, out=scratch("hat", x.shape, x.dtype))
        hat *= inverse
        product = np.multiply(dy, hat, out=scratch("along", x.shape, x.dtype))
        for total, array in zip(sums, (dy, product), strict=True):
            np.add.reduce(array, axis=0, out=total.reshape(array.shape[1:]))
        if dx is not None:
            self.gradient(hat, np.multiply(dy, w, out=dx), dx, inverse, f)

    def gradient_in_columns(self, x, dy, dx, mean, inverse, f, w, sums):
        """The same where w is one number for many values: a is not needed, its sums are those of dy times w."""
        centered = np.subtract(x, mean, out=scratch("hat", x.shape, x.dtype))
        dy, of_b, of_w = self.by_part(dy), sums[:, 0], sums[:, 1]
        np.add.reduce(dy, axis=3, out=of_b)
        np.einsum("ngpq,ngpq->ngp", dy, self.by_part(centered), out=of_w)
        of_w *= inverse
        if dx is None:
            return
        mean_a, along = (np.einsum("ngp,gp->ng", total, w[..., 0])[..., None] / self.M for total in (of_b, of_w))
        centered *= along * f * inverse * inverse
        centered += mean_a * inverse
        np.multiply(dy, inverse[..., None] * w, out=self.by_part(dx))
        dx -= centered
