"""Nets as people wrote them for Caffe, with data of each kind it reads, train through the solver they came with."""

from pathlib import Path

import h5py
import nettrain
import numpy as np
import pytest
from helpers import datum, write_lmdb
from nettrain.net import netspec
from nettrain.spec.errors import SpecError
from PIL import Image

pytestmark = pytest.mark.usefixtures("workdir")


def write(name, text):
    Path(name).write_text(text, encoding="utf-8")
    return name


def solver_of(net, **keys):
    """A trained solver of ``net``, by a prototxt with these fields beside the usual ones."""
    fields = {
        "net": f'"{net}"',
        "base_lr": 0.01,
        "lr_policy": '"fixed"',
        "max_iter": 4,
        "display": 1,
        "test_interval": 2,
    }
    fields |= {"test_iter": 1, "snapshot_after_train": "false", "random_seed": 3, "solver_mode": "GPU"}
    lines = {key: value for key, value in (fields | keys).items() if value is not None}
    write("solver.prototxt", "\n".join(f"{key}: {value}" for key, value in lines.items()))
    solver = nettrain.get_solver("solver.prototxt", out="run")
    solver.solve()
    return solver


def images(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)


def write_digits(name, count, *shape):
    write_lmdb([datum(image, i % 3) for i, image in enumerate(images(count, *shape))], name)


LENET = """
name: "small"
layer {
  name: "digits" type: "Data" top: "data" top: "label"
  include { phase: TRAIN } transform_param { scale: 0.00390625 }
  data_param { source: "train_lmdb" batch_size: 5 backend: LMDB }
}
layer {
  name: "digits" type: "Data" top: "data" top: "label"
  include { phase: TEST } transform_param { scale: 0.00390625 }
  data_param { source: "test_lmdb" batch_size: 3 backend: LMDB }
}
layer {
  name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  param { lr_mult: 1 } param { lr_mult: 2 }
  convolution_param { num_output: 4 kernel_size: 3 weight_filler { type: "xavier" } bias_filler { type: "constant" } }
}
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "ip1" type: "InnerProduct" bottom: "pool1" top: "ip1"
        inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "accuracy" type: "Accuracy" bottom: "ip1" bottom: "label" top: "accuracy" include { phase: TEST } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip1" bottom: "label" top: "loss" }
"""


def test_digits_from_databases():
    write_digits("train_lmdb", 12, 1, 8, 8)
    write_digits("test_lmdb", 6, 1, 8, 8)
    solver = solver_of(write("net.prototxt", LENET), momentum=0.9, weight_decay=0.0005)
    assert solver.iter == 4
    assert solver.net.blobs["data"].shape == (5, 1, 8, 8)
    assert solver.test_nets[0].blobs["data"].shape == (3, 1, 8, 8)
    # records in their order, from 0 to 255 times 1/256: batches of 5 of 12, the fourth begins with the 4th record
    assert np.array_equal(solver.net.blobs["data"].data[0], images(12, 1, 8, 8)[3] / np.float32(256))


@pytest.mark.parametrize("backend", ["", "backend: LEVELDB"])
def test_a_database_that_is_said_to_be_of_the_other_kind_is_read(backend):
    write_digits("train_lmdb", 12, 1, 8, 8)
    write_digits("test_lmdb", 6, 1, 8, 8)
    solver = solver_of(write("net.prototxt", LENET.replace("backend: LMDB", backend)))
    assert solver.iter == 4


def test_a_leveldb_is_refused_and_a_missing_one_is_not():
    text = LENET.replace("backend: LMDB", "")
    spec = netspec.load(write("net.prototxt", text))
    said = [str(problem) for problem in spec.warnings if "LEVELDB" in problem.message]
    assert len(said) == 2
    assert "net.prototxt:3:" in said[0]
    assert "the source has to be an LMDB" in said[0]
    assert spec.root.value["layers"].value[0].to_python()["backend"] == "LMDB"
    Path("train_lmdb").mkdir()
    Path("train_lmdb/CURRENT").write_text("MANIFEST-000002")
    with pytest.raises(SpecError, match=r"net.prototxt:6:.*train_lmdb is a LevelDB.*copy its records to an LMDB"):
        netspec.load("net.prototxt")


