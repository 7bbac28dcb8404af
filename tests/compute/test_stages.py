"""Stages: what joining them may and may not change."""

import math
import threading

import numpy as np
import pytest
from nettrain.compute import parallel
from nettrain.compute.stages import PARTS, TOUCH, Kernel, Passes, Rounds, Stage, calling, elementwise, join, parts_of


def noted(log, name, count, examples=0, when="in order", work=1 << 30):
    """A stage whose tasks put their name and number into a log."""
    return Stage([[(log.append, ((name, i),))] for i in range(count)], examples, when, work)


def order(*works, threads=1):
    before = parallel.threads()
    parallel.use_threads(threads)
    try:
        log = []
        Rounds(join([make(log) for make in works])).run()
        return log
    finally:
        parallel.use_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 9, 31, 64, 100, 1000])
@pytest.mark.parametrize("elements", [1, 10**5, 10**8])
def test_parts_are_all_examples_once_and_nest(count, elements):
    parts = parts_of(count, elements)
    assert [i for part in parts for i in range(count)[part]] == list(range(count))
    assert math.log2(len(parts)).is_integer()
    assert len(parts) <= count
    assert len(parts) >= min(PARTS, count) / 2
    fewer = parts_of(count, 1)
    assert {part.start for part in fewer} <= {part.start for part in parts}


def test_examples_go_through_all_stages_before_the_next_ones():
    found = order(lambda log: [noted(log, "a", 2, 10)], lambda log: [noted(log, "b", 2, 10), noted(log, "c", 2, 10)])
    assert found == [("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("c", 1)]


def test_finer_parts_wait_for_the_coarser_ones_they_are_in():
    found = order(lambda log: [noted(log, "a", 4, 9), noted(log, "b", 4, 9)], lambda log: [noted(log, "c", 2, 9)])
    assert found[:5] == [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("c", 0)]
    assert len(found) == 10


def test_a_stage_that_needs_all_examples_is_waited_for():
    for other in (0, 11):  # or parts of another batch
        found = order(lambda log: [noted(log, "a", 2, 10)], lambda log, n=other: [noted(log, "b", 2, n)])
        assert found == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]


def test_a_small_stage_that_stays_alone_is_one_task():
    x, y, z = (np.arange(60.0).reshape(20, 3) for _ in range(3))
    alone, large = elementwise(calling(np.copyto), y, x), np.zeros((64, 1 << 15))
    assert [len(stage.tasks) for stage in join([[alone]])] == [1]
    assert [len(stage.tasks) for stage in join([[alone], [elementwise(calling(np.copyto), z, y)]])] == [PARTS]
    assert [len(stage.tasks) for stage in join([[elementwise(calling(np.negative), large, large)]])] == [32]
    y[...] = 0
    Rounds(join([[alone]])).run()
    np.testing.assert_array_equal(x, y)


def test_what_reads_parameters_alone_is_first_and_what_nobody_reads_is_last():
    one = [lambda log: [noted(log, "W", 1, when="before"), noted(log, "y", 1), noted(log, "dW", 2, when="after")]]
    two = [lambda log: [noted(log, "V", 1, when="before"), noted(log, "z", 1), noted(log, "dV", 1, when="after")]]
    found = order(*one, *two)
    assert found == [("W", 0), ("V", 0), ("y", 0), ("z", 0), ("dW", 0), ("dW", 1), ("dV", 0)]


def test_what_comes_after_keeps_its_own_order():
    after = {"when": "after"}
    found = order(
        lambda log: [noted(log, "a", 1, **after), noted(log, "b", 1, **after)],
        lambda log: [noted(log, "c", 1, **after), noted(log, "d", 1, **after), noted(log, "e", 1, **after)],
    )
    assert found == [("a", 0), ("c", 0), ("b", 0), ("d", 0), ("e", 0)]


def test_little_work_is_done_where_it_is_and_much_by_all_threads():
    both, threads = threading.Barrier(2), []
    with parallel.session():
        parallel.use_threads(2)
        Rounds([Stage([[(both.wait, (20,))]] * 2, work=1 << 30)]).run()  # ends only with two threads at once
        task = [(lambda: threads.append(threading.get_ident()), ())]
        Rounds([Stage([task] * 4, work=1)]).run()
    assert threads == [threading.get_ident()] * 4


@pytest.mark.parametrize("shape", [(), (1,), (1, 300000), (7, 3), (64, 5, 4, 4), (2, 3, 200, 200)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_elementwise_work_is_done_on_every_element_once(shape, channels_last):
    arrays = [np.zeros(shape, np.float32) for _ in range(2)]
    if channels_last and len(shape) > 2:
        arrays = [np.moveaxis(np.zeros((shape[0], *shape[2:], shape[1]), np.float32), -1, 1) for _ in range(2)]
    arrays[0][...] = np.arange(arrays[0].size).reshape(shape)

    def add(x, y):
        y += x + 1

    stage = elementwise(calling(add), *arrays)
    assert stage.work == TOUCH * arrays[0].size
    assert stage.examples == (shape[0] if shape and shape[0] > 1 else 0)
    Rounds([stage]).run()
    np.testing.assert_array_equal(arrays[1], arrays[0] + 1)


def test_elementwise_work_on_arrays_in_different_orders():
    x = np.arange(120.0).reshape(4, 5, 6)
    y = np.moveaxis(np.zeros((4, 6, 5)), -1, 1)
    stage = elementwise(calling(lambda x, y: np.copyto(y, x)), x, y)
    Rounds([stage]).run()
    np.testing.assert_array_equal(x, y)


def test_a_kernel_is_asked_for_its_call_by_the_thread_that_makes_it():
    asked = []

    class Noted(Kernel):
        def call(self, given):
            asked.append((threading.get_ident(), given))
            return asked.append, ("called",)

    rounds = Rounds([Stage([[(Noted(), 7)]])])
    rounds.run()
    rounds.run()
    assert asked == [(threading.get_ident(), 7), "called", "called"]


def test_a_pass_is_written_down_again_when_it_is_about_other_memory():
    passes, made, x, y = Passes(), [], np.zeros(3), np.zeros(3)

    def stages(array):
        made.append(array)
        return [Stage([[(array.fill, (len(made),))]])]

    for array in (x, x, x[:], y, y, x):
        passes.run("name", (array,), stages)
    assert len(made) == 3
    assert (x[0], y[0]) == (3, 2)
