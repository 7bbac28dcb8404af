"""The files of a run: which are its own, which are kept."""

from pathlib import Path

import pytest
from nettrain.solver.runs import Run


@pytest.fixture
def folder(workdir):
    Path("run").mkdir()
    for name in ("iter_2.npz", "iter_4.npz", "iter_6.npz", "iter_10.npz", "best.npz", "other_iter_1.npz", "notes.txt"):
        Path("run", name).touch()
    return Path("run")


@pytest.mark.parametrize(
    ("count", "iteration", "removed"),
    [
        (1, 10, {"iter_2.npz", "iter_4.npz", "iter_6.npz"}),
        (2, 10, {"iter_2.npz", "iter_4.npz"}),
        (3, 6, set()),
        (2, 6, {"iter_2.npz"}),
        (1, 6, {"iter_2.npz", "iter_4.npz"}),  # a run that went back keeps what it has just made, and what is ahead
        (1, 5, {"iter_2.npz"}),
        (1, 1, set()),
    ],
)
def test_the_newest_up_to_an_iteration_are_kept(folder, count, iteration, removed):
    before = {path.name for path in folder.iterdir()}
    assert Run("", folder=folder).keep_newest(count, iteration) == []
    assert before - {path.name for path in folder.iterdir()} == removed
