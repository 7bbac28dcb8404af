"""ArgMax: where the largest values are."""

from __future__ import annotations

import math

import numpy as np

from ...compute.parallel import by_example
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape


@register
class ArgMax(Layer):
    """The indices of the top_k largest values, the largest first; of equal values the larger index comes first.

    bottom[0]: x, N x ….
    top[0]: without ``axis`` the values of each example are numbered in one row, and y is N x 1 x k (x 1 for every
    further axis of x): indices. With ``out_max_val`` N x 2 x k …: indices, then the values.
    With ``axis`` y is x with k places on that axis: indices along it, or with ``out_max_val`` the values instead.
    No gradient.
    A NaN counts as larger than any number. float32 holds indices up to 2^24 exactly.
    Errors: top_k larger than the number of values.
    Source: Caffe's ArgMax.
    """

    class Parameters(Declared):
        out_max_val: bool = param(default=False, doc="give the values too; with axis, the values instead")
        top_k: int = param(default=1, minimum=1, doc="k, how many of the largest")
        axis: int | None = param(default=None, doc="axis to look along; left out: all values of an example")

        aliases = {"argmax_param": "write its fields beside type", "k": "top_k", "dim": "axis"}

    no_gradient = "all"
    examples = (
        Example([(3, 4)]),
        Example([(2, 3, 2, 2)], {"top_k": 3, "out_max_val": True}),
        Example([(2, 4, 3)], {"axis": 1, "top_k": 2}),
        Example([(2, 3, 4)], {"axis": -1, "out_max_val": True}),
    )

    def reshape(self, bottom, top):
        shape, k = bottom[0].shape, self.p.top_k
        if self.p.axis is None:
            if not shape:
                raise ShapeError("needs examples to look at, got a scalar")
            axis, end = 1, len(shape)
            made = (shape[0], 2 if self.p.out_max_val else 1, k, *(1 for _ in shape[3:]))
        else:
            axis = bottom[0].canonical_axis(self.p.axis)
            end = axis + 1
            made = (*shape[:axis], k, *shape[end:])
        self.split = tuple(math.prod(part) for part in (shape[:axis], shape[axis:end], shape[end:]))
        if k > self.split[1]:
            where = "an example" if self.p.axis is None else f"axis {axis}"
            raise ShapeError(
                f"top_k {k} is more than the {self.split[1]} values of {where} of {format_shape(shape)}",
                key=("top_k", "axis"),
            )
        top[0].reshape(made)

    def Forward_cpu(self, bottom, top):
        outer, _, inner = self.split
        x = bottom[0].data.reshape(self.split)
        if self.p.axis is None and self.p.out_max_val:
            both = top[0].data.reshape(outer, 2, self.p.top_k)
            by_example(self.largest, x, both[:, :1].transpose(0, 2, 1), both[:, 1:].transpose(0, 2, 1))
            return
        y = top[0].data.reshape(outer, self.p.top_k, inner)
        by_example(self.values if self.p.out_max_val else self.largest, x, y)

    def values(self, x, y):
        self.largest(x, None, y)

    def largest(self, x, indices, values=None):
        """Fill the indices along axis 1, the values or both."""
        # backwards, since numpy prefers the first of equal values
        if self.p.top_k == 1:
            order = np.expand_dims(x.shape[1] - 1 - np.argmax(x[:, ::-1], axis=1), 1)
        else:
            order = np.argsort(x, axis=1, kind="stable")[:, : -self.p.top_k - 1 : -1]
        if indices is not None:
            np.copyto(indices, order, casting="unsafe")
        if values is not None:
            np.copyto(values, np.take_along_axis(x, order, axis=1))