def test_pairs_of_digits_with_shared_parameters():
    write_lmdb([datum(pair, i % 2) for i, pair in enumerate(images(8, 2, 6, 6))], "pairs")
    tower = """
layer { name: "ip1_X" type: "InnerProduct" bottom: "data_X" top: "ip1_X"
  param { name: "w" lr_mult: 1 } param { name: "b" lr_mult: 2 }
  inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "relu_X" type: "ReLU" bottom: "ip1_X" top: "ip1_X" }
layer { name: "feat_X" type: "InnerProduct" bottom: "ip1_X" top: "feat_X"
  param { name: "feat_w" } param { name: "feat_b" }
  inner_product_param { num_output: 2 weight_filler { type: "gaussian" std: 0.1 } } }"""
    data = """
layer { name: "pairs" type: "Data" top: "pair_data" top: "sim" transform_param { scale: 0.00390625 }
  data_param { source: "pairs" batch_size: 4 backend: LMDB } }
layer { name: "slice" type: "Slice" bottom: "pair_data" top: "data_a" top: "data_b"
  slice_param { slice_dim: 1 slice_point: 1 } }"""
    loss = """
layer { name: "loss" type: "ContrastiveLoss" bottom: "feat_a" bottom: "feat_b" bottom: "sim" top: "loss"
  contrastive_loss_param { margin: 1 } }"""
    net = data + tower.replace("X", "a") + tower.replace("X", "b") + loss
    solver = solver_of(write("siamese.prototxt", net))
    params = solver.net.params
    assert np.array_equal(params["ip1_a"][0].data, params["ip1_b"][0].data)
    assert np.array_equal(params["feat_a"][1].data, params["feat_b"][1].data)
    assert params["ip1_a"][1].data.any()  # one of its two uses has moved it


def test_two_losses_of_one_name_and_stages():
    write_digits("train_lmdb", 6, 1, 4, 4)
    write_digits("test_lmdb", 6, 1, 4, 4)
    data = """layer { name: "data" type: "Data" top: "data" include { phase: %s %s }
  transform_param { scale: 0.0039215684 } data_param { source: "%s" batch_size: 3 backend: LMDB } }\n"""
    net = data % ("TRAIN", "", "train_lmdb")
    net += data % ("TEST", 'stage: "test-on-train"', "train_lmdb") + data % (
        "TEST",
        'stage: "test-on-test"',
        "test_lmdb",
    )
    net += """
layer { name: "flatdata" type: "Flatten" bottom: "data" top: "flatdata" }
layer { name: "encode" type: "InnerProduct" bottom: "data" top: "encode"
  inner_product_param { num_output: 3 weight_filler { type: "gaussian" std: 1 sparse: 2 } } }
layer { name: "encoden" type: "Sigmoid" bottom: "encode" top: "encoden" }
layer { name: "decode" type: "InnerProduct" bottom: "encoden" top: "decode"
  inner_product_param { num_output: 16 weight_filler { type: "gaussian" std: 1 sparse: 2 } } }
layer { name: "loss" type: "SigmoidCrossEntropyLoss" bottom: "decode" bottom: "flatdata"
  top: "cross_entropy_loss" loss_weight: 1 }
layer { name: "decoden" type: "Sigmoid" bottom: "decode" top: "decoden" }
layer { name: "loss" type: "EuclideanLoss" bottom: "decoden" bottom: "flatdata" top: "l2_error" loss_weight: 0 }
"""
    states = {f"test_state{' ' * i}": f'{{ stage: "test-on-{name}" }}' for i, name in enumerate(("train", "test"))}
    solver = solver_of(write("auto.prototxt", net), **states, **{"test_iter ": 1})
    assert len(solver.test_nets) == 2
    for test in solver.test_nets:
        assert set(test.outputs) == {"cross_entropy_loss", "l2_error"}
    assert [name for name in solver.net.layers if "loss" in name] == ["loss", "loss_2"]


