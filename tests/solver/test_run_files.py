"""Where a run writes: numbered folders, given ones, prefixes, and metrics."""

import json
import math
import os
from pathlib import Path

import nettrain
import pytest
from helpers.solvers import no_test
from nettrain import NettrainError
from nettrain.solver.runs import Run

pytestmark = pytest.mark.usefixtures("workdir")


def test_runs_are_numbered():
    spec = no_test() | {"name": "my net/1"}
    for number in (1, 2):
        nettrain.get_solver(spec).solve()
        assert os.path.exists(f"runs/my_net_1/{number:03d}/iter_5.npz")
    os.mkdir("runs/my_net_1/041")
    os.mkdir("runs/my_net_1/notes")
    solver = nettrain.get_solver(spec)
    assert not os.path.exists("runs/my_net_1/042")  # nothing is made before the run begins
    solver.solve()
    assert os.path.exists("runs/my_net_1/042/iter_5.npz")


def test_runs_that_begin_together_get_folders_of_their_own():
    solvers = [nettrain.get_solver(no_test()) for _ in range(2)]
    for solver in solvers:
        solver.run.open()
    assert solvers[0].run.folder != solvers[1].run.folder


def test_the_folder_may_be_given():
    nettrain.get_solver(no_test(), out="deep/er").solve()
    assert os.path.exists("deep/er/iter_5.npz")
    assert not os.path.exists("runs")


@pytest.mark.parametrize(
    ("prefix", "path"),
    [
        ("snap", "snap_iter_5.npz"),
        ("folder/snap", "folder/snap_iter_5.npz"),
        ("a/b/c", "a/b/c_iter_5.npz"),
        ("folder/", "folder/iter_5.npz"),
        ("there", "there/iter_5.npz"),
    ],
)
def test_snapshot_prefix(prefix, path):
    """As in Caffe: names begin with the prefix; one that names a folder puts the files there."""
    os.mkdir("there")
    nettrain.get_solver(no_test(snapshot_prefix=prefix, display=1)).solve()
    found = sorted(os.path.join(at, name).removeprefix("./") for at, _, names in os.walk(".") for name in names)
    names = ("iter_5.npz", "metrics.jsonl", "run.json", "spec.yaml")
    assert found == sorted(path.replace("iter_5.npz", name) for name in names)


@pytest.mark.parametrize("keys", [{"out": "file/run"}, {"out": "file"}, {"snapshot_prefix": "file/snap"}])
def test_a_folder_that_cannot_be_written_stops_before_any_work(keys):
    Path("file").write_text("kept")
    out = keys.pop("out", None)
    solver = nettrain.get_solver(no_test(**keys), out=out)
    with pytest.raises(NettrainError, match=r"cannot write to file.*; choose another folder with --out") as error:
        solver.solve()
    assert error.value.exit_code == 1
    assert solver.iter == 0
    assert Path("file").read_text() == "kept"


def test_the_probe_of_a_folder_leaves_nothing():
    solver = nettrain.get_solver(no_test(), out="run")
    solver.run.open()
    assert os.listdir("run") == [".lock"]
    solver.run.close()
    assert os.listdir("run") == []


def test_a_score_that_is_not_a_number_is_null_in_the_metrics():
    run = Run("net", folder="out")
    run.open()
    run.write_metrics({"iter": 1, "test": {"loss": math.nan, "per_class": [0.5, math.inf]}})
    text = Path("out/metrics.jsonl").read_text()
    assert json.loads(text) == {"iter": 1, "test": {"loss": None, "per_class": [0.5, None]}}
