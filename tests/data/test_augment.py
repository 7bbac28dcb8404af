"""Transforms beyond Caffe's: against slow plain formulas, PyTorch's numbers, and the statistics of what is drawn."""

import itertools
import json
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain import SpecError
from nettrain.data.transform import Transform
from nettrain.data.transforming import formulas
from nettrain.net.fillers import stream

IMAGES = np.random.default_rng(0).permutation(6 * 3 * 5 * 7).reshape(6, 3, 5, 7)  # every pixel has a value of its own
TORCH = json.loads((Path(__file__).parent / "torch_transforms.json").read_text())
PICTURES = (np.arange(2 * 3 * 6 * 5).reshape(2, 3, 6, 5) * 37 % 101 / 100).astype("f8")  # as in torch_transforms.py


@pytest.fixture
def net(tmp_path):
    """Makes a net that reads IMAGES, or other arrays, through a transform."""

    def make(transform, phase="TRAIN", batch_size=6, tops=("data", "label"), keys=None, seed=1701, **arrays):
        arrays = {"data": IMAGES, "label": np.arange(len(arrays.get("data", IMAGES))) % 3} | arrays
        np.savez(tmp_path / "images.npz", **arrays)
        layer = {"name": "d", "type": "Data", "top": list(tops), "source": str(tmp_path / "images.npz"), "split": 0}
        layer |= {"batch_size": batch_size, "transform": transform, "shuffle": False} | (keys or {})
        return nettrain.Net({"layers": [layer]}, phase=phase, dtype="float64", seed=seed)

    return make


def applied(transform, images, rng=None, facts=None, maps=None):
    """(images, maps) that a transform makes of these images, and of maps N x H x W."""
    t = Transform.from_mapping(transform, "t")
    shape = t.output_shape(images.shape[1:])
    out = np.empty((len(images), *shape))
    place = None if maps is None else np.empty((len(images), *shape[1:]))
    options = {} if facts is None else {"facts": facts}
    pairs = [] if maps is None else [(maps, place)]
    t.apply(images, np.arange(len(images)), out, rng, maps=pairs, **options)
    return out, place


# PyTorch's numbers


@pytest.mark.parametrize("case", TORCH["resize"], ids=lambda case: str(case["size"]))
def test_resize_is_pytorchs_interpolate(case):
    """Larger and smaller, averaging where an image becomes smaller."""
    found, _ = applied({"resize": case["size"]}, PICTURES)
    np.testing.assert_allclose(found, case["values"], atol=2e-7)


def test_a_box_is_cut_out_before_it_is_resized():
    case = TORCH["resized_crop"]
    boxes = np.array(case["boxes"])
    np.testing.assert_allclose(formulas.resized(PICTURES, tuple(case["size"]), boxes), case["values"], atol=2e-7)


def test_resized_pictures_have_the_same_bits_with_any_number_of_threads_and_in_any_batch():
    from nettrain.compute import openblas

    many = np.random.default_rng(0).random((3, 2, 311, 300), np.float32)
    boxes = np.array([[3, 5, 250, 180], [0, 0, 311, 300], [10, 10, 40, 40]])
    get, set_ = (openblas.function(name) for name in ("get_num_threads", "set_num_threads"))
    before = get() if get and set_ else 0
    found = []
    for count in (1, 2):
        if before:
            set_(count)
        found.append([formulas.resized(many, (224, 200)), formulas.resized(many, (224, 200), boxes)])
    if before:
        set_(before)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(formulas.resized(many[1:2], (224, 200)), found[0][0][1:2])
    np.testing.assert_array_equal(formulas.resized(many[2:], (224, 200), boxes[2:]), found[0][1][2:])


@pytest.mark.parametrize("case", TORCH["rotate"], ids=lambda case: case["fill"])
def test_rotation_is_pytorchs_grid_sample(case):
    found = formulas.rotated(PICTURES, np.array(case["degrees"]), case["fill"] == "edge")
    np.testing.assert_allclose(found, case["values"], atol=2e-6)


def test_rotation_by_90_degrees_is_a_permutation_of_pixels():
    square = PICTURES[..., :5, :]
    for blend in (True, False):
        found = formulas.rotated(square, np.array([90.0, -180.0]), edge=False, blend=blend)
        np.testing.assert_allclose(found[0], np.rot90(square[0], axes=(1, 2)), atol=1e-12)
        np.testing.assert_allclose(found[1], square[1, :, ::-1, ::-1], atol=1e-12)


