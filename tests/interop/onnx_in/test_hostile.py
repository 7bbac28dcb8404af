"""Files that are damaged, lie about sizes or ask for too much: a message, and never much memory."""

import random
import time
from pathlib import Path

import nettrain
import numpy as np
import onnx
import pytest
from helpers.hostile import refused
from helpers.onnx_models import TensorProto, helper, model_of, one, read, written
from nettrain import NettrainError
from nettrain.files import wire
from nettrain.interop.onnx_in import messages

FOLDER = Path(__file__).parent / "fixtures"
node = helper.make_node
SOME = (
    "keras18_cnn", "keras15_lstm", "sklearn_one_vs_rest", "torch_new_mobile", "torch_old13_vgg", "torch_old17_words",
    "torch_new_bilstm", "torch_old9_resnet", "torch_fixed_mixer", "torch_new_autoencoder",
)  # fmt: skip


def f(*shape):
    return np.ones(shape, np.float32)


def reading(model, name="model.onnx", **more):
    path = written(model, name)
    return lambda: read(path, name, **more)


@pytest.mark.parametrize("name", SOME)
def test_damaged_files_give_a_message_or_a_net(name):
    whole = (FOLDER / f"{name}.onnx").read_bytes()
    rng = random.Random(name)
    ends = {"read": 0, "refused": 0}
    for _ in range(60):
        raw = bytearray(whole)
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(raw))
            kind = rng.randrange(4)
            if kind == 0:
                raw[at] = rng.randrange(256)
            elif kind == 1:
                raw[at] ^= 1 << rng.randrange(8)
            elif kind == 2:
                del raw[at : at + rng.randrange(1, 9)]
            else:
                raw[at:at] = bytes(raw[at : at + rng.randrange(1, 9)])
        path = written(bytes(raw))
        try:
            found = read(path, path.name)
            nettrain.Net(found.root.to_python(), "TEST")
            ends["read"] += 1
        except NettrainError:
            ends["refused"] += 1
    assert all(ends.values()), ends


@pytest.mark.parametrize("name", SOME)
def test_files_that_end_early(name):
    whole = (FOLDER / f"{name}.onnx").read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 40)):
        path = written(whole[:size])
        with pytest.raises(NettrainError):
            read(path, path.name)


def test_what_is_no_model():
    refused("is damaged or not an ONNX model", reading(b"layers: []\n"))
    refused("is damaged or not an ONNX model", reading(b""))
    refused("is damaged or not an ONNX model", reading(bytes(range(256)) * 100))
    refused("cannot be read", lambda: read(Path("missing.onnx"), "missing.onnx"))
    refused("cannot be read", lambda: read(Path(), "folder"))


def test_a_tensor_that_says_it_is_larger_than_its_bytes():
    model = one("Gemm", f(4, 3), f(3), shape=("N", 4))
    model.graph.initializer[0].dims[:] = [2**31, 2**31]
    refused("tensor `c0`: its shape [2147483648, 2147483648] needs", reading(model))
    model.graph.initializer[0].dims[:] = [-1, 4]
    refused("tensor `c0`: it has no shape", reading(model))
    model.graph.initializer[0].CopyFrom(onnx.TensorProto(name="c0", dims=[4, 3], data_type=1, float_data=[1, 2]))
    refused("needs 12 values, and it has 2", reading(model))
    model.graph.initializer[0].CopyFrom(onnx.TensorProto(name="c0", dims=[1], data_type=8, string_data=[b"a"]))
    refused("it holds text, not numbers", reading(model))


