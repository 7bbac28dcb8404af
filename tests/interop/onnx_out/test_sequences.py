"""Recurrent layers as ONNX: sequences that begin anywhere, or with the batch; states that go from batch to batch."""

import numpy as np
import onnxruntime
import pytest
from helpers.user_code import with_doubled
from nettrain import Net
from nettrain.interop.onnx_out import export, verify
from nettrain.spec.errors import SpecError


def part(name, type, bottom=None, **keys):
    return {"name": name, "type": type} | ({"bottom": bottom} if bottom else {}) | keys


def inputs(**shapes):
    return [part(name, "Input", shape=list(shape)) for name, shape in shapes.items()]


def net_of(*layers):
    net = Net({"layers": list(layers)}, phase="TEST")
    rng = np.random.default_rng(1)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.normal(0, 0.5, blob.shape)
    return net


def session_of(model):
    return onnxruntime.InferenceSession(model.proto.SerializeToString(), providers=["CPUExecutionProvider"])


def names(values):
    return [value.name for value in values]


def kinds(model):
    return [node.op_type for node in model.proto.graph.node]


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_with_cont_as_an_input_it_is_a_scan_that_carries_its_states(kind, static):
    shapes = {"x": (4, 2, 3, 2), "cont": (4, 2)} | ({"s": (2, 5)} if static else {})
    net = net_of(*inputs(**shapes), part("y", kind, list(shapes), num_output=3))
    model = export(net)
    assert kinds(model).count("Scan") == 1
    assert kind not in kinds(model)
    states = ["h", "c"] if kind == "LSTM" else ["h"]
    assert names(model.inputs) == [*shapes, *(f"y.{name}_0" for name in states)]
    assert names(model.outputs) == ["y", *(f"y.{name}_T" for name in states)]
    assert verify(model, net).difference < 1e-6

    # by hand: three batches of other lengths, the states of one given to the next
    rng, run = np.random.default_rng(2), session_of(model)
    carried = {f"y.{name}_0": np.zeros((1, 2, 3), np.float32) for name in states}
    for length in (5, 1, 3):
        given = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        given["x"] = rng.normal(size=(length, 2, 3, 2)).astype(np.float32)
        given["cont"] = rng.integers(0, 2, (length, 2)).astype(np.float32)
        wanted = net.forward(**given)["y"]
        y, *last = run.run(names(model.outputs), given | carried)
        np.testing.assert_allclose(y, wanted, rtol=1e-4, atol=1e-6)
        carried = dict(zip(carried, last, strict=True))


@pytest.mark.parametrize("static", [False, True])
@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_sequences_that_begin_with_the_batch_are_onnxs_own_operator(kind, static):
    shapes = {"x": (4, 2, 3), "cont": (4, 2)} | ({"s": (2, 5)} if static else {})
    net = net_of(*inputs(**shapes), part("y", kind, list(shapes), num_output=3))
    model = export(net, cont="start")
    assert kind in kinds(model)
    assert "Scan" not in kinds(model)
    assert names(model.inputs) == [name for name in shapes if name != "cont"]
    assert names(model.outputs) == ["y"]
    assert model.inputs[0].shape == ("T", "N", 3)
    assert any("`cont` is left out" in note for note in model.notes)
    assert verify(model, net).difference < 1e-6
    rng = np.random.default_rng(3)
    given = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items() if name != "cont"}
    cont = np.ones((4, 2))
    cont[0] = 0
    (y,) = session_of(model).run(None, given)
    np.testing.assert_allclose(y, net.forward(**given, cont=cont)["y"], rtol=1e-4, atol=1e-6)


def test_a_cont_that_is_computed_stays():
    net = net_of(
        *inputs(x=(4, 2, 3), c=(4, 2)),
        part("cont", "Threshold", "c"),
        part("y", "LSTM", ["x", "cont"], num_output=3),
    )
    model = export(net, cont="start")
    assert "Scan" in kinds(model)
    assert verify(model, net).difference < 1e-6


def test_words_by_number_before_an_lstm():
    net = net_of(
        *inputs(words=(4, 2), cont=(4, 2)),
        part("vectors", "Embed", "words", num_output=3, input_dim=7),
        part("y", "LSTM", ["vectors", "cont"], num_output=3),
        part("scores", "InnerProduct", "y", num_output=5, axis=2),
        part("p", "Softmax", axis=2),
    )
    model = export(net, cont="start")
    assert model.inputs[0].shape == ("T", "N")
    assert model.outputs[0].shape == ("T", "N", 5)
    assert verify(model, net).difference < 1e-6


CELL = [
    {"name": "both", "type": "Concat", "bottom": ["x", "h"]},
    {"name": "sum", "type": "InnerProduct", "num_output": 2},
    {"name": "sum2", "type": "ReLU", "bottom": "sum", "top": "sum"},
    {"name": "new", "type": "TanH", "bottom": "sum"},
]


def recurrent(bottoms, **keys):
    state = {"name": "h", "next": "new", "shape": [2]} | keys.pop("state", {})
    given = {"cell": CELL, "states": [state], "outputs": ["new"]} | keys
    return part("y", "Recurrent", bottoms, **given)


@pytest.mark.parametrize("cont", ["input", "start"])
@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("initial", [0.5, {"type": "gaussian", "std": 1}])
def test_a_cell_of_ones_own(initial, carry, cont):
    net = net_of(*inputs(x=(4, 2, 3), cont=(4, 2)), recurrent(["x", "cont"], carry=carry, state={"initial": initial}))
    model = export(net, cont=cont)
    wanted = ["x", "cont"] if cont == "input" else ["x"]
    assert names(model.inputs) == [*wanted, *(["y.h_0"] if carry and cont == "input" else [])]
    assert verify(model, net).difference < 1e-6


def test_a_cell_that_carries_and_gives_its_state():
    net = net_of(*inputs(x=(4, 2, 3)), recurrent("x", cont=False, carry=True, final_states=True, top=["y", "last"]))
    model = export(net)
    assert names(model.outputs) == ["y", "last", "y.h_T"]
    assert verify(model, net).difference < 1e-6


def test_a_cell_with_a_layer_that_has_no_form(tmp_path):
    layers = """\
  - {name: x, type: Input, shape: [4, 2, 3]}
  - name: y
    type: Recurrent
    cont: false
    states: [{name: h, next: new, shape: 3}]
    outputs: new
    cell:
      - {name: sum, type: Eltwise, bottom: [x, h]}
      - {name: new, type: Doubled}
"""
    net = Net(with_doubled(tmp_path, layers), phase="TEST", allow_python=True)
    with pytest.raises(SpecError) as caught:
        export(net)
    (problem,) = caught.value.problems
    assert problem.place.line == 12
    assert "code of the user's own" in problem.message
