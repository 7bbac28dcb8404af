"""Functions of single elements and of classes, as ONNX has them."""

from __future__ import annotations

import math

from .graph import Tensor
from .here import Emitter, Here


def plain(kind: str) -> Emitter:
    """A layer that is one operation without attributes."""
    return lambda here: here.op(kind, here.x[0])


def relu(here: Here) -> Tensor:
    slope = here.p.negative_slope
    return here.op("LeakyRelu", here.x[0], alpha=slope) if slope else here.op("Relu", here.x[0])


def prelu(here: Here) -> Tensor:
    count = len(here.bottom())
    if here.p.channel_shared:
        return here.op("PRelu", here.x[0], here.parameter(0, "slope", (1,)))
    return here.op("PRelu", here.x[0], here.per_axis(0, "slope", 1, count))


def clip(here: Here) -> Tensor:
    return here.op("Clip", here.x[0], here.number(here.p.min, "min"), here.number(here.p.max, "max"))


def exp(here: Here) -> Tensor:
    base = here.p.log_base
    return here.op("Exp", here.scaled(here.x[0], here.p.scale * base, here.p.shift * base))


def log(here: Here) -> Tensor:
    y = here.op("Log", here.scaled(here.x[0], here.p.scale, here.p.shift))
    return here.scaled(y, 1 / here.p.log_base)


def power(here: Here) -> Tensor:
    p = here.p
    if not (p.power and p.scale):
        try:
            constant = p.shift**p.power
        except ZeroDivisionError:
            constant = math.inf
        return here.op("Expand", here.number(constant, "constant"), here.op("Shape", here.x[0]))
    y = here.scaled(here.x[0], p.scale, p.shift)
    return y if p.power == 1 else here.op("Pow", y, here.number(p.power, "power"))


def threshold(here: Here) -> Tensor:
    return here.op("Cast", here.op("Greater", here.x[0], here.number(here.p.threshold, "threshold")), to=1)


def swish(here: Here) -> Tensor:
    return here.op("Mul", here.x[0], here.op("Sigmoid", here.scaled(here.x[0], here.layer.beta)))


def softplus(here: Here) -> Tensor:
    beta, limit = here.p.beta, here.p.threshold
    y = here.scaled(here.op("Softplus", here.scaled(here.x[0], beta)), 1 / beta)
    if limit >= 20:  # above it the two are equal in single precision
        return y
    above = here.op("Greater", here.x[0], here.number(limit / beta, "threshold"))
    return here.op("Where", above, here.x[0], y)


def gelu(here: Here) -> Tensor:
    x = here.x[0]
    if here.p.approximate == "none":
        inner = here.op("Erf", here.scaled(x, math.sqrt(0.5)))
    else:
        slope = math.sqrt(2 / math.pi)
        square = here.op("Mul", x, x)
        inner = here.op("Tanh", here.op("Mul", here.scaled(square, 0.044715 * slope, slope), x))
    return here.op("Mul", x, here.scaled(here.scaled(inner, summand=1), 0.5))


def along_axis(kind: str) -> Emitter:
    """Softmax and LogSoftmax."""
    return lambda here: here.op(kind, here.x[0], axis=here.axis(here.p.axis))


def maxout(here: Here) -> Tensor:
    axis, pieces = here.axis(here.p.axis), here.p.num_pieces
    have, want = here.bottom(), here.top()
    parts = here.making.sizes.fixed(pieces)
    x = here.reshape(here.x[0], have, (*want[: axis + 1], parts, *want[axis + 1 :]))
    return here.op("ReduceMax", x, here.ints([axis + 1], "axes"), keepdims=0)


def same(here: Here) -> list[Tensor]:
    """A layer whose tops have the values of its bottom: there is nothing to compute."""
    return [here.x[0]] * len(here.step.top)


EMITTERS: dict[str, Emitter] = {
    "AbsVal": plain("Abs"),
    "BNLL": plain("Softplus"),
    "Clip": clip,
    "Dropout": same,
    "ELU": lambda here: here.op("Elu", here.x[0], alpha=here.p.alpha),
    "Exp": exp,
    "GELU": gelu,
    "Log": log,
    "LogSoftmax": along_axis("LogSoftmax"),
    "Maxout": maxout,
    "Mish": plain("Mish"),
    "PReLU": prelu,
    "Power": power,
    "ReLU": relu,
    "SiLU": swish,
    "Sigmoid": plain("Sigmoid"),
    "Softmax": along_axis("Softmax"),
    "Softplus": softplus,
    "Swish": swish,
    "TanH": plain("Tanh"),
    "Threshold": threshold,
}
