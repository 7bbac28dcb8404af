"""Nodes that work on each element: activations, and sums and products of two values."""

from __future__ import annotations

from typing import Any

import numpy as np

from .builder import Value
from .converter import Converter, operation, refuse
from .graph import GraphNode

_LARGEST = 3.4028234663852886e38  # of single precision


def number(value: float) -> float | int:
    """A number of single precision as a person would write it: 0.1, not 0.10000000149."""
    short = float(np.format_float_positional(np.float32(value), unique=True)) if np.isfinite(value) else float(value)
    short = float(f"{short:.9g}") if np.float32(float(f"{short:.9g}")) == np.float32(value) else short
    return int(short) if short == int(short) and abs(short) < 1e6 else short


_PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "Relu": ("ReLU", {}),
    "Sigmoid": ("Sigmoid", {}),
    "Tanh": ("TanH", {}),
    "Softplus": ("Softplus", {}),
    "Mish": ("Mish", {}),
    "Abs": ("AbsVal", {}),
    "Exp": ("Exp", {}),
    "Log": ("Log", {}),
    "Neg": ("Power", {"scale": -1}),
    "Sqrt": ("Power", {"power": 0.5}),
    "Reciprocal": ("Power", {"power": -1}),
}


@operation(*_PLAIN)
def plain_activation(net: Converter, node: GraphNode) -> Value:
    kind, parameters = _PLAIN[node.op]
    return net.build.elementwise(kind, net.name(node), net.value(node), **parameters)


@operation("LeakyRelu")
def leaky_relu(net: Converter, node: GraphNode) -> Value:
    slope = number(node.float("alpha", 0.01))
    return net.build.elementwise("ReLU", net.name(node), net.value(node), negative_slope=slope)


@operation("Elu", "Selu", "Celu")
def elu(net: Converter, node: GraphNode) -> Value:
    name, value = net.name(node), net.value(node)
    if node.op == "Elu":
        return net.build.elementwise("ELU", name, value, **_unless(1, alpha=node.float("alpha", 1.0)))
    if node.op == "Selu":
        alpha, gamma = node.float("alpha", 1.67326319217681884765625), node.float("gamma", 1.05070102214813232421875)
        value = net.build.elementwise("ELU", f"{name}_elu", value, alpha=number(alpha))
        return net.build.elementwise("Power", name, value, scale=number(gamma))
    alpha = node.float("alpha", 1.0)  # max(x, 0) + min(0, alpha (exp(x / alpha) - 1))
    if alpha == 1:
        return net.build.elementwise("ELU", name, value)
    if not alpha:
        raise refuse("it divides by an alpha of zero")
    value = net.build.elementwise("Power", f"{name}_in", value, scale=number(1 / alpha))
    value = net.build.elementwise("ELU", f"{name}_elu", value)
    return net.build.elementwise("Power", name, value, scale=number(alpha))


def _unless(neutral: float, **given: float) -> dict[str, float | int]:
    return {name: number(value) for name, value in given.items() if number(value) != neutral}


@operation("PRelu")
def prelu(net: Converter, node: GraphNode) -> Value:
    value, slope = net.value(node), net.weights(node, 1, "the slope")
    name = net.name(node, 1)
    if slope.size == 1:
        shared = {"channel_shared": True}
        return net.build.elementwise("PReLU", name, value, blobs=[slope.reshape(())], **shared)
    axis = _only_axis(slope, value)
    inner, at = net.build.unpermuted(value, axis)
    if at != 1:
        inner, at = net.build.flat(value), axis
    if at != 1:
        raise refuse("its slope is not one for each channel")
    made = net.build.add("PReLU", name, [inner.blob], blobs=[slope.ravel()])[0]
    return inner.on(made) if inner.shape == value.shape else net.build.repermuted(value, made, inner.base)


def _only_axis(array: np.ndarray, value: Value) -> int:
    """The axis that a constant has values along. Raises UnsupportedError where there are several."""
    axes = [i - array.ndim + len(value.shape) for i, n in enumerate(array.shape) if n != 1]
    if len(axes) != 1 or axes[0] < 0 or value.shape[axes[0]] != array.size:
        raise refuse(f"a constant of {array.shape} is not one for each channel")
    return axes[0]


