"""Resuming a run: whatever ended it, the result is that of an uninterrupted run."""

import hashlib
import json
import os
import random
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import full_disk
from helpers.runs import rows, solver, spec, write_images, write_spec
from nettrain import NettrainError
from nettrain.files import arrays
from nettrain.solver import finding
from nettrain.solver.finding import find_snapshot
from nettrain.solver.listener import Functions
from nettrain.solver.runs import Run
from nettrain.solver.snapshot import read_snapshot
from nettrain.tools import testing


@pytest.fixture(autouse=True)
def _data(workdir):
    write_images()


RULES = {
    "SGD": {"momentum": 0.9},
    "Nesterov": {"momentum": 0.9},
    "AdaGrad": {},
    "RMSProp": {},
    "AdaDelta": {"momentum": 0.95, "delta": 1e-6},
    "Adam": {},
    "AMSGrad": {"type": "Adam", "amsgrad": True},
    "AdamW": {"weight_decay": 0.01},
}
POLICIES = {
    "fixed": {},
    "step": {"gamma": 0.5, "stepsize": 4},
    "exp": {"gamma": 0.9},
    "inv": {"gamma": 0.1, "power": 0.75},
    "multistep": {"gamma": 0.5, "stepvalue": [3, 3, 7]},
    "poly": {"power": 2},
    "sigmoid": {"gamma": 0.5, "stepsize": 5},
    "cosine": {"warmup_iter": 4},
    "plateau": {"gamma": 0.5, "plateau_patience": 1},
}


def everything(one):
    """A hash of all that a run is: weights, history, cursors, generators, rate, best score, tests."""
    path = one.run.path("hash.npz")
    one.keeper.write(one, path)
    found = read_snapshot(path)
    path.unlink()
    digest = hashlib.sha256(json.dumps(found.state, sort_keys=True).encode())
    for name, array in sorted(found.params.items()):
        digest.update(name.encode() + array.tobytes())
    for array in found.history:
        digest.update(array.tobytes())
    return digest.hexdigest()


# n + m = n, resume, m


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("rule", RULES)
def test_a_resumed_run_is_the_undisturbed_one(rule, policy):
    keys = {"type": rule, "lr_policy": policy, "snapshot": 3} | RULES[rule] | POLICIES[policy]
    whole = solver("whole", **keys)
    whole.solve()
    first = solver("part", **keys)
    first.run.open()
    first.step(8)  # the last snapshot is of iteration 6: two iterations are repeated
    second = solver(**keys)
    second.resume("part")
    assert second.iter == 6
    second.solve()
    assert everything(second) == everything(whole)
    assert rows("part") == rows("whole")
    assert [row["iter"] for row in rows("part")] == list(range(11))
    for name in ("best.npz", "iter_10.npz"):
        assert (read_snapshot(Path("part", name)).state) == (read_snapshot(Path("whole", name)).state)


@pytest.mark.parametrize("end", [4, 5, 6])
def test_a_finished_run_may_be_extended_exactly(end):
    whole = solver("whole")
    whole.solve()
    solver("part", max_iter=end).solve()
    longer = solver()
    longer.resume("part")
    longer.solve()
    state = [{**read_snapshot(Path(name, "iter_10.npz")).state, "spec": None} for name in ("part", "whole")]
    assert state[0] == state[1]
    assert rows("part") == rows("whole")
    np.testing.assert_array_equal(longer.net.flat.data, whole.net.flat.data)


def test_resuming_from_the_best_weights_is_exact_too():
    whole = solver("whole", test_interval=3)
    whole.solve()
    at = whole.best[1]
    Path("part").mkdir()
    for name in ("best.npz", "metrics.jsonl"):
        Path("part", name).write_bytes(Path("whole", name).read_bytes())
    one = solver(test_interval=3)
    one.resume("part")
    assert one.iter == at
    one.solve()
    assert everything(one) == everything(whole)
    assert rows("part") == rows("whole")


def test_patience_goes_on_counting():
    keys = {"base_lr": 0.0, "patience": 3, "max_iter": 40, "test_iter": []}  # nothing ever gets better
    whole = solver("whole", **keys)
    whole.solve()
    assert whole.iter == 6
    assert "no better accuracy" in whole.ended
    part = solver("part", **keys)
    part.run.open()
    part.step(3)
    part.snapshot()
    on = solver(**keys)
    on.resume("part")
    on.solve()
    assert (on.iter, on.ended) == (6, whole.ended)
    assert rows("part") == rows("whole")
    again = solver(**keys)
    again.resume("part")
    again.solve()  # is over, and stays so
    assert again.iter == 6
    assert rows("part") == rows("whole")


