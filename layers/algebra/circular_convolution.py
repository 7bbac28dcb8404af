"""CircularConvolution: a row of numbers shifted round a circle, by several distances at once."""

from __future__ import annotations

import numpy as np

from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.errors import ShapeError, format_shape


def around(x, more, out):
    """Each row of x with its last ``more`` numbers repeated before it, and its first ones after it."""
    np.copyto(out[..., more : more + x.shape[-1]], x)
    if more:
        np.copyto(out[..., :more], x[..., -more:])
        np.copyto(out[..., -more:], x[..., :more])
    return out


@register
class CircularConvolution(Layer):
    """Shift along the last axis, round a circle: y_i = Σ_j s_j w_{i - j} with j from -(S-1)/2 to (S-1)/2.

    s_{-1}, s_0, s_1 say how much of w is moved one place to the left, stays, and is moved one to the right.
    bottom[0]: w, … x R.    bottom[1]: the shifts s, … x S, S odd, one set for each row of w.    top[0]: y, w's shape.
    Backward: dw_i = Σ_j s_j dy_{i + j}, ds_j = Σ_i dy_i w_{i - j}.
    Errors: S even or above R; axes before the last that differ.
    Source: location addressing of Graves et al., Neural Turing Machines, 2014.
    """

    num_bottoms = 2
    backward_reads = ("bottom.data",)
    examples = (
        Example([(2, 5), (2, 3)]),
        Example([(2, 2, 5), (2, 2, 5)]),
        Example([(3, 4), (3, 1)]),
    )

    def reshape(self, bottom, top):
        w, s = (blob.shape for blob in bottom)
        if not w or w[:-1] != s[:-1] or len(s) != len(w):
            raise ShapeError(
                f"the shifts must have the same axes before the last as what is shifted, got {format_shape(w)} and "
                f"{format_shape(s)}"
            )
        if s[-1] % 2 == 0 or s[-1] > w[-1]:
            raise ShapeError(f"the number of shifts must be odd and at most {w[-1]}, got {s[-1]}")
        top[0].reshape(w)

    def ring(self, name, x):
        """x with its ends joined, and the number of shifts to one side."""
        more = self.shifts // 2
        return around(x, more, self.buffer(name, (*x.shape[:-1], x.shape[-1] + 2 * more)))

    def Forward_cpu(self, bottom, top):
        w, s, y = bottom[0].data, bottom[1].data, top[0].data
        self.shifts, R = s.shape[-1], w.shape[-1]
        ring, term = self.ring("w", w), self.buffer("term", w.shape)
        y.fill(0)
        for j in range(self.shifts):
            start = self.shifts - 1 - j
            y += np.multiply(ring[..., start : start + R], s[..., j : j + 1], out=term)

    def Backward_cpu(self, top, propagate_down, bottom):
        w, s, dy = bottom[0].data, bottom[1].data, top[0].diff
        R = w.shape[-1]
        if propagate_down[0]:
            dw, ring, term = bottom[0].diff, self.ring("dy", dy), self.buffer("term", w.shape)
            dw.fill(0)
            for j in range(self.shifts):
                dw += np.multiply(ring[..., j : j + R], s[..., j : j + 1], out=term)
        if propagate_down[1]:
            ring = self.ring("w", w)
            for j in range(self.shifts):
                start = self.shifts - 1 - j
                np.einsum("...i,...i->...", ring[..., start : start + R], dy, out=bottom[1].diff[..., j])
