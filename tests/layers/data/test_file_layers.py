"""Layers that read and write files: real files made by the real libraries, and damaged ones."""

import json
import struct
from pathlib import Path

import h5py
import nettrain
import numpy as np
import pytest
from helpers import datum, reading_net, varint, write_lmdb
from nettrain import NettrainError
from nettrain.data import lmdb as records
from nettrain.data.images import resize
from nettrain.data.lmdb import read_datum
from nettrain.files import extras
from nettrain.layers.data.image_data import spread
from PIL import Image

pytestmark = pytest.mark.usefixtures("workdir")


def fails(words, *args, **params):
    with pytest.raises(NettrainError) as error:
        reading_net(*args, **params).forward()
    assert words in str(error.value), str(error.value)


def rows(net, batches, name):
    got = []
    for _ in range(batches):
        net.forward()
        got.append(net.blobs[name].data.copy())
    return np.concatenate(got)


# HDF5


def write_hdf5(name, start, count, **more):
    with h5py.File(name, "w") as file:
        file["data"] = np.arange(start, start + count)[:, None, None] * np.ones((1, 2, 3), "i2")
        file["label"] = np.arange(start, start + count, dtype="u1")
        for key, values in more.items():
            file[key] = values


def hdf5_list():
    write_hdf5("a.h5", 0, 5)
    write_hdf5("b.h5", 5, 3)
    with open("list.txt", "w") as file:
        file.write("a.h5\nb.h5\n")
    return {"source": "list.txt", "batch_size": 3}


def test_hdf5_rows_follow_each_other_over_files_and_begin_again():
    params = hdf5_list()
    net = reading_net("HDF5Data", ["data", "label"], **params)
    assert rows(net, 4, "label").tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3]
    net = reading_net("HDF5Data", ["label", "data"], **params)
    assert net.blobs["data"].shape == (3, 2, 3)
    np.testing.assert_array_equal(rows(net, 2, "data")[:, 1, 2], range(6))


def test_hdf5_shuffles_all_rows_by_the_seed_and_keeps_rows_together():
    params = hdf5_list() | {"shuffle": True}
    made = [rows(reading_net("HDF5Data", ["data", "label"], seed=s, **params), 8, "label") for s in (1, 1, 2)]
    assert made[0].tolist() == made[1].tolist() != made[2].tolist()
    assert sorted(made[0][:8]) == sorted(made[0][8:16]) == list(range(8))
    assert made[0][:8].tolist() != made[0][8:16].tolist()
    net = reading_net("HDF5Data", ["data", "label"], **params)
    for _ in range(5):
        net.forward()
        np.testing.assert_array_equal(net.blobs["data"].data[:, 0, 0], net.blobs["label"].data)


def test_hdf5_tests_are_one_pass_in_the_files_order():
    net = reading_net("HDF5Data", ["label"], phase="TEST", shuffle=True, **hdf5_list())
    for _ in range(2):
        got = []
        for examples, _ in net.passes():
            got += net.blobs["label"].data[:examples].tolist()
        assert got == list(range(8))


def test_hdf5_goes_on_from_a_saved_cursor():
    params = hdf5_list() | {"shuffle": True}
    one, other = (reading_net("HDF5Data", ["label"], **params) for _ in range(2))
    rows(one, 3, "label")
    other.set_layer_states(json.loads(json.dumps(one.layer_states())), 1)
    assert rows(one, 4, "label").tolist() == rows(other, 4, "label").tolist()


@pytest.mark.parametrize("shuffle", [False, True])
def test_a_batch_of_hdf5_larger_than_all_rows_goes_round(shuffle):
    net = reading_net("HDF5Data", ["label"], **hdf5_list() | {"batch_size": 11, "shuffle": shuffle})
    got = rows(net, 8, "label").reshape(-1, 8)
    assert all(sorted(epoch) == list(range(8)) for epoch in got.tolist())
    assert shuffle or (got == np.arange(8)).all()


def test_hdf5_without_rows_is_refused():
    write_hdf5("none.h5", 0, 0)
    Path("list.txt").write_text("none.h5\n")
    fails("list.txt holds no examples", "HDF5Data", ["data", "label"], source="list.txt", batch_size=2)