def test_a_fully_convolutional_net():
    text = "".join(f"a{i}.png 0\n" for i in range(2))
    for i in range(2):
        Image.fromarray(images(1, 12, 10, 3, seed=i)[0]).save(f"a{i}.png")
    write("list.txt", text)
    net = """
layer { name: "data" type: "ImageData" top: "data" top: "unused" image_data_param { source: "list.txt" batch_size: 1 }
  transform_param { mean_value: 104 mean_value: 117 mean_value: 123 } }
layer { name: "labels" type: "DummyData" top: "label" dummy_data_param { num: 1 channels: 1 height: 12 width: 10 } }
layer { name: "silence" type: "Silence" bottom: "unused" }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
  convolution_param { num_output: 4 pad: 100 kernel_size: 3 weight_filler { type: "gaussian" std: 0.01 } } }
layer { name: "pool1" type: "Pooling" bottom: "conv1" top: "pool1" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "score" type: "Convolution" bottom: "pool1" top: "score" param { lr_mult: 1 decay_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 } convolution_param { num_output: 3 pad: 0 kernel_size: 1 } }
layer { name: "upscore" type: "Deconvolution" bottom: "score" top: "upscore" param { lr_mult: 0 }
  convolution_param { num_output: 3 group: 3 bias_term: false kernel_size: 4 stride: 2
    weight_filler { type: "bilinear" } } }
layer { name: "crop" type: "Crop" bottom: "upscore" bottom: "data" top: "crop" crop_param { axis: 2 offset: 99 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "crop" bottom: "label" top: "loss"
  loss_param { ignore_label: 255 normalize: false } }
"""
    solver = solver_of(write("fcn.prototxt", net), test_interval=0, base_lr=1e-6)
    assert solver.net.blobs["conv1"].shape == (1, 4, 210, 208)
    assert solver.net.blobs["crop"].shape == (1, 3, 12, 10)
    row = [0.25, 0.75, 0.75, 0.25]
    assert np.allclose(solver.net.params["upscore"][0].data[2, 0], np.outer(row, row))
    assert np.any(solver.net.params["score"][0].data)  # from zeros, as Caffe leaves what has no filler
    # scores of zero: log 3 for each of 120 pixels of an example
    first = nettrain.Net("fcn.prototxt", "TRAIN")
    assert np.isclose(first.forward()["loss"], 120 * np.log(3))


def test_branches_and_losses_on_the_way():
    write_digits("train_lmdb", 6, 3, 12, 12)
    conv = """layer { name: "%s" type: "Convolution" bottom: "%s" top: "%s"
  convolution_param { num_output: %d kernel_size: %d pad: %d weight_filler { type: "xavier" std: 0.1 } } }\n"""
    net = """layer { name: "data" type: "Data" top: "data" top: "label"
  transform_param { crop_size: 10 mirror: true mean_value: 104 mean_value: 117 mean_value: 123 }
  data_param { source: "train_lmdb" batch_size: 3 backend: LMDB } }\n"""
    net += conv % ("conv1", "data", "conv1", 4, 3, 1)
    net += """layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1"
  lrn_param { local_size: 3 alpha: 1e-4 beta: 0.75 } }
layer { name: "a/pool" type: "Pooling" bottom: "norm1" top: "a/pool"
  pooling_param { kernel_size: 3 stride: 1 pad: 1 } }\n"""
    net += conv % ("a/1x1", "norm1", "a/1x1", 3, 1, 0) + conv % ("a/3x3", "norm1", "a/3x3", 4, 3, 1)
    net += conv % ("a/pool_proj", "a/pool", "a/pool_proj", 2, 1, 0)
    net += """layer { name: "a/output" type: "Concat" bottom: "a/1x1" bottom: "a/3x3" bottom: "a/pool_proj"
  top: "a/output" }
layer { name: "pool" type: "Pooling" bottom: "a/output" top: "pool"
  pooling_param { pool: AVE kernel_size: 5 stride: 3 } }
layer { name: "drop" type: "Dropout" bottom: "pool" top: "pool" dropout_param { dropout_ratio: 0.4 } }
layer { name: "side" type: "InnerProduct" bottom: "a/1x1" top: "side" inner_product_param { num_output: 3 } }
layer { name: "main" type: "InnerProduct" bottom: "pool" top: "main" inner_product_param { num_output: 3 } }
layer { name: "side/loss" type: "SoftmaxWithLoss" bottom: "side" bottom: "label" top: "side/loss1" loss_weight: 0.3 }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "main" bottom: "label" top: "loss3" loss_weight: 1 }
layer { name: "top1" type: "Accuracy" bottom: "main" bottom: "label" top: "top1" include { phase: TEST } }
layer { name: "top2" type: "Accuracy" bottom: "main" bottom: "label" top: "top2" include { phase: TEST }
  accuracy_param { top_k: 2 } }
"""
    solver = solver_of(write("incept.prototxt", net), test_interval=2, momentum=0.9)
    assert solver.net.blobs["a/output"].shape == (3, 9, 10, 10)
    assert solver.net.blobs["pool"].shape == (3, 9, 3, 3)  # ceil((10 - 5) / 3) + 1
    assert solver.test_nets[0].blobs["top2"].shape == ()
    first = nettrain.Net("incept.prototxt", "TRAIN")
    first.forward()
    assert np.allclose([first.blobs["side/loss1"].data, first.blobs["loss3"].data], np.log(3))


