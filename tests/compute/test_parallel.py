"""Threads: the same bits with any number of them, errors and settings that reach the tasks, memory that is kept."""

import ctypes
import os
import threading
import time
import traceback
import tracemalloc
import warnings
from contextlib import nullcontext

import nettrain
import numpy as np
import pytest
from nettrain.compute import openblas, parallel
from nettrain.compute.memory import in_memory_order


@pytest.fixture(autouse=True)
def threads():
    """A way to set the number of threads that is undone afterwards."""
    before = parallel.threads()
    yield parallel.use_threads
    parallel.use_threads(before)


def conv(name, **params):
    return {"name": name, "type": "Convolution"} | params


def pool(name, **params):
    return {"name": name, "type": "Pooling"} | params


def net_spec(shape, *layers):
    data = {"name": "data", "type": "Input", "top": ["data", "label"], "shape": [list(shape), [shape[0]]]}
    layers[0]["bottom"] = "data"
    last = [
        {"name": "ip1", "type": "InnerProduct", "num_output": 300},
        {"name": "tanh", "type": "TanH"},
        {"name": "drop", "type": "Dropout"},
        {"name": "ip2", "type": "InnerProduct", "num_output": 10},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip2", "label"]},
    ]
    solver = {"base_lr": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "max_iter": 9, "clip_gradients": 5}
    return {"solver": solver, "layers": [data, *layers, *last]}


# Large enough for every layer to be cut into several tasks; the second runs bands of rows and folds gradients.
NETS = {
    "small images": net_spec(
        (96, 3, 32, 32),
        conv("conv1", num_output=32, kernel_size=5, pad=2),
        pool("pool1", kernel_size=3, stride=2),
        {"name": "relu1", "type": "ReLU"},
        {"name": "norm1", "type": "LRN", "local_size": 3},
        conv("conv2", num_output=32, kernel_size=5, group=2),
        {"name": "sigmoid", "type": "Sigmoid"},
        pool("pool2", pool="AVE", kernel_size=3, stride=2),
    ),
    "large images": net_spec(
        (3, 16, 120, 100),
        conv("conv1", num_output=24, kernel_size=5, stride=2),
        {"name": "within", "type": "LRN", "norm_region": "WITHIN_CHANNEL", "local_size": 3},
        conv("conv2", num_output=16, kernel_size=3, pad=1),
        pool("pool1", kernel_size=2, stride=2),
        {"name": "both", "type": "Eltwise", "bottom": ["pool1", "pool1"]},
        {"name": "all", "type": "Concat", "bottom": ["both", "pool1"]},
        conv("conv3", num_output=8, kernel_size=7, stride=3),
    ),
}


def trained(spec, iterations=3):
    """A solver that has made some iterations on random numbers."""
    solver = nettrain.get_solver(spec)
    rng = np.random.default_rng(5)
    data, label = solver.net.blobs["data"].data, solver.net.blobs["label"].data
    data[...] = rng.standard_normal(data.shape)
    label[...] = rng.integers(0, 10, label.shape)
    solver.step(iterations)
    return solver


@pytest.mark.parametrize("name", NETS)
def test_the_bits_do_not_depend_on_the_number_of_threads(name, threads, workdir):
    runs = []
    for count in (1, 2, 3, 7):
        threads(count)
        runs.append(trained(NETS[name]))
    for other in runs[1:]:
        np.testing.assert_array_equal(other.net.flat.data, runs[0].net.flat.data)
        np.testing.assert_array_equal(other.updater.history[0], runs[0].updater.history[0])
        for blob, expected in zip(other.net.blobs.values(), runs[0].net.blobs.values(), strict=True):
            np.testing.assert_array_equal(blob.data, expected.data)
    assert np.abs(runs[0].net.flat.data).max() < 10


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", NETS)
def test_a_step_allocates_nothing_large(name, count, threads, workdir):
    """Three of numpy's own buffers of 8,192 elements may exist at a time in each thread, and small things; no more.

    A thread makes its scratch memory when it first takes a task, which with two may be in a later step.
    """
    threads(count)
    solver = trained(NETS[name], 4)
    peaks = []
    tracemalloc.start()
    try:
        while not peaks or (count > 1 and len(peaks) < 40 and peaks[-1] >= count << 17):
            solver.step(1)
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            solver.step(1)
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    assert peaks[-1] < count << 17


