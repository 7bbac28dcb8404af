"""Snapshots: n + m iterations equal n, snapshot, restore, m, bit for bit; and no file is ever half written."""

import gc
import json
import os
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import full_disk
from nettrain import NettrainError
from nettrain.files import arrays as npz
from nettrain.solver.listener import Functions

TRAIN, TEST, BATCH = 23, 7, 5  # an epoch is 4.6 batches


@pytest.fixture(autouse=True)
def _data(workdir):
    rng = np.random.default_rng(0)
    np.savez(
        "images.npz",
        train_data=rng.standard_normal((TRAIN, 1, 6, 6)),
        train_label=rng.integers(0, 3, TRAIN),
        test_data=rng.standard_normal((TEST, 1, 6, 6)),
        test_label=rng.integers(0, 3, TEST),
    )


def spec(ip1=(), **solver):
    """Everything a run remembers: shuffled data, random crops and flips, dropout, noise, momentum, a test cursor."""
    keys = {"base_lr": 0.1, "momentum": 0.9, "weight_decay": 0.01, "max_iter": 12, "average_loss": 3, "display": 1}
    keys |= {"lr_policy": "multistep", "gamma": 0.5, "stepvalue": [4, 4, 9], "test_interval": 5, "test_iter": 2}
    data = {"source": "images.npz", "batch_size": {"train": BATCH, "test": 3}}
    layers = [
        {"name": "d", "type": "Data", "top": ["data", "label"], "transform": {"crop_size": 5, "mirror": True}, **data},
        {"name": "ip1", "type": "InnerProduct", "bottom": "data", "num_output": 4, **dict(ip1)},
        {"name": "drop", "type": "Dropout", "top": "ip1"},
        {"name": "ip2", "type": "InnerProduct", "bottom": "ip1", "num_output": 3},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip2", "label"]},
        {"name": "noise", "type": "DummyData", "shape": [2, 2], "data_filler": "gaussian"},
        {"name": "still", "type": "InnerProduct", "bottom": "noise", "num_output": 1, "loss_weight": 0.01},
    ]
    return {"name": "run", "solver": keys | solver, "layers": layers}


def solver(out="run", **keys):
    return nettrain.get_solver(spec(**keys), out=out)


def iterate(one, iterations):
    """Make iterations; returns what can be seen of each: loss, rate, tests, and the weights after it."""
    seen, before = [], list(one.listeners)
    one.add(
        Functions(on_row=lambda row: seen.append(("row", row.iter, row.epoch, row.loss, row.lr, row.test, row.best)))
    )
    one.add(Functions(on_step=lambda s: seen.append(("step", s.iter, s.losses[-1], s.net.flat.data.tobytes()))))
    one.step(iterations)
    one.listeners = before
    return seen


def archive(path):
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


# Resuming


@pytest.mark.parametrize("keys", [{}, {"iter_size": 2}, {"random_seed": 9}, {"clip_gradients": 0.1}], ids=str)
@pytest.mark.parametrize("at", [1, 3, 4, 5, 9])
def test_a_restored_run_equals_an_undisturbed_one_bit_for_bit(at, keys):
    undisturbed = iterate(solver("undisturbed", **keys), 12)
    first = solver("first", **keys)
    before = iterate(first, at)
    second = solver("second", **keys)
    second.restore(first.snapshot())
    assert second.iter == at
    assert before + iterate(second, 12 - at) == undisturbed


def test_a_solver_may_go_back():
    one = solver()
    one.step(3)
    path = one.snapshot()
    once = iterate(one, 6)
    one.restore(path)
    assert iterate(one, 6) == once


def test_a_chain_of_snapshots_equals_an_undisturbed_run():
    undisturbed = iterate(solver("undisturbed"), 6)
    seen, path = [], None
    for i in range(6):
        one = solver(f"part{i}")
        if path:
            one.restore(path)
        seen += iterate(one, 1)
        path = one.snapshot()
    assert seen == undisturbed


