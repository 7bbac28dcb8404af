"""Nets as graphs: names, versions in place, branches, shared parameters, batches that are fixed, what is left out."""

import json
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.user_code import with_doubled
from nettrain import Net
from nettrain.files.extras import MissingExtraError
from nettrain.interop.onnx_out import export, save, verify
from nettrain.spec.errors import NettrainError, SpecError


def net_of(*layers, phase="TEST", **options):
    return Net({"layers": list(layers)}, phase=phase, **options)


def part(name, type, bottom=None, **keys):
    return {"name": name, "type": type} | ({"bottom": bottom} if bottom else {}) | keys


def inputs(*shape, name="x"):
    return part(name, "Input", shape=list(shape))


def run(model, **given):
    session = onnxruntime.InferenceSession(model.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return dict(zip([value.name for value in model.outputs], session.run(None, given), strict=True))


def nodes(model):
    return [(node.name, list(node.input), list(node.output)) for node in model.proto.graph.node]


def test_the_last_version_in_place_has_the_blobs_name():
    net = net_of(
        inputs(2, 3),
        part("ip", "InnerProduct", num_output=3, bias_term=False),
        part("a", "TanH", "ip", top="ip"),
        part("b", "Power", "ip", top="ip", scale=2),
        part("drop", "Dropout", "ip", top="ip"),
    )
    model = export(net)
    assert nodes(model)[:-1] == [("ip", ["x", "ip.weight"], ["ip__0"]), ("a", ["ip__0"], ["ip__1"])]
    assert nodes(model)[-1][2] == ["ip"]
    assert verify(model, net).difference < 1e-6


def test_an_input_keeps_its_name_when_a_layer_works_in_place_on_it():
    net = net_of(inputs(2, 3), part("a", "TanH", "x", top="x"), part("b", "Sigmoid", "x"))
    model = export(net)
    assert nodes(model) == [("a", ["x"], ["x__1"]), ("b", ["x__1"], ["b"])]
    values = np.float32([[1, 2, 3]])
    np.testing.assert_allclose(run(model, x=values)["b"], 1 / (1 + np.exp(-np.tanh(values))), rtol=1e-6)


def test_an_output_that_is_an_input_in_place():
    net = net_of(inputs(2, 3), part("a", "TanH", "x", top="x"))
    model = export(net)
    assert [value.name for value in model.outputs] == ["x__1"]
    assert verify(model, net).difference < 1e-6


def test_branches_and_copies():
    net = net_of(
        inputs(2, 4),
        part("s", "Split", "x", top=["s1", "s2"]),
        part("a", "ReLU", "s1"),
        part("d", "Dropout", "s2"),
        part("b", "Eltwise", ["a", "d"]),
        part("c", "Concat", ["b", "s1"]),
        part("e", "Slice", "c", top=["e1", "e2"], slice_point=3),
        part("f", "Dropout", "e1"),
    )
    model = export(net)
    assert [value.name for value in model.outputs] == ["e2", "f"]
    assert verify(model, net).difference < 1e-6
    x = np.float32([[1, -2, 3, -4]])
    found = run(model, x=x)
    np.testing.assert_array_equal(found["f"], [[2, -2, 6]])
    np.testing.assert_array_equal(found["e2"], [[-4, 1, -2, 3, -4]])


def test_shared_parameters_are_one_initializer():
    twice = {"param": [{"name": "w"}, {"name": "b"}], "num_output": 3, "bias_filler": 1}
    net = net_of(inputs(2, 3), part("one", "InnerProduct", "x", **twice), part("two", "InnerProduct", "one", **twice))
    model = export(net)
    assert [one.name for one in model.proto.graph.initializer] == ["one.weight", "one.bias"]
    assert verify(model, net).difference < 1e-6


def test_names_that_meet():
    """A blob is called as a helper node would be, another as a parameter: blobs keep their names."""
    net = net_of(
        inputs(2, 3, 2),
        part("ip/Flatten", "ReLU", "x"),
        part("ip.weight", "TanH", "x"),
        part("ip", "InnerProduct", "ip/Flatten", num_output=2),
        part("end", "Flatten", "ip.weight"),
    )
    model = export(net)
    assert {value.name for value in model.outputs} == {"ip", "end"}
    made = [name for _, _, outputs in nodes(model) for name in outputs]
    assert {"ip/Flatten", "ip.weight", "ip/Flatten_2"} <= set(made)
    assert verify(model, net).difference < 1e-6


FIXED = {
    "shape with a fixed first axis": (inputs(4, 6), part("y", "Reshape", shape=[4, 2, 3])),
    "batch as channels": (inputs(4, 6), part("y", "InnerProduct", axis=0, num_output=2)),
    "batch in equal parts": (inputs(4, 6), part("y", "Slice", axis=0, top=["a", "b"])),
    "batch as classes": (inputs(4, 6), part("y", "ArgMax", axis=0)),
}


@pytest.mark.parametrize("name", FIXED)
def test_a_batch_that_a_layer_fixes(name):
    net = net_of(*FIXED[name])
    model = export(net)
    assert model.inputs[0].shape == (4, 6)
    (note,) = (note for note in model.notes if "the batch is fixed" in note)
    assert "`y`" in note
    assert note.startswith("the batch is fixed: ")
    found = verify(model, net)
    assert found.batches == (4,)
    assert found.difference < 1e-6


def test_a_batch_that_is_joined_and_cut_is_free():
    net = net_of(
        inputs(4, 6),
        part("more", "Input", shape=[2, 6]),
        part("both", "Concat", ["x", "more"], axis=0),
        part("cut", "Slice", "both", axis=0, slice_point=1, top=["first", "rest"]),
        part("flat", "Flatten", "rest", axis=0),
    )
    model = export(net)
    shapes = {value.name: value.shape for value in (*model.inputs, *model.outputs)}
    assert shapes == {"x": ("N", 6), "more": ("M", 6), "first": (1, 6), "flat": ("6*(N+M)-6",)}
    assert verify(model, net, [1, 3, 8]).difference == 0


def test_what_follows_a_filter_has_a_size_of_its_own():
    net = net_of(
        inputs(4, 3),
        inputs(4, name="s"),
        part("kept", "Filter", ["x", "s"]),
        part("y", "InnerProduct", num_output=2),
    )
    model = export(net)
    assert {value.name: value.shape for value in model.outputs} == {"y": ("K", 2)}
    x = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    y = run(model, x=x, s=np.float32([0, 1, 0, 0, -2]))["y"]
    np.testing.assert_allclose(y, net.forward(x=x, s=[0, 1, 0, 0, -2])["y"], rtol=1e-5)
    assert y.shape == (2, 2)


def test_examples_that_are_not_of_the_batch_have_a_size_of_their_own():
    net = net_of(inputs(3, 2), inputs(5, name="which"), part("y", "BatchReindex", ["x", "which"]))
    model = export(net)
    assert [value.shape for value in (*model.inputs, *model.outputs)] == [("N", 2), ("M",), ("M", 2)]
    assert verify(model, net).difference == 0


def test_ties_of_arg_max_are_the_larger_index():
    net = net_of(
        inputs(2, 4),
        part("one", "ArgMax", "x", axis=1),
        part("three", "ArgMax", "x", top_k=3, out_max_val=True),
    )
    x = np.float32([[1, 3, 3, 0], [2, 2, 2, 2]])
    found, wanted = run(export(net), x=x), net.forward(x=x)
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name], values)
    np.testing.assert_array_equal(found["one"], [[2], [3]])