def test_hdf5_says_what_is_wrong():
    params = hdf5_list()
    fails("has no dataset `mask` for that top; it has data, label", "HDF5Data", ["data", "mask"], **params)
    fails("data file not found: none.txt", "HDF5Data", ["data"], source="none.txt", batch_size=1)
    write_hdf5("b.h5", 0, 2, odd=np.zeros(3))
    with open("only.txt", "w") as file:
        file.write("b.h5")
    fails(
        "every dataset needs the same number of rows, got data 2, odd 3",
        "HDF5Data",
        ["data", "odd"],
        source="only.txt",
        batch_size=1,
    )
    with open("b.h5", "r+b") as file:
        file.truncate(300)
    fails("b.h5 is not an HDF5 file, or damaged", "HDF5Data", ["data"], **params)
    with h5py.File("b.h5", "w") as file:
        file["data"] = np.zeros((2, 5))
    fails("rows of `data` are 5, in a.h5 2 x 3", "HDF5Data", ["data"], **params)
    with h5py.File("a.h5", "w") as file:
        file["data"] = np.array([b"x", b"y"])
    fails("must hold rows of numbers", "HDF5Data", ["data"], **params)
    Path("list.txt").write_text("")
    fails("list.txt lists no files", "HDF5Data", ["data"], **params)


def test_hdf5_output_appends_and_starts_anew():
    layers = [
        {"name": "in", "type": "Input", "top": ["x", "y"], "shape": [[2, 3], [2]]},
        {"name": "out", "type": "HDF5Output", "bottom": ["x", "y"], "file_name": "out.h5"},
    ]
    for _ in range(2):  # a second net begins a new file
        net = nettrain.Net({"layers": layers})
        for k, count in enumerate((2, 2, 1)):
            net.forward(x=np.full((count, 3), k), y=np.arange(count))
            with h5py.File("out.h5") as file:  # readable after every pass
                assert len(file["data"]) == len(file["label"])
        with h5py.File("out.h5") as file:
            assert file["data"][:, 0].tolist() == [0, 0, 1, 1, 2]
            assert file["label"][:].tolist() == [0, 1, 0, 1, 0]
            assert file["data"].dtype == np.float32
    layers[1]["file_name"] = "nowhere/out.h5"
    with pytest.raises(NettrainError, match="there is no folder nowhere"):
        nettrain.Net({"layers": layers})


def test_hdf5_output_writes_both_or_none():
    layers = [
        {"name": "in", "type": "Input", "top": ["x", "y"], "shape": [[2, 3], [2]]},
        {"name": "out", "type": "HDF5Output", "bottom": ["x", "y"], "file_name": "out.h5"},
    ]
    net = nettrain.Net({"layers": layers})
    net.forward(x=np.zeros((0, 3)), y=np.zeros(0))
    net.forward(x=np.ones((2, 3)), y=np.ones(2))
    with pytest.raises(NettrainError, match="rows of `label` were scalar, now 5"):
        net.forward(x=np.ones((2, 3)), y=np.ones((2, 5)))
    with h5py.File("out.h5") as file:
        assert (file["data"].shape, file["label"].shape) == ((2, 3), (2,))
    Path("folder.h5").mkdir()
    layers[1]["file_name"] = "folder.h5"
    with pytest.raises(NettrainError, match=r"cannot write folder\.h5: it is a folder"):
        nettrain.Net({"layers": layers})


# Images


def write_images(*sizes, mode="RGB"):
    """a.png, b.png …: noise; a list with a space in a name."""
    rng = np.random.default_rng(0)
    arrays, lines = [], []
    for i, (height, width) in enumerate(sizes):
        array = rng.integers(0, 256, (height, width, 3) if mode == "RGB" else (height, width), "u1")
        name = f"image {i}.png"
        Image.fromarray(array).save(name)
        arrays.append(array)
        lines.append(f"{name} {i * 2}\n")
    with open("list.txt", "w") as file:
        file.write("".join(lines) + "\n")
    return arrays


def test_images_are_blue_green_red_in_the_order_of_the_list():
    arrays = write_images((4, 5), (4, 5), (4, 5))
    net = reading_net("ImageData", ["data", "label"], source="list.txt", batch_size=2)
    net.forward()
    assert net.blobs["label"].data.tolist() == [0, 2]
    for k in range(2):
        np.testing.assert_array_equal(net.blobs["data"].data[k], arrays[k].transpose(2, 0, 1)[::-1])
    net.forward()
    assert net.blobs["label"].data.tolist() == [4, 0]


def test_grey_and_transformed_images():
    (array,) = write_images((6, 6))
    params = {"source": "list.txt", "is_color": False, "transform": {"crop_size": 4, "mean_value": 10, "scale": 0.5}}
    net = reading_net("ImageData", ["data", "label"], phase="TEST", **params)
    net.forward()
    grey = np.asarray(Image.fromarray(array).convert("L")).astype(float)
    np.testing.assert_allclose(net.blobs["data"].data[0, 0], (grey[1:5, 1:5] - 10) / 2)