def test_a_run_with_a_seed_of_its_own_goes_on_with_that_seed():
    first = solver("first", random_seed=-1)
    first.step(3)
    path = first.snapshot()
    on = iterate(first, 6)
    second = solver("second", random_seed=-1)
    second.restore(path)
    assert iterate(second, 6) == on
    assert second.seed == first.seed


def test_the_best_weights_are_a_snapshot_to_go_on_from():
    one = solver("first")
    undisturbed = iterate(one, 10)
    at = one.best[1]
    assert at in (0, 5)
    again = solver("again")
    again.restore("first/best.npz")
    assert again.iter == at
    rest = [entry for entry in iterate(again, 10 - at) if entry[0] == "step"]
    assert rest == [entry for entry in undisturbed if entry[0] == "step"][at:]


def test_a_run_may_be_extended():
    longer = solver("longer", max_iter=12)
    longer.solve()
    short = solver("short", max_iter=7)
    short.solve()
    on = solver("on", max_iter=12)
    on.restore("short/iter_7.npz")
    on.solve()
    np.testing.assert_array_equal(on.net.flat.data, longer.net.flat.data)
    assert [path.name for path in Path("on").glob("iter_*")] == ["iter_12.npz"]


def test_a_run_that_was_over_stays_so():
    one = solver(max_iter=4)
    one.solve()
    before = Path("run/iter_4.npz").stat().st_mtime_ns
    again = solver(max_iter=4)
    again.restore("run/iter_4.npz")
    again.solve()
    assert again.iter == 4
    np.testing.assert_array_equal(one.net.flat.data, again.net.flat.data)
    assert Path("run/iter_4.npz").stat().st_mtime_ns == before


def test_a_restored_solver_tests_again_at_the_end():
    one = solver(max_iter=6, snapshot=3, test_interval=0)
    one.solve()
    one.restore("run/iter_3.npz")
    rows = []
    one.add(Functions(on_row=rows.append))
    one.solve()
    assert [row.iter for row in rows if row.test] == [6]


def test_the_best_score_is_remembered():
    one = solver("first", test_interval=1)
    one.step(8)
    path = one.snapshot()
    again = solver("again", test_interval=1)
    again.restore(path)
    assert again.best == one.best


def test_the_newest_snapshot_is_known_after_restoring():
    one = solver()
    path = one.snapshot()
    again = solver("again")
    again.restore(path)
    assert again.last_snapshot == path


# When


@pytest.mark.parametrize(
    ("keys", "written"),
    [
        ({"snapshot": 3}, [3, 6, 7]),
        ({"snapshot": 7}, [7]),
        ({"snapshot": 1}, [1, 2, 3, 4, 5, 6, 7]),
        ({"snapshot": 3, "snapshot_after_train": False}, [3, 6]),
        ({}, [7]),
        ({"snapshot": 100}, [7]),
        ({"snapshot_after_train": False}, []),
    ],
)
def test_snapshots_are_written_when_due(keys, written):
    one = solver(max_iter=7, test_interval=0, **keys)
    made = []
    original = one.keeper.keep
    one.keeper.keep = lambda one: made.append(original(one)) or made[-1]
    one.solve()
    assert made == [Path(f"run/iter_{i}.npz") for i in written]  # each once
    assert sorted(made) == sorted(Path("run").glob("iter_*.npz"))
    for path, i in zip(made, written, strict=True):
        assert json.loads(str(archive(path)["state"]))["iter"] == i


# What


def test_what_a_snapshot_holds():
    one = solver()
    one.step(6)
    arrays = archive(one.snapshot())
    state = json.loads(str(arrays.pop("state")))
    names = {f"param/{layer}/{i}" for layer in ("ip1", "ip2", "still") for i in (0, 1)}
    assert set(arrays) == names | {"history/0"}
    for name in names:
        _, layer, i = name.split("/")
        np.testing.assert_array_equal(arrays[name], one.net.params[layer][int(i)].data)
    np.testing.assert_array_equal(arrays["history/0"], one.updater.history[0])
    assert arrays["history/0"].any()
    assert (state["iter"], state["seed"], state["losses"]) == (6, 1701, list(one.losses))
    assert state["spec"] == spec()
    order = state["layers"]["d"]["order"]
    assert (order["epoch"], order["position"]) == (1, 6 * BATCH - TRAIN)


