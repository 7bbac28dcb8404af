"""Models that PyTorch's two exporters, tf2onnx and skl2onnx wrote, and what these programs compute themselves."""

from pathlib import Path

import numpy as np
import pytest
from helpers.onnx_models import BATCH, layer, net_of, trains, types
from nettrain import NettrainError
from nettrain.interop.onnx_in import read

FOLDER = Path(__file__).parent / "fixtures"
REFUSED = {"keras15_gru"}  # a loop, since tf2onnx does not recognise Keras's GRU
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))


def found_in(name, batch=BATCH):
    return read(FOLDER / f"{name}.onnx", f"{name}.onnx", batch=batch)


def test_there_are_models_of_every_program():
    assert {name.partition("_")[0] for name in NAMES} == {"torch", "keras13", "keras15", "keras18", "sklearn"}
    assert len(NAMES) > 40


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_a_model_computes_what_its_program_does(name):
    found, known = found_in(name), np.load(FOLDER / f"{name}.npz")
    fixed = name.startswith("torch_fixed")
    for batch in (1, 3):
        if fixed:  # the file says 1, and the net takes any number all the same
            spec = found.root.value["layers"].value[0]
            spec.value["shape"].value[0].value = BATCH
        net = net_of(found, batch)
        net.forward(**{net.inputs[0]: known["x"][:batch].astype(np.float32)})
        got = net.blobs[list(found.outputs.values())[-1]].data
        wanted = known["y"][:batch].reshape(got.shape)
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=2e-6)
    trains(found)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in REFUSED])
def test_all_parameters_are_the_nets(name):
    found = found_in(name)
    assert all(array.dtype == np.float32 for array in found.arrays.values())
    layers = {entry["name"] for entry in found.root.to_python()["layers"]}
    assert {key.split("/")[1] for key in found.arrays} <= layers
    assert len(layers) == len(found.root.to_python()["layers"])


def test_a_loop_is_refused_by_name():
    with pytest.raises(NettrainError, match=r"while_loop` \(Loop\): a spec has no loops that depend on values"):
        found_in("keras15_gru")


def test_layers_have_pytorchs_names():
    new, old = (
        {entry["name"]: entry["type"] for entry in found_in(name).root.to_python()["layers"]}
        for name in ("torch_new_resnet", "torch_old17_resnet")
    )
    for names in (new, old):
        assert names["conv1"] == "Convolution"
        assert names["layer2.downsample.0"] == "Convolution"
        assert names["fc"] == "InnerProduct"


def test_a_gelu_of_five_nodes_is_one_layer():
    for name in ("torch_old13_mixer", "torch_new_mixer", "torch_old17_vgg"):
        assert types(found_in(name)).count("GELU") == 1


def test_keras_images_are_brought_into_order_once():
    found = found_in("keras18_cnn")
    assert types(found).count("Permute") == 1
    assert "channels last" in found.notes[0]
    assert layer(found, "Input")["shape"] == [BATCH, 14, 12, 3]


def test_labels_of_scikit_learn_are_left_out_with_a_note():
    for name in ("sklearn_logistic", "sklearn_logistic_array"):
        found = found_in(name)
        assert types(found) == ["Input", "InnerProduct", "Softmax"]
        assert "labels" in found.notes[0]


def test_what_scikit_learn_counted_is_not_learned():
    found = found_in("sklearn_scaled_mlp")
    assert layer(found, "Scale")["param"] == [{"lr_mult": 0, "decay_mult": 0}] * 2
    assert "param" not in layer(found, "InnerProduct")


def test_a_net_of_pytorch_goes_on_learning():
    found = found_in("torch_new_mobile", 3)
    net = net_of(read_with(found, 3), 3, "TRAIN")
    x = np.load(FOLDER / "torch_new_mobile.npz")["x"]

    def loss():
        net.forward(x=x)
        return float((net.blobs["classifier.1"].data ** 2).sum())

    before = loss()
    net.backward(**{"classifier.1": 2 * net.blobs["classifier.1"].data})
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] -= 1e-3 * blob.diff
    assert loss() < before


def read_with(found, batch):
    found.root.value["layers"].value[0].value["shape"].value[0].value = BATCH
    return found
