"""Each operation in each of the ways that opsets write it, compared with onnxruntime on batches of 1 and 3."""

import numpy as np
import pytest
from helpers.onnx_models import TensorProto, one, same_as_onnxruntime

R = np.random.default_rng(7)


def f(*shape, low=None):
    values = R.standard_normal(shape) if low is None else R.uniform(low, low + 1, shape)
    return values.astype(np.float32)


def i(*numbers):
    return np.array(numbers, np.int64)


IMAGE, ROW, STEPS = ("N", 4, 8, 9), ("N", 6), (5, "N", 3)
SAME = {"auto_pad": "SAME_UPPER", "strides": [2, 2]}
CONVOLUTIONS = {
    "plain": one("Conv", f(6, 4, 3, 3), f(6), shape=IMAGE),
    "no bias": one("Conv", f(6, 4, 3, 2), shape=IMAGE, strides=[2, 1], dilations=[1, 2]),
    "pads": one("Conv", f(6, 4, 3, 3), f(6), shape=IMAGE, pads=[1, 2, 1, 2]),
    "asymmetric": one("Conv", f(6, 4, 3, 3), f(6), shape=IMAGE, pads=[0, 1, 2, 1], strides=[2, 2]),
    "same upper": one("Conv", f(6, 4, 3, 4), shape=IMAGE, **SAME),
    "same lower": one("Conv", f(6, 4, 2, 4), shape=IMAGE, auto_pad="SAME_LOWER"),
    "valid": one("Conv", f(6, 4, 2, 4), shape=IMAGE, auto_pad="VALID"),
    "groups": one("Conv", f(6, 2, 3, 3), f(6), shape=IMAGE, group=2),
    "depthwise": one("Conv", f(4, 1, 3, 3), shape=IMAGE, group=4, pads=[1, 1, 1, 1]),
    "line": one("Conv", f(6, 4, 3), f(6), shape=("N", 4, 10), strides=[2], pads=[1, 0]),
    "volume": one("Conv", f(2, 4, 2, 3, 2), f(2), shape=("N", 4, 4, 5, 3)),
    "opset 9": one("Conv", f(6, 4, 3, 3), shape=IMAGE, opset=9),
    "transposed": one("ConvTranspose", f(4, 3, 3, 3), f(3), shape=IMAGE, strides=[2, 2], pads=[1, 1, 1, 1]),
    "transposed odd": one("ConvTranspose", f(4, 3, 3, 2), shape=IMAGE, strides=[2, 3], pads=[0, 1, 1, 0]),
    "transposed extra": one(
        "ConvTranspose", f(4, 3, 3, 3), f(3), shape=IMAGE, strides=[2, 2], pads=[1, 1, 1, 1], output_padding=[1, 1]
    ),
    "transposed groups": one("ConvTranspose", f(4, 3, 3, 3), f(6), shape=IMAGE, group=2, dilations=[2, 1]),
    "transposed line": one("ConvTranspose", f(4, 3, 3), shape=("N", 4, 5), strides=[2]),
    "transposed same": one("ConvTranspose", f(4, 3, 3, 3), shape=IMAGE, auto_pad="SAME_UPPER", strides=[2, 2]),
    "transposed lower": one("ConvTranspose", f(4, 3, 4, 4), shape=IMAGE, auto_pad="SAME_LOWER", strides=[3, 3]),
    "transposed shape": one("ConvTranspose", f(4, 3, 4, 4), shape=IMAGE, output_shape=[17, 18], strides=[2, 2]),
}
POOLS = {
    f"{op} {name}": one(op, shape=IMAGE, kernel_shape=[3, 2], **more)
    for op in ("MaxPool", "AveragePool")
    for name, more in {
        "plain": {},
        "stride": {"strides": [2, 2]},
        "ceil": {"strides": [2, 2], "ceil_mode": 1},
        "pads": {"strides": [2, 1], "pads": [1, 1, 1, 1]},
        "ceil pads": {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
        "ceil 3": {"strides": [3, 3], "pads": [1, 0, 1, 0], "ceil_mode": 1},
        "sides": {"strides": [2, 2], "pads": [0, 1, 2, 0]},
        "same": SAME,
        "lower": {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        "opset 9": {"opset": 9, "strides": [2, 2]},
    }.items()
}
POOLS |= {
    f"counted {name}": one("AveragePool", shape=IMAGE, kernel_shape=[3, 3], count_include_pad=1, **more)
    for name, more in {
        "pads": {"pads": [1, 1, 1, 1]},
        "sides": {"pads": [0, 1, 2, 0], "strides": [2, 2]},
        "ceil": {"pads": [1, 1, 1, 1], "strides": [2, 2], "ceil_mode": 1},
    }.items()
}
POOLS |= {
    "line": one("MaxPool", shape=("N", 4, 9), kernel_shape=[3], strides=[2], pads=[1, 1]),
    "mean line": one("AveragePool", shape=("N", 4, 9), kernel_shape=[3], strides=[2]),
    "flat volume": one("AveragePool", shape=("N", 4, 5, 3, 2), kernel_shape=[3, 1, 1]),
    "global mean": one("GlobalAveragePool", shape=IMAGE),
    "global max": one("GlobalMaxPool", shape=IMAGE),
    "global line": one("GlobalAveragePool", shape=("N", 4, 9)),
}
NORMALIZATIONS = {
    "batch": one("BatchNormalization", f(4), f(4), f(4), f(4, low=0.5), epsilon=1e-3, momentum=0.99),
    "batch of a table": one("BatchNormalization", f(6), f(6), f(6), f(6, low=0.5), shape=ROW, opset=9),
    "instance": one("InstanceNormalization", f(4), f(4), epsilon=1e-3),
    "group 18": one("GroupNormalization", f(2), f(2), num_groups=2, opset=18),
    "group 21": one("GroupNormalization", f(4), f(4), num_groups=2, opset=21),
    "layer": one("LayerNormalization", f(6), f(6), epsilon=1e-3),
    "layer, no bias": one("LayerNormalization", f(5, 6), axis=2),
    "layer 1": one("LayerNormalization", f(4, 5, 6), f(4, 5, 6), axis=1),
    "lrn": one("LRN", size=3, alpha=0.01, beta=0.5, bias=2.0),
    "l1": one("LpNormalization", axis=1, p=1),
    "l2": one("LpNormalization", p=2),
}
ACTIVATIONS = {
    op: one(op, opset=opset, **more)
    for op, opset, more in [
        ("Relu", 9, {}), ("Sigmoid", 13, {}), ("Tanh", 13, {}), ("Softplus", 13, {}), ("Mish", 18, {}),
        ("LeakyRelu", 16, {"alpha": 0.2}), ("Elu", 13, {"alpha": 0.5}), ("Selu", 13, {}), ("Celu", 12, {"alpha": 0.5}),
        ("HardSigmoid", 13, {"alpha": 0.3}), ("HardSwish", 14, {}), ("Softsign", 13, {}), ("Abs", 13, {}),
        ("ThresholdedRelu", 10, {"alpha": 0.4}), ("Neg", 13, {}), ("Exp", 13, {}), ("Identity", 13, {}),
        ("Gelu", 20, {}), ("Dropout", 9, {"ratio": 0.5}),
    ]
}  # fmt: skip
ACTIVATIONS |= {
    "Gelu tanh": one("Gelu", opset=20, approximate="tanh"),
    "Celu 1": one("Celu", opset=12),
    "PRelu": one("PRelu", f(4, 1, 1)),
    "PRelu shared": one("PRelu", f(1)),
    "PRelu table": one("PRelu", f(6), shape=ROW),
    "Dropout 13": one("Dropout", np.float32(0.4), np.array(False), opset=13),
    "Clip 6": one("Clip", opset=9, min=-0.5, max=0.25),
    "Clip 13": one("Clip", np.float32(-0.5), np.float32(0.25), opset=13),
    "Clip low": one("Clip", np.float32(-0.5), opset=13),
    "Clip high": one("Clip", None, np.float32(0.5), opset=13),
    "Clip relu": one("Clip", np.float32(0), opset=13),
    "Cast": one("Cast", to=1),
}
SOFTMAX = {
    f"{op} {opset} {axis}": one(op, opset=opset, **({} if axis is None else {"axis": axis}))
    for op in ("Softmax", "LogSoftmax")
    for opset in (9, 11, 13)
    for axis in (None, 1, 2, 3, -1)
}
ARITHMETIC = {
    f"{op} {name}": one(op, constant, first=first)
    for op in ("Add", "Sub", "Mul", "Div")
    for first in (False, True)
    for name, constant in {
        f"number {first}": np.float32(1.7),
        f"channel {first}": f(4, 1, 1, low=0.5),
        f"row {first}": f(6, low=0.5),
        f"image {first}": f(5, 6, low=0.5),
        f"whole {first}": f(1, 4, 5, 6, low=0.5),
        f"odd {first}": f(4, 1, 6, low=0.5),
    }.items()
}
ARITHMETIC |= {
    "Pow 2": one("Pow", np.float32(2)),
    "Pow 3": one("Pow", np.float32(3)),
    "2 Pow": one("Pow", np.float32(2), first=True),
    "Max": one("Max", np.float32(0.3)),
    "Max 0": one("Max", np.float32(0)),
    "Min": one("Min", np.float32(0.3)),
    "Sum": one("Sum", np.float32(0.3), f(4, 1, 1)),
    "Max of many": one("Max", f(4, 1, 1), f(1, 4, 5, 6)),
    "Min of many": one("Min", f(4, 1, 1), f(1, 4, 5, 6)),
    "Mean of many": one("Mean", f(4, 1, 1), f(1, 4, 5, 6)),
}
POSITIVE = {
    "Sqrt": one("Sqrt"), "Log": one("Log"), "Reciprocal": one("Reciprocal"), "Pow root": one("Pow", np.float32(0.5))
}  # fmt: skip
PRODUCTS = {
    "gemm": one("Gemm", f(6, 3), f(3), shape=ROW),
    "gemm turned": one("Gemm", f(3, 6), f(3), shape=ROW, transB=1),
    "gemm factors": one("Gemm", f(6, 3), f(1, 3), shape=ROW, alpha=0.5, beta=2.0),
    "gemm number": one("Gemm", f(6, 3), f(1), shape=ROW),
    "gemm, no bias": one("Gemm", f(6, 3), shape=ROW),
    "gemm 9": one("Gemm", f(6, 3), f(3), shape=ROW, opset=9),
    "matmul": one("MatMul", f(6, 3), shape=ROW),
    "matmul of images": one("MatMul", f(6, 3)),
    "matmul first": one("MatMul", f(7, 5), first=True),
}
SHAPES = {
    "reshape": one("Reshape", i(0, -1)),
    "reshape -1": one("Reshape", i(-1, 120)),
    "reshape parts": one("Reshape", i(0, 2, 2, 30)),
    "reshape mixed": one("Reshape", i(-1, 6)),
    "flatten": one("Flatten"),
    "flatten 2": one("Flatten", axis=2),
    "flatten -1": one("Flatten", axis=-1),
    "squeeze 11": one("Squeeze", shape=("N", 1, 3, 1), opset=11, axes=[1, 3]),
    "squeeze 13": one("Squeeze", i(-1), shape=("N", 1, 3, 1)),
    "unsqueeze 11": one("Unsqueeze", shape=("N", 3), opset=11, axes=[1, 3]),
    "unsqueeze 13": one("Unsqueeze", i(1, -1), shape=("N", 3)),
    "transpose": one("Transpose", perm=[0, 2, 3, 1]),
    "transpose a place": one("Transpose", shape=("N", 1, 5, 6), perm=[0, 2, 3, 1]),
    "expand": one("Expand", i(1, 4, 5, 6)),
    "expand a column": one("Expand", i(4, 6), shape=("N", 4, 1)),
    "depth to space": one("DepthToSpace", shape=("N", 8, 3, 5), blocksize=2),
    "pixel shuffle": one("DepthToSpace", shape=("N", 8, 3, 5), blocksize=2, mode="CRD"),
    "space to depth": one("SpaceToDepth", shape=("N", 3, 4, 6), blocksize=2),
    "tile": one("Tile", i(1, 2, 1, 3)),
    "pad 11": one("Pad", i(0, 0, 1, 2, 0, 0, 0, 1), np.float32(1.5)),
    "pad 9": one("Pad", opset=9, pads=[0, 1, 1, 2, 0, 0, 0, 1], value=0.5),
    "pad reflect": one("Pad", i(0, 0, 1, 2, 0, 0, 0, 1), mode="reflect"),
    "pad edge": one("Pad", i(0, 0, 1, 0, 0, 0, 0, 1), mode="edge"),
    "pad axes": one("Pad", i(1, 2), None, i(3), opset=18),
    "crop": one("Pad", i(0, 0, -1, 2, 0, 0, 0, -2)),
    "slice 9": one("Slice", opset=9, starts=[1, 0], ends=[3, 1000], axes=[2, 3]),
    "slice 13": one("Slice", i(-2), i(2**63 - 1), i(1)),
    "slice middle": one("Slice", i(1, 2), i(3, 4), i(1, 2), i(1, 1)),
    "slice backwards": one("Slice", i(-1), i(-(2**63) + 1), i(2), i(-1)),
    "slice of all": one("Slice", i(0), i(4), i(1)),
    "gather": one("Gather", np.array(2), axis=1),
    "gather last": one("Gather", np.array(-1), axis=2),
    "gather some": one("Gather", i(2, 0), axis=1),
    "argmax": one("ArgMax", axis=1, keepdims=0, end=TensorProto.INT64),
    "argmax kept": one("ArgMax", axis=-1, select_last_index=1, end=TensorProto.INT64),
}
REDUCTIONS = {
    f"{op} {axes} {opset}": one(
        op, *([] if opset < 18 and op != "ReduceSum" else [i(*axes)]), opset=opset, keepdims=keep,
        **({"axes": axes} if opset < 18 and op != "ReduceSum" else {}),
    )
    for op in ("ReduceMean", "ReduceSum", "ReduceMax")
    for axes, keep in (([2, 3], 1), ([-1], 0), ([1], 1), ([1, 2], 0), ([2], 1), ([1, 2, 3], 0))
    for opset in (13, 18)
}  # fmt: skip
REDUCTIONS |= {
    "l2": one("ReduceL2", i(-1)),
    "l1": one("ReduceL1", i(2, 3), keepdims=0),
    "squares": one("ReduceSumSquare", i(-1)),
}
PARTS = {
    "split 2": one("Split", outputs=("y", "z"), axis=1, opset=11),
    "split 11": one("Split", outputs=("y", "z"), axis=1, opset=11, split=[1, 3]),
    "split 13": one("Split", i(1, 1, 2), outputs=("y", "z", "w"), axis=1, opset=13),
    "split 18": one("Split", outputs=("y", "z", "w"), axis=2, num_outputs=3),
}
EVERY = (
    CONVOLUTIONS | POOLS | NORMALIZATIONS | ACTIVATIONS | SOFTMAX | ARITHMETIC | PRODUCTS | SHAPES | REDUCTIONS | PARTS
)


@pytest.mark.parametrize("name", EVERY)
def test_an_operation_gives_onnxruntimes_numbers(name):
    same_as_onnxruntime(EVERY[name], backward="argmax" not in name)


@pytest.mark.parametrize("name", POSITIVE)
def test_operations_of_positive_numbers(name):
    model = POSITIVE[name]
    absolute = one("Abs").graph.node[0]
    absolute.output[0] = "p"
    model.graph.node[0].input[0] = "p"
    model.graph.node.insert(0, absolute)
    same_as_onnxruntime(model, tolerance=1e-4, backward=False)


NEWER = [name for name, model in EVERY.items() if model.opset_import[0].version == 18 and "group" not in name][::3]


@pytest.mark.parametrize("name", NEWER)
def test_newer_opsets_mean_the_same(name):
    model = type(EVERY[name]).FromString(EVERY[name].SerializeToString())
    model.opset_import[0].version, model.ir_version = 24, 12
    same_as_onnxruntime(model, backward=False)
