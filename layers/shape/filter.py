"""Filter: the examples that a selector keeps."""

from __future__ import annotations

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.errors import ShapeError, format_shape
from .rows import put_rows, take_rows


@register
class Filter(Layer):
    """From each bottom the examples for which the selector, the last bottom, is not zero, in their order.

    bottom[i]: x_i, N x ….    the last bottom: s, N, or N x 1 x 1 ….    top[i]: the kept examples of x_i, K x ….
    K is known in forward only, and may be 0; layers that read the tops follow.
    Backward: dx_i = dy_i for the kept examples, 0 for the others. The selector has no gradient.
    Errors: bottoms and selector of different numbers of examples; a selector with several values for an example.
    Source: Caffe's Filter, whose backward pass fails when nothing is kept.
    """

    num_bottoms = (2, None)
    num_tops = (1, None)
    backward_reads = ()
    any_layout = True
    shapes_follow_values = True
    examples = (
        Example([(4, 3), (4,)], values={1: lambda rng, shape: np.array([1.0, 0, 0, -2])}),
        Example([(3, 2, 1, 2), (3,), (3, 1)], values={2: lambda rng, shape: np.array([[0.0], [1], [1]])}, tops=2),
        Example([(2, 3), (2, 1, 1)], values={1: lambda rng, shape: np.ones(shape)}),
    )

    def setup(self, bottom, top):
        self.no_gradient = (len(bottom) - 1,)
        if len(top) != len(bottom) - 1:
            raise ShapeError(
                f"{len(bottom)} bottoms, the last of them the selector, need {len(bottom) - 1} "
                f"top{'' if len(bottom) == 2 else 's'}, got {len(top)}",
                key="top",
            )

    def reshape(self, bottom, top):
        *filtered, selector = bottom
        if not selector.shape or any(size != 1 for size in selector.shape[1:]):
            raise ShapeError(
                f"the selector, the last bottom, must have one value for each example (N, or N x 1 x …), "
                f"got {format_shape(selector.shape)}"
            )
        for i, (blob, made) in enumerate(zip(filtered, top, strict=True)):
            if blob.shape[:1] != selector.shape[:1]:
                raise ShapeError(
                    f"bottom {i} of {format_shape(blob.shape)} and the selector of {format_shape(selector.shape)} "
                    "must have the same number of examples (axis 0)"
                )
            made.reshape(blob.shape, channels_last=blob.channels_last)

    def Forward_cpu(self, bottom, top):
        *filtered, selector = bottom
        self.kept = np.flatnonzero(selector.data)
        for blob, made in zip(filtered, top, strict=True):
            made.reshape((len(self.kept), *blob.shape[1:]))
            take_rows(blob.data, self.kept, made.data)

    def Backward_cpu(self, top, propagate_down, bottom):
        for propagate, blob, made in zip(propagate_down, bottom, top, strict=False):
            if propagate:
                put_rows(made.diff, self.kept, blob.diff)