def test_an_older_snapshot_begins_a_run_of_its_own():
    one = solver("part", snapshot=2)
    one.solve()
    before = {path.name: path.read_bytes() for path in Path("part").iterdir()}
    other = solver(snapshot=2)
    other.resume("part/iter_4.npz")
    assert other.run.folder == Path("runs/run/001")
    other.solve()
    assert {path.name: path.read_bytes() for path in Path("part").iterdir()} == before
    assert rows("runs/run/001") == rows("part")
    assert other.best == one.best
    assert Path("runs/run/001/best.npz").is_file()


def test_the_newest_snapshot_goes_on_in_its_folder_and_out_elsewhere():
    solver("part", snapshot=2, max_iter=4).solve()
    one = solver()
    one.resume("part/iter_4.npz")
    assert one.run.folder == Path("part")
    two = solver("elsewhere")
    two.resume("part")
    assert two.run.folder == Path("elsewhere")
    assert [row["iter"] for row in rows("elsewhere")] == [0, 1, 2, 3]


def test_a_prefix_names_a_run():
    for name in ("a", "b"):
        nettrain.get_solver(spec(snapshot_prefix=f"snaps/{name}", snapshot=5, max_iter=5)).solve()
    one = nettrain.get_solver(spec(snapshot_prefix="snaps/b"))
    one.resume("snaps/b")
    assert one.last_snapshot == Path("snaps/b_iter_5.npz")
    one.solve()
    assert Path("snaps/b_metrics.jsonl").read_text().count("\n") == 11
    assert Path("snaps/a_metrics.jsonl").read_text().count("\n") == 6
    with pytest.raises(NettrainError, match=r"several runs .*snaps/a, snaps/b"):
        one.resume("snaps")


# What is damaged


def test_a_damaged_newest_snapshot_is_skipped():
    one = solver("part", snapshot=2, snapshot_keep=0)
    one.solve()
    whole = rows("part")
    Path("part/best.npz").unlink()
    for name in ("iter_10.npz", "iter_8.npz"):
        Path("part", name).write_bytes(Path("part", name).read_bytes()[:-9])
    for path in Path("part").iterdir():
        os.utime(path, (10**9, 10**9 - hash(path.name) % 999))  # a clock that went wrong does not matter
    on = solver(snapshot=2, snapshot_keep=0)
    notes = on.resume("part")
    assert on.iter == 6
    assert [note for note in notes if "skipped" in note] == [
        f"snapshot part/iter_{i}.npz is damaged or not an .npz file "
        f"({Path(f'part/iter_{i}.npz').stat().st_size:,} bytes); skipped"
        for i in (10, 8)
    ]
    on.solve()
    assert rows("part") == whole
    assert everything(on) == everything(one)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: "x" * 300, "cannot be read: File name too long"),
        (lambda: "nowhere", "there is no run or snapshot nowhere; there are bad, runs/run/001"),
        (lambda: "runs/run/002", "there is no run or snapshot runs/run/002; there are runs/run/001"),
        (lambda: "runs/run/001/iter_7.npz", "there is no snapshot .*; in runs/run/001 there are iter_0.npz"),
        (lambda: "runs/other", "there is no run or snapshot runs/other; there are runs/run/001"),
        (lambda: "empty", "no snapshot in empty; a run is a folder such as runs/mlp/001"),
        (lambda: "killed", "killed has no snapshot: its run ended, at iteration 7 or later, .*train SPEC --out killed"),
        (lambda: "run.yaml", "run.yaml is the name of a spec, not of a run; to train it: nettrain train run.yaml"),
        (lambda: "runs/run", "runs/run holds the runs 001; choose one, such as runs/run/001"),
        (lambda: "runs", "runs holds the runs run/001; choose one, such as runs/run/001"),
        (
            lambda: "w.npz",
            "is not a snapshot but weights without a solver's state; to start from weights use --weights",
        ),
        (lambda: "images.npz", "is not a snapshot but something else"),
        (lambda: "metrics.jsonl", "damaged or not an .npz file"),
        (lambda: "bad", "no good snapshot in bad"),
    ],
)
def test_what_cannot_be_resumed_says_what_it_is(make, message):
    one = solver()
    one.run.open()
    one.snapshot()
    one.net.save("w.npz")
    Path("empty").mkdir()
    Path("killed").mkdir()
    Path("killed/metrics.jsonl").write_text('{"iter": 0}\n{"iter": 7}\n{"it')
    Path("bad").mkdir()
    Path("bad/iter_3.npz").write_text("x")
    Path("metrics.jsonl").write_text('{"iter": 0}\n')
    with pytest.raises(NettrainError, match=message):
        solver().resume(make())
    if make() in ("nowhere", "runs/run/002", "empty", "killed", "runs"):  # `nettrain test` says the same
        with pytest.raises(NettrainError, match=message):
            testing.run(make(), None, None, [], nettrain.net.netspec.load, print)


