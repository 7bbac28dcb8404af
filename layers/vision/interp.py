"""Interp: images of another size, by interpolation."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError, format_shape

SIZES = ("height", "width", "zoom_factor", "shrink_factor")


@register
class Interp(Layer):
    """Images of another size: along each axis y_i is interpolated between the two x that lie around the place p_i.

    bottom[0]: x, N x C x H x W.    bottom[1], if given: r, of which only the last two sizes matter, as H' x W'.
    top[0]: y, N x C x H' x W'.
    y_i = (1 - f) x_k + f x_(k+1) with k = floor(p_i) and f = p_i - k, first along the rows, then down the columns.
    ``align_corners``: p_i = i (H - 1) / (H' - 1), so corners stay corners, and H' = floor((H - 1) / shrink_factor) + 1,
    then (H - 1) zoom_factor + 1. Without it pixels are areas: p_i = (i + ½) H / H' - ½, at least 0 and at most H - 1,
    and H' = floor(H zoom_factor / shrink_factor). With ``mode: nearest`` y_i is the x nearest to p_i (the next of two
    equally near) or, without align_corners, the one that i H / H' lies in.
    H is the image's height without what the negative ``pad_beg`` and ``pad_end`` crop on both axes.
    Backward: dx = the transposed interpolation of dy; dr = 0.
    Both axes are products with small matrices, so a value that is not finite spoils its channel.
    Errors: no size, or one in two ways; a crop that leaves nothing; not 4 axes.
    Source: DeepLab's and PSPNet's Interp; PyTorch's interpolate without align_corners.
    """

    class Parameters(Declared):
        height: int | None = param(default=None, minimum=1, doc="H', together with width")
        width: int | None = param(default=None, minimum=1, doc="W'")
        zoom_factor: int | None = param(default=None, minimum=1, doc="how many times larger")
        shrink_factor: int | None = param(default=None, minimum=1, doc="how many times smaller, before zoom_factor")
        pad_beg: int = param(default=0, maximum=0, doc="minus the rows and columns cropped above and left")
        pad_end: int = param(default=0, maximum=0, doc="minus those cropped below and right")
        align_corners: bool = param(default=True, doc="whether the centres of corner pixels stay where they are")
        mode: Literal["bilinear", "nearest"] = param(default="bilinear", doc="between pixels, or the nearest one")

        exclusive = ((("height", "width"), ("zoom_factor", "shrink_factor")),)
        aliases = {
            "interp_param": "write its fields beside type",
            "scale_factor": "zoom_factor",
            "output_height": "height",
            "output_width": "width",
        }

        def validate(self) -> Iterable[tuple[str, str]]:
            for key, other in (("height", "width"), ("width", "height")):
                if getattr(self, key) is not None and getattr(self, other) is None:
                    yield key, f"needs `{other}` too"

    num_bottoms = (1, 2)
    backward_reads = ()
    examples = (
        Example([(2, 2, 3, 4)], {"zoom_factor": 2}),
        Example([(1, 2, 5, 7)], {"height": 4, "width": 3}),
        Example([(1, 2, 5, 6)], {"shrink_factor": 2, "zoom_factor": 3, "pad_beg": -1}),
        Example([(2, 2, 3, 4)], {"height": 5, "width": 2, "align_corners": False, "pad_end": -1}),
        Example([(2, 1, 2, 3)], {"zoom_factor": 2, "mode": "nearest", "align_corners": False}),
        Example([(2, 1, 4, 3)], {"height": 3, "width": 5, "mode": "nearest"}),
        Example([(1, 2, 2, 3), (1, 1, 4, 1)]),
    )

    def setup(self, bottom, top):
        given = [key for key in SIZES if getattr(self.p, key) is not None]
        if len(bottom) == 2 and given:
            raise ShapeError(f"the second bottom gives the size; leave {given[0]} out", key=given[0])
        if len(bottom) == 1 and not given:
            raise ShapeError("needs `height` and `width`, `zoom_factor` or `shrink_factor`, or a second bottom's size")

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(shape)}")
        if len(bottom) == 2 and len(bottom[1].shape) < 2:
            given = format_shape(bottom[1].shape)
            raise ShapeError(f"the size is that of the second bottom's last two axes, got {given}")
        wanted = bottom[1].shape[-2:] if len(bottom) == 2 else (self.p.height, self.p.width)
        sizes = tuple(self.size(*both) for both in zip(shape[2:], wanted, strict=True))
        top[0].reshape((*shape[:2], *sizes))
        self.sides = shape[2:], sizes
        self.made = None

    def size(self, size, wanted):
        """The size of an axis of the top."""
        cropped = -self.p.pad_beg - self.p.pad_end
        left = size - cropped
        if left < 1:
            crop = f" in {size} pixels without {cropped}" if cropped else " in 0 pixels"
            raise ShapeError(f"there is nothing to interpolate{crop}", key=("pad_beg", "pad_end"))
        zoom, shrink = self.p.zoom_factor or 1, self.p.shrink_factor or 1
        if wanted is None:
            wanted = (left - 1) // shrink * zoom + 1 if self.p.align_corners else left * zoom // shrink
        if wanted < 1:
            raise ShapeError(f"{left} pixels, {shrink} times fewer, are none", key="shrink_factor")
        return wanted

    def matrices(self):
        """What the columns are multiplied by, H' x H, and the rows, W' x W."""
        if self.made is None:
            self.made = [self.weights(*both) for both in zip(*self.sides, strict=True)]
        return self.made

    def weights(self, whole, new):
        """How much each x of an axis counts for each y: new x whole."""
        i, size = np.arange(new), whole + self.p.pad_beg + self.p.pad_end
        steps = max(1, new - 1)
        if self.p.mode == "nearest":
            place = (2 * i * (size - 1) + steps) // (2 * steps) if self.p.align_corners else i * size // new
            share = np.zeros(new)
        else:
            above, below = (i * (size - 1), steps) if self.p.align_corners else ((2 * i + 1) * size - new, 2 * new)
            place, after = np.divmod(np.maximum(above, 0), below)
            share = after / below
        matrix = np.zeros((new, whole))
        np.add.at(matrix, (i, place - self.p.pad_beg), 1 - share)
        np.add.at(matrix, (i, np.minimum(place + 1, size - 1) - self.p.pad_beg), share)
        return matrix.astype(self.dtype)

    def multiply_adds(self, bottom, top):
        (N, C, H, W), (h, w) = bottom[0].shape, top[0].shape[2:]
        return N * C * (H * W * w + h * H * w)

    def Forward_cpu(self, bottom, top):
        down, across = self.matrices()
        multiply(down, bottom[0].data, across.T, top[0].data)

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            down, across = self.matrices()
            multiply(down.T, top[0].diff, across, bottom[0].diff)
        if len(bottom) == 2 and propagate_down[1]:
            bottom[1].diff.fill(0)


def multiply(left, x, right, y):
    """y = left x right for each image x of N x C."""

    def some(x, y):
        (n, rows, _), columns = x.shape, right.shape[1]
        between = scratch("between", (n, rows, columns), x.dtype)
        np.matmul(x.reshape(n * rows, x.shape[2]), right, out=between.reshape(n * rows, columns))
        np.matmul(left, between, out=y)

    x, y = (array.reshape(array.shape[0] * array.shape[1], *array.shape[2:]) for array in (x, y))
    if x.size > y.size:
        by_example(some, x, y)
    else:
        by_example(lambda y, x: some(x, y), y, x)
