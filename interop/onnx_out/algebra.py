"""Products, sums and comparisons of blobs, as ONNX has them."""

from __future__ import annotations

import math

import numpy as np

from ...net.example import labels
from .graph import Tensor
from .here import Emitter, Here


def inner_product(here: Here) -> Tensor:
    p, have = here.p, here.bottom()
    axis = here.axis(p.axis)
    K = math.prod(blob_size(here))
    if axis == 1:
        x = here.op("Flatten", here.x[0], axis=1) if len(have) > 2 else here.x[0]
        given = [here.parameter(0, "weight"), *([here.parameter(1, "bias")] if p.bias_term else [])]
        return here.op("Gemm", x, *given, transB=int(not p.transpose))
    x = here.reshape(here.x[0], have, (*have[:axis], here.making.sizes.fixed(K)))
    y = here.op("MatMul", x, here.parameter(0, "weight", transpose=not p.transpose))
    return here.op("Add", y, here.parameter(1, "bias")) if p.bias_term else y


def blob_size(here: Here) -> tuple[int, ...]:
    """The input's axes that an InnerProduct takes together."""
    return here.step.bottom[0].shape[here.axis(here.p.axis) :]


def broadcast(here: Here) -> Tensor:
    """Scale and Bias: values that some axes of x have."""
    layer, count = here.layer, len(here.bottom())
    kind, bias = ("Mul", layer.has_bias) if layer.letter == "s" else ("Add", False)
    if len(here.x) == 2:
        shape = here.bottom(1)
        axis = here.axis(here.p.axis) if shape else 0
        more = count - axis - len(shape) if shape else 0
        values = here.x[1]
        if more:
            values = here.op("Unsqueeze", values, here.ints(range(len(shape), len(shape) + more), "axes"))
    else:
        axis = here.axis(here.p.axis)
        values = here.per_axis(0, "weight" if kind == "Mul" else "bias", axis, count)
    y = here.op(kind, here.x[0], values)
    return here.op("Add", y, here.per_axis(len(layer.blobs) - 1, "bias", axis, count)) if bias else y


def eltwise(here: Here) -> Tensor:
    p, x = here.p, here.x
    if p.operation == "POW":
        return here.op("Pow", *x)
    if p.operation == "MAX":
        return here.op("Max", *x)
    if p.operation == "PROD":
        y = x[0]
        for other in x[1:]:
            y = here.op("Mul", y, other)
        return y
    coeff = p.coeff or [1.0] * len(x)
    if set(coeff) == {1} and len(x) > 2:
        return here.op("Sum", *x)
    y = here.scaled(x[0], coeff[0])
    for c, other in zip(coeff[1:], x[1:], strict=True):
        y = here.op("Sub", y, other) if c == -1 else here.op("Add", y, here.scaled(other, c))
    return y


def embed(here: Here) -> Tensor:
    here.expects(0, labels(here.p.input_dim))
    y = here.op("Gather", here.parameter(0, "weight"), here.op("Cast", here.x[0], to=7), axis=0)
    return here.op("Add", y, here.parameter(1, "bias")) if here.p.bias_term else y


def transposed(here: Here, x: Tensor, axes: int) -> Tensor:
    """x with its last two axes exchanged."""
    return here.op("Transpose", x, perm=[*range(axes - 2), axes - 1, axes - 2])


def mat_mul(here: Here) -> Tensor:
    turn = here.p.transpose_a, here.p.transpose_b
    return here.op(
        "MatMul", *(transposed(here, x, len(here.bottom(i))) if turn[i] else x for i, x in enumerate(here.x))
    )


def reduction(here: Here) -> Tensor:
    kind = {"SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}[here.p.operation]
    count = len(here.bottom())
    axes = here.ints(range(here.axis(here.p.axis), count), "axes")
    y = here.op(kind, here.x[0], axes, keepdims=0) if count else here.x[0]
    return here.scaled(y, here.p.coeff)


def cosine_similarity(here: Here) -> Tensor:
    memory, keys = here.x
    alone = len(here.bottom(1)) == 2
    if alone:
        keys = here.op("Unsqueeze", keys, here.ints([1], "heads"))

    def length(vectors: Tensor) -> Tensor:
        square = here.op("ReduceSumSquare", vectors, here.ints([2], "axes"), keepdims=1)
        return here.op("Sqrt", here.scaled(square, summand=here.p.eps))

    y = here.op("MatMul", keys, transposed(here, memory, 3))
    y = here.op("Div", here.op("Div", y, transposed(here, length(memory), 3)), length(keys))
    return here.op("Squeeze", y, here.ints([1], "heads")) if alone else y


def circular_convolution(here: Here) -> Tensor:
    """y_i = Σ_j s_j w_{i-j}: w is laid out so that each i has its own row of S neighbours."""
    w, s = here.x
    R, S = (here.step.bottom[i].shape[-1] for i in (0, 1))
    places = (np.arange(R)[:, None] - (np.arange(S) - S // 2)) % R
    last = len(here.bottom()) - 1
    around = here.op("Gather", w, here.graph.constant(f"{here.name}.places", places.astype(np.int64)), axis=last)
    each = here.op("Mul", around, here.op("Unsqueeze", s, here.ints([last], "axes")))
    return here.op("ReduceSum", each, here.ints([last + 1], "axes"), keepdims=0)


def parameter(here: Here) -> Tensor:
    return here.parameter(0, "weight")


EMITTERS: dict[str, Emitter] = {
    "Bias": broadcast,
    "CircularConvolution": circular_convolution,
    "CosineSimilarity": cosine_similarity,
    "Eltwise": eltwise,
    "Embed": embed,
    "InnerProduct": inner_product,
    "MatMul": mat_mul,
    "Parameter": parameter,
    "Reduction": reduction,
    "Scale": broadcast,
}