def test_images_of_several_sizes_are_resized_or_refused():
    write_images((4, 5), (8, 6))
    net = reading_net("ImageData", ["data", "label"], source="list.txt", batch_size=2, new_height=3, new_width=7)
    assert net.forward()["data"].shape == (2, 3, 3, 7)
    fails(
        "list.txt: the images have several sizes: image 0.png is 3 x 4 x 5, image 1.png is 3 x 8 x 6; give new_height",
        "ImageData",
        ["data", "label"],
        source="list.txt",
        batch_size=2,
    )
    fails("new_height and new_width go together", "ImageData", ["data", "label"], source="list.txt", new_height=3)


NET_OF_IMAGES = """\
solver: {base_lr: 0.01, max_iter: 2}
layers:
- {name: d, type: ImageData, top: [data, label], source: SOURCE, batch_size: 1TRAIN}
MORE- {name: ip1, type: InnerProduct, bottom: data, num_output: 10}
- {name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}
"""


@pytest.mark.parametrize("command", ["check", "train"])
def test_an_odd_image_deep_in_a_list_is_named_before_a_run_is_made(command, nettrain_cli):
    write_images(*[(4, 5)] * 40, (4, 6))
    Path("net.yaml").write_text(NET_OF_IMAGES.replace("SOURCE", "list.txt").replace("TRAIN", "").replace("MORE", ""))
    result = nettrain_cli(command, "net.yaml", exit_code=2)
    wanted = "the images have several sizes: image 0.png is 3 x 4 x 5, image 40.png is 3 x 4 x 6; give new_height and"
    assert wanted in result.stderr
    assert "net.yaml:3:" in result.stderr
    assert not Path("runs").exists()


def test_the_part_that_is_looked_at_is_spread_at_no_fixed_distance():
    assert spread(150, 200) == list(range(150))
    for count in (201, 1000, 5120, 1_281_167):
        found = spread(count, 200)
        assert len(found) > 170  # of a short list some come twice
        assert found[0] == 0
        assert found[-1] < count
        assert max(np.diff(found)) < 2.7 * count / 200  # all parts
        for period in (2, 5, 10):  # and all classes that take turns
            assert len({i % period for i in found}) == period


def test_what_is_beyond_the_part_that_is_looked_at_is_named_when_it_is_read(monkeypatch):
    monkeypatch.setattr("nettrain.layers.data.image_data.LOOKED_AT", 3)
    write_images((4, 5), (4, 5), (4, 6), (4, 5), (4, 5))
    net = reading_net("ImageData", ["data", "label"], source="list.txt", batch_size=5, shuffle=False)
    with pytest.raises(
        NettrainError, match=r"image 0\.png is 3 x 4 x 5, image 2\.png is 3 x 4 x 6; give new_height and"
    ):
        net.forward()
    monkeypatch.setattr("nettrain.layers.data.image_data.LOOKED_AT", 5)
    fails("image 2.png is 3 x 4 x 6", "ImageData", ["data", "label"], source="list.txt")


@pytest.mark.parametrize("command", ["check", "train"])
def test_train_and_test_images_of_two_sizes_are_no_mismatch_of_weights(command, nettrain_cli):
    write_images((4, 5), (8, 6))
    Path("train.txt").write_text("image 0.png 1\n")
    Path("test.txt").write_text("image 1.png 1\n")
    text = NET_OF_IMAGES.replace("SOURCE", "train.txt").replace("TRAIN", ", include: TRAIN")
    other = "- {name: t, type: ImageData, top: [data, label], source: test.txt, batch_size: 1, include: TEST}\n"
    Path("net.yaml").write_text(text.replace("MORE", other))
    result = nettrain_cli(command, "net.yaml", exit_code=2)
    assert (
        "net.yaml:4:10: ImageData `t`: an example of `data` has the shape 3 x 4 x 5 in the TRAIN net (image 0.png of "
        "train.txt) and 3 x 8 x 6 in the TEST net (image 1.png of test.txt); give both new_height and new_width"
    ) in result.stderr
    assert not Path("runs").exists()
    resized = Path("net.yaml").read_text().replace("batch_size: 1", "batch_size: 1, new_height: 4, new_width: 4")
    Path("net.yaml").write_text(resized)
    nettrain_cli("check", "net.yaml")


def test_resizing_interpolates_between_centres():
    row = np.array([[[0, 100]]], "u1")
    # centres of four pixels lie at -1/4, 1/4, 3/4 and 5/4 of the two
    assert resize(row, (1, 4)).tolist() == [[[0, 25, 75, 100]]]
    assert resize(np.array([[[0, 10, 20, 30]]], "u1"), (1, 2)).tolist() == [[[5, 25]]]
    assert resize(row, (2, 2)).tolist() == [[[0, 100], [0, 100]]]


