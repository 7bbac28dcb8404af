"""Crop: a part of a blob, as large as another one."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class Crop(Layer):
    """The part of x that begins at the offsets and has the size of r, on every axis from ``axis`` on.

    bottom[0]: x, any shape.    bottom[1]: r, of which only the sizes matter.
    top[0]: y_i = x_(i + offset), x's sizes before ``axis`` and r's from there on.
    Backward: dx = dy inside the part and 0 around it; dr = 0.
    Errors: a part that reaches beyond x; a number of offsets that is not 0, 1 or that of the axes; too few axes of r.
    Source: Caffe's Crop.
    """

    class Parameters(Declared):
        axis: int = param(default=2, doc="first axis that is cropped; negative counts from the end")
        offset: tuple[int, ...] = param(
            default=(), minimum=0, doc="where the part begins: one number, or one for each axis from axis on"
        )

        aliases = {"crop_param": "write its fields beside type", "offsets": "offset"}

    num_bottoms = 2
    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 2, 3, 4), (1, 1, 2, 3)]),
        Example([(2, 2, 3, 4), (2, 2, 2, 2)], {"offset": [1, 2]}),
        Example([(3, 4), (2, 2)], {"axis": 0, "offset": 1}),
        Example([(2, 3, 4), (1, 1, 2)], {"axis": -1, "offset": [1]}),
    )

    def reshape(self, bottom, top):
        shape, other = bottom[0].shape, bottom[1].shape
        first = bottom[0].canonical_axis(self.p.axis)
        cropped = len(shape) - first
        if len(self.p.offset) not in (0, 1, cropped):
            raise ShapeError(
                f"{format_shape(shape)} has {cropped} axes from axis {first} on, got {len(self.p.offset)} offsets",
                key="offset",
            )
        if len(other) < len(shape):
            raise ShapeError(
                f"the size must be given for every axis up to {len(shape) - 1}, "
                f"got a bottom of {format_shape(other)} for one of {format_shape(shape)}"
            )
        offsets = self.p.offset if len(self.p.offset) == cropped else (self.p.offset or (0,)) * cropped
        sizes = other[first : len(shape)]
        for i, (offset, size) in enumerate(zip(offsets, sizes, strict=True), first):
            if offset + size > shape[i]:
                raise ShapeError(
                    f"the crop of axis {i} ends at {offset} + {size} = {offset + size}, "
                    f"beyond the {shape[i]} of {format_shape(shape)}",
                    key=("offset", "axis"),
                )
        inside = (slice(offset, offset + size) for offset, size in zip(offsets, sizes, strict=True))
        self.part = (*(slice(None),) * first, *inside)
        top[0].reshape((*shape[:first], *sizes), channels_last=bottom[0].channels_last)

    def Forward_cpu(self, bottom, top):
        blockwise(np.copyto, top[0].data, bottom[0].data[self.part])

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff.fill(0)
            blockwise(np.copyto, bottom[0].diff[self.part], top[0].diff)
        if propagate_down[1]:
            bottom[1].diff.fill(0)