def test_a_snapshot_is_weights_too():
    one = solver()
    one.step(2)
    path = one.snapshot()
    net = nettrain.Net(spec(), phase="TEST", weights=path)
    for name, blobs in one.net.params.items():
        for mine, theirs in zip(net.params[name], blobs, strict=True):
            np.testing.assert_array_equal(mine.data, theirs.data)


def test_no_python_object_is_ever_pickled(monkeypatch):
    import pickle

    def forbidden(*arguments, **keys):
        raise AssertionError("pickle was used")

    for name in ("dump", "dumps", "load", "loads"):
        monkeypatch.setattr(pickle, name, forbidden)
    one = solver(test_interval=1)
    one.step(3)
    one.restore(one.snapshot())
    for path in Path("run").glob("*.npz"):
        assert all(array.dtype.kind in "fU" for array in archive(path).values())


# Writing


def test_a_failed_write_leaves_no_file(monkeypatch):
    one = solver(snapshot=4, test_interval=0)
    monkeypatch.setattr(npz.np.lib.format, "write_array", full_disk)
    with pytest.raises(NettrainError, match=r"cannot write run/iter_4\.npz: No space left on device") as error:
        one.solve()
    assert error.value.exit_code == 1
    assert sorted(os.listdir("run")) == ["metrics.jsonl", "run.json", "spec.yaml"]


def test_a_failed_write_leaves_the_snapshot_before(monkeypatch):
    one = solver(snapshot=2, test_interval=0)
    one.step(2)
    before = Path("run/iter_2.npz").read_bytes()
    monkeypatch.setattr(npz.np.lib.format, "write_array", full_disk)
    with pytest.raises(NettrainError, match=r"No space left on device; run/iter_2.npz is intact"):
        one.solve()
    one.iter = 2
    with pytest.raises(NettrainError):
        one.snapshot()  # the same name again
    assert Path("run/iter_2.npz").read_bytes() == before
    one.run.close()
    assert sorted(os.listdir("run")) == ["iter_2.npz", "metrics.jsonl", "run.json", "spec.yaml"]


