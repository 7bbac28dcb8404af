"""Upsample: larger images, of repeated pixels or with each value where pooling found it."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ...compute.memory import memory_order
from ...compute.parallel import by_example, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, format_shape


def places(height, width):
    """Values for an Example: of each image different places in one of height x width."""
    return lambda rng, shape: np.array(
        [rng.permutation(height * width)[: shape[2] * shape[3]] for _ in range(shape[0] * shape[1])], float
    ).reshape(shape)


def one_place_twice(rng, shape):
    """Values for an Example: places of which two are the same, and one is none."""
    return np.resize([35.0, 3, 3, -1], shape)


@register
class Upsample(Layer):
    """Larger images. With one bottom each pixel is repeated: y at (h, w) = x at (h // scale_h, w // scale_w). With two
    each x goes to the place that it was pooled from, and the rest is 0: y at m_i = x_i.

    bottom[0]: x, N x C x H x W.    bottom[1], if given: m, x's shape, places as h·W' + w, such as the second top of the
    Pooling that is undone.    top[0]: y, N x C x H' x W'.
    H' = H scale_h - pad_out_h, or upsample_h. m is rounded, -1 is no place. Of several x at one place the last counts.
    Backward: dx = the sum of dy over the repeated pixels, or dy at the place if that has not gone to another x; dm = 0.
    Errors: not 4 axes; an m of another shape, or a place beyond the top: scale does not undo the pooling's stride then.
    Source: SegNet's Upsample (Badrinarayanan, Kendall, Cipolla 2015), darknet's; PyTorch's MaxUnpool2d.
    """

    class Parameters(Declared):
        scale: int | None = param(default=None, minimum=1, doc="how many times larger; 2 when left out")
        scale_h: int | None = param(default=None, minimum=1, doc="how many times higher, with scale_w instead of scale")
        scale_w: int | None = param(default=None, minimum=1, doc="how many times wider")
        pad_out_h: bool = param(default=False, doc="one row less, where an odd height was pooled; scale 2, two bottoms")
        pad_out_w: bool = param(default=False, doc="one column less")
        upsample_h: int | None = param(default=None, minimum=1, doc="H', with upsample_w, of two bottoms")
        upsample_w: int | None = param(default=None, minimum=1, doc="W'")

        exclusive = (("scale", ("scale_h", "scale_w"), ("upsample_h", "upsample_w")),)
        aliases = {"upsample_param": "write its fields beside type", "scale_factor": "scale"}

        def validate(self) -> Iterable[tuple[str, str]]:
            for stem in ("scale", "upsample"):
                for key, other in ((f"{stem}_h", f"{stem}_w"), (f"{stem}_w", f"{stem}_h")):
                    if getattr(self, key) is not None and getattr(self, other) is None:
                        yield key, f"needs `{other}` too"
            for key, scale in zip(("pad_out_h", "pad_out_w"), self.scales(), strict=True):
                if getattr(self, key) and self.upsample_h is not None:
                    yield key, "has no meaning with upsample_h and upsample_w, which are the whole size"
                elif getattr(self, key) and scale != 2:
                    yield key, f"works with a scale of 2 only, got {scale}"

        def scales(self) -> tuple[int, int]:
            """(vertical, horizontal)."""
            return self.scale_h or self.scale or 2, self.scale_w or self.scale or 2

    num_bottoms = (1, 2)
    backward_reads = ()
    any_layout = True
    examples = (
        Example([(2, 2, 3, 2)]),
        Example([(1, 2, 2, 3)], {"scale_h": 1, "scale_w": 3}),
        Example([(2, 2, 2, 3), (2, 2, 2, 3)], {"pad_out_w": True}, {1: places(4, 5)}),
        Example([(1, 2, 2, 2), (1, 2, 2, 2)], {"scale": 3}, {1: one_place_twice}),
        Example([(2, 1, 2, 2), (2, 1, 2, 2)], {"upsample_h": 5, "upsample_w": 3}, {1: places(5, 3)}),
    )

    def setup(self, bottom, top):
        for key in ("pad_out_h", "pad_out_w", "upsample_h", "upsample_w"):
            if len(bottom) == 1 and getattr(self.p, key):
                raise ShapeError(
                    f"{key} needs a second bottom, the places; of one, each pixel is repeated `scale` times", key=key
                )

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        if len(shape) != 4:
            raise ShapeError(f"needs N x C x H x W, got {format_shape(shape)}")
        if len(bottom) == 2 and bottom[1].shape != shape:
            raise ShapeError(
                f"each x needs a place, got {format_shape(shape)} and {format_shape(bottom[1].shape)} places"
            )
        self.scales = self.p.scales()
        lost = (self.p.pad_out_h, self.p.pad_out_w)
        sizes = tuple(size * scale - less for size, scale, less in zip(shape[2:], self.scales, lost, strict=True))
        if self.p.upsample_h is not None:
            sizes = (self.p.upsample_h, self.p.upsample_w)
        if min(sizes) < 0:
            raise ShapeError(f"images of {format_shape(shape[2:])} have no row or column to lose", key="pad_out_h")
        self.sizes = sizes
        top[0].reshape((*shape[:2], *sizes), channels_last=bottom[0].channels_last)

    def Forward_cpu(self, bottom, top):
        self.last = bottom[0].channels_last
        if len(bottom) == 1:
            by_example(self.repeat, top[0].data, bottom[0].data)
        else:
            self.place = self.buffer("place", bottom[0].shape, np.intp, self.last)
            by_example(self.unpool, top[0].data, bottom[0].data, bottom[1].data, self.place)

    def rows(self, x):
        """Room for x, as wide as y."""
        return scratch("rows", (*x.shape[:3], x.shape[3] * self.scales[1]), x.dtype, self.last)

    def repeat(self, y, x):
        rows = self.rows(x)
        for i in range(self.scales[1]):
            np.copyto(rows[..., i :: self.scales[1]], x)
        for i in range(self.scales[0]):
            np.copyto(y[:, :, i :: self.scales[0]], rows)

    def add_up(self, dy, dx):
        rows = self.rows(dx)
        rows.fill(0)
        for i in range(self.scales[0]):
            rows += dy[:, :, i :: self.scales[0]]
        dx.fill(0)
        for i in range(self.scales[1]):
            dx += rows[..., i :: self.scales[1]]

    def unpool(self, y, x, m, place):
        """Put each x where it belongs; ``place`` is kept for the way back."""
        size = self.sizes[0] * self.sizes[1]
        inside = scratch("inside", m.shape, bool)
        np.less(m, size - 0.5, out=inside)  # NaN is less than nothing
        if not inside.all() or m.min(initial=0) < -1.5:
            named = m[~inside | (m < -1.5)][0]
            raise NettrainError(
                f"place {named:g} is beyond an image of {format_shape(self.sizes)}, whose places are 0 to {size - 1}; "
                "the top must be as large as what was pooled"
            )
        np.copyto(place, np.rint(m, out=scratch("rounded", m.shape, m.dtype)), casting="unsafe")
        y.fill(0)
        np.put(memory_order(y), *self.there(place, x))

    def take(self, dy, dx, place):
        """dx = dy at the places, where no later x has taken the same."""
        at, number = self.there(place, np.arange(dx.size))
        holder = scratch("holder", (dy.size,), np.intp)
        np.put(holder, at, number)
        dx.fill(0)
        np.put(memory_order(dx), number, memory_order(dy).take(at) * (holder.take(at) == number))

    def there(self, place, values):
        """Where in the memory of y the places are, in the order of memory, and the values that have one."""
        (N, C, _, _), size = place.shape, self.sizes[0] * self.sizes[1]
        at = scratch("at", place.shape, np.intp, self.last)
        np.multiply(place, C if self.last else 1, out=at)
        at += (np.arange(C) * (1 if self.last else size))[:, None, None]
        at += (np.arange(N) * C * size)[:, None, None, None]
        place, at, values = map(memory_order, (place, at, values))
        if place.min(initial=0) < 0:
            return at[place >= 0], values[place >= 0]
        return at, values

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            if len(bottom) == 1:
                by_example(self.add_up, top[0].diff, bottom[0].diff)
            else:
                by_example(self.take, top[0].diff, bottom[0].diff, self.place)
        if len(bottom) == 2 and propagate_down[1]:
            bottom[1].diff.fill(0)
