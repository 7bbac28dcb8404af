"""Tile: a blob repeated along an axis."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import by_example
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class Tile(Layer):
    """The bottom ``tiles`` times along ``axis``, copy after copy, as numpy.tile does: a b a b, not a a b b.

    bottom[0]: x, any shape.    top[0]: y, its size on the axis times ``tiles``.
    Backward: dx = the sum of dy over the repetitions.
    Source: Caffe's Tile.
    """

    class Parameters(Declared):
        axis: int = param(default=1, doc="axis along which x is repeated; negative counts from the end")
        tiles: int = param(minimum=1, doc="the number of copies of x")

        aliases = {"tile_param": "write its fields beside type", "repeats": "tiles", "multiples": "tiles"}

    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 3, 2)], {"tiles": 3}),
        Example([(2, 3)], {"tiles": 2, "axis": 0}),
        Example([(2, 2, 2, 3)], {"tiles": 2, "axis": -1}),
    )

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        self.axis = bottom[0].canonical_axis(self.p.axis)
        size = self.p.tiles * shape[self.axis]
        top[0].reshape((*shape[: self.axis], size, *shape[self.axis + 1 :]), channels_last=bottom[0].channels_last)

    def repetitions(self, whole, x):
        """An array of the top's shape with an axis for the repetitions before ``axis``: a view in any memory order."""
        return whole.reshape((*x.shape[: self.axis], self.p.tiles, *x.shape[self.axis :]))

    def each(self, work, whole, x):
        """Call ``work`` with both, in blocks of examples where the examples are not what is repeated."""
        if self.axis:
            by_example(work, self.repetitions(whole, x), x)
        else:
            work(self.repetitions(whole, x), x)

    def Forward_cpu(self, bottom, top):
        def repeat(y, x):
            np.copyto(y, np.expand_dims(x, self.axis))

        self.each(repeat, top[0].data, bottom[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        def add_up(dy, dx):
            np.add.reduce(dy, axis=self.axis, out=dx)

        if propagate_down[0]:
            self.each(add_up, top[0].diff, bottom[0].diff)