@operation("HardSigmoid", "HardSwish")
def hard_sigmoid(net: Converter, node: GraphNode) -> Value:
    name, value = net.name(node), net.value(node)
    swish = node.op == "HardSwish"
    alpha, beta = (1 / 6, 0.5) if swish else (node.float("alpha", 0.2), node.float("beta", 0.5))
    gate = net.build.elementwise("Power", f"{name}_line", value, scale=number(alpha), shift=number(beta))
    gate = net.build.elementwise("Clip", f"{name}_gate" if swish else name, gate, min=0, max=1)
    return eltwise(net, name, [value, gate], "PROD") if swish else gate


@operation("Softsign")
def softsign(net: Converter, node: GraphNode) -> Value:
    name, value = net.name(node), net.value(node)
    below = net.build.elementwise("AbsVal", f"{name}_abs", value)
    below = net.build.elementwise("Power", f"{name}_below", below, shift=1, power=-1)
    return eltwise(net, name, [value, below], "PROD")


@operation("ThresholdedRelu")
def thresholded_relu(net: Converter, node: GraphNode) -> Value:
    name, value = net.name(node), net.value(node)
    gate = net.build.elementwise("Threshold", f"{name}_gate", value, threshold=number(node.float("alpha", 1.0)))
    return eltwise(net, name, [value, gate], "PROD")


@operation("Gelu", "com.microsoft.Gelu")
def gelu(net: Converter, node: GraphNode) -> Value:
    more = {"approximate": "tanh"} if node.text("approximate", "none") == "tanh" else {}
    return net.build.elementwise("GELU", net.name(node), net.value(node), **more)


@operation("Swish", "com.microsoft.QuickGelu")
def swish(net: Converter, node: GraphNode) -> Value:
    beta = node.float("alpha", 1.0 if node.op == "Swish" else 1.702)
    kind, more = ("SiLU", {}) if beta == 1 else ("Swish", {"beta": number(beta)})
    return net.build.elementwise(kind, net.name(node), net.value(node), **more)


@operation("Erf")
def erf(net: Converter, node: GraphNode) -> Value:
    """Only as a part of x (1 + erf(x / √2)) / 2, which is GELU: the last node of that gets it."""
    before, plus = net.maker(node.inputs[0]), net.only_reader(node.outputs[0])
    if before is not None and plus is not None and plus.op == "Add" and any(_is_number(net, i, 1) for i in plus.inputs):
        x, factor = _scaled(net, before)
        found = net.values.get(x)
        last, chain = _gate_of(net, plus, x)
        if last is not None and isinstance(found, Value) and factor is not None and abs(factor - 0.5**0.5) < 1e-4:
            made = net.build.elementwise("GELU", net.name(last if last.name else node), found)
            net.values[last.outputs[0]] = made
            net.done |= {id(plus), id(last), *map(id, chain)}
            return made
    raise refuse("no layer computes erf but as a part of GELU, x (1 + erf(x / √2)) / 2")


def _gate_of(net: Converter, plus: GraphNode, x: str) -> tuple[GraphNode | None, list[GraphNode]]:
    """The node that has x / 2 times the sum, in whichever order the three are multiplied, and those before it."""
    times = net.only_reader(plus.outputs[0])
    if times is None or times.op != "Mul":
        return None, []
    other = next((name for name in times.inputs if name != plus.outputs[0]), "")
    half = net.maker(other)
    if half is not None and _scaled(net, half) == (x, 0.5):
        return times, []
    last = net.only_reader(times.outputs[0])
    if last is not None and last.op == "Mul" and times.outputs[0] in last.inputs:
        rest = next((name for name in last.inputs if name != times.outputs[0]), "")
        if (other == x and _is_number(net, rest, 0.5)) or (_is_number(net, other, 0.5) and rest == x):
            return last, [times]
    return None, []


def _is_number(net: Converter, name: str, wanted: float) -> bool:
    found = net.values.get(name)
    return isinstance(found, np.ndarray) and found.size == 1 and abs(float(found.ravel()[0]) - wanted) < 1e-6


