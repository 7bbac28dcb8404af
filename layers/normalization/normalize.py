"""Normalize: vectors brought to length 1, and a learned factor."""

from __future__ import annotations

import math

import numpy as np

from ...compute.channels import add_rounded
from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class Normalize(Layer):
    """y = s x / √(Σ x² + eps), over each example or, with ``across_spatial: false``, over the channels of each place.

    bottom[0]: x, N x C x any further axes.    top[0]: y, x's shape.
    blobs[0]: s, one number for all; with ``channel_shared: false`` C, one for each channel.
    Backward: with the length r = √(Σ x² + eps) and ŷ = x / r: ds = Σ dy ŷ, dx = (s dy - ŷ Σ s dy ŷ) / r.
    Initial values: s one, from ``scale_filler``. SSD begins with 20.
    Errors: fewer than 2 axes; with a factor for each channel, C changes after the first batch.
    Source: SSD's Normalize (Liu et al. 2016), ParseNet (Liu, Rabinovich, Berg 2015).
    """

    class Parameters(Declared):
        across_spatial: bool = param(default=True, doc="one length for an example; false: one for each place")
        channel_shared: bool = param(default=True, doc="one factor for all channels; false: one for each")
        scale_filler: Filler = param(default=Filler(value=1.0), doc="initial values of s")
        eps: float = param(default=1e-10, above=0, doc="added to the sum of squares")

        aliases = {"norm_param": "write its fields beside type"}

    backward_reads = ("bottom.data",)
    any_layout = True
    may_run_in_place = True
    normalizes = True
    examples = (
        Example([(2, 3, 2, 2)]),
        Example([(2, 3, 4)], {"across_spatial": False, "channel_shared": False, "scale_filler": "gaussian"}),
        Example([(2, 3, 2, 2)], {"across_spatial": False, "scale_filler": 20, "eps": 0.5}),
        Example([(3, 4)], {"channel_shared": False, "eps": 2}),
    )

    def setup(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) < 2:
            raise ShapeError(f"needs N x C x …, got {format_shape(shape)}")
        self.C = shape[1]
        self.add_blob(() if self.p.channel_shared else (self.C,), self.p.scale_filler)
        self.over = (1, 2) if self.p.across_spatial else (1,)

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) < 2 or (shape[1] != self.C and not self.p.channel_shared):
            raise ShapeError(f"normalizes {self.C} channels, got {format_shape(shape)}")
        super().reshape(bottom, top)

    def by_place(self, *arrays):
        """N x C x places, as views in any memory order."""
        return [array.reshape(*array.shape[:2], math.prod(array.shape[2:])) for array in arrays]

    @property
    def factor(self):
        return self.blobs[0].data.reshape(1, -1, 1)

    def scratch(self, name, x):
        return scratch(name, x.shape, x.dtype, self.last)

    def Forward_cpu(self, bottom, top):
        s, self.last = self.factor, bottom[0].channels_last
        x, y = self.by_place(bottom[0].data, top[0].data)
        self.inverse = self.buffer("1/length", (len(x), 1, 1 if self.p.across_spatial else x.shape[2]))

        def normalize(x, y, inverse):
            np.add.reduce(np.square(x, out=self.scratch("squares", x)), axis=self.over, keepdims=True, out=inverse)
            inverse += self.p.eps
            np.sqrt(inverse, out=inverse)
            np.divide(1, inverse, out=inverse)
            np.multiply(x, inverse, out=y)
            y *= s

        by_example(normalize, x, y, self.inverse)

    def Backward_cpu(self, top, propagate_down, bottom):
        s = self.factor
        x, dy = self.by_place(bottom[0].data, top[0].diff)
        sums = self.buffer("sums", x.shape[:2])  # Σ dy ŷ of each channel of each example
        dx = self.by_place(bottom[0].diff) if propagate_down[0] else []

        def gradient(x, dy, inverse, sums, dx=None):
            hat = np.multiply(x, inverse, out=self.scratch("hat", x))
            product = np.multiply(dy, hat, out=self.scratch("product", x))
            np.add.reduce(product, axis=2, out=sums)
            if dx is not None:
                product *= s
                hat *= np.add.reduce(product, axis=self.over, keepdims=True)
                np.multiply(dy, s, out=dx)
                dx -= hat
                dx *= inverse

        by_example(gradient, x, dy, self.inverse, sums, *dx)
        if self.param_propagate_down[0]:
            total = np.add.reduce(sums, axis=0, dtype=np.float64)
            add_rounded(total.sum() if self.p.channel_shared else total, self.blobs[0].diff)
