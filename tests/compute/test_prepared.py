import threading

import nettrain
import numpy as np
import pytest
from nettrain.compute import parallel
from nettrain.compute.prepared import Prepared


class Sum:
    """out = a + b in one task for each row; counts how often its calls are prepared."""

    def __init__(self):
        self.prepared, self.count = Prepared(), 0

    def __call__(self, a, b, out, *flags, name="sum"):
        def task(i, do):
            self.count += 1
            do(np.add, a[i], b[i], out=out[i])

        self.prepared.run(name, (a, b, out, *flags), task, len(a))
        return out


@pytest.fixture(autouse=True)
def _one_thread(monkeypatch):
    monkeypatch.setattr(parallel, "_wanted", 1)


def arrays(*shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape), rng.normal(size=shape), np.zeros(shape)


def test_calls_are_prepared_once_and_see_new_values():
    add, (a, b, out) = Sum(), arrays(3, 4)
    for value in range(4):
        a[:] = value
        assert np.array_equal(add(a, b, out), b + value)
    assert add.count == 3


def test_other_views_of_the_same_memory_are_the_same():
    add, (a, b, out) = Sum(), arrays(3, 4)
    add(a, b, out)
    add(a[:], b[:], out[:])
    assert add.count == 3


@pytest.mark.parametrize(
    "other",
    [
        lambda a: a.copy(),  # other memory
        lambda a: np.concatenate([a, a + 1])[3:],  # another place
        lambda a: np.concatenate([a, a + 1], 1)[:, :4],  # other steps
        lambda a: a.astype(np.float32),
    ],
    ids=["memory", "place", "steps", "dtype"],
)
def test_another_array_is_noticed(other):
    add, (a, b, out) = Sum(), arrays(3, 4)
    add(a, b, out)
    new = other(a)
    a[:] = np.nan  # whoever still reads it is found out
    assert np.array_equal(add(new, b, out), new + b)
    assert add.count == 6


def test_two_places_of_one_array_are_two():
    """Where a parameter moves within the net's flat array, calls about its old place are wrong."""
    add, (_, b, out) = Sum(), arrays(3, 4)
    flat = np.arange(24.0)
    for part in (flat[:12], flat[12:], flat[:12]):
        assert np.array_equal(add(part.reshape(3, 4), b, out), part.reshape(3, 4) + b)
    assert add.count == 9


def test_flags_and_names_are_told_apart():
    add, (a, b, out) = Sum(), arrays(3, 4)
    add(a, b, out, True, None)
    add(a, b, out, False, None)
    assert add.count == 6
    add(a, b, out, False, a)
    assert add.count == 9
    add(a, b, out, False, a, name="another")
    assert add.count == 12
    add(a, b, out, False, a)
    assert add.count == 12


def test_what_is_kept_is_kept_for_later_tasks_of_the_same_work():
    prepared, a, made = Prepared(), np.zeros(3), []

    def task(i, do):
        do.keep("ones", lambda: made.append(i) or np.ones(3))

    for name in ("one", "one", "two"):
        prepared.run(name, (a,), task, 4)
    assert made == [0, 0]


def test_what_fails_while_it_is_prepared_is_prepared_again():
    prepared, a, seen = Prepared(), np.zeros(3), []

    def task(i, do):
        do(seen.append, i)
        if len(seen) < 1 and not failed:
            failed.append(i)
            raise RuntimeError("no memory")

    failed = []
    with pytest.raises(RuntimeError, match="no memory"):
        prepared.run("it", (a,), task, 1)
    prepared.run("it", (a,), task, 1)
    assert seen == [0]


def test_each_thread_has_calls_of_its_own():
    """The calls hold views of the thread's scratch memory, which another thread must not write."""
    prepared, a, used = Prepared(), np.zeros(3), {}

    def task(i, do):
        do(used.setdefault, threading.get_ident(), parallel.scratch("room", (3,), np.float64))

    def work():
        prepared.run("it", (a,), task, 1)
        barrier.wait()

    barrier = threading.Barrier(2)
    other = threading.Thread(target=work)
    other.start()
    work()
    other.join()
    first, second = used.values()
    assert not np.shares_memory(first, second)


@pytest.mark.parametrize("type", ["Convolution", "Deconvolution"])
def test_a_convolution_follows_parameters_that_move_within_one_array(type):
    """1 x 1 kernels of a net's flat array are read where they lie, without a copy."""
    layers = [
        {"name": "x", "type": "Input", "shape": [2, 400, 3, 3]},
        {"name": "y", "type": type, "num_output": 400, "kernel_size": 1, "bias_term": False, "weight_filler": "msra"},
    ]
    net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN")
    net.blobs["x"].data[...] = np.random.default_rng(0).normal(size=(2, 400, 3, 3))
    W = net.layers["y"].blobs[0]
    before = net.forward()["y"].copy()
    flat = nettrain.Blob((2 * W.count,))
    first, second = flat.divide([slice(0, W.count), slice(W.count, None)])
    flat.data[: W.count], flat.data[W.count :] = W.data.ravel(), 2 * W.data.ravel()
    for place, factor in ((first, 1), (second, 2)):
        W.place_in(*place)
        assert np.array_equal(net.forward()["y"], factor * before)
