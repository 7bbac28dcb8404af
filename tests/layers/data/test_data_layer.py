"""Data: order of the examples in each phase, epochs, splits, transforms, and what it refuses."""

import re

import nettrain
import numpy as np
import pytest
from helpers import layer, reading_net
from nettrain.spec.errors import NettrainError


@pytest.fixture
def seven(tmp_path):
    """A file of seven examples 0 … 6 with labels 10 … 16."""
    path = tmp_path / "seven.npz"
    np.savez(path, data=np.arange(7.0).reshape(7, 1), label=np.arange(10, 17))
    return str(path)


@pytest.fixture
def images(tmp_path):
    """A file of four 2 x 5 x 6 images; every pixel of the file has a value of its own."""
    path = tmp_path / "images.npz"
    np.savez(path, data=np.arange(240.0).reshape(4, 2, 5, 6), label=np.arange(4))
    return str(path)


def data_net(source, batch_size, phase="TRAIN", labels=True, name="data", **options):
    top = ["x", "label"] if labels else ["x"]
    options = {"dtype": "float64", "name": name, "phase": phase, "batch_size": batch_size} | options
    return reading_net("Data", top, source=source, **options)


def batches(net, count):
    """The examples of the next batches, as lists; the labels are checked on the way."""
    result = []
    for _ in range(count):
        batch = net.forward()
        np.testing.assert_array_equal(batch["label"], batch["x"].ravel() + 10)
        result.append([int(value) for value in batch["x"].ravel()])
    return result


@pytest.mark.parametrize(("phase", "shuffle"), [("TEST", True), ("TEST", False), ("TRAIN", False)])
def test_batches_in_the_order_of_the_file(seven, phase, shuffle):
    net = data_net(seven, 3, phase, shuffle=shuffle)
    assert batches(net, 5) == [[0, 1, 2], [3, 4, 5], [6, 0, 1], [2, 3, 4], [5, 6, 0]]


def test_a_batch_of_the_whole_set(seven):
    assert batches(data_net(seven, 7, "TEST"), 2) == [[0, 1, 2, 3, 4, 5, 6]] * 2