def _scaled(net: Converter, node: GraphNode) -> tuple[str, float | None]:
    """Of x · c and x / c: the name of x, and the factor; no factor for anything else."""
    if node.op in ("Mul", "Div") and len(node.inputs) == 2:
        for x, c in (node.inputs, node.inputs[::-1]) if node.op == "Mul" else (node.inputs,):
            found = net.values.get(c)
            if isinstance(found, np.ndarray) and found.size == 1 and float(found.ravel()[0]):
                factor = float(found.ravel()[0])
                return x, 1 / factor if node.op == "Div" else round(factor, 7)
    return "", None


@operation("Clip")
def clip(net: Converter, node: GraphNode) -> Value:
    low, high = net.number(node, 1, "min", -_LARGEST), net.number(node, 2, "max", _LARGEST)
    low, high = max(low, -_LARGEST), min(high, _LARGEST)
    value = net.value(node)
    if low == 0 and high == _LARGEST:
        return net.build.elementwise("ReLU", net.name(node), value)
    return net.build.elementwise("Clip", net.name(node), value, min=number(low), max=number(high))


# Two values.


@operation("Add", "Sub", "Mul", "Div", "Sum", "Max", "Min", "Mean", "Pow")
def arithmetic(net: Converter, node: GraphNode) -> Value:
    known = [net.known(node, i) for i in range(len(node.inputs))]
    if any(item is None for item in known) or not known:
        raise refuse("an input is missing")
    name = net.name(node)
    if len(known) == 1:
        return net.value(node)
    if len(known) == 2:
        where = [i for i, item in enumerate(known) if isinstance(item, np.ndarray)]
        if len(where) == 1:
            made = _with_constant(net, node, net.value(node, 1 - where[0]), where[0])
            if made is not None:
                return made
    values = [net.value(node, i) for i in range(len(known))]
    if node.op in ("Add", "Sum"):
        return eltwise(net, name, values, "SUM")
    if node.op == "Sub":
        return eltwise(net, name, values, "SUM", coeff=[1, -1])
    if node.op == "Mean":
        return eltwise(net, name, values, "SUM", coeff=[1 / len(values)] * len(values))
    if node.op in ("Mul", "Max"):
        return eltwise(net, name, values, "PROD" if node.op == "Mul" else "MAX")
    if node.op == "Div":
        below = net.build.elementwise("Power", f"{name}_below", values[1], power=-1)
        return eltwise(net, name, [values[0], below], "PROD")
    if node.op == "Pow":
        return eltwise(net, name, values, "POW")
    values = [net.build.elementwise("Power", f"{name}_minus", value, scale=-1) for value in values]
    return net.build.elementwise("Power", name, eltwise(net, f"{name}_max", values, "MAX"), scale=-1)


def eltwise(net: Converter, name: str, values: list[Value], what: str, **more: Any) -> Value:
    """Eltwise, on views where all are the same one, with shapes that are stretched where they differ."""
    first = values[0]
    operation = {} if what == "SUM" else {"operation": what}
    if all(v.same_view(first) for v in values):
        return first.on(net.build.add("Eltwise", name, [v.blob for v in values], **operation, **more)[0])
    if all(v.perm == first.perm and not v.is_reshaped for v in values):
        made = net.build.add("Eltwise", name, [v.blob for v in values], **operation, **more, broadcast=True)[0]
        return net.build.repermuted(first, made, np.broadcast_shapes(*(v.base for v in values)))
    shape = np.broadcast_shapes(*(v.shape for v in values))
    full = [net.build.flat(v.viewed((1,) * (len(shape) - len(v.shape)) + v.shape, name)) for v in values]
    if not all(v.shape == full[0].shape for v in full):
        more["broadcast"] = True
    made = net.build.add("Eltwise", name, [v.blob for v in full], **operation, **more)[0]
    return Value(made, shape, tuple(range(len(shape))), shape)


