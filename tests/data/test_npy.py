"""Arrays in .npy files as a source: pairs, folders, what stays on the disk; what is no data."""

import nettrain
import numpy as np
import pytest
from helpers import layer
from nettrain.data import npy
from nettrain.spec.errors import NettrainError


def reader(source, phase="TRAIN", **keys):
    net = nettrain.Net({"layers": [layer("d", "Data", top=["x", "t"], source=source, batch_size=4, **keys)]}, phase)
    return net, net.layers["d"].set


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_folder_with_two_splits_and_a_pair(workdir, monkeypatch, on_disk):
    monkeypatch.setattr(npy, "IN_MEMORY", 0 if on_disk else 1 << 20)
    (workdir / "set").mkdir()
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.integers(0, 60_000, (7, 3)).astype("u2"), "x_test": rng.random((5, 3))}
    arrays |= {"y_train": np.arange(7), "y_test": np.arange(5)}
    for name, array in arrays.items():
        np.save(f"set/{name}.npy", array)
    for phase, part in (("TRAIN", "train"), ("TEST", "test")):
        net, found = reader("set", phase, shuffle=False)
        assert isinstance(found.data, npy.OnDisk) == on_disk
        assert found.data.dtype == arrays[f"x_{part}"].dtype
        net.forward()
        assert np.array_equal(net.blobs["x"].data, arrays[f"x_{part}"][:4].astype("f4"))
        assert net.blobs["t"].data.tolist() == [0, 1, 2, 3]
        first = net.fingerprints()
        np.save(f"set/x_{part}.npy", arrays[f"x_{part}"] + 1)
        assert reader("set", phase)[0].fingerprints() != first
    _, found = reader({"train": "set/x_train.npy", "test": "set/x_test.npy"})
    assert len(found) == 7


def test_what_is_no_data(workdir):
    np.save("x.npy", np.array([{}], object), allow_pickle=True)
    np.save("data.npy", np.array(["a"]))
    np.save("images.npy", np.float32(1))
    for source, said in (("x", "holds Python objects"), ("data", "holds text"), ("images", "holds a single number")):
        with pytest.raises(NettrainError, match=said):
            reader(f"{source}.npy")
    np.save("x.npy", np.ones((3, 2)))
    np.save("y.npy", np.ones(2))
    with pytest.raises(NettrainError, match="holds 3 examples but 2 labels"):
        reader("x.npy")


def test_the_order_of_axes_is_said_and_noticed(workdir):
    images = np.random.default_rng(0).integers(0, 255, (5, 9, 8, 3)).astype("u1")
    np.savez("colour.npz", x_train=images, y_train=np.arange(5))
    np.savez("grey.npz", x_train=images[..., 0], y_train=np.arange(5))
    np.savez("rows.npz", x_train=images[:, :, 0, 0], y_train=np.arange(5))
    net, _ = reader("colour.npz")
    assert net.layers["d"].remark.endswith("seem to be images with the channels last: layout: NHWC")
    assert "layout: NHW adds it" in reader("grey.npz")[0].layers["d"].remark
    assert reader("rows.npz")[0].layers["d"].remark == ""
    for name, layout, expected in (
        ("colour", "NHWC", images.transpose(0, 3, 1, 2)),
        ("colour", "NCHW", images),
        ("grey", "NHW", images[:, None, :, :, 0]),
    ):
        net, _ = reader(f"{name}.npz", layout=layout, shuffle=False)
        net.forward()
        assert net.layers["d"].remark == ""
        assert np.array_equal(net.blobs["x"].data, expected[:4])
    with pytest.raises(NettrainError, match=r"layout NHWC needs arrays with 4 axes, grey\.npz has 5 x 9 x 8"):
        reader("grey.npz", layout="NHWC")


@pytest.mark.parametrize("split", [{}, {"split": 0.25}])
@pytest.mark.parametrize(
    "transform", [{"mirror": True}, {"crop_size": 5, "vertical_flip": True}, {"pad": 2, "fill": "edge"}]
)
def test_label_maps_move_with_their_images_wherever_they_lie(workdir, monkeypatch, transform, split):
    monkeypatch.setattr(npy, "IN_MEMORY", 0)
    images = np.random.default_rng(0).integers(0, 255, (8, 3, 8, 8)).astype("u1")
    np.save("x.npy", images)
    np.save("y.npy", images[:, 0])
    for of_labels in (0, 1 << 20):
        monkeypatch.setattr(npy, "IN_MEMORY", of_labels)
        net, _ = reader("x.npy", transform=transform, **split)
        for _ in range(3):
            net.forward()
            assert np.array_equal(net.blobs["x"].data[:, 0], net.blobs["t"].data)


@pytest.mark.parametrize("limit", [0, 200, 1 << 20])  # both on the disk, the examples alone, neither
def test_a_bad_value_is_found_wherever_it_lies_and_counted_in_its_file(workdir, monkeypatch, limit):
    examples, labels = np.random.default_rng(0).random((20, 3)), np.arange(20) % 2
    examples[17, 2] = np.nan
    monkeypatch.setattr(npy, "IN_MEMORY", limit)
    np.save("x.npy", examples)
    np.save("y.npy", labels.astype("u1"))
    net, found = reader("x.npy", split=0.4)
    assert 17 in found.rows
    with pytest.raises(NettrainError, match="`x` of example 17 holds nan in column 2"):
        list(net.layers["d"].examine([net.blobs["x"], net.blobs["t"]]))
    np.save("x.npy", labels.astype("u1"))
    np.save("y.npy", examples)  # targets, larger than the examples
    net, _ = reader("x.npy", split=0.4)
    with pytest.raises(NettrainError, match="`t` of example 17 holds nan in column 2"):
        list(net.layers["d"].examine([net.blobs["x"], net.blobs["t"]]))
