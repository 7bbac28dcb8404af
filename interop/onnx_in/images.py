"""Nodes that work on images: convolutions, pooling, borders, normalizations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .activations import number
from .builder import Value, has_batch, plain
from .converter import Converter, operation, refuse
from .graph import GraphNode
from .parts import part


def _spatial(value: Value, weight_rank: int | None = None) -> int:
    axes = len(value.shape) - 2
    if axes < 1 or (weight_rank is not None and weight_rank != len(value.shape)):
        raise refuse("its input has not the axes of its kernel")
    if any(has_batch(size) for size in value.shape[1:]):
        raise refuse("its input's axes depend on the number of examples")
    return axes


def _numbers(node: GraphNode, name: str, axes: int, default: int = 1, least: int = 1) -> list[int]:
    found = node.ints(name, None) or [default] * axes
    if len(found) != axes or any(not least <= n < 1 << 20 for n in found):
        raise refuse(f"`{name}` is {found}, for {axes} axes")
    return found


def _pads(
    node: GraphNode, sizes: Sequence[int], kernel: list[int], stride: list[int], dilation: list[int]
) -> tuple[list[int], list[int]]:
    """What is added before and after each axis; SAME pads as much as ceil(size / stride) outputs need."""
    auto, axes = node.text("auto_pad", "NOTSET") or "NOTSET", len(kernel)
    if auto == "VALID":
        return [0] * axes, [0] * axes
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        total = [
            max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size)
            for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True)
        ]
        small, large = [n // 2 for n in total], [n - n // 2 for n in total]
        return (small, large) if auto == "SAME_UPPER" else (large, small)
    if auto != "NOTSET":
        raise refuse(f"auto_pad {auto} is none of ONNX's")
    pads = node.ints("pads", None) or [0] * (2 * axes)
    if len(pads) != 2 * axes or any(not -(1 << 20) < n < 1 << 20 for n in pads):
        raise refuse(f"`pads` is {pads}, for {axes} axes")
    return pads[:axes], pads[axes:]


def _one(numbers: list[int]) -> int | list[int]:
    return numbers[0] if len(set(numbers)) == 1 else numbers


def _unless(neutral: int, **given: list[int]) -> dict[str, Any]:
    return {name: _one(numbers) for name, numbers in given.items() if set(numbers) != {neutral}}


def padded(
    net: Converter, name: str, value: Value, before: list[int], after: list[int], fill: float = 0.0, mode: str = ""
) -> Value:
    """A frame around the last axes; where it is negative, they are cut."""
    first = len(value.shape) - len(before)
    for i, (b, a) in enumerate(zip(before, after, strict=True)):
        if b < 0 or a < 0:
            axis = first + i
            value = part(net, f"{name}_crop", value, axis, max(0, -b), value.shape[axis] - max(0, -a))
    before, after = [max(0, n) for n in before], [max(0, n) for n in after]
    if not any(before) and not any(after):
        return value
    inner = net.build.flat(value)
    while before and not before[0] and not after[0]:
        before, after, first = before[1:], after[1:], first + 1
    pairs = [b if b == a else [b, a] for b, a in zip(before, after, strict=True)]
    pad: Any = pairs[0] if all(pair == pairs[0] for pair in pairs) and isinstance(pairs[0], int) else pairs
    more: dict[str, Any] = {} if first == 2 else {"axis": first}
    more |= {"mode": mode} if mode else {} if fill == 0 else {"value": number(fill)}
    shape = list(inner.shape)
    for i, (b, a) in enumerate(zip(before, after, strict=True)):
        shape[first + i] += b + a
    return plain(net.build.add("Pad", name, [inner.blob], pad=pad, **more)[0], shape)


@operation("Conv")
def conv(net: Converter, node: GraphNode) -> Value:
    value, weight = net.build.flat(net.value(node)), net.weights(node, 1, "the weight")
    axes = _spatial(value, weight.ndim)
    bias = net.weights(node, 2, "the bias") if net.known(node, 2) is not None else None
    kernel, group, channels = list(weight.shape[2:]), node.integer("group", 1), value.shape[1]
    if group < 1 or weight.shape[1] * group != channels or weight.shape[0] % group or 0 in weight.shape:
        raise refuse(f"its weight {weight.shape} does not fit {channels} channels in {group} groups")
    if node.ints("kernel_shape", kernel) != kernel:
        raise refuse("its kernel_shape is not that of its weight")
    stride, dilation = _numbers(node, "strides", axes), _numbers(node, "dilations", axes)
    name = net.name(node, 1, 2)
    before, after = _pads(node, value.shape[2:], kernel, stride, dilation)
    if before != after or min(before) < 0:
        value = padded(net, f"{name}_pad", value, before, after)
        before = [0] * axes
    last, bias = _bias_for(net, node, weight.shape[0], bias)
    shape = [
        (size + 2 * p - (d * (k - 1) + 1)) // s + 1
        for size, p, d, k, s in zip(value.shape[2:], before, dilation, kernel, stride, strict=True)
    ]
    if min(shape) < 1:
        raise refuse("its kernel is larger than its input")
    made = net.build.add(
        "Convolution",
        name,
        [value.blob],
        blobs=[weight] if bias is None else [weight, bias],
        num_output=weight.shape[0],
        kernel_size=_one(kernel),
        **_unless(1, stride=stride),
        **_unless(0, pad=before),
        **_unless(1, dilation=dilation),
        **({} if group == 1 else {"group": group}),
        **({"bias_term": False} if bias is None else {}),
    )
    return _at_end(net, node, last, plain(made[0], (value.shape[0], weight.shape[0], *shape)))


def _bias_for(
    net: Converter, node: GraphNode, count: int, bias: np.ndarray | None
) -> tuple[GraphNode, np.ndarray | None]:
    """The bias, which Keras has in an Add after the convolution, and the last node that belongs to it."""
    if bias is not None:
        if bias.shape != (count,):
            raise refuse(f"its bias {bias.shape} is not one for each of {count} channels")
        return node, bias
    plus = net.only_reader(node.outputs[0])
    if plus is None or plus.op != "Add" or len(plus.inputs) != 2:
        return node, None
    other = net.values.get(next((name for name in plus.inputs if name != node.outputs[0]), ""))
    if not isinstance(other, np.ndarray) or other.dtype.kind != "f" or other.size != count or other.ndim < 3:
        return node, None
    if other.shape[-(other.ndim - (0 if other.ndim == 3 else 1))] != count:
        return node, None
    return plus, other.astype(np.float32).ravel()


def _at_end(net: Converter, node: GraphNode, last: GraphNode, value: Value) -> Value:
    if last is not node:
        net.values[last.outputs[0]] = value
        net.done.add(id(last))
    return value


@operation("ConvTranspose")
def conv_transpose(net: Converter, node: GraphNode) -> Value:
    value, weight = net.build.flat(net.value(node)), net.weights(node, 1, "the weight")
    axes = _spatial(value, weight.ndim)
    bias = net.weights(node, 2, "the bias") if net.known(node, 2) is not None else None
    kernel, group = list(weight.shape[2:]), node.integer("group", 1)
    if group < 1 or weight.shape[0] != value.shape[1] or weight.shape[0] % group or 0 in weight.shape:
        raise refuse(f"its weight {weight.shape} does not fit {value.shape[1]} channels in {group} groups")
    outputs = weight.shape[1] * group
    if bias is not None and bias.shape != (outputs,):
        raise refuse(f"its bias {bias.shape} is not one for each of {outputs} channels")
    stride, dilation = _numbers(node, "strides", axes), _numbers(node, "dilations", axes)
    extra = _numbers(node, "output_padding", axes, 0, 0)
    sizes = value.shape[2:]
    full = [s * (n - 1) + d * (k - 1) + 1 for n, s, d, k in zip(sizes, stride, dilation, kernel, strict=True)]
    wanted, auto = node.ints("output_shape", None), node.text("auto_pad", "NOTSET") or "NOTSET"
    if auto in ("SAME_UPPER", "SAME_LOWER") and not wanted:
        wanted = [n * s for n, s in zip(sizes, stride, strict=True)]
    if wanted:
        total = [f + e - w for f, e, w in zip(full, extra, wanted[-axes:], strict=True)]
        small, large = [n // 2 for n in total], [n - n // 2 for n in total]
        before, after = (small, large) if auto == "SAME_UPPER" else (large, small)
    else:
        before, after = _pads(node, sizes, kernel, stride, dilation)
    after = [a - e for a, e in zip(after, extra, strict=True)]  # rows that output_padding leaves
    name = net.name(node, 1, 2)
    both = [max(0, min(b, a)) for b, a in zip(before, after, strict=True)]
    if any(a < 0 or b < 0 for a, b in zip(after, before, strict=True)):
        raise refuse("its output_padding reaches beyond what the kernel covers")
    if any(f - 2 * p < 1 for f, p in zip(full, both, strict=True)):
        raise refuse("its pads leave nothing")
    made = net.build.add(
        "Deconvolution",
        name,
        [value.blob],
        blobs=[weight] if bias is None else [weight, bias],
        num_output=outputs,
        kernel_size=_one(kernel),
        **_unless(1, stride=stride),
        **_unless(0, pad=both),
        **_unless(1, dilation=dilation),
        **({} if group == 1 else {"group": group}),
        **({"bias_term": False} if bias is None else {}),
    )
    found = plain(made[0], (value.shape[0], outputs, *[f - 2 * p for f, p in zip(full, both, strict=True)]))
    cut = [p - b for p, b in zip(both, before, strict=True)], [p - a for p, a in zip(both, after, strict=True)]
    return padded(net, name, found, *cut)


@operation("MaxPool", "AveragePool")
def pool(net: Converter, node: GraphNode) -> Value:
    value, name = net.build.flat(net.value(node)), net.name(node)
    axes = _spatial(value)
    if not node.has("kernel_shape"):
        raise refuse("its kernel_shape is missing")
    kernel, stride = _numbers(node, "kernel_shape", axes), _numbers(node, "strides", axes)
    if set(_numbers(node, "dilations", axes)) != {1}:
        raise refuse("Pooling has no dilation")
    if node.integer("storage_order"):
        raise refuse("Pooling numbers places by rows, not by columns")
    is_max, ceil = node.op == "MaxPool", bool(node.integer("ceil_mode"))
    before, after = _pads(node, value.shape[2:], kernel, stride, [1] * axes)
    counts = is_max or bool(node.integer("count_include_pad"))
    shape = value.shape
    if axes == 1:  # an image of one row
        value = net.build.flat(value.viewed((*shape[:2], 1, shape[2]), f"{name}_row"))
        kernel, stride, before, after = [1, *kernel], [1, *stride], [0, *before], [0, *after]
    while axes > 2 and kernel[-1] == stride[-1] == 1 and not before[-1] and not after[-1]:  # the last two axes as one
        if kernel[-2] != 1 or stride[-2] != 1 or before[-2] or after[-2]:
            break
        axes, rows = axes - 1, value.shape
        value = net.build.flat(value.viewed((*rows[:-2], rows[-2] * rows[-1]), f"{name}_rows"))
        kernel, stride, before, after = kernel[:-1], stride[:-1], before[:-1], after[:-1]
    if axes > 2:
        raise refuse("Pooling takes images, and no volumes")
    if min(before + after) < 0:
        raise refuse(f"its pads are negative: {before + after}")
    if any(p >= k for p, k in zip(before + after, kernel * 2, strict=True)):
        raise refuse("a window may lie in the border alone")
    out = [
        _pooled(size, k, s, b, a, ceil)
        for size, k, s, b, a in zip(value.shape[2:], kernel, stride, before, after, strict=True)
    ]
    parameters: dict[str, Any] = {} if is_max else {"pool": "AVE"}
    parameters |= (
        _both("kernel", kernel) | ({} if stride == [1, 1] else _both("stride", stride)) | _border(before, after, counts)
    )
    if not ceil and out != [
        _pooled(size, k, s, b, a, True)
        for size, k, s, b, a in zip(value.shape[2:], kernel, stride, before, after, strict=True)
    ]:
        parameters["round_mode"] = "FLOOR"
    found = plain(net.build.add("Pooling", name, [value.blob], **parameters)[0], (*value.shape[:2], *out))
    if axes == 1:
        return found.viewed((*shape[:2], out[1]), f"{name}_flat")
    return found.viewed((*shape[:2], out[0], *shape[3:]), f"{name}_volume") if len(shape) > 4 else found


def _border(before: list[int], after: list[int], counts: bool) -> dict[str, Any]:
    """The parameters for Pooling's border."""
    if not any(before + after):
        return {}
    more: dict[str, Any] = {}
    if not counts:
        more["count_include_pad"] = False
    if before == after:
        return _both("pad", before) | more
    sides = {"pad_t": before[0], "pad_b": after[0], "pad_l": before[1], "pad_r": after[1]}
    return {key: n for key, n in sides.items() if n} | more


