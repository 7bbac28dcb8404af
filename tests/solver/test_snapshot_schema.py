"""Snapshots that are well sealed and not what they should be, data that is not what it was, disks that refuse."""

import copy
import errno
import json
import os
import random
import re
from pathlib import Path

import nettrain
import numpy as np
import pytest
import yaml
from nettrain import NettrainError
from nettrain.files import arrays as npz
from nettrain.net.fillers import stream
from nettrain.solver.finding import find_snapshot
from nettrain.solver.listener import Functions
from nettrain.solver.metrics import read_line
from nettrain.solver.snapshot import SCHEMA, VERSION, SnapshotError, read_snapshot
from nettrain.tools import plot


@pytest.fixture(autouse=True)
def _data(workdir):
    write_data("d.npz")


def write_data(name, train=12, seed=0, **more):
    rng = np.random.default_rng(seed)
    arrays = {"train_data": rng.standard_normal((train, 4)), "train_label": np.arange(train) % 3}
    arrays |= {"test_data": rng.standard_normal((5, 4)), "test_label": np.arange(5) % 3}
    np.savez(name, **arrays | more)


def spec(**keys):
    """Every kind of state: a cursor, plateau, monitor, a test, copies of sequences."""
    solver = {"base_lr": 0.05, "momentum": 0.9, "max_iter": 8, "display": 1, "snapshot": 2, "test_interval": 2}
    solver |= {"lr_policy": "plateau", "gamma": 0.5, "plateau_patience": 1}
    layers = [
        {"name": "d", "type": "Data", "top": ["data", "label"], "source": "d.npz", "batch_size": 5},
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
        {"name": "drop", "type": "Dropout", "top": "ip"},
        {"name": "accuracy", "type": "Accuracy", "bottom": ["ip", "label"], "include": "test"},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
        {"name": "copy", "type": "CopyTask", "top": ["c", "t"], "batch_size": 1, "bits": 2, "max_length": 2},
        {"name": "silent", "type": "Silence", "bottom": ["c", "t"]},
    ]
    return {"name": "run", "solver": solver | keys, "layers": layers}


def trained(out="part", **keys):
    one = nettrain.get_solver(spec(**keys), out=out)
    one.solve()
    return one


