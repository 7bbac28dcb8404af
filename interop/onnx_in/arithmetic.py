"""Nodes of two or more values: sums, products, powers, extremes."""

from __future__ import annotations

from typing import Any

import numpy as np

from .activations import LARGEST, eltwise, number
from .builder import Value
from .converter import Converter, operation, refuse
from .graph import GraphNode


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
        if len(where) == 1 and net.has_inputs:  # else the parameters are all there is
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
        return net.build.elementwise("ReLU", name, value) if c == 0 else _clip(net, name, value, c, LARGEST)
    if op == "Min":
        return _clip(net, name, value, -LARGEST, c)
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
