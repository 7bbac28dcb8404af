"""Several nodes that belong together, constants that are computed, and the ways exporters write one thing."""

import nettrain
import numpy as np
import onnx
import onnxruntime
import pytest
from helpers.onnx_models import (
    TensorProto,
    fill,
    helper,
    layer,
    model_of,
    one,
    read,
    same_as_onnxruntime,
    types,
    written,
)

R = np.random.default_rng(3)
node = helper.make_node


def f(*shape):
    return R.standard_normal(shape).astype(np.float32)


def i(*numbers):
    return np.array(numbers, np.int64)


def test_a_product_and_a_sum_are_one_layer():
    for order in (["m", "b"], ["b", "m"]):
        nodes = [node("MatMul", ["x", "fc.weight"], ["m"]), node("Add", order, ["y"])]
        found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 5]}, {"fc.weight": f(5, 3), "b": f(3)}))
        assert types(found) == ["Input", "InnerProduct"]
        assert list(found.arrays) == ["param/fc/0", "param/fc/1"]


def test_a_product_that_others_read_too_keeps_its_own_layer():
    nodes = [node("MatMul", ["x", "w"], ["m"]), node("Add", ["m", "b"], ["a"]), node("Mul", ["a", "m"], ["y"])]
    same_as_onnxruntime(model_of(nodes, {"x": ["N", 5]}, {"w": f(5, 3), "b": f(3)}))


def test_a_factor_and_an_offset_are_one_layer():
    nodes = [node("Mul", ["x", "s"], ["m"]), node("Add", ["m", "b"], ["y"])]
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 5, 2]}, {"s": f(5, 1), "b": f(5, 1)}))
    assert types(found) == ["Input", "Scale"]
    assert "param" not in layer(found, "Scale")


def test_constants_of_the_graph_are_not_learned_and_its_parameters_are():
    made = [
        node("Constant", [], ["mean"], value=onnx.numpy_helper.from_array(f(3, 1, 1))),
        node("Sub", ["x", "mean"], ["c"]),
        node("Mul", ["c", "s"], ["y"]),
    ]
    found = same_as_onnxruntime(model_of(made, {"x": ["N", 3, 2, 2]}, {"s": f(3, 1, 1)}))
    assert layer(found, "Bias")["param"] == {"lr_mult": 0, "decay_mult": 0}
    assert "param" not in layer(found, "Scale")


HALF = {"two": np.float32(2**0.5), "one": np.float32(1), "half": np.float32(0.5), "root": np.float32(0.5**0.5)}
GELUS = {
    "half last": [("Mul", ["x", "e1"], "t"), ("Mul", ["t", "half"], "y")],
    "half first": [("Mul", ["x", "half"], "h"), ("Mul", ["h", "e1"], "y")],
    "half of the gate": [("Mul", ["half", "e1"], "t"), ("Mul", ["t", "x"], "y")],
}


@pytest.mark.parametrize("name", GELUS)
@pytest.mark.parametrize("scale", [("Div", ["x", "two"]), ("Mul", ["root", "x"])])
def test_gelu_in_every_order(name, scale):
    nodes = [node(*scale, ["s"]), node("Erf", ["s"], ["e"]), node("Add", ["one", "e"], ["e1"])]
    first = [node(op, ins, [out]) for op, ins, out in GELUS[name]]
    if name == "half first":
        nodes = [first[0], *nodes, first[1]]
    else:
        nodes += first
    assert types(same_as_onnxruntime(model_of(nodes, {"x": ["N", 5]}, HALF))) == ["Input", "GELU"]


def test_what_is_almost_a_gelu_is_refused():
    nodes = [node("Erf", ["x"], ["e"]), node("Add", ["one", "e"], ["e1"]), node("Mul", ["x", "e1"], ["y"])]
    path = written(model_of(nodes, {"x": ["N", 5]}, HALF))
    with pytest.raises(Exception, match="no layer computes erf but as a part of GELU"):
        read(path, "m.onnx")