def test_an_interrupt_while_writing_leaves_no_file(monkeypatch):
    one = solver(test_interval=0)

    def interrupted(file, array, allow_pickle):
        file.write(b"PK")
        raise KeyboardInterrupt

    monkeypatch.setattr(npz.np.lib.format, "write_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        one.snapshot()
    one.run.close()
    assert os.listdir("run") == []


def test_a_file_holds_the_arrays_it_was_given_and_nothing_else():
    arrays = {"param/ip/0": np.arange(6.0).reshape(2, 3).T, "state": np.array("text"), "empty": np.zeros((0, 3))}
    for name in "ab":
        npz.write_npz(Path(f"{name}.npz"), arrays)
    assert Path("a.npz").read_bytes() == Path("b.npz").read_bytes()  # no date of its making
    with np.load("a.npz", allow_pickle=False) as archive:
        assert archive.files == list(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(archive[name], array, strict=True)


def test_a_file_gets_its_name_when_it_is_complete_and_on_disk(monkeypatch):
    events = []
    real_sync, real_replace = os.fsync, os.replace

    def fsync(descriptor):
        events.append(os.fstat(descriptor).st_size)
        real_sync(descriptor)

    def replace(source, target):
        events.append(Path(target).name)
        assert not Path(target).exists()
        assert json.loads(str(archive(source)["state"]))["iter"] == 0  # all of it is there already
        assert Path(source).parent.samefile(Path(target).parent)
        real_replace(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    solver().snapshot()
    assert events[:2] == [Path("run/iter_0.npz").stat().st_size, "iter_0.npz"]  # the whole file was synced first


def test_a_snapshot_of_an_iteration_replaces_the_one_before():
    one = solver()
    one.snapshot()
    one.net.flat.data[...] = 7
    arrays = archive(one.snapshot())
    assert (arrays["param/ip1/0"] == 7).all()
    one.run.close()
    assert os.listdir("run") == ["iter_0.npz"]


# Reading


def snapshot_with(change):
    """A snapshot whose arrays were changed."""
    path = solver("made").snapshot()
    arrays = archive(path)
    change(arrays)
    npz.write_npz(path, arrays)
    return path


def cut(path, size):
    path.write_bytes(path.read_bytes()[:size])
    return path


def flip(path):
    """One bit of the first weight is wrong."""
    raw = bytearray(path.read_bytes())
    weights = archive(path)["param/ip1/0"].tobytes()
    raw[raw.index(weights)] ^= 1
    path.write_bytes(raw)
    return path


def text_file():
    Path("made.npz").write_text("not a snapshot")
    return Path("made.npz")


def weights_only():
    solver().net.save("made.npz")
    return Path("made.npz")


DAMAGED = r"snapshot .* is damaged(: it has lost its checksum| or not an \.npz file)"
WRONG = {
    "missing": (lambda: Path("nothing.npz"), r"snapshot not found: nothing\.npz"),
    "empty": (lambda: cut(solver("made").snapshot(), 0), DAMAGED),
    "truncated at the end": (lambda: cut(solver("made").snapshot(), -30), DAMAGED),
    "truncated in the middle": (lambda: cut(solver("made").snapshot(), 1000), DAMAGED),
    "a wrong bit": (lambda: flip(solver("made").snapshot()), DAMAGED),
    "text": (text_file, DAMAGED),
    "folder": (lambda: Path("."), "is a folder, not an .npz file"),
    "weights": (weights_only, "is not a snapshot but weights without a solver's state; .* use --weights"),
    "data": (lambda: Path("images.npz"), r"images\.npz is not a snapshot but something else"),
    "no state": (lambda: snapshot_with(lambda a: a.pop("state")), "is not a snapshot but weights"),
    "broken state": (lambda: snapshot_with(lambda a: a.update(state=np.array("{"))), "is not a snapshot"),
    "other format": (lambda: snapshot_with(lambda a: a.update(state=np.array('{"format": "x"}'))), "is not a snapshot"),
    "without history": (lambda: snapshot_with(lambda a: a.pop("history/0")), "its history has a different size"),
    "other history": (
        lambda: snapshot_with(lambda a: a.update({"history/0": np.zeros(3, np.float32)})),
        "made by another solver type or net: its history has a different size",
    ),
    "without a layer": (lambda: snapshot_with(lambda a: [a.pop(f"param/ip2/{i}") for i in (0, 1)]), "ip2"),
    "other shapes": (
        lambda: solver("made", ip1={"transpose": True}).snapshot(),
        r"iter_0.npz: layer `ip1` has blobs of 25 x 4, 4 in the file and 4 x 25, 4 in the net",
    ),
    "other net": (
        lambda: solver("made", ip1={"num_output": 5}).snapshot(),
        r"iter_0.npz: layer `ip1` has blobs of 5 x 25, 5 in the file and 4 x 25, 4 in the net",
    ),
}


@pytest.mark.parametrize("kind", WRONG)
def test_what_cannot_be_restored_is_named_and_changes_nothing(kind):
    make, message = WRONG[kind]
    one = solver()
    one.step(2)
    path = make()
    before = one.net.flat.data.copy(), one.updater.history[0].copy(), one.net.layers["d"].state(), list(one.losses)
    with pytest.raises(NettrainError, match=message) as error:
        one.restore(path)
    assert str(path) in str(error.value)
    del error
    gc.collect()  # a file left open would be a warning, which is an error here
    np.testing.assert_array_equal(one.net.flat.data, before[0])
    np.testing.assert_array_equal(one.updater.history[0], before[1])
    assert (one.iter, one.net.layers["d"].state(), list(one.losses)) == (2, *before[2:])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_parameter_that_is_not_finite_is_one_too_many(value):
    one = solver()
    one.net.flat.data[-1] = value
    with pytest.raises(NettrainError, match="a parameter is not a finite number"):
        one.snapshot()
    assert not Path("run/iter_0.npz").exists()
