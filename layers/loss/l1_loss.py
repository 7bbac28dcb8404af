"""L1Loss: the mean absolute error."""

from __future__ import annotations

import numpy as np

from ...compute.parallel import blockwise
from ...net.example import Example
from ...net.registry import register
from ...spec.errors import ShapeError, format_shape
from .loss_parameters import NormalizedLoss, RegressionParameters


class DifferenceLoss(NormalizedLoss):
    """A sum over all elements of a function of d = a - b, divided by D: for L1Loss and SmoothL1Loss."""

    Parameters = RegressionParameters
    no_gradient: tuple[int, ...] = ()
    backward_reads: tuple[str, ...] = ()
    judges = "values"
    answers = (0, 1)  # in either order

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        if any(blob.shape != bottom[0].shape for blob in bottom):
            shapes = " and ".join(format_shape(blob.shape) for blob in bottom)
            raise ShapeError(f"{'both' if len(bottom) == 2 else 'all'} bottoms need the same shape, got {shapes}")

    def value(self, d, out):
        """The loss of each difference."""
        raise NotImplementedError

    def slope(self, d, out):
        """Its derivative."""
        raise NotImplementedError

    def Forward_cpu(self, bottom, top):
        def losses(a, b, d, loss, inner=None, outer=None):
            np.subtract(a, b, out=d)
            if inner is not None:
                d *= inner
            self.value(d, out=loss)
            if outer is not None:
                loss *= outer

        a, weights = bottom[0].data, [blob.data for blob in bottom[2:]]
        d, loss = self.buffer("d", a.shape), self.buffer("loss", a.shape)
        blockwise(losses, a, bottom[1].data, d, loss, *weights)
        self.over = self.p.over(len(a), a.size)
        top[0].data[...] = loss.sum() / self.D

    def Backward_cpu(self, top, propagate_down, bottom):
        scale = float(top[0].diff) / self.D

        def gradient(d, da, *weights):
            self.slope(d, out=da)
            da *= scale
            for weight in weights:
                da *= weight

        def opposite(d, db, *weights):
            gradient(d, db, *weights)
            np.negative(db, out=db)

        d, weights = self.buffer("d", bottom[0].shape), [blob.data for blob in bottom[2:]]
        for work, propagate, blob in zip((gradient, opposite), propagate_down, bottom, strict=False):
            if propagate:
                blockwise(work, d, blob.diff, *weights)


@register
class L1Loss(DifferenceLoss):
    """Mean absolute error: L = (1/D) Σ |a - b|.

    bottom[0]: a, any shape.    bottom[1]: b, the same shape.    top[0]: L, a scalar.
    D: the number of elements, unless normalization says otherwise.
    Backward: da = sign(a - b) dL / D, db = -da: both bottoms have a gradient.
    Source: PyTorch's L1Loss.
    """

    examples = (
        Example([(5, 4), (5, 4)]),
        Example([(2, 3, 2), (2, 3, 2)], {"normalization": "BATCH_SIZE"}),
        Example([(2, 3), (2, 3)], {"normalization": "NONE"}),
    )

    def value(self, d, out):
        np.abs(d, out=out)

    def slope(self, d, out):
        np.sign(d, out=out)