def test_every_task_runs_once_and_on_several_threads(threads):
    threads(3)
    met, ran = threading.Barrier(3, timeout=60), []

    def work(i):
        met.wait()  # passes only when three threads are here at a time
        ran.append(i)

    parallel.run(work, 6)
    assert sorted(ran) == [0, 1, 2, 3, 4, 5]


def test_an_error_in_a_task_is_raised_and_the_rest_is_left(threads):
    threads(2)
    ran = []

    def work(i):
        if i == 3:
            raise KeyError("third")
        ran.append(i)

    with pytest.raises(KeyError, match="third"):
        parallel.run(work, 1000)
    assert 3 not in ran
    assert len(ran) < 1000
    parallel.run(ran.append, 2)  # the threads still serve


def test_a_task_may_run_tasks(threads):
    threads(2)
    ran = []
    parallel.run(lambda i: parallel.run(lambda j: ran.append((i, j)), 2), 3)
    assert sorted(ran) == [(i, j) for i in range(3) for j in range(2)]


def test_numpy_settings_reach_the_threads(threads):
    threads(2)
    met = threading.Barrier(2, timeout=60)

    def divide(i):
        met.wait()
        np.divide(np.ones(2), np.zeros(2))

    with np.errstate(all="ignore"), warnings.catch_warnings():
        parallel.run(divide, 2)
    with pytest.raises(FloatingPointError), np.errstate(all="raise"):
        parallel.run(divide, 2)


def test_threads_are_at_least_one_and_a_run_of_nothing_is_nothing(threads):
    threads(0)
    assert parallel.threads() == 1
    parallel.run(lambda i: 1 / 0, 0)


@pytest.mark.parametrize("size", [10, parallel.BLOCK + 1, 5 * parallel.BLOCK + 7])
def test_blocks_cover_every_element_once(size, threads):
    threads(2)
    x, y = np.arange(size, dtype=float), np.zeros(size)

    def add(a, b):
        b += a + 1

    parallel.blockwise(add, x, y)
    np.testing.assert_array_equal(y, x + 1)


@pytest.mark.parametrize("orders", [("first", "first"), ("last", "last"), ("first", "last")])
def test_blocks_of_arrays_in_different_orders(orders, threads):
    threads(2)
    shape = (7, 33, 40, 41)
    x, y = (nettrain.Blob(shape, "float64", channels_last=order == "last").data for order in orders)
    x[...] = np.random.default_rng(0).standard_normal(shape)
    parallel.blockwise(lambda a, b: np.multiply(a, 2, out=b), x, y)
    np.testing.assert_array_equal(y, 2 * x)
    assert (in_memory_order((x, y)) is not None) == (orders[0] == orders[1])
    parallel.by_example(lambda a, b: np.add(a, 1, out=b), x, y)
    np.testing.assert_array_equal(y, x + 1)


def test_scratch_is_each_threads_own(threads):
    threads(2)
    met, found = threading.Barrier(2, timeout=60), {}

    def work(i):
        found[i] = parallel.scratch("test", (5,), np.float64)
        met.wait()

    parallel.run(work, 2)
    assert not np.shares_memory(found[0], found[1])
    mine = parallel.scratch("test", (5,), np.float64)
    assert np.shares_memory(mine, parallel.scratch("test", (2, 2), np.float64))
    assert parallel.scratch("test", (2, 3, 4), np.float64, channels_last=True).strides == (96, 8, 24)


needs_openblas = pytest.mark.skipif(not openblas.libraries(), reason="numpy has another BLAS here")


@needs_openblas
def test_blas_has_its_threads_back_afterwards():
    get = openblas.function("get_num_threads", ctypes.c_int)
    before = openblas.set_threads(2)
    try:
        with parallel.session():
            assert get() == 1
            with parallel.session():
                assert get() == 1
            assert get() == 1
        assert get() == 2
        with pytest.raises(KeyError), parallel.session():
            raise KeyError
        assert get() == 2
    finally:
        openblas.set_threads(before)


@needs_openblas
def test_blas_has_threads_for_a_product_but_not_in_a_task_or_beside_another_net(threads):
    threads(2)
    get = openblas.function("get_num_threads", ctypes.c_int)

    def seen():
        with parallel.blas_threads():
            return get()

    with parallel.session():
        assert seen() == 2
        assert get() == 1
        inside = []
        met = threading.Barrier(2, timeout=60)

        def task(i):
            met.wait()
            inside.append(seen() if threading.current_thread() is not threading.main_thread() else 1)

        parallel.run(task, 2)
        assert inside == [1, 1]

        def other():
            with parallel.session():
                inside.append(seen())

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        assert inside[2:] == [1]
        assert seen() == 2


