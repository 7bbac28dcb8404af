"""Normalizations, as ONNX has them."""

from __future__ import annotations

import math

import numpy as np

from .graph import Tensor
from .here import Emitter, Here
from .sizes import NeedsFixedError


def batch_norm(here: Here) -> Tensor:
    layer, p = here.layer, here.p
    C = layer.C
    scale = here.parameter(3, "scale") if p.affine else here.array(np.ones(C), "scale")
    bias = here.parameter(4, "bias") if p.affine else here.array(np.zeros(C), "bias")
    if layer.use_global:
        mean, variance, count = (blob.data for blob in layer.blobs[:3])
        factor = 1 / count[0] if count[0] else 0.0  # nothing seen yet, as in Caffe
        statistics = here.array(mean * factor, "mean"), here.array(variance * factor, "variance")
        return here.op("BatchNormalization", here.x[0], scale, bias, *statistics, epsilon=p.eps)
    axes = [axis for axis in range(len(here.bottom())) if axis != 1]
    y = centered(here, here.x[0], axes)
    y = here.op("Div", y, here.op("Sqrt", here.scaled(variance_of(here, y, axes), summand=p.eps)))
    if p.affine:
        count = len(here.bottom())
        y = here.op("Mul", y, here.per_axis(3, "scale", 1, count))
        y = here.op("Add", y, here.per_axis(4, "bias", 1, count))
    return y


def centered(here: Here, x: Tensor, axes: list[int]) -> Tensor:
    """x less its mean over the axes."""
    return here.op("Sub", x, here.op("ReduceMean", x, here.ints(axes, "axes"), keepdims=1))


def variance_of(here: Here, x: Tensor, axes: list[int]) -> Tensor:
    """The mean of x² over the axes."""
    return here.op("ReduceMean", here.op("Mul", x, x), here.ints(axes, "axes"), keepdims=1)


def mvn(here: Here) -> Tensor:
    p, count = here.p, len(here.bottom())
    axes = list(range(1 if p.across_channels else 2, count))
    if not axes:  # each value is its own mean
        return here.op("Sub", here.x[0], here.x[0])
    y = centered(here, here.x[0], axes)
    if not p.normalize_variance:
        return y
    s = here.scaled(here.op("Sqrt", variance_of(here, y, axes)), summand=p.eps)
    if not p.eps:
        s = here.op("Where", here.op("Equal", s, here.number(0, "zero")), here.number(1, "one"), s)
    return here.op("Div", y, s)


def group_norm(here: Here) -> Tensor:
    p, have, G = here.p, here.bottom(), here.p.num_groups
    fixed = here.making.sizes.fixed
    sizes = [dim.size for dim in have[1:] if dim.size is not None]
    if len(sizes) < len(have) - 1:
        raise NeedsFixedError("the size of its groups follows the batch")
    inner = math.prod(sizes) // G
    rows = (have[0], fixed(G), fixed(inner))
    x = here.reshape(here.x[0], have, rows)
    ones, zeros = here.array(np.ones(G), "ones"), here.array(np.zeros(G), "zeros")
    y = here.op("InstanceNormalization", x, ones, zeros, epsilon=p.eps)
    y = here.reshape(y, rows, have)
    if p.affine:
        y = here.op("Mul", y, here.per_axis(0, "scale", 1, len(have)))
        y = here.op("Add", y, here.per_axis(1, "bias", 1, len(have)))
    return y


def layer_norm(here: Here) -> Tensor:
    axis = len(here.bottom()) - len(here.layer.shape)
    if here.p.affine:
        weights = [here.parameter(0, "scale"), here.parameter(1, "bias")]
    else:
        weights = [here.array(np.ones(here.layer.shape), "scale")]
    return here.op("LayerNormalization", here.x[0], *weights, axis=axis, epsilon=here.p.eps)


def normalize(here: Here) -> Tensor:
    p, x, count = here.p, here.x[0], len(here.bottom())
    axes = here.ints(range(1, count) if p.across_spatial else [1], "axes")
    squares = here.op("ReduceSumSquare", x, axes, keepdims=1)
    y = here.op("Div", x, here.op("Sqrt", here.scaled(squares, summand=p.eps)))
    return here.op("Mul", y, here.per_axis(0, "scale", 1, count))


EMITTERS: dict[str, Emitter] = {
    "BatchNorm": batch_norm,
    "GroupNorm": group_norm,
    "LayerNorm": layer_norm,
    "MVN": mvn,
    "Normalize": normalize,
}