# What is left out


def test_a_loss_that_has_weights_of_others_beside_it():
    net = net_of(
        inputs(2, 3),
        part("t", "Input", shape=[2, 2]),
        part("y", "InnerProduct", "x", num_output=2),
        part("size", "Reduction", "y", operation="SUMSQ", loss_weight=0.1),
        part("loss", "EuclideanLoss", ["y", "t"]),
        part("twice", "Power", "loss", scale=2),
    )
    model = export(net)
    assert [value.name for value in model.outputs] == ["y"]
    assert [value.name for value in model.inputs] == ["x"]
    (note,) = model.notes
    assert note == "left out, for training and tests only: Reduction `size`, EuclideanLoss `loss`, Power `twice`"


def test_several_losses_name_their_probabilities_after_the_scores():
    ip = {"type": "InnerProduct", "num_output": 3}
    net = net_of(
        inputs(2, 3),
        part("label", "Input", shape=[2]),
        part("a", bottom="x", **ip),
        part("b", bottom="x", **ip),
        part("la", "SoftmaxWithLoss", ["a", "label"]),
        part("lb", "SoftmaxWithLoss", ["b", "label"]),
        part("again", "SoftmaxWithLoss", ["b", "label"]),
    )
    assert [value.name for value in export(net).outputs] == ["a_prob", "b_prob"]
    assert [value.name for value in export(net, keep_logits=True).outputs] == ["a", "b"]


