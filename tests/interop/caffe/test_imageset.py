"""Pictures become an LMDB that gives the net the same pixels, and mean images."""

import json
from pathlib import Path

import lmdb
import numpy as np
import pytest
from helpers import reading_net
from helpers.own_data import photos
from nettrain.data.blob_file import read_blob
from nettrain.data.lmdb import read_lmdb
from PIL import Image


@pytest.fixture
def folder(workdir):
    photos(workdir / "photos", 3)
    return workdir / "photos"


def pixels(path, size=None, mode="RGB"):
    """A picture as pillow reads it, channels blue, green, red."""
    with Image.open(path) as image:
        image = image.convert(mode)
        read = np.asarray(image if size is None else image.resize(size[::-1], Image.Resampling.BILINEAR))
    return read[None] if read.ndim == 2 else read.transpose(2, 0, 1)[::-1]


def records(name="db"):
    found = read_lmdb(Path(name))
    every = np.arange(len(found))
    return found.data[every], found.labels[every].tolist()


def keys(name="db"):
    with lmdb.open(name, readonly=True, lock=False) as database, database.begin() as transaction:
        return [bytes(key).decode() for key, _ in transaction.cursor()]


def encoded(name="db"):
    with lmdb.open(name, readonly=True, lock=False) as database, database.begin() as transaction:
        return [bytes(value) for _, value in transaction.cursor()]


@pytest.mark.parametrize("options", [(), ("--encoded",)])
def test_records_hold_the_pixels_of_the_files(nettrain_cli, folder, options):
    out = nettrain_cli("data", "photos", "--to", "db", "--no-shuffle", *options).stdout
    assert out == "wrote db: 9 records\n"
    assert Path("db/classes.txt").read_text() == "cross\ndisc\nstripes\n"
    names = [f"{one.parent.name}/{one.name}" for one in sorted(folder.rglob("*.jpg"))]
    assert keys() == [f"{i:08}_{name}" for i, name in enumerate(names)]
    data, labels = records()
    np.testing.assert_array_equal(data, [pixels(folder / name) for name in names])
    assert labels == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    if options:
        assert all((folder / name).read_bytes() in one for name, one in zip(names, encoded(), strict=True))


def test_what_a_file_does_not_hold_is_encoded_without_loss(nettrain_cli, folder):
    nettrain_cli("data", "photos", "--to", "db", "--no-shuffle", "--encoded", "--resize", 12, 16, "--gray")
    data, _ = records()
    want = [pixels(one, mode="L") for one in sorted(folder.rglob("*.jpg"))]
    assert data.shape == (9, 1, 12, 16)
    assert all(b"\x89PNG" in one for one in encoded())
    assert abs(data.astype(float).mean() - np.mean(want)) < 2


def test_the_order_follows_from_the_seed(nettrain_cli, folder):
    orders = []
    for seed in (0, 0, 1):
        nettrain_cli("data", "photos", "--to", "db", "--seed", seed, "--force")
        orders.append([key.split("_", 1)[1] for key in keys()])
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2]) != orders[0]
    labels = records()[1]
    assert labels == [["cross", "disc", "stripes"].index(name.split("/")[0]) for name in orders[2]]


def test_a_list(nettrain_cli, folder):
    Path("list.txt").write_text("photos/disc/001.jpg 7\nphotos/cross/000.jpg -1\n")
    nettrain_cli("data", "list.txt", "--to", "db", "--no-shuffle")
    data, labels = records()
    np.testing.assert_array_equal(data, [pixels("photos/disc/001.jpg"), pixels("photos/cross/000.jpg")])
    assert labels == [7, -1]


def test_parts_become_a_database_each(nettrain_cli, workdir):
    photos(workdir / "all/train", 3)
    photos(workdir / "all/val", 2, seed=1)
    found = json.loads(nettrain_cli("data", "all", "--to", "db", "--mean", "mean.npy", "--json").stdout)
    assert found["examples"] == {"db/train": 9, "db/val": 6}
    train = records("db/train")[0]
    np.testing.assert_allclose(np.load("mean.npy"), train.mean(axis=0, dtype=float), rtol=1e-6)
    net = reading_net(
        "Data", ["data", "label"], phase="TEST", source={"train": "db/train", "test": "db/val"}, batch_size=6
    )
    assert net.forward()["data"].shape == (6, 3, 32, 32)


def test_a_mean_of_any_data_set_is_what_is_subtracted(nettrain_cli, folder):
    nettrain_cli("data", "photos", "--to", "db")
    nettrain_cli("data", "db", "--mean", "mean.binaryproto")
    data, _ = records()
    np.testing.assert_allclose(read_blob(Path("mean.binaryproto"), "mean"), data.mean(axis=0, dtype=float), rtol=1e-6)
    net = reading_net("Data", ["data", "label"], source="db", batch_size=9, transform={"mean_file": "mean.binaryproto"})
    assert abs(net.forward()["data"].mean()) < 1e-3


def test_a_database_is_whole_or_not_there(nettrain_cli, folder):
    (folder / "disc/bad.jpg").write_bytes(b"not a picture")
    (folder / "disc/worse.png").write_bytes((folder / "disc/000.jpg").read_bytes()[:400])
    error = nettrain_cli("data", "photos", "--to", "db", exit_code=2).stderr
    assert "disc/bad.jpg" in error
    assert "disc/worse.png" in error
    assert sorted(path.name for path in Path().iterdir()) == ["photos"]
    made = nettrain_cli("data", "photos", "--to", "db", "--damaged", "skip")
    assert "9 records" in made.stdout
    assert "2 damaged left out" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("photos", "--mean", "mean.png"), "must end in .npy or .binaryproto"),
        (("digits", "--to", "db"), "holds no pictures"),
        (("spiral", "--mean", "m.npy"), "a mean image is of C x H x W"),
        (("photos", "--to", "photos"), "photos is there already, and is no LMDB"),
        (("nothing", "--to", "db"), "nothing"),
    ],
)
def test_what_cannot_be_made(nettrain_cli, folder, arguments, said):
    assert said in nettrain_cli("data", *arguments, exit_code=2).stderr


def test_more_than_the_space_that_is_set_aside_at_first(workdir, monkeypatch):
    from nettrain.interop.caffe import lmdb_out

    monkeypatch.setattr(lmdb_out, "SPACE", 1 << 16)
    lmdb_out.write_records(Path("db"), ((f"{i:08d}".encode(), bytes(5000)) for i in range(100)))
    assert len(keys()) == 100
