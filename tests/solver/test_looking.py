"""The data is looked through before a run is made, and a start that fails leaves nothing behind."""

import itertools
import os
import struct
import time
from pathlib import Path
from types import SimpleNamespace

import h5py
import lmdb
import nettrain
import numpy as np
import pytest
import yaml
from nettrain.data.dataset import not_finite
from nettrain.solver import looking
from nettrain.solver.looking import look_through
from nettrain.spec.errors import Problems
from PIL import Image

LABELS = np.arange(12) % 3


pytestmark = pytest.mark.usefixtures("workdir")


def write(path, array, label=LABELS):
    """Rows in a file of the kind that its name says."""
    if path.endswith(".npz"):
        np.savez(path, data=array, label=label)
    elif path.endswith(".csv"):
        lines = [",".join(map(repr, [*row, float(i)])) for row, i in zip(array.tolist(), label.tolist(), strict=True)]
        Path(path).write_text("\n".join(lines))
    else:
        with h5py.File(f"{path}.h5", "w") as file:
            file["data"], file["label"] = array, label
        Path(path).write_text(f"{path}.h5\n")


def spec(source, kind="Data", *layers, **keys):
    layer = {"name": "d", "type": kind, "top": ["data", "label"], "source": source, "batch_size": 4} | keys
    rest = [
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
    ]
    made = {"name": "n", "solver": {"base_lr": 0.1, "max_iter": 2}, "layers": [layer, *layers, *rest]}
    Path("s.yaml").write_text(yaml.safe_dump(made))
    return made


ROWS = np.random.default_rng(0).standard_normal((12, 5))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39, -1e39])
@pytest.mark.parametrize("place", [(0, 0), (7, 3), (11, 4)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_first_value_that_is_not_finite_is_found_wherever_it_is(bad, place, dtype, monkeypatch):
    for piece in (1, 10, 1000):
        monkeypatch.setattr("nettrain.data.dataset.PIECE", piece)
        array = ROWS.astype(dtype)
        assert not_finite(array, np.dtype("f4")) is None
        with np.errstate(over="ignore"):
            array[place] = array[-1, -1] = bad
        assert not_finite(array, np.dtype("f4")) == place
    assert not_finite(np.full((2, 2), 1e39), np.dtype("f8")) is None


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("a.npz", "a.npz: `data` of example 9 holds nan in column 2, both counted from 0"),
        ("a.csv", "a.csv:10: column 2 (counted from 0) has no value"),
    ],
)
@pytest.mark.parametrize("phase", ["train", "test"])
def test_train_finds_it_in_what_lies_in_memory_and_makes_nothing(file, words, phase, nettrain_cli):
    array = ROWS.copy()
    array[9, 2] = np.nan
    write(file, array)
    write("good.npz", ROWS)
    spec({"train": "good.npz", "test": "good.npz"} | {phase: file})
    for out in ([], ["--out", "some/where"]):
        result = nettrain_cli("train", "s.yaml", *out, exit_code=2)
        assert f"Data `d`: {words}" in result.stderr
        assert result.stdout == ""
        assert not os.path.exists("runs")
        assert not os.path.exists("some")
    with pytest.raises(nettrain.SpecError, match=r"example 9 holds nan|a\.csv:10: column 2"):
        nettrain.get_solver("s.yaml", out="run").solve()
    assert not os.path.exists("run")


def test_the_place_in_an_image_is_said():
    images = np.zeros((12, 2, 3, 3), "f4")
    images[3, 1, 0, 2] = np.inf
    write("a.npz", images)
    problems = Problems()
    look_through([nettrain.Net(spec("a.npz"), "TRAIN")], problems)
    assert "`data` of example 3 holds inf at (1, 0, 2), all counted from 0" in problems.found[0].message


def test_looking_through_what_lies_in_memory_costs_next_to_nothing():
    """60,000 x 784 values: 0.02 s; a second is the bound of a machine that is busy."""
    array = np.ones((60_000, 784), "f4")
    began = time.perf_counter()
    assert not_finite(array, np.dtype("f4")) is None
    assert time.perf_counter() - began < 1


def record(i):
    pixels = bytes([i] * 8)
    return bytes([8, 2, 16, 2, 24, 2, 34, 8]) + pixels + bytes([40, i % 3])


def damaged(kind):
    """A spec with data of this kind of which example 7 is damaged; what a message says of it."""
    if kind == "LMDB":
        with lmdb.open("db", map_size=1 << 20) as database, database.begin(write=True) as transaction:
            for i in range(12):
                transaction.put(b"%08d" % i, record(i) if i != 7 else b"\x22\xff")
        spec("db")
        return "record 00000007 of db is not a Datum, or is damaged"
    if kind == "ImageData":
        for i in range(12):
            Image.new("RGB", (6, 6), (i, 9, 99)).save(f"{i}.png")
        Path("7.png").write_bytes(Path("7.png").read_bytes()[:-30])
        Path("list.txt").write_text("".join(f"{i}.png {i % 3}\n" for i in range(12)))
        spec("list.txt", "ImageData")
        return "list.txt:8: image 7.png"
    if kind == "WindowData":
        windows = [f"# {i}\n{i}.png\n3\n8\n8\n2\n1 0.9 0 0 5 5\n0 0.1 0 0 {7 if i != 7 else 8} 5\n" for i in range(12)]
        for i in range(12):
            Image.new("RGB", (8, 8), (i, 9, 99)).save(f"{i}.png")
        Path("w.txt").write_text("".join(windows))
        spec("w.txt", "WindowData", transform={"crop_size": 4})
        return "window 0 0 8 5 is not inside 7.png"
    with h5py.File("a.h5", "w") as file:
        file.create_dataset("data", data=ROWS.astype("f4"), chunks=(4, 5), fletcher32=True)
        file["label"] = LABELS
        _, _, offset, _ = file["data"].id.get_chunk_info(1)[:4]
    with open("a.h5", "r+b") as file:
        file.seek(offset + 9)
        file.write(struct.pack("f", 1e9))
    Path("list.txt").write_text("a.h5\n")
    spec("list.txt", "HDF5Data")
    return "a.h5 cannot be read"