def _with_constant(net: Converter, node: GraphNode, value: Value, at: int) -> Value | None:
    """One value and one constant, which is input ``at``; None where that is no number and not along some axes."""
    array = net.weights(node, at, "the constant")
    constant_name = node.inputs[at]
    name, first = net.name(node, at), at == 0
    if array.size == 1 and array.ndim <= len(value.shape):
        return _with_number(net, node.op, name, value, float(array.ravel()[0]), first)
    if node.op == "Sub":
        if first:
            value = net.build.elementwise("Power", f"{name}_minus", value, scale=-1)
        else:
            array = -array
    elif node.op == "Div":
        if first:
            value = net.build.elementwise("Power", f"{name}_below", value, power=-1)
        else:
            with np.errstate(divide="ignore"):
                array = 1 / array
    elif node.op not in ("Add", "Mul"):
        return None
    if array.ndim > len(value.shape):
        value = value.viewed((1,) * (array.ndim - len(value.shape)) + value.shape, name)
    axes = [i - array.ndim + len(value.shape) for i, n in enumerate(array.shape) if n != 1]
    if not axes or axes != list(range(axes[0], axes[-1] + 1)) or len(axes) > len(value.shape):
        return None
    wanted = tuple(n for n in array.shape if n != 1)
    if any(value.shape[axis] != n for axis, n in zip(axes, wanted, strict=True)):
        return None
    if len(axes) == 1:
        inner, axis = net.build.unpermuted(value, axes[0])
    else:
        inner, axis = net.build.flat(value), axes[0]
    kind = "Bias" if node.op in ("Add", "Sub") else "Scale"
    blobs, more = [array.reshape(wanted)], _axes(axis, len(axes))
    last = node
    if kind == "Scale":
        last, offset = _offset_after(net, node, array.shape)
        if offset is not None:
            blobs.append(offset.reshape(wanted))
            more["bias_term"] = True
    rates = net.rates(constant_name, len(blobs))
    made = net.build.add(kind, name, [inner.blob], blobs=blobs, **more, **rates)[0]
    if len(axes) == 1:
        found = net.build.repermuted(value, made, inner.base)
    else:
        found = Value(made, inner.base, inner.perm, inner.shape)
    if last is not node:
        net.values[last.outputs[0]] = found
        net.done.add(id(last))
    return found


def _axes(axis: int, count: int) -> dict[str, Any]:
    return ({} if axis == 1 else {"axis": axis}) | ({} if count == 1 else {"num_axes": count})


def _offset_after(net: Converter, node: GraphNode, shape: tuple[int, ...]) -> tuple[GraphNode, np.ndarray | None]:
    """The Add of a constant of the same shape that alone reads this node's product, and the constant."""
    plus = net.only_reader(node.outputs[0])
    if plus is None or plus.op != "Add":
        return node, None
    other = next((name for name in plus.inputs if name != node.outputs[0]), "")
    array = net.values.get(other)
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype.kind != "f":
        return node, None
    if (other in net.fixed) != any(name in net.fixed for name in node.inputs):
        return node, None
    return plus, array.astype(np.float32)


def _with_number(net: Converter, op: str, name: str, value: Value, c: float, first: bool) -> Value | None:
    """x + c, c - x, x c, x / c, c / x, x^c, and the larger or smaller of x and c."""
    if op == "Max":
        return net.build.elementwise("ReLU", name, value) if c == 0 else _clip(net, name, value, c, _LARGEST)
    if op == "Min":
        return _clip(net, name, value, -_LARGEST, c)
    if op == "Pow" and first:
        return net.build.elementwise("Exp", name, value, base=number(c)) if c > 0 and c != 1 else None
    if op == "Div" and not first and c == 0:
        raise refuse("it divides by zero")
    parameters: dict[str, dict[str, float]] = {
        "Add": {"shift": c},
        "Sum": {"shift": c},
        "Sub": {"scale": -1, "shift": c} if first else {"shift": -c},
        "Mul": {"scale": c},
        "Pow": {"power": c},
        "Mean": {"scale": 0.5, "shift": c / 2},
    }
    if op == "Div":
        if not first:
            return net.build.elementwise("Power", name, value, scale=number(1 / c))
        value = net.build.elementwise("Power", f"{name}_below" if c != 1 else name, value, power=-1)
        return value if c == 1 else net.build.elementwise("Power", name, value, scale=number(c))
    neutral = {"shift": 0, "scale": 1, "power": 1}
    given = {key: number(n) for key, n in parameters[op].items() if number(n) != neutral[key]}
    return net.build.elementwise("Power", name, value, **given) if given else value


def _clip(net: Converter, name: str, value: Value, low: float, high: float) -> Value:
    return net.build.elementwise("Clip", name, value, min=number(low), max=number(high))
