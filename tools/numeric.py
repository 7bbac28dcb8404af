"""Numerical gradients: differences, and how close a computed gradient has to come.

An entry passes when |backward - numeric| <= 1e-6 of the larger one, that scale floored where rounding would drown the
difference. Where the central difference does not settle it, smaller steps do: a steep or curved function has one slope
there, and that is compared.

One rule for points without a gradient, whatever function they are points of. Nothing is compared
- at the end of a domain, with no value on one side or on both: sqrt(x) at 0;
- at an infinite slope, or a jump: sqrt(|x|) at 0.
These are counted and said; where nothing else is left the check has failed.
At a kink, where the slopes of the two sides differ (|x|, max(x, y), relu(x)), a backward value between them is right.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

STEP = 1e-5
THRESHOLD = 1e-6
EPS = float(np.finfo(np.float64).eps)
SHRINK = 4.0  # from step to step of a closer look
STEPS = 11
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
    that rounding hides their slopes; both are said and are no failures. Of others it is one when no entry is left that
    has a slope to compare with.
    """
    noise = formula.result if formula else 0.0
    blur = formula.gradients.get(name, 0.0) if formula else 0.0
    gradient = backward.reshape(-1)
    entries = list(entries)
    if not entries:
        return
    with np.errstate(all="ignore"):
        points = [_Point(values, i, evaluate, noise) for i in entries]
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
            if isinstance(judged, str):
                to.leave_out(entry, judged, compared=judged.startswith("a kink"))
                continue
            error, numeric = judged
            to.error = max(to.error, error) if error == error else float("inf")
            if not error <= THRESHOLD:
                wrong.append((point.i, g, numeric))
    if wrong:
        to.failures.append(_in_words(name, values.shape, wrong, len(entries)))
    elif formula is None and len(to.uncompared) - left_out == len(entries):
        to.failures.append(f"nothing could be compared: {to.uncompared[left_out]}")


def _judge(
    point: _Point, g: float, floor: float, blur: float, closely: bool, formula: bool
) -> str | tuple[float, float]:
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
        return "a kink" if between else (error, point.slope)
    found = point.look_closely(floor)
    if found.why and (found.kind != "kink" or _between(found.left, g, found.right)):
        return found.why
    if found.kind == "kink":
        return error, point.slope
    if formula and abs(g) * point.steps()[-1] > 10 * point.largest:
        return LOST  # so steep that no step is small enough
    seen = max(abs(found.slope), abs(point.slope) if math.isfinite(point.slope) else 0.0, floor)
    if not found.uncertain <= (1e-5 if formula else 1e-4) * seen:
        return LOST if formula else (error, point.slope)
    off, scale = abs(g - found.slope), max(abs(g), seen if formula else max(abs(found.slope), floor))
    if off - 2 * found.uncertain - blur <= THRESHOLD * scale:
        return min(off / scale, THRESHOLD), found.slope
    if formula and _between(point.left, g, point.right):
        return LOST  # perhaps a kink nearer than any step that rounding leaves
    return off / scale, found.slope


def _between(left: float, g: float, right: float) -> bool:
    margin = 1e-3 * abs(right - left)
    return min(left, right) - margin <= g <= max(left, right) + margin


@dataclass
class _Found:
    """What a closer look at a point has found: a slope, or ``why`` there is none."""

    slope: float = math.nan
    uncertain: float = math.inf
    kind: str = ""
    why: str = ""
    left: float = math.nan
    right: float = math.nan


