"""Threads: work is cut into tasks by shapes alone, and nettrain's own threads take the tasks.

A task computes the same numbers whichever thread runs it, and partial sums are added in the order of the tasks, so a
run gives the same bits with any number of threads. BLAS is held to one thread meanwhile: its own threads would wait
for each other, and they cut a product by how many they are. numpy lets other threads run during everything that takes
time, so threads of Python serve.
"""

from __future__ import annotations

import contextvars
import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np

from .blob import Memory, in_memory_order

BLOCK = 1 << 18  # elements: fewer would be nearer in the cache, but threads then wait for each other to start a call
# pieces of a matrix product, and the multiply-adds from which on they are worth it: each piece packs what all share
PIECES = ((8, 1 << 29), (4, 1 << 27), (2, 1 << 24))
TASK = 1 << 16  # elements: less is not worth waking a thread for


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_wanted = cores()


def threads() -> int:
    """How many threads work on a layer."""
    return _wanted


def use_threads(count: int) -> None:
    """Set the number of threads. It changes how long a run takes, and no number in it."""
    global _wanted
    _wanted = max(1, count)


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


_jobs: SimpleQueue = SimpleQueue()
_workers: list[threading.Thread] = []
_inside = threading.local()


def _serve() -> None:
    _inside.task = True
    while True:
        job, context = _jobs.get()
        context.run(job.take)


def run(work: Callable[[int], None], count: int) -> None:
    """Call ``work(i)`` for i in range(count), in any order, on all threads. The first error is raised here."""
    helpers = min(_wanted, count) - 1
    if helpers < 1 or getattr(_inside, "task", False):
        for i in range(count):
            work(i)
        return
    while len(_workers) < helpers:
        _workers.append(threading.Thread(target=_serve, name="nettrain", daemon=True))
        _workers[-1].start()
    job = _Job(work, count)
    for _ in range(helpers):
        _jobs.put((job, contextvars.copy_context()))  # numpy keeps errstate in the context
    job.take()
    if job.running:
        job.idle.wait()
    if job.error:
        raise job.error


def blockwise(work: Callable[..., None], *arrays: np.ndarray) -> None:
    """Call ``work`` with matching pieces of arrays of one shape, small enough for the cache, on all threads.

    For formulas that take each element alone. Arrays with the same memory order are cut as flat memory, others along
    their first axis. ``scratch`` gives the formula room for intermediate results.
    """
    size = arrays[0].size
    if size <= BLOCK:
        work(*arrays)
        return
    flat = in_memory_order(arrays)
    if flat is None:
        flat, step = arrays, max(1, BLOCK * len(arrays[0]) // size)
    else:
        step = BLOCK
    length = len(flat[0])
    blocks = -(-length // step)
    tasks = max(1, min(blocks, 16, size // TASK))

    def some(task: int) -> None:
        for i in range(task * blocks // tasks, (task + 1) * blocks // tasks):
            work(*(array[i * step : (i + 1) * step] for array in flat))

    run(some, tasks)


def by_example(work: Callable[..., None], *arrays: np.ndarray) -> None:
    """Call ``work`` with the same examples of several arrays, few enough at a time for the cache, on all threads."""
    count = len(arrays[0])
    step = max(1, BLOCK * count // max(1, arrays[0].size))
    blocks = -(-count // step)
    tasks = max(1, min(blocks, 16, arrays[0].size // TASK))

    def some(task: int) -> None:
        for i in range(task * blocks // tasks, (task + 1) * blocks // tasks):
            work(*(array[i * step : (i + 1) * step] for array in arrays))

    run(some, tasks)


def in_slices(work: Callable[[slice], None], count: int, cost: int) -> None:
    """Call ``work`` with slices of range(count), on all threads; ``cost`` is that of all in multiply-adds."""
    tasks = next((tasks for tasks, least in PIECES if cost >= least and count >= 32 * tasks), 1)
    if tasks == 1:
        work(slice(0, count))
    else:
        run(lambda i: work(slice(i * count // tasks, (i + 1) * count // tasks)), tasks)


class _Arena(threading.local):
    def __init__(self) -> None:
        self.memory: dict[tuple[str, Any], Memory] = {}


_arena = _Arena()


def scratch(name: str, shape: tuple[int, ...], dtype: Any, channels_last: bool = False) -> np.ndarray:
    """Memory of this thread for intermediate results, values unspecified, good until the name is asked for again.

    All layers use the same, which is therefore small and in the cache.
    """
    memory = _arena.memory.get((name, dtype))
    if memory is None:
        memory = _arena.memory[name, dtype] = Memory()
    return memory.view(shape, dtype, channels_last)


# BLAS


@cache
def openblas(function: str, result: Any) -> Callable | None:
    """A function of the OpenBLAS that numpy's wheel carries, or None."""
    for folder in (Path(np.__file__).parent.parent / "numpy.libs", Path(np.__file__).parent / ".dylibs"):
        for path in folder.glob("*openblas*"):
            library = ctypes.CDLL(str(path))
            for name in (f"scipy_openblas_{function}64_", f"openblas_{function}64_", f"openblas_{function}"):
                if hasattr(library, name):
                    found = getattr(library, name)
                    found.restype = result
                    return found
    return None


_owner_lock = threading.Lock()
_owners = 0
_before = 1


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Hold BLAS to one thread; afterwards it has as many as before, for the caller's own work."""
    global _owners, _before
    get, set_ = openblas("get_num_threads", ctypes.c_int), openblas("set_num_threads", None)
    if get is None or set_ is None:
        yield
        return
    with _owner_lock:
        _owners += 1
        if _owners == 1:
            _before = get()
            set_(1)
    try:
        yield
    finally:
        with _owner_lock:
            _owners -= 1
            if not _owners:
                set_(_before)
