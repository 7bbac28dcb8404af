"""LRN: local response normalization."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class LRN(Layer):
    """Local response normalization: each value is divided by a power of the mean square around it.

    s = k + a Σ x² over the window,    y = x s^-beta
    ACROSS_CHANNELS: the window is local_size channels at the same place, a = alpha / local_size.
    WITHIN_CHANNEL: it is local_size x local_size places of the same channel, a = alpha / local_size², and k is 1
    whatever is given. What lies outside counts as zero in both.
    bottom[0]: x, N x C x H x W.    top[0]: y, x's shape.
    Backward: dx = dy s^-beta - 2 a beta x Σ dy y / s, summed over the same window.
    s^-beta is computed by square roots where 4 beta is an integer, as in AlexNet: in a fifth of a power's time.
    Errors: an even local_size; not 4 axes.
    Source: Caffe's LRN; Krizhevsky, Sutskever, Hinton 2012.
    """

    class Parameters(Declared):
        local_size: int = param(default=5, minimum=1, doc="width of the window, odd")
        alpha: float = param(default=1.0, doc="weight of the mean square")
        beta: float = param(default=0.75, doc="exponent")
        k: float = param(default=1.0, doc="what is added to the mean square; ACROSS_CHANNELS only")
        norm_region: Literal["ACROSS_CHANNELS", "WITHIN_CHANNEL"] = param(
            default="ACROSS_CHANNELS", doc="window over channels, or over places of one channel"
        )

        aliases = {"size": "local_size", "n": "local_size"}

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.local_size % 2 == 0:
                yield "local_size", f"must be odd, so that the window has a middle, got {self.local_size}"

    any_layout = True
    examples = (
        Example([(2, 7, 2, 3)]),
        Example([(2, 4, 3, 2)], {"local_size": 3, "alpha": 0.5, "beta": 0.6, "k": 2}),
        Example([(1, 2, 5, 4)], {"local_size": 3, "norm_region": "WITHIN_CHANNEL", "alpha": 2}),
        Example([(2, 2, 2, 3)], {"local_size": 5, "norm_region": "WITHIN_CHANNEL", "beta": 1}),
        Example([(1, 1, 2, 2)], {"local_size": 1, "beta": 0.25}),
    )

    def setup(self, bottom, top):
        within = self.p.norm_region == "WITHIN_CHANNEL"
        self.axes: tuple[int, ...] = (2, 3) if within else (1,)
        self.k: float = 1.0 if within else self.p.k
        self.a = self.p.alpha / self.p.local_size ** len(self.axes)

    def reshape(self, bottom, top):
        if len(bottom[0].shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(bottom[0].shape)}")
        super().reshape(bottom, top)

    def Forward_cpu(self, bottom, top):
        self.channels_last = bottom[0].channels_last
        self.s = self.buffer("s", bottom[0].shape, channels_last=self.channels_last)
        by_example(self.normalize, bottom[0].data, top[0].data, self.s)

    def normalize(self, x, y, s):
        np.square(x, out=s)
        self.window_sums(s)
        s *= self.a
        s += self.k
        np.divide(x, self.power(s), out=y)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            by_example(self.gradient, bottom[0].data, top[0].data, self.s, top[0].diff, bottom[0].diff)

    def gradient(self, x, y, s, dy, dx):
        sums = np.multiply(dy, y, out=self.scratch("sums", x.shape))
        sums /= s
        self.window_sums(sums)
        sums *= x
        sums *= 2 * self.a * self.p.beta
        np.divide(dy, self.power(s), out=dx)
        dx -= sums

    def window_sums(self, values):
        """Replace each value by the sum over its window."""
        for axis in self.axes:
            size = values.shape[axis]
            reach = max(0, min(self.p.local_size // 2, size - 1))  # beyond it there are only zeros
            wide = list(values.shape)
            wide[axis] += 2 * reach
            padded = self.scratch("padded", tuple(wide))
            padded.fill(0)
            along = [(slice(None),) * axis + (slice(i, i + size),) for i in range(2 * reach + 1)]
            np.copyto(padded[along[reach]], values)
            for i, where in enumerate(along):
                if i != reach:
                    values += padded[where]

    def power(self, s):
        """s^beta."""
        result = self.scratch("power", s.shape)
        quarters = 4 * self.p.beta
        if quarters not in (1, 2, 3, 4):
            np.log(s, out=result)
            result *= self.p.beta
            return np.exp(result, out=result)
        if quarters == 4:
            return s
        root = np.sqrt(s, out=self.scratch("root", s.shape))
        if quarters == 2:
            return root
        np.sqrt(root, out=result)
        if quarters == 3:
            result *= root
        return result

    def scratch(self, name, shape):
        return scratch(name, shape, self.dtype, self.channels_last)
