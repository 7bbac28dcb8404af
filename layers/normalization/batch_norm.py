"""BatchNorm: every channel brought to mean 0 and variance 1."""

from __future__ import annotations

import math

import numpy as np

from ...compute.channels import Channels
from ...compute.parallel import scratch
from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.advice import say
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .affine import Affine


def some_statistics(layer):
    """What three batches may have left behind."""
    for blob, values in zip(layer.blobs, ([-2.0, 1, 0.5], [3.0, 1, 6], [2.5]), strict=False):
        blob.data[...] = values


@register
class BatchNorm(Layer):
    """Batch normalization: each channel is brought to mean 0 and variance 1: y = (x - μ) / σ, σ = √(v + eps).

    In TRAIN μ and v are the mean and variance (mean of (x - μ)²) of the batch: for each channel, over the m elements
    of all other axes. In TEST, or with use_global_stats, they are running statistics: μ = b0 / b2, v = b1 / b2
    (0 where b2 = 0: nothing has been seen).
    bottom[0]: x, N x C x any further axes.    top[0]: y, x's shape.
    blobs[0], C: b0 = λ b0 + μ.    blobs[1], C: b1 = λ b1 + v m / (m - 1).    blobs[2], 1: b2 = λ b2 + 1.
    They change in every forward pass in TRAIN (λ = moving_average_fraction), and are never learned: lr_mult is 0.
    Backward: dx = (dy - mean(dy) - y mean(dy y)) / σ; with running statistics dx = dy / σ.
    The variance is not E[x²] - μ², which loses all digits where μ is large.
    There is no scale and shift, as in Caffe, unless ``affine`` is set: then y = w ŷ + b, ŷ being the above, with
    blobs[3], C: w, at first one, and blobs[4], C: b, at first zero, learned like those of a Scale layer with bias_term.
    Initial values: zero.
    Errors: fewer than 2 axes; C changes after the first batch; an lr_mult other than 0.
    Source: Caffe's BatchNorm; Ioffe, Szegedy 2015.
    """

    class Parameters(Declared):
        use_global_stats: bool | None = param(
            default=None, doc="use the running statistics; left out: in TEST only. true in TRAIN freezes them"
        )
        moving_average_fraction: float = param(
            default=0.999, minimum=0, maximum=1, doc="λ, the share of the running statistics kept in each pass"
        )
        eps: float = param(default=1e-5, above=0, doc="added to the variance")
        affine: bool = param(default=False, doc="whether a factor and an offset for each channel are learned")

        aliases = {
            "epsilon": "eps",
            "momentum": "moving_average_fraction is the share that is kept (PyTorch's momentum is 1 minus it)",
            "scale": say("write affine: true, or add a Scale layer with {}", "bias_term: true"),
        }

    normalizes = True
    backward_reads: tuple[str, ...] = ("top.data",)
    any_layout = True
    may_run_in_place = True
    examples = (
        Example([(3, 2, 2, 2)]),
        Example([(5, 3)], {"eps": 0.5}),
        Example([(2, 2, 5, 7)]),
        Example([(2, 3, 2, 2)], phase="TEST", prepare=some_statistics),
        Example([(2, 3)], {"use_global_stats": True}, prepare=some_statistics),
        Example([(4, 2)], {"use_global_stats": False}, phase="TEST"),
        Example([(3, 2, 2, 2)], {"affine": True}),
        Example([(2, 3)], {"affine": True}, phase="TEST", prepare=some_statistics),
    )

    def setup(self, bottom, top):
        if len(bottom[0].shape) < 2:
            raise ShapeError(f"needs N x C x …, got {format_shape(bottom[0].shape)}")
        self.C = bottom[0].shape[1]
        for shape in ((self.C,), (self.C,), (1,)):
            self.add_blob(shape, Filler())
        self.param_propagate_down = [False] * 3
        self.use_global = self.phase == "TEST" if self.p.use_global_stats is None else self.p.use_global_stats
        self.moves_blobs = not self.use_global
        self.affine = Affine(self, (self.C,)) if self.p.affine else None
        if self.use_global or self.affine:
            self.backward_reads = ()

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) < 2 or shape[1] != self.C:
            raise ShapeError(f"the statistics are those of {self.C} channels, got {format_shape(shape)}")
        super().reshape(bottom, top)
        self.m = shape[0] * math.prod(shape[2:])
        self.channels = Channels.of(shape, bottom[0].channels_last)
        if self.affine:
            self.affine.reshape(self.channels)

    def unready(self):
        if not self.use_global or self.blobs[2].data[0]:
            return ""
        return f"has seen no batch yet: it assumes mean 0 and variance 0, and multiplies by {self.p.eps**-0.5:.3g}"

    def without_spread(self):
        if self.use_global or self.m != 1:
            return ""
        return (
            "takes mean and variance over one value of each channel, and a batch of one has no variance: take a larger "
            "batch_size, or use_global_stats: true"
        )

    def hat(self, top):
        """ŷ, which is y where nothing is learned."""
        return self.buffer("hat", top[0].shape, channels_last=top[0].channels_last) if self.affine else top[0].data

    def Forward_cpu(self, bottom, top):
        x, y = bottom[0].data, self.hat(top)
        if self.use_global:
            share = 1 / self.blobs[2].data[0] if self.blobs[2].data[0] else 0
            mean, variance = self.blobs[0].data * share, self.blobs[1].data * share
        elif self.m:
            mean, variance = self.channels.moments(x)
            self.remember(mean, variance)
        else:
            return
        self.inverse = (variance + self.p.eps) ** -0.5
        values = [self.spread("mean", mean), self.spread("1/σ", self.inverse)]
        if self.affine:
            self.channels.each(self.normalize, [x, y, top[0].data], [*values, *self.affine.values()])
        else:
            self.channels.each(self.normalize, [x, y], values)

    def spread(self, name, values):
        return self.channels.spread(name, values, self.dtype)

    def normalize(self, x, y, *more):
        scaled, (mean, inverse, *learned) = (more[0], more[1:]) if self.affine else (None, more)
        np.subtract(x, mean, out=y)
        y *= inverse
        if scaled is not None:
            np.multiply(y, learned[0], out=scaled)
            scaled += learned[1]

    def remember(self, mean, variance):
        """Add the batch to the running statistics; the variance as an estimate for what it was drawn from."""
        self.found_statistics(np.stack([mean, variance * (self.m / max(1, self.m - 1))]))

    def keep_statistics(self, statistics):
        for blob, values in zip(self.blobs, (*statistics, 1), strict=False):
            blob.data *= self.p.moving_average_fraction
            blob.data += values

    def Backward_cpu(self, top, propagate_down, bottom):
        """The sums that dx needs are those of db and dw: mean(w dy) = w mean(dy), and likewise with ŷ."""
        y, dy, dx = self.hat(top), top[0].diff, bottom[0].diff
        learns = self.affine is not None and self.affine.learns
        if not self.m or not (propagate_down[0] or learns):
            return
        if learns or not self.use_global:
            sums = self.channels.sums([lambda y, dy: (y, dy), lambda y, dy: dy], [y, dy])
            if self.affine is not None and learns:
                self.affine.add(sums)
            means = sums / self.m
        if not propagate_down[0]:
            return
        inverse = self.spread("1/σ", self.inverse * (self.affine.factor if self.affine else 1))
        if self.use_global:
            self.channels.each(self.scaled, [dy, dx], [inverse])
            return
        values = [self.spread("mean dy y", means[0]), self.spread("mean dy", means[1]), inverse]
        self.channels.each(self.gradient, [y, dy, dx], values)

    def scaled(self, dy, dx, inverse):
        np.multiply(dy, inverse, out=dx)

    def gradient(self, y, dy, dx, mean_dy_y, mean_dy, inverse):
        along = np.multiply(y, mean_dy_y, out=scratch("along", y.shape, y.dtype))
        along += mean_dy
        np.subtract(dy, along, out=dx)
        dx *= inverse
