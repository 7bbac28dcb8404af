"""`nettrain train --json`: one line on stdout, whatever became of the run, that says what its files say."""

import errno
import json
import os
import signal
from pathlib import Path

import nettrain
import pytest
import yaml
from click.testing import CliRunner
from helpers.runs import rows, spec, write_images, write_spec
from nettrain import NettrainError
from nettrain.cli import main
from nettrain.solver.runs import Run


@pytest.fixture(autouse=True)
def _data(workdir):
    write_images()
    write_spec()


def trained(*arguments, exit_code=0):
    """The line that a run ends with."""
    result = CliRunner().invoke(main, ["train", "run.yaml", *arguments, "--json"])
    assert result.exit_code == exit_code, result.output
    (line,) = result.stdout.splitlines()
    found = json.loads(line, parse_constant=pytest.fail)
    assert found["exit_code"] == exit_code
    return found, result.stderr


def in_gradient(monkeypatch, at, act):
    """Let something happen while iteration ``at`` is computed."""
    gradient = nettrain.Solver.gradient

    def acting(solver):
        if solver.iter == at:
            act()
        return gradient(solver)

    monkeypatch.setattr(nettrain.Solver, "gradient", acting)


def raising(error):
    def act():
        raise error

    return act


def test_a_run_that_is_done():
    found, errors = trained("--out", "r")
    tests = {row["iter"]: row["test"]["accuracy"] for row in rows("r") if row.get("test")}
    best = max(tests.values())
    assert found["score"] == pytest.approx(best)
    assert found["at"] == next(at for at, score in tests.items() if score == best)
    assert found.pop("seconds") > 0
    assert {key: found[key] for key in found if key not in ("score", "at")} == {
        "run": "r",
        "state": "finished",
        "why": "",
        "exit_code": 0,
        "metric": "accuracy",
        "higher": True,
        "percent": True,
        "iteration": 10,
        "max_iter": 10,
        "weights": "r/best.npz",
        "snapshot": "r/iter_10.npz",
        "metrics": "r/metrics.jsonl",
    }
    assert "done: 10 iterations" in errors  # progress is still there to be read
    listed = json.loads(CliRunner().invoke(main, ["runs", "r", "--json"]).stdout)["runs"][0]
    shared = listed.keys() & found.keys()
    assert {"run", "state", "why", "metric", "score", "at", "iteration"} <= shared
    assert {key: found[key] for key in shared} == {key: listed[key] for key in shared}


def test_why_it_ended_early():
    keys = spec(patience=1, base_lr=1e-9)
    del keys["solver"]["test_iter"]
    Path("run.yaml").write_text(yaml.safe_dump(keys))  # the whole set each time, and nothing is learned
    found, _ = trained()
    assert (found["state"], found["iteration"], found["run"]) == ("finished", 2, "runs/run/001")
    assert "(solver.patience)" in found["why"]


def test_a_loss_is_better_when_it_is_lower():
    found, _ = trained("--set", "solver.monitor=loss")
    assert (found["metric"], found["higher"], found["percent"]) == ("loss", False, False)


def test_a_run_without_tests_has_no_score():
    endless = {"name": "t", "type": "DummyData", "top": ["data", "label"], "shape": [[3, 1, 5, 5], [3]]}
    first, *others = spec()["layers"]
    layers = [first | {"include": "train"}, endless | {"include": "test"}, *others]
    solver = {"base_lr": 0.05, "max_iter": 10}
    Path("run.yaml").write_text(yaml.safe_dump({"name": "run", "solver": solver, "layers": layers}))
    found, _ = trained("--out", "s")
    assert found["metric"] is found["score"] is found["at"] is found["weights"] is None
    assert found["snapshot"] == "s/iter_10.npz"


def test_diverged():
    found, errors = trained("--out", "r", "--set", "solver.base_lr=1e30", "--set", "solver.snapshot=1", exit_code=3)
    assert found["state"] == "failed"
    assert found["why"] == errors[errors.index("training diverged") :].splitlines()[0]
    assert found["weights"] == "r/best.npz"
    assert found["iteration"] < 10


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_to_stop(monkeypatch, name, code):
    in_gradient(monkeypatch, 5, lambda: os.kill(os.getpid(), getattr(signal, name)))
    found, _ = trained("--out", "r", exit_code=code)
    assert (found["state"], found["iteration"], found["snapshot"]) == ("interrupted", 6, "r/iter_6.npz")


def test_stopped_at_once(monkeypatch):
    in_gradient(monkeypatch, 5, raising(KeyboardInterrupt))
    found, _ = trained("--out", "r", "--set", "solver.snapshot=2", exit_code=130)
    assert (found["state"], found["iteration"], found["snapshot"]) == ("interrupted", 5, "r/iter_4.npz")


@pytest.mark.parametrize(
    ("error", "why"),
    [(NettrainError("the disk is full", exit_code=1), "the disk is full"), (MemoryError("no room"), "no room")],
)
def test_what_fails_while_training(monkeypatch, error, why):
    in_gradient(monkeypatch, 5, raising(error))
    found, errors = trained("--out", "r", exit_code=1)
    assert (found["state"], found["why"], found["iteration"]) == ("failed", why, 5)
    assert why in errors
    assert json.loads(Path("r/run.json").read_text())["ended"]["why"] == why


def test_a_run_that_came_to_nothing_names_no_files(monkeypatch):
    in_gradient(monkeypatch, 0, raising(NettrainError("nothing works", exit_code=1)))
    found, _ = trained(exit_code=1)
    assert not Path("runs").exists()
    assert found["run"] is found["weights"] is found["snapshot"] is found["metrics"] is None


def test_what_never_began_prints_no_line(nettrain_cli):
    assert not nettrain_cli("train", "run.yaml", "--set", "solver.base_lr=x", "--json", exit_code=2).stdout


def test_a_reader_that_has_gone_does_not_hide_why_it_failed(monkeypatch):
    def closed(*_, **__):
        raise OSError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("nettrain.commands.training.show", closed)
    result = CliRunner().invoke(main, ["train", "run.yaml", "--set", "solver.base_lr=1e30", "--json"])
    assert result.exit_code == 3
    assert "training diverged" in result.stderr


def test_files_with_a_prefix():
    found, _ = trained("--set", "solver.snapshot_prefix=here/mine")
    assert (found["run"], found["weights"]) == ("here/mine", "here/mine_best.npz")
    assert Run.of(Path(found["snapshot"])).stem == "mine"