BOMBS = {
    "one after the other": [
        node("ConstantOfShape", ["row"], ["c"]),
        *(node("Add", [f"z{k}" if k else "x", "c"], [f"z{k + 1}" if k < 99 else "y"]) for k in range(100)),
    ],
    "a first state": [
        node("Expand", ["one", "big"], ["h"]),
        node("Scan", ["h", "x3"], ["s", "y"], num_scan_inputs=1, body=helper.make_graph(
            [node("Add", ["a", "b"], ["c"]), node("Identity", ["c"], ["d"])], "step",
            [helper.make_tensor_value_info(name, 1, None) for name in "ab"],
            [helper.make_tensor_value_info(name, 1, None) for name in "cd"],
        )),
    ],
    "zeros": [node("ConstantOfShape", ["big"], ["c"]), node("Add", ["x", "c"], ["y"])],
    "repeated": [node("Expand", ["one", "big"], ["c"]), node("Mul", ["x", "c"], ["y"])],
    "repeated and negated": [
        node("Expand", ["one", "big"], ["c"]), node("Tile", ["c", "twice"], ["d"]), node("Add", ["x", "d"], ["y"])
    ],
    "range": [node("Range", ["from", "to", "step"], ["c"]), node("Add", ["x", "c"], ["y"])],
    "joined": [
        node("ConstantOfShape", ["big"], ["c"]), node("Concat", ["c", "c"], ["d"], axis=0),
        node("Add", ["x", "d"], ["y"]),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_constants_that_would_fill_the_memory(name):
    arrays = {
        "big": np.array([1 << 20, 1 << 15]),
        "row": np.array([1 << 18]),
        "one": np.ones(1, np.float32),
        "twice": np.array([2, 2]),
        "from": np.array(0),
        "to": np.array(1 << 45),
        "step": np.array(1),
    }
    size = 1 << 18 if name == "one after the other" else 4
    inputs = {"x": ["N", size], "x3": [3, 1 << 20, 4]}
    refused("", reading(model_of(BOMBS[name], inputs, arrays)), most=100_000_000)


def test_a_tensor_without_values_has_a_size_all_the_same():
    model = one("Gemm", f(4, 3), shape=("N", 4))
    model.graph.initializer[0].CopyFrom(onnx.TensorProto(name="c0", data_type=1, dims=[0, 1 << 62]))
    refused("tensor `c0`: it has no shape", reading(model))


def test_thousands_of_nodes_without_a_name_are_told_apart_soon():
    count = 4000
    nodes = [node("Relu", [f"a{k}" if k else "x"], [f"a{k + 1}" if k < count - 1 else "y"]) for k in range(count)]
    started = time.process_time()
    found = reading(model_of(nodes, {"x": ["N", 4]}))()
    assert time.process_time() - started < 10  # by trying every number it takes minutes
    assert len({entry["name"] for entry in found.root.to_python()["layers"]}) == count + 1


def test_integers_are_read_some_at_a_time(monkeypatch):
    monkeypatch.setattr(messages, "_PIECE", 37)
    wanted = [(-1) ** i * (3**i % 2**63) >> i % 7 for i in range(300)]
    assert messages.many_integers(b"".join(map(wire.write_varint, wanted))).tolist() == wanted
    with pytest.raises(wire.WireError, match="more than ten bytes"):
        messages.many_integers(b"\x80" * 40 + b"\1")


def test_functions_that_call_each_other_without_end(monkeypatch):
    monkeypatch.setattr("nettrain.interop.onnx_in.graph.MOST_NODES", 5_000)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)]
    turning = helper.make_function("my", "A", ["a"], ["b"], [node("A", ["a"], ["b"], domain="my")], opsets)
    model = model_of([node("A", ["x"], ["y"], domain="my")], {"x": ["N", 4]})
    model.functions.append(turning)
    refused("calls itself", reading(model))
    doubling = [
        helper.make_function(
            "my", f"F{n}", ["a"], ["b"],
            [node(f"F{n + 1}", ["a"], ["c"], domain="my"), node(f"F{n + 1}", ["c"], ["b"], domain="my")], opsets,
        )
        for n in range(19)
    ]  # fmt: skip
    doubling.append(helper.make_function("my", "F19", ["a"], ["b"], [node("Relu", ["a"], ["b"])], opsets))
    model = model_of([node("F0", ["x"], ["y"], domain="my")], {"x": ["N", 4]})
    model.functions.extend(doubling)
    with pytest.raises(NettrainError, match="more than 5,000"):
        reading(model)()