def test_a_softmax_that_is_there_is_taken():
    net = net_of(
        inputs(2, 3),
        part("label", "Input", shape=[2]),
        part("scores", "InnerProduct", "x", num_output=3),
        part("p", "Softmax", "scores"),
        part("loss", "SoftmaxWithLoss", ["scores", "label"]),
        part("right", "Accuracy", ["p", "label"]),
    )
    model = export(net)
    assert [(value.name, value.shape) for value in model.outputs] == [("p", ("N", 3))]


CODE = """
class Ones:
    def reshape(self, bottom, top):
        top[0].reshape(2, 3)

    def forward(self, bottom, top):
        top[0].data[...] = 1


class Cost:
    def reshape(self, bottom, top):
        top[0].reshape()

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data.sum()
"""


def test_code_of_the_users_that_brings_data_or_is_a_loss_need_not_be_written(workdir):
    (workdir / "user_layers.py").write_text(CODE)
    net = net_of(
        part("x", "Python", module="user_layers", layer="Ones"),
        part("y", "ReLU", "x"),
        part("cost", "Python", "y", module="user_layers", layer="Cost", loss_weight=1),
        allow_python=True,
    )
    model = export(net)
    assert ([value.name for value in model.inputs], [value.name for value in model.outputs]) == (["x"], ["y"])
    assert model.notes == ["left out, for training and tests only: Python `cost`"]
    assert verify(model, net).difference == 0


def test_a_net_of_which_nothing_is_left():
    net = net_of(inputs(2, 3), part("t", "Input", shape=[2, 3]), part("loss", "EuclideanLoss", ["x", "t"]))
    with pytest.raises(NettrainError, match="nothing of this net can serve"):
        export(net)


def test_preprocessing_is_kept(workdir):
    images = np.zeros((4, 3, 6, 6), np.float32)
    np.savez("images.npz", data=images, label=np.arange(4) % 2)
    source = {"train": "images.npz", "test": "images.npz"}
    transform = {"mean_value": [104, 117, 123], "scale": 0.5, "crop_size": 4}
    net = net_of(
        part("d", "Data", top=["data", "label"], source=source, batch_size=2, transform=transform),
        part("y", "InnerProduct", "data", num_output=2),
        part("loss", "SoftmaxWithLoss", ["y", "label"]),
    )
    model = export(net)
    said = {one.key: json.loads(one.value) for one in model.proto.metadata_props}
    assert said == {"data.mean": [104, 117, 123], "data.scale": 0.5, "data.crop_size": 4, "classes": 2}
    (note,) = (note for note in model.notes if note.startswith("`data` takes"))
    assert "the centre of 4 x 4 pixels, (value - the mean of its channel in [104, 117, 123]) * 0.5" in note


def test_preprocessing_that_was_found_in_the_data_is_kept(workdir):
    images = np.random.default_rng(0).integers(0, 255, (4, 3, 6, 6), np.uint8)
    np.savez("images.npz", data=images, label=np.arange(4) % 2)
    keys = {"source": "images.npz", "split": 0, "batch_size": 2, "transform": {"normalize": True, "resize": [4, 5]}}
    net = net_of(
        part("d", "Data", top=["data", "label"], **keys),
        part("y", "InnerProduct", "data", num_output=2),
        part("loss", "SoftmaxWithLoss", ["y", "label"]),
    )
    model = export(net)
    said = {one.key: json.loads(one.value) for one in model.proto.metadata_props}
    assert said["data.mean"] == pytest.approx(images.mean(axis=(0, 2, 3)))
    assert said["data.std"] == pytest.approx(images.std(axis=(0, 2, 3)))
    assert said["data.resize"] == [4, 5]
    (note,) = (note for note in model.notes if note.startswith("`data` takes"))
    assert "images of 4 x 5 pixels, (value - the mean of its channel in [" in note
    assert ") / its deviation in [" in note


def test_constant_data_is_an_input_and_its_value_is_said():
    net = net_of(
        part("x", "Input", shape=[2, 3]),
        part("ones", "DummyData", shape=[2, 3], data_filler=1),
        part("y", "Eltwise", ["x", "ones"]),
    )
    model = export(net)
    assert [value.name for value in model.inputs] == ["x", "ones"]
    assert model.notes == ["`ones` is an input; in the net it is always 1"]