def test_image_lists_and_images_that_are_wrong():
    write_images((4, 5), (4, 5))
    cases = {
        "image 0.png": "list.txt:1: `FILE LABEL` is expected, got `image 0.png`",
        "image 0.png 1\nimage 1.png one": "list.txt:2: `FILE LABEL` is expected",
        "": "list.txt lists no images",
        "none.png 1": "there is no file none.png",
        "image 0.png --3": "got `image 0.png --3`; LABEL is an integer",
        "image 0.png ²": "list.txt:1: `FILE LABEL` is expected",
        "image 0.png 2147483648": "list.txt:1: `FILE LABEL` is expected",
    }
    for text, words in cases.items():
        with open("list.txt", "w") as file:
            file.write(text)
        fails(words, "ImageData", ["data", "label"], source="list.txt")
    with open("image 0.png", "r+b") as file:
        file.truncate(60)
    with open("list.txt", "w") as file:
        file.write("image 0.png 1")
    fails("image image 0.png is not an image, or is damaged", "ImageData", ["data", "label"], source="list.txt")


def test_labels_are_any_int32():
    write_images((2, 2), (2, 2))
    Path("list.txt").write_text("image 0.png -2147483648\nimage 1.png +5")
    assert reading_net("ImageData", ["d", "label"], source="list.txt", batch_size=2).forward()["label"].tolist() == [
        -(2.0**31),
        5,
    ]


@pytest.mark.parametrize(
    ("root", "name"), [("pics", "a.png"), ("pics/", "a.png"), ("pics", "/a.png"), ("pics/a", ".png")]
)
def test_root_folder_is_put_before_the_name_and_looked_for_beside_the_spec(root, name):
    Path("spec/pics").mkdir(parents=True)
    Image.new("RGB", (3, 2), (1, 2, 3)).save("spec/pics/a.png")
    Path("spec/list.txt").write_text(f"{name} 1")
    layer = f"{{name: d, type: ImageData, top: [data, label], source: list.txt, root_folder: {root}}}"
    Path("spec/spec.yaml").write_text(f"layers:\n- {layer}\n")
    assert nettrain.Net("spec/spec.yaml").forward()["data"][0, :, 0, 0].tolist() == [3, 2, 1]


def test_rand_skip_begins_among_the_first_images():
    write_images(*[(2, 2)] * 5)
    params = {"source": "list.txt", "rand_skip": 3}
    first = [reading_net("ImageData", ["d", "label"], seed=s, **params).forward()["label"][0] for s in range(30)]
    assert set(first) == {0, 2, 4}  # 0 to rand_skip - 1 are skipped, the labels are even
    net = reading_net("ImageData", ["d", "label"], phase="TEST", **params)
    assert net.forward()["label"].tolist() == [0]
    fails("list.txt has 5 images, fewer than rand_skip", "ImageData", ["d", "label"], **params | {"rand_skip": 6})


def test_of_16_bits_the_upper_8_are_taken():
    Image.fromarray(np.array([[0, 255, 256, 65535]], "u2")).save("a.png")
    Path("list.txt").write_text("a.png 0")
    for color in (False, True):
        net = reading_net("ImageData", ["data", "label"], source="list.txt", is_color=color)
        assert net.forward()["data"][0, -1, 0].tolist() == [0, 0, 1, 255]