def external(location, offset=0, length=None):
    model = one("Gemm", f(4, 3), shape=("N", 4))
    tensor = onnx.TensorProto(name="c0", dims=[4, 3], data_type=1, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    model.graph.initializer[0].CopyFrom(tensor)
    return model


def test_values_beside_the_model_are_read():
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    Path("weights.bin").write_bytes(b"1234" + values.tobytes() + b"5")
    found = reading(external("weights.bin", 4, 48))()
    np.testing.assert_array_equal(found.arrays["param/the_gemm/0"], values.T)
    Path("parts").mkdir()
    Path("parts/weights.bin").write_bytes(values.tobytes())
    reading(external("parts/weights.bin"))()


def test_values_outside_the_models_folder_are_not():
    Path("inside").mkdir()
    Path("secret").write_bytes(bytes(48))
    Path("inside/link").symlink_to(Path("secret").resolve())
    for location in ("../secret", str(Path("secret").resolve()), "a/../../secret", "", "C:\\secret"):
        refused("only files in the model's own folder are read", reading(external(location), "inside/m.onnx"))
    refused("leads out of the model's folder", reading(external("link"), "inside/m.onnx"))


def test_values_beside_the_model_that_are_too_few():
    Path("w").write_bytes(bytes(20))
    refused("its values end at byte 48 of `w`, which has 20", reading(external("w")))
    refused("its shape needs 48 bytes, and it names 20", reading(external("w", 0, 20)))
    refused("which cannot be read", reading(external("missing")))
    refused("the place of its values in `w` is no number", reading(external("w", "x")))
    Path("d").mkdir()
    refused("which cannot be read", reading(external("d")))


def test_all_that_cannot_be_read_is_said_at_once():
    nodes = [
        node("Relu", ["x"], ["a"], name="fine"),
        node("NonZero", ["a"], ["b"], name="first"),
        node("TopK", ["b", "k"], ["c", "d"], name="second"),
        node("Attention", ["c"], ["e"], name="third", domain="com.microsoft"),
        node("GRU", ["x3", "W", "R"], ["f"], name="fourth", hidden_size=1, clip=1.0),
        node("Concat", ["e", "f"], ["y"], axis=0),
    ]
    arrays = {"k": np.array([1]), "W": f(1, 3, 4), "R": f(1, 3, 1)}
    with pytest.raises(NettrainError) as error:
        reading(model_of(nodes, {"x": ["N", 4], "x3": [2, "N", 4]}, arrays))()
    said = str(error.value)
    assert "node `first` (NonZero): the shape of its output depends on values" in said
    assert "node `second` (TopK)" in said
    assert "node `third` (com.microsoft.Attention): it is of the domain com.microsoft, of one program alone" in said
    assert "node `fourth` (GRU): it clips what goes into the gates" in said
    assert said.endswith("4 errors.")


REFUSALS = {
    "Pooling has no dilation": one("MaxPool", kernel_shape=[2, 2], dilations=[2, 2]),
    "Pooling takes images, and no volumes": one("MaxPool", shape=("N", 2, 4, 4, 4), kernel_shape=[2, 2, 2]),
    "its output `i` is used, and no layer gives it": one("MaxPool", outputs=("y", "i"), kernel_shape=[2, 2]),
    "export the net in evaluation mode": one("BatchNormalization", f(4), f(4), f(4), f(4), training_mode=1),
    "its kernel is larger than its input": one("Conv", f(2, 4, 9, 9)),
    "does not fit 4 channels in 1 groups": one("Conv", f(2, 3, 2, 2)),
    "it has weights for 5 inputs, and gets 4": one("Gemm", f(5, 3), shape=("N", 4)),
    "does not hold the values of N x 4 x 5 x 6": one("Reshape", np.array([0, 7, 7])),
    "it cuts numbers off to integers": one("Cast", to=7),
    "Interp has no mode cubic": one("Resize", None, np.array([1, 1, 2, 2], np.float32), mode="cubic"),
    "it adds examples": one("Pad", np.array([1, 0, 0, 0, 0, 0, 0, 0])),
    "it takes every 2. value": one("Slice", np.array([0]), np.array([9]), np.array([1]), np.array([2])),
    "it computes something of all examples together": one("ReduceMax", np.array([0]), keepdims=0),
    "there is nothing here that computes it": one("Det"),
    "its direction sideways is none of ONNX's": one("LSTM", f(1, 4, 3), f(1, 4, 1), shape=(2, "N", 3), hidden_size=1,
                                                   direction="sideways"),
    "trees are not trained by gradients": one("TreeEnsembleRegressor", domain="ai.onnx.ml"),
    "its post_transform PROBIT is that of no layer": one("LinearRegressor", domain="ai.onnx.ml", shape=("N", 2),
                                                        coefficients=[1.0, 2.0], targets=1, post_transform="PROBIT"),
}  # fmt: skip


@pytest.mark.parametrize("words", REFUSALS)
def test_what_no_layer_can_do_is_refused_with_the_reason(words):
    refused(words, reading(REFUSALS[words]))


def test_a_model_that_is_too_old():
    refused("is of opset 5; models of opset 7 and newer are read", reading(one("Relu", opset=5)))


def test_outputs_that_do_not_depend_on_inputs():
    model = model_of([node("Constant", [], ["y"], value_float=1.0)], {"x": ["N", 4]})
    refused("output `y`: it does not depend on the net's inputs", reading(model))


def test_an_input_without_a_shape():
    model = one("Relu")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    refused("input `x`: the file does not say what its shape is", reading(model))


def test_names_that_no_terminal_should_see():
    model = one("Relu")
    model.graph.node[0].name = "a\x1b[31m/../../b"
    model.graph.node[0].op_type = "Evil\x1b[2J"
    with pytest.raises(NettrainError) as error:
        reading(model)()
    assert "\x1b" not in str(error.value)
