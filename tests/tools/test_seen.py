"""`nettrain data SPEC`: its numbers against those of the arrays, its sheet against the pixels that were stored."""

import json

import nettrain
import numpy as np
import pytest
from nettrain import NettrainError
from nettrain.net.netspec import load
from nettrain.tools.data import seen
from PIL import Image

COLORS = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200]], np.uint8)  # of the classes 0, 1, 2


@pytest.fixture
def spec(workdir):
    """Pictures of one colour each, which says their class."""
    label = np.arange(30) % 3
    data = np.repeat(np.repeat(COLORS[label][:, :, None, None], 8, 2), 8, 3)
    np.savez("colors.npz", x_train=data[:24], y_train=label[:24], x_test=data[24:], y_test=label[24:])

    def make(**transform):
        layer = {"name": "d", "type": "Data", "source": "colors.npz", "batch_size": 5, "top": ["data", "label"]}
        layers = [layer | {"transform": transform}, {"name": "ip", "type": "InnerProduct", "num_output": 3}]
        layers[1]["bottom"] = "data"
        return load({"layers": layers})

    return make


def test_sizes_classes_and_values(spec):
    found = seen.look(spec(normalize=True))
    train, test = found["layers"]
    assert (train["phase"], test["phase"]) == ("TRAIN", "TEST")
    assert (train["examples"], test["examples"]) == (24, 6)
    assert train["classes"] == {"0": 8, "1": 8, "2": 8}
    assert train["tops"] == {"data": [3, 8, 8], "label": []}
    assert test["values"] == {  # a third of the values is 200, else 0
        "min": pytest.approx(-(0.5**0.5)),
        "max": pytest.approx(2**0.5),
        "mean": pytest.approx(0, abs=1e-6),
        "std": pytest.approx(1),
        "batches": 2,
    }
    assert train["note"] == test["note"] == ""
    assert "0: 8, 1: 8, 2: 8" in seen.report(found)


@pytest.mark.parametrize(
    ("transform", "note"),
    [
        ({}, "values from 0 to 200: .* write transform: {normalize: true}, or for bytes transform: {scale: 0.003922}"),
        ({"scale": 0.003922}, "^$"),
        ({"scale": 1e-30, "mean_value": 1}, "^$"),
        ({"scale": 0}, "every value is 0"),
    ],
    ids=str,
)
def test_values_that_a_net_learns_badly_from_are_noted(spec, transform, note):
    import re

    assert re.search(note, seen.look(spec(**transform))["layers"][0]["note"])


@pytest.mark.parametrize(
    "transform",
    [
        {},
        {"normalize": True},
        {"mean_value": [10, 20, 30], "scale": 0.01},
        {"normalize": True, "mirror": True, "pad": 0},
    ],
    ids=str,
)
def test_a_sheet_has_the_pictures_as_they_were_stored(spec, workdir, transform):
    """Whatever was subtracted: eight in a row of 80 pixels each, ten times as large, training above tests."""
    seen.look(spec(**transform), "s.png", 10)
    sheet = np.asarray(Image.open("s.png"))
    net = nettrain.Net(spec(**transform), "TRAIN")
    labels = np.concatenate([net.forward()["label"].copy() for _ in range(2)]).astype(int)
    side, gap = 80, seen.GAP
    for i, label in enumerate(labels[:10]):
        y = gap + seen.TITLE + i // 8 * (side + seen.LINE + gap)
        x = gap + i % 8 * (side + gap)
        part = sheet[y : y + side, x : x + side].reshape(-1, 3).astype(int)
        assert abs(part - COLORS[label]).max() <= 1
    y += side + seen.LINE + gap + seen.TITLE
    for i in range(6):  # the tests are in the order of the file
        assert abs(sheet[y + 5, gap + i * (side + gap) + 5].astype(int) - COLORS[i % 3]).max() <= 1


def test_labels_by_name_and_mixed_ones_by_share(spec):
    net = nettrain.Net(spec(mixup=1.0), "TRAIN")
    step = net.steps[0]
    step.forward()
    step.top[1].data[:2] = [[0, 1, 0], [0.25, 0, 0.75]]
    assert seen._label(step, 0, ("red", "green", "blue")) == "green"
    assert seen._label(step, 1, ("red", "green", "blue")) == "blue 75%, red 25%"


def test_mistakes(spec, workdir):
    with pytest.raises(NettrainError, match=r"the name must end in \.png"):
        seen.look(spec(), "s.jpg")
    with pytest.raises(NettrainError, match=r"--sheet none/s\.png cannot be written"):
        seen.look(spec(), "none/s.png")
    points = load({"layers": [{"name": "d", "type": "Data", "source": "spiral", "batch_size": 4}]})
    with pytest.raises(NettrainError, match="nothing here is an image of 1 or 3 channels; `d` is 2"):
        seen.look(points, "s.png")
    with pytest.raises(NettrainError, match="no layer of this spec reads a data set"):
        seen.look(load({"layers": [{"name": "x", "type": "Input", "shape": [2, 3]}]}))


def test_the_command(nettrain_cli, spec, workdir):
    (workdir / "net.yaml").write_text(
        "layers:\n- {name: d, type: Data, source: colors.npz, batch_size: 5, top: [data, label]}\n"
    )
    result = nettrain_cli("data", "net.yaml", "--sheet", "s.png", "--set", "d.transform={normalize: true}")
    assert "written: s.png" in result.stdout
    assert (workdir / "s.png").read_bytes().startswith(b"\x89PNG")
    found = json.loads(nettrain_cli("data", "net.yaml", "--json").stdout)
    assert [one["phase"] for one in found["layers"]] == ["TRAIN", "TEST"]


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_labels_that_are_no_numbers_are_shown(workdir, odd):
    np.savez("odd.npz", data=np.zeros((4, 1, 8, 8)), label=np.array([0.5, odd, 2, 1]))
    layer = {"name": "d", "type": "Data", "source": "odd.npz", "batch_size": 2, "top": ["data", "label"]}
    (about,) = seen.look(load({"layers": [layer | {"include": "train"}]}), "seen.png")["layers"]
    assert about["classes"] == {}


def test_what_training_says_of_the_data_is_said_before_it_too(nettrain_cli, workdir):
    """A column left out, rows with gaps, classes of unequal size, the part kept for tests: by train, check and data
    alike, each once."""
    rows = [f"{i + 1},{'' if i % 9 == 4 else i % 7},{'no' if i % 10 else 'yes'}" for i in range(90)]
    (workdir / "rows.csv").write_text("\n".join(["id,age,y", *rows]) + "\n")
    data = {"name": "d", "type": "Data", "top": ["data", "label"], "source": "rows.csv", "batch_size": 8}
    ip = {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 2}
    loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]}
    layers = [data | {"missing": "drop", "label": "y"}, ip, loss]
    solver = {"base_lr": 0.001, "max_iter": 1}
    (workdir / "spec.yaml").write_text(json.dumps({"solver": solver, "layers": layers}))
    said = [line for line in nettrain_cli("train", "spec.yaml").stderr.splitlines() if line.startswith("rows.csv: ")]
    for words in ("a fifth is kept for tests", "column `id` numbers the rows", "rows have gaps", "`no` is 9"):
        assert sum(words in line for line in said) == 1
    for command in ("check", "data"):
        assert json.loads(nettrain_cli(command, "spec.yaml", "--json").stdout)["remarks"] == said
        assert all(line in nettrain_cli(command, "spec.yaml").stdout.splitlines() for line in said)
    assert "write standardize: true" in nettrain_cli("data", "spec.yaml").stdout