@pytest.mark.parametrize("kind", ["bmp", "gif", "jpg", "png", "tif"])
def test_no_damage_to_an_image_gives_anything_but_an_error_or_an_image(kind):
    rng = np.random.default_rng(0)
    name = f"a.{kind}"
    Image.fromarray(rng.integers(0, 256, (9, 7, 3), "u1")).save(name)
    whole = Path(name).read_bytes()
    Path("list.txt").write_text(f"{name} 0")
    refused = 0
    for _ in range(60):
        damaged = bytearray(whole)
        for at in rng.integers(0, min(len(whole), 120), 4):
            damaged[at] = rng.integers(256)
        Path(name).write_bytes(damaged[: rng.integers(len(whole) // 2, len(whole) + 1)])
        try:
            reading_net("ImageData", ["data", "label"], source="list.txt").forward()
        except NettrainError:
            refused += 1
    assert refused > 10


def test_a_mean_image_is_cropped_and_flipped_with_the_images():
    arrays = write_images((5, 6))
    mean = np.random.default_rng(3).random((3, 5, 6)).astype("f4")
    np.save("mean.npy", mean)
    np.savez("mean.npz", anything=mean)
    centred = arrays[0].transpose(2, 0, 1)[::-1] - mean
    for name in ("mean.npy", "mean.npz"):
        transform = {"mean_file": name, "crop_size": 3, "scale": 2}
        made = reading_net("ImageData", ["x", "y"], phase="TEST", source="list.txt", transform=transform).forward()["x"]
        np.testing.assert_allclose(made[0], 2 * centred[:, 1:4, 1:4], rtol=1e-6)
    transform = {"mean_file": "mean.npy", "crop_size": 4, "mirror": True}
    net = reading_net("ImageData", ["x", "y"], source="list.txt", transform=transform)
    windows = [centred[:, y : y + 4, x : x + 4] for y in range(2) for x in range(3)]
    windows += [window[:, :, ::-1] for window in windows]
    made = [net.forward()["x"][0].copy() for _ in range(100)]
    seen = [next(i for i, w in enumerate(windows) if np.allclose(one, w)) for one in made]
    assert len(set(seen)) == 12
    np.savez("set.npz", data=np.arange(6.0).reshape(3, 2), label=np.arange(3))
    np.save("row.npy", np.array([1, 10]))
    made = reading_net(
        "Data", "x", phase="TEST", source="set.npz", batch_size=2, transform={"mean_file": "row.npy"}
    ).forward()
    assert made["x"].tolist() == [[-1, -9], [1, -7]]


def test_mean_files_that_are_wrong():
    write_images((5, 6))
    np.save("mean.npy", np.zeros((3, 4, 4)))
    np.savez("two.npz", a=np.zeros(1), b=np.zeros(1))
    Path("bad.npy").write_bytes(b"no array")
    np.save("words.npy", np.array(["a"]))
    for name, words in (
        ("mean.npy", "mean_file mean.npy holds 3 x 4 x 4, the examples are 3 x 5 x 6"),
        ("two.npz", "mean_file two.npz must hold one array, but it has a, b"),
        ("bad.npy", "mean_file bad.npy is damaged or not an .npy file (8 bytes)\n"),
        ("words.npy", "mean_file words.npy must hold numbers"),
        ("none.npy", "data file not found: none.npy"),
    ):
        fails(words, "ImageData", ["x", "y"], source="list.txt", transform={"mean_file": name})


# Windows


def write_windows(*windows, size=(20, 30)):
    array = np.random.default_rng(1).integers(0, 256, (*size, 3), "u1")
    Image.fromarray(array).save("a.png")
    with open("windows.txt", "w") as file:
        file.write(f"# 0\na.png\n3\n{size[0]}\n{size[1]}\n{len(windows)}\n")
        file.writelines(" ".join(map(str, window)) + "\n" for window in windows)
    return array.transpose(2, 0, 1)[::-1]


def windows_net(phase="TRAIN", **params):
    params = {"source": "windows.txt", "batch_size": 4, "transform": {"crop_size": 6}} | params
    return reading_net("WindowData", ["data", "label"], phase=phase, **params)


def test_windows_are_background_first_and_of_the_right_size():
    image = write_windows((3, 0.8, 2, 3, 7, 8), (5, 0.3, 10, 4, 15, 9))
    net = windows_net(fg_fraction=0.5, scale=0.5, transform={"crop_size": 6, "mean_value": 8})
    net.forward()
    assert net.blobs["label"].data.tolist() == [0, 0, 3, 3]
    # both windows are 6 x 6: cut out as they are
    np.testing.assert_allclose(net.blobs["data"].data[0], (image[:, 4:10, 10:16] - 8.0) / 2)
    np.testing.assert_allclose(net.blobs["data"].data[3], (image[:, 3:9, 2:8] - 8.0) / 2)


def test_thresholds_and_fraction_as_caffe_reckons_them():
    write_windows((3, 0.5, 2, 3, 7, 8), (5, 0.3, 10, 4, 15, 9))
    # foreground comes first: what reaches fg_threshold is not background, whatever bg_threshold is
    for bg_threshold in (0.5, 0.95):
        net = windows_net(bg_threshold=bg_threshold, fg_fraction=0.29, batch_size=100)
        corner = net.forward()["data"][:, :, 0, 0]
        labels = net.blobs["label"].data
        assert [int((labels == k).sum()) for k in (0, 3)] == [71, 29]  # 100 x 0.29 is 29 in float32, less in float64
        assert len(np.unique(corner[labels == 0], axis=0)) == 1
    write_windows((0, 0.9, 2, 3, 7, 8))
    params = {"source": "windows.txt", "batch_size": 1, "fg_fraction": 1, "transform": {"crop_size": 6}}
    fails("window 2 3 7 8 of a.png has overlap 0.9, so it is foreground", "WindowData", ["x", "y"], **params)


def test_the_middle_of_a_mean_image_is_taken_off_windows():
    image = write_windows((1, 0.9, 2, 3, 7, 8))
    mean = np.random.default_rng(3).random((3, 8, 10)).astype("f4")
    np.save("mean.npy", mean)
    net = windows_net(fg_fraction=1, scale=2, transform={"crop_size": 6, "mean_file": "mean.npy"})
    expected = 2 * (image[:, 3:9, 2:8] - mean[:, 1:7, 2:8])
    np.testing.assert_allclose(net.forward()["data"][0], expected, rtol=1e-6)
    np.save("mean.npy", mean[:, :5])
    params = {"source": "windows.txt", "batch_size": 1, "fg_fraction": 1}
    params["transform"] = {"crop_size": 6, "mean_file": "mean.npy"}
    fails("mean_file mean.npy holds 3 x 5 x 10; 3 x 6 x 6 or more is needed", "WindowData", ["x", "y"], **params)


def test_a_window_gets_its_surroundings_and_zeros_beyond_the_image():
    image = write_windows((1, 0.9, 0, 5, 3, 8))
    # 4 x 4, with one pixel of surroundings on each side it becomes 6 x 6: rows 4 to 9, columns -1 to 4, as Caffe
    # counts the corners (7 wide), shrunk to 6
    net = windows_net(fg_fraction=1, context_pad=1)
    net.forward()
    made = net.blobs["data"].data[0]
    enlarged = np.zeros((3, 7, 7), "u1")
    enlarged[:, :, 1:] = image[:, 4:11, 0:6]
    assert not made[:, :, 0].any()
    np.testing.assert_array_equal(made[:, :, 1:], resize(enlarged[:, :, 1:], (6, 5)))


def test_square_windows_take_the_longer_side():
    image = write_windows((1, 0.9, 10, 5, 15, 6))
    net = windows_net(fg_fraction=1, crop_mode="square")
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data[0], resize(image[:, 3:10, 10:17], (6, 6)))


def test_half_pixels_are_rounded_as_in_single_precision():
    """19.5 - 13 · 28/26 is 5.4999990 in Caffe's floats and 5.5 in doubles: row 5, and 20 of the 30 rows, not row 6."""
    image = write_windows((1, 0.9, 3, 14, 28, 24), size=(25, 36))
    net = windows_net(fg_fraction=1, context_pad=1, crop_mode="square", transform={"crop_size": 28})
    net.forward()
    made = net.blobs["data"].data[0]
    assert made[:, 18].any()
    assert not made[:, 19:].any()
    np.testing.assert_array_equal(made[:, :19], resize(image[:, 5:25, 2:31], (19, 28)))


def test_windows_are_flipped_in_train_only_and_drawn_by_the_seed():
    image = write_windows((1, 0.9, 2, 3, 7, 8))
    plain = image[:, 3:9, 2:8].astype("f")
    params = {"fg_fraction": 1, "batch_size": 40, "transform": {"crop_size": 6, "mirror": True}}
    made = windows_net(**params).forward()["data"]
    flipped = [np.array_equal(one, plain[:, :, ::-1]) for one in made]
    assert all(f or np.array_equal(one, plain) for f, one in zip(flipped, made, strict=True))
    assert 5 < sum(flipped) < 35
    assert all(np.array_equal(one, plain) for one in windows_net("TEST", **params).forward()["data"])
    assert np.array_equal(windows_net(**params).forward()["data"], made)


def test_window_files_that_are_wrong():
    write_windows((1, 0.9, 2, 3, 7, 8))
    whole = Path("windows.txt").read_text()
    fails(
        "has no background windows",
        "WindowData",
        ["data", "label"],
        source="windows.txt",
        batch_size=4,
        transform={"crop_size": 6},
    )
    options = {"source": "windows.txt", "batch_size": 1, "fg_fraction": 1, "transform": {"crop_size": 6}}
    for old, new, words in (
        ("# 0", "0", "windows.txt:1: `# image_index` is expected, got `0`"),
        ("\n20\n", "\ntall\n", "windows.txt:4: an integer is expected, got `tall`"),
        ("1 0.9 2 3 7 8", "1 0.9 2 3 7", "windows.txt:7: `class overlap x1 y1 x2 y2` is expected"),
        ("1 0.9 2 3 7 8\n", "", "windows.txt:7: `class overlap x1 y1 x2 y2` is expected, but the file ends"),
        ("2 3 7 8", "2 3 70 8", "window 2 3 70 8 is not inside a.png, 30 x 20 pixels"),
        ("a.png", "b.png", "there is no file b.png"),
    ):
        with open("windows.txt", "w") as file:
            file.write(whole.replace(old, new))
        fails(words, "WindowData", ["data", "label"], **options)


# LMDB


def test_lmdb_records_in_the_order_of_their_keys():
    arrays = np.random.default_rng(0).integers(0, 256, (5, 3, 2, 4))
    write_lmdb([datum(a, i) for i, a in enumerate(arrays)])
    net = reading_net("Data", ["data", "label"], source="db", batch_size=2, shuffle=False, transform={"scale": 0.5})
    np.testing.assert_array_equal(rows(net, 3, "label"), [0, 1, 2, 3, 4, 0])
    net = reading_net("Data", ["data", "label"], source="db", batch_size=5, shuffle=False, backend="LMDB")
    net.forward()
    np.testing.assert_array_equal(net.blobs["data"].data, arrays)
    shuffled = rows(reading_net("Data", ["data", "label"], source="db", batch_size=5), 2, "label")
    assert sorted(shuffled[:5]) == [0, 1, 2, 3, 4]
    test = reading_net("Data", ["data", "label"], phase="TEST", source="db", batch_size=2, transform={"crop_size": 2})
    assert [examples for examples, _ in test.passes()] == [2, 2, 1]


@pytest.mark.parametrize("floats", [True, "packed"])
def test_a_datum_of_floats_with_a_negative_label(floats):
    array = np.array([[[0.5, -2], [1e6, 3]]])
    values, label = read_datum(datum(array, -3, floats), "it")
    np.testing.assert_array_equal(values, array)
    assert label == -3


def test_an_encoded_datum():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), "u1")
    Image.fromarray(pixels).save("a.png")
    values, label = read_datum(datum(np.zeros((3, 4, 5)), 7, encoded=Path("a.png").read_bytes()), "it")
    np.testing.assert_array_equal(values, pixels.transpose(2, 0, 1)[::-1])
    assert label == 7


