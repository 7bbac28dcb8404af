"""Numerical gradients: central differences, and how close a computed gradient has to come.

An entry passes when |backward - numeric| <= 1e-6 of the larger one, that scale floored where rounding would drown
the difference. Where the function has a kink between x - h and x + h, the two one-sided slopes differ, and a
backward value between them is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

STEP = 1e-5
THRESHOLD = 1e-6


@dataclass
class Check:
    """The result for one example of a layer, or one parameter blob of a net."""

    subject: str
    example: str
    checked: int = 0
    error: float = 0.0  # largest relative error
    kinks: int = 0
    failures: list[str] = field(default_factory=list)
    note: str = ""

    @property
    def ok(self) -> bool:
        return not self.failures

    @property
    def verdict(self) -> str:
        return self.note or ("ok" if self.ok else "FAILED")


def compare(
    name: str,
    values: np.ndarray,
    backward: np.ndarray,
    evaluate: Callable[[], float],
    entries: Iterable[int],
    to: Check,
) -> None:
    """Check the gradient ``backward`` of ``evaluate`` at ``values`` (changed and restored in place)."""
    flat, gradient = values.flat, backward.reshape(-1)  # .flat writes through any order in memory
    middle = evaluate()
    entries = list(entries)
    slopes = []
    largest = abs(middle)
    for i in entries:
        x, h = flat[i], STEP * max(1.0, abs(flat[i]))
        flat[i] = x + h
        above = evaluate()
        flat[i] = x - h
        below = evaluate()
        flat[i] = x
        largest = max(largest, abs(above), abs(below))
        slopes.append(((above - middle) / h, (middle - below) / h, (above - below) / (2 * h)))
    if not entries:
        return
    # Differences of numbers as large as f are uncertain by eps |f| / h: scales below 1/THRESHOLD of that say nothing.
    rounding = 8 * np.finfo(np.float64).eps * largest / STEP
    floor = max(rounding / THRESHOLD, 1e-3 * max(abs(slope[2]) for slope in slopes), 1e-12)
    wrong = []
    for i, (right, left, numeric) in zip(entries, slopes, strict=True):
        scale = max(abs(gradient[i]), abs(numeric), floor)
        error = abs(gradient[i] - numeric) / scale
        to.checked += 1
        if not error <= THRESHOLD and abs(right - left) > 1e-3 * scale:
            margin = 1e-3 * abs(right - left)
            if min(left, right) - margin <= gradient[i] <= max(left, right) + margin:
                to.kinks += 1
                continue
        to.error = max(to.error, error) if error == error else float("inf")
        if not error <= THRESHOLD:
            wrong.append((i, gradient[i], numeric))
    if wrong:
        to.failures.append(_in_words(name, values.shape, wrong, len(entries)))


def _in_words(name: str, shape: tuple[int, ...], wrong: list[tuple[int, float, float]], count: int) -> str:
    """The worst entry, and what the ratios of all of them suggest."""
    i, backward, numeric = max(wrong, key=lambda w: abs(w[1] - w[2]) if w[1] == w[1] else np.inf)
    index = ",".join(str(int(k)) for k in np.unravel_index(i, shape)) if shape else ""
    text = f"{name}[{index}]  backward {backward:+.5g}  numeric {numeric:+.5g}"
    ratios = np.array([b / n if n else np.inf for _, b, n in wrong])
    where = f"in all {count} entries" if len(wrong) == count else f"in {len(wrong)} of {count} entries"
    if np.isfinite(ratios).all() and np.ptp(ratios) <= 1e-3 * abs(ratios[0]) and len(wrong) > 1:
        hints = {2.0: "a missing 1/2, or a gradient added twice?", -1.0: "a wrong sign?", 0.0: "never computed?"}
        near = [hint for value, hint in hints.items() if abs(ratios[0] - value) < 1e-3]
        return f"{text}  ratio {ratios[0]:.3f} {where}" + (f": {near[0]}" if near else "")
    return f"{text}  wrong {where}"
