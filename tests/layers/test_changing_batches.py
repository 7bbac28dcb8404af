"""A net that has seen larger and smaller batches computes what a fresh one does."""

import numpy as np
import pytest
from helpers import layer_net

# Shapes of the bottoms for n examples, and the layer. Labels are bottoms without further axes.
LAYERS = {
    "Accuracy": (lambda n: [(n, 4), (n,)], {"type": "Accuracy", "top": ["y", "by_class"]}),
    "Concat": (lambda n: [(n, 3), (n, 2)], {"type": "Concat"}),
    "Concat of examples": (lambda n: [(n, 3), (2, 3)], {"type": "Concat", "axis": 0}),
    "Convolution": (lambda n: [(n, 2, 5, 4)], {"type": "Convolution", "num_output": 3, "kernel_size": 3, "pad": 1}),
    "Dropout in TEST": (lambda n: [(n, 6)], {"type": "Dropout"}),
    "Eltwise SUM": (lambda n: [(n, 6)] * 3, {"type": "Eltwise", "coeff": [1, 2, 3]}),
    "Eltwise PROD": (lambda n: [(n, 6)] * 3, {"type": "Eltwise", "operation": "PROD"}),
    "Eltwise MAX": (lambda n: [(n, 6)] * 3, {"type": "Eltwise", "operation": "MAX"}),
    "EuclideanLoss": (lambda n: [(n, 3), (n, 3)], {"type": "EuclideanLoss"}),
    "Flatten": (lambda n: [(n, 3, 2)], {"type": "Flatten"}),
    "HingeLoss": (lambda n: [(n, 4), (n,)], {"type": "HingeLoss", "norm": "L2"}),
    "InnerProduct": (lambda n: [(n, 5)], {"type": "InnerProduct", "num_output": 3}),
    "Pooling MAX": (
        lambda n: [(n, 2, 5, 4)],
        {"type": "Pooling", "kernel_size": 3, "stride": 2, "top": ["y", "where"]},
    ),
    "Pooling AVE": (lambda n: [(n, 2, 5, 4)], {"type": "Pooling", "pool": "AVE", "kernel_size": 3, "stride": 2}),
    "ReLU": (lambda n: [(n, 6)], {"type": "ReLU"}),
    "leaky ReLU": (lambda n: [(n, 6)], {"type": "ReLU", "negative_slope": 0.1}),
    "Reshape": (lambda n: [(n, 6)], {"type": "Reshape", "shape": [0, 2, 3]}),
    "Sigmoid": (lambda n: [(n, 6)], {"type": "Sigmoid"}),
    "Silence": (lambda n: [(n, 6)], {"type": "Silence"}),
    "Slice": (lambda n: [(n, 6)], {"type": "Slice", "top": ["y", "z"]}),
    "Softmax": (lambda n: [(n, 6)], {"type": "Softmax"}),
    "Softmax of examples": (lambda n: [(n, 6)], {"type": "Softmax", "axis": 0}),
    "SoftmaxWithLoss": (lambda n: [(n, 4), (n,)], {"type": "SoftmaxWithLoss", "top": ["y", "p"], "ignore_label": 1}),
    "Split": (lambda n: [(n, 6)], {"type": "Split", "top": ["y", "z"]}),
    "TanH": (lambda n: [(n, 6)], {"type": "TanH"}),
}


def run(net, shapes):
    """Everything a forward and a backward pass compute from the numbers that these shapes stand for."""
    rng = np.random.default_rng(len(shapes[0]) + shapes[0][0])
    values = [rng.integers(0, 4, shape) if len(shape) == 1 else rng.standard_normal(shape) for shape in shapes]
    tops = net.forward(**{f"x{i}": x for i, x in enumerate(values)})
    result = {name: array.copy() for name, array in tops.items()}
    for blobs in net.params.values():
        for blob in blobs:
            blob.diff[...] = 0
    diffs = {name: rng.standard_normal(array.shape) for name, array in tops.items()}
    for name, dx in net.backward(**diffs).items():
        result[f"gradient of {name}"] = dx.copy()
    for i, blob in enumerate(net.params.get("y", [])):
        result[f"gradient of parameter {i}"] = blob.diff.copy()
    return result


@pytest.mark.parametrize(("shapes", "layer"), LAYERS.values(), ids=LAYERS)
def test_batches_of_changing_size(shapes, layer):
    used = layer_net(layer, *shapes(3), phase="TEST")
    for n in (3, 7, 1, 4, 7, 2):
        got, expected = run(used, shapes(n)), run(layer_net(layer, *shapes(n), phase="TEST"), shapes(n))
        assert got.keys() == expected.keys()
        for what, array in expected.items():
            np.testing.assert_allclose(got[what], array, rtol=1e-12, atol=1e-15, err_msg=f"{what}, {n} examples")


def test_a_batch_of_one_is_the_first_of_a_batch_of_many():
    for name in ("Convolution", "InnerProduct", "Pooling AVE", "Softmax", "leaky ReLU", "Sigmoid", "TanH", "Slice"):
        shapes, layer = LAYERS[name]
        net = layer_net(layer, *shapes(4), phase="TEST")
        x = np.random.default_rng(0).standard_normal(shapes(4)[0])
        many = {top: array.copy() for top, array in net.forward(x0=x).items()}
        for i in range(4):
            for top, array in net.forward(x0=x[i : i + 1]).items():
                np.testing.assert_allclose(array[0], many[top][i], rtol=1e-12, atol=1e-15)
