"""Odd specs that fuzzing found or would rarely find: checking them succeeds or raises NettrainError, and quickly.

``tests/fuzz`` makes many more. What passes the check also runs a batch. Memory and time are limited, so that an absurd
size shows as a failure here and not as a machine that swaps.
"""

import contextlib
import itertools
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from fuzz.texts import check_spec, good_specs
from nettrain.net import registry
from nettrain.spec.errors import NettrainError

SECONDS = 5  # of computing for one spec; the slowest good one takes 0.1
HEADROOM = 2 << 30  # bytes that checking may take beyond what the process has


@pytest.fixture(autouse=True, scope="module")
def limited_memory():
    """Allocating more than HEADROOM raises MemoryError (where the system knows such a limit)."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    limit = int(statm.read_text().split()[0]) * resource.getpagesize() + HEADROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(autouse=True, scope="module")
def an_empty_folder(tmp_path_factory):
    with contextlib.chdir(tmp_path_factory.mktemp("fuzz")):
        yield


@contextlib.contextmanager
def at_most(seconds):
    def too_long(*_):
        raise AssertionError(f"took longer than {seconds} s")

    before = signal.signal(signal.SIGPROF, too_long)  # counts computing, not waiting for a busy machine
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def outcome(source, options=()):
    """The error message, or "" when the spec is fine; every other exception is a failure of the test."""
    with at_most(SECONDS):
        try:
            check_spec(source, options)
        except NettrainError as error:
            message = str(error)
            message.encode()  # half a character could not be printed
            assert message.strip()
            assert len(message) < 100_000
            assert "Traceback" not in message
            return message
    return ""


@pytest.mark.parametrize(
    "layer",
    [
        {"type": "Pooling", "kernel_size": 100_000, "stride": 1_000_000},
        {"type": "Pooling", "kernel_size": 100_000, "stride": 1_000_000, "pool": "AVE", "pad": 3},
        {"type": "Pooling", "kernel_size": 3, "stride": 2**62},
        {"type": "Convolution", "kernel_size": 3, "num_output": 2, "pad": 10**6},
        {"type": "Convolution", "kernel_size": 3, "num_output": 2, "stride": 2**62},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": 1e300},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": {"type": "gaussian", "std": 1e300}},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": {"type": "uniform", "min": -1e308, "max": 1.7e308}},
        {"type": "InnerProduct", "num_output": 2, "weight_filler": {"type": "gaussian", "sparse": 10**12}},
        {"type": "Input", "shape": [1] * 70, "bottom": []},
        {"type": "Reshape", "shape": [1] * 70},
        {"type": "DummyData", "shape": [0, 3], "data_filler": "xavier", "bottom": []},
        {"type": "DummyData", "shape": [3, 0], "data_filler": "msra", "bottom": []},
        {"type": "DummyData", "shape": [], "data_filler": "positive_unitball", "bottom": []},
    ],
    ids=str,
)
def test_odd_layers_are_good_or_an_error(layer):
    data = {"name": "data", "type": "Input", "shape": [2, 1, 4, 4]}
    outcome({"layers": [data, {"name": "it", **layer}]})


@pytest.mark.parametrize("size", [10**8, 10**10, 10**12, 2**62])
@pytest.mark.parametrize("key", ["examples", "shape"])
def test_generated_data_too_large_for_memory_is_an_error_with_a_place(size, key):
    generate = {"examples": size, "test_examples": 8} if key == "examples" else {"shape": size}
    layer = {"name": "d", "type": "Data", "source": "randn", "batch_size": 8, "generate": generate}
    assert outcome({"layers": [layer]}).startswith("spec.layers[0].generate: Data `d`: ")


def test_an_exception_that_is_a_bug_fails_the_test(monkeypatch):
    def broken(*_, **__):
        raise IndexError("list index out of range")

    monkeypatch.setattr(registry.types()["ReLU"], "reshape", broken)
    with pytest.raises(IndexError):
        outcome(good_specs()["ReLU 0"])


def test_a_check_that_does_not_end_fails_the_test():
    with pytest.raises(AssertionError, match="took longer"), at_most(0.05):
        any(number < 0 for number in itertools.count())


def test_memory_is_limited():
    with pytest.raises(MemoryError):
        np.ones(HEADROOM // 4)  # of 8 bytes each
