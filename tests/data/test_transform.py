"""Transforms against a slow loop over images, and how crops and flips depend on phase and seed."""

import itertools

import nettrain
import numpy as np
import pytest
from nettrain import SpecError

IMAGES = np.random.default_rng(0).permutation(6 * 3 * 5 * 7).reshape(6, 3, 5, 7)  # every pixel has a value of its own
MEANS = [10, -20, 30.5]


@pytest.fixture
def read(tmp_path):
    """Makes a net that reads IMAGES, or other examples, through a transform."""

    def make(transform, phase="TEST", data=IMAGES, batch_size=6, **options):
        np.savez(tmp_path / "images.npz", data=data, label=np.arange(len(data)))
        keys = {"source": str(tmp_path / "images.npz"), "batch_size": batch_size, "transform": transform}
        layer = {"name": "d", "type": "Data", "top": ["data", "label"], "shuffle": False} | keys
        return nettrain.Net({"layers": [layer]}, phase=phase, dtype="float64", **options)

    return make


def slow(image, top, left, size, flip, mean=0.0, scale=1.0):
    """One image: cropped, flipped, its mean subtracted at its place, scaled."""
    channels, height, width = image.shape
    size_h, size_w = (size, size) if size else (height, width)
    result = np.empty((channels, size_h, size_w))
    for c, h, w in itertools.product(range(channels), range(size_h), range(size_w)):
        column = left + (size_w - 1 - w if flip else w)
        result[c, h, w] = (float(image[c, top + h, column]) - np.broadcast_to(mean, channels)[c]) * scale
    return result


CASES = [
    ({}, {}),
    ({"scale": 0.00390625}, {"scale": 0.00390625}),
    ({"mean_value": 8}, {"mean": 8}),
    ({"mean_value": [8]}, {"mean": 8}),
    ({"mean_value": MEANS}, {"mean": MEANS}),
    ({"mean_value": 8, "scale": 0.125}, {"mean": 8, "scale": 0.125}),
    ({"mean_value": MEANS, "scale": -2}, {"mean": MEANS, "scale": -2}),
    ({"crop_size": 4}, {"size": 4, "top": 0, "left": 1}),
    ({"crop_size": 3}, {"size": 3, "top": 1, "left": 2}),
    ({"crop_size": 5}, {"size": 5, "top": 0, "left": 1}),
    ({"crop_size": 1}, {"size": 1, "top": 2, "left": 3}),
    ({"mirror": True}, {}),
    (
        {"crop_size": 2, "mirror": True, "mean_value": MEANS, "scale": 3},
        {"size": 2, "top": 1, "left": 2, "mean": MEANS, "scale": 3},
    ),
]


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "bool"])
@pytest.mark.parametrize(("transform", "means"), CASES, ids=[str(t) for t, _ in CASES])
def test_nothing_is_random_in_test(read, transform, means, dtype):
    """The crop is the centre one, rounded towards the corner; mirror does nothing."""
    data = IMAGES.astype(dtype)
    net = read(transform, data=data)
    expected = [slow(image, **{"top": 0, "left": 0, "size": 0, "flip": False} | means) for image in data]
    for _ in range(2):
        np.testing.assert_allclose(net.forward(blobs=["data"])["data"], expected, rtol=1e-12)


PLAIN = [case for case in CASES if not {"crop_size", "mirror"} & set(case[0])]


@pytest.mark.parametrize(("transform", "means"), PLAIN, ids=[str(t) for t, _ in PLAIN])
def test_without_crop_and_mirror_train_is_like_test(read, transform, means):
    in_train, in_test = (read(transform, phase).forward()["data"] for phase in ("TRAIN", "TEST"))
    np.testing.assert_array_equal(in_train, in_test)


def epochs(net, count, size=0, **means):
    """(top, left, flipped) of each image in this many epochs of the net, found by trying every way to crop it."""
    height, width = IMAGES.shape[2:]
    ways = itertools.product(range(height - (size or height) + 1), range(width - (size or width) + 1), (False, True))
    cuts = {way: np.stack([slow(image, *way[:2], size, way[2], **means) for image in IMAGES]) for way in ways}
    seen = []
    for _ in range(count):
        batch = net.forward()["data"]
        for i, image in enumerate(batch):
            (way,) = [way for way, cut in cuts.items() if np.allclose(image, cut[i], rtol=1e-12)]
            seen.append(way)
    return seen


