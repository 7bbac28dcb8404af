"""Reshape: the same values in another shape."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...net.example import Example
from ...net.layer import ReshapingLayer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from .shapes import Shape


class NewShape(Shape):
    """A shape in which 0 copies the bottom's size and one -1 is inferred."""

    words = "a shape such as [0, -1, 5]"
    least = -1


@register
class Reshape(ReshapingLayer):
    """The same values with the axes ``axis`` … ``axis + num_axes`` replaced by ``shape``.

    bottom[0]: x, any shape.    top[0]: x in the new shape; 0 copies the size of the same axis of x, one -1 is inferred.
    Backward: dx = dy, in x's shape.
    Errors: a different number of values; a 0 where x has no axis; no integer that fits the -1.
    Source: Caffe's Reshape.
    """

    class Parameters(Declared):
        shape: NewShape = param(doc="the new sizes; 0 copies, one -1 is inferred")
        axis: int = param(default=0, doc="first axis that is replaced; -1 appends")
        num_axes: int = param(default=-1, minimum=-1, doc="how many axes are replaced; -1 all from axis on")

        aliases = {"reshape_param": "write shape beside type", "dim": "shape"}

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.shape.count(-1) > 1:
                yield "shape", "may have only one -1"

    examples = (
        Example([(2, 3, 4)], {"shape": [0, -1]}),
        Example([(2, 6)], {"shape": [3, 2], "axis": 1}),
        Example([(2, 3, 4)], {"shape": {"dim": [12]}, "axis": 1, "num_axes": 2}),
        Example([(2, 3)], {"shape": [1, 1], "axis": -1, "num_axes": 0}),
    )

    def reshape(self, bottom, top):
        old, p = bottom[0].shape, self.p
        first = p.axis if p.axis >= 0 else len(old) + 1 + p.axis
        if not 0 <= first <= len(old):
            raise ShapeError(f"axis {p.axis} is outside {format_shape(old)}", key="axis")
        end = len(old) if p.num_axes == -1 else first + p.num_axes
        if end > len(old):
            raise ShapeError(
                f"{p.num_axes} axes from axis {first} on are more than {format_shape(old)} has", key="num_axes"
            )
        sizes = []
        for i, size in enumerate(p.shape):
            if size == 0 and first + i >= len(old):
                raise ShapeError(
                    f"the 0 at position {i} copies axis {first + i}, which {format_shape(old)} does not have",
                    key="shape",
                )
            sizes.append(old[first + i] if size == 0 else size)
        known = math.prod(old[:first]) * math.prod(size for size in sizes if size != -1) * math.prod(old[end:])
        if -1 in sizes:
            if known == 0 or math.prod(old) % known:
                raise ShapeError(
                    f"{format_shape(old)} has {math.prod(old)} values, not a multiple of {known}", key="shape"
                )
            sizes[sizes.index(-1)] = math.prod(old) // known
        new = (*old[:first], *sizes, *old[end:])
        if math.prod(new) != math.prod(old):
            raise ShapeError(
                f"{format_shape(old)} has {math.prod(old)} values, {format_shape(new)} has {math.prod(new)}",
                key="shape",
            )
        top[0].reshape(new)
