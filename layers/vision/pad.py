"""Pad: a frame around a blob."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import numpy as np

from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape
from ...spec.node import Node
from ...spec.reader import MISSING, Reader
from ...spec.values import Bounds, ListOf, Whole


class Pads(tuple):
    """Pairs (before, after): from one number, or a list of numbers and of pairs."""

    words = "an integer >= 0, or one for each axis, each a number or [before, after]"
    size = Whole(Bounds(minimum=0))

    @classmethod
    def from_node(cls, reader: Reader, node: Node, what: str) -> Any:
        items = node.value if isinstance(node.value, list) else [node]
        pairs = []
        for i, item in enumerate(items):
            where = f"{what}[{i}]" if len(items) > 1 else what
            pair = ListOf(cls.size).from_node(reader, item, where)
            if pair is not MISSING and not 1 <= len(pair) <= 2:
                pair = reader.wrong(item, where, "an integer >= 0 or [before, after]")
            pairs.append(pair if pair is MISSING else (pair[0], pair[-1]))
        if not pairs:
            return reader.wrong(node, what, cls.words)
        return MISSING if any(pair is MISSING for pair in pairs) else cls(pairs)

    @classmethod
    def schema(cls) -> dict:
        size = cls.size.schema()
        pair = {"type": "array", "items": size, "minItems": 1, "maxItems": 2}
        return {"anyOf": [size, {"type": "array", "items": {"anyOf": [size, pair]}, "minItems": 1}]}


@register
class Pad(Layer):
    """A frame around x, on every axis from ``axis`` on: of a constant ``value``, of the nearest value (edge), or of
    what lies as far inside the border as the frame lies outside (reflect; the border itself is not repeated).

    bottom[0]: x, any shape.    top[0]: y, each padded axis longer by before + after.
    Backward: dx = the sum of dy over all places that x was copied to.
    Errors: a number of pads that is not 1 or that of the axes; reflect: a pad not smaller than the axis; edge: an
    axis without values.
    Source: numpy.pad, PyTorch's functional.pad (edge is its replicate).
    """

    class Parameters(Declared):
        pad: Pads = param(doc="one number, one for each axis from axis on, or [[before, after], …]")
        axis: int = param(default=2, doc="first axis that is padded; negative counts from the end")
        mode: Literal["constant", "reflect", "edge"] = param(default="constant", doc="what the frame is made of")
        value: float = param(default=0.0, doc="constant: the value")

        aliases = {"padding": "pad", "replicate": "mode: edge", "pad_size": "pad"}

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.value != 0 and self.mode != "constant":
                yield "value", f"works with constant only, not with {self.mode}"

    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 2, 3, 2)], {"pad": 1, "value": 0.5}),
        Example([(1, 2, 3, 4)], {"pad": [[2, 1], 3], "mode": "reflect"}),
        Example([(2, 3, 2)], {"pad": [[1, 2], [2, 0]], "axis": 1, "mode": "edge"}),
        Example([(3, 2)], {"pad": [[2, 1], 0], "axis": 0, "mode": "reflect"}),
        Example([(2, 3)], {"pad": [[0, 2]], "axis": -1, "mode": "edge"}),
    )

    def reshape(self, bottom, top):
        shape, pads = bottom[0].shape, self.p.pad
        first = bottom[0].canonical_axis(self.p.axis)
        axes = len(shape) - first
        if len(pads) not in (1, axes):
            raise ShapeError(
                f"{format_shape(shape)} has {axes} axes from axis {first} on, got {len(pads)} pads", key="pad"
            )
        self.pads = dict(enumerate(pads if len(pads) == axes else pads * axes, first))
        for axis, (before, after) in self.pads.items():
            if self.p.mode == "reflect" and max(before, after) >= max(1, shape[axis]):
                raise ShapeError(
                    f"reflect needs pads smaller than the axis: axis {axis} of {format_shape(shape)} can have at most "
                    f"{max(0, shape[axis] - 1)} on each side, got [{before}, {after}]",
                    key="pad",
                )
            if self.p.mode == "edge" and before + after and not shape[axis]:
                raise ShapeError(f"axis {axis} of {format_shape(shape)} has no edge to repeat", key="pad")
        sizes = (shape[axis] + before + after for axis, (before, after) in self.pads.items())
        top[0].reshape((*shape[:first], *sizes), channels_last=bottom[0].channels_last)

        self.whole = [slice(None)] * len(shape)
        self.inside = list(self.whole)
        for axis, (before, _) in self.pads.items():
            self.inside[axis] = slice(before, before + shape[axis])
        self.strips = [strip for axis in self.pads for strip in self.strips_of(axis, shape[axis])]

    def strips_of(self, axis, size):
        """(axis, strip of the frame, what is copied there) before and after x; corners come with the last axis."""
        before, after = self.pads[axis]
        last = before + size - 1
        if self.p.mode == "reflect":
            end = last - 1 - after
            sources = slice(2 * before, before, -1), slice(last - 1, end if end >= 0 else None, -1)
        else:
            sources = slice(before, before + 1), slice(last, last + 1)
        strips = slice(0, before), slice(last + 1, last + 1 + after)
        for strip, source, width in zip(strips, sources, (before, after), strict=True):
            if width:
                yield axis, *((*self.whole[:axis], part, *self.inside[axis + 1 :]) for part in (strip, source))

    def each(self, work, small, large):
        """Call ``work`` with both, in blocks of examples where these are not padded."""
        if self.pads.get(0, (0, 0)) == (0, 0):
            by_example(work, large, small)
        else:
            work(large, small)

    def Forward_cpu(self, bottom, top):
        self.each(self.frame, bottom[0].data, top[0].data)

    def frame(self, y, x):
        np.copyto(y[tuple(self.inside)], x)
        for _, strip, source in self.strips:
            np.copyto(y[strip], self.p.value if self.p.mode == "constant" else y[source])

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            self.last = bottom[0].channels_last
            self.each(self.gradient, bottom[0].diff, top[0].diff)

    def gradient(self, dy, dx):
        if self.p.mode != "constant":
            dy = self.folded(dy)
        np.copyto(dx, dy[tuple(self.inside)])

    def folded(self, dy):
        """dy with the frame added to what it is a copy of, axis by axis from the last."""
        folded = scratch("folded", dy.shape, dy.dtype, self.last)
        np.copyto(folded, dy)
        for axis, strip, source in reversed(self.strips):
            to, part = folded[source], folded[strip]
            if self.p.mode == "edge":
                part = np.add.reduce(part, axis=axis, keepdims=True, out=scratch("edge", to.shape, dy.dtype))
            to += part
        return folded