def test_jitter_is_color_jitters_formulas():
    case = TORCH["jitter"]
    found = PICTURES.copy()
    formulas.jittered(found, *map(np.array, (case["brightness"], case["contrast"], case["saturation"])), 1.0, False)
    np.testing.assert_allclose(found, case["values"], atol=1e-6)
    swapped = PICTURES[:, ::-1].copy()  # blue, green, red
    formulas.jittered(swapped, *map(np.array, (case["brightness"], case["contrast"], case["saturation"])), 1.0, True)
    np.testing.assert_allclose(swapped[:, ::-1], found, atol=1e-12)


# Random choices, and what they do


def test_pad_crops_at_every_place_of_the_padded_image():
    """All (2 p + 1)² places and both directions occur equally often; what is beyond is 0, or the nearest pixel."""
    images = np.repeat(IMAGES[:1], 900, axis=0)
    for fill in ("zeros", "edge"):
        found, _ = applied({"pad": 2, "mirror": True, "fill": fill}, images, stream(5, "x"))
        around = np.pad(IMAGES[0], [(0, 0), (2, 2), (2, 2)], mode="constant" if fill == "zeros" else "edge")
        cuts = {
            around[:, top : top + 5, left : left + 7][:, :, ::step].tobytes(): 0
            for top, left, step in itertools.product(range(5), range(5), (1, -1))
        }
        for image in found.astype(around.dtype):
            cuts[image.tobytes()] += 1  # KeyError: no crop of the padded image
        counts = np.array(list(cuts.values()))
        assert len(counts) == 50
        assert ((counts - 18) ** 2 / 18).sum() < 74.9  # 1 % level of 49 degrees of freedom


def test_caffes_crops_and_flips_stay_when_others_are_added():
    """Their random numbers come first."""
    plain, _ = applied({"crop_size": 3, "mirror": True}, IMAGES, stream(1, "x"))
    more, _ = applied({"crop_size": 3, "mirror": True, "erase": 1.0}, IMAGES, stream(1, "x"))
    kept = more != 0
    assert 0.5 < kept.mean() < 1
    np.testing.assert_array_equal(more[kept], plain[kept])


def test_vertical_flip():
    found, _ = applied({"vertical_flip": True}, np.repeat(IMAGES[:1], 400, axis=0), stream(2, "x"))
    flipped = (found == IMAGES[0, :, ::-1]).all(axis=(1, 2, 3))
    assert ((found == IMAGES[0]).all(axis=(1, 2, 3)) | flipped).all()
    assert 160 < flipped.sum() < 240


def test_boxes_have_the_areas_and_shapes_that_are_asked_for():
    """Uniform share of the area, uniform logarithm of the ratio; always inside; every corner is reached."""
    boxes, found = formulas.draw_boxes(stream(3, "x"), 4000, (100, 80), (0.1, 0.3), (0.5, 2.0))
    top, left, height, width = boxes.T
    assert found.all()
    assert min(top.min(), left.min()) == 0
    assert ((top + height).max(), (left + width).max()) == (100, 80)
    share, ratio = height * width / 8000, np.log(width / height)
    np.testing.assert_allclose(np.quantile(share, [0.02, 0.5, 0.98]), [0.104, 0.2, 0.296], atol=0.01)
    np.testing.assert_allclose(np.quantile(ratio, [0.02, 0.5, 0.98]), np.log(2) * np.array([-0.96, 0, 0.96]), atol=0.06)
    assert abs(np.corrcoef(share, ratio)[0, 1]) < 0.06


def test_a_box_that_never_fits_is_the_largest_of_an_allowed_shape_in_the_middle():
    boxes, found = formulas.draw_boxes(stream(3, "x"), 5, (10, 100), (1.0, 1.0), (0.75, 4 / 3))
    assert not found.any()
    np.testing.assert_array_equal(boxes, [[0, 43, 10, 13]] * 5)


