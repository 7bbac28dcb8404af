"""Slice: a blob cut into several."""

from __future__ import annotations

from collections.abc import Iterable

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .cutting import cut, join


@register
class Slice(Layer):
    """Cut the bottom along ``axis``, at the slice points or into equal parts.

    bottom[0]: x, any shape.    top[i]: the part of x from slice_point[i-1] to slice_point[i].
    Backward: dx = the parts' dy one after the other.
    Errors: slice points that do not increase or lie outside; without them, a size not divisible by the number of tops.
    Source: Caffe's Slice.
    """

    class Parameters(Declared):
        axis: int | None = param(
            default=None, doc="axis along which the blob is cut, 1 when left out; negative counts from the end"
        )
        slice_point: tuple[int, ...] = param(default=(), minimum=1, doc="where to cut, one fewer than the tops")
        slice_dim: int | None = param(default=None, minimum=0, doc="Caffe's old name for axis")

        exclusive = (("axis", "slice_dim"),)

        def validate(self) -> Iterable[tuple[str, str]]:
            if any(a >= b for a, b in zip(self.slice_point, self.slice_point[1:], strict=False)):
                yield "slice_point", f"must increase, got {list(self.slice_point)}"

    num_tops = (1, None)
    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 6, 2)], {"slice_point": [1, 4]}, tops=3),
        Example([(4, 3)], {"axis": 0}, tops=2),
        Example([(2, 3)], tops=1),
    )

    def reshape(self, bottom, top):
        shape, count, points = bottom[0].shape, len(top), list(self.p.slice_point)
        self.axis = bottom[0].canonical_axis(
            next(axis for axis in (self.p.slice_dim, self.p.axis, 1) if axis is not None), ("slice_dim", "axis")
        )
        size = shape[self.axis]
        if not points:
            if size % count:
                raise ShapeError(f"axis {self.axis} of {format_shape(shape)} does not divide into {count} equal tops")
            points = [size // count * i for i in range(1, count)]
        if len(points) != count - 1:
            raise ShapeError(
                f"{count} tops need {count - 1} slice point{'' if count == 2 else 's'}, got {len(points)}",
                key="slice_point",
            )
        if self.p.slice_point and points[-1] >= size:
            raise ShapeError(
                f"slice point {points[-1]} is outside axis {self.axis} of {format_shape(shape)}", key="slice_point"
            )
        self.points = points
        for blob, start, stop in zip(top, [0, *points], [*points, size], strict=True):
            blob.reshape(
                (*shape[: self.axis], stop - start, *shape[self.axis + 1 :]), channels_last=bottom[0].channels_last
            )

    def in_words(self):
        return "cut: the parts' gradients one after the other"

    def Forward_cpu(self, bottom, top):
        cut(bottom[0].data, [blob.data for blob in top], self.points, self.axis)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            join([blob.diff for blob in top], bottom[0].diff, self.axis)