def _both(what: str, numbers: list[int]) -> dict[str, Any]:
    if numbers[0] == numbers[1]:
        return {f"{what}_size" if what == "kernel" else what: numbers[0]}
    return {f"{what}_h": numbers[0], f"{what}_w": numbers[1]}


def _pooled(size: int, kernel: int, stride: int, before: int, after: int, ceil: bool) -> int:
    room = size + before + after - kernel
    if room < 0:
        raise refuse("its kernel is larger than its input")
    count = (-(-room // stride) if ceil else room // stride) + 1
    return count - 1 if ceil and (count - 1) * stride >= size + before else count


@operation("Pad")
def pad(net: Converter, node: GraphNode) -> Value:
    value = net.value(node)
    pads = net.integers(node, 1, "pads") if node.opset == 0 or node.opset >= 11 else node.ints("pads", None)
    rank, mode = len(value.shape), node.text("mode", "constant") or "constant"
    fill = net.number(node, 2, "value", 0.0)
    axes = net.integers(node, 3, "axes") if len(node.inputs) > 3 and node.inputs[3] else list(range(rank))
    axes = [value.axis(axis) for axis in axes or ()]
    if pads is None or len(pads) != 2 * len(axes) or len(set(axes)) != len(axes):
        raise refuse("its pads are not two for each axis")
    if mode not in ("constant", "reflect", "edge"):
        raise refuse(f"Pad has no mode {mode}")
    before, after = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], after[axis] = pads[i], pads[len(axes) + i]
    if before[0] or after[0]:
        raise refuse("it adds examples")
    return padded(net, net.name(node), value, before, after, fill, "" if mode == "constant" else mode)