def test_transposes_that_undo_each_other_vanish():
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[0, 2, 3, 1]),
        node("Relu", ["a"], ["b"]),
        node("Mul", ["b", "s"], ["c"]),
        node("Softmax", ["c"], ["d"], axis=3),
        node("ReduceMean", ["d", "axes"], ["e"]),
        node("Add", ["d", "e"], ["g"]),
        node("Concat", ["d", "d"], ["h"], axis=3),
        node("Add", ["g", "one"], ["k"]),
        node("Transpose", ["h"], ["z"], perm=[0, 3, 1, 2]),
        node("Transpose", ["k"], ["y"], perm=[0, 3, 1, 2]),
    ]
    arrays = {"s": f(3), "one": np.float32(1), "axes": i(1, 2)}
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 3, 4, 5]}, arrays, ("y", "z")))
    assert "Permute" not in types(found)[:6]


def test_a_flattened_image_with_channels_last_needs_no_permute():
    nodes = [
        node("Transpose", ["x"], ["a"], perm=[0, 2, 3, 1]),
        node("Reshape", ["a", "shape"], ["b"]),
        node("Gemm", ["b", "w", "c"], ["y"]),
    ]
    arrays = {"shape": i(-1, 60), "w": f(60, 4), "c": f(4)}
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 3, 4, 5]}, arrays))
    assert types(found) == ["Input", "InnerProduct"]


def test_shapes_that_are_computed_hold_for_any_batch():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["n1"]),
        node("Concat", ["n1", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["b"]),
        node("MatMul", ["b", "w"], ["y"]),
    ]
    arrays = {"zero": np.array(0), "axis": i(0), "rest": i(-1), "w": f(12, 2)}
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 3, 4]}, arrays))
    assert types(found) == ["Input", "InnerProduct"]


def test_attention_of_one_head():
    nodes = [
        node("MatMul", ["x", "wq"], ["q"]),
        node("MatMul", ["x", "wk"], ["k"]),
        node("MatMul", ["x", "wv"], ["v"]),
        node("Transpose", ["k"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["q", "kt"], ["s"]),
        node("Div", ["s", "root"], ["d"]),
        node("Softmax", ["d"], ["p"], axis=-1),
        node("MatMul", ["p", "v"], ["y"]),
    ]
    arrays = {"wq": f(6, 6), "wk": f(6, 6), "wv": f(6, 6), "root": np.float32(6**0.5)}
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 5, 6]}, arrays))
    assert "Permute" not in types(found)


def test_attention_of_several_heads():
    nodes = [
        node("MatMul", ["x", "w"], ["q"]),
        node("Reshape", ["q", "heads"], ["r"]),
        node("Transpose", ["r"], ["a"], perm=[0, 2, 1, 3]),
        node("Transpose", ["r"], ["b"], perm=[0, 2, 3, 1]),
        node("MatMul", ["a", "b"], ["s"]),
        node("Softmax", ["s"], ["p"]),
        node("MatMul", ["p", "a"], ["o"]),
        node("Transpose", ["o"], ["t"], perm=[0, 2, 1, 3]),
        node("Reshape", ["t", "back"], ["y"]),
    ]
    arrays = {"w": f(6, 6), "heads": i(0, 0, 2, 3), "back": i(0, 0, 6)}
    same_as_onnxruntime(model_of(nodes, {"x": ["N", 5, 6]}, arrays))


def test_two_inputs_and_all_of_arithmetic():
    for op in ("Add", "Sub", "Mul", "Max", "Min"):
        for shape in (["N", 4, 3], ["N", 1, 3], ["N", 4, 1]):
            nodes = [node(op, ["x", "u"], ["y"])]
            same_as_onnxruntime(model_of(nodes, {"x": ["N", 4, 3], "u": shape}))


