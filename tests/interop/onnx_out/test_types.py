"""Every layer type as ONNX: each of its examples computes in onnxruntime what it computes here."""

import numpy as np
import pytest
from nettrain import Net
from nettrain.interop.onnx_out import export, verify
from nettrain.interop.onnx_out.exporting import EMITTERS
from nettrain.net import registry
from nettrain.spec.errors import SpecError

# Types that become inputs of the graph.
INPUTS = {"CopyTask", "Data", "DummyData", "HDF5Data", "ImageData", "Input", "MemoryData", "WindowData"}
# Types that are left out, with what they read becoming an output: losses, scores, and what only reads.
LEFT_OUT = {
    *("Accuracy", "BinaryAccuracy", "ContrastiveLoss", "EuclideanLoss", "HDF5Output", "HingeLoss", "L1Loss"),
    *("MulticlassSVMLoss", "MultinomialLogisticLoss", "SigmoidCrossEntropyLoss", "Silence", "SmoothL1Loss"),
}
# Types that are refused, and why.
REFUSED = {"DetectionOutput": "choosing among overlapping boxes", "Python": "code of the user's"}
# Losses that are left out, and also written where they have a second top.
BOTH = {"InfogainLoss", "SoftmaxWithLoss"}

TYPES = registry.types()
TOLERANCE = 1e-6
LOOSER = {
    "GroupNorm": 5e-6,
    "LayerNorm": 5e-6,
    "MVN": 5e-6,
    "BatchNorm": 5e-6,
    "Softplus": 2e-6,
    "Log": 2e-6,
    "Reduction": 1e-5,
}
BY_ONEDNN = {"LogSoftmax": 2e-6}  # its own logarithm: 1.3e-6 from onnxruntime, where the formula is within 1e-6


def test_every_type_has_taken_a_stand():
    """A new layer type has an emitter in interop/onnx_out, or is named above with what becomes of it."""
    assert INPUTS | LEFT_OUT | REFUSED.keys() | set(EMITTERS) == set(TYPES)
    assert not set(EMITTERS) & (INPUTS | LEFT_OUT | REFUSED.keys())
    assert set(EMITTERS) >= BOTH


def examples(names):
    return [
        pytest.param(name, example, id=f"{name}-{i}")
        for name in sorted(names)
        for i, example in enumerate(TYPES[name].examples)
    ]


def randomize(net):
    """No parameter is zero or one by its filler; statistics stay what statistics can be."""
    rng = np.random.default_rng(5)
    for step in net.steps:
        for blob, learned in zip(step.layer.blobs, step.layer.param_propagate_down, strict=True):
            shape = blob.shape
            blob.data[...] = rng.normal(0, 0.5, shape) if learned else rng.uniform(0.5, 2, shape)


OF_ONE_BATCH = {"BatchReindex", "Filter", "ROIPooling"}  # the values of their examples fit one batch


def of_example(name, example, before=()):
    """A net of the layer over inputs, of which those at ``before`` are computed."""
    layers = []
    for i, shape in enumerate(example.bottoms):
        layers.append({"name": f"in{i}", "type": "Input", "shape": list(shape)})
        if i in before:
            layers.append({"name": f"x{i}", "type": "Power", "power": 1, "scale": 0.75, "bottom": f"in{i}"})
    bottoms = [f"x{i}" if i in before else f"in{i}" for i in range(len(example.bottoms))]
    least = TYPES[name].num_tops
    count = example.tops if example.tops is not None else least if isinstance(least, int) else least[0]
    layer = {"name": "y", "type": name, "top": [f"top{i}" for i in range(count)], **example.params}
    layers.append(layer | ({"bottom": bottoms} if bottoms else {}))
    return {"layers": layers}


def values_of(example):
    return {f"in{i}": values for i, values in example.values.items()}


@pytest.mark.parametrize(("name", "example"), examples(set(EMITTERS) - BOTH - {"Parameter"}))
def test_an_example(name, example):
    net = Net(of_example(name, example), phase="TEST", seed=3)
    randomize(net)
    if example.prepare:
        example.prepare(net.layers["y"])
    model = export(net)
    assert [value.name for value in model.outputs if value.state is None] == list(dict.fromkeys(net.outputs))
    own = example.bottoms[0][TYPES[name].batch_axis] if example.bottoms[0] else 1
    for batches, values in (([own], values_of(example)), ((1, 3), {} if name in OF_ONE_BATCH else values_of(example))):
        found = verify(model, net, batches, values)
        looser = LOOSER | (BY_ONEDNN if net.computed_by == "onednn" else {})
        assert found.difference < looser.get(name, TOLERANCE)


@pytest.mark.parametrize(("name", "example"), examples(["Parameter"]))
def test_a_parameter_is_an_initializer(name, example):
    net = Net(of_example(name, example), phase="TEST")
    randomize(net)
    model = export(net)
    assert model.inputs == ()
    assert [one.name for one in model.proto.graph.initializer] == ["y.weight"]
    assert verify(model, net).difference == 0


