"""SPP: spatial pyramid pooling."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...compute.parallel import blockwise
from ...net.blob import Blob
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .pooling import Pooling, PoolingParameters, positive


class Bins(Pooling):
    """Pooling into ``bins`` x ``bins`` windows that do not overlap, whatever the image's size."""

    bins = 1

    def geometry(self, sizes):
        kernel = tuple(-(-size // self.bins) for size in sizes)
        # the overhang of the windows is divided between both sides, and an odd one goes to the top and left
        pad = tuple((k * self.bins - size + 1) // 2 for k, size in zip(kernel, sizes, strict=True))
        return kernel, kernel, pad, pad


@register
class SPP(Layer):
    """Pool an image of any size into 1 x 1, 2 x 2, 4 x 4, … bins, and lay the levels side by side.

    bottom[0]: x, N x C x H x W.    top[0]: y, N x C·Σ 4^i for the levels i = 0 … pyramid_height - 1, each of them
    C x 2^i x 2^i; with one level only, N x C x 1 x 1.
    Level i is Pooling with kernel = stride = ceil(size / 2^i) and pad = floor((kernel 2^i - size + 1) / 2), so AVE
    counts the zeros of that border.
    Backward: dx = the sum over the levels of Pooling's dx.
    Errors: an image so small that a level's pad would be as large as its kernel; a level with a pad for STOCHASTIC.
    Source: Caffe's SPP; He et al. 2014.
    """

    class Parameters(Declared):
        pyramid_height: int = param(minimum=1, maximum=15, doc="number of levels; level i has 2^i x 2^i bins")
        pool: Literal["MAX", "AVE", "STOCHASTIC"] = param(default="MAX", doc="how a bin is pooled; as in Pooling")

    any_layout = True
    examples = (
        Example([(2, 2, 4, 5)], {"pyramid_height": 2}),
        Example([(1, 2, 6, 7)], {"pyramid_height": 3, "pool": "AVE"}),
        Example([(2, 3, 3, 2)], {"pyramid_height": 1}),
        Example([(1, 2, 4, 4)], {"pyramid_height": 2, "pool": "STOCHASTIC"}, {0: positive}),
        Example([(1, 2, 4, 4)], {"pyramid_height": 2, "pool": "STOCHASTIC"}, {0: positive}, phase="TEST"),
    )

    def setup(self, bottom, top):
        self.levels, self.pooled = [], []
        for i in range(self.p.pyramid_height):
            parameters = PoolingParameters(pool=self.p.pool, kernel_size=1)
            level = Bins(parameters, name=self.name, phase=self.phase, seed=self.seed, dtype=self.dtype)
            level.bins, level.part_of = 2**i, self
            self.levels.append(level)
            self.pooled.append(Blob((), self.dtype))
        self.backward_reads = tuple({"bottom.data"} & set(self.levels[0].backward_reads))
        self.one = Blob((), self.dtype)  # the gradient of one level

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) != 4 or 0 in shape[2:]:
            raise ShapeError(f"needs N x C x H x W with at least one pixel, got {format_shape(shape)}")
        for i, (level, y) in enumerate(zip(self.levels, self.pooled, strict=True)):
            self.check(i, shape[2:], *level.geometry(shape[2:]))
            level.reshape(bottom, [y])
        self.one.reshape(shape, channels_last=bottom[0].channels_last)
        if len(self.levels) == 1:
            top[0].reshape(self.pooled[0].shape, channels_last=bottom[0].channels_last)
        else:
            top[0].reshape((shape[0], sum(shape[1] * level.bins**2 for level in self.levels)))

    def check(self, i, sizes, kernel, _, pad, __):
        where = f"level {i} of the pyramid, {2**i} x {2**i} bins of {format_shape(sizes)} pixels"
        if any(pad) and self.p.pool == "STOCHASTIC":
            raise ShapeError(
                f"{where}: pads {format_shape(pad)}, and STOCHASTIC takes none; the sizes must be multiples of {2**i}",
                key="pool",
            )
        if any(pad) and any(p >= k for p, k in zip(pad, kernel, strict=True)):
            raise ShapeError(
                f"{where}: pad {format_shape(pad)} must be smaller than the kernel {format_shape(kernel)}",
                key="pyramid_height",
                hint=f"use pyramid_height <= {i}, or larger images",
            )

    def pieces(self, top):
        """The part of the top that belongs to each level, in the level's shape."""
        if len(self.levels) == 1:
            return [top]
        ends = np.cumsum([y.count // max(1, len(top)) for y in self.pooled])
        starts = [0, *ends[:-1]]
        return [top[:, a:b].reshape(y.shape) for a, b, y in zip(starts, ends, self.pooled, strict=True)]

    def Forward_cpu(self, bottom, top):
        for level, y, piece in zip(self.levels, self.pooled, self.pieces(top[0].data), strict=True):
            level.Forward_cpu(bottom, [y])
            np.copyto(piece, y.data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if not propagate_down[0]:
            return
        self.one.share_data(bottom[0])
        for level, y, piece in zip(self.levels, self.pooled, self.pieces(top[0].diff), strict=True):
            np.copyto(y.diff, piece)
            into = bottom[0] if level.bins == 1 else self.one
            level.Backward_cpu([y], propagate_down, [into])
            if level.bins > 1:
                blockwise(np.add, bottom[0].diff, self.one.diff, bottom[0].diff)
