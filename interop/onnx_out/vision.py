"""Convolutions, pooling and their neighbours, as ONNX has them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...net.blob import Blob
from ...net.example import Values
from .graph import Tensor
from .here import Emitter, Here
from .sizes import NeedsFixedError


def positive(rng, shape):
    return rng.uniform(0.5, 2, shape)


def convolution(kind: str) -> Emitter:
    """Conv, or ConvTranspose, of each bottom."""

    def emit(here: Here) -> list[Tensor]:
        layer, p = here.layer, here.p
        axes = len(layer.kernel)
        attributes = {"group": p.group}
        shape = layer.blobs[0].shape
        if axes:
            kernel, stride, pad, dilation = layer.kernel, layer.stride, layer.pad, layer.dilation
            attributes |= {"kernel_shape": kernel, "strides": stride, "pads": (*pad, *pad), "dilations": dilation}
        else:  # one place, which ONNX wants to have an axis
            shape = (*shape, 1)
        weights: list[Tensor | None] = [here.parameter(0, "weight", shape)]
        if p.bias_term:
            weights.append(here.parameter(1, "bias"))
        one = here.making.sizes.fixed(1)
        made = []
        for i, x in enumerate(here.x):
            have, want = here.bottom(i), here.top(i)
            before = have[: layer.axis]
            channels = have[layer.axis :]
            if layer.axis != 1 or not axes:
                batch = (before or (one,)) if len(before) < 2 else (here.making.sizes.product(before),)
                x = here.reshape(x, have, (*batch, *channels, *([one] if not axes else [])))
                y = here.op(kind, x, *weights, **attributes)
                inside = (*batch, *want[layer.axis :], *([one] if not axes else []))
                made.append(here.reshape(y, inside, want))
            else:
                made.append(here.op(kind, x, *weights, **attributes))
        return made

    return emit


@dataclass(frozen=True)
class Geometry:
    """Windows over an image: its sizes, the pads before and after it, the output's; all (vertical, horizontal)."""

    sizes: Sequence[int]
    kernel: Sequence[int]
    stride: Sequence[int]
    before: Sequence[int]
    after: Sequence[int]
    output: Sequence[int]

    @classmethod
    def of(cls, layer: Any) -> Geometry:
        """That of a Pooling layer."""
        pools = layer.pools
        return cls(pools.sizes, pools.kernel, pools.stride, pools.pad, layer.after, pools.output)

    @property
    def padded(self) -> Geometry:
        """The same windows over an image that has its border around it."""
        sizes = [sum(parts) for parts in zip(self.before, self.sizes, self.after, strict=True)]
        return replace(self, sizes=sizes, before=(0, 0), after=(0, 0))

    @property
    def pads(self) -> list[int]:
        """The pads before the image, and how far the last window reaches beyond it."""
        along = zip(self.sizes, self.kernel, self.stride, self.before, self.output, strict=True)
        return [*self.before, *(max(0, (out - 1) * s + k - size - p) for size, k, s, p, out in along)]


def mean(here: Here, x: Tensor, windows: Geometry, with_border: bool = True) -> Tensor:
    """The mean of each window, cut to the image or, ``with_border``, to the padded image.

    Zeros that count are laid around the image first, so that all runtimes agree on what is divided by.
    """
    if with_border and any((*windows.before, *windows.after)):
        x = here.op("Pad", x, here.ints([0, 0, *windows.before, 0, 0, *windows.after], "pads"))
        windows = windows.padded
    shape = {"kernel_shape": windows.kernel, "strides": windows.stride, "pads": windows.pads}
    return here.op("AveragePool", x, **shape, count_include_pad=0)


def pooled(here: Here, how: str, windows: Geometry, tops: int = 1, with_border: bool = True) -> list[Tensor]:
    """A pooling over windows; for MAX with two ``tops`` also where in its image each maximum was."""
    x = here.x[0]
    if how == "AVE":
        return [mean(here, x, windows, with_border)]
    if how == "STOCHASTIC":
        here.expects(0, positive)
        shares = mean(here, here.op("Mul", x, x), windows), mean(here, x, windows)
        zero = here.number(0, "zero")
        return [here.op("Where", here.op("Equal", shares[1], zero), zero, here.op("Div", *shares))]
    made = here.ops("MaxPool", tops, x, kernel_shape=windows.kernel, strides=windows.stride, pads=windows.pads)
    if tops == 2:
        within = here.op("Mod", made[1], here.ints([math.prod(windows.sizes)], "places"))
        made[1] = here.op("Cast", within, to=1)
    return made