def test_random_resized_crop_shows_parts_in_the_nets_size():
    """Of an image whose values are its columns, a part's are a rising line: its ends say which part."""
    image = np.broadcast_to(np.arange(40.0), (300, 1, 40, 40))
    transform = {"random_resized_crop": {"scale": [0.25, 0.25], "ratio": [1, 1]}, "crop_size": 10, "mirror": True}
    found, _ = applied(transform, image, stream(4, "x"))
    steps = np.diff(found[:, 0, 0], axis=1)
    np.testing.assert_allclose(np.abs(steps[:, 3:6]), 2, atol=1e-6)  # 20 columns in 10
    assert 110 < (steps[:, 4] < 0).sum() < 190
    tested, _ = applied(transform, image)
    np.testing.assert_array_equal(tested, image[:, :, 15:25, 15:25])  # a test takes the centre


def test_erase_sets_a_rectangle_of_an_image_in_two_to_zero():
    images = np.ones((600, 2, 20, 30))
    found, _ = applied({"erase": 0.5}, images, stream(6, "x"))
    erased = 1 - found[:, 0]
    np.testing.assert_array_equal(found[:, 0], found[:, 1])
    shares = erased.mean(axis=(1, 2))
    assert 250 < (shares > 0).sum() < 350
    assert 0.015 < shares[shares > 0].min() < shares.max() < 0.35
    some = erased[shares > 0][0]
    assert some.sum() == some.any(axis=0).sum() * some.any(axis=1).sum()  # it is a rectangle
    erases_none, _ = applied({"erase": {"probability": 0}}, images, stream(6, "x"))
    np.testing.assert_array_equal(erases_none, images)


def test_jitters_factors_are_uniform_and_cut_off():
    bright = np.full((500, 1, 2, 2), 100.0)
    found, _ = applied({"jitter": {"brightness": 0.5}}, bright, stream(7, "x"))
    assert (found == found[:, :1, :1, :1]).all()
    np.testing.assert_allclose(np.quantile(found, [0.02, 0.5, 0.98]), [51, 100, 149], atol=5)
    found, _ = applied({"jitter": {"brightness": 0.5}}, bright * 2.5, stream(7, "x"))
    assert found.max() == 255


RANDOM = {
    "resize": [6, 8],
    "rotate": 20,
    "pad": 2,
    "mirror": True,
    "vertical_flip": True,
    "crop_size": 5,
    "jitter": {"brightness": 0.3, "contrast": 0.3, "saturation": 0.3},
    "normalize": True,
    "erase": 0.7,
    "mixup": 0.4,
}
BYTES = (IMAGES % 256).astype(np.uint8)


def test_all_of_it_follows_from_the_place_in_the_data_and_the_seed(net):
    """So that a run is resumed exactly, whatever was read before."""
    first = net(RANDOM, data=BYTES)
    batches = [{name: value.copy() for name, value in first.forward().items()} for _ in range(2)]
    state = first.layer_states()
    third = first.forward()["data"].copy()
    again = net(RANDOM, data=BYTES)
    again.set_layer_states(state)
    np.testing.assert_array_equal(again.forward()["data"], third)
    assert not np.array_equal(batches[0]["data"], batches[1]["data"])
    assert not np.array_equal(net(RANDOM, data=BYTES, seed=3).forward()["data"], batches[0]["data"])


def test_a_test_has_only_what_is_fixed(net):
    found = net(RANDOM, "TEST", data=BYTES).forward()
    fixed = net({"resize": [6, 8], "crop_size": 5, "normalize": True}, "TEST", data=BYTES).forward()
    np.testing.assert_array_equal(found["data"], fixed["data"])
    np.testing.assert_array_equal(found["label"], [0, 1, 2, 0, 1, 2])


# What is found in the data


class Lazily:
    """An array that gives some rows when asked, as a database does."""

    def __init__(self, of):
        self.of, self.shape, self.most = of, of.shape, 0

    def __len__(self):
        return len(self.of)

    def __getitem__(self, indices):
        self.most = max(self.most, len(indices))
        return self.of[indices]


