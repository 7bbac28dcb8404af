"""Processors that do not fall asleep while a net works.

A processor with nothing to do is halted, and waking it takes 40 to 100 µs on a virtual machine: as long as many
layers take. So each gets a thread of the C library that does nothing but wait in a loop for a spin lock. It is of the
lowest class of the scheduler: any other work on the processor comes first. Linux only; elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

SCHED_IDLE = 5


@cache
def _library() -> ctypes.PyDLL | None:
    """The C library, if it has what is needed here. Its calls are short: Python's lock is kept."""
    if not hasattr(os, "sched_setaffinity"):
        return None
    library = ctypes.PyDLL(None)
    needed = ("pthread_create", "pthread_detach", "pthread_setaffinity_np", "pthread_setschedparam")
    return library if all(hasattr(library, name) for name in (*needed, "pthread_spin_trylock")) else None


class _Waiter:
    """One processor's thread. Its lock is free only between ``rest`` and the end of the thread, which takes it.

    ``working`` says whether ``work`` was called and ``rest`` was not.
    """

    def __init__(self, library: ctypes.PyDLL, processor: int):
        self.library, self.lock, self.working = library, ctypes.c_int(0), False
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self.lock))  # a thread may still look at it when Python ends
        mask = bytearray(-(-(processor + 1) // 64) * 8)
        mask[processor // 8] = 1 << processor % 8
        self.mask = (ctypes.c_ubyte * len(mask))(*mask)
        library.pthread_spin_init(ctypes.byref(self.lock), 0)
        library.pthread_spin_lock(ctypes.byref(self.lock))

    def work(self) -> None:
        if self.working:
            return
        self.working = True
        lock, library = ctypes.byref(self.lock), self.library
        if library.pthread_spin_trylock(lock) == 0:
            return  # the last thread has not seen that it may end, and goes on
        thread = ctypes.c_ulong()
        routine = ctypes.cast(library.pthread_spin_lock, ctypes.c_void_p)
        if library.pthread_create(ctypes.byref(thread), None, routine, lock) != 0:
            self.working = False
            return
        priority = ctypes.c_int(0)
        polite = library.pthread_setschedparam(thread, SCHED_IDLE, ctypes.byref(priority)) == 0
        library.pthread_setaffinity_np(thread, ctypes.c_size_t(len(self.mask)), self.mask)
        library.pthread_detach(thread)
        if not polite:
            self.rest()

    def rest(self) -> None:
        if not self.working:
            return
        self.working = False
        self.library.pthread_spin_unlock(ctypes.byref(self.lock))


_waiters: dict[int, _Waiter] = {}


def keep_awake(processors: list[int]) -> None:
    """Keep these processors from halting, until ``let_sleep``."""
    library = _library()
    if library is None:
        return
    for processor in processors:
        if processor not in _waiters:
            _waiters[processor] = _Waiter(library, processor)
        _waiters[processor].work()


def let_sleep(processors: list[int]) -> None:
    """End what ``keep_awake`` began for these processors."""
    for processor in processors:
        if processor in _waiters:
            _waiters[processor].rest()


def forget() -> None:
    """In a child process, where those threads do not exist."""
    _waiters.clear()
