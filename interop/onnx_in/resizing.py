"""Images of another size: Resize, and Upsample of older opsets."""

from __future__ import annotations

import numpy as np

from .builder import Value, has_batch, plain
from .converter import Converter, operation, refuse
from .graph import GraphNode


@operation("Resize", "Upsample")
def resize(net: Converter, node: GraphNode) -> Value:
    """Upsample where pixels are repeated, else Interp, where it places the new pixels in the same way."""
    value, name = net.build.flat(net.value(node)), net.name(node)
    if len(value.shape) != 4 or any(has_batch(size) for size in value.shape[1:]):
        raise refuse("it resizes what is no image")
    height, width = _sizes(net, node, value)
    mode, place = node.text("mode", "nearest"), node.text("coordinate_transformation_mode", "half_pixel")
    if node.op == "Upsample" or node.opset == 10:
        place, rounding = "asymmetric", "floor"
    else:
        rounding = node.text("nearest_mode", "round_prefer_floor")
    if node.integer("antialias") or node.integer("exclude_outside"):
        raise refuse("Interp looks at the nearest pixels alone")
    factors = height / value.shape[2], width / value.shape[3]
    shape = (*value.shape[:2], height, width)
    if mode == "nearest":
        whole = all(factor >= 1 and factor == int(factor) for factor in factors)
        repeats = place in ("half_pixel", "pytorch_half_pixel") and whole
        repeats = repeats or (place == "asymmetric" and rounding == "round_prefer_floor" and set(factors) <= {1, 2})
        if not repeats and (place, rounding) != ("asymmetric", "floor"):
            raise refuse(f"Interp does not choose the nearest pixel by {place} and {rounding}")
        if whole and factors[0] == factors[1]:
            return plain(net.build.add("Upsample", name, [value.blob], scale=int(factors[0]))[0], shape)
        more: dict = {"align_corners": False, "mode": "nearest"}
    elif mode in ("linear", "bilinear") and place in ("align_corners", "half_pixel", "pytorch_half_pixel"):
        if place == "pytorch_half_pixel" and 1 in (height, width):
            raise refuse("a single row or column is taken from another place by PyTorch")
        more = {} if place == "align_corners" else {"align_corners": False}
    else:
        raise refuse(f"Interp has no mode {mode} with {place}")
    return plain(net.build.add("Interp", name, [value.blob], height=height, width=width, **more)[0], shape)


def _sizes(net: Converter, node: GraphNode, value: Value) -> tuple[int, int]:
    """The new height and width, which must be those that the factors give without a rest."""
    sizes, given = net.integers(node, 3, "sizes") if node.op == "Resize" else None, None
    if sizes is None:
        i = 2 if node.op == "Resize" and node.opset != 10 else 1
        known = net.known(node, i)
        scales = node.floats("scales") if known is None else net.weights(node, i, "the factors")
        given = np.asarray(scales, float).ravel()
    elif node.text("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise refuse("it keeps the proportions of images")
    axes = node.ints("axes", None) or list(range(4))
    values = given if given is not None else sizes
    if values is None or len(values) != len(axes) or any(not -4 <= axis < 4 for axis in axes):
        raise refuse("its factors are not one for each axis")
    found = [float(size) for size in value.shape]
    for axis, number in zip(axes, values, strict=True):
        found[axis % 4] = number if given is None else value.shape[axis] * float(number)
    if tuple(found[:2]) != tuple(map(float, value.shape[:2])):
        raise refuse("it resizes examples or channels")
    if any(size != round(size) or not 1 <= size < 1 << 20 for size in found[2:]):
        raise refuse(f"the new size {found[2]:g} x {found[3]:g} is no whole number of pixels")
    return round(found[2]), round(found[3])