def test_a_softmax_along_another_axis_is_another():
    net = net_of(
        inputs(2, 3, 4),
        part("label", "Input", shape=[2, 4]),
        part("scores", "Convolution", "x", num_output=3, kernel_size=1),
        part("p", "Softmax", "scores", axis=2),
        part("loss", "SoftmaxWithLoss", ["scores", "label"]),
    )
    model = export(net)
    assert [value.name for value in model.outputs] == ["p", "prob"]
    assert verify(model, net).difference < 1e-6


# What goes wrong


def test_all_that_cannot_be_written_is_said_at_once(tmp_path):
    layers = """\
  - {name: x, type: Input, shape: [2, 3]}
  - {name: one, type: Doubled}
  - {name: between, type: ReLU}
  - {name: two, type: Doubled}
"""
    net = Net(with_doubled(tmp_path, layers), phase="TEST", allow_python=True)
    with pytest.raises(SpecError) as caught:
        export(net)
    said = [(problem.place.line, problem.message) for problem in caught.value.problems]
    why = "it is code of the user's own, which ONNX cannot hold"
    assert said == [(5, f"Doubled `one`: {why}"), (7, f"Doubled `two`: {why}")]


def test_a_training_net_is_refused():
    with pytest.raises(NettrainError, match="TEST"):
        export(net_of(inputs(2, 3), part("y", "ReLU"), phase="TRAIN"))


def test_a_wrong_word_for_cont():
    with pytest.raises(NettrainError, match="cont must be input or start, got 'begin'"):
        export(net_of(inputs(2, 3), part("y", "ReLU")), cont="begin")


def test_without_onnx_the_command_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=re.escape('pip install "nettrain[onnx]"')):
        export(net_of(inputs(2, 3), part("y", "ReLU")))


def test_without_onnxruntime_nothing_is_compared(monkeypatch):
    import sys

    net = net_of(inputs(2, 3), part("y", "ReLU"))
    model = export(net)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert verify(model, net) is None


def test_a_wrong_number_is_noticed():
    net = net_of(inputs(2, 3), part("y", "InnerProduct", num_output=2))
    model = export(net)
    net.params["y"][0].data[0, 0] += 0.01
    assert verify(model, net).difference > 1e-4


def test_a_wrong_model_is_noticed():
    net = net_of(inputs(2, 3), part("y", "InnerProduct", num_output=2))
    model = export(net)
    model.proto.graph.node[0].input[1] = "nothing"
    with pytest.raises(NettrainError, match="onnx finds the model wrong"):
        verify(model, net)


def test_the_net_is_left_as_it_was():
    net = net_of(
        inputs(4, 2, 3),
        part("cont", "Input", shape=[4, 2]),
        part("lstm", "LSTM", ["x", "cont"], num_output=3),
    )
    other = Net(net.spec, phase="TEST")
    rng = np.random.default_rng(0)
    x = [rng.normal(size=(4, 2, 3)) for _ in range(2)]
    ones = np.ones((4, 2))
    for one in (net, other):
        one.forward(x=x[0], cont=ones)
    verify(export(net), net)
    assert net.blobs["lstm"].shape == (4, 2, 3)
    np.testing.assert_array_equal(net.blobs["x"].data, x[0].astype(np.float32))
    np.testing.assert_array_equal(net.forward(x=x[1], cont=ones)["lstm"], other.forward(x=x[1], cont=ones)["lstm"])


def test_a_file_is_written_whole_or_not_at_all(workdir):
    net = net_of(inputs(2, 3), part("y", "ReLU"))
    model = export(net)
    save(model, workdir / "net.onnx")
    assert onnx.load(workdir / "net.onnx") == model.proto == export(net).proto
    with pytest.raises(NettrainError, match=r"cannot write .*nowhere/net.onnx: No such file") as caught:
        save(model, workdir / "nowhere" / "net.onnx")
    assert caught.value.exit_code == 1
    assert [path.name for path in workdir.iterdir()] == ["net.onnx"]


def test_more_than_a_file_can_hold_is_refused(monkeypatch):
    net = net_of(inputs(2, 3), part("y", "InnerProduct", num_output=2))
    monkeypatch.setattr("nettrain.interop.onnx_out.exporting.LARGEST", 2**20 + 10)
    with pytest.raises(NettrainError, match="2 GiB at most"):
        export(net)
