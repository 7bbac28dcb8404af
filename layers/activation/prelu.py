"""PReLU: a ReLU that learns its slope below zero."""

from __future__ import annotations

import math

import numpy as np

from ...compute.channels import Channels, add_rounded
from ...compute.functions import negative_part, positive_part
from ...compute.parallel import scratch
from ...net.example import Example
from ...net.fillers import Filler
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class PReLU(Layer):
    """Parametric ReLU: y = max(x, 0) + a_c min(x, 0), with a slope a_c for each channel, or one for all.

    bottom[0]: x, N x C x any further axes.    top[0]: y, x's shape.
    blobs[0]: a, C; a scalar with channel_shared.
    Backward: dx = dy above zero, a_c dy at zero and below; da_c += Σ dy min(x, 0) over the channel.
    Initial values: 0.25.
    a is regularised like any parameter; ``param: {decay_mult: 0}`` exempts it.
    Errors: fewer than 2 axes; C changes after the first batch.
    Source: Caffe's PReLU; He et al. 2015.
    """

    class Parameters(Declared):
        filler: Filler = param(default=Filler(value=0.25), doc="initial values of a")
        channel_shared: bool = param(default=False, doc="one slope for all channels")

    backward_reads = ("bottom.data",)
    any_layout = True
    may_run_in_place = True
    examples = (
        Example([(4, 3)]),
        Example([(2, 3, 2, 2)], {"channel_shared": True, "filler": 0.1}),
        Example([(2, 2, 5, 7)], {"filler": {"type": "uniform", "min": -0.5, "max": 0.5}}),
    )

    def setup(self, bottom, top):
        if len(bottom[0].shape) < 2:
            raise ShapeError(f"needs N x C x …, got {format_shape(bottom[0].shape)}")
        self.C = bottom[0].shape[1]
        self.add_blob(() if self.p.channel_shared else (self.C,), self.p.filler)

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) < 2 or (shape[1] != self.C and not self.p.channel_shared):
            raise ShapeError(f"the slopes are those of {self.C} channels, got {format_shape(shape)}")
        super().reshape(bottom, top)
        if self.p.channel_shared:
            self.channels = Channels(shape[0], 1, math.prod(shape[1:]))
        else:
            self.channels = Channels.of(shape, bottom[0].channels_last)

    def slopes(self):
        return self.channels.spread("a", self.blobs[0].data, self.dtype)

    def Forward_cpu(self, bottom, top):
        def rectify(x, y, a):
            below = negative_part(x, out=scratch("below", x.shape, x.dtype))
            below *= a
            positive_part(x, out=y)
            y += below

        self.channels.each(rectify, [bottom[0].data, top[0].data], [self.slopes()])

    def Backward_cpu(self, top, propagate_down, bottom):
        x, dy = bottom[0].data, top[0].diff
        if self.param_propagate_down[0]:
            add_rounded(self.channels.sums([self.slope_gradient], [x, dy]), self.blobs[0].diff)
        if propagate_down[0]:
            self.channels.each(self.gradient, [x, dy, bottom[0].diff], [self.slopes()])

    def slope_gradient(self, x, dy):
        below = negative_part(x, out=scratch("below", x.shape, x.dtype))
        below *= dy
        return below

    def gradient(self, x, dy, dx, a):
        above = np.greater(x, 0, out=scratch("above", x.shape, bool))
        slope = np.multiply(
            a, np.logical_not(above, out=scratch("below", x.shape, bool)), out=scratch("slope", x.shape, x.dtype)
        )
        slope += above
        np.multiply(dy, slope, out=dx)
