"""What a loss divides its sum by, and which positions count."""

from __future__ import annotations

from typing import Literal

from ...net.layer import LossLayer
from ...spec.declare import Declared, param

Normalization = Literal["FULL", "VALID", "BATCH_SIZE", "NONE"]


class LossParameters(Declared):
    """Caffe's loss_param: which positions count, and what the sum is divided by."""

    ignore_label: int | None = param(default=None, doc="positions with this label are not counted")
    normalization: Normalization | None = param(
        default=None, doc="divisor: FULL all positions, VALID those not ignored (default), BATCH_SIZE examples, NONE 1"
    )

    def over(self, examples: int, positions: int, valid: float, default: str = "VALID") -> float | None:
        """What the loss is a mean over; None when it is a sum.

        ``valid`` is the number of positions that count, or the sum of their weights.
        """
        mode = self.normalization or default
        return {"FULL": positions, "VALID": valid, "BATCH_SIZE": examples, "NONE": None}[mode]


class OldLossParameters(LossParameters):
    """The same with the form used in older Caffe files."""

    normalize: bool | None = param(default=None, doc="Caffe's old form: true is VALID, false is BATCH_SIZE")

    def over(self, examples, positions, valid, default="VALID"):
        if self.normalize is not None:
            default = "VALID" if self.normalize else "BATCH_SIZE"
        return super().over(examples, positions, valid, default)


class RegressionParameters(Declared):
    """What the sum over all elements of a difference is divided by."""

    normalization: Literal["FULL", "BATCH_SIZE", "NONE"] = param(
        default="FULL", doc="divisor: FULL all elements (the mean), BATCH_SIZE examples, NONE 1"
    )

    def over(self, examples: int, elements: int) -> float | None:
        """What the loss is a mean over; None when it is a sum."""
        return {"FULL": elements, "BATCH_SIZE": examples, "NONE": None}[self.normalization]


class NormalizedLoss(LossLayer):
    """A loss whose parameters say what it is a mean over. Forward_cpu sets ``over`` to it, and divides by ``D``."""

    over: float | None

    @property
    def D(self) -> float:
        """Never 0, so a batch in which everything is ignored gives 0."""
        return float(self.over or 1)

    def mean_over(self, i, bottom, top):
        return self.over
