"""ROIPooling: the maxima of regions of images, in as many bins whatever a region's size."""

from __future__ import annotations

import math

import numpy as np

from ...compute.memory import memory_order
from ...compute.parallel import run, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, format_shape

FARTHEST = 2.0**40  # a corner beyond it lies outside every image all the same
TASKS = 16


def regions(rng, shape):
    """Values for an Example: regions of images of 6 x 7 at a scale of a half, the last one mostly outside."""
    some = [[0, 2.4, 0.4, 12.4, 10.4], [1, 4.4, 4.4, 4.4, 6.4], [0, -3.6, 8.4, 2.4, 24.4]]
    return np.resize(some, shape)


@register
class ROIPooling(Layer):
    """The largest x of each bin of a region, of pooled_h x pooled_w bins that cover it.

    bottom[0]: x, N x C x H x W.    bottom[1]: R x 5, for each region: the number n of its image, and its left, upper,
    right and lower pixel in an image that is 1 / spatial_scale as large. Both corners belong to it.
    top[0]: y, R x C x pooled_h x pooled_w.
    The corners times spatial_scale are rounded, halves away from zero. A region of h rows, at least one, has in bin i
    the rows from floor(i h / pooled_h) to ceil((i + 1) h / pooled_h) - 1, as far as the image has them, and columns
    likewise: bins may overlap by a row. Of equal values the first in reading order wins; an empty bin gives 0.
    Backward: dx = the sum of dy over all bins whose largest x it was. The regions get 0.
    Errors: not 4 axes of x; regions that are not of 5 numbers, not finite, or of an image that is not there.
    Source: Fast R-CNN (Girshick 2015), with its rounding.
    """

    class Parameters(Declared):
        pooled_h: int = param(minimum=1, doc="rows of bins")
        pooled_w: int = param(minimum=1, doc="columns of bins")
        spatial_scale: float = param(
            default=1.0, above=0, maximum=1000, doc="size of x / size of what the corners are pixels of"
        )

        aliases = {"roi_pooling_param": "write its fields beside type"}

    num_bottoms = 2
    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 2, 6, 7), (3, 5)], {"pooled_h": 3, "pooled_w": 2, "spatial_scale": 0.5}, {1: regions}),
        Example([(2, 1, 6, 7), (2, 5, 1, 1)], {"pooled_h": 1, "pooled_w": 4, "spatial_scale": 0.5}, {1: regions}),
    )

    def reshape(self, bottom, top):
        shape, rois = bottom[0].shape, bottom[1].shape
        if len(shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(shape)}")
        if not rois or math.prod(rois[1:]) != 5:
            raise ShapeError(f"the regions must be R x 5 (image, left, top, right, bottom), got {format_shape(rois)}")
        top[0].reshape((rois[0], shape[1], self.p.pooled_h, self.p.pooled_w))

    def Forward_cpu(self, bottom, top):
        x, y = bottom[0].data, top[0].data
        N, C, H, W = x.shape
        images = x.transpose(0, 2, 3, 1)
        if not bottom[0].channels_last:
            images = self.buffer("images", images.shape)
            np.copyto(images, x.transpose(0, 2, 3, 1))
        images = images.reshape(N, H * W, C)
        numbers, *edges = self.bins(bottom[1].data.reshape(len(y), 5).astype(np.float64), N, (H, W))
        # for each maximum 1 + where it is in the memory of x, 0 for none
        self.place = self.buffer("place", (len(y), *y.shape[2:], C), np.intp)
        step, channels = (C, np.arange(C)) if bottom[0].channels_last else (1, np.arange(C) * H * W)
        tasks = min(TASKS, len(y))

        def some(task):
            for r in range(task * len(y) // tasks, (task + 1) * len(y) // tasks):
                place = self.place[r]
                self.largest(images[numbers[r]], [edge[r] for edge in edges], W, y[r], place)
                there = place > 0
                place -= 1
                place *= step
                place += 1 + channels + numbers[r] * C * H * W
                place *= there

        run(some, tasks)

    def bins(self, rois, count, sizes):
        """The number of each region's image, and the first and last row + 1 of its bins, then columns: R x bins."""
        finite = np.isfinite(rois).all(axis=1)
        if not finite.all():
            raise NettrainError(f"region {np.argmin(finite)} has a corner that is not finite")
        numbers = np.rint(rois[:, 0])
        wrong = (numbers < 0) | (numbers >= count)
        if wrong.any():
            r = np.argmax(wrong)
            raise NettrainError(f"region {r} is of image {rois[r, 0]:g}, the batch has {count} (0..{count - 1})")
        with np.errstate(over="ignore"):  # infinity is as far outside
            scaled = (rois[:, 1:].astype(self.dtype) * self.dtype.type(self.p.spatial_scale)).astype(np.float64)
        corners = np.clip(np.trunc(scaled + np.copysign(0.5, scaled)), -FARTHEST, FARTHEST)
        edges = []
        for first, last, pieces, size in zip(
            corners.T[1::-1], corners.T[3:1:-1], (self.p.pooled_h, self.p.pooled_w), sizes, strict=True
        ):
            piece = np.maximum(last - first + 1, 1).astype(self.dtype) / self.dtype.type(pieces)
            along = np.arange(pieces + 1, dtype=self.dtype) * piece[:, None]
            edges += [np.floor(along[:, :-1]), np.ceil(along[:, 1:])]
            edges[-2:] = [np.clip(edge + first[:, None], 0, size).astype(np.intp) for edge in edges[-2:]]
        return numbers.astype(np.intp), *edges

    def largest(self, image, edges, width, y, place):
        """The maxima of the bins of one region, and 1 + at which pixel each is, 0 for none.

        It passes over the elements of all bins at once; small bins see their last rows and columns again, where nothing
        is larger than what was there before.
        """
        top, bottom, left, right = edges
        best, values = (scratch(name, place.shape, y.dtype) for name in ("best", "values"))
        larger, pixels = scratch("larger", place.shape, bool), scratch("pixels", place.shape, np.intp)
        best.fill(np.finfo(y.dtype).min)
        place.fill(0)
        for i in range((bottom - top).max()):
            row = np.minimum(top + i, bottom - 1)[:, None] * width
            for j in range((right - left).max()):
                pixel = row + np.minimum(left + j, right - 1)
                np.take(image, pixel, axis=0, out=values, mode="clip")
                np.greater(values, best, out=larger)
                np.fmax(best, values, out=best)
                np.multiply(larger, 1 + pixel[..., None], out=pixels)
                np.maximum(place, pixels, out=place)
        empty = (bottom <= top)[:, None] | (right <= left)
        best[empty] = 0
        place[empty] = 0
        np.copyto(y, best.transpose(2, 0, 1))

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dx, dy, place = bottom[0].diff, self.buffer("dy", self.place.shape), self.place
            np.copyto(dy, top[0].diff.transpose(0, 2, 3, 1))
            dx.fill(0)
            found = place > 0
            np.add.at(memory_order(dx), place[found] - 1, dy[found])
        if propagate_down[1]:
            bottom[1].diff.fill(0)
