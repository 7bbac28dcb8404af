"""Passes of a layer as calls that are made once and repeated in every step.

Between products that fill the cache Python needs longer to prepare a call, with its views of arrays, than numpy for the
call: in a convolution the gaps went from 40-120 µs to 1 µs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import get_ident
from typing import Any

from .parallel import run

Call = tuple[Callable[..., object], tuple[Any, ...]]  # a function and its arguments
Calls = list[Call]  # to be carried out in this order
# Lists the calls of a task, in the thread that carries it out: they may use scratch memory, which is the thread's. It
# gets a dictionary for what that thread's tasks of the pass share.
Task = Callable[[dict[Any, Any]], Iterable[Call]]
Stage = Sequence[Task]  # shared out among the threads; all are done before the next stage begins


class Pass:
    """The stages of a pass over these arrays. They hold as long as the arrays do."""

    def __init__(self, arrays: Sequence[Any], stages: Iterable[Stage]):
        self.arrays = tuple(arrays)
        self.stages = [tuple(stage) for stage in stages if len(stage)]
        self._calls: dict[tuple[int, Task], list[Call]] = {}
        self._shared: dict[int, dict[Any, Any]] = {}

    def is_of(self, arrays: Sequence[Any]) -> bool:
        """Whether these are the arrays, not only equal ones."""
        return all(a is b for a, b in zip(self.arrays, arrays, strict=True))

    def run(self) -> None:
        """Carry the calls out, on all threads."""
        for stage in self.stages:
            if len(stage) == 1:
                self._carry_out(stage[0])
            else:
                run(lambda i, stage=stage: self._carry_out(stage[i]), len(stage))  # type: ignore[misc]

    def _carry_out(self, task: Task) -> None:
        thread = get_ident()
        calls = self._calls.get((thread, task))
        if calls is None:
            calls = self._calls[thread, task] = list(task(self._shared.setdefault(thread, {})))
        for call, arguments in calls:
            call(*arguments)


class Passes:
    """The passes of a layer by name, made anew when its arrays are others."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Pass] = {}

    def run(self, name: Hashable, arrays: Sequence[Any], stages: Callable[..., Iterable[Stage]]) -> None:
        """Carry out a pass over these arrays; ``stages`` is called with them when they are not those of last time."""
        one = self._made.get(name)
        if one is None or not one.is_of(arrays):
            one = self._made[name] = Pass(arrays, stages(*arrays))
        one.run()
