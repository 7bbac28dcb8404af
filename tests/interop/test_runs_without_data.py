"""A run becomes a model for other programs where its data is not; what the model says of its inputs is what predict
does to them."""

import csv
import json
import runpy
import shutil
import sys
from pathlib import Path

import nettrain
import numpy as np
import onnxruntime
import pytest
from helpers import layer
from helpers.own_data import people
from nettrain.interop.convert import Options, convert
from PIL import Image

TABLE = {"label": "survived", "drop": ["name", "boarded"], "missing": "mean", "standardize": True}


def train(name, classes=3, **data):
    data = layer("d", "Data", top=["data", "label"], batch_size=8, **data)
    nettrain.get_solver(
        {
            "name": name,
            "solver": {"base_lr": 0.02, "max_iter": 5, "random_seed": 1},
            "layers": [
                data,
                layer("ip", "InnerProduct", bottom="data", num_output=classes, weight_filler="xavier"),
                layer("loss", "SoftmaxWithLoss", bottom=["ip", "label"]),
                layer("accuracy", "Accuracy", bottom=["ip", "label"], include="TEST"),
            ],
        },
        out=name,
    ).solve()
    return name


def table(folder):
    people(folder / "people.csv", 60)
    train("run", classes=2, source="people.csv", **TABLE)
    (folder / "people.csv").unlink()
    people(folder / "new.csv", 7, seed=3, labels=False)
    return "new.csv"


def pictures(folder):
    rng = np.random.default_rng(0)
    for i in range(18):
        place = folder / "photos" / "abc"[i % 3]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (7, 6, 3), np.uint8)).save(place / f"{i}.png")
    train("run", source="photos", transform={"normalize": True, "crop_size": 5})
    shutil.rmtree(folder / "photos")
    files = [f"{i}.png" for i in range(4)]
    for file in files:
        Image.fromarray(rng.integers(0, 255, (7, 6, 3), np.uint8)).save(file)
    return files


def arrays(folder):
    rng = np.random.default_rng(0)
    np.savez("set.npz", x=rng.integers(0, 255, (30, 6, 5, 2), np.uint8), y=np.arange(30) % 3)
    train("run", source="set.npz", layout="NHWC", transform={"normalize": True})
    (folder / "set.npz").unlink()
    np.save("new.npy", rng.integers(0, 255, (4, 6, 5, 2), np.uint8))
    return "new.npy"


def of_table(said):
    """The rows of new.csv as the metadata of a model tells to make them."""
    assert (said["categories"], said["missing"]) == ("one_hot", "mean")
    rows = []
    for row in csv.DictReader(Path("new.csv").read_text().splitlines()):
        numbers = []
        for one in said["fitted"]:
            cell = row[one["name"]]
            if one["kind"] == "words":
                numbers += [float((cell or None) == category) for category in one["categories"]]
            else:
                value = float(cell) if cell else one["mean"]
                numbers.append((value - one["mean"]) / one["deviation"])
        rows.append(numbers)
    assert len(said["columns"]) == len(rows[0])
    return np.array(rows)


def of_channels(x, said):
    return (x - np.reshape(said["mean"], (-1, 1, 1))) / np.reshape(said["std"], (-1, 1, 1))


def of_pictures(said):
    assert (said["size"], said["channel_order"], said["crop_size"]) == ([7, 6], "BGR", 5)
    x = np.array([np.asarray(Image.open(f"{i}.png"))[1:6, :5, ::-1].transpose(2, 0, 1) for i in range(4)])
    return of_channels(x, said)


def of_arrays(said):
    return of_channels(np.load("new.npy").transpose(0, 3, 1, 2), said)


KINDS = {"table": (table, of_table), "pictures": (pictures, of_pictures), "arrays": (arrays, of_arrays)}


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_model_says_of_its_inputs_is_what_predict_does(kind, workdir):
    make, prepared = KINDS[kind]
    new = make(workdir)
    model = nettrain.load("run")
    expected = model.predict_proba(new)
    convert("run", "net.onnx", Options())
    session = onnxruntime.InferenceSession("net.onnx")
    about = session.get_modelmeta().custom_metadata_map
    words = ("channel_order", "categories", "missing")
    said = {key.removeprefix("data."): value for key, value in about.items()}
    said = {key: value if key in words else json.loads(value) for key, value in said.items()}
    (prob,) = session.run(["prob"], {"data": prepared(said).astype(np.float32)})
    assert np.allclose(prob, expected, atol=1e-5)
    assert np.array(said.get("class_names", range(3)))[prob.argmax(axis=1)].tolist() == model.predict(new).tolist()

    for target in ("net.caffemodel", "net.h5", "net.safetensors", "net.yaml", "best.npz"):
        convert("run/best.npz", target, Options(force=True))
        assert Path(target).stat().st_size > 0
    spec = Path("run/spec.yaml")
    convert(str(spec), "again.onnx", Options(weights="run"))  # what was fitted comes with the weights
    assert Path("again.onnx").read_bytes() == Path("net.onnx").read_bytes()


def test_a_program_without_the_data_computes_the_same(workdir, monkeypatch, capsys):
    files = arrays(workdir)
    convert("run", "net.py", Options(inference=True))
    np.save("in.npy", np.load(files).transpose(0, 3, 1, 2))
    monkeypatch.setattr(sys, "argv", ["net.py", "in.npy", "out.npz"])
    runpy.run_path("net.py")
    capsys.readouterr()
    scores = np.load("out.npz")["ip"]
    expected = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    assert np.allclose(nettrain.load("run").predict_proba(files), expected, atol=1e-5)