class _Point:
    """One entry, and the differences of the function around it."""

    def __init__(self, values: np.ndarray, i: int, evaluate: Callable[[], float], noise: float):
        self.flat, self.i, self.evaluate, self.noise = values.flat, i, evaluate, noise  # .flat: any order in memory
        self.x = float(self.flat[i])
        self.h = STEP * max(1.0, abs(self.x))
        self.middle = evaluate()
        self.largest = abs(self.middle) if math.isfinite(self.middle) else 0.0
        above, below = self.at(self.h), self.at(-self.h)
        self.left, self.right = (self.middle - below) / self.h, (above - self.middle) / self.h
        self.slope = (above - below) / (2 * self.h)

    def at(self, offset: float) -> float:
        self.flat[self.i] = self.x + offset
        try:
            found = self.evaluate()
        finally:
            self.flat[self.i] = self.x
        if math.isfinite(found):
            self.largest = max(self.largest, abs(found))
        return found

    def sides(self, h: float) -> tuple[float, float]:
        """The slopes to the left and to the right; no number where the function has none."""
        h_left, h_right = self.x - (self.x - h), (self.x + h) - self.x  # as they are after rounding
        left = (self.middle - self.at(-h)) / h_left if h_left else math.nan
        return left, (self.at(h) - self.middle) / h_right if h_right else math.nan

    def stays_bent(self) -> bool:
        """Whether the two sides differ as much with a smaller step: they do at a kink, not in a curve."""
        left, right = self.sides(self.h / SHRINK)
        return not abs(right - left) <= 0.5 * abs(self.right - self.left)

    def steps(self) -> list[float]:
        """From the usual one down; at a small x, down to a small part of it."""
        steps = [self.h / SHRINK**k for k in range(STEPS)]
        if 0 < abs(self.x) < 1e-3:
            steps += [abs(self.x) / SHRINK**k for k in range(2, STEPS)]
        return sorted(set(steps), reverse=True)

    def look_closely(self, floor: float) -> _Found:
        steps = self.steps()
        rows = [self.row(h) for h in steps]
        has_left = all(math.isfinite(row.left) for row in rows[-3:])
        has_right = all(math.isfinite(row.right) for row in rows[-3:])
        if not (has_left and has_right):
            sides_without = "on either side" if has_left == has_right else "below" if has_right else "above"
            return _Found(kind="end", why=f"the end of where there is a value, none {sides_without}")
        known = [row for row in rows if math.isfinite(row.bend)]
        scatter = max(row.bend * row.h for row in known[-2:])  # of the smallest steps, which see rounding before all
        for row in known:
            row.rounding = max(row.rounding, scatter / row.h)
        return _bend(known) or _limit(known, floor)

    def row(self, h: float) -> _Row:
        before, self.largest = self.largest, abs(self.middle)
        left, right = self.sides(h)
        rounding = 4 * max(EPS * self.largest, self.noise) / h
        self.largest = max(before, self.largest)
        return _Row(h, left, right, rounding)


@dataclass
class _Row:
    """The slopes of the two sides with one step, and what rounding makes them uncertain by."""

    h: float
    left: float
    right: float
    rounding: float

    @property
    def slope(self) -> float:
        return (self.left + self.right) / 2

    @property
    def bend(self) -> float:
        return abs(self.right - self.left)


def _bend(rows: list[_Row]) -> _Found | None:
    """A kink or a jump: the two sides differ, and go on to differ as the step shrinks."""
    seen = [row for row in rows if row.rounding < 0.05 * row.bend]
    if len(seen) < 2:
        return None
    before, last = seen[-2:]
    if any(row.rounding < 0.05 * last.bend for row in rows if row.h < last.h):
        return None  # it would be seen there too, were it at this point and not near it
    shrinks = (math.log(before.bend) - math.log(last.bend)) / (math.log(before.h) - math.log(last.h))  # 1 in a curve
    if shrinks > 0.3:
        return None
    if shrinks < -0.3:
        return _Found(kind="infinite", why="an infinite slope or a jump")
    why = f"a kink, slope {last.left:.4g} below and {last.right:.4g} above"
    return _Found(kind="kink", why=why, left=last.left, right=last.right)


def _limit(rows: list[_Row], floor: float) -> _Found:
    """The slope that central differences go to, by Richardson's extrapolation, with what it is uncertain by.

    Of the steps that show it well enough the smallest count: the function may look otherwise from further away.
    """
    best, least = _Found(slope=rows[0].slope), math.inf
    for large, small in pairwise(rows):
        if large.h > 1.5 * SHRINK * small.h:
            continue
        ratio = (large.h / small.h) ** 2
        slope = (ratio * small.slope - large.slope) / (ratio - 1)
        uncertain = abs(slope - small.slope) + small.rounding
        share = max(uncertain / max(abs(slope), floor), THRESHOLD / 10)
        if share <= least:
            best, least = _Found(slope, uncertain), share
    grows = all(abs(b.slope) > 1.2 * abs(a.slope) for a, b in pairwise(rows[-4:]))
    if len(rows) > 3 and grows and rows[-1].rounding < 0.05 * abs(rows[-1].slope):
        return _Found(kind="infinite", why="an infinite slope or a jump")
    return best


def _entry(name: str, shape: tuple[int, ...], i: int) -> str:
    return f"{name}[{','.join(str(int(k)) for k in np.unravel_index(i, shape)) if shape else ''}]"


def _in_words(name: str, shape: tuple[int, ...], wrong: list[tuple[int, float, float]], count: int) -> str:
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
