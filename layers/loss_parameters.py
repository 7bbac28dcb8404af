"""What a loss divides its sum by, and which positions count."""

from __future__ import annotations

from typing import Literal

from ..net.declare import Declared, param

Normalization = Literal["FULL", "VALID", "BATCH_SIZE", "NONE"]


class LossParameters(Declared):
    """Caffe's loss_param: which positions count, and what the sum is divided by."""

    ignore_label: int | None = param(default=None, doc="positions with this label count for nothing")
    normalization: Normalization | None = param(
        default=None, doc="divisor: FULL all positions, VALID those not ignored (default), BATCH_SIZE examples, NONE 1"
    )

    def divisor(self, examples: int, positions: int, valid: float, default: str = "VALID") -> float:
        """What the sum of the losses is divided by; never 0, so a batch that is all ignored gives 0.

        ``valid`` is the number of positions that count, or the sum of their weights.
        """
        mode = self.normalization or default
        return float({"FULL": positions, "VALID": valid, "BATCH_SIZE": examples, "NONE": 1}[mode]) or 1.0


class OldLossParameters(LossParameters):
    """The same with the form that older Caffe files have."""

    normalize: bool | None = param(default=None, doc="Caffe's old form: true is VALID, false is BATCH_SIZE")

    def divisor(self, examples, positions, valid, default="VALID"):
        if self.normalize is not None:
            default = "VALID" if self.normalize else "BATCH_SIZE"
        return super().divisor(examples, positions, valid, default)


class RegressionParameters(Declared):
    """What the sum over all elements of a difference is divided by."""

    normalization: Literal["FULL", "BATCH_SIZE", "NONE"] = param(
        default="FULL", doc="divisor: FULL all elements (the mean), BATCH_SIZE examples, NONE 1"
    )

    def divisor(self, examples: int, elements: int) -> float:
        """At least 1, so that an empty batch gives 0."""
        return max(1.0, {"FULL": elements, "BATCH_SIZE": examples, "NONE": 1}[self.normalization])
