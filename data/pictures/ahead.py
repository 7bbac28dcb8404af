"""Threads that read ahead: what is sure to be asked for is made meanwhile, the same to the bit.

A task is done by whoever comes first, a thread or the one who asks for its result: nobody waits for work that nobody
has begun, so that a process that was forked, or whose threads are gone, goes on alone. The threads are daemons, which
end with the process. pillow lets other threads run while it decodes.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from queue import SimpleQueue
from typing import Any

MOST_THREADS = 8
AT_A_TIME = 8  # of a task: a thread takes as long to be woken as to decode a small picture


def _processors() -> set[int]:
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


PROCESSORS = _processors()  # those of the process: the thread that trains may be kept on one of them later
_tasks: SimpleQueue = SimpleQueue()
_threads: list[threading.Thread] = []


class Task:
    """Results for some numbers, by number. One that could not be made ahead is not there."""

    def __init__(self, make: Callable[[int], Any], numbers: Sequence[int]):
        self.make, self.numbers = make, numbers
        self.results: dict[int, Any] = {}
        self.begun, self.done = threading.Lock(), threading.Event()

    def work(self) -> None:
        """Make the results, unless somebody has begun."""
        if not self.begun.acquire(blocking=False):
            return
        try:
            for number in self.numbers:
                with suppress(Exception):  # whoever asks for it makes it then, and gets the error
                    self.results[number] = self.make(number)
        finally:
            self.done.set()

    def get(self, number: int) -> Any:
        """A result, or None for one that could not be made."""
        self.work()
        self.done.wait()
        return self.results.get(number)


def begin(tasks: Iterable[Task]) -> None:
    """Have the threads work on tasks, in this order."""
    while len(_threads) < min(len(PROCESSORS), MOST_THREADS):
        if not _threads:
            # A filter within each thread would change everybody's: they are the process's.
            warnings.filterwarnings("ignore", module=r"PIL\.")
        _threads.append(threading.Thread(target=_serve, name=f"nettrain reads {len(_threads) + 1}", daemon=True))
        _threads[-1].start()
    for task in tasks:
        _tasks.put(task)


def each(make: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
    """Numbers and what is made of them, in order, some of it ahead; None for what could not be made."""
    waiting: deque[Task] = deque()
    for start in range(0, len(numbers), AT_A_TIME):
        waiting.append(Task(make, numbers[start : start + AT_A_TIME]))
        begin(list(waiting)[-1:])
        if len(waiting) > 2 * len(_threads):
            yield from _results(waiting.popleft())
    while waiting:
        yield from _results(waiting.popleft())


def _results(task: Task) -> Iterator[tuple[int, Any]]:
    for number in task.numbers:
        yield number, task.get(number)


def _serve() -> None:
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, PROCESSORS)  # not those of the thread that began this one
    tasks = _tasks
    while True:
        tasks.get().work()


def _after_fork() -> None:
    global _tasks
    _tasks = SimpleQueue()
    _threads.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
