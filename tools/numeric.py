"""Numerical gradients: differences, and how close a computed gradient has to come.

An entry passes when |backward - numeric| <= 1e-6 of the larger one, that scale floored where rounding would drown the
difference. Where the central difference does not settle it, smaller steps do: a steep or curved function has one slope
there, and that is compared.

One rule for points without a gradient, whatever function they are points of. Nothing is compared
- at the end of a domain, with no value on one side or on both: sqrt(x) at 0;
- at an infinite slope, or a jump: sqrt(|x|) at 0.
These are counted and reported; where nothing else is left the check has failed.
At a kink, where the slopes of the two sides differ (|x|, max(x, y), relu(x)), a backward value between them is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from .slope import EPS, STEP, THRESHOLD, Point

LOST = "rounding hides its slope from numerical differences"


@dataclass
class Check:
    """The result for one example of a layer, or one parameter blob of a net."""

    subject: str
    example: str
    checked: int = 0
    error: float = 0.0  # largest relative error
    kinks: int = 0  # entries without a gradient: kinks, ends of a domain, infinite slopes
    without: list[str] = field(default_factory=list)  # those entries, and why
    uncompared: list[str] = field(default_factory=list)  # of them those where nothing was compared: all but kinks
    failures: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def verdict(self) -> str:
        if self.note or not self.ok:
            return self.note or "FAILED"
        return f"ok, {len(self.uncompared):,} not compared" if self.uncompared else "ok"

    def leave_out(self, entry: str, why: str, compared: bool = False) -> None:
        self.kinks += 1
        self.without.append(f"{entry}: {why}")
        if not compared:
            self.uncompared.append(self.without[-1])


@dataclass(frozen=True)
class Rounding:
    """What rounding may change a formula's result by, and by name the gradients of its variables."""

    result: float
    gradients: Mapping[str, float]


def compare(
    name: str,
    values: np.ndarray,
    backward: np.ndarray,
    evaluate: Callable[[], float],
    entries: Iterable[int],
    to: Check,
    formula: Rounding | None = None,
) -> None:
    """Check the gradient ``backward`` of ``evaluate`` at ``values`` (changed and restored in place).

    ``formula``: it is one of a user's, which may go through points that have no gradient, and numbers so large or small
    that rounding hides their slopes; both are reported, not failures. For others it is one when no entry is left that
    has a slope to compare with.
    """
    noise = formula.result if formula else 0.0
    blur = formula.gradients.get(name, 0.0) if formula else 0.0
    gradient = backward.reshape(-1)
    entries = list(entries)
    if not entries:
        return
    with np.errstate(all="ignore"):
        points = [Point(values, i, evaluate, noise) for i in entries]
        largest = max(point.largest for point in points)
        slopes = [abs(point.slope) for point in points if math.isfinite(point.slope)]
        # Differences of numbers as large as f are uncertain by eps |f| / h; scales below 1/THRESHOLD of it say nothing.
        rounding = 8 * max(EPS * largest, noise) / STEP
        floor = max(rounding / THRESHOLD, 1e-3 * max(slopes, default=0.0), 1e-12)
        wrong: list[tuple[int, float, float]] = []
        left_out = len(to.uncompared)
        for point in points:
            to.checked += 1
            entry, g = _entry(name, values.shape, point.i), float(gradient[point.i])
            if formula and not math.isfinite(g):
                to.leave_out(entry, f"the gradient is {g}")
                continue
            if formula and 0 < abs(g) < rounding:
                to.leave_out(entry, LOST)
                continue
            judged = _judge(point, g, floor, blur, closely=not wrong, formula=formula is not None)
            if isinstance(judged, _Without):
                to.leave_out(entry, judged.why, judged.compared)
                continue
            error, numeric = judged
            to.error = max(to.error, error) if error == error else float("inf")
            if not error <= THRESHOLD:
                wrong.append((point.i, g, numeric))
    if wrong:
        to.failures.append(_failure(name, values.shape, wrong, len(entries)))
    elif formula is None and len(to.uncompared) - left_out == len(entries):
        to.failures.append(f"nothing could be compared: {to.uncompared[left_out]}")


class _Without(NamedTuple):
    """An entry without a gradient: why, and whether the value was compared all the same, with the slopes of a kink."""

    why: str
    compared: bool = False


def _judge(
    point: Point, g: float, floor: float, blur: float, closely: bool, formula: bool
) -> _Without | tuple[float, float]:
    """Why there is no gradient to compare, or the relative error and the numerical gradient.

    Without ``closely``, one entry was found wrong already, and only what the first differences show is looked at.
    """
    scale = max(abs(g), abs(point.slope), floor)
    error = abs(g - point.slope) / scale
    right = error - blur / scale <= THRESHOLD
    bent = not abs(point.right - point.left) <= 1e-3 * scale
    if right and not (bent and point.stays_bent()):
        return min(error, THRESHOLD), point.slope
    if not (right or closely):
        between = bent and _between(point.left, g, point.right)
        return _Without("a kink", compared=True) if between else (error, point.slope)
    found = point.look_closely(floor)
    if found.why and (found.kind != "kink" or _between(found.left, g, found.right)):
        return _Without(found.why, compared=found.kind == "kink")
    if found.kind == "kink":
        return error, point.slope
    if formula and abs(g) * point.steps()[-1] > 10 * point.largest:
        return _Without(LOST)  # so steep that no step is small enough
    seen = max(abs(found.slope), abs(point.slope) if math.isfinite(point.slope) else 0.0, floor)
    if not found.uncertain <= (1e-5 if formula else 1e-4) * seen:
        return _Without(LOST) if formula else (error, point.slope)
    off, scale = abs(g - found.slope), max(abs(g), seen if formula else max(abs(found.slope), floor))
    if off - 2 * found.uncertain - blur <= THRESHOLD * scale:
        return min(off / scale, THRESHOLD), found.slope
    if formula and _between(point.left, g, point.right):
        return _Without(LOST)  # perhaps a kink nearer than any step that rounding leaves
    return off / scale, found.slope


def _between(left: float, g: float, right: float) -> bool:
    margin = 1e-3 * abs(right - left)
    return min(left, right) - margin <= g <= max(left, right) + margin


def _entry(name: str, shape: tuple[int, ...], i: int) -> str:
    return f"{name}[{','.join(str(int(k)) for k in np.unravel_index(i, shape)) if shape else ''}]"


def _failure(name: str, shape: tuple[int, ...], wrong: list[tuple[int, float, float]], count: int) -> str:
    """The worst entry, and what the ratios of all of them suggest."""
    i, backward, numeric = max(wrong, key=lambda w: abs(w[1] - w[2]) if w[1] == w[1] else np.inf)
    text = f"{_entry(name, shape, i)}  backward {backward:+.5g}  numeric {numeric:+.5g}"
    ratios = np.array([b / n if n else np.inf for _, b, n in wrong])
    where = f"in all {count} entries" if len(wrong) == count else f"in {len(wrong)} of {count} entries"
    if np.isfinite(ratios).all() and np.ptp(ratios) <= 1e-3 * abs(ratios[0]) and len(wrong) > 1:
        hints = {2.0: "a missing 1/2, or a gradient added twice?", -1.0: "a wrong sign?", 0.0: "never computed?"}
        near = [hint for value, hint in hints.items() if abs(ratios[0] - value) < 1e-3]
        return f"{text}  ratio {ratios[0]:.3f} {where}" + (f": {near[0]}" if near else "")
    return f"{text}  wrong {where}"
