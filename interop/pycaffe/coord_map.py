"""Where a place of one blob lies in another: scale and shift through convolutions, pooling and crops, by ``caffe.L``.

A map (axis, a, b) says that the coordinate x of a bottom becomes a·x + b in a top, on the axes from ``axis`` on; axis
None is any. Kernel size, stride and padding may be lists, then a and b are arrays. Used to write Crop layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .net_spec import Function, Top, layers

PASS_THROUGH = frozenset(
    [
        "AbsVal",
        "BatchNorm",
        "Bias",
        "BNLL",
        "Clip",
        "Dropout",
        "Eltwise",
        "ELU",
        "Exp",
        "Log",
        "LRN",
        "MVN",
        "Power",
        "PReLU",
        "ReLU",
        "Scale",
        "Sigmoid",
        "Split",
        "Swish",
        "TanH",
        "Threshold",
    ]
)

Map = tuple[int | None, Any, Any]


class UndefinedMapError(Exception):
    """A layer whose tops have no place in its bottoms."""


class AxisMismatchError(Exception):
    """Two maps of different axes cannot follow one another."""


UndefinedMapException, AxisMismatchException = UndefinedMapError, AxisMismatchError  # as pycaffe calls them


def conv_params(fn: Function) -> tuple[int, Any, Any, Any]:
    """First spatial axis less one, stride, extent of the kernel with dilation, and padding of a layer."""
    params = fn.params
    for name in ("convolution_param", "pooling_param", "convolution_params"):
        params = params.get(name, params)
    odd = sorted(key for key in params if key.endswith(("_h", "_w")))
    if odd:
        raise ValueError(f"{fn.type_name}: {odd[0]} is not known here; write lists, such as kernel_size=[3, 5]")
    axis = params.get("axis", 1)
    size = np.array(params["kernel_size"], ndmin=1)
    dilation = np.array(params.get("dilation", 1), ndmin=1)
    stride, pad = (np.array(params.get(name, default), ndmin=1) for name, default in (("stride", 1), ("pad", 0)))
    stride, extent, pad = (value if value.size > 1 else value[0] for value in (stride, dilation * (size - 1) + 1, pad))
    return axis, stride, extent, pad


def crop_params(fn: Function) -> tuple[int, Any]:
    """Axis and offset of a Crop layer."""
    params = fn.params.get("crop_param", fn.params)
    offset = np.array(params.get("offset", 0), ndmin=1)
    return params.get("axis", 2), offset if offset.size > 1 else offset[0]


def coord_map(fn: Function) -> Map:
    """The map from the bottoms of a layer to its tops. Raises UndefinedMapError."""
    if fn.type_name in ("Convolution", "Pooling", "Im2col"):
        axis, stride, extent, pad = conv_params(fn)
        return axis, 1 / stride, (pad - (extent - 1) / 2) / stride
    if fn.type_name == "Deconvolution":
        axis, stride, extent, pad = conv_params(fn)
        return axis, stride, (extent - 1) / 2 - pad
    if fn.type_name == "Crop":
        axis, offset = crop_params(fn)
        return axis - 1, 1, -offset
    if fn.type_name in PASS_THROUGH:
        return None, 1, 0
    raise UndefinedMapError(f"{fn.type_name} has no map of coordinates")


def compose(second: Map, first: Map) -> Map:
    """The map of one after another. Raises AxisMismatchError."""
    (axis, a2, b2), (other, a1, b1) = second, first
    if axis is not None and other is not None and axis != other:
        raise AxisMismatchError(f"the maps are of different axes: {axis} and {other}")
    return (other if axis is None else axis), a2 * a1, a2 * b1 + b2


def inverse(coord: Map) -> Map:
    """The way back."""
    axis, a, b = coord
    return axis, 1 / a, -b / a


def _ways(start: Top) -> Iterator[tuple[Top, Map]]:
    """``start`` and every blob before it, as far as there are maps, and the map from there to ``start``."""
    waiting: list[tuple[Top, Map]] = [(start, (None, 1, 0))]
    seen: set[Top] = set()
    while waiting:
        top, found = waiting.pop()
        if top in seen:
            continue
        seen.add(top)
        yield top, found
        inputs = top.fn.inputs[:1] if top.fn.type_name == "Crop" else top.fn.inputs
        try:
            step = coord_map(top.fn)
        except UndefinedMapError:
            continue
        waiting += [(bottom, compose(found, step)) for bottom in inputs]


def coord_map_from_to(top_from: Top, top_to: Top) -> Map:
    """The map from the coordinates of one blob to those of another, by what both come from.

    Raises RuntimeError where no spatial layers connect them.
    """
    ways = dict(_ways(top_from))
    for top, to in _ways(top_to):
        if top in ways:
            return compose(to, inverse(ways[top]))
    raise RuntimeError("there is no map between the two: they are not connected by spatial layers")


def crop(top_from: Top, top_to: Top) -> Top:
    """A Crop layer that cuts ``top_from`` to the places of ``top_to``.

    Raises AssertionError where the two differ in scale, or the cut would begin outside or between pixels.
    """
    axis, a, b = coord_map_from_to(top_from, top_to)
    if not np.all(np.equal(a, 1)):
        raise AssertionError(f"the scales differ by {a}: one cannot be cut to the other")
    if not np.all(np.less_equal(b, 0)):
        raise AssertionError(f"the cut would begin at {-np.asarray(b)}, outside of what is cut")
    if not np.all(np.equal(np.round(b), b)):
        raise AssertionError(f"the cut would begin at {-np.asarray(b)}, between pixels")
    offset = [int(value) for value in np.atleast_1d(-np.round(b))]
    return layers.Crop(top_from, top_to, crop_param={"axis": 2 if axis is None else axis + 1, "offset": offset})