def pooling(here: Here) -> list[Tensor]:
    p, count = here.p, len(here.step.top)
    if p.global_pooling and count == 1 and p.pool != "STOCHASTIC":
        return [here.op("GlobalMaxPool" if p.pool == "MAX" else "GlobalAveragePool", here.x[0])]
    return pooled(here, p.pool, Geometry.of(here.layer), count, p.count_include_pad)


def spp(here: Here) -> Tensor:
    levels = [pooled(here, here.p.pool, Geometry.of(level))[0] for level in here.layer.levels]
    if len(levels) == 1:
        return levels[0]
    return here.op("Concat", *(here.op("Flatten", level, axis=1) for level in levels), axis=1)


def regions(blob: Blob) -> Values:
    """Random regions of the images in a blob: number, left, top, right, bottom."""

    def draw(rng, shape):
        images, _, height, width = blob.shape
        some = rng.uniform(0, 2 * max(height, width), (shape[0], 5))
        some[:, 0] = rng.integers(0, images, shape[0])
        return some.reshape(shape)

    return draw


def roi_pooling(here: Here) -> Tensor:
    here.expects(1, regions(here.step.bottom[0]))
    have = here.bottom(1)
    rows = here.reshape(here.x[1], have, (have[0], here.making.sizes.fixed(5)))
    return here.op(
        "MaxRoiPool",
        here.x[0],
        rows,
        pooled_shape=(here.p.pooled_h, here.p.pooled_w),
        spatial_scale=here.p.spatial_scale,
    )


def prior_box(here: Here) -> Tensor:
    """Boxes follow from sizes alone: a constant."""
    layer = here.layer
    if any(dim.size is None for i in range(len(here.x)) for dim in here.bottom(i)[2:]):
        raise NeedsFixedError("the size of its images follows the batch")
    boxes = layer.boxes().ravel()
    variances = np.resize(np.array(layer.p.variance), boxes.shape)
    return here.array(np.stack([boxes, variances])[None], "boxes")


def interp(here: Here) -> Tensor:
    """Resize, of images whose border has been cropped; the nearest pixels are gathered by their numbers."""
    p, x, (height, width) = here.p, here.x[0], here.step.bottom[0].shape[2:]
    if any(dim.size is None for dim in (*here.bottom()[2:], *here.top()[2:])):
        raise NeedsFixedError("the size of its images follows the batch")
    if p.mode == "nearest":
        for axis, matrix in zip((2, 3), here.layer.matrices(), strict=True):
            x = here.op("Gather", x, here.ints(matrix.argmax(axis=1).tolist(), "pixels"), axis=axis)
        return x
    if p.pad_beg or p.pad_end:
        starts, ends = [-p.pad_beg] * 2, [height + p.pad_end, width + p.pad_end]
        x = here.op("Slice", x, here.ints(starts, "starts"), here.ints(ends, "ends"), here.ints([2, 3], "axes"))
    return here.op(
        "Resize",
        x,
        None,
        None,
        here.ints(here.step.top[0].shape[2:], "sizes"),
        axes=[2, 3],
        mode="linear",
        coordinate_transformation_mode="align_corners" if p.align_corners else "half_pixel",
    )


