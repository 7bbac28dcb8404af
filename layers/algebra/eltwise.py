"""Eltwise: sum, product, maximum or power of blobs, element by element."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from ...compute.parallel import blockwise, scratch
from ...net.example import Example
from ...net.layer import Layer
from ...net.notation import as_factor, signed
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import ShapeError
from ..activation.log import positive
from .stretching import add_up


def whole(low, high):
    """Integers from ``low`` to ``high`` for an Example."""
    return lambda rng, shape: rng.integers(low, high, shape, endpoint=True).astype(float)


@register
class Eltwise(Layer):
    """Elementwise y = Σ_i c_i x_i (SUM), Π_i x_i (PROD), max_i x_i (MAX) or x_0^x_1 (POW).

    bottom[i]: x_i, all of one shape.    top[0]: y, the same shape.
    With ``broadcast`` shapes may differ as in numpy: counted from the last, an axis of size 1, or one that is not
    there, is stretched to the size the others have, and its gradient is a sum over it.
    Backward: SUM dx_i = c_i dy; PROD dx_i = dy Π_{j≠i} x_j; MAX dx_i = dy where x_i was chosen. Of equal values in
    the first two bottoms MAX chooses the second, of further ones the earlier (as Caffe does).
    POW dx_0 = dy x_1 x_0^(x_1 - 1), 0 where x_1 is; dx_1 = dy y log(x_0), 0 where x_0 is 0 and x_1 above, NaN where x_0
    is below 0, since then only integer x_1 have a y (NaN for others).
    PROD multiplies the other factors, so that a zero does no harm (Caffe's stable_prod_grad: true).
    Source: Caffe's Eltwise, which has no POW.
    """

    class Parameters(Declared):
        operation: Literal["PROD", "SUM", "MAX", "POW"] = param(default="SUM", doc="what is done with the elements")
        coeff: tuple[float, ...] = param(default=(), doc="SUM: c_i, one for each bottom; 1 when left out")
        stable_prod_grad: bool = param(default=True, doc="accepted: the gradient of PROD is stable in any case")

        broadcast: bool = param(default=False, doc="stretch axes of size 1 as numpy does; false: equal shapes only")

        aliases = {"op": "operation", "mode": "operation"}

        def validate(self) -> Iterable[tuple[str, str]]:
            if self.coeff and self.operation != "SUM":
                yield "coeff", f"works with SUM only, not with {self.operation}"

    num_bottoms = (2, None)
    any_layout = True
    examples = (
        Example([(2, 3), (2, 3)]),
        Example([(2, 3), (2, 3), (2, 3)], {"coeff": [1, -2, 0.5]}),
        Example([(2, 3), (2, 3), (2, 3)], {"operation": "PROD"}),
        Example([(2, 3), (2, 3)], {"operation": "PROD"}),
        Example([(2, 3, 2), (2, 3, 2), (2, 3, 2)], {"operation": "MAX"}),
        Example([(2, 3, 2), (1, 3, 1), (2,)], {"broadcast": True, "coeff": [1, 2, -3]}),
        Example([(3, 1), (2, 1, 4)], {"broadcast": True, "operation": "PROD"}),
        Example([(1,), (2, 3), (2, 1)], {"broadcast": True, "operation": "MAX"}),
        Example([(2, 3), ()], {"broadcast": True}),
        Example([(2, 3), (3,)], {"broadcast": True, "operation": "POW"}, {0: positive}),
        Example([(2, 3), (2, 3)], {"operation": "POW"}, {0: whole(0, 3), 1: whole(2, 4)}),
        Example([(2, 3), (2, 3)], {"operation": "POW"}, {0: whole(0, 1), 1: whole(0, 1)}),
    )

    def setup(self, bottom, top):
        if self.p.operation == "POW" and len(bottom) != 2:
            raise ShapeError(f"POW takes 2 bottoms, a base and an exponent, got {len(bottom)}", key="operation")
        if len(self.p.coeff) not in (0, len(bottom)):
            raise ShapeError(
                f"{len(bottom)} bottoms need {len(bottom)} coefficients, got {len(self.p.coeff)}", key="coeff"
            )
        if self.p.operation in ("SUM", "MAX"):
            self.backward_reads = ()
        if self.p.broadcast:  # once, since readers of the top are prepared for the order of its memory
            shape = self.stretched([blob.shape for blob in bottom])
            self.channels_last = any(blob.channels_last for blob in bottom if blob.shape == shape)

    def reshape(self, bottom, top):
        self.inputs, first = len(bottom), bottom[0].shape
        if self.p.broadcast:
            top[0].reshape(self.stretched([blob.shape for blob in bottom]), channels_last=self.channels_last)
            return
        for blob in bottom[1:]:
            if blob.shape != first:
                if len(blob.shape) != len(first):
                    raise ShapeError("every bottom must have the same shape; the numbers of axes differ")
                axis = next(i for i, (a, b) in enumerate(zip(first, blob.shape, strict=True)) if a != b)
                raise ShapeError(
                    f"every bottom must have the same shape; axis {axis} differs, {first[axis]} and {blob.shape[axis]}"
                )
        top[0].reshape(first, channels_last=bottom[0].channels_last)

    def stretched(self, shapes):
        """The shape that all of these broadcast to. Raises ShapeError."""
        count = max(map(len, shapes))
        result = []
        for axis in range(-count, 0):
            sizes = {shape[axis]: None for shape in shapes if len(shape) >= -axis and shape[axis] != 1}
            if len(sizes) > 1:
                raise ShapeError(
                    f"counted from the last, axes must be equal or 1; axis {axis} differs, "
                    + " and ".join(map(str, list(sizes)[:2]))
                )
            result.append(next(iter(sizes), 1))
        return tuple(result)

    def formula(self, names):
        if self.p.operation == "MAX":
            return f"max({', '.join(names)})"
        if self.p.operation == "PROD":
            return " * ".join(map(as_factor, names))
        if self.p.operation == "POW":
            return " ** ".join(map(as_factor, names))
        terms = [signed(c, name) for c, name in zip(self.p.coeff or [1.0] * len(names), names, strict=True)]
        return " ".join(terms).removeprefix("+ ")

    def in_words(self):
        if self.p.operation == "MAX":
            which = "larger" if self.inputs == 2 else "largest"
            return f"max routes: the {which} input gets the whole gradient, the others 0"
        if self.p.operation == "PROD":
            others = "other's value" if self.inputs == 2 else "product of the others"
            return f"multiply swaps: each input gets the gradient times the {others}"
        if self.p.operation == "POW":
            return "a power: x gets the gradient times y * x ** (y - 1), the exponent y times x ** y * log(x)"
        if any(c != 1 for c in self.p.coeff):
            return "add distributes: each input gets the gradient times its coefficient"
        return "add distributes: each input gets the gradient as it is"

    def Forward_cpu(self, bottom, top):
        y = top[0].data
        arrays = [y, *(self.like(blob.data, y) for blob in bottom)]
        if self.p.operation == "MAX":
            arrays.insert(1, self.chosen(top[0]))
        blockwise(getattr(self, f"_{self.p.operation.lower()}"), *arrays)

    def like(self, x, y):
        """x as the formulas take it: stretched to y's shape."""
        return np.broadcast_to(x, y.shape) if x.shape != y.shape else x

    def chosen(self, top):
        """Which bottom was the largest, for MAX."""
        return self.buffer("chosen", top.shape, np.int32, top.channels_last)

    def _sum(self, y, *xs):
        if not self.p.coeff:
            np.add(xs[0], xs[1], out=y)
            for x in xs[2:]:
                y += x
            return
        term = scratch("term", y.shape, y.dtype)
        np.multiply(xs[0], self.p.coeff[0], out=y)
        for x, c in zip(xs[1:], self.p.coeff[1:], strict=True):
            y += np.multiply(x, c, out=term)

    def _prod(self, y, *xs):
        np.multiply(xs[0], xs[1], out=y)
        for x in xs[2:]:
            y *= x

    def _max(self, y, chosen, *xs):
        larger = scratch("larger", y.shape, bool)
        np.less_equal(xs[0], xs[1], out=chosen)
        np.maximum(xs[0], xs[1], out=y)
        for i, x in enumerate(xs[2:], 2):
            np.greater(x, y, out=larger)
            np.copyto(chosen, i, where=larger)
            np.maximum(y, x, out=y)

    def _pow(self, y, base, exponent):
        with np.errstate(all="ignore"):
            np.power(base, exponent, out=y)

    def passes_gradient_on(self, i):
        return self.p.operation == "SUM" and not self.p.coeff and not self.p.broadcast

    def Backward_cpu(self, top, propagate_down, bottom):
        for i in np.flatnonzero(propagate_down):
            if not bottom[i].shares_diff_with(top[0]):
                self.gradient(int(i), top[0], bottom)

    def gradient_of_sum(self, i):
        c = self.p.coeff[i] if self.p.coeff else 1
        return lambda dx, dy: np.multiply(dy, c, out=dx)

    def gradient(self, i, top, bottom):
        def of_product(dx, dy, *others):
            np.copyto(dx, dy)
            for other in others:
                dx *= other

        def of_largest(dx, dy, chosen):
            np.multiply(dy, np.equal(chosen, i, out=scratch("larger", dy.shape, bool)), out=dx)

        def of_base(dx, dy, base, exponent):
            with np.errstate(all="ignore"):
                np.subtract(exponent, 1, out=dx)
                np.power(base, dx, out=dx)
                dx *= exponent
                dx *= dy
            np.copyto(dx, 0, where=np.equal(exponent, 0))

        def of_exponent(dx, dy, base, exponent, y):
            with np.errstate(all="ignore"):
                np.log(base, out=dx)
                dx *= y
                dx *= dy
            np.copyto(dx, 0, where=np.equal(base, 0) & np.greater(exponent, 0))

        dx, dy = bottom[i].diff, top.diff
        if dx.shape != dy.shape:
            dx = self.buffer("dx", dy.shape, None, top.channels_last)
        if self.p.operation == "SUM":
            blockwise(self.gradient_of_sum(i), dx, dy)
        elif self.p.operation == "PROD":
            blockwise(of_product, dx, dy, *(self.like(other.data, dy) for j, other in enumerate(bottom) if j != i))
        elif self.p.operation == "POW":
            both = [self.like(blob.data, dy) for blob in bottom]
            blockwise(*((of_exponent, dx, dy, *both, top.data) if i else (of_base, dx, dy, *both)))
        else:
            blockwise(of_largest, dx, dy, self.chosen(top))
        if bottom[i].shape != top.shape:
            add_up(dx, bottom[i].diff)
