"""Convolutions, pooling and their neighbours, as ONNX has them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

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


def overhangs(
    sizes: Sequence[int], kernel: Sequence[int], stride: Sequence[int], before: Sequence[int], output: Sequence[int]
) -> list[int]:
    """How far the last window reaches beyond the image and what lies before it: the pads at the end."""
    return [
        max(0, (out - 1) * s + k - size - p)
        for size, k, s, p, out in zip(sizes, kernel, stride, before, output, strict=True)
    ]


def mean(here: Here, x: Tensor, pools: tuple[Sequence[int], ...]) -> Tensor:
    """The mean of each window cut to the padded image: zeros of the border count, and what hangs over it does not.

    The border is laid around the image first, so that no attribute decides what counts.
    """
    sizes, kernel, stride, pad, output = pools
    if any(pad):
        x = here.op("Pad", x, here.ints([0, 0, *pad, 0, 0, *pad], "pads"))
    wide = [size + 2 * p for size, p in zip(sizes, pad, strict=True)]
    ends = overhangs(wide, kernel, stride, (0, 0), output)
    return here.op("AveragePool", x, kernel_shape=kernel, strides=stride, pads=[0, 0, *ends], count_include_pad=0)


def pooled(here: Here, how: str, geometry: tuple[Sequence[int], ...], tops: int = 1) -> list[Tensor]:
    """A pooling over windows; for MAX with two ``tops`` also where in its image each maximum was."""
    sizes, kernel, stride, pad, output = geometry
    x = here.x[0]
    if how == "AVE":
        return [mean(here, x, geometry)]
    if how == "STOCHASTIC":
        here.expects(0, positive)
        shares = mean(here, here.op("Mul", x, x), geometry), mean(here, x, geometry)
        zero = here.number(0, "zero")
        return [here.op("Where", here.op("Equal", shares[1], zero), zero, here.op("Div", *shares))]
    pads = [*pad, *overhangs(sizes, kernel, stride, pad, output)]
    made = here.ops("MaxPool", tops, x, kernel_shape=kernel, strides=stride, pads=pads)
    if tops == 2:
        within = here.op("Mod", made[1], here.ints([math.prod(sizes)], "places"))
        made[1] = here.op("Cast", within, to=1)
    return made


def pooling(here: Here) -> list[Tensor]:
    pools, how = here.layer.pools, here.p.pool
    count = len(here.step.top)
    if here.p.global_pooling and count == 1 and how != "STOCHASTIC":
        return [here.op("GlobalMaxPool" if how == "MAX" else "GlobalAveragePool", here.x[0])]
    return pooled(here, how, (pools.sizes, pools.kernel, pools.stride, pools.pad, pools.output), count)


def spp(here: Here) -> Tensor:
    levels = []
    for level in here.layer.levels:
        pools = level.pools
        geometry = pools.sizes, pools.kernel, pools.stride, pools.pad, pools.output
        levels.append(pooled(here, here.p.pool, geometry)[0])
    if len(levels) == 1:
        return levels[0]
    return here.op("Concat", *(here.op("Flatten", level, axis=1) for level in levels), axis=1)


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
    "LRN": lrn,
    "Pad": pad,
    "Pooling": pooling,
    "SPP": spp,
}
