"""Every layer type as Caffe's text and back: the same outputs and gradients; or a refusal that is known here."""

import numpy as np
import pytest
from google.protobuf import text_format
from nettrain import Net
from nettrain.interop.caffe.classes import classes
from nettrain.interop.caffe.out import to_caffe
from nettrain.interop.caffe.text_out import to_text
from nettrain.interop.caffe.weights import without_affine
from nettrain.net import registry
from nettrain.net.netspec import load
from nettrain.net.parameter_files import arrays, assign
from nettrain.spec.errors import SpecError

TYPES = registry.types()
# Types without an equal in Caffe, of which every example is refused.
REFUSED = {
    *("BinaryAccuracy", "CircularConvolution", "CopyTask", "CosineSimilarity", "DetectionOutput", "GELU", "GRU"),
    *("GroupNorm", "Interp", "L1Loss", "LayerNorm", "MatMul", "Maxout", "Mish", "MulticlassSVMLoss", "Normalize"),
    *("Pad", "Permute", "PriorBox", "ROIPooling", "Recurrent", "ShuffleChannel", "SmoothL1Loss", "Upsample"),
}
# Of types that Caffe has: the examples that it has not, and why.
EXAMPLES_REFUSED = {
    **dict.fromkeys([("Data", i) for i in range(3)], "it reads LMDB, HDF5 and lists of images"),  # see test_convert
    **dict.fromkeys([("Eltwise", i) for i in range(5, 10)], "Caffe's Eltwise takes bottoms of one shape"),
    **dict.fromkeys([("Eltwise", i) for i in range(10, 12)], "POW has no equal in Caffe, whose Eltwise knows PROD"),
    ("Parameter", 1): "Caffe's Parameter begins with zeros",
    **dict.fromkeys([("Pooling", i) for i in (9, 10)], "Caffe's border is the same on opposite sides"),
    ("Pooling", 11): "Caffe's mean counts the border",
    **dict.fromkeys([("SoftmaxWithLoss", i) for i in (6, 8, 9)], "Caffe's loss counts all classes alike"),
    ("SoftmaxWithLoss", 7): "Caffe's labels are classes",
    ("Softplus", 1): "Softplus with another beta than 1 has no equal in Caffe",
}
# Types that Caffe lacks, and those that stand for them.
LOWERED = {"SiLU": ["Swish"], "Softplus": ["BNLL"], "LogSoftmax": ["Softmax", "Log"]}
CAFFES = {
    *("AbsVal", "Accuracy", "ArgMax", "BNLL", "BatchNorm", "BatchReindex", "Bias", "Clip", "Concat"),
    *("ContrastiveLoss", "Convolution", "Crop", "Data", "Deconvolution", "Dropout", "DummyData", "ELU"),
    *("Eltwise", "Embed", "EuclideanLoss", "Exp", "Filter", "Flatten", "HDF5Data", "HDF5Output", "HingeLoss"),
    *("Im2col", "ImageData", "InfogainLoss", "InnerProduct", "Input", "LRN", "LSTM", "LSTMUnit", "Log", "MVN"),
    *("MemoryData", "MultinomialLogisticLoss", "PReLU", "Parameter", "Pooling", "Power", "Python", "RNN"),
    *("ReLU", "Reduction", "Reshape", "SPP", "Scale", "Sigmoid", "SigmoidCrossEntropyLoss", "Silence", "Slice"),
    *("Softmax", "SoftmaxWithLoss", "Split", "Swish", "TanH", "Threshold", "Tile", "WindowData"),
}


def test_every_type_has_taken_a_stand():
    """A new layer type is Caffe's, or is lowered, or is refused with a reason in interop/caffe/lowering.py."""
    assert REFUSED | LOWERED.keys() | CAFFES == set(TYPES)
    assert not REFUSED & LOWERED.keys() | REFUSED & CAFFES


def of_example(name, example, in_place=False):
    layers = [{"name": f"in{i}", "type": "Input", "shape": list(shape)} for i, shape in enumerate(example.bottoms)]
    least = TYPES[name].num_tops
    count = example.tops if example.tops is not None else least if isinstance(least, int) else least[0]
    layer = {"name": "y", "type": name, "top": [f"top{i}" for i in range(count)], **example.params}
    if in_place:
        layer["top"][0] = "in0"
    layers.append(layer | ({"bottom": [f"in{i}" for i in range(len(example.bottoms))]} if example.bottoms else {}))
    return {"name": "example", "force_backward": True, "layers": layers}


EXAMPLES = [
    pytest.param(name, i, example, id=f"{name}-{i}")
    for name in sorted(TYPES)
    for i, example in enumerate(TYPES[name].examples)
]


def back(spec, folder):
    """What Caffe's files say, the spec that they are read as, and the text, which protobuf can read."""
    files = to_caffe(spec)
    text = to_text(files.net)
    text_format.Parse(text, classes()["NetParameter"]())
    (folder / "net.prototxt").write_text(text)
    return files, load(folder / "net.prototxt", allow_python=True), text


def run(net, values, seed=3):
    """Outputs, and the gradients of all inputs and parameters, for gradients at the outputs drawn at random."""
    for name, value in values.items():
        net.blobs[name].data[...] = value
    found = {f"out {i}": np.array(output) for i, output in enumerate(net.forward().values())}
    rng = np.random.default_rng(seed)
    diffs = {name: rng.normal(size=net.blobs[name].shape) for name in net.outputs}
    is_learned = any(step.needs_backward for step in net.steps)
    if is_learned:
        net.backward(**diffs)
        found |= {f"d {name}": net.blobs[name].diff.copy() for name in values}
        found |= {f"d {name}[{i}]": b.diff.copy() for name, own in net.params.items() for i, b in enumerate(own)}
    return found


@pytest.mark.parametrize(("name", "number", "example"), EXAMPLES)
def test_an_example_there_and_back(name, number, example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if example.files:
        example.files(tmp_path)
    spec = load(of_example(name, example), allow_python=True)
    if name in REFUSED or (name, number) in EXAMPLES_REFUSED:
        with pytest.raises(SpecError) as caught:
            to_caffe(spec)
        assert EXAMPLES_REFUSED.get((name, number), f"`y`: {name} has no equal in Caffe: ") in str(caught.value)
        return
    files, imported, text = back(spec, tmp_path)
    assert text == to_text(to_caffe(imported).net)
    kinds = [layer.one("type") for layer in files.net.many("layer") if layer.one("type") != "Input"] or ["Input"]
    assert kinds == LOWERED.get(name, [name] + ["Scale"] * len(files.scales))
    nets = [Net(one, phase=example.phase, seed=1, dtype="float64") for one in (spec, imported)]
    compare(*nets, files.scales, example)


def compare(net, other, scales=None, example=None):
    rng = np.random.default_rng(0)
    for layer in net.layers.values():
        for blob in layer.blobs:  # statistics are what statistics can be
            blob.data[...] = rng.uniform(0.5, 2, blob.shape)
    if net.parameters:
        assign(other.params, without_affine(arrays(net.params), scales or {}), "net", "all")
    if example is not None and example.prepare:
        example.prepare(net.layers["y"])
        example.prepare(other.layers["y"])
    values = {}
    for i, name in enumerate(net.inputs):
        make = example.values.get(i) if example is not None else None
        values[name] = make(rng, net.blobs[name].shape) if make else rng.normal(size=net.blobs[name].shape)
    ours, theirs = run(net, values), run(other, values)
    assert len(ours) == len(theirs)
    for (key, one), (_, two) in zip(ours.items(), theirs.items(), strict=True):
        assert np.allclose(one, two, rtol=1e-12, atol=1e-12), key
