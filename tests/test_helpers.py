"""The helpers themselves: no process outlives the test that started it."""

import helpers
import pytest
from helpers import start


def test_what_a_test_leaves_behind_is_ended():
    process = start("-c", "print('ready', flush=True); input()", program=(), stdin=-1)
    assert process.stdout.readline() == "ready\n"
    helpers.end_processes()
    assert process.returncode == -9
    assert all(pipe.closed for pipe in (process.stdin, process.stdout, process.stderr))
    assert helpers._started == []


def test_waiting_ends_with_the_process():
    process = start("-c", "raise SystemExit('no file will come')", program=())
    with pytest.raises(AssertionError, match="no file will come"):
        helpers.wait_for("nowhere", process)
