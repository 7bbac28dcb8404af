"""What nettrain writes as ONNX it reads again: the same numbers, or a refusal that names the node."""

from pathlib import Path

import numpy as np
import pytest
from helpers.onnx_models import fill
from nettrain import Net
from nettrain.interop.onnx_in import read
from nettrain.interop.onnx_out import export, save
from nettrain.net import registry
from nettrain.spec.errors import NettrainError

ROOT = Path(__file__).parents[3]
# One of each kind: circuits without inputs, data sets, shared parameters, sequences, blocks.
CONFIGS = (
    *("caffe/siamese", "lecture/activations", "lecture/add_mul", "lecture/branch", "lecture/sigmoid_gates"),
    *("lecture/squared_norm", "lecture/svm", "lenet", "lstm_copy", "ntm_copy"),
)
# Types of which an example comes back; all others may be refused.
COMES_BACK = {
    *("AbsVal", "BatchNorm", "Bias", "Clip", "Concat", "Convolution", "Deconvolution", "ELU", "Eltwise", "Exp"),
    *("Flatten", "GELU", "GroupNorm", "InnerProduct", "LRN", "LayerNorm", "Log", "LogSoftmax", "MatMul", "Mish"),
    *("PReLU", "Pad", "Permute", "Pooling", "Power", "ReLU", "Reduction", "Reshape", "SPP", "Scale", "SiLU", "Sigmoid"),
    *("Slice", "Softmax", "Softplus", "Swish", "TanH", "Tile", "Maxout", "BNLL", "Dropout", "Split", "ShuffleChannel"),
    *(
        "CircularConvolution",
        "GRU",
        "LSTM",
        "RNN",
        "Recurrent",
        "ArgMax",
        "CosineSimilarity",
        "Embed",
        "Im2col",
        "Interp",
        "LSTMUnit",
        "MVN",
        "Normalize",
        "Upsample",
    ),
}


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_comes_back(data_sets, config):
    short = ["test.min_length=2", "test.max_length=2", "test.batch_size=3"] if config.endswith("_copy") else []
    net = Net(ROOT / "configs" / f"{config}.yaml", phase="TEST", settings=short)
    model = export(net, keep_logits=True)
    save(model, Path("model.onnx"))
    found = read(Path("model.onnx"), "model.onnx")
    again = fill(Net(found.root.to_python(), "TEST"), found)
    for _ in range(2):  # states go on from batch to batch
        net.forward()
        again.forward(**{name: net.blobs[name].data.copy() for name in again.inputs})
        for output, blob in found.outputs.items():
            assert np.isfinite(net.blobs[output].data).all()
            np.testing.assert_allclose(again.blobs[blob].data, net.blobs[output].data, rtol=1e-5, atol=1e-6)


def test_how_examples_were_prepared_stands_in_the_spec(nettrain_cli, data_sets):
    nettrain_cli("convert", ROOT / "configs/lenet.yaml", "--to", "m.onnx")
    said = nettrain_cli("convert", "m.onnx", "--to", "back.yaml").output
    words = "`data` takes prepared examples; a data layer in its place says `transform: {scale: 0.00390625}`"
    assert words in said
    assert Path("back.yaml").read_text().startswith(f"# {words}\n")


def test_what_metadata_says_is_no_yaml():
    net = Net({"layers": [{"name": "x", "type": "Input", "shape": [2, 3]}, {"name": "y", "type": "ReLU"}]}, "TEST")
    model = export(net).proto
    evil = {"x.mean_file": "a\nlayers: []", "x.scale": "[" * 9000, "x.mean": "[1, 2.5]", "x.value": "true"}
    for key, value in evil.items():
        model.metadata_props.add(key=key, value=value)
    Path("model.onnx").write_bytes(model.SerializeToString())
    (words,) = read(Path("model.onnx"), "model.onnx").head
    assert "\n" not in words
    assert "mean_value: [1, 2.5]" in words


def nets_of(name):
    """Each example of a type that ONNX has an equal of, as a net over inputs."""
    cls = registry.types()[name]
    for example in cls.examples:
        inputs = [{"name": f"in{i}", "type": "Input", "shape": list(shape)} for i, shape in enumerate(example.bottoms)]
        least = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
        tops = [f"top{i}" for i in range(least if example.tops is None else example.tops)]
        layer = {"name": "y", "type": name, "top": tops, **example.params}
        layer |= {"bottom": [entry["name"] for entry in inputs]} if inputs else {}
        yield {"layers": [*inputs, layer]}, {f"in{i}": values for i, values in example.values.items()}


def compare(spec, values):
    """Whether an example comes back; with other numbers it is an error."""
    net = Net(spec, "TEST")
    rng = np.random.default_rng(4)
    for step in net.steps:
        for blob in step.layer.blobs:
            blob.data[...] = rng.uniform(0.5, 1.5, blob.shape)
    path = Path("model.onnx")
    try:
        save(export(net), path)
        found = read(path, path.name, batch=net.blobs["in0"].shape[0])
        again = Net(found.root.to_python(), "TEST")
    except NettrainError:
        return False
    given = {name: array for name, array in values.items() if not callable(array)}
    if "Embed" in str(spec):
        given |= {"in0": rng.integers(0, 4, net.blobs["in0"].shape)}
    x = {name: given.get(name, rng.uniform(0.1, 1, net.blobs[name].shape)) for name in net.inputs}
    fill(again, found)
    if set(again.inputs) != set(net.inputs):
        return False
    for _ in range(2):  # states go on from batch to batch
        net.forward(**x)
        again.forward(**x)
        for output, blob in found.outputs.items():
            np.testing.assert_allclose(again.blobs[blob].data, net.blobs[output].data, rtol=1e-4, atol=1e-5)
    return True


@pytest.mark.parametrize("name", sorted(registry.types().keys() - {"Python"}))
def test_a_type_comes_back_or_is_refused(name):
    came = [
        compare(*net) for net in nets_of(name) if net[0]["layers"][0]["type"] == "Input" and len(net[0]["layers"]) > 1
    ]
    assert any(came) == (name in COMES_BACK)
