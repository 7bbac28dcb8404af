"""The slope of a function at a point, from differences with ever smaller steps, or why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

STEP = 1e-5
THRESHOLD = 1e-6  # how far a computed gradient may be off, as a share of it
EPS = float(np.finfo(np.float64).eps)
SHRINK = 4.0  # from step to step of a closer look
STEPS = 11


@dataclass
class Found:
    """What a closer look at a point has found: a slope, or ``why`` there is none."""

    slope: float = math.nan
    uncertain: float = math.inf
    kind: str = ""
    why: str = ""
    left: float = math.nan
    right: float = math.nan


class Point:
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

    def look_closely(self, floor: float) -> Found:
        steps = self.steps()
        rows = [self.row(h) for h in steps]
        has_left = all(math.isfinite(row.left) for row in rows[-3:])
        has_right = all(math.isfinite(row.right) for row in rows[-3:])
        if not (has_left and has_right):
            sides_without = "on either side" if has_left == has_right else "below" if has_right else "above"
            return Found(kind="end", why=f"the end of the domain, no value {sides_without}")
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


def _bend(rows: list[_Row]) -> Found | None:
    """A kink or a jump: the two sides differ, and keep differing as the step shrinks."""
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
        return Found(kind="infinite", why="an infinite slope or a jump")
    why = f"a kink, slope {last.left:.4g} below and {last.right:.4g} above"
    return Found(kind="kink", why=why, left=last.left, right=last.right)


def _limit(rows: list[_Row], floor: float) -> Found:
    """The slope that central differences go to, by Richardson's extrapolation, with what it is uncertain by.

    Of the steps that show it well enough the smallest count: the function may look different from further away.
    """
    best, least = Found(slope=rows[0].slope), math.inf
    for large, small in pairwise(rows):
        if large.h > 1.5 * SHRINK * small.h:
            continue
        ratio = (large.h / small.h) ** 2
        slope = (ratio * small.slope - large.slope) / (ratio - 1)
        uncertain = abs(slope - small.slope) + small.rounding
        share = max(uncertain / max(abs(slope), floor), THRESHOLD / 10)
        if share <= least:
            best, least = Found(slope, uncertain), share
    grows = all(abs(b.slope) > 1.2 * abs(a.slope) for a, b in pairwise(rows[-4:]))
    if len(rows) > 3 and grows and rows[-1].rounding < 0.05 * abs(rows[-1].slope):
        return Found(kind="infinite", why="an infinite slope or a jump")
    return best