def test_every_epoch_has_each_example_once_in_a_new_order(seven):
    order = [i for batch in batches(data_net(seven, 3), 14) for i in batch]
    epochs = [order[start : start + 7] for start in range(0, 42, 7)]
    assert all(sorted(epoch) == [0, 1, 2, 3, 4, 5, 6] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 6


def test_the_order_follows_from_seed_and_name(seven):
    order = batches(data_net(seven, 7), 3)
    assert batches(data_net(seven, 7), 3) == order
    assert batches(data_net(seven, 7, seed=2), 3) != order
    assert batches(data_net(seven, 7, name="other"), 3) != order


def test_the_size_of_the_batch_does_not_change_the_order(seven):
    small, large = batches(data_net(seven, 2), 7), batches(data_net(seven, 7), 2)
    assert np.ravel(small).tolist() == np.ravel(large).tolist()


@pytest.mark.parametrize("already", [0, 1, 2, 5])
def test_a_restored_state_goes_on_where_it_was(seven, already):
    net = data_net(seven, 3)
    batches(net, already)
    state = net.layers["data"].state()
    later = batches(net, 6)
    fresh = data_net(seven, 3)
    batches(fresh, 4)
    fresh.layers["data"].set_state(state)
    assert batches(fresh, 6) == later


def test_one_pass_ends_with_the_rest(seven):
    net = data_net(seven, 3, "TEST")
    batches(net, 1)  # a pass begins at the first example wherever the net was
    seen = [(examples, net.blobs["x"].data.ravel().tolist()) for examples, _ in net.passes()]
    assert seen == [(3, [0, 1, 2]), (3, [3, 4, 5]), (1, [6])]
    assert net.blobs["label"].data.tolist() == [16]
    assert [len(batch) for batch in batches(net, 3)] == [3, 3, 3]


def test_each_phase_reads_its_split(tmp_path):
    path = tmp_path / "two.npz"
    train, test = np.arange(4.0), np.arange(100.0, 103)
    np.savez(path, train_data=train, train_label=train + 10, test_data=test, test_label=test + 10)
    sizes = {"train": 4, "test": 3}
    assert sorted(batches(data_net(str(path), sizes, "TRAIN"), 1)[0]) == [0, 1, 2, 3]
    assert batches(data_net(str(path), sizes, "TEST"), 1) == [[100, 101, 102]]


def test_each_phase_reads_its_file(tmp_path, seven):
    other = tmp_path / "other.npz"
    np.savez(other, data=np.arange(20.0, 22), label=np.arange(30, 32))
    source = {"train": str(other), "test": seven}
    assert sorted(batches(data_net(source, 2, "TRAIN"), 1)[0]) == [20, 21]
    assert batches(data_net(source, 2, "TEST"), 1) == [[0, 1]]


def test_a_file_beside_the_spec(tmp_path, seven):
    spec = tmp_path / "net.yaml"
    spec.write_text("layers:\n- {name: data, type: Data, top: [x, label], source: seven.npz, batch_size: 2}\n")
    assert batches(nettrain.Net(spec), 2) == [[0, 1], [2, 3]]


def test_digits():
    net = data_net("digits", {"train": 50, "test": 30})
    batch = net.forward()
    assert batch["x"].shape == (50, 1, 8, 8)
    assert batch["label"].shape == (50,)
    assert (batch["x"].min(), batch["x"].max()) == (0, 16)
    assert set(batch["label"]) == set(range(10))
    assert len(net.layers["data"].set) + len(data_net("digits", 1, "TEST").layers["data"].set) == 1797


def test_a_generated_set():
    net = data_net("spiral", 12, generate={"examples": 12, "classes": 4, "noise": 0})
    batch = net.forward()
    assert batch["x"].shape == (12, 2)
    assert sorted(batch["label"]) == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_without_labels(seven):
    assert list(data_net(seven, 2, labels=False).forward()) == ["x"]


def test_labels_of_any_shape(tmp_path):
    path = tmp_path / "targets.npz"
    np.savez(path, data=np.zeros((3, 4)), label=np.arange(6.0).reshape(3, 2))
    net = data_net(str(path), 2, "TEST")
    assert net.forward()["label"].tolist() == [[0, 1], [2, 3]]


def test_mean_and_scale(images):
    net = data_net(images, 2, "TEST", transform={"mean_value": 100, "scale": 0.5})
    np.testing.assert_array_equal(net.forward()["x"], (np.arange(120).reshape(2, 2, 5, 6) - 100) * 0.5)


def test_a_mean_for_each_channel(images):
    net = data_net(images, 2, "TEST", transform={"mean_value": [100, 200]})
    expected = np.arange(120).reshape(2, 2, 5, 6) - np.array([100, 200]).reshape(1, 2, 1, 1)
    np.testing.assert_array_equal(net.forward()["x"], expected)


@pytest.mark.parametrize(("size", "rows", "columns"), [(3, slice(1, 4), slice(1, 4)), (4, slice(0, 4), slice(1, 5))])
def test_crop_takes_the_centre_in_test(images, size, rows, columns):
    net = data_net(images, 4, "TEST", transform={"crop_size": size, "mirror": True})
    x = np.arange(240).reshape(4, 2, 5, 6)
    np.testing.assert_array_equal(net.forward()["x"], x[:, :, rows, columns])


def corner_and_flip(crop):
    """Row and column in a 5 x 6 image where a crop begins, and whether it is flipped; checks that it is whole."""
    first = int(crop.min())
    row, column = divmod(first % 30, 6)
    height, width = crop.shape[1:]
    expected = first + np.arange(2)[:, None, None] * 30 + np.arange(height)[:, None] * 6 + np.arange(width)
    flipped = bool(crop[0, 0, 0] > crop[0, 0, -1])
    np.testing.assert_array_equal(crop, expected[:, :, ::-1] if flipped else expected)
    return row, column, flipped


def test_crops_and_flips_are_random_in_train(images):
    net = data_net(images, 4, transform={"crop_size": 4, "mirror": True})
    seen = []
    for _ in range(100):
        batch = net.forward()
        assert sorted(x.min() // 60 for x in batch["x"]) == [0, 1, 2, 3]
        np.testing.assert_array_equal(batch["x"][:, 0, 0, 0] // 60, batch["label"])
        seen += [corner_and_flip(crop) for crop in batch["x"]]
    counts = {place: seen.count(place) for place in seen}
    # 2 rows x 3 columns x 2 directions, each with probability 1/12: 33 of 400
    assert len(counts) == 12
    assert all(15 < count < 60 for count in counts.values())


def test_crops_without_mirror_are_never_flipped(images):
    net = data_net(images, 4, transform={"crop_size": 4})
    seen = {corner_and_flip(crop) for _ in range(30) for crop in net.forward()["x"]}
    assert seen == {(row, column, False) for row in (0, 1) for column in (0, 1, 2)}


def test_mirror_without_crop_flips_whole_images(images):
    net = data_net(images, 4, transform={"mirror": True})
    seen = [corner_and_flip(image) for _ in range(30) for image in net.forward()["x"]]
    assert set(seen) == {(0, 0, False), (0, 0, True)}
    assert 40 < seen.count((0, 0, True)) < 80


def test_crops_follow_from_the_place_in_the_data(images):
    options = {"transform": {"crop_size": 2, "mirror": True}}
    net = data_net(images, 3, **options)
    net.forward()
    state = net.layers["data"].state()
    later = [net.forward()["x"].copy() for _ in range(4)]
    fresh = data_net(images, 3, **options)
    fresh.layers["data"].set_state(state)
    for expected in later:
        np.testing.assert_array_equal(fresh.forward()["x"], expected)


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"batch_size": 0}, "batch_size.* must be an integer >= 1, got 0"),
        ({"batch_size": {"train": 2}}, "batch_size needs `test`"),
        ({"batch_size": "all"}, "batch_size must be an integer >= 1, or"),
        ({"source": "digit"}, "there is no data set `digit`; did you mean `digits`"),
        ({"source": "nowhere.npz"}, "data file not found: nowhere.npz"),
        ({"source": {"train": "digits"}}, "source needs `test`"),
        ({"transform": {"crop_size": 6}}, r"crop_size 6 is larger than the images \(2 x 5 x 6\)"),
        ({"transform": {"mean_value": [1, 2, 3]}}, "mean_value has 3 values, the examples .* have 2 channels"),
        ({"scale": 2}, "write it as transform: {scale: …}"),
        ({"shuffle": "yes"}, "shuffle must be true or false"),
        ({"bottom": ["x"]}, "Data `data` takes 0 bottoms, got 1"),
    ],
)
def test_what_does_not_fit_is_said(images, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        data_net(**({"source": images, "batch_size": 2} | params))


def test_labels_that_are_not_there(tmp_path):
    path = tmp_path / "bare.npz"
    np.savez(path, data=np.zeros((3, 4)))
    with pytest.raises(nettrain.SpecError, match=r"bare.npz has no labels for the second top"):
        data_net(str(path), 1)


def test_crops_need_images(seven):
    with pytest.raises(nettrain.SpecError, match="crop_size and mirror need C x H x W examples, got 1"):
        data_net(seven, 1, transform={"mirror": True})


def classifier(path, labels, outputs, kind="SoftmaxWithLoss", **loss):
    """A net over a file with these labels."""
    np.savez(path, data=np.zeros((len(labels), 4)), label=labels)
    layers = [
        {"name": "data", "type": "Data", "top": ["x", "label"], "source": str(path), "batch_size": 1},
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": outputs},
        {"name": "loss", "type": kind, "bottom": ["ip", "label"]} | loss,
    ]
    return nettrain.Net({"layers": layers})


@pytest.mark.parametrize("kind", ["SoftmaxWithLoss", "HingeLoss", "Accuracy"])
@pytest.mark.parametrize(
    ("labels", "outputs", "words"),
    [
        ([10, 16], 16, r"the labels run from 10 to 16, but there are 16 outputs \(0..15\)$"),
        ([-1, 2], 3, r"the labels run from -1 to 2, but there are 3 outputs \(0..2\)$"),
        ([1, 4], 3, r"the labels run from 1 to 4, but there are 3 outputs \(0..2\)$"),
        ([1, 3], 3, "labels start at 0: subtract 1 from each, or use one more output"),
    ],
)
def test_labels_that_no_output_stands_for(tmp_path, kind, labels, outputs, words):
    with pytest.raises(nettrain.SpecError) as error:
        classifier(tmp_path / "labels.npz", labels, outputs, kind)
    assert re.search(words, error.value.problems[0].message)


@pytest.mark.parametrize(
    ("labels", "outputs", "loss"),
    [
        ([0, 2], 3, {}),
        ([1, 2], 3, {}),
        ([0], 1, {}),
        ([0, 255], 3, {"ignore_label": 255}),
        ([-1, 2], 3, {"ignore_label": -1}),
    ],
)
def test_labels_that_outputs_stand_for(tmp_path, labels, outputs, loss):
    net = classifier(tmp_path / "labels.npz", labels, outputs, **loss)
    assert [net.forward()["loss"] >= 0 for _ in labels] == [True] * len(labels)


def test_a_program_gives_arrays_in_place_of_the_source(workdir):
    x, y = np.random.default_rng(0).standard_normal((10, 3)), np.arange(10) % 2
    spec = {
        "solver": {"base_lr": 0.1, "max_iter": 3},
        "layers": [
            layer("d", "Data", top=["x", "t"], source="none.npz", batch_size=4),
            layer("ip", "InnerProduct", "x", num_output=2),
            layer("loss", "SoftmaxWithLoss", ["ip", "t"]),
        ],
    }
    solver = nettrain.get_solver(spec, given={"d": {"data": x, "label": y}})
    assert (solver.net.layers["d"].pass_size, solver.test_nets[0].layers["d"].pass_size) == (8, 2)  # one set is divided
    solver.step(1)
    assert solver.net.layers["d"].set.data[0] in x
    parts = {"train": {"data": x[:6], "label": y[:6]}, "test": {"data": x[6:], "label": y[6:]}}
    solver = nettrain.get_solver(spec, given={"d": parts})
    assert np.array_equal(solver.test_nets[0].layers["d"].set.data, x[6:])
    with pytest.raises(NettrainError, match="`e` is no layer that can be given data; they are d"):
        nettrain.get_solver(spec, given={"e": {"data": x}})
    with pytest.raises(NettrainError, match="must be a mapping with `data`"):
        nettrain.get_solver(spec, given={"d": {"x": x}})
