"""The work of a pass as it is written down before it is carried out: stages of tasks, over memory that is known.

A layer that writes its work down need not carry it out alone: ``join`` puts the stages of layers that follow one
another together, so that a thread takes some examples through all of them while they are in its cache, and threads
wait for each other only where a stage needs all examples. Every call stays what it was, and so does every number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby, zip_longest
from typing import Any, Literal

import numpy as np

from .memory import in_memory_order
from .prepared import Calls, Prepared, are_same

LEAST = 1 << 21  # multiply-adds, or as much work, that are worth waking a thread for
TOUCH = 8  # so much work is an element that is read and written
PARTS = 8  # of a batch at least, where it has so many examples: who shares the work out does not know how many threads
MOST_PARTS = 64
PART = 1 << 16  # elements of a blob that stay in a processor's own cache, with those of its neighbours


class Kernel:
    """A computation that is called in its own way, for instance a primitive of oneDNN."""

    def call(self, given: Any) -> tuple[Callable[..., object], tuple[Any, ...]]:
        """A function and its arguments that carry this out, in the thread that asks for it."""
        raise NotImplementedError


Work = tuple[Kernel, Any] | tuple[Callable[..., object], tuple[Any, ...]]
When = Literal["before", "in order", "after"]
Works = Sequence[Work]  # carried out one after the other, by one thread


@dataclass(frozen=True)
class Stage:
    """Tasks that are shared out among the threads; all are done before the next stage begins, unless stages are joined.

    ``examples``: task i of n touches examples ``parts_of`` gives it, of so many, and no others; 0 where it may be
    otherwise. Then n is a power of two. ``when`` says that it may be done ``before`` all other stages, since it reads
    parameters alone, or ``after`` them, since what it makes is not read in this pass. ``work`` is in multiply-adds.
    ``whole`` does the same in one task, where no other stage and no thread gains from parts.
    """

    tasks: Sequence[Works]
    examples: int = 0
    when: When = "in order"
    work: int = LEAST
    whole: Works = ()

    def alone(self) -> Stage:
        """As it is when it is not joined with others."""
        return replace(self, tasks=[self.whole]) if self.whole and self.work < LEAST else self


def parts_of(count: int, elements: int, most: int = MOST_PARTS) -> list[slice]:
    """The parts of a batch of so many examples, with so many elements in all: a power of two of them.

    By shapes alone, so that numbers do not depend on how many threads there are.
    """
    number = 1 << (min(count, max(PARTS, elements // PART), most).bit_length() - 1)
    return [slice(i * count // number, (i + 1) * count // number) for i in range(number)]


def elementwise(work: Callable[..., Works], *arrays: np.ndarray) -> Stage:
    """The tasks that ``work`` gives for matching pieces of arrays of one shape, flat where they lie in the same order.

    ``calling`` makes one of a function.
    """
    count, size = arrays[0].shape[0] if arrays[0].ndim else 1, arrays[0].size
    flat = in_memory_order(arrays)
    if count > 1 or not flat:
        step = size // count if flat else 1
        parts = [slice(part.start * step, part.stop * step) for part in parts_of(count, size)]
    else:
        number = max(1, min(PARTS, size // PART))
        parts = [slice(i * size // number, (i + 1) * size // number) for i in range(number)]
    tasks = [work(*(array[part] for array in flat or arrays)) for part in parts]
    return Stage(tasks, count if count > 1 else 0, work=TOUCH * size, whole=work(*(flat or arrays)))


def calling(function: Callable[..., object]) -> Callable[..., Works]:
    """What puts down one call of a function with the pieces it is given."""
    return lambda *pieces: [(function, pieces)]


def join(works: Iterable[Sequence[Stage]]) -> list[Stage]:
    """The stages of several layers, which follow one another, as few stages."""
    works = list(works)
    before = [stage for stages in works for stage in stages if stage.when == "before"]
    middle = [stage for stages in works for stage in stages if stage.when == "in order"]
    last = zip_longest(*([stage for stage in stages if stage.when == "after"] for stages in works))
    joined = [_side_by_side(before)]
    for examples, group in groupby(middle, lambda stage: stage.examples):
        alike = list(group)
        joined += [_chain(alike)] if examples and len(alike) > 1 else (stage.alone() for stage in alike)
    joined += [_side_by_side(filter(None, level)) for level in last]
    return [stage for stage in joined if stage.tasks]


def _side_by_side(stages: Iterable[Stage]) -> Stage:
    """Stages that do not need each other as one."""
    stages = list(stages)
    return Stage([task for stage in stages for task in stage.tasks], work=sum(stage.work for stage in stages))


def _chain(stages: Sequence[Stage]) -> Stage:
    """Stages of parts of the same batch as one: each task takes its examples through all of them."""
    count = min(len(stage.tasks) for stage in stages)
    tasks: list[Works] = []
    for i in range(count):
        task: list[Work] = []
        for number, group in groupby(stages, lambda stage: len(stage.tasks)):
            alike = list(group)
            for part in range(i * number // count, (i + 1) * number // count):
                for stage in alike:
                    task += stage.tasks[part]
        tasks.append(task)
    return Stage(tasks, stages[0].examples, work=sum(stage.work for stage in stages))


class Rounds:
    """Stages, ready to be carried out again and again. The calls are prepared in the thread that makes them."""

    def __init__(self, stages: Iterable[Stage]):
        self.stages = [stage for stage in stages if stage.tasks]
        self.prepared = Prepared()

    def run(self) -> None:
        for number, stage in enumerate(self.stages):
            alone = stage.work < LEAST
            self.prepared.run(number, (), partial(_list, stage.tasks), len(stage.tasks), alone)


def _list(tasks: Sequence[Works], i: int, do: Calls) -> None:
    """Put down the calls of task i, for the thread that carries it out: some use memory of their thread."""
    for one, given in tasks[i]:
        if isinstance(one, Kernel):
            function, arguments = one.call(given)
            do(function, *arguments)
        else:
            do(one, *given)


class Passes:
    """The passes of a layer by name, made anew when they are about other memory."""

    def __init__(self) -> None:
        self._made: dict[Hashable, tuple[Sequence[Any], Rounds]] = {}

    def run(self, name: Hashable, arrays: Sequence[Any], stages: Callable[..., Iterable[Stage]]) -> None:
        """Carry out a pass over these arrays; ``stages`` is called with them when they are not those of last time."""
        made = self._made.get(name)
        if made is None or not are_same(made[0], arrays):
            made = self._made[name] = (tuple(arrays), Rounds(stages(*arrays)))
        made[1].run()