# which of the others may take any batch, though their examples are of one
FREE = {
    *("AbsVal", "ArgMax", "BNLL", "BatchNorm", "Bias", "Clip", "Convolution", "Deconvolution", "Dropout", "ELU"),
    *("Embed", "Exp", "Filter", "GELU", "GRU", "GroupNorm", "InnerProduct", "LRN", "LSTM", "LSTMUnit", "LayerNorm"),
    *("Log", "LogSoftmax", "MVN", "Maxout", "Mish", "PReLU", "Pooling", "Power", "RNN", "ReLU", "Recurrent", "SPP"),
    *("Scale", "SiLU", "Sigmoid", "Softmax", "Softplus", "Split", "Swish", "TanH", "Threshold", "Im2col"),
    *("CircularConvolution", "CosineSimilarity", "Eltwise", "Concat", "Tile", "Reduction", "Flatten", "MatMul"),
}


@pytest.mark.parametrize("name", sorted(FREE))
def test_the_batch_is_free(name):
    model = export(Net(of_example(name, TYPES[name].examples[0]), phase="TEST"))
    assert any("N" in value.shape for value in model.inputs)
    assert not any("fixed" in note for note in model.notes)


@pytest.mark.parametrize(("name", "example"), examples(LEFT_OUT - {"Silence", "HDF5Output"}))
def test_a_loss_or_score_is_left_out(name, example):
    net = Net(of_example(name, example, before=[0]), phase="TEST")
    model = export(net)
    (first, *_) = model.outputs
    assert first.name == ("prob" if name == "SigmoidCrossEntropyLoss" else "x0")
    assert [value.name for value in model.inputs] == ["in0"]
    assert verify(model, net, values={"in0": lambda rng, shape: rng.random(shape)}).difference < TOLERANCE


@pytest.mark.parametrize(("name", "example"), examples(BOTH))
def test_a_loss_leaves_its_softmax(name, example):
    net = Net(of_example(name, example, before=[0]), phase="TEST")
    axis = example.params.get("axis", 1)
    for keep_logits in (False, True):
        model = export(net, keep_logits=keep_logits)
        (output,) = model.outputs
        (value,) = model.inputs
        x = np.random.default_rng(0).normal(0, 3, net.blobs["in0"].shape).astype(np.float32)
        (y,) = run(model, {value.name: x})
        scores = 0.75 * x.astype(np.float64)
        powers = np.exp(scores)
        wanted = scores if keep_logits else powers / powers.sum(axis=axis, keepdims=True)
        np.testing.assert_allclose(y, wanted, rtol=1e-5)
        assert output.name == ("x0" if keep_logits else "top1" if example.tops == 2 else "prob")
        assert verify(model, net, values=values_of(example)).difference < TOLERANCE


def run(model, given):
    import onnxruntime

    session = onnxruntime.InferenceSession(model.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, given)


@pytest.mark.parametrize(("name", "example"), examples(INPUTS))
def test_data_becomes_an_input(name, example, workdir):
    if example.files:
        example.files(workdir)
    spec = of_example(name, example)
    spec["layers"].append({"name": "z", "type": "AbsVal", "bottom": "top0"})
    net = Net(spec, phase="TEST")
    model = export(net)
    (value,) = model.inputs  # the labels are read by nobody
    assert value.name == "top0"
    assert value.shape[:1] == (("T",) if name == "CopyTask" else ("N",))
    assert verify(model, net).difference == 0


def test_what_only_reads_vanishes(workdir):
    x = {"name": "x", "type": "Input", "shape": [2, 3]}
    layers = [x, {"name": "a", "type": "ReLU"}, {"name": "b", "type": "TanH"}]
    quiet = {"name": "s", "type": "Silence", "bottom": "b"}
    model = export(Net({"layers": [*layers, {"name": "c", "type": "Sigmoid", "bottom": "a"}, quiet]}, phase="TEST"))
    assert [value.name for value in model.outputs] == ["c"]
    writer = {"name": "w", "type": "HDF5Output", "bottom": ["b", "a"], "file_name": "out.h5"}
    model = export(Net({"layers": [*layers, writer]}, phase="TEST"))
    assert [value.name for value in model.outputs] == ["b"]
    assert any("HDF5Output `w`" in note for note in model.notes)


def test_choosing_boxes_is_refused():
    for example in TYPES["DetectionOutput"].examples:
        with pytest.raises(SpecError, match=f"DetectionOutput `y`: {REFUSED['DetectionOutput']}"):
            export(Net(of_example("DetectionOutput", example), phase="TEST"))


def test_code_of_the_users_is_refused(workdir):
    (example,) = TYPES["Python"].examples
    example.files(workdir)
    spec = of_example("Python", example)
    spec["layers"].append({"name": "again", "type": "Python", "bottom": "top0", **example.params})
    with pytest.raises(SpecError) as caught:
        export(Net(spec, phase="TEST", allow_python=True))
    assert len(caught.value.problems) == 2
    assert "Python `y`" in str(caught.value)
    assert "Python `again`" in str(caught.value)
    assert REFUSED["Python"] in str(caught.value)
