"""LMDBs of encoded images: grey and coloured ones, as force_color and force_gray want them."""

import io

import numpy as np
import pytest
from helpers import datum, reading_net, write_lmdb
from nettrain.spec.errors import NettrainError
from PIL import Image

RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (4, 5, 3), "u1")
GREY = RNG.integers(0, 256, (4, 5), "u1")


def fails(words, *arguments, **params):
    with pytest.raises(NettrainError) as error:
        reading_net(*arguments, **params)
    assert words in str(error.value)


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def mixed(workdir):
    write_lmdb([datum(np.zeros((1, 4, 5)), i, encoded=png(one)) for i, one in enumerate((COLOR, GREY))])


def batch(**transform):
    net = reading_net("Data", ["data", "label"], source="db", batch_size=2, shuffle=False, transform=transform)
    return net, net.forward()["data"]


@pytest.mark.usefixtures("mixed")
def test_force_color_repeats_grey_and_keeps_colours():
    _, data = batch(force_color=True)
    np.testing.assert_array_equal(data[0], COLOR.transpose(2, 0, 1)[::-1])
    np.testing.assert_array_equal(data[1], [GREY] * 3)


@pytest.mark.usefixtures("mixed")
def test_force_gray_weighs_colours_as_opencv():
    _, data = batch(force_gray=True)
    np.testing.assert_allclose(data[0, 0], COLOR @ [0.299, 0.587, 0.114], atol=0.51)
    np.testing.assert_array_equal(data[1, 0], GREY)


@pytest.mark.usefixtures("mixed")
def test_mixed_records_say_what_brings_them_together():
    with pytest.raises(Exception, match=r"1 x 4 x 5, but the first one is 3 x 4 x 5; transform: {force_color: true}"):
        batch()


def test_records_that_are_not_encoded_stay_as_they_are_and_it_is_said(workdir):
    write_lmdb([datum(np.full((1, 4, 5), 7), i) for i in range(2)])
    net, data = batch(force_color=True)
    assert data.shape == (2, 1, 4, 5)
    assert "which these are not" in net.layers["d"].remark


def test_both_at_once_and_other_layers_are_refused(workdir):
    fails(
        "force_gray",
        "Data",
        ["data", "label"],
        source="db",
        batch_size=1,
        transform={"force_color": 1, "force_gray": 1},
    )
    fails("is_color: false", "ImageData", ["data", "label"], source="a.txt", transform={"force_gray": True})


def test_a_prototxt_keeps_them(mixed, workdir, nettrain_cli):
    (workdir / "net.prototxt").write_text(
        'layer { name: "d" type: "Data" top: "data" top: "label"'
        ' data_param { source: "db" batch_size: 2 backend: LMDB }'
        " transform_param { force_color: true force_gray: false } }"
    )
    nettrain_cli("convert", "net.prototxt", "--to", "net.yaml")
    assert "force_color: true" in (workdir / "net.yaml").read_text()
    assert "force_gray" not in (workdir / "net.yaml").read_text()
    nettrain_cli("convert", "net.yaml", "--to", "again.prototxt")
    assert "force_color: true" in (workdir / "again.prototxt").read_text()
