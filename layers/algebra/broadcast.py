"""What Scale and Bias share: values that some axes of x have and that are the same along all others."""

from __future__ import annotations

import math

import numpy as np

from ...compute.channels import Channels
from ...net.layer import Layer
from ...spec.errors import ShapeError, format_shape


class Broadcast(Layer):
    """Values of the shape of ``num_axes`` axes of x from ``axis`` on: a second bottom, or a parameter.

    ``letter`` is the name of the values in the type's formula; ``has_bias`` says that offsets are learned too.
    """

    num_bottoms = (1, 2)
    any_layout = True
    may_run_in_place = True
    letter = "s"

    @property
    def has_bias(self) -> bool:
        return getattr(self.p, "bias_term", False)

    def setup(self, bottom, top):
        if len(bottom) == 2:
            self.shape = bottom[1].shape
        else:
            axis, count = bottom[0].canonical_axis(self.p.axis), self.p.num_axes
            if count > len(bottom[0].shape) - axis:
                raise ShapeError(
                    f"{format_shape(bottom[0].shape)} has {len(bottom[0].shape) - axis} axes from axis {axis} on, "
                    f"{self.letter} cannot have {count}",
                    key=("num_axes", "axis"),
                )
            self.shape = bottom[0].shape[axis : None if count == -1 else axis + count]
            self.add_blob(self.shape, self.p.filler)
        if self.has_bias:
            self.add_blob(self.shape, self.p.bias_filler)

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(bottom) == 2:
            if self.has_bias and bottom[1].shape != self.shape:
                raise ShapeError(
                    f"b has {format_shape(self.shape)} values, got a second bottom of {format_shape(bottom[1].shape)}"
                )
            if len(bottom[1].shape) != len(self.shape):
                raise ShapeError(
                    f"{self.letter} must keep its {len(self.shape)} axes, got {format_shape(bottom[1].shape)}"
                )
            self.shape = bottom[1].shape
        axis = bottom[0].canonical_axis(self.p.axis) if self.shape else 0
        end = axis + len(self.shape)
        if shape[axis:end] != self.shape:
            raise ShapeError(
                f"{self.letter} has the shape {format_shape(self.shape)}, which is not that of "
                f"{format_shape(shape)} from axis {axis} on"
            )
        outer, count, inner = (math.prod(part) for part in (shape[:axis], self.shape, shape[end:]))
        if not self.shape:
            outer, inner = (shape[0], math.prod(shape[1:])) if shape else (1, 1)
        # in channels-last memory only a factor for each channel stands where the formulas look for it
        last = bottom[0].channels_last and len(shape) > 2
        self.as_it_lies = not last or (axis, end) == (1, 2) or not self.shape
        if last and (axis, end) == (1, 2):
            outer, inner = outer * inner, 1
        self.channels = Channels(outer, count, inner)
        top[0].reshape(shape, channels_last=bottom[0].channels_last and self.as_it_lies)

    def plain(self, name, array):
        """The array in the order of its axes; a copy where it is not."""
        if array.flags.c_contiguous:
            return array
        copy = self.buffer(name, array.shape)
        np.copyto(copy, array)
        return copy

    def as_axes_go(self, bottom):
        """x in an order of memory that the values fit."""
        return bottom[0].data if self.as_it_lies else self.plain("x", bottom[0].data)

    def values(self, bottom):
        """The values, as they are spread over blocks."""
        s = self.plain("values", bottom[1].data if len(bottom) == 2 else self.blobs[0].data)
        return self.channels.spread("values", s, self.dtype)
