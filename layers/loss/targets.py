"""Reading targets between 0 and 1, checked: with others a loss falls without end, and a score says nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ...net.blob import Blob
from ...spec.errors import NettrainError, ShapeError, format_shape

ROUNDING = 1e-6  # by which a target may miss 0 and 1: they are divided and averaged in single precision


@dataclass(frozen=True)
class Targets:
    """Which values a layer takes: between 0 and 1, with ``whole`` only these two, and the ``ignored`` one
    (``truncated``: also those equal to it when truncated). ``name`` is what messages call one of them."""

    name: str = "target"
    whole: bool = False
    ignored: float | None = None
    truncated: bool = False

    def check_shape(self, scores: Blob, targets: Blob) -> None:
        """Raise ShapeError unless there is a target for each of the scores."""
        if scores.count != targets.count:
            raise ShapeError(
                f"every score needs a {self.name}, got {format_shape(scores.shape)} = {scores.count} and "
                f"{format_shape(targets.shape)} = {targets.count}"
            )

    def check_known(self, blob: Blob) -> None:
        """Raise NettrainError when the data set is known to hold another value."""
        if blob.known is None:
            return
        found = blob.known.range(self.ignored, self.truncated)
        if found is None or (self._fit(found.low, found.high) and not (self.whole and found.fractional is not None)):
            return
        odd = found.fractional if self.whole else None
        with_odd = f", with {odd:g}" if odd is not None and not math.isnan(odd) else ""
        raise NettrainError(
            f"every {self.name} must be {self._wanted()}; in {blob.known.origin} "
            f"{found.sentence('they', 'some of them')}{with_odd}{_remedy(found.low, found.high, are_known=True)}",
            key="bottom",
        )

    def check(self, blob: Blob) -> None:
        """Raise NettrainError when this batch holds another value. NaN is one."""
        values = blob.data
        if not values.size:
            return
        low, high = float(values.min()), float(values.max())
        if self._fit(low, high) and not self.whole:
            return
        bad = (values != 0) & (values != 1) if self.whole else ~((values >= -ROUNDING) & (values <= 1 + ROUNDING))
        counts = self.counts(values)
        if counts is not None:
            bad &= counts
        if bad.any():
            first = np.unravel_index(int(np.argmax(bad)), values.shape)
            place = f"[{', '.join(map(str, first))}]" if len(first) > 1 else f"example {first[0] if first else 0}"
            counted = values[bad]
            raise NettrainError(
                f"{self.name} {values[first]:g} at {place} of the batch is not {self._wanted()}"
                f"{_remedy(float(counted.min()), float(counted.max()), are_known=False)}"
            )

    def counts(self, values: np.ndarray) -> np.ndarray | None:
        """Where targets are none to be ignored; None where all count."""
        if self.ignored is None:
            return None
        return np.not_equal(np.trunc(values) if self.truncated else values, self.ignored)

    def _fit(self, low: float, high: float) -> bool:
        return low >= -ROUNDING and high <= 1 + ROUNDING  # NaN is neither

    def _wanted(self) -> str:
        text = "0 or 1" if self.whole else "between 0 and 1"
        return text + (f", or {self.ignored:g} to be ignored" if self.ignored is not None else "")


CONT = Targets("cont")  # of recurrent layers: 0 where a sequence begins, 1 where it continues


def _remedy(low: float, high: float, are_known: bool) -> str:
    """The remedy for the two common slips: bytes, and -1 and +1. A transform acts on the examples of
    a data set, and nothing of those is known beforehand."""
    layer = "a layer before it: {type: Power"
    if low >= 0 and 16 < high <= 255:
        ways = (
            f"by {layer}" if are_known else f"transform: {{scale: 0.003921569}} for the examples of a set, or {layer}"
        )
        return f"; divide bytes by 255: {ways}, scale: 0.003921569}}"
    if -1 <= low < 0 and (high <= 1 or math.isnan(high)):
        return f"; for -1 and +1 give (t + 1) / 2, by {layer}, scale: 0.5, shift: 0.5}}"
    return ""