def test_crops_and_flips_are_random_in_train(read):
    """All 3 x 5 places and both directions occur, about equally often, independently of each other."""
    net = read({"crop_size": 3, "mirror": True}, "TRAIN")
    seen = epochs(net, 100, 3)
    counts = np.zeros((3, 5, 2))
    for top, left, flip in seen:
        counts[top, left, int(flip)] += 1
    expected = 600 / 30
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < 49.6  # 1 % level of 29 degrees of freedom


@pytest.mark.parametrize("means", [{}, {"mean": MEANS, "scale": 0.5}], ids=["plain", "with means"])
def test_crop_alone_never_flips(read, means):
    transform = {"crop_size": 3} | ({"mean_value": MEANS, "scale": 0.5} if means else {})
    seen = epochs(read(transform, "TRAIN"), 5, 3, **means)
    assert not any(flip for _, _, flip in seen)
    assert len({place[:2] for place in seen}) > 5


@pytest.mark.parametrize("means", [{}, {"mean": MEANS, "scale": 0.5}], ids=["plain", "with means"])
def test_mirror_alone_flips_half_of_them(read, means):
    transform = {"mirror": True} | ({"mean_value": MEANS, "scale": 0.5} if means else {})
    seen = epochs(read(transform, "TRAIN"), 20, **means)
    assert {place[:2] for place in seen} == {(0, 0)}
    assert 40 < sum(flip for _, _, flip in seen) < 80  # of 120


def test_a_crop_as_large_as_the_image_is_the_image(read):
    data = IMAGES[:, :, :, :5]
    net = read({"crop_size": 5}, "TRAIN", data=data)
    np.testing.assert_array_equal(net.forward()["data"], data)


def test_each_image_of_a_batch_and_each_epoch_is_cropped_again(read):
    net = read({"crop_size": 2, "mirror": True}, "TRAIN")
    first, second = epochs(net, 1, 2), epochs(net, 1, 2)
    assert len(set(first)) > 1
    assert first != second


def test_the_seed_decides(read):
    def seen(**options):
        return epochs(read({"crop_size": 2, "mirror": True}, "TRAIN", **options), 3, 2)

    assert seen(seed=1) == seen(seed=1)
    assert seen(seed=1) != seen(seed=2)


def test_crops_follow_from_the_place_in_the_data_alone(read):
    """So that a snapshot needs the cursor only."""
    net = read({"crop_size": 2, "mirror": True}, "TRAIN")
    net.forward()
    state = net.layers["d"].state()
    second = net.forward()["data"].copy()
    net.forward()
    net.layers["d"].set_state(state)
    np.testing.assert_array_equal(net.forward()["data"], second)


def test_the_data_itself_is_not_changed(read):
    net = read({"scale": 2, "mean_value": 1}, "TRAIN")
    before = net.layers["d"].set.data.copy()
    net.forward()
    np.testing.assert_array_equal(net.layers["d"].set.data, before)


@pytest.mark.parametrize("transform", [{"scale": 2}, {"mean_value": [1, 2]}, {"mean_value": 1}], ids=str)
def test_examples_that_are_not_images(read, transform):
    data = np.arange(12.0).reshape(6, 2)
    expected = (data - transform.get("mean_value", 0)) * transform.get("scale", 1)
    np.testing.assert_allclose(read(transform, data=data).forward()["data"], expected)


@pytest.mark.parametrize(
    ("transform", "data", "message"),
    [
        ({"mean_value": [1, 2]}, IMAGES, r"mean_value has 2 values, the examples \(3 x 5 x 7\) have 3 channels"),
        ({"mean_value": [1, 2]}, np.arange(6), "mean_value has 2 values, .* have 0 channels"),
        ({"crop_size": 6}, IMAGES, r"crop_size 6 is larger than the images \(3 x 5 x 7\)"),
        ({"crop_size": 2}, IMAGES[0], "crop_size and mirror need C x H x W examples, got 5 x 7"),
        ({"mirror": True}, np.zeros((3, 4)), "crop_size and mirror need C x H x W examples, got 4"),
        ({"crop_size": -1}, IMAGES, "crop_size must be an integer >= 0"),
        ({"scale": "x"}, IMAGES, "transform.scale must be a number"),
        ({"mean": 3}, IMAGES, "no key `mean`; did you mean `mean_value`?"),
    ],
)
def test_mistakes(read, transform, data, message):
    with pytest.raises(SpecError, match=message) as error:
        read(transform, data=data, batch_size=1)
    assert len(error.value.problems) == 1
    assert error.value.problems[0].place.file.startswith("spec.layers[0].transform")
