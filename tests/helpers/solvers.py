"""What tests of the solver share: least squares by hand, and a classifier of random data."""

import nettrain
import numpy as np
from nettrain.solver.listener import Functions

from helpers import layer

RATE = 0.1


def rows_of(solver):
    """A list that gets each row the solver reports."""
    rows = []
    solver.add(Functions(on_row=rows.append))
    return rows


# Least squares, whose gradient is done by hand. Four examples; x W' + b should be t.

X = np.array([[1.0, 2, 0.5], [0, -1, 1], [0.5, 0.5, -2], [-1, 0, 1.5]])
T = np.array([[1.0, 0], [0.5, -1], [0, 2], [1.5, 1]])
W0 = np.array([[0.5, -1, 0.25], [1, 0.5, -0.75]])
B0 = np.array([0.5, -0.25])


def least_squares(params=(), batch_size=4, **solver):
    """A solver for L = 1/(2N) Σ |x W' + b - t|², from W0 and B0."""
    np.savez("set.npz", data=X, label=T)
    reader = layer("d", "Data", top=["x", "t"], source="set.npz", batch_size=batch_size, shuffle=False, split=0)
    ip = layer("ip", "InnerProduct", "x", num_output=2, param=list(params))
    loss = layer("loss", "EuclideanLoss", ["ip", "t"])
    keys = {"base_lr": RATE, "max_iter": 100, "test_initialization": False}
    result = nettrain.get_solver({"solver": keys | solver, "layers": [reader, ip, loss]}, out="run")
    for blob, values in zip(result.net.params["ip"], (W0, B0), strict=True):
        blob.data[...] = values
    return result


def no_test(**solver):
    """A spec whose nets read no data set that ends."""
    layers = [
        layer("x", "DummyData", shape=[4, 3], data_filler="gaussian"),
        layer("ip", "InnerProduct", num_output=2),
        layer("y", "DummyData", shape=[4, 2], data_filler=1),
        layer("loss", "EuclideanLoss", ["ip", "y"]),
    ]
    return {"solver": {"base_lr": 0.1, "max_iter": 5} | solver, "layers": layers}


def classifier(train=20, test=7, batch_size=3, extra=(), layers=None, **solver):
    rng = np.random.default_rng(0)
    arrays = {}
    for split, count in (("train", train), ("test", test)):
        arrays[f"{split}_data"] = rng.standard_normal((count, 4))
        arrays[f"{split}_label"] = rng.integers(0, 3, count)
    np.savez("classes.npz", **arrays)
    layers = layers or [
        layer("d", "Data", top=["data", "label"], source="classes.npz", batch_size={"train": 5, "test": batch_size}),
        layer("ip", "InnerProduct", "data", num_output=3),
        *extra,
        layer("accuracy", "Accuracy", ["ip", "label"], include="test"),
        layer("loss", "SoftmaxWithLoss", ["ip", "label"]),
    ]
    keys = {"base_lr": 0.1, "max_iter": 10, "test_initialization": False}
    return nettrain.get_solver({"name": "classes", "solver": keys | solver, "layers": layers}, out="run"), arrays