def test_a_run_is_not_trained_as_a_spec(nettrain_cli):
    solver("part", max_iter=2).solve()
    errors = nettrain_cli("train", "part", exit_code=2).stderr
    assert "part is a run, not a spec; did you mean `nettrain train --resume part` to resume it" in errors
    assert " To train its spec anew: nettrain train part/spec.yaml" in errors
    errors = nettrain_cli("train", "part/best.npz", exit_code=2).stderr
    assert (
        "part/best.npz is a file of parameters, not a spec; did you mean `nettrain train --resume part/best" in errors
    )


def test_the_best_weights_are_read_once(monkeypatch):
    solver("part", snapshot=2).solve()
    opened = []

    def counting(path):
        opened.append(path.name)
        return open_file(path)

    open_file = arrays.open_file
    monkeypatch.setattr(arrays, "open_file", counting)
    find_snapshot("part", best_first=True)
    assert opened == ["best.npz"]
    opened.clear()
    find_snapshot("part")
    assert sorted(opened) == ["best.npz", "iter_10.npz"]
    opened.clear()
    testing.run("part", None, None, [], nettrain.net.netspec.load, print)
    assert [name for name in opened if name.endswith("best.npz")] == ["best.npz"]


def test_snapshots_that_vanish_while_they_are_read(monkeypatch):
    """As beside a run that keeps few of them: what is there now is looked for again."""
    one = solver("part")
    one.run.open()
    one.step(1)
    one.snapshot()

    def vanishing(path):
        if path.name != "iter_4.npz":
            one.step(1)
            one.snapshot()
            path.unlink()
        return read_snapshot(path)

    monkeypatch.setattr(finding, "read_snapshot", vanishing)
    Path("part/best.npz").unlink()
    assert find_snapshot("part", best_first=True).snapshot.iter == 4


def test_a_torn_snapshot_is_always_recognised():
    one = solver("part")
    one.step(2)
    path = one.snapshot()
    good = path.read_bytes()
    assert len(good) > 9_000
    rng = random.Random(0)
    damaged = [good[:size] for size in [*range(0, len(good), 1000), *range(len(good) - 120, len(good))]]
    for at in [*range(0, len(good), 97), *range(len(good) - 120, len(good))]:
        wrong = bytearray(good)
        wrong[at] ^= 1 << rng.randrange(8)
        damaged.append(bytes(wrong))
    damaged += [good + b"x", good + good]
    for raw in damaged:
        path.write_bytes(raw)
        with pytest.raises(NettrainError):
            read_snapshot(path)
    path.write_bytes(good)
    assert read_snapshot(path).iter == 2


def test_lines_a_killed_process_left_unfinished_are_made_again():
    solver("whole").solve()
    one = solver("part", snapshot=4)
    one.run.open()
    one.step(6)
    one.run.close()
    with Path("part/metrics.jsonl").open("a") as file:
        file.write('{"iter": 6, "epo')
    Path("part/.iter_8.npz.abc.part").write_bytes(b"PK")
    on = solver()
    assert on.resume("part") == [
        "the run had reached iteration 5; what it did after its last snapshot, at iteration 4, is repeated"
    ]
    assert [path.name for path in Path("part").glob(".*")] == [".lock"]
    on.solve()
    assert not list(Path("part").glob(".*"))
    assert rows("part") == rows("whole")


def test_going_on_where_a_run_ended_needs_no_words():
    solver("part", max_iter=4).solve()
    assert solver().resume("part") == []


def test_lines_that_are_not_metrics_are_said_to_be_gone():
    solver("part", max_iter=4).solve()
    with Path("part/metrics.jsonl").open("a") as file:
        file.write("my notes\n{}\n{")
    assert solver().resume("part") == ["part/metrics.jsonl continues without 2 invalid lines"]


def test_this_many_snapshots_are_kept():
    one = solver("part", snapshot=2, snapshot_keep=2)
    one.solve()
    assert sorted(path.name for path in Path("part").glob("*.npz")) == ["best.npz", "iter_10.npz", "iter_8.npz"]
    assert [path.name for path in Run("", folder="part").snapshots()][:2] == ["iter_10.npz", "iter_8.npz"]


def test_a_snapshot_is_removed_only_when_the_next_is_there(monkeypatch):
    one = solver("part", snapshot=2, snapshot_keep=1, test_interval=0)
    one.run.open()
    one.step(4)
    monkeypatch.setattr(arrays.np.lib.format, "write_array", full_disk)
    with pytest.raises(NettrainError, match=r"No space left on device; part/iter_4\.npz is intact"):
        one.step(2)
    assert find_snapshot(Path("part")).snapshot.iter == 4


