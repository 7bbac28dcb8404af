"""The files of a run: which are its own, which are kept."""

from pathlib import Path

import nettrain
import pytest
from nettrain import NettrainError
from nettrain.solver.finding import find_snapshot
from nettrain.solver.runs import Run
from nettrain.solver.snapshot import SnapshotError


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


def test_a_bad_snapshot_is_skipped_and_so_is_the_next(workdir):
    layers = [
        {"name": "x", "type": "Parameter", "shape": [2], "top": "x", "filler": 1},
        {"name": "l", "type": "Reduction", "bottom": "x", "operation": "SUMSQ", "loss_weight": 1},
    ]
    solver = {"base_lr": 0.1, "max_iter": 8, "snapshot": 2}
    nettrain.get_solver({"name": "run", "solver": solver, "layers": layers}, out="run").solve()
    found = find_snapshot("run")
    assert (found.snapshot.iter, [path.name for path in found.older]) == (8, ["iter_6.npz", "iter_4.npz", "iter_2.npz"])
    Path("run/iter_6.npz").write_bytes(b"damaged")
    found.fall_back(SnapshotError("this one does not fit"))
    assert (found.snapshot.iter, [path.name for path in found.older]) == (4, ["iter_2.npz"])
    first, second = found.notes
    assert first == "this one does not fit; skipped"
    assert "iter_6.npz" in second
    Path("run/iter_2.npz").unlink()
    with pytest.raises(SnapshotError, match="nor does this"):
        found.fall_back(SnapshotError("nor does this"))
    assert found.snapshot.iter == 4


@pytest.mark.parametrize("where", ["there", "there/new/er", "file", "file/in/it"])
def test_whether_a_run_could_be_written_is_known_without_making_anything(workdir, where):
    Path("there").mkdir()
    Path("file").touch()
    run = Run("", folder=where)
    if where.startswith("there"):
        run.check_writable()
    else:
        with pytest.raises(NettrainError, match="cannot write to file"):
            run.check_writable()
    assert sorted(str(path) for path in Path().rglob("*")) == ["file", "there"]


@pytest.mark.parametrize("where", ["file", "file/in/it"])
def test_where_no_folder_can_be_is_said_before_any_work_is_done(workdir, where):
    Path("file").touch()
    with pytest.raises(NettrainError, match=f"cannot write to {where}: .*; choose another folder with --out") as error:
        Run("", folder=where).open()
    assert error.value.exit_code == 1
    assert [str(path) for path in Path().rglob("*")] == ["file"]