def reseal(path, change):
    """Change a snapshot's arrays or state, and give it a right checksum."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    state = json.loads(str(arrays["state"]))
    text = change(state, arrays)
    arrays["state"] = np.array(text if isinstance(text, str) else json.dumps(state))
    npz.write_npz(path, arrays)


def everything(one):
    states = [net.layer_states() for net in (one.net, *one.test_nets)]
    rest = (
        one.iter,
        one.seed,
        list(one.losses),
        one.policy.state(),
        one.monitor.state(),
        one.tested_at,
        one.last_test,
        one.health.said,
    )
    arrays = [one.net.flat.data.tobytes(), *(array.tobytes() for array in one.updater.history)]
    return json.dumps(states), json.dumps(rest), arrays


def put(key, value):
    return lambda state, arrays: state.update({key: value})


def layer_state(name, value):
    return lambda state, arrays: state["layers"].update({name: value})


WRONG = {
    "a missing key": (lambda s, a: s.pop("losses"), "its state has no `losses`, a list of finite numbers"),
    "a kind": (put("iter", "8"), "`iter` of its state must be the number of updates made, got '8'"),
    "true is no number": (put("iter", True), "`iter` of its state must be"),
    "a range": (put("iter", -1), "`iter` of its state must be"),
    "beyond all": (put("iter", 10**4000), "is not a snapshot but|`iter` of its state must be"),
    "infinite": (lambda s, a: json.dumps(s).replace('"iter": 8', '"iter": 1e400'), "`iter` of its state must be"),
    "losses": (put("losses", [1.0, None]), "`losses` of its state must be a list of finite numbers"),
    "a huge loss": (put("losses", [10**400]), "`losses` of its state must be a list of finite numbers"),
    "tested": (put("tested", [8, {"accuracy": "high"}, True]), "`tested` of its state must be null, or an iteration"),
    "monitor": (put("monitor", {"name": "accuracy"}), "`monitor` of its state must be"),
    "policy": (put("policy", {"drops": 0.5, "waited": 0}), "`policy` of its state must be counts"),
    "stages": (put("stages", "hard"), "`stages` of its state must be a list of names"),
    "spec": (put("spec", "layers: []"), "`spec` of its state must be the spec"),
    "data": (put("data", [{"d": 3}]), "`data` of its state must be what the data of each net was"),
    "older": (put("format", "nettrain snapshot 1"), f"an older nettrain .version 1 .*reads {VERSION}.*--weights"),
    "newer": (put("format", "nettrain snapshot 99"), "a newer nettrain .version 99 "),
    "no format": (put("format", 3), "is not a snapshot but weights without a solver's state"),
    "deep": (lambda s, a: "[" * 100_000, "is not a snapshot but weights"),
    "no cursor": (layer_state("d", {}), "the state of layer `d` is not one it gave: no `order`"),
    "a cursor": (
        layer_state("d", {"order": {"epoch": 0, "position": 12}}),
        "is at example 12 of epoch 0.*12 examples",
    ),
    "half a cursor": (layer_state("d", {"order": {"epoch": 0, "position": 1.5}}), "is at example 1.5"),
    "copies": (layer_state("copy", {"batch": "x"}), "the state of layer `copy`: `batch` must be an integer"),
    "a test cursor": (
        lambda s, a: s["test_layers"][0]["d"].update(order=None),
        "the state of layer `d` is not one it gave",
    ),
    "a history less": (lambda s, a: a.update({"history/1": a.pop("history/0")}), "history/0 of 1 is missing"),
    "a history of text": (lambda s, a: a.update({"history/0": np.array(["x"])}), "history/0 of 1 holds <U1, not numb"),
    "NaN": (lambda s, a: a["param/ip/0"].fill(np.nan), "param/ip/0 must hold finite numbers"),
    "integers": (lambda s, a: a.update({"param/ip/1": np.zeros(3, int)}), "param/ip/1 must hold finite numbers"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_sealed_snapshot_is_checked_as_a_whole(kind):
    change, message = WRONG[kind]
    trained()
    reseal(Path("part/iter_8.npz"), change)
    Path("part/best.npz").unlink()
    one = nettrain.get_solver(spec())
    before = everything(one)
    with pytest.raises(SnapshotError, match=message) as error:
        one.restore("part/iter_8.npz")
    assert "part/iter_8.npz" in str(error.value)
    assert everything(one) == before
    notes = one.resume("part")  # the good one before it is taken, and that is said
    assert one.iter == 6
    assert any("part/iter_8.npz" in note and note.endswith("; skipped") for note in notes)
    one.solve()
    whole = trained("whole")
    assert everything(one) == everything(whole)


def test_a_run_of_the_version_before_goes_on_bit_for_bit():
    def to_version_2(state, arrays):
        state["format"] = "nettrain snapshot 2"
        for key in ("level", "stages", "data"):
            del state[key]

    trained()
    whole = everything(trained("whole"))
    for path in Path("part").glob("*.npz"):
        if path.name != "iter_6.npz":
            path.unlink()
    reseal(Path("part/iter_6.npz"), to_version_2)
    one = nettrain.get_solver(spec())
    one.resume("part")
    assert one.iter == 6
    one.solve()
    assert everything(one) == whole


def test_every_key_of_the_schema_is_written_and_missed():
    trained()
    good = Path("part/iter_8.npz").read_bytes()
    assert set(read_snapshot(Path("part/iter_8.npz")).state) == {*SCHEMA, "format"}
    for key in SCHEMA:
        for value in ([[[]]], {"a": {"b": object}}, 1e300, "\ud800", -(10**30)):
            Path("part/iter_8.npz").write_bytes(good)
            if isinstance(value, dict):
                reseal(Path("part/iter_8.npz"), lambda state, _, key=key: state.pop(key))
            else:
                reseal(Path("part/iter_8.npz"), lambda state, _, key=key, value=value: state.update({key: value}))
            with pytest.raises(NettrainError):
                read_snapshot(Path("part/iter_8.npz"))
            if key == "folder" and value == 1e300:
                break  # any text is a folder


def leaves(value, path=()):
    yield path
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(item, (*path, key))


def test_random_changes_of_the_state_are_errors_or_runs_and_nothing_else(capfd):
    """Structure-aware: whatever stands at any place of a snapshot's state, resuming ends in words."""
    trained()
    original = {path: path.read_bytes() for path in Path("part").iterdir()}
    state = read_snapshot(Path("part/iter_8.npz")).state
    places = [path for path in leaves({key: state[key] for key in state if key not in ("spec", "format")}) if path]
    values = [None, True, -1, 0, 7, 1.5, 1e308, float("inf"), float("nan"), 10**30, 10**400, "", "x", [], {}, [[1]]]
    rng = random.Random(0)
    refused = 0
    for _ in range(150):
        place, value = rng.choice(places), copy.deepcopy(rng.choice(values))

        def change(state, arrays, place=place, value=value):
            at = state
            for key in place[:-1]:
                at = at[key]
            if rng.random() < 0.3 and isinstance(at, dict):
                del at[place[-1]]
            else:
                at[place[-1]] = value

        for path, content in original.items():
            path.write_bytes(content)
        reseal(Path("part/iter_8.npz"), change)
        one = nettrain.get_solver(spec(max_iter=9))
        before, failed = everything(one), None
        try:
            one.restore("part/iter_8.npz")
            one.step(1)
        except NettrainError as error:
            failed = error
        one.run.close()
        if failed and failed.exit_code != 3:  # 3: it can be taken, and diverges
            refused += 1
            assert "iter_8.npz" in str(failed)
            assert everything(one) == before
    assert refused > 60
    assert "Traceback" not in capfd.readouterr().err