def upsample(here: Here) -> Tensor:
    x = here.x[0]
    if len(here.x) == 1:
        scales = here.array([1, 1, *here.layer.scales], "scales")
        more = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return here.op("Resize", x, None, scales, mode="nearest", **more)
    # each value goes to its place in a row; there is one place more, the last, for what belongs nowhere: -1
    size, have, fixed = math.prod(here.layer.sizes), here.bottom(), here.making.sizes.fixed
    places = math.prod(here.step.bottom[0].shape[2:])
    here.expects(1, lambda rng, shape: distinct(rng, shape, size))
    rows = (*have[:2], fixed(places))
    values = here.reshape(x, have, rows)
    where = here.op("Cast", here.op("Round", here.reshape(here.x[1], have, rows)), to=7)
    shape = here.op("Concat", here.op("Shape", x, start=0, end=2), here.ints([size + 1], "places"), axis=0)
    empty = here.op("Expand", here.number(0, "zero"), shape)
    full = here.op("ScatterElements", empty, where, values, axis=2)
    used = here.op("Slice", full, *(here.ints([n], name) for n, name in ((0, "start"), (size, "end"), (2, "axis"))))
    return here.reshape(used, (*have[:2], fixed(size)), here.top())


def distinct(rng, shape, size):
    """Different places in each image."""
    count = math.prod(shape[2:])
    rows = [rng.permutation(size)[:count] for _ in range(math.prod(shape[:2]))]
    return np.array(rows, float).reshape(shape)


def lrn(here: Here) -> Tensor:
    p, x = here.p, here.x[0]
    if p.norm_region == "ACROSS_CHANNELS":
        return here.op("LRN", x, size=p.local_size, alpha=p.alpha, beta=p.beta, bias=p.k)
    size, reach = p.local_size, p.local_size // 2
    square = here.op("Mul", x, x)
    means = here.op(
        "AveragePool", square, kernel_shape=[size, size], pads=[reach] * 4, strides=[1, 1], count_include_pad=1
    )
    s = here.scaled(means, p.alpha, 1)
    return here.op("Mul", x, here.op("Pow", s, here.number(-p.beta, "power")))


def pad(here: Here) -> Tensor:
    pads, count = here.layer.pads, len(here.bottom())
    sides = [pads.get(axis, (0, 0))[side] for side in (0, 1) for axis in range(count)]
    given = [here.ints(sides, "pads")]
    if here.p.mode == "constant" and here.p.value:
        given.append(here.number(here.p.value))
    return here.op("Pad", here.x[0], *given, mode=here.p.mode)


def crop(here: Here) -> Tensor:
    count = len(here.bottom())
    first = here.axis(here.p.axis)
    offsets = [part.start for part in here.layer.part[first:]]
    sizes = [dim.size for dim in here.top()[first:]]
    starts = here.ints(offsets, "starts")
    if None in sizes:
        wanted = here.op("Shape", here.x[1], start=first, end=count)
        ends = here.op("Add", wanted, starts)
    else:
        ends = here.ints([a + b for a, b in zip(offsets, sizes, strict=True) if b is not None], "ends")
    return here.op("Slice", here.x[0], starts, ends, here.ints(range(first, count), "axes"))


def im2col(here: Here) -> Tensor:
    """A convolution of each channel with kernels that have a single 1: one for each place of the window."""
    layer, one = here.layer, here.making.sizes.fixed(1)
    have, want = here.bottom(), here.top()
    channels, places = have[layer.axis].size, math.prod(layer.kernel)
    if channels is None:
        raise NeedsFixedError("its channels follow the batch")
    ones = np.tile(np.eye(places, dtype=np.float32), (channels, 1)).reshape(-1, 1, *layer.kernel)
    before = have[: layer.axis]
    batch = (before or (one,)) if len(before) < 2 else (here.making.sizes.product(before),)
    x = here.reshape(here.x[0], have, (*batch, *have[layer.axis :]))
    y = here.op(
        "Conv",
        x,
        here.array(ones, "places"),
        group=channels,
        kernel_shape=layer.kernel,
        strides=layer.stride,
        pads=(*layer.pad, *layer.pad),
        dilations=layer.dilation,
    )
    return here.reshape(y, (*batch, *want[layer.axis :]), want)


EMITTERS: dict[str, Emitter] = {
    "Convolution": convolution("Conv"),
    "Crop": crop,
    "Deconvolution": convolution("ConvTranspose"),
    "Im2col": im2col,
    "Interp": interp,
    "LRN": lrn,
    "Pad": pad,
    "Pooling": pooling,
    "PriorBox": prior_box,
    "ROIPooling": roi_pooling,
    "SPP": spp,
    "Upsample": upsample,
}
