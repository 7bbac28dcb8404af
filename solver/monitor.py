"""The score that says how good the net is: the best so far, and when there is no hope of a better one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..spec.errors import Place, Problems, did_you_mean
from .evaluate import Evaluation, TestNet, one_number, shown
from .listener import Listener
from .parameters import SolverParameters

ROUNDING = 1e-6  # the same score, averaged from float32 batches, is not a better one


class Monitor(Listener):
    """Watches one score of every test.

    Args:
        name: what the score is called in the tests' results.
        higher: whether higher is better.
        min_delta: by how much a score must be better to count.
        patience: tests in a row without a better score before training ends; 0: never.
        is_share: whether it is a share of a whole, which people read as a percentage.

    ``best`` is the best score and its iteration, ``waited`` the number of tests since.
    """

    key = "monitor"

    def __init__(self, name: str, higher: bool, min_delta: float = 0.0, patience: int = 0, is_share: bool = False):
        self.name, self.higher, self.min_delta, self.patience = name, higher, min_delta, patience
        self.is_share = is_share
        self.best: tuple[float, int] | None = None
        self.waited = 0

    def judge(self, found: Evaluation, iteration: int) -> bool:
        """Take what a test found; whether its score is the best so far. One that was not finite in a batch is not."""
        return self.see(math.nan if self.name in found.bad else one_number(found.scores[self.name]), iteration)

    def see(self, score: float, iteration: int) -> bool:
        """Take the score of a test; whether it is the best so far. NaN and infinity never are."""
        better = math.isfinite(score)
        if better and self.best is not None:
            margin = max(self.min_delta, ROUNDING * abs(self.best[0]))
            better = (score - self.best[0] if self.higher else self.best[0] - score) > margin
        if better:
            self.best, self.waited = (score, iteration), 0
        else:
            self.waited += 1
        return better

    @property
    def exhausted(self) -> bool:
        """Whether patience has run out."""
        return 0 < self.patience <= self.waited

    def why_end(self) -> str:
        """Why training ends early, when patience has run out."""
        if not self.exhausted:
            return ""
        if self.best is None:
            return f"{self.name} was never a finite number in {self.waited} tests"
        score, at = self.best
        by = f" by {self.min_delta:g}" if self.min_delta else ""
        best = shown(score, self.is_share)
        return f"no better {self.name} than {best} (iteration {at}){by} in {self.waited} tests (solver.patience)"

    def state(self) -> dict[str, Any]:
        return {"name": self.name, "higher": self.higher, "best": self.best, "waited": self.waited}

    def set_state(self, state: Mapping[str, Any] | None) -> None:
        """Take back what ``state`` gave; the best of another score would say nothing about this one."""
        if state is None or (state["name"], state["higher"]) != (self.name, self.higher):
            return
        self.best = tuple(state["best"]) if state["best"] else None
        self.waited = state["waited"]


def choose_monitor(p: SolverParameters, tests: list[TestNet], place: Place, problems: Problems) -> Monitor | None:
    """A monitor for the score that the spec names, or else the first accuracy, the first loss (of several their
    weighted sum), the first output.

    ``place`` is where ``monitor`` is written. None when nothing is tested, or after adding to ``problems``.
    """
    scores = {name: higher for test in tests for name, higher in test.scores().items()}
    shares = {name for test in tests for name in test.shares()}
    if p.monitor is None:
        own = tests[0].scores() if tests else {}
        by_use = sorted(own, key=lambda name: (True, False, None).index(own[name]))
        if not by_use:
            return None
        name = by_use[0]
        return Monitor(name, bool(own[name]), p.min_delta, p.patience, name in shares)
    metric, direction = p.monitor.metric, p.monitor.direction
    if not tests:
        problems.add(place, "solver.monitor needs a test net with data to test with")
    elif metric not in scores:
        of_nets = [name for name in scores if name.rpartition("/")[2] == metric]
        near = f"; did you mean {' or '.join(f'`{name}`' for name in of_nets)}?" if of_nets else ""
        near = near or did_you_mean(metric, scores)
        problems.add(place, f"solver.monitor: the tests have no score `{metric}`{near}", f"scores: {', '.join(scores)}")
    elif direction is None and scores[metric] is None:
        problems.add(place, f"solver.monitor: `{metric}` is neither a loss nor a score; give a direction too")
    else:
        higher = bool(scores[metric]) if direction is None else direction == "higher"
        return Monitor(metric, higher, p.min_delta, p.patience, metric in shares)
    return None