def test_a_stop_in_a_test_undoes_it():
    whole = solver("whole")
    whole.solve()
    one = solver("part")
    one.run.open()
    one.step(3)
    counted = one._between_batches
    calls = []

    def ask(test):
        calls.append(1)
        if len(calls) == 1:
            one.request = "stop"
        counted(test)

    one._between_batches = ask
    one.solve()
    assert (one.iter, one.ended) == (4, "stopped at iteration 4")
    on = solver()
    on.resume("part")
    on.solve()
    assert everything(on) == everything(whole)
    assert rows("part") == rows("whole")


def test_metrics_that_cannot_be_written_are_said():
    one = solver("part", snapshot=2, test_interval=0)
    one.run.open()
    one.step(3)
    Path("part/metrics.jsonl").unlink()
    Path("part/metrics.jsonl").mkdir()
    with pytest.raises(NettrainError, match=r"cannot write part/metrics.jsonl: Is a directory"):
        one.step(1)
    assert find_snapshot(Path("part")).snapshot.iter == 2


def test_a_changed_spec_is_said(nettrain_cli):
    write_spec(snapshot=5, max_iter=5)
    nettrain_cli("train", "run.yaml", "--out", "part")
    settings = ["--set", "solver.base_lr=0.01", "--set", "drop.dropout_ratio=0.3"]
    err = nettrain_cli("train", "run.yaml", "--resume", "part", *settings).stderr
    assert "note: solver.base_lr is 0.01, in the snapshot it is 0.05" in err
    assert "note: layer.drop.dropout_ratio is 0.3, in the snapshot it is left out" in err
    assert "resumed from part/iter_5.npz at iteration 5" in err


def test_weights_and_resume_cannot_be_combined(nettrain_cli):
    write_spec()
    result = nettrain_cli("train", "run.yaml", "--weights", "a.npz", "--resume", "b", exit_code=2)
    assert "give only one of them" in result.stderr


def test_a_run_is_not_written_over(nettrain_cli):
    write_spec(max_iter=3)
    nettrain_cli("train", "run.yaml", "--out", "part")
    before = {path.name: path.read_bytes() for path in Path("part").iterdir()}
    result = nettrain_cli("train", "run.yaml", "--out", "part", exit_code=2)
    assert "part already holds a run (iter_3.npz): resume it (--resume part), or choose another" in result.stderr
    nettrain_cli("train", "run.yaml", "--out", "other")
    assert "already holds a run" in nettrain_cli("train", "--resume", "other", "--out", "part", exit_code=2).stderr
    assert {path.name: path.read_bytes() for path in Path("part").iterdir()} == before


def test_what_was_skipped_is_said_once(nettrain_cli):
    write_spec(max_iter=6, snapshot=2)
    nettrain_cli("train", "run.yaml", "--out", "part")
    Path("part/iter_6.npz").write_bytes(b"PK")
    errors = nettrain_cli("train", "--resume", "part").stderr
    assert errors.count("iter_6.npz is damaged") == 1
    assert "max_iter is reached" not in errors
    assert "max_iter is reached; to train longer: --set solver.max_iter=12" in (
        nettrain_cli("train", "--resume", "part").stderr
    )


def test_an_error_while_running_says_what_is_kept(monkeypatch, nettrain_cli):
    write_spec(snapshot=2, max_iter=9, test_interval=0)
    from nettrain.layers.data.data import Data

    fill, calls = Data.fill, []

    def vanishing(self, *arguments):
        calls.append(1)
        if len(calls) > 5:
            raise NettrainError("images.npz is gone")
        return fill(self, *arguments)

    monkeypatch.setattr(Data, "fill", vanishing)
    errors = nettrain_cli("train", "run.yaml", "--out", "part", exit_code=2).stderr
    assert "images.npz is gone" in errors
    assert "kept    part/iter_4.npz" in errors
    assert "resume  nettrain train --resume part" in errors
    monkeypatch.setattr(Data, "fill", fill)
    nettrain_cli("train", "--resume", "part")
    whole = solver("whole", snapshot=2, max_iter=9, test_interval=0)
    whole.solve()
    assert rows("part") == rows("whole")


def test_a_snapshot_that_was_asked_for_does_not_end_a_run():
    one = solver("part", test_interval=0)
    one.add(Functions(on_step=lambda s: setattr(s, "request", "snapshot" if s.iter == 3 else s.request)))
    one.solve()
    assert (one.iter, one.ended, one.request) == (10, "", None)
    assert [path.name for path in Run("", folder="part").snapshots(with_best=False)] == ["iter_10.npz", "iter_3.npz"]