def test_an_encoded_datum_in_grey_stays_grey_and_is_decoded_once(monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5), "u1")
    Image.fromarray(pixels).save("a.png")
    record = datum(np.zeros((1, 4, 5)), 7, encoded=Path("a.png").read_bytes())
    write_lmdb([record] * 4)
    net = reading_net("Data", ["data", "label"], source="db", batch_size=3)
    decoded, real = [], records.decode
    monkeypatch.setattr(records, "decode", lambda *a, **k: decoded.append(1) or real(*a, **k))
    batch = net.forward()
    np.testing.assert_array_equal(batch["data"], [[pixels]] * 3)
    assert batch["label"].tolist() == [7] * 3
    assert len(decoded) == 3


def test_a_datum_with_both_kinds_of_values_has_the_bytes():
    record = datum(np.array([[[1, 2]]]), 0) + varint(6 << 3 | 2) + varint(8) + struct.pack("<2f", 0.5, 0.25)
    assert read_datum(record, "it")[0].tolist() == [[[1, 2]]]


@pytest.mark.parametrize("floats", [None, True, "packed"])
def test_no_damage_to_a_datum_gives_anything_but_an_error_or_values(floats):
    rng = np.random.default_rng(0)
    whole = datum(np.arange(6).reshape(1, 2, 3), 300, floats)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole))] = rng.integers(256)
        try:
            values, label = read_datum(bytes(damaged), "it")
        except NettrainError:
            refused += 1
        else:
            assert values.ndim == 3
            assert -(2**31) <= label < 2**31
    assert refused > 300


