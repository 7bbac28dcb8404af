"""Random nets, wired at random, much of it in place: YAML to prototxt to YAML and back compute the same."""

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from nettrain import Net
from nettrain.interop.caffe.classes import classes
from nettrain.interop.caffe.out import to_caffe
from nettrain.interop.caffe.text_out import to_text
from nettrain.interop.caffe.weights import without_affine
from nettrain.interop.convert import Options, convert
from nettrain.net.netspec import load
from nettrain.net.parameter_files import arrays, assign

NEURONS = ["TanH", "Sigmoid", "ReLU", "ELU", "BNLL", "SiLU", "Softplus", "PReLU", "AbsVal", "Power", "Swish", "Clip"]
KEYS = {"Power": {"scale": 0.5, "shift": 0.25}, "Clip": {"min": -0.75, "max": 0.75}}
UNSAFE = {"BNLL", "Softplus", "AbsVal", "Power", "Clip", "Swish", "SiLU", "LogSoftmax", "LRN", "MVN", "Pooling"}


def layers_of(seed):
    """Layers on blobs of N x 4 x 5 x 5; every third in place, also where Caffe does not allow it."""
    rng = np.random.default_rng(seed)
    layers = [{"name": "x", "type": "Input", "shape": [3, 4, 5, 5]}]
    blobs = ["x"]

    def choose(values):
        return values[int(rng.integers(len(values)))]

    for i in range(16):
        bottom, name = choose([*blobs, *blobs[-2:]]), f"l{i}"
        names = [{"name": "shared"}, {"lr_mult": 2, "decay_mult": 0}]
        neuron = choose(NEURONS)
        layer = choose(
            [
                {"type": neuron, **KEYS.get(neuron, {})},
                {"type": neuron, **KEYS.get(neuron, {})},
                {"type": "Convolution", "num_output": 4, "kernel_size": 3, "pad": 1, "group": choose([1, 2])},
                {"type": "Convolution", "num_output": 4, "kernel_size": 1, "param": names, "bias_filler": 0.1},
                {"type": "Deconvolution", "num_output": 4, "kernel_size": [3, 3], "pad": 1},
                {"type": "Pooling", "pool": choose(["MAX", "AVE"]), "kernel_size": 3, "pad": 1},
                {"type": "BatchNorm", "affine": choose([True, False])},
                {"type": "Scale", "bias_term": choose([True, False]), "axis": choose([1, -3])},
                {"type": "Eltwise", "operation": choose(["SUM", "PROD", "MAX"]), "bottom": [bottom, choose(blobs)]},
                {"type": "Eltwise", "coeff": [1, -0.5], "bottom": [bottom, choose(blobs)]},
                {"type": choose(["LRN", "MVN", "LogSoftmax", "Softmax"])},
                {"type": "Slice", "top": [f"l{i}a", f"l{i}b"]},
            ]
        )
        in_place = len(layer.get("bottom", [1])) == 1 and layer["type"] not in ("Slice", "Convolution", "Deconvolution")
        top = bottom if in_place and rng.random() < 0.5 and bottom != "x" else name
        layer = {"name": name, "bottom": bottom, "top": top, **layer}
        layers.append(layer)
        if layer["type"] == "Slice":
            layers.append({"name": name, "type": "Concat", "bottom": [f"l{i}b", f"l{i}a"]})
            layers[-2]["name"] = f"{name}_cut"
        if top not in blobs:
            blobs.append(name)
    return layers


def run(net, seed, names):
    """Outputs by the names that they have in the spec, the input's gradient, and those of parameters."""
    rng = np.random.default_rng(seed)
    net.blobs["x"].data[...] = rng.normal(size=net.blobs["x"].shape)
    net.forward()
    own = {name: theirs for name, theirs in names.items() if theirs in net.outputs}
    found = {name: net.blobs[theirs].data.copy() for name, theirs in own.items()}
    net.backward(**{theirs: rng.normal(size=net.blobs[theirs].shape) for theirs in own.values()})
    found["dx"] = net.blobs["x"].diff.copy()
    return found, {f"param/{n}/{i}": b.diff.copy() for n, own in net.params.items() for i, b in enumerate(own)}


def names_of(spec, files):
    """What each blob's last version is called in Caffe's net."""
    return {
        top: made
        for layer in spec.layers
        for top, made in zip(layer.common.top or (layer.name,), files.of_layer[layer.name].many("top"), strict=True)
    }


@pytest.mark.parametrize("seed", range(40))
def test_yaml_to_prototxt_to_yaml(seed, workdir):
    spec = load({"name": f"net{seed}", "force_backward": True, "layers": layers_of(seed)})
    files = to_caffe(spec)
    text = to_text(files.net)
    text_format.Parse(text, classes()["NetParameter"]())
    Path("net.prototxt").write_text(text)
    assert to_text(to_caffe(load("net.prototxt")).net) == text
    convert("net.prototxt", "net.yaml", Options())
    convert("net.yaml", "again.prototxt", Options())
    convert("again.prototxt", "again.yaml", Options())
    assert Path("again.yaml").read_text() == Path("net.yaml").read_text()
    ours = Net(spec, phase="TRAIN", dtype="float64", seed=seed)
    names = names_of(spec, files)
    values, gradients = run(ours, seed, dict(zip(names, names, strict=True)))
    assert len(values) == len(ours.outputs) + 1
    for name in ("net.prototxt", "net.yaml"):
        theirs = Net(name, phase="TRAIN", dtype="float64")
        assign(theirs.params, without_affine(arrays(ours.params), files.scales), name, "all")
        found, diffs = run(theirs, seed, names)
        for key, value in values.items():
            assert np.allclose(found[key], value, rtol=1e-9, atol=1e-11), key
        assert len(found) == len(values)
        for key, value in without_affine(gradients, files.scales).items():
            assert np.allclose(diffs.pop(key), value, rtol=1e-8, atol=1e-10), key
        assert not diffs


@pytest.mark.parametrize("seed", range(40))
def test_nothing_is_in_place_where_caffe_would_be_wrong(seed):
    """By Caffe's own rules: a blob has one maker, or layers that work on it in place one after the other."""
    layers = to_caffe(load({"layers": layers_of(seed)})).net.many("layer")
    makers = {}
    for layer in layers:
        for top in layer.many("top"):
            if top in layer.many("bottom"):
                assert layer.one("type") not in UNSAFE
                assert sum(other.many("bottom").count(top) for other in layers[makers[top] : layers.index(layer)]) == 0
            else:
                assert top not in makers
            makers[top] = layers.index(layer) + 1
        assert all(bottom in makers for bottom in layer.many("bottom"))
