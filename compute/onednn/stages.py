"""The work of a pass as oneDNN's layers write it: primitives with memories, and functions with arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..calls import Calls, Stage
from .primitives import Descriptor, Memory, Primitive

Work = tuple[Primitive, dict[int, Memory | Descriptor]] | tuple[Callable[..., object], tuple[Any, ...]]
Works = Sequence[Work]  # carried out one after the other, by one thread


def stages(of_works: Iterable[Sequence[Works]]) -> list[Stage]:
    """Stages of tasks, as ``compute/calls`` takes them."""
    return [[_Task(works) for works in stage] for stage in of_works]


class _Task:
    """Lists the calls for the thread that asks: a primitive works in the memory and the queue of its thread."""

    def __init__(self, works: Works):
        self.works = works

    def __call__(self, _: dict[Any, Any]) -> Calls:
        return [one.call(given) if isinstance(one, Primitive) else (one, given) for one, given in self.works]