# Data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train": 13}, "the TRAIN data of `d` is not that of .*: examples 13 now and 12 then"),
        ({"train": 7}, "examples 7 now and 12 then"),
        ({"seed": 1}, "TRAIN data of `d` .*: contents [0-9a-f]{16} now and [0-9a-f]{16} then"),
        ({"train_label": np.zeros(12, int)}, "TRAIN data of `d` .*: contents"),
        ({"test_label": np.zeros(5, int)}, "the TEST data of `d` .*: contents"),
        ({"train_data": np.zeros((12, 4), np.float32)}, "kind float32 now and float64 then"),
    ],
    ids=str,
)
def test_other_data_of_the_same_name_is_noticed(nettrain_cli, change, words):
    Path("run.yaml").write_text(yaml.safe_dump(spec(), sort_keys=False))
    nettrain_cli("train", "run.yaml", "--out", "part")
    before = {path: path.read_bytes() for path in Path("part").iterdir()}
    write_data("d.npz", **change)
    message = nettrain_cli("train", "--resume", "part", "--set", "solver.max_iter=12", exit_code=2).stderr
    assert re.search(words, message)
    assert {path: path.read_bytes() for path in Path("part").iterdir()} == before
    assert "--weights part/iter_8.npz instead of --resume" in message
    nettrain_cli("train", "run.yaml", "--weights", "part/iter_8.npz", "--out", "new")  # what it proposes


def test_the_same_data_in_another_place_or_order_of_arrays_goes_on(nettrain_cli):
    Path("run.yaml").write_text(yaml.safe_dump(spec(), sort_keys=False))
    nettrain_cli("train", "run.yaml", "--out", "part")
    Path("d.npz").rename("moved.npz")
    nettrain_cli("train", "run.yaml", "--resume", "part", "--set", "d.source=moved.npz", "--set", "d.batch_size=4")


@pytest.mark.parametrize("kind", ["ImageData", "HDF5Data", "WindowData"])
def test_lists_of_files_are_known_again(workdir, kind):
    cls = nettrain.net.registry.layer_type(kind)
    example = cls.examples[0]
    example.files(workdir)
    one = {"name": "it", "type": kind, "top": ["top0", "top1"], **example.params}
    first = nettrain.Net({"layers": [one]}).fingerprints()
    assert json.loads(json.dumps(first)) == nettrain.Net({"layers": [one]}).fingerprints() == first
    listing = workdir / example.params["source"]
    for path in sorted(p for p in workdir.iterdir() if p.suffix in (".png", ".h5")):  # other contents of the same size
        raw = path.read_bytes()
        if kind == "HDF5Data":
            import h5py

            with h5py.File(path, "r+") as file:
                file["top0"][-1] += 1
        else:
            path.write_bytes(raw[:-1] + bytes([raw[-1] ^ 1]))
        changed = nettrain.Net({"layers": [one]}).fingerprints()["it"]
        assert changed["contents"] != first["it"]["contents"]
        assert changed | {"contents": 0} == first["it"] | {"contents": 0}
        path.write_bytes(raw)
    assert nettrain.Net({"layers": [one]}).fingerprints() == first
    if kind == "WindowData":
        listing.write_text(listing.read_text().replace("0.2", "0.3"))
    else:
        listing.write_text("\n".join(listing.read_text().split("\n")[:1]))
    assert nettrain.Net({"layers": [one | {"batch_size": 1}]}).fingerprints() != first