def test_windows_of_images():
    Image.fromarray(images(1, 20, 16, 3)[0]).save("a.png")
    lines = ["# 0", "a.png", "3", "20", "16", "3", "1 0.9 1 1 12 14", "2 0.8 0 2 9 19", "0 0.1 3 3 15 12"]
    write("windows.txt", "\n".join(lines) + "\n")
    net = """
layer { name: "data" type: "WindowData" top: "data" top: "label" include { phase: TRAIN }
  transform_param { mirror: true crop_size: 9 mean_value: 110 }
  window_data_param { source: "windows.txt" batch_size: 4 fg_threshold: 0.5 bg_threshold: 0.5 fg_fraction: 0.25
    context_pad: 2 crop_mode: "warp" } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 3 } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc" bottom: "label" top: "loss" include { phase: TRAIN } }
"""
    solver = solver_of(write("rcnn.prototxt", net), test_interval=None, test_iter=None, base_lr=1e-5)
    assert solver.net.blobs["data"].shape == (4, 3, 9, 9)
    assert np.count_nonzero(solver.net.blobs["label"].data) == 1  # a quarter are objects


def test_tables_in_hdf5():
    rng = np.random.default_rng(0)
    for name in ("train", "test"):
        with h5py.File(f"{name}.h5", "w") as file:
            x = rng.standard_normal((10, 4)).astype(np.float32)
            file["data"], file["label"] = x, (x[:, 0] > 0).astype(np.float32)
        write(f"{name}.txt", f"{name}.h5\n")
    data = """layer { name: "data" type: "HDF5Data" top: "data" top: "label" include { phase: %s }
  hdf5_data_param { source: "%s.txt" batch_size: 5 } }\n"""
    net = data % ("TRAIN", "train") + data % ("TEST", "test")
    net += """
layer { name: "fc1" type: "InnerProduct" bottom: "data" top: "fc1" param { lr_mult: 1 decay_mult: 1 }
  param { lr_mult: 2 decay_mult: 0 } inner_product_param { num_output: 2 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "fc1" bottom: "label" top: "loss" }
layer { name: "accuracy" type: "Accuracy" bottom: "fc1" bottom: "label" top: "accuracy" include { phase: TEST } }
"""
    solver = solver_of(write("net.prototxt", net), max_iter=60, base_lr=0.5, display=60, test_interval=60, test_iter=2)
    with h5py.File("train.h5") as file:
        assert np.array_equal(solver.net.blobs["data"].data, file["data"][5:])  # in the order of the file
        scores = file["data"][:] @ solver.net.params["fc1"][0].data.T + solver.net.params["fc1"][1].data
        assert np.mean(scores.argmax(1) == file["label"][:]) >= 0.9


def test_nets_for_training_and_tests_in_two_files():
    write_digits("train_lmdb", 12, 1, 8, 8)
    write_digits("test_lmdb", 6, 1, 8, 8)
    parts = LENET.strip().split("\nlayer {\n")
    head, train, test, conv = parts
    accuracy = next(line for line in conv.splitlines() if '"accuracy"' in line)
    write("train.prototxt", "\nlayer {\n".join([head, train, conv.replace(accuracy + "\n", "")]))
    write("test.prototxt", "\nlayer {\n".join([head, test, conv]))
    fields = (
        'train_net: "train.prototxt" test_net: "test.prototxt" test_iter: 1 test_interval: 2 base_lr: 0.01 max_iter: 2'
    )
    write("two.prototxt", fields + ' lr_policy: "step" gamma: 0.1 stepsize: 1')
    solver = nettrain.get_solver("two.prototxt", out="run")
    solver.solve()
    assert "accuracy" in solver.test_nets[0].blobs
    assert "accuracy" not in solver.net.blobs
    write("net.prototxt", LENET)
    whole = nettrain.Net("net.prototxt", "TEST")
    assert list(whole.layers) == list(solver.test_nets[0].layers)
