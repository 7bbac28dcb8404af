"""Reduction: sums over the last axes."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from ...compute.parallel import BLOCK, by_example, run, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.notation import as_factor
from ...net.registry import register
from ...spec.declare import Declared, param


@register
class Reduction(Layer):
    """A sum over all axes from ``axis`` on, of K values: SUM y = c Σ x, ASUM y = c Σ |x|, SUMSQ y = c Σ x²,
    MEAN y = c/K Σ x (0 when K is 0).

    bottom[0]: x, any shape.    top[0]: y, x's axes before ``axis``: a scalar for axis 0.
    Backward: dx = c dy, c dy sign(x), 2 c dy x, c/K dy.
    Blocks are added up in x's precision, and their sums in float64.
    Source: Caffe's Reduction.
    """

    class Parameters(Declared):
        operation: Literal["SUM", "ASUM", "SUMSQ", "MEAN"] = param(default="SUM", doc="what is added up")
        axis: int = param(
            default=0, doc="first axis that is summed over, with all after it; negative counts from the end"
        )
        coeff: float = param(default=1.0, doc="c, a factor")

        aliases = {"reduction_param": "write its fields beside type", "op": "operation", "coefficient": "coeff"}

    examples = (
        Example([(2, 3, 4)]),
        Example([(2, 3, 4)], {"operation": "ASUM", "axis": 1}),
        Example([(2, 3, 4)], {"operation": "SUMSQ", "axis": -1, "coeff": 0.7}),
        Example([(2, 3, 2, 2)], {"operation": "MEAN", "axis": 2, "coeff": -3}),
        Example([(3, 4)], {"operation": "ASUM", "coeff": 0.5}),
    )

    def setup(self, bottom, top):
        self.backward_reads = ("bottom.data",) if self.p.operation in ("ASUM", "SUMSQ") else ()

    def reshape(self, bottom, top):
        shape = bottom[0].shape
        axis = bottom[0].canonical_axis(self.p.axis)
        self.rows, self.K = math.prod(shape[:axis]), math.prod(shape[axis:])
        self.factor = self.p.coeff / max(1, self.K) if self.p.operation == "MEAN" else self.p.coeff
        top[0].reshape(shape[:axis])

    def mean_over(self, i, bottom, top):
        return self.K if self.p.operation == "MEAN" else None

    def formula(self, names):
        inside = {"ASUM": f"|{names[0]}|", "SUMSQ": f"{as_factor(names[0])}²"}.get(self.p.operation, names[0])
        what = "mean" if self.p.operation == "MEAN" else "sum"
        return f"{f'{self.p.coeff:g} * ' if self.p.coeff != 1 else ''}{what}({inside})"

    def in_words(self):
        c = self.p.coeff
        scaled = "" if c == 1 else f", times {c:g}"
        return {
            "SUM": f"a sum distributes: each element gets the gradient{scaled}",
            "MEAN": f"a mean distributes equally: each element gets its share of the gradient{scaled}",
            "SUMSQ": f"a sum of squares: each element gets the gradient times {2 * c:g} times its value",
            "ASUM": f"a sum of absolute values: each element gets the gradient with its own sign{scaled}",
        }[self.p.operation]

    def Forward_cpu(self, bottom, top):
        x = bottom[0].data.reshape(self.rows, self.K)
        width = max(1, min(self.K, BLOCK))
        height, parts = max(1, BLOCK // width), -(-self.K // width)
        sums = self.buffer("sums", (self.rows, parts), np.float64)

        def add_up(i):
            row, part = divmod(i, parts)
            some = slice(row * height, (row + 1) * height)
            block = self.terms(x[some, part * width : (part + 1) * width])
            sums[some, part] = np.add.reduce(block, axis=1)

        run(add_up, -(-self.rows // height) * parts)
        y = scratch("sum", (self.rows,), np.float64)
        np.add.reduce(sums, axis=1, out=y)
        np.multiply(y.reshape(top[0].shape), self.factor, out=top[0].data, casting="same_kind")

    def terms(self, x):
        """What is added up."""
        if self.p.operation == "ASUM":
            return np.abs(x, out=scratch("terms", x.shape, x.dtype))
        if self.p.operation == "SUMSQ":
            return np.square(x, out=scratch("terms", x.shape, x.dtype))
        return x

    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            dy = np.multiply(top[0].diff, self.factor, out=self.buffer("c dy", top[0].shape))
            shape = self.rows, self.K
            dx, x = bottom[0].diff.reshape(shape), bottom[0].data.reshape(shape)
            by_example(self.gradient, dx, x, dy.reshape(self.rows, 1))

    def gradient(self, dx, x, dy):
        if self.p.operation == "ASUM":
            np.multiply(np.sign(x, out=dx), dy, out=dx)
        elif self.p.operation == "SUMSQ":
            np.multiply(np.add(x, x, out=dx), dy, out=dx)
        else:
            np.copyto(dx, dy)
