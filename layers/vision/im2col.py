"""Im2col: every window of an image as a column."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import param
from ...spec.errors import ShapeError, format_shape
from .kernel import KernelParameters, output_size, padded_sizes


@register
class Im2col(Layer):
    """Lay out the windows of each channel: y[c·P + k, o] = x[c, o·stride + k·dilation - pad], zeros in the border.

    bottom[0]: x, N x C x (spatial axes).    top[0]: y, N x C·P x (output axes), where P is the number of elements of
    the kernel and k counts them, the last axis fastest. Output axes as those of Convolution, which is W y + b.
    Backward: dx[c, i] = Σ dy over all places that x[c, i] was copied to.
    Errors: a kernel larger than the padded input; no such axis.
    Source: Caffe's Im2col.
    """

    class Parameters(KernelParameters):
        axis: int = param(default=1, doc="the channel axis; spatial axes follow it, axes before it are examples")
        force_nd_im2col: bool = param(default=False, doc="Caffe's choice of algorithm; accepted, without effect")

    backward_reads = ()
    examples = (
        Example([(2, 2, 4, 3)], {"kernel_size": 2}),
        Example([(1, 2, 5, 4)], {"kernel_size": [3, 2], "stride": 2, "pad": [1, 0], "dilation": [1, 2]}),
        Example([(2, 5)], {"kernel_size": 3, "axis": 0, "pad": 1}),
        Example([(1, 2, 3, 2, 3)], {"kernel_size": 2, "stride": [1, 2, 1]}),
    )

    def setup(self, bottom, top):
        self.axis = bottom[0].canonical_axis(self.p.axis)
        self.kernel, self.stride, self.pad, self.dilation = self.p.geometry(len(bottom[0].shape) - self.axis - 1)

    def reshape(self, bottom, top):
        shape, a = bottom[0].shape, self.axis
        if len(shape) != a + 1 + len(self.kernel):
            raise ShapeError(
                f"the kernel has {len(self.kernel)} spatial axes, {format_shape(shape)} has a different number"
            )
        self.sizes = shape[a + 1 :]
        self.output = tuple(map(output_size, self.sizes, self.kernel, self.stride, self.pad, self.dilation))
        self.images = (math.prod(shape[:a]), shape[a])
        top[0].reshape((*shape[:a], shape[a] * math.prod(self.kernel), *self.output))
        self.padded = padded_sizes(shape[a], self.sizes, self.pad)
        self.inside: tuple[Any, ...] = (
            ...,
            *(slice(p, p + size) for size, p in zip(self.sizes, self.pad, strict=True)),
        )

    def Forward_cpu(self, bottom, top):
        def unfold(x, y):
            if any(self.pad):
                padded = scratch("padded", (*x.shape[:2], *self.padded), x.dtype)
                padded.fill(0)
                padded[self.inside] = x
                x = padded
            s = x.strides[2:]
            over = [size * d for size, d in zip(s, self.dilation, strict=True)]
            # with one window the stride has no meaning, and may be beyond what numpy can count
            along = [size * step if n > 1 else 0 for size, step, n in zip(s, self.stride, self.output, strict=True)]
            np.copyto(y, as_strided(x, y.shape, (*x.strides[:2], *over, *along)))

        by_example(unfold, *self.as_images(bottom[0].data, top[0].data))

    def Backward_cpu(self, top, propagate_down, bottom):
        def fold(dx, dy):
            padded = scratch("padded", (*dx.shape[:2], *self.padded), dx.dtype)
            padded.fill(0)
            for k in itertools.product(*map(range, self.kernel)):
                starts = [i * d for i, d in zip(k, self.dilation, strict=True)]
                where: tuple[Any, ...] = (..., *map(self.places, starts, self.stride, self.output))
                padded[where] += dy[:, :, *k]
            np.copyto(dx, padded[self.inside])

        if propagate_down[0]:
            by_example(fold, *self.as_images(bottom[0].diff, top[0].diff))

    def as_images(self, x, y):
        """x as N x C x (spatial axes), y as N x C x (kernel axes) x (output axes)."""
        return x.reshape(*self.images, *self.sizes), y.reshape(*self.images, *self.kernel, *self.output)

    @staticmethod
    def places(start, stride, count):
        """Where an element of the kernel meets the padded image."""
        return slice(start, start + (count - 1) * stride + 1, stride)