def test_the_mean_and_deviation_are_numpys_and_read_some_at_a_time():
    images = np.random.default_rng(1).normal(1e6, [[[1.0]], [[5.0]]], (101, 2, 6, 4))
    read = Lazily(images)
    mean, std = formulas.statistics(read, 2, at_once=500)
    assert read.most == 10
    np.testing.assert_allclose(mean, images.mean(axis=(0, 2, 3)), rtol=1e-14)
    np.testing.assert_allclose(std, images.std(axis=(0, 2, 3)), rtol=1e-9)
    images[:, 0] = 0.1  # the mean of which is not 0.1 to the last bit
    mean, std = formulas.statistics(Lazily(images), 2, at_once=500)
    assert mean[0] == 0.1
    assert std[0] == 0


def test_normalize_is_of_the_training_part_alone_in_tests_too(net):
    data = np.concatenate([IMAGES, IMAGES * 3 + 50])
    train = net({"normalize": True}, keys={"split": 0.5}, data=data)
    rows = train.layers["d"].set.rows
    expected = data[rows]
    mean, std = (getattr(expected, name)(axis=(0, 2, 3))[:, None, None] for name in ("mean", "std"))
    np.testing.assert_allclose(train.forward()["data"], (expected - mean) / std, rtol=1e-12)
    tested = net({"normalize": True}, "TEST", keys={"split": 0.5}, data=data)
    np.testing.assert_allclose(tested.forward()["data"], (np.delete(data, rows, 0) - mean) / std, rtol=1e-12)
    assert tested.fitted() == train.fitted()


def test_what_a_run_found_is_used_and_not_fitted_anew(net, tmp_path):
    spec = net({"normalize": True}).spec
    found = {"d": {"normalize": {"mean": [1.0, 2.0, 3.0], "std": [2.0, 4.0, 8.0]}}}
    tested = nettrain.Net(spec, "TEST", dtype="float64", fitted=found).forward()["data"]
    expected = (IMAGES - np.array([1, 2, 3])[:, None, None]) / np.array([2, 4, 8])[:, None, None]
    np.testing.assert_allclose(tested, expected, rtol=1e-12)


def test_given_numbers_and_a_channel_without_spread(net):
    given = net({"normalize": {"mean": [1, 2, 3], "std": [2, 4, 8]}}).forward()["data"]
    np.testing.assert_allclose(
        given, (IMAGES - np.array([1, 2, 3])[:, None, None]) / np.array([2, 4, 8])[:, None, None], rtol=1e-12
    )
    flat = np.full((4, 1, 2, 2), 7)
    np.testing.assert_array_equal(net({"normalize": True}, data=flat, batch_size=4).forward()["data"], flat * 0)