def test_lmdbs_that_are_wrong():
    record = datum(np.zeros((1, 2, 3)), 1)
    write_lmdb([record[:-8]], "short")
    fails("record 00000000 of short", "Data", "data", source="short", batch_size=1)
    write_lmdb([record, datum(np.zeros((1, 2, 2)), 1)], "odd")
    fails(
        "record 00000001 of odd is 1 x 2 x 2, but the first one is 1 x 2 x 3",
        "Data",
        "data",
        source="odd",
        batch_size=2,
    )
    write_lmdb([], "empty")
    fails("empty holds no examples", "Data", "data", source="empty", batch_size=1)
    with open("short/data.mdb", "wb") as file:
        file.write(b"no database" * 1000)
    fails("short cannot be read as LMDB", "Data", "data", source="short", batch_size=1)


def test_every_cut_of_a_datum_is_noticed_or_whole():
    record = datum(np.arange(6).reshape(1, 2, 3), 300)
    for end in range(len(record)):
        try:
            values, _ = read_datum(record[:end], "it")
        except NettrainError:
            continue
        assert values.size == 6  # only the label, the last field, is missing


# Further arrays of an .npz


def test_further_tops_are_the_arrays_of_their_names():
    rng = np.random.default_rng(0)
    arrays = {
        "data": rng.random((6, 3)),
        "label": np.arange(6),
        "mask": rng.integers(0, 2, (6, 2, 2)).astype(bool),
        "weight": rng.random(6),
        "other": np.arange(6, dtype="i8") * 1000,
    }
    np.savez("set.npz", **arrays)
    net = reading_net("Data", ["x", "y", "mask", "other", "weight"], source="set.npz", batch_size=4, shuffle=False)
    net.forward()
    for top, name in (("x", "data"), ("y", "label"), ("mask", "mask"), ("other", "other"), ("weight", "weight")):
        np.testing.assert_allclose(net.blobs[top].data, arrays[name][:4], rtol=1e-6)
    fails("set.npz has no array `z` for a further top", "Data", ["x", "y", "z"], source="set.npz", batch_size=2)