# Metrics

LINES = [
    b'{"iter": 1e400, "train_loss": 1}\n',
    b"[" * 100_000 + b"\n",
    b'{"iter": ' + b"[" * 100_000 + b"\n",
    b'{"iter": 3, "test": ' + b'{"a":' * 50_000 + b"\n",
    b"\xff\xfe\xfd\n",
    b'{"iter": 99999999999999999999}\n',
    b'{"iter": ' + b"9" * 5000 + b"}\n",
    b'{"iter": true}\n',
    b'{"iter": "3"}\n',
    b'{"iter": null}\n',
    b"null\n",
    b"3\n",
    b"\n",
    b"\0\n",
    b'{"iter": -3, "train_loss": 1}\n',
    b"x" * 3_000_000 + b"\n",
]
ODD = [
    b'{"iter": 0, "train_loss": 1e400, "test": {"a": NaN, "b": -Infinity}}\n',
    b'{"iter": 0, "train_loss": 1' + b"0" * 400 + b"}\n",
    b'{"iter": 0, "train_loss": true, "test": [1, 2]}\n',
    b'{"iter": 0, "train_loss": "x", "test": "ab"}\n',
    b'{"iter": 1, "test": {"\\ud800": 1, "a\\nb": 2, "$x$": 3}}\n',
]


def test_lines_that_are_not_metrics_are_skipped(nettrain_cli):
    trained(snapshot=0)
    path = Path("part/metrics.jsonl")
    good = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(LINES + ODD + good + LINES) + b'{"iter": 2')
    run = plot.read_run("part")
    assert run.metrics["train loss"][0] == list(range(9))
    nettrain_cli("plot", "part")
    one = nettrain.get_solver(spec(max_iter=10))
    one.resume("part")
    assert path.read_bytes().splitlines(keepends=True) == ODD + good[:-1]
    one.solve()


def test_random_lines_are_never_an_error():
    rng = random.Random(0)
    line = b'{"iter": 3, "epoch": 0.5, "train_loss": 1.25, "lr": 0.1, "test": {"accuracy": 0.5, "loss": 2}}\n'
    for _ in range(3000):
        raw = bytearray(line)
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.choice(b'{}[]":,0123456789eE.-+\xff\0 nt')
        found = read_line(bytes(raw))
        if found is not None:
            assert type(found["iter"]) is int
            for name, at, value in plot._numbers(found):
                assert (type(name), type(at), type(value)) == (str, int, float)


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_metrics_that_are_not_a_file_are_reported_at_once(nettrain_cli, kind):
    Path("x").mkdir()
    where = Path("x/metrics.jsonl")
    {"fifo": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](where)
    assert "no metrics in x" in nettrain_cli("plot", "x", exit_code=2).stderr


# Disks


def refuse(number, only=""):
    def operation(path, *arguments, **keys):
        if only in str(path):
            raise OSError(number, os.strerror(number), str(path))
        return real(path, *arguments, **keys)

    real = os.unlink
    return operation


def test_an_old_snapshot_that_cannot_be_removed_ends_nothing(monkeypatch):
    one = nettrain.get_solver(spec(snapshot_keep=1, lr_policy="fixed"), out="part")
    warnings = []
    one.add(Functions(on_warning=warnings.append))
    monkeypatch.setattr(os, "unlink", refuse(errno.EIO, "iter_"))
    one.solve()
    assert one.iter == 8
    assert "part/iter_2.npz cannot be removed: Input/output error" in warnings
    assert len(list(Path("part").glob("iter_*"))) == 4


