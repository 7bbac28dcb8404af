"""The windows of a pooling: sums over each of them, and the way back to the places they look at."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...compute.parallel import scratch


class Pools:
    """Windows over images of ``sizes``; sizes, kernel, stride, pad and output are (vertical, horizontal), pad is the
    border above and left.

    The formulas take x, n x C x H x W, and y, n x C x H' x W', of some examples. They pass over the elements of a
    window, first along the rows and then down them: ``axes`` has for each element which outputs have it inside the
    image, and where it is. ``channels_last`` says in which order the arrays of this batch lie in memory.
    """

    channels_last = False

    def __init__(self, sizes, kernel, stride, pad, output):
        self.sizes, self.kernel, self.stride, self.pad, self.output = sizes, kernel, stride, pad, output
        self.axes = tuple(map(_elements, sizes, kernel, stride, pad, output))

    def areas(self, before: tuple[int, int], after: tuple[int, int]) -> np.ndarray:
        """How many places each window has, H' x W', cut to the image and so many places before and after it."""
        heights, widths = map(_extents, self.sizes, self.kernel, self.stride, self.pad, self.output, before, after)
        return np.outer(heights, widths)

    def scratch(self, name: str, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        return scratch(name, shape, dtype, self.channels_last)

    def sums(self, x: np.ndarray, y: np.ndarray) -> None:
        """y = Σ x of each window."""
        rows = self.scratch("rows", (*x.shape[:2], self.output[0], x.shape[3]), x.dtype)
        rows.fill(0)
        for out, inside in self.axes[0]:
            rows[:, :, out] += x[:, :, inside]
        y.fill(0)
        for out, inside in self.axes[1]:
            y[..., out] += rows[..., inside]

    def spread(self, dx: np.ndarray, shares: np.ndarray) -> None:
        """dx = the sum of the shares of all windows around it."""
        rows = self.scratch("rows", (*shares.shape[:3], dx.shape[3]), dx.dtype)
        rows.fill(0)
        for out, inside in self.axes[1]:
            rows[..., inside] += shares[..., out]
        dx.fill(0)
        for out, inside in self.axes[0]:
            dx[:, :, inside] += rows[:, :, out]


def _extents(size, kernel, stride, pad, output, before, after):
    """Sizes of the windows along one axis, cut to the image and so many places before and after it."""
    start = np.arange(output) * stride - pad
    return np.minimum(start + kernel, size + after) - np.maximum(start, -before)


def _elements(size, kernel, stride, pad, output):
    """Along one axis, for each element of a window: which outputs have it inside the image, and where it is."""
    elements = []
    for offset in range(min(kernel, size + pad)):  # no window has an element inside beyond that
        first = max(0, -(-(pad - offset) // stride))
        last = max(first, min(output, (size - 1 + pad - offset) // stride + 1))
        start = first * stride + offset - pad
        elements.append(
            (slice(first, last), slice(start, start + max(0, last - first - 1) * stride + (last > first), stride))
        )
    return elements