def test_further_arrays_of_two_splits():
    np.savez(
        "set.npz",
        **{"x_train": np.ones((4, 1)), "y_train": np.zeros(4), "w_train": np.arange(4)},
        **{"x_test": np.ones((2, 1)), "y_test": np.zeros(2), "w_test": np.arange(2) + 10},
    )
    for phase, expected in (("TRAIN", [0, 1]), ("TEST", [10, 11])):
        net = reading_net("Data", ["x", "y", "w"], phase=phase, source="set.npz", batch_size=2, shuffle=False)
        net.forward()
        assert net.blobs["w"].data.tolist() == expected


def test_label_maps_move_with_their_images():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 9, (5, 1, 6, 7))
    arrays = {"label": data[:, 0], "deep": np.concatenate([data, data + 10], axis=1), "row": np.ones((5, 6))}
    np.savez("set.npz", data=data, **arrays)
    for phase in ("TRAIN", "TEST"):
        for transform, shape in (({"crop_size": 4, "mirror": True}, (4, 4)), ({"mirror": True}, (6, 7)), ({}, (6, 7))):
            transform = {**transform, "scale": 2, "mean_value": 1}
            tops = ["x", "y", "deep", "row"]
            net = reading_net("Data", tops, phase=phase, source="set.npz", batch_size=4, transform=transform)
            for _ in range(5):
                made = {name: net.forward() and net.blobs[name].data for name in tops}
                assert made["y"].shape == (4, *shape)
                assert made["row"].shape == (4, 6)
                np.testing.assert_array_equal(made["x"][:, 0], 2 * (made["y"] - 1))
                np.testing.assert_array_equal(made["deep"], np.stack([made["y"], made["y"] + 10], axis=1))


def test_a_further_array_with_other_rows_and_labels_of_no_size():
    np.savez("set.npz", data=np.zeros((6, 2)), label=np.zeros((6, 0)), mask=np.zeros((5, 2)))
    assert reading_net("Data", ["x", "y"], source="set.npz", batch_size=2).forward()["y"].shape == (2, 0)
    words = "set.npz: `mask` has 5 rows, but there are 6 examples"
    fails(words, "Data", ["x", "y", "mask"], source="set.npz", batch_size=2)


# Without the libraries


@pytest.mark.parametrize(
    ("module", "name", "type_name", "tops", "params"),
    [
        ("h5py", "hdf5", "HDF5Data", ["data"], {"source": "list.txt", "batch_size": 1}),
        ("PIL.Image", "images", "ImageData", ["data", "label"], {"source": "list.txt"}),
    ],
)
def test_a_missing_library_names_its_install_command(module, name, type_name, tops, params, monkeypatch):
    hdf5_list()
    if type_name == "ImageData":
        write_images((2, 2))
    real = extras.importlib.import_module

    def without(wanted):
        if wanted == module:
            raise ImportError(wanted)
        return real(wanted)

    monkeypatch.setattr(extras.importlib, "import_module", without)
    fails(f'pip install "nettrain[{name}]"', type_name, tops, **params)


@pytest.mark.parametrize("changed", [0, 1, 2])
def test_hdf5_files_are_known_again_by_what_each_of_them_holds(changed):
    """Also where a file keeps its size."""

    def fingerprint(values):
        for name, value in zip("abc", values, strict=True):
            with h5py.File(f"{name}.h5", "w") as file:
                file["data"], file["label"] = np.full((4, 2), value), np.full(4, value)
        Path("list.txt").write_text("a.h5\nb.h5\nc.h5\n")
        return reading_net("HDF5Data", source="list.txt", batch_size=2, top=["data", "label"]).fingerprints()

    first = fingerprint([1.0, 2.0, 3.0])
    assert fingerprint([1.0, 2.0, 3.0]) == first
    assert fingerprint([9.0 if i == changed else value for i, value in enumerate([1.0, 2.0, 3.0])]) != first
