"""docs/own-data.md: its commands, as they stand there, from an empty folder to predictions."""

import glob
import re
import shlex
from pathlib import Path

import pytest
from helpers.own_data import SHAPES, people, photos

PAGE = (Path(__file__).parent.parent / "docs/own-data.md").read_text()


@pytest.fixture
def follow_part(nettrain_cli):
    """Types the commands of one part of the page, as a shell would; gives what each printed, by its name."""

    def run(part):
        block = re.search(rf"<!-- {part} -->\n```sh\n(.*?)```", PAGE, re.S)[1]
        said = {}
        for line in block.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "nettrain"
            words = [name for word in words for name in (sorted(glob.glob(word)) if "*" in word else [word])]
            said[words[0]] = nettrain_cli(*words).stdout
        assert list(said) == ["new", "train", "test", "predict"]
        return said

    return run


def accuracy(text):
    return float(re.search(r"best accuracy ([\d.]+)%", text)[1])


def test_from_a_folder_of_pictures_to_predictions(follow_part, workdir):
    photos(workdir / "photos", 16, sizes=((16, 16), (18, 16)))
    photos(workdir / "sorted", 1, sizes=((20, 24),), seed=5)
    Path("new").mkdir()
    for name in SHAPES:
        (workdir / "sorted" / name / "000.jpg").rename(workdir / "new" / f"{name}.jpg")
    said = follow_part("photos")
    assert accuracy(said["train"]) > 80
    for name in SHAPES:
        assert name in said["test"]  # a row of the confusion matrix
        assert re.search(rf"new/{name}\.jpg", said["predict"])
    rows = [line.split() for line in said["predict"].splitlines() if "new/" in line]
    assert sum(Path(row[0]).stem == row[1] for row in rows) >= 2


def test_from_a_table_with_words_and_gaps_to_predictions(follow_part, workdir):
    people(workdir / "passengers.csv", 200)
    people(workdir / "new.csv", 5, seed=9, labels=False)
    said = follow_part("passengers")
    assert accuracy(said["train"]) > 70
    rows = [line for line in said["predict"].splitlines() if "new.csv" in line]
    assert len(rows) == 5
    assert all(re.search(r"\b(yes|no)\b", row) for row in rows)


def test_what_the_page_shows_of_a_spec_is_what_is_written(nettrain_cli, workdir):
    people(workdir / "passengers.csv", 800)
    nettrain_cli("new", "passengers", "--data", "passengers.csv", "--label", "survived")
    made = [" ".join(line.split()) for line in Path("passengers.yaml").read_text().splitlines()]
    shown = [" ".join(line.split()) for line in re.search(r"```yaml\n(.*?)```", PAGE, re.S)[1].splitlines()]
    assert [line for line in shown if line not in made] == []