def test_words_are_embedded():
    nodes = [node("Gather", ["w", "x"], ["e"]), node("ReduceMean", ["e", "axes"], ["y"], keepdims=0)]
    model = model_of(nodes, {"x": ["N", 3]}, {"w": f(5, 4), "axes": i(1)}, kind=TensorProto.INT64)
    assert "Embed" in types(same_as_onnxruntime(model))


def sequence(op, gates, directions, *, arrays=(), outputs=("Y", "h"), inputs=("x", "W", "R", "B"), **more):
    size = 4
    kept = {
        "W": f(directions, gates * size, 3),
        "R": f(directions, gates * size, size),
        "B": f(directions, 2 * gates * size),
        **dict(arrays),
    }
    made = [node(op, list(inputs), list(outputs), hidden_size=size, **more)]
    return model_of(made, {"x": [5, "N", 3]}, kept, [name for name in outputs if name])


RECURRENT = {
    f"{op} {direction}": (op, gates, 2 if direction == "bidirectional" else 1, {"direction": direction, **more})
    for op, gates, more in (("LSTM", 4, {}), ("GRU", 3, {"linear_before_reset": 1}), ("RNN", 1, {}))
    for direction in ("forward", "reverse", "bidirectional")
}
RECURRENT |= {
    f"GRU reset first {direction}": ("GRU", 3, 2 if direction == "bidirectional" else 1, {"direction": direction})
    for direction in ("forward", "bidirectional")
}
RECURRENT["RNN Relu"] = ("RNN", 1, 1, {"activations": ["Relu"]})


@pytest.mark.parametrize("name", RECURRENT)
def test_recurrent_nodes_in_every_direction(name):
    op, gates, directions, more = RECURRENT[name]
    same_as_onnxruntime(sequence(op, gates, directions, **more))


def test_the_last_state_alone():
    same_as_onnxruntime(sequence("LSTM", 4, 1, outputs=("", "h")))
    same_as_onnxruntime(sequence("GRU", 3, 2, outputs=("", "h"), direction="bidirectional", linear_before_reset=1))


def test_first_states_that_are_inputs():
    one = ["h0"], ["Y", "h"]
    every = ("LSTM", 4, ["h0", "c0"], ["Y", "h", "c"]), ("GRU", 3, *one), ("GRU", 3, *one), ("RNN", 1, *one)
    for i, (op, gates, names, outputs) in enumerate(every):
        more = {"linear_before_reset": 1} if i == 1 else {}
        kept = {"W": f(1, gates * 4, 3), "R": f(1, gates * 4, 4), "B": f(1, gates * 8)}
        made = [node(op, ["x", "W", "R", "B", "", *names], outputs, hidden_size=4, **more)]
        same_as_onnxruntime(model_of(made, {"x": [5, "N", 3], **{n: [1, "N", 4] for n in names}}, kept, outputs))


def test_sequences_of_any_length():
    kept = {"W": f(1, 16, 3), "R": f(1, 16, 4), "B": f(1, 32)}
    made = [node("LSTM", ["x", "W", "R", "B"], ["Y", "h", "c"], hidden_size=4)]
    path = written(model_of(made, {"x": ["steps", "N", 3]}, kept, ["Y", "h", "c"]))
    found = read(path, path.name, batch=2)
    assert layer(found, "Input")["shape"] == [10, 2, 3]
    assert "sequences may be of any length; 10 steps are written down in the shape of the Input" in found.notes
    net = fill(nettrain.Net(found.root.to_python(), "TEST"), found)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for steps in (3, 6):
        x = f(steps, 2, 3)
        net.forward(x=x)
        for output, wanted in zip(["Y", "h", "c"], session.run(None, {"x": x}), strict=True):
            np.testing.assert_allclose(net.blobs[found.outputs[output]].data, wanted, rtol=1e-5, atol=1e-6)


def test_sequences_of_one_step():
    kept = {"W": f(1, 16, 3), "R": f(1, 16, 4), "B": f(1, 32)}
    made = [node("LSTM", ["x", "W", "R", "B"], ["Y", "h"], hidden_size=4)]
    same_as_onnxruntime(model_of(made, {"x": [1, "N", 3]}, kept, ["Y", "h"]))


