"""Signals, errors and kills that reach one of several ranks: all end together, and what is kept goes on exactly."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import layer, start
from helpers.teams import together
from nettrain.ranks.launch import mpiexec
from nettrain.solver import keeper
from nettrain.tools import training

LAYERS = [
    layer("d", "Data", top=["data", "label"], source="d.npz", batch_size=4),
    layer("h", "InnerProduct", "data", num_output=20, weight_filler="xavier"),
    layer("drop", "Dropout", "h", "h"),
    layer("out", "InnerProduct", "h", num_output=3, weight_filler="xavier"),
    layer("loss", "SoftmaxWithLoss", ["out", "label"]),
]
SOLVER = {"base_lr": 0.02, "max_iter": 20, "display": 5, "random_seed": 3, "iter_size": 4, "momentum": 0.9}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    data, labels = rng.standard_normal((26, 4)).astype(np.float32), rng.integers(0, 3, 26)
    np.savez("d.npz", train_data=data, train_label=labels, test_data=data, test_label=labels)


def solver(team, out="run", on_step=None, **keys):
    spec = {"name": "n", "solver": SOLVER | keys, "layers": LAYERS}
    return nettrain.get_solver(spec, out=out, team=team, on_step=on_step)


class Signalled:
    """In place of Interrupts: nothing, or what one rank has noted."""

    def __init__(self, number=None):
        self.stopped_by = number

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGUSR1"])
@pytest.mark.parametrize("rank", [0, 2])
def test_a_signal_to_one_rank_stops_all_after_the_same_iteration(monkeypatch, tmp_path, name, rank):
    number = int(getattr(signal, name))
    noted = {}

    def on(team):
        def ask(one):
            if team.rank == rank and one.iter == 7:
                one.request = "stop"

        one = solver(team, on_step=ask)
        noted[id(one)] = Signalled(number if team.rank == rank else None)
        with pytest.raises(nettrain.NettrainError) as error:
            training.run(one, lambda line: None, lambda line: None, lambda loss: None)
        return str(error.value), error.value.exit_code, one.iter

    monkeypatch.setattr(training, "Interrupts", lambda one, effects: noted[id(one)])
    (text, code, iteration), *others = together(4, on)
    assert others == [(text, code, iteration)] * 3
    assert code == 128 + number
    assert iteration == 8
    assert text.startswith("interrupted at iteration 8\n  kept    run/iter_8.npz")
    assert [path.name for path in tmp_path.glob("run/iter_*.npz")] == ["iter_8.npz"]


@pytest.mark.parametrize("requests", [("snapshot", None), ("snapshot", "stop"), ("stop", "stop")])
def test_what_several_ranks_are_asked_for(tmp_path, requests):
    def on(team):
        def ask(one):
            if one.iter == 7:
                one.request = requests[team.rank]

        one = solver(team, on_step=ask, snapshot_after_train=False)
        one.solve()
        return one.iter, one.ended, one.request

    stops = "stop" in requests
    expected = (8, "stopped at iteration 8", None) if stops else (20, "", None)
    assert together(2, on) == [expected] * 2
    assert [path.name for path in tmp_path.glob("run/iter_*.npz")] == ["iter_8.npz"]


def test_only_the_first_writes(tmp_path):
    together(2, lambda team: solver(team, out=f"of{team.rank}", snapshot=5, display=5).solve())
    assert (tmp_path / "of0" / "iter_20.npz").exists()
    assert not (tmp_path / "of1").exists()


def test_a_disk_that_refuses_the_first_ends_the_others(monkeypatch):
    def refuse(path, *_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(keeper, "write_snapshot", refuse)
    with pytest.raises(nettrain.NettrainError, match=r"cannot write run/iter_5.npz: No space left on device") as error:
        together(2, lambda team: solver(team, snapshot=5).solve())
    assert error.value.exit_code == 1


def test_divergence_is_found_by_all_alike():
    def on(team):
        with pytest.raises(nettrain.NettrainError) as error:
            solver(team, base_lr=1e38).solve()
        return str(error.value), error.value.exit_code

    first, second = together(2, on)
    assert first == second
    assert first[0].startswith("training diverged at iteration ")
    assert first[1] == 3


def everything(path):
    """A hash of each array of a snapshot, and its state."""
    with np.load(path) as archive:
        state = json.loads(str(archive["state"]))
        state.pop("folder")
        arrays = {name: hashlib.sha256(archive[name]).hexdigest() for name in archive.files if name != "state"}
    return arrays, state


def begin(ranks, *arguments):
    """``nettrain train`` in several processes, which go on until something happens to them."""
    environment = os.environ | {"MPIR_CVAR_ENABLE_HEAVY_YIELD": "1"}
    by = (mpiexec(), "-n", ranks) if ranks > 1 else ()
    return start("train", *arguments, by=by, env=environment, stderr=subprocess.STDOUT)


def below(process):
    """The ranks that an mpiexec has started, by their numbers."""
    parents, found = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            environment = (folder / "environ").read_bytes().split(b"\0")
        except (OSError, ValueError):
            continue
        number = [int(one[9:]) for one in environment if one.startswith(b"PMI_RANK=")]
        found |= dict.fromkeys(number, int(folder.name))
    return {rank: pid for rank, pid in found.items() if parents.get(parents.get(pid, 0)) == process.pid}


def await_snapshot(process, folder, after=-1):
    until = time.monotonic() + 30
    while not any(int(path.stem[5:]) > after for path in folder.glob("iter_*.npz")):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.skipif(sys.platform != "linux", reason="mpich is an extra of tests on Linux only")
def test_a_killed_rank_and_a_signal_to_one_leave_a_run_that_goes_on_exactly(tmp_path):
    """Four ranks, of which one is killed; two go on, until one of them is told to stop; one makes the rest."""
    Path("net.yaml").write_text(json.dumps({"name": "n", "solver": SOLVER | {"snapshot": 10}, "layers": LAYERS}))
    run, many = tmp_path / "run", "--set=solver.max_iter=1000000"

    process = begin(4, "net.yaml", "--out", "run", many)
    await_snapshot(process, run)
    ranks = below(process)
    assert set(ranks) == {0, 1, 2, 3}
    os.kill(ranks[random.randrange(4)], signal.SIGKILL)
    assert process.communicate(timeout=10)[0]
    assert process.returncode != 0

    last = max(int(path.stem[5:]) for path in run.glob("iter_*.npz"))
    process = begin(2, "--resume", "run")
    await_snapshot(process, run, last)
    os.kill(below(process)[1], signal.SIGUSR1)
    said = process.communicate(timeout=20)[0]
    assert process.returncode == 128 + signal.SIGUSR1
    assert said.count("interrupted at iteration ") == 1
    at = int(said.partition("interrupted at iteration ")[2].split()[0])

    end = f"--set=solver.max_iter={at + 10}"
    for arguments in (["--resume", "run", end], ["net.yaml", "--out", "one", end]):
        process = begin(1, *arguments)
        assert process.communicate(timeout=60)[0]
        assert process.returncode == 0
    assert everything(run / f"iter_{at + 10}.npz") == everything(f"one/iter_{at + 10}.npz")
