"""Threads: work is cut into tasks by shapes alone, and nettrain's own threads take the tasks.

A task computes the same numbers whichever thread runs it, and partial sums are added in the order of the tasks, so a
run gives the same bits with any number of threads. BLAS is held to one thread meanwhile, except for the products of
``blas.py``: by itself it cuts a product by the number of its threads. numpy lets other threads run during everything
that takes time, so Python's threads suffice.

It is one file because who works, where, and what is put back afterwards hang together: a change of one is one of all.
"""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from queue import SimpleQueue
from typing import Any

import numpy as np

from . import awake, openblas
from .memory import Memory, in_memory_order

BLOCK = 1 << 18  # elements: fewer would fit a nearer cache, but threads then wait for each other to start a call
TASK = 1 << 16  # elements: less is not worth waking a thread for


def allowed_processors() -> list[int]:
    """The processors that this thread may use."""
    if not hasattr(os, "sched_getaffinity"):
        return list(range(os.cpu_count() or 1))
    return sorted(os.sched_getaffinity(0))


def _own_order(processors: list[int]) -> list[int]:
    """The same, beginning with one that depends on the process."""
    first = os.getpid() % len(processors)
    return processors[first:] + processors[:first]


# Processes that know nothing of each other begin with different ones; those that do share them, see share_processors.
PROCESSORS = _own_order(allowed_processors())
_wanted = len(PROCESSORS)
_was_asked_for = False


def threads() -> int:
    """How many threads work on a layer."""
    return _wanted


def use_threads(count: int) -> None:
    """Set the number of threads. It changes how long a run takes, but no number in it."""
    global _wanted, _was_asked_for
    _wanted, _was_asked_for = max(1, count), True


def wanted_threads() -> int | None:
    """The number of threads that was asked for, if any was."""
    return _wanted if _was_asked_for else None


