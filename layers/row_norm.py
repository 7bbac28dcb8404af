"""What the normalizations of rows share: each row of M values is brought to mean 0 and, usually, variance 1."""

from __future__ import annotations

import numpy as np

from ..net.parallel import scratch
from .affine import Affine
from .channels import Channels
from .layer import Layer


class RowNorm(Layer):
    """ŷ = (x - μ) / s for each row, y = ŷ or w ŷ + b. ``rows`` of a type says how x is cut, ``divisor`` what s is.

    Backward, with a_i = dŷ_i: dx = (a - mean(a) - ŷ mean(a ŷ) f) / s, where f is how s follows σ: s dσ / (σ ds), 1 for
    s = √(σ² + eps) and s / σ for s = σ + eps; without a variance dx = a - mean(a).
    """

    backward_reads: tuple[str, ...] = ("top.data",)
    may_run_in_place = True
    affine: Affine | None = None
    divides = True

    def rows(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(number of rows, M)."""
        raise NotImplementedError

    def divisor(self, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(s, f) of each row."""
        raise NotImplementedError

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.R, self.M = self.rows(bottom[0].shape)
        self.channels = Channels(1, self.R, self.M)

    def hat(self, top):
        """ŷ, which is y where nothing is learned."""
        return self.buffer("hat", top[0].shape) if self.affine else top[0].data

    def spread(self, name, values):
        return self.channels.spread(name, values, self.dtype)

    def Forward_cpu(self, bottom, top):
        if not bottom[0].count:
            return
        x, hat = bottom[0].data, self.hat(top)
        mean = self.channels.sums([lambda x: x], [x])[0] / self.M
        if self.divides:
            variance = self.channels.sums([self.center], [x, hat], [self.spread("mean", mean)])[0] / self.M
            s, self.f = self.divisor(variance)
            self.inverse = 1 / s
            self.channels.each(self.multiply, [hat], [self.spread("1/s", self.inverse)])
        else:
            self.channels.each(
                lambda x, hat, mean: np.subtract(x, mean, out=hat), [x, hat], [self.spread("mean", mean)]
            )
        if self.affine:
            self.affine.forward(hat, top[0].data)

    def center(self, x, hat, mean):
        """ŷ = x - μ for now; gives its square."""
        np.subtract(x, mean, out=hat)
        return np.square(hat, out=scratch("square", hat.shape, hat.dtype))

    def multiply(self, hat, inverse):
        hat *= inverse

    def Backward_cpu(self, top, propagate_down, bottom):
        if not bottom[0].count:
            return
        dy, hat, dx = top[0].diff, self.hat(top), bottom[0].diff
        if self.affine:
            self.affine.backward(hat, dy)
        if not propagate_down[0]:
            return
        a = self.affine.gradient(dy, out=dx) if self.affine else dy
        if not self.divides:
            mean = self.channels.sums([lambda a: a], [a])[0] / self.M
            self.channels.each(lambda a, dx, mean: np.subtract(a, mean, out=dx), [a, dx], [self.spread("mean", mean)])
            return
        means = self.channels.sums([lambda hat, a: a, self.product], [hat, a]) / self.M
        values = [means[0], means[1] * self.f, self.inverse]
        spread = [self.spread(f"value {i}", value) for i, value in enumerate(values)]
        self.channels.each(self.gradient, [hat, a, dx], spread)

    def product(self, hat, a):
        return np.multiply(hat, a, out=scratch("a y", a.shape, a.dtype))

    def gradient(self, hat, a, dx, mean_a, mean_a_hat, inverse):
        along = np.multiply(hat, mean_a_hat, out=scratch("along", a.shape, a.dtype))
        along += mean_a
        np.subtract(a, along, out=dx)
        dx *= inverse
