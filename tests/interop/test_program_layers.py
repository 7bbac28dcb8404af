"""Of every layer type, on its examples: its lines of numpy compute what the layer does."""

import numpy as np
import pytest
from nettrain.interop.program.code import Code
from nettrain.interop.program.functions import FUNCTIONS
from nettrain.interop.program.writers import WRITERS, make
from nettrain.net.net import Net
from nettrain.spec.errors import NettrainError

EXAMPLES = [
    pytest.param(cls, example, id=f"{cls.__name__}-{i}") for cls in WRITERS for i, example in enumerate(cls.examples)
]


def values_of(example, rng):
    for i, shape in enumerate(example.bottoms):
        yield example.values.get(i, lambda rng, shape: rng.standard_normal(shape))(rng, shape)


def net_of(cls, example):
    count = example.tops or (len(example.bottoms) if cls.same_number_of_tops else np.atleast_1d(cls.num_tops)[0])
    inputs = [{"name": f"x{i}", "type": "Input", "shape": list(s)} for i, s in enumerate(example.bottoms)]
    layer = {"name": "layer", "type": cls.__name__, "bottom": [one["name"] for one in inputs], **example.params}
    layer["top"] = [f"y{i}" for i in range(count)]
    spec = {
        "force_backward": True,
        "layers": [*inputs, {k: v for k, v in layer.items() if v or k not in ("bottom", "top")}],
    }
    return Net(spec, example.phase, dtype="float64")


@pytest.mark.parametrize(("cls", "example"), EXAMPLES)
def test_the_lines_compute_what_the_layer_does(cls, example, request):
    rng = np.random.default_rng(5)
    net = net_of(cls, example)
    (step,) = [step for step in net.steps if not step.layer.is_input]
    if example.prepare:
        example.prepare(step.layer)
    for blob, learned in zip(step.layer.blobs, step.layer.param_propagate_down, strict=True):
        if learned:
            blob.data[...] += 0.1 * rng.standard_normal(blob.shape)
    step.loss_weights = [0.0] * len(step.top)
    code = Code(net, net.steps)
    code.steps = [step]
    why = REFUSED.get(request.node.callspec.id)
    if why:
        with pytest.raises(
            NettrainError, match=f"{cls.__name__} `layer` cannot be written as a numpy program: .*{why}"
        ):
            make(code)
        return
    (writer,) = make(code)
    inputs = dict(zip(writer.x, values_of(example, rng), strict=True))
    begun = {name: owner.blob.data.copy() for name, owner in code.owners()}
    net.clear_param_diffs()
    for blob, value in zip(step.bottom, inputs.values(), strict=True):
        blob.data[...] = value
    net.begin(0)
    step.layer.Forward_cpu(step.bottom, step.top)
    upstream = {f"d_{name}": rng.standard_normal(blob.shape) for name, blob in zip(writer.y, step.top, strict=True)}
    program = {"iteration": 0} | {name: np.array(value) for name, value in inputs.items()} | upstream | begun
    code.write_forward([writer])
    code.given.update(step.top_keys)
    writer.backward()
    text = "\n".join(
        ["import math", "import numpy as np", *FUNCTIONS.values(), *code.before, *code.drawn, *code.lines]
    ).replace("{seed}", "1701")
    with np.errstate(all="ignore"):
        exec(text, program)

    for blob, value in zip(step.top, upstream.values(), strict=True):
        blob.diff[...] = value
    for name, blob in zip(writer.y, step.top, strict=True):
        np.testing.assert_allclose(program[name], blob.data, rtol=1e-11, atol=1e-12)
    for name, owner in code.owners():  # running statistics
        np.testing.assert_allclose(program[name], owner.blob.data, rtol=1e-11)
    if step.layer.no_gradient == "all":
        return
    step.layer.Backward_cpu(step.top, step.propagate_down, step.bottom)
    for i, (name, blob) in enumerate(zip(writer.x, step.bottom, strict=True)):
        if step.propagate_down[i]:
            np.testing.assert_allclose(program[f"d_{name}"], blob.diff, rtol=1e-10, atol=1e-12)
            assert np.shape(program[f"d_{name}"]) == blob.shape
    for name, owner in code.learned.items():
        np.testing.assert_allclose(program[f"d_{name}"], owner.blob.diff, rtol=1e-10, atol=1e-12)
        assert np.shape(program[f"d_{name}"]) == owner.blob.shape
    assert len(code.learned) == step.fixed.count(False)


REFUSED = {  # cases of a type that is covered
    "Accuracy-1": "the share of each class",
    "BinaryAccuracy-1": "ignore_label",
    "Deconvolution-4": "two spatial axes",
    "Deconvolution-6": "two spatial axes",
    "Im2col-2": "two spatial axes",
    "Im2col-3": "two spatial axes",
    "Convolution-4": "two spatial axes",
    "Convolution-5": "two spatial axes",
    "Pooling-12": "STOCHASTIC",
    "Pooling-13": "STOCHASTIC",
}
