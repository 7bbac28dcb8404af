"""A pass of a layer as calls that are made once and carried out in every step."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from threading import get_ident
from typing import Any

from ..parallel import run
from .primitives import Descriptor, Memory, Primitive

Work = tuple[Primitive, dict[int, Memory | Descriptor]] | tuple[Callable[..., object], tuple[Any, ...]]
Task = Sequence[Work]  # carried out one after the other, by one thread
Stage = Sequence[Task]  # carried out by whoever is free; the next stage begins when all are done


class Pass:
    """Stages over given arrays; they hold as long as the arrays do."""

    def __init__(self, arrays: Sequence[Any], stages: Iterable[Stage]):
        self.arrays = tuple(arrays)
        self.stages = [_Prepared(stage) for stage in stages if stage]

    def is_of(self, arrays: Sequence[Any]) -> bool:
        return all(a is b for a, b in zip(self.arrays, arrays, strict=True))

    def run(self) -> None:
        for stage in self.stages:
            stage.run()


class _Prepared:
    """The tasks of a stage, with the calls of each thread that has taken one."""

    def __init__(self, tasks: Stage):
        self.tasks = tasks
        self.calls: dict[tuple[int, int], list[tuple[Callable[..., object], tuple[Any, ...]]]] = {}

    def run(self) -> None:
        if len(self.tasks) == 1:
            self.carry_out(0)
        else:
            run(self.carry_out, len(self.tasks))

    def carry_out(self, i: int) -> None:
        key = get_ident(), i
        calls = self.calls.get(key)
        if calls is None:
            calls = self.calls[key] = [
                one.call(given) if isinstance(one, Primitive) else (one, given) for one, given in self.tasks[i]
            ]
        for call, arguments in calls:
            call(*arguments)


class Passes:
    """The passes of a layer, by name."""

    def __init__(self) -> None:
        self.made: dict[Hashable, Pass] = {}

    def run(self, name: Hashable, arrays: Sequence[Any], make: Callable[..., Iterable[Stage]]) -> None:
        """Carry out a pass over these arrays; ``make`` lists its stages for arrays that are others than last time."""
        one = self.made.get(name)
        if one is None or not one.is_of(arrays):
            one = self.made[name] = Pass(arrays, make(*arrays))
        one.run()
