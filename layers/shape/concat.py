"""Concat: blobs one after the other."""

from __future__ import annotations

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError
from .cutting import cut, join


@register
class Concat(Layer):
    """The bottoms one after the other along ``axis``.

    bottom[i]: x_i, equal shapes except on that axis.    top[0]: their sizes along the axis added up.
    Backward: dx_i = the part of dy that came from x_i.
    Source: Caffe's Concat.
    """

    class Parameters(Declared):
        axis: int | None = param(
            default=None, doc="axis along which blobs are joined, 1 when left out; negative counts from the end"
        )
        concat_dim: int | None = param(default=None, minimum=0, doc="Caffe's old name for axis")

        exclusive = (("axis", "concat_dim"),)

    num_bottoms = (1, None)
    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 3, 2), (2, 1, 2)]),
        Example([(2, 3), (1, 3), (3, 3)], {"axis": 0}),
        Example([(2, 3, 2), (2, 3, 4)], {"axis": -1}),
    )

    def reshape(self, bottom, top):
        first = bottom[0].shape
        self.axis = bottom[0].canonical_axis(
            next(axis for axis in (self.p.concat_dim, self.p.axis, 1) if axis is not None), ("concat_dim", "axis")
        )
        for blob in bottom[1:]:
            equal = f"every axis but axis {self.axis}, along which blobs are joined, must be equal"
            if len(blob.shape) != len(first):
                raise ShapeError(f"{equal}; the numbers of axes differ")
            for i, (a, b) in enumerate(zip(first, blob.shape, strict=True)):
                if a != b and i != self.axis:
                    raise ShapeError(f"{equal}; axis {i} differs, {a} and {b}")
        total = sum(blob.shape[self.axis] for blob in bottom)
        top[0].reshape((*first[: self.axis], total, *first[self.axis + 1 :]), channels_last=bottom[0].channels_last)

    def in_words(self):
        return "joined: each input gets its part of the gradient"

    def Forward_cpu(self, bottom, top):
        join([blob.data for blob in bottom], top[0].data, self.axis)

    def Backward_cpu(self, top, propagate_down, bottom):
        ends = np.cumsum([blob.shape[self.axis] for blob in bottom])[:-1].tolist()
        parts = [blob.diff if flag else None for blob, flag in zip(bottom, propagate_down, strict=True)]
        cut(top[0].diff, parts, ends, self.axis)
