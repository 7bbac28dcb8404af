"""The threads that keep processors from halting: there in a session, gone after it, last in the scheduler's queue."""

import os
import time

import pytest
from nettrain.compute import awake, parallel

pytestmark = pytest.mark.skipif(awake._library() is None, reason="needs Linux with a C library that has spin locks")


def waiting():
    """Processors of this process's threads of the lowest class."""
    found = []
    for thread in map(int, os.listdir("/proc/self/task")):
        try:
            if os.sched_getscheduler(thread) == os.SCHED_IDLE:
                found.append(os.sched_getaffinity(thread))
        except ProcessLookupError:  # it has just ended
            continue
    return sorted(found, key=sorted)


def settle(count):
    """Wait until this many are left: how soon they see that they may end is the scheduler's affair."""
    end = time.monotonic() + 30
    while len(waiting()) != count and time.monotonic() < end:
        time.sleep(0.01)
    return waiting()


def test_each_processor_in_use_has_one_while_a_session_lasts():
    assert settle(0) == []
    before = parallel.threads()
    try:
        parallel.use_threads(2)
        with parallel.session():
            assert waiting() == []
            parallel.run(lambda i: None, 2)  # from here on threads wait for each other
            assert waiting() == sorted(({p} for p in parallel.PROCESSORS[:2]), key=sorted)
            with parallel.session():
                assert len(waiting()) == len(parallel.PROCESSORS[:2])
        assert settle(0) == []
        parallel.use_threads(1)
        with parallel.session():
            parallel.run(lambda i: None, 2)
            assert waiting() == []
    finally:
        parallel.use_threads(before)


def test_they_do_not_pile_up():
    used = parallel.PROCESSORS[:2]
    for _ in range(300):
        awake.keep_awake(used)
        awake.let_sleep(used)
    awake.keep_awake(used)
    assert len(settle(len(used))) == len(used)
    awake.let_sleep(used)
    assert settle(0) == []


def test_a_system_without_them(monkeypatch):
    monkeypatch.setattr(awake, "_library", lambda: None)
    monkeypatch.setattr(awake, "_waiters", {})
    with parallel.session():
        parallel.run(lambda i: None, 2)
        assert settle(0) == []