def test_a_branch_about_shapes_is_decided():
    one_branch = helper.make_graph(
        [node("Squeeze", ["a", "k"], ["r"])], "yes", [], [helper.make_tensor_value_info("r", 1, None)],
        [onnx.numpy_helper.from_array(i(1), "k")],
    )  # fmt: skip
    other = helper.make_graph([node("Identity", ["a"], ["r"])], "no", [], [helper.make_tensor_value_info("r", 1, None)])
    nodes = [
        node("Relu", ["x"], ["a"]),
        node("Shape", ["a"], ["s"]),
        node("Gather", ["s", "place"], ["n"], axis=0),
        node("Equal", ["n", "wanted"], ["c"]),
        node("If", ["c"], ["t"], then_branch=one_branch, else_branch=other),
        node("Sigmoid", ["t"], ["y"]),
    ]
    for size, shape in ((1, ["N", 1, 4]), (3, ["N", 3, 4])):
        model = model_of(nodes, {"x": shape}, {"place": i(1), "wanted": i(1)})
        found = same_as_onnxruntime(model) if size == 1 else read(written(model), "m.onnx")  # it refuses the other
        assert ("Reshape" in types(found) or "Flatten" in types(found)) == (size == 1)


def test_functions_are_written_out():
    inner = helper.make_function(
        "my", "Scaled", ["a", "w"], ["o"], [node("Mul", ["a", "w"], ["t"]), node("Relu", ["t"], ["o"])],
        [helper.make_opsetid("", 18)],
    )  # fmt: skip
    leaky = onnx.helper.make_node("LeakyRelu", ["b"], ["o"])
    leaky.attribute.append(onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT))
    outer = helper.make_function(
        "my", "Twice", ["a", "w"], ["o"], [node("Scaled", ["a", "w"], ["b"], domain="my"), leaky],
        [helper.make_opsetid("", 18), helper.make_opsetid("my", 1)], ["slope"],
    )  # fmt: skip
    nodes = [
        node("Twice", ["x", "w"], ["h"], domain="my", name="one", slope=0.3),
        node("Twice", ["h", "w"], ["y"], domain="my", name="two", slope=0.1),
    ]
    model = model_of(nodes, {"x": ["N", 4, 2]}, {"w": f(4, 1)})
    model.functions.extend([inner, outer])
    model.opset_import.append(helper.make_opsetid("my", 1))
    found = same_as_onnxruntime(model)
    assert types(found) == ["Input", *["Scale", "ReLU", "ReLU"] * 2]


def test_half_precision_becomes_single():
    weight = f(3, 5).astype(np.float16)
    nodes = [node("Cast", ["w"], ["v"], to=1), node("Gemm", ["x", "v"], ["y"], transB=1)]
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 5]}, {"w": weight}))
    np.testing.assert_array_equal(next(iter(found.arrays.values())), weight.astype(np.float32))
    bits = onnx.TensorProto(name="w", data_type=TensorProto.BFLOAT16, dims=[2, 1], int32_data=[0x3F80, 0xC000])
    model = model_of([node("Gemm", ["x", "w"], ["y"], transB=1)], {"x": ["N", 1]})
    model.graph.initializer.append(bits)
    found = read(written(model), "m.onnx")
    np.testing.assert_array_equal(next(iter(found.arrays.values())), [[1], [-2]])


def test_an_axis_with_a_name_gets_its_size():
    model = one("Relu", shape=("N", "width"))
    path = written(model)
    with pytest.raises(Exception, match=r"axis 1, `width`, has no size; export the model with a fixed one"):
        read(path, "m.onnx")
    assert layer(read(path, "m.onnx", batch=2, sizes={"width": 6}), "Input")["shape"] == [2, 6]