def share_processors(part: int, parts: int) -> None:
    """Of ``parts`` processes with the same processors this is number ``part``: it takes its share of them, at least
    one, and as many threads, unless a number of threads was asked for.

    With more threads than its share it stays free to move, and nothing is kept awake: others work there.
    """
    global _wanted
    allowed = allowed_processors()
    share = max(1, len(allowed) // parts)
    first = part * len(allowed) // parts
    PROCESSORS[:] = allowed[first : first + share]
    if not _was_asked_for:
        _wanted = share
    if parts <= len(allowed) and _wanted <= share:
        _stay_on(PROCESSORS)


class _Job:
    """Tasks 0 … count-1, taken one after the other by whoever is free."""

    def __init__(self, work: Callable[[int], None], count: int):
        self.work, self.count, self.next, self.running = work, count, 0, 0
        self.lock, self.idle = threading.Lock(), threading.Event()
        self.error: BaseException | None = None

    def take(self) -> None:
        """Run tasks until none is left."""
        while True:
            with self.lock:
                i = self.next
                if i >= self.count:
                    return
                self.next += 1
                self.running += 1
            try:
                self.work(i)
            except BaseException as error:
                with self.lock:
                    self.error = self.error or error
                    self.next = self.count
            finally:
                with self.lock:
                    self.running -= 1
                    if not self.running and self.next >= self.count:
                        self.idle.set()


_preparations: list[Callable[[], Callable[[], object]]] = []  # what each thread that works on a net does first


def prepare_threads(prepare: Callable[[], Callable[[], object]]) -> None:
    """Have every thread that works on a net call this first, and in the end what it returns."""
    _preparations.append(prepare)
    worker = _here.worker
    if worker is not None and worker.depth:
        worker.afterwards.callback(prepare())


_jobs: SimpleQueue = SimpleQueue()
_workers: list[threading.Thread] = []
_inside = threading.local()


def _stay_on(processors: Iterable[int]) -> None:
    """Keep this thread on some processors, where the system lets us choose.

    A thread that is woken tends to land where it was woken from: both would then share a processor for milliseconds,
    while the other one is idle.
    """
    if hasattr(os, "sched_setaffinity"):
        with suppress(OSError):
            os.sched_setaffinity(0, processors)


def _serve(number: int) -> None:
    if number < len(PROCESSORS):
        _stay_on({PROCESSORS[number]})
    _inside.task = True
    prepared = 0
    while True:
        job, context = _jobs.get()
        while prepared < len(_preparations):
            _preparations[prepared]()
            prepared += 1
        context.run(job.take)


def run(work: Callable[[int], None], count: int) -> None:
    """Call ``work(i)`` for i in range(count), in any order, on all threads. The first error is raised here."""
    helpers = min(_wanted, count) - 1
    if helpers < 1 or getattr(_inside, "task", False):
        for i in range(count):
            work(i)
        return
    _begin_to_share()
    while len(_workers) < helpers:
        number = len(_workers) + 1
        _workers.append(threading.Thread(target=_serve, args=(number,), name=f"nettrain {number}", daemon=True))
        _workers[-1].start()
    job = _Job(work, count)
    for _ in range(helpers):
        _jobs.put((job, contextvars.copy_context()))  # numpy keeps errstate in the context
    try:
        job.take()
    finally:  # after Ctrl-C too: no thread may still write when the caller goes on
        if job.running:
            job.idle.wait()
    if job.error:
        raise job.error


def blockwise(work: Callable[..., object], *arrays: np.ndarray) -> None:
    """Call ``work`` with matching pieces of arrays of one shape, small enough for the cache, on all threads.

    For formulas that treat each element alone. Arrays with the same memory order are cut as flat memory, others along
    their first axis. ``scratch`` gives the formula room for intermediate results.
    """
    if not all(array.flags.c_contiguous for array in arrays) or arrays[0].size > BLOCK:
        arrays = in_memory_order(arrays) or arrays  # a formula may make arrays of its own in the order of the axes
    if arrays[0].size <= BLOCK:
        work(*arrays)
    else:
        by_example(work, *arrays)


def by_example(work: Callable[..., object], *arrays: np.ndarray) -> None:
    """Call ``work`` with the same examples of several arrays, few enough at a time for the cache, on all threads."""
    blocks = blocks_of_examples(len(arrays[0]), arrays[0].size)
    tasks = max(1, min(len(blocks), 16, arrays[0].size // TASK))

    def some(task: int) -> None:
        for block in blocks[task * len(blocks) // tasks : (task + 1) * len(blocks) // tasks]:
            work(*(array[block] for array in arrays))

    run(some, tasks)


def blocks_of_examples(count: int, size: int) -> list[slice]:
    """Which examples of an array of that size to take at a time."""
    step = max(1, BLOCK * count // max(1, size))
    return [slice(start, start + step) for start in range(0, count, step)]


class _Arena(threading.local):
    def __init__(self) -> None:
        self.memory: dict[tuple[str, Any], Memory] = {}


_arena = _Arena()


def scratch(name: str, shape: tuple[int, ...], dtype: Any, channels_last: bool = False) -> np.ndarray:
    """Memory of this thread for intermediate results, values unspecified, valid until the name is asked for again.

    All layers use the same, which is therefore small and in the cache.
    """
    memory = _arena.memory.get((name, dtype))
    if memory is None:
        memory = _arena.memory[name, dtype] = Memory()
    return memory.view(shape, dtype, channels_last)


# Sessions: what holds while nets work, in one thread of the caller's or in several that begin and end as they like


class _Worker:
    """A thread of the caller's: how many sessions it is inside, and what is restored after the outermost; whether it
    has given work to the helpers in it."""

    def __init__(self) -> None:
        self.depth, self.afterwards, self.shares = 0, ExitStack(), False


class _Here(threading.local):
    """This thread's own: its worker, if it ever was in a session."""

    worker: _Worker | None = None


_lock = threading.Lock()
_here = _Here()
_working: set[_Worker] = set()  # those inside a session
_pinned: _Worker | None = None  # the one that is kept on a processor
_afterwards = ExitStack()  # what is restored when nobody is inside a session any more


@contextmanager
def session() -> Iterator[None]:
    """Around the work of a net: BLAS is held to one thread, and this thread to one processor once it has helpers.

    Afterwards both are as before, for the caller's own work: the thread at the end of its own sessions, BLAS at the
    end of all. Each thread may have sessions, nested ones too; of several threads the first is kept on a processor.
    """
    worker = _here.worker = _here.worker or _Worker()
    with _lock:
        if not _working:
            _afterwards.callback(openblas.set_threads, openblas.set_threads(1))
        if not worker.depth:
            _working.add(worker)
            for prepare in _preparations:
                worker.afterwards.callback(prepare())
        worker.depth += 1
    try:
        yield
    finally:
        with _lock, ExitStack() as ending:
            worker.depth -= 1
            if not worker.depth:
                worker.shares = False
                _working.discard(worker)
                if not _working:
                    ending.push(_afterwards.pop_all())
                ending.push(worker.afterwards.pop_all())


def _begin_to_share() -> None:
    """What holds from when the first work of a session is shared out: little work is done before it would pay."""
    worker = _here.worker
    if worker is None or not worker.depth or worker.shares:
        return
    with _lock:
        worker.shares = True
        _pin(worker)
        if 1 < _wanted <= len(PROCESSORS):
            used = PROCESSORS[:_wanted]
            awake.keep_awake(used)
            _afterwards.callback(awake.let_sleep, used)


def _pin(worker: _Worker) -> None:
    """Keep this thread on the first processor, unless another one is there."""
    global _pinned
    if _pinned is None and 1 < _wanted <= len(PROCESSORS) and hasattr(os, "sched_getaffinity"):
        with suppress(OSError):
            before = os.sched_getaffinity(0)
            _stay_on({PROCESSORS[0]})
            _pinned = worker
            worker.afterwards.callback(_unpin, threading.get_native_id(), before)


def _unpin(thread: int, before: Iterable[int]) -> None:
    global _pinned
    _pinned = None
    with suppress(OSError):  # a session may be ended by another thread, when its own is no more
        os.sched_setaffinity(thread, before)


@contextmanager
def blas_threads() -> Iterator[None]:
    """Around a call that BLAS may share out among its own threads, with the same result for any number of them.

    Only one thread when this is part of a task, or when another thread of the caller works on a net of its own; one
    that begins meanwhile waits, since BLAS would cut its products otherwise.
    """
    if not getattr(_inside, "task", False):
        with _lock:
            if not _working - {_here.worker}:
                before = openblas.set_threads(_wanted)
                try:
                    yield
                finally:
                    openblas.set_threads(before)
                return
    yield


def _after_fork() -> None:
    """In a child process only the thread that forked continues: the helpers are gone, and the others' sessions over."""
    global _lock, _jobs, _pinned
    _lock, _jobs = threading.Lock(), SimpleQueue()
    _workers.clear()
    awake.forget()
    _working.intersection_update({_here.worker})
    if _pinned not in _working:
        _pinned = None
    if not _working:
        _afterwards.pop_all().close()
    PROCESSORS[:] = _own_order(sorted(PROCESSORS))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
