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


SIZES = ((9, 12), (8, 8), (30, 7), (9, 12), (7, 31))


def of_sizes(sizes, is_encoded=True, grey=()):
    """Records of images of several sizes, some of them ``grey``; the images, C x H x W, channels blue, green, red."""
    images = [RNG.integers(0, 256, (*size, 3), "u1") for size in sizes]
    images = [one[:, :, 0] if i in grey else one for i, one in enumerate(images)]
    found = [one[None] if one.ndim == 2 else one.transpose(2, 0, 1)[::-1] for one in images]
    encoded = [png(one) if is_encoded else None for one in images]
    write_lmdb([datum(one, i, encoded=content) for i, (one, content) in enumerate(zip(found, encoded, strict=True))])
    return found


def crops(x, side):
    """All squares of an image, also flipped."""
    return [
        square[..., ::step].tobytes()
        for top in range(x.shape[1] - side + 1)
        for left in range(x.shape[2] - side + 1)
        for square in [x[:, top : top + side, left : left + side]]
        for step in (1, -1)
    ]


def net_of(phase="TRAIN", size=5, **transform):
    keys = {"source": "db", "batch_size": size, "shuffle": False, "split": 0, "transform": transform}
    return reading_net("Data", ["data", "label"], phase=phase, **keys)


@pytest.mark.parametrize("is_encoded", [True, False])
def test_a_crop_is_cut_out_of_images_of_every_size(workdir, is_encoded):
    images = of_sizes(SIZES, is_encoded)
    data = net_of("TEST", crop_size=6).forward()["data"]
    for found, one in zip(data, images, strict=True):
        top, left = (one.shape[1] - 6) // 2, (one.shape[2] - 6) // 2
        np.testing.assert_array_equal(found, one[:, top : top + 6, left : left + 6])
    net, places = net_of(crop_size=6, mirror=True), set()
    for _ in range(6):
        for i, found in enumerate(net.forward()["data"]):
            assert found.astype("u1").tobytes() in crops(images[i], 6)
            places.add((i, found.tobytes()))
    assert len(places) > 20  # at random
    np.testing.assert_array_equal(net.blobs["label"].data.ravel(), range(5))


def test_grey_and_coloured_images_of_several_sizes(workdir):
    images = of_sizes(SIZES, grey=(1, 4))
    data = net_of("TEST", crop_size=7, force_color=True, mean_value=[1, 2, 3], scale=0.5).forward()["data"]
    assert data.shape == (5, 3, 7, 7)
    np.testing.assert_array_equal(data[1, :, 0, 0], (images[1][0, 0, 0] - np.array([1, 2, 3.0])) / 2)
    assert net_of("TEST", crop_size=7, force_gray=True).forward()["data"].shape == (5, 1, 7, 7)
    with pytest.raises(NettrainError, match=r"record 00000001 of db is 1 x 8 x 8, but .*{force_color"):
        net_of(crop_size=7).forward()


def test_images_of_several_sizes_are_resized(workdir):
    images = of_sizes([(8, 8), (4, 6)])
    data = net_of("TEST", 2, resize=[4, 4]).forward()["data"]
    np.testing.assert_allclose(data[1, :, :, 0], images[1][:, :, :2] @ np.array([5, 3]) / 8, rtol=1e-6)
    values = np.concatenate([one.reshape(3, -1) for one in images], axis=1)
    layer = net_of(size=2, resize=[4, 4], normalize=True, jitter={"contrast": 0.2}, rotate=5).layers["d"]
    np.testing.assert_allclose(layer.facts.mean, values.mean(axis=1))
    np.testing.assert_allclose(layer.facts.std, values.std(axis=1))


def test_what_does_not_fit_is_said_with_its_record(workdir):
    of_sizes(SIZES)
    for words, keys in [
        ("record 00000001 of db is 3 x 8 x 8, but the first one is 3 x 9 x 12; transform: {crop_size: …}", {}),
        ("record 00000001 of db: crop_size 9 is larger than the images (3 x 8 x 8)", {"crop_size": 9}),
        ("record 00000001 of db: it is 3 x 8 x 8, and mean_file holds", {"crop_size": 5, "mean_file": "mean.npy"}),
    ]:
        np.save("mean.npy", np.zeros((3, 9, 12), "f4"))
        with pytest.raises(NettrainError) as error:
            net_of(**keys).forward()
        assert words in str(error.value)