def test_a_solvers_tests_use_what_training_found(net, tmp_path):
    """Two layers of one name, each with its file: the test's own numbers are not looked at."""
    from nettrain.solver.blueprint import draw

    for name, scale in (("a", 1), ("b", 2)):
        np.savez(tmp_path / f"{name}.npz", data=IMAGES * scale, label=np.arange(6) % 3)
    layers = [
        {"name": "d", "type": "Data", "top": ["data", "label"], "source": str(tmp_path / f"{name}.npz")}
        | {"batch_size": 6, "transform": {"normalize": True}, "include": phase}
        for name, phase in (("a", "train"), ("b", "test"))
    ]
    rest = [{"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3}]
    rest += [{"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]}]
    plan = draw({"solver": {"base_lr": 0.1, "max_iter": 1}, "layers": layers + rest})
    found = plan.tests[0].net.forward(blobs=["data"])["data"]
    mean, std = (getattr(IMAGES, name)(axis=(0, 2, 3))[:, None, None] for name in ("mean", "std"))
    np.testing.assert_allclose(found, (IMAGES * 2 - mean) / std, rtol=1e-4)
    with pytest.raises(SpecError, match="normalize needs the training images, and this layer reads tests alone"):
        nettrain.Net({"layers": layers[1:]}, "TEST")


def test_what_is_given_to_a_trained_net_is_prepared_as_its_training_data_was(net):
    spec = net({"normalize": True, "resize": 4, "pad": 2, "mixup": 1}).spec
    found = net({"normalize": True, "resize": 4, "pad": 2, "mixup": 1}).fitted()
    serving = nettrain.Net(spec, "TEST", dtype="float64", fitted=found, serves=True)
    serving.layers["d"].read_given(IMAGES[:2] * 7)
    mean, std = (getattr(IMAGES, name)(axis=(0, 2, 3))[:, None, None] for name in ("mean", "std"))
    expected = (formulas.resized(IMAGES[:2] * 7.0, (4, 4)) - mean) / std
    np.testing.assert_allclose(serving.forward(blobs=["data"])["data"][:2], expected, rtol=1e-12)


# Labels


def test_mixup_mixes_examples_and_labels_alike(net):
    """Of one-hot examples the mixed labels can be read off; the share is one for a batch, from Beta(a, a)."""
    data = np.eye(6)[:, :, None, None]
    mixing = net({"mixup": 0.5}, data=data, label=np.arange(6))
    shares = []
    for _ in range(200):
        batch = mixing.forward()
        np.testing.assert_allclose(batch["data"][:, :, 0, 0], batch["label"], atol=1e-12)
        np.testing.assert_allclose(batch["label"].sum(axis=1), 1)
        of_own = np.diag(batch["label"])
        shares.append(of_own[of_own < 1 - 1e-12].min(initial=1.0))
    shares = np.array(shares)
    assert abs(shares.mean() - 0.5) < 0.08
    assert abs(shares.var() - 0.125) < 0.02  # 1 / (4 (2 a + 1))


def test_a_net_trains_on_mixed_labels_and_is_tested_on_plain_ones(workdir):
    np.savez("d.npz", data=(IMAGES > 300) * 1.0, label=np.arange(6) % 3)
    spec = {
        "solver": {"base_lr": 0.1, "max_iter": 3, "display": 0},
        "layers": [
            {"name": "d", "type": "Data", "source": "d.npz", "split": 0, "batch_size": 3, "top": ["data", "label"]}
            | {"transform": {"mixup": 1}},
            {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
            {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
            {"name": "accuracy", "type": "Accuracy", "bottom": ["ip", "label"], "include": "test"},
        ],
    }
    solver = nettrain.Solver(spec)
    solver.solve()
    assert solver.iter == 3
    del spec["layers"][3]["include"]
    with pytest.raises(SpecError, match=r"SoftmaxWithLoss takes them for as many scores.*include: test"):
        nettrain.Net(spec, "TRAIN")


@pytest.mark.parametrize("transform", [{"vertical_flip": True, "mirror": True}, {"pad": 2, "fill": "edge"}], ids=str)
def test_label_maps_follow_their_images(transform):
    maps = IMAGES[:, 0]
    found, places = applied(transform, IMAGES, stream(1, "x"), maps=maps)
    np.testing.assert_array_equal(found[:, 0], places)
    assert not np.array_equal(places, maps)


@pytest.mark.parametrize(
    "transform",
    [{"resize": [10, 14]}, {"rotate": 40, "fill": "edge"}, {"random_resized_crop": True, "mirror": True}],
    ids=str,
)
def test_label_maps_follow_with_the_nearest_label(transform):
    """Labels stay labels; where an image shows its own map, they are close to it."""
    maps = np.kron(np.arange(6 * 4).reshape(6, 2, 2) % 3, np.ones((1, 16, 16), int))
    found, places = applied(
        transform | ({"resize": [40, 24]} if "resize" in transform else {}),
        maps[:, None].astype(float),
        stream(1, "x"),
        maps=maps,
    )
    assert set(np.unique(places)) <= {0, 1, 2}
    inner = np.isclose(found[:, 0], np.rint(found[:, 0]), atol=1e-3)
    assert inner.mean() > 0.7
    np.testing.assert_allclose(found[:, 0][inner], places[inner], atol=1.01)
    assert (np.abs(found[:, 0] - places) < 0.51).mean() > 0.97


def test_images_of_files_too(workdir):
    """ImageData: the channels blue, green, red; the deviation is found by reading each file once."""
    from PIL import Image

    images = np.random.default_rng(3).integers(0, 255, (4, 6, 6, 3), np.uint8)
    for i, image in enumerate(images):
        Image.fromarray(image).save(f"{i}.png")
    Path("list.txt").write_text("".join(f"{i}.png {i % 2}\n" for i in range(4)))
    layer = {"name": "d", "type": "ImageData", "source": "list.txt", "batch_size": 4, "top": ["data", "label"]}
    layer["transform"] = {"normalize": True, "mixup": 0.3}
    net = nettrain.Net({"layers": [layer]}, "TRAIN")
    bgr = images[..., ::-1].astype(float)
    assert net.fitted()["d"]["normalize"]["mean"] == pytest.approx(bgr.mean(axis=(0, 1, 2)))
    assert net.fitted()["d"]["normalize"]["std"] == pytest.approx(bgr.std(axis=(0, 1, 2)))
    assert net.forward()["label"].shape == (4, 2)
    tested = nettrain.Net({"layers": [layer]}, "TEST", fitted=net.fitted()).forward()
    expected = (bgr - bgr.mean(axis=(0, 1, 2))) / bgr.std(axis=(0, 1, 2))
    np.testing.assert_allclose(tested["data"], expected.transpose(0, 3, 1, 2), atol=1e-5)
    with pytest.raises(SpecError, match="give the layers of both phases one name"):
        nettrain.Net({"layers": [layer]}, "TEST")


@pytest.mark.parametrize(
    ("transform", "arrays", "message"),
    [
        ({"normalize": True}, {"data": np.zeros((6, 3))}, "normalize needs C x H x W .*there is standardize"),
        ({"erase": 0.5}, {"data": np.zeros((6, 3))}, "erase needs C x H x W examples, got 3"),
        ({"normalize": {"mean": [1], "std": [1]}}, {}, r"normalize has 1 means, the examples \(3 x 5 x 7\) have 3"),
        ({"normalize": {"mean": 1}}, {}, "normalize.mean needs `std` beside it"),
        ({"normalize": 3}, {}, "normalize must be true, or {mean"),
        ({"normalize": True, "scale": 2}, {}, "cannot be combined with"),
        ({"mean_file": "m.npy", "rotate": 3}, {}, "cannot be combined with"),
        ({"resize": [1, 2, 3]}, {}, "resize is .height, width., or one number for a square, got 3"),
        ({"resize": 4, "crop_size": 5}, {}, r"crop_size 5 is larger than the images \(3 x 4 x 4\)"),
        ({"rotate": 200}, {}, "rotate must be a number >= 0 and <= 180"),
        ({"erase": 2}, {}, "erase must be|erase.probability must be"),
        ({"erase": {"probability": 1, "scale": [0.5, 0.1]}}, {}, "scale must be two numbers, the least and the most"),
        ({"jitter": {"brightness": 1}}, {"data": IMAGES - 9}, "jitter needs pixels from 0 to 1 or to 255.*have -9"),
        ({"jitter": {"brightness": 1}}, {}, "pixels of 629, more than jitter's limit of 255"),
        ({"jitter": {"hue": 1}}, {}, "there is `brightness`"),
        ({"jitter": {"contrast": 1}}, {"data": IMAGES[:, :2]}, "jitter needs images of 1 or 3 channels"),
        ({"mixup": 0}, {}, "mixup must be|alpha must be"),
        ({"mixup": 1}, {"label": np.arange(6) / 4}, "mixup needs classes as labels, 0, 1, …; .* has 0.25"),
        ({"mixup": 1}, {"label": np.zeros((6, 2))}, "mixup needs one label for each example"),
        ({"cutout": 1}, {}, "did you mean `erase`"),
    ],
)
def test_mistakes(net, transform, arrays, message):
    with pytest.raises(SpecError, match=message) as error:
        net(transform, **arrays)
    assert len(error.value.problems) == 1


def test_windows_of_images_have_caffes_transforms_alone(workdir):
    layer = {"name": "w", "type": "WindowData", "source": "w.txt", "batch_size": 1, "top": ["data", "label"]}
    with pytest.raises(SpecError, match="has no normalize for windows: crop_size, mirror"):
        nettrain.Net({"layers": [layer | {"transform": {"crop_size": 4, "normalize": True}}]})


def test_a_label_map_cannot_follow_where_there_is_no_label(net):
    maps = {"mask": IMAGES[:, 0]}
    with pytest.raises(SpecError, match=r"rotate gives pixels from beyond the image.*write fill: edge"):
        net({"rotate": 5}, tops=("data", "label", "mask"), **maps)
    with pytest.raises(SpecError, match="mixup mixes the examples and one label each; this layer has 1 more"):
        net({"mixup": 1}, tops=("data", "label", "mask"), **maps)