KINDS = ["LMDB", "ImageData", "WindowData", "HDF5"]


@pytest.mark.parametrize("kind", KINDS)
def test_check_finds_a_damaged_example_behind_the_first_batch(kind, nettrain_cli):
    said = damaged(kind)
    result = nettrain_cli("check", "s.yaml", exit_code=2)
    assert said in result.stderr
    assert result.stderr.startswith("s.yaml:")


@pytest.mark.parametrize("kind", KINDS)
def test_a_start_that_fails_leaves_nothing(kind, nettrain_cli):
    said = damaged(kind)
    made = yaml.safe_load(Path("s.yaml").read_text())
    made["layers"][0]["batch_size"] = 128 if kind == "WindowData" else 12  # example 7 is in the first batch
    Path("s.yaml").write_text(yaml.safe_dump(made))
    before = sorted(os.listdir())
    for out in ([], ["--out", "some/where"], ["--set", "solver.snapshot_prefix=deep/er/x"]):
        result = nettrain_cli("train", "s.yaml", *out, exit_code=2)
        assert said in result.stderr
        assert result.stderr.endswith("Nothing was trained.\n")
        assert sorted(os.listdir()) == before


OWN = '''\
from nettrain import Example, Layer, register

@register
class Broken(Layer):
    """y = x. Backward: dx = dy."""

    examples = [Example([(2, 3)])]
    count = 0

    def Forward_cpu(self, bottom, top):
        top[0].data[...] = bottom[0].data
        Broken.count += self.phase == "TRAIN"
        if Broken.count > {after}:
            raise ValueError("no")

    def Backward_cpu(self, top, propagate_down, bottom):
        bottom[0].diff[...] = top[0].diff
'''


@pytest.mark.parametrize("after", [0, 2])
def test_a_layer_of_ones_own_that_fails(after, nettrain_cli):
    """At the first batch, behind a test that gave best weights: nothing is left; later what was made is kept."""
    Path("own.py").write_text(OWN.format(after=after))
    write("a.npz", ROWS)
    write("b.npz", ROWS)
    made = spec({"train": "a.npz", "test": "b.npz"}, "Data", {"name": "own", "type": "Broken", "bottom": "data"})
    made |= {"layer_files": ["own.py"], "solver": {"base_lr": 0.1, "max_iter": 9, "test_interval": 1}}
    made["layers"][2]["bottom"] = "own"
    Path("s.yaml").write_text(yaml.safe_dump(made))
    result = nettrain_cli("train", "s.yaml", "--allow-python", exit_code=2)
    assert "ValueError: no" in result.stderr
    assert os.path.exists("runs") == bool(after)
    if after:
        assert sorted(os.listdir("runs/n/001")) == ["best.npz", "metrics.jsonl", "run.json", "spec.yaml"]


def test_a_folder_that_was_there_stays(nettrain_cli):
    damaged("LMDB")
    os.makedirs("mine")
    Path("mine/notes.txt").write_text("mine")
    nettrain_cli("train", "s.yaml", "--out", "mine", "--set", "d.batch_size=12", exit_code=2)
    assert os.listdir("mine") == ["notes.txt"]


def test_check_says_how_far_it_looked(nettrain_cli, monkeypatch):
    write("list.txt", np.zeros((50, 5), "f4"), np.zeros(50))
    spec("list.txt", "HDF5Data")
    assert "looked at" not in nettrain_cli("check", "s.yaml").stdout
    clock = itertools.count(0, 2)
    monkeypatch.setattr(looking, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    result = nettrain_cli("check", "s.yaml")
    assert "looked at the first 12 of 50 TRAIN examples of `d`, in 5 s; the others were not read" in result.stdout


def test_labels_that_are_only_in_files_are_looked_at_too(nettrain_cli):
    with lmdb.open("db", map_size=1 << 20) as database, database.begin(write=True) as transaction:
        for i in range(12):
            transaction.put(b"%08d" % i, record(i) if i != 9 else record(9)[:-1] + b"\x07")
    spec("db")
    result = nettrain_cli("check", "s.yaml", exit_code=2)
    assert "SoftmaxWithLoss `loss`: the labels run from 0 to 7, but there are 3 outputs" in result.stderr


def test_looking_changes_nothing_of_what_comes_next():
    damaged("ImageData")
    Image.new("RGB", (6, 6), (7, 9, 99)).save("7.png")
    keys = {"shuffle": True, "transform": {"mirror": True, "crop_size": 3}}
    nets = [nettrain.Net(spec("list.txt", "ImageData", **keys), "TRAIN") for _ in range(2)]
    look_through(nets[:1], Problems())
    for _ in range(5):
        for net in nets:
            net.forward()
        np.testing.assert_array_equal(nets[0].blobs["data"].data, nets[1].blobs["data"].data)
