"""Calls that are prepared once and then repeated, as long as they are about the same memory.

Between products that fill the cache, Python needs longer to cut views and look up functions than numpy needs to begin
the work. So a task that makes many calls lists them (``Calls``) when it first runs in a thread, and ``Prepared``
repeats the list. A training step with calls that are prepared anew each time takes, against one that repeats them
(shortest of 30 turns, in ms, with one thread and with two, and the median of the turns' ratios):

    LeNet, batch 64              21.5 / 17.8 = 1.21 (1.11)    13.8 / 11.1 = 1.24 (1.18)
    cifar10_quick, batch 100     129  / 120  = 1.08 (1.08)    77.5 / 67.3 = 1.15 (1.07)
    depthwise 3 x 3 and 1 x 1    31.1 / 26.4 = 1.18 (1.12)    20.9 / 16.0 = 1.31 (1.28)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np

from .parallel import run

Kept = TypeVar("Kept")


class Calls:
    """A list of calls, made by calling it: ``do(np.add, a, b, out)`` puts down ``np.add(a, b, out)`` for later.

    Everything a call needs is there when it is put down, views and scratch memory included; only the values in them
    come later.
    """

    def __init__(self, kept: dict[Hashable, Any]):
        self.listed: list[tuple[Callable[..., object], tuple[Any, ...]]] = []
        self._kept = kept

    def __call__(self, function: Callable[..., object], *arguments: Any, **named: Any) -> None:
        self.listed.append((partial(function, **named) if named else function, arguments))

    def keep(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What ``make`` gave for this key in an earlier task of the same work and thread, else what it gives now."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def repeat(self) -> None:
        """Make the calls, in order."""
        for function, arguments in self.listed:
            function(*arguments)


class _Work(threading.local):
    """The calls of each task in this thread, whose scratch memory they use. ``about`` is kept in memory with them."""

    def __init__(self, about: tuple[Any, ...]):
        self.about = about
        self.tasks: dict[int, Calls] = {}
        self.kept: dict[Hashable, Any] = {}


class Prepared:
    """Work by name, each with the calls of its tasks."""

    def __init__(self) -> None:
        self._works: dict[Hashable, _Work] = {}

    def run(
        self,
        name: Hashable,
        about: tuple[Any, ...],
        prepare: Callable[[int, Calls], None],
        tasks: int,
        alone: bool = False,
    ) -> None:
        """Run tasks 0 … tasks-1 on all threads; ``prepare(i, do)`` lists the calls of task i in ``do``.

        With ``alone`` the calling thread runs them all, in order.

        ``about`` has everything the calls depend on that may be another one next time: arrays, None, flags. With the
        same ones, arrays that lie in the same memory in the same way, ``prepare`` is not called again.
        """
        work = self._works.get(name)
        if work is None or not are_same(work.about, about):
            work = self._works[name] = _Work(about)

        def task(i: int) -> None:
            calls = work.tasks.get(i)
            if calls is None:
                calls = Calls(work.kept)
                prepare(i, calls)
                work.tasks[i] = calls
            calls.repeat()

        if alone:
            for i in range(tasks):
                task(i)
        else:
            run(task, tasks)


def are_same(before: Sequence[Any], now: Sequence[Any]) -> bool:
    """Whether calls that are about the one are about the other: the same objects, arrays in the same memory."""
    return all(map(_is_same, before, now))


def _is_same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a is b or a.__array_interface__ == b.__array_interface__
    return a is b