OPERATIONS = ["open", "mkdir", "fsync", "replace", "unlink", "scandir", "listdir", "ftruncate", "write", "chmod"]


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EACCES])
def test_a_disk_that_refuses_anything_at_any_time_is_words(monkeypatch, name, number):
    """Each call of an operation fails once in a run that goes on: it ends well or says why, no file is half there."""
    trained("before", max_iter=4)
    real, calls = getattr(os, name), []

    def operation(*arguments, **keys):
        calls.append(arguments[:1])
        if len(calls) == fail_at and "__pycache__" not in str(arguments[0]):
            raise OSError(number, os.strerror(number))
        return real(*arguments, **keys)

    fail_at, count = 0, 1
    while fail_at < min(count, 40):
        fail_at += 1
        for path in Path("before").iterdir():
            Path("part").mkdir(exist_ok=True)
            Path("part", path.name).write_bytes(path.read_bytes())
        one = nettrain.get_solver(spec(snapshot_keep=2))
        calls.clear()
        with monkeypatch.context() as patch:
            patch.setattr(os, name, operation)
            failed = None
            try:
                one.resume("part")
                one.solve()
            except NettrainError as error:
                failed = error
            count = len(calls)
        one.run.close()
        assert one.iter == 8 if failed is None else os.strerror(number) in str(failed)
        for path in Path("part").glob("*.npz"):
            read_snapshot(path)
        for path in Path("part").iterdir():
            path.unlink()


def test_metrics_on_a_full_disk_are_said_and_the_snapshot_stays(nettrain_cli, monkeypatch):
    Path("run.yaml").write_text(yaml.safe_dump(spec(), sort_keys=False))
    real = Path.open

    def full(path, mode="r", **keys):
        if path.name == "metrics.jsonl" and mode == "a" and Path("part/iter_4.npz").exists():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, mode, **keys)

    monkeypatch.setattr(Path, "open", full)
    message = nettrain_cli("train", "run.yaml", "--out", "part", exit_code=1).stderr
    assert "cannot write part/metrics.jsonl: No space left on device" in message
    assert "resume  nettrain train --resume part" in message
    assert find_snapshot("part").snapshot.iter == 4


# Names


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "run.yaml", "--resume", ""],
        ["train", "run.yaml", "--out", ""],
        ["train", "run.yaml", "--out", "  "],
        ["train", "run.yaml", "--weights", ""],
        ["train", "run.yaml", "--weights", "a.npz,,b.npz"],
        ["train", "run.yaml", "--set", "solver.snapshot_prefix=''"],
        ["train", ""],
        ["test", ""],
        ["test", "run.yaml", "--weights", ""],
        ["check", ""],
        ["summary", ""],
        ["explain", ""],
        ["explain", "run.yaml", "--html", ""],
        ["plot", ""],
        ["plot", "part", "--out", ""],
        ["worksheet", "--html", ""],
    ],
)
def test_an_empty_name_is_an_error(nettrain_cli, arguments):
    Path("run.yaml").write_text(yaml.safe_dump(spec(), sort_keys=False))
    assert "empty" in nettrain_cli(*arguments, exit_code=2).stderr
    assert not Path("runs").exists()


def test_empty_names_in_programs_are_errors():
    with pytest.raises(NettrainError, match="is empty"):
        nettrain.get_solver(spec(), out="")
    with pytest.raises(NettrainError, match="is empty"):
        nettrain.get_solver(spec()).resume("")
    with pytest.raises(NettrainError, match="is empty"):
        nettrain.get_solver(spec(snapshot_prefix=""))


@pytest.mark.parametrize(("draws", "batches"), [(0, 1), (3, 1), (0, 2)], ids=["nothing", "dropout", "iter_size"])
def test_a_run_of_an_older_version_goes_on_where_its_numbers_are_the_same(draws, batches):
    """Before version 6 a generator went on from batch to batch: what it had drawn then is not drawn again."""
    trained()
    generator = stream(1701, "drop")
    generator.random(draws)

    def older(state, arrays):
        state["format"] = "nettrain snapshot 5"
        state["seed"] = 1701
        state["layers"]["drop"] = {"rng": generator.bit_generator.state}

    reseal(Path("part/iter_8.npz"), older)
    one = nettrain.get_solver(spec(), settings=[f"solver.iter_size={batches}"])
    if not draws and batches == 1:
        one.restore("part/iter_8.npz")
        assert one.iter == 8
        return
    with pytest.raises(NettrainError, match=r"an older nettrain, and the run would not be the same: .* --weights"):
        one.restore("part/iter_8.npz")
    assert one.iter == 0