def test_a_fixed_number_of_examples_is_no_limit():
    nodes = [node("Reshape", ["x", "shape"], ["b"]), node("MatMul", ["b", "w"], ["y"])]
    model = model_of(nodes, {"x": [2, 3, 4]}, {"shape": i(2, 12), "w": f(12, 2)})
    found = read(written(model), "m.onnx", batch=7)
    assert types(found) == ["Input", "InnerProduct"]
    assert layer(found, "Input")["shape"] == [2, 3, 4]
    assert "batches of 2; the net takes any" in found.notes[0]


def test_a_graph_that_is_about_one_number_of_examples_is_read_for_it():
    nodes = [node("Reshape", ["x", "shape"], ["b"]), node("Slice", ["b", "from", "to", "axis"], ["y"])]
    arrays = {"shape": i(24), "from": i(3), "to": i(9), "axis": i(0)}
    found = read(written(model_of(nodes, {"x": [2, 3, 4]}, arrays)), "m.onnx")
    assert layer(found, "Slice")["slice_point"] == [3, 9]
    assert found.notes == ["the file is for one number of examples, and so is the net"]


def test_parameters_that_several_nodes_share_are_one():
    nodes = [node("MatMul", ["x", "w"], ["m"], name="one"), node("Add", ["m", "b"], ["a"]),
             node("MatMul", ["a", "w"], ["n"], name="two"), node("Add", ["n", "zero"], ["c"]),
             node("Gemm", ["c", "w", "zero"], ["y"], name="three", transB=1)]  # fmt: skip
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 4]}, {"w": f(4, 4), "b": f(4), "zero": np.zeros(4, "f4")}))
    _, one, two, three = found.root.to_python()["layers"]
    assert one["param"] == two["param"] == {"name": "one_w"}
    assert "param" not in three  # its matrix is the other way round
    net = nettrain.Net(found.root.to_python(), "TRAIN")
    assert net.params["one"][0].shares_data_with(net.params["two"][0])
    assert not net.params["two"][1].shares_data_with(net.params["three"][1])  # equal by chance: exporters keep one zero


def test_a_constant_that_is_repeated_for_each_example():
    """The token of a class, as vision transformers put it before the patches, and a first state."""
    nodes = [
        node("Shape", ["x"], ["n"], end=1),
        node("Concat", ["n", "rest"], ["shape"], axis=0),
        node("Expand", ["token", "shape"], ["tokens"]),
        node("Concat", ["tokens", "x"], ["y"], axis=1),
        node("Expand", ["zero", "shape"], ["h"]),
        node("MatMul", ["h", "w"], ["z"]),
    ]
    arrays = {"token": f(1, 1, 4), "rest": i(1, 4), "zero": np.float32(0.5), "w": f(4, 2)}
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N", 3, 4]}, arrays, ("y", "z")))
    token, zero = (entry for entry in found.root.to_python()["layers"] if entry["type"] == "Parameter")
    assert "param" not in token
    assert zero["param"]["lr_mult"] == 0
    assert "InnerProduct" in types(found)  # so that w is shared with other steps


def test_a_table_of_words_that_is_the_last_matrix_too():
    nodes = [node("Gather", ["w", "x"], ["e"]), node("Gemm", ["e", "w"], ["y"], transB=1)]
    found = same_as_onnxruntime(model_of(nodes, {"x": ["N"]}, {"w": f(5, 4)}, kind=TensorProto.INT64))
    assert layer(found, "Embed")["param"] == layer(found, "InnerProduct")["param"]


def test_scikit_learns_operations():
    more = {"domain": "ai.onnx.ml", "shape": ("N", 3)}
    same_as_onnxruntime(one("Scaler", offset=[0.1, 0.2, 0.3], scale=[1.0, 2.0, 3.0], **more))
    for norm in ("L1", "L2"):
        same_as_onnxruntime(one("Normalizer", norm=norm, **more))
    same_as_onnxruntime(
        one("LinearRegressor", coefficients=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], intercepts=[1.0, -1.0], targets=2, **more)
    )
