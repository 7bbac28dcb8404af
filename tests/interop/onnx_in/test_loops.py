"""Scan: any body becomes the cell of a Recurrent layer, with onnxruntime's numbers, or is refused."""

import numpy as np
import onnx
import pytest
from helpers.hostile import refused
from helpers.onnx_models import helper, layer, model_of, read, same_as_onnxruntime, types, written
from nettrain import NettrainError

R = np.random.default_rng(5)
node = helper.make_node


def f(*shape):
    return R.standard_normal(shape).astype(np.float32)


def body(nodes, inputs, outputs, arrays=()):
    ends = [helper.make_tensor_value_info(name, 1, None) for name in (*inputs, *outputs)]
    kept = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in dict(arrays).items()]
    return helper.make_graph(nodes, "step", ends[: len(inputs)], ends[len(inputs) :], kept)


STEP = [
    node("Concat", ["v", "h", "u"], ["both"], axis=1, name="loop/both"),
    node("Gemm", ["both", "W", "b"], ["sum"], name="loop/sum"),
    node("Tanh", ["sum"], ["h_next"], name="loop/h_next"),
    node("Add", ["n", "one"], ["n_next"], name="loop/n_next"),
    node("Mul", ["h_next", "n_next"], ["out"], name="loop/out"),
]


def looped(nodes=STEP, inputs=("h", "n", "v"), outputs=("h_next", "n_next", "out"), starts=("h0", "n0"), **more):
    """A state that is an input, one that is a constant, a static input of the graph around, a tensor of the body's."""
    graph = body(nodes, inputs, outputs, {"one": np.ones(1, np.float32)})
    made = [
        node("Shape", ["x"], ["N"], start=1, end=2),
        node("Concat", ["N", "four"], ["shape"], axis=0),
        node("Expand", ["two", "shape"], ["n0"]),
        node("Scan", [*starts, "x"], ["h_T", "n_T", "y"], body=graph, name="loop", num_scan_inputs=1, **more),
    ]
    arrays = {"W": f(9, 4), "b": f(4), "four": np.array([4]), "two": np.float32(2)}
    return model_of(made, {"x": [6, "N", 3], "h0": ["N", 4], "u": ["N", 2]}, arrays, ("h_T", "n_T", "y"))


def test_a_loop_becomes_a_cell():
    found = same_as_onnxruntime(looped())
    recurrent = layer(found, "Recurrent")
    assert [entry["name"] for entry in recurrent["cell"]] == ["both", "sum", "h_next", "n_next", "out"]
    assert (recurrent["sequences"], recurrent["static"]) == (["v"], ["u"])
    assert recurrent["states"] == [
        {"name": "h", "next": "h_next", "shape": [4], "from_bottom": True},
        {"name": "n", "next": "n_next", "shape": [4], "initial": 2},
    ]


def test_parameters_that_the_steps_share_are_one():
    nodes = [
        node("MatMul", ["h", "V"], ["a"]), node("Tanh", ["a"], ["b"]), node("MatMul", ["b", "V"], ["c"]),
        node("Add", ["c", "v"], ["h_next"]), node("Identity", ["h_next"], ["out"]),
    ]  # fmt: skip
    graph = body(nodes, ("h", "v"), ("h_next", "out"))
    made = [node("Scan", ["h0", "x"], ["h_T", "y"], body=graph, num_scan_inputs=1)]
    found = same_as_onnxruntime(model_of(made, {"x": [4, "N", 3], "h0": ["N", 3]}, {"V": f(3, 3)}))
    assert len(found.arrays) == 1
    assert types(found) == ["Input", "Input", "Reshape", "Recurrent"]


def test_a_loop_in_a_loop():
    inner = body([node("Add", ["s", "v"], ["t"]), node("Tanh", ["t"], ["t2"])], ("s", "v"), ("t", "t2"))
    outer = body(
        [
            node("Unsqueeze", ["w", "last"], ["w3"]),
            node("Transpose", ["w3"], ["steps"], perm=[1, 0, 2]),
            node("Unsqueeze", ["h", "last"], ["h3"]),
            node("Slice", ["h", "zero", "first", "first"], ["h1"]),
            node("Scan", ["h1", "steps"], ["s_T", "ys"], body=inner, num_scan_inputs=1),
            node("Add", ["h", "s_T"], ["h_next"]),
            node("ReduceMean", ["ys", "axes"], ["out"], keepdims=0),
        ],
        ("h", "w"), ("h_next", "out"),
        {"last": np.array([2]), "zero": np.array([0]), "first": np.array([1]), "axes": np.array([0])},
    )  # fmt: skip
    made = [node("Scan", ["h0", "x"], ["h_T", "y"], body=outer, num_scan_inputs=1)]
    same_as_onnxruntime(model_of(made, {"x": [3, "N", 5], "h0": ["N", 4]}, {}, ("h_T", "y")))


def reading(model):
    path = written(model)
    return lambda: read(path, path.name)


def test_what_no_cell_can_do_is_refused():
    refused("its steps are not along the first axis", reading(looped(scan_input_directions=[1])))
    refused("its steps are not along the first axis", reading(looped(scan_output_axes=[1])))
    refused("its inputs and outputs are not those of its body", reading(looped(inputs=("h", "v"))))
    refused("its state `n` has not a part for each sequence", reading(looped(starts=("h0", "two"))))
    refused("nothing in its body reads `n`", reading(looped(outputs=("h_next", "h_next", "h_next"))))
    grown = [*STEP[:-1], node("Concat", ["h_next", "h_next"], ["out"], axis=1)]
    refused("its state `n` is of another shape after a step", reading(looped(grown, outputs=("h_next", "out", "out"))))


def test_all_that_a_body_cannot_do_is_said_at_once():
    wrong = [*STEP[:2], node("NonZero", ["sum"], ["h_next"]), node("Det", ["n"], ["n_next"], name="loop/det"), STEP[-1]]
    with pytest.raises(NettrainError) as error:
        reading(looped(wrong))()
    said = str(error.value)
    assert "m.onnx: node `loop` (Scan): node `h_next` (NonZero): the shape of its output depends" in said.replace(
        "model.onnx", "m.onnx"
    )
    assert "node `loop` (Scan): node `det` (Det): there is nothing here that computes it" in said
    assert said.endswith("2 errors.")
