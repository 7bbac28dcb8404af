"""What is said of layers that cannot be written."""

from __future__ import annotations

from ...net.step import Step
from ...spec.errors import Problem


def refused(step: Step, why: str) -> Problem:
    return Problem(step.spec.place, f"{step.spec.title()} cannot be written as a numpy program: {why}")


def uncovered(step: Step) -> Problem:
    """The problem with a layer whose type nobody writes."""
    return refused(step, "its type is not one of those that docs/convert.md lists")
