"""One seed, one run."""

import numpy as np
import pytest
from helpers import layer
from helpers.solvers import classifier

pytestmark = pytest.mark.usefixtures("workdir")


def run_with(seed, **options):
    solver, _ = classifier(random_seed=seed, extra=[layer("drop", "Dropout", "ip", "ip")], **options)
    start = solver.net.flat.data.copy()
    solver.step(6)
    return solver, start, list(solver.losses), solver.net.flat.data.copy()


def test_the_same_seed_gives_the_same_run():
    (_, start, losses, end), (_, *again) = run_with(3), run_with(3)
    np.testing.assert_array_equal(start, again[0])
    assert losses == again[1]
    np.testing.assert_array_equal(end, again[2])


def test_zero_is_a_seed():
    solvers = [classifier(random_seed=0)[0] for _ in range(2)]
    assert [solver.seed for solver in solvers] == [0, 0]
    np.testing.assert_array_equal(*(solver.net.flat.data for solver in solvers))


def test_another_seed_gives_another_run():
    (_, start, losses, end), (_, *other) = run_with(3), run_with(4)
    assert not np.array_equal(start, other[0])
    assert losses != other[1]
    assert not np.array_equal(end, other[2])


def test_a_negative_seed_is_a_new_one_each_run():
    first, second = run_with(-1), run_with(-1)
    assert first[0].seed != second[0].seed
    assert min(first[0].seed, second[0].seed) >= 0
    assert not np.array_equal(first[1], second[1])
    again = run_with(first[0].seed)  # the seed that was drawn makes the run again
    np.testing.assert_array_equal(first[3], again[3])


def test_the_seed_is_1701_by_default():
    default, _ = classifier()
    np.testing.assert_array_equal(default.net.flat.data, classifier(random_seed=1701)[0].net.flat.data)