class Caller(threading.Thread):
    """A thread of the caller's that is inside of a session until it is told to leave; it may also just end."""

    def __init__(self, leaves=True):
        super().__init__()
        self.inside, self.leave = threading.Event(), threading.Event()
        self.leaves, self.session, self.before, self.after = leaves, parallel.session(), None, None
        self.start()
        assert self.inside.wait(60)

    def run(self):
        self.before = os.sched_getaffinity(0)
        self.session.__enter__()
        self.inside.set()
        self.leave.wait(60)
        if self.leaves:
            self.session.__exit__(None, None, None)
        self.after = os.sched_getaffinity(0)

    def end(self):
        self.leave.set()
        self.join()


@pytest.fixture
def blas():
    """How many threads BLAS has; the caller gave it two."""
    before = openblas.set_threads(2)
    yield openblas.function("get_num_threads", ctypes.c_int)
    openblas.set_threads(before)


needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no choice of processors here")


@needs_openblas
@needs_affinity
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_threads_that_begin_and_end_in_any_order_leave_everything_as_it_was(order, threads, blas):
    threads(2)
    callers = [Caller() for _ in range(3)]
    assert blas() == 1
    for left, i in enumerate(order):
        assert blas() == 1, f"after {left} of three have left"
        callers[i].end()
        assert callers[i].after == callers[i].before
    assert blas() == 2
    with parallel.session(), parallel.blas_threads():
        assert blas() == 2


@needs_openblas
def test_a_thread_that_has_ended_does_not_keep_what_is_put_back(threads, blas):
    threads(2)
    gone = Caller(leaves=False)
    gone.end()
    with parallel.session():
        gone.session.__exit__(None, None, None)  # by another thread, as when a generator is collected
        assert blas() == 1
    assert blas() == 2
    assert not parallel._working
    assert parallel._pinned is None


@needs_openblas
def test_every_step_that_puts_back_is_made_whatever_the_others_do(threads, blas, monkeypatch):
    threads(2)
    before = os.sched_getaffinity(0)

    def fail(processors):
        raise RuntimeError("no")

    with monkeypatch.context() as broken:
        broken.setattr(parallel.awake, "let_sleep", fail)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no"), parallel.session():
                parallel.run(lambda i: None, 2)
            assert blas() == 2
            assert os.sched_getaffinity(0) == before
    parallel.awake.let_sleep(parallel.PROCESSORS)


@needs_openblas
def test_who_begins_during_a_product_waits_for_its_end(threads, blas):
    threads(2)
    begun = threading.Event()

    def begin():
        with parallel.session():
            begun.set()

    with parallel.session():
        with parallel.blas_threads():
            thread = threading.Thread(target=begin)
            thread.start()
            assert not begun.wait(0.1)
        assert begun.wait(60)
        thread.join()


@needs_openblas
@pytest.mark.parametrize("inside", [True, False])
def test_a_child_process_goes_on_with_threads_of_its_own(inside, threads, blas):
    threads(2)
    parallel.run(lambda i: time.sleep(0.01), 2)  # now there is a helper
    other = Caller()
    with parallel.session() if inside else nullcontext():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that threads are running: they are what this is about
            child = os.fork()
        if not child:
            try:
                ran = []
                met = threading.Barrier(2, timeout=30)
                parallel.run(lambda i: (met.wait(), ran.append(i)), 2)  # takes two threads
                with parallel.session():
                    assert blas() == 1
                assert blas() == (1 if inside else 2)
                assert sorted(ran) == [0, 1]
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
    other.end()
    assert blas() == 2


def test_two_solvers_in_two_threads_are_as_good_as_one_after_the_other(threads, workdir):
    threads(2)
    config = "configs/mlp.yaml"

    def train(seed, out):
        settings = ["solver.max_iter=40", "solver.test_interval=20", f"solver.random_seed={seed}"]
        solver = nettrain.get_solver(config, settings=settings, out=out)
        solver.solve()
        return solver.net.flat.data.copy()

    alone = [train(seed, f"alone{seed}") for seed in (1, 2)]
    together, errors = [None, None], []

    def thread(i):
        try:
            together[i] = train(i + 1, f"together{i}")
        except BaseException as error:
            errors.append(error)

    both = [threading.Thread(target=thread, args=(i,)) for i in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert not errors
    np.testing.assert_array_equal(together, alone)
