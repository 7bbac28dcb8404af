"""Nodes that work on each element of one value."""

from __future__ import annotations

from typing import Any

import numpy as np

from .builder import Value, broadcast
from .converter import Converter, operation, refuse
from .graph import GraphNode

LARGEST = 3.4028234663852886e38  # of single precision


def number(value: float) -> float | int:
    """A number of single precision as a person would write it: 0.1, not 0.10000000149."""
    short = float(np.format_float_positional(np.float32(value), unique=True)) if np.isfinite(value) else float(value)
    short = float(f"{short:.9g}") if np.float32(float(f"{short:.9g}")) == np.float32(value) else short
    return int(short) if short == int(short) and abs(short) < 1e6 else short


def eltwise(net: Converter, name: str, values: list[Value], what: str, **more: Any) -> Value:
    """Eltwise, on views where all are the same one, with shapes that are stretched where they differ."""
    first = values[0]
    operation: dict[str, Any] = {} if what == "SUM" else {"operation": what}
    if all(v.same_view(first) for v in values):
        return first.on(net.build.add("Eltwise", name, [v.blob for v in values], **operation, **more)[0])
    if all(v.perm == first.perm and not v.is_reshaped for v in values):
        made = net.build.add("Eltwise", name, [v.blob for v in values], **operation, **more, broadcast=True)[0]
        return net.build.repermuted(first, made, broadcast(*(v.base for v in values)))
    shape = broadcast(*(v.shape for v in values))
    full = [net.build.flat(v.viewed((1,) * (len(shape) - len(v.shape)) + v.shape, name)) for v in values]
    if not all(v.shape == full[0].shape for v in full):
        more["broadcast"] = True
    made = net.build.add("Eltwise", name, [v.blob for v in full], **operation, **more)[0]
    return Value(made, shape, tuple(range(len(shape))), shape)


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
    slope = number(node.real("alpha", 0.01))
    return net.build.elementwise("ReLU", net.name(node), net.value(node), negative_slope=slope)


@operation("Elu", "Selu", "Celu")
def elu(net: Converter, node: GraphNode) -> Value:
    name, value = net.name(node), net.value(node)
    if node.op == "Elu":
        return net.build.elementwise("ELU", name, value, **_unless(1, alpha=node.real("alpha", 1.0)))
    if node.op == "Selu":
        alpha, gamma = node.real("alpha", 1.67326319217681884765625), node.real("gamma", 1.05070102214813232421875)
        value = net.build.elementwise("ELU", f"{name}_elu", value, alpha=number(alpha))
        return net.build.elementwise("Power", name, value, scale=number(gamma))
    alpha = node.real("alpha", 1.0)  # max(x, 0) + min(0, alpha (exp(x / alpha) - 1))
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
    alpha, beta = (1 / 6, 0.5) if swish else (node.real("alpha", 0.2), node.real("beta", 0.5))
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
    gate = net.build.elementwise("Threshold", f"{name}_gate", value, threshold=number(node.real("alpha", 1.0)))
    return eltwise(net, name, [value, gate], "PROD")


@operation("Gelu", "com.microsoft.Gelu")
def gelu(net: Converter, node: GraphNode) -> Value:
    more = {"approximate": "tanh"} if node.text("approximate", "none") == "tanh" else {}
    return net.build.elementwise("GELU", net.name(node), net.value(node), **more)


@operation("Swish", "com.microsoft.QuickGelu")
def swish(net: Converter, node: GraphNode) -> Value:
    beta = node.real("alpha", 1.0 if node.op == "Swish" else 1.702)
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
    low, high = net.number(node, 1, "min", -LARGEST), net.number(node, 2, "max", LARGEST)
    low, high = max(low, -LARGEST), min(high, LARGEST)
    value = net.value(node)
    if low == 0 and high == LARGEST:
        return net.build.elementwise("ReLU", net.name(node), value)
    return net.build.elementwise("Clip", net.name(node), value, min=number(low), max=number(high))
