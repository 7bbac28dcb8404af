"""Layers and solvers against numbers computed by Caffe 1.0 (oracle/README.md) and by PyTorch (oracle_torch/make.py)."""

import json
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.solver.monitor import Monitor
from nettrain.solver.parameters import SolverParameters
from nettrain.solver.policies import rate_policy
from nettrain.solver.rules import RULES

ORACLE = Path(__file__).parent / "oracle"
TORCH = Path(__file__).parent / "oracle_torch"
ZOO = set(nettrain.layer_type_list())


def fixture(path):
    with np.load(path, allow_pickle=False) as arrays:
        data = {name: arrays[name] for name in arrays.files}
    return json.loads(str(data.pop("spec"))), data


def numbered(data, prefix):
    return [data[f"{prefix}{i}"] for i in range(sum(k.removeprefix(prefix).isdigit() for k in data))]


LAYERS = [path for path in sorted(ORACLE.glob("layer_*.npz")) if path.stem.split("_")[1] in ZOO]
TORCH_LAYERS = sorted(TORCH.glob("layer_*.npz"))


def oracle_net(spec, data, dtype):
    """The layer with Input layers for its bottoms, every gradient computed."""
    shapes = [values.shape for values in numbered(data, "bottom")]
    return layer_net(spec["layer"], *shapes, inputs=" ".join(spec["layer"]["bottom"]), phase=spec["phase"], dtype=dtype)


def close(mine, theirs, rtol=1e-4):
    scale = max(1e-6, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=0.1 * rtol * scale)


@pytest.mark.parametrize("path", LAYERS, ids=lambda path: path.stem)
def test_layer_equals_caffe(path):
    compare_layer(path, "float32", lambda mine, caffes: close(mine, caffes))


@pytest.mark.parametrize("path", TORCH_LAYERS, ids=lambda path: path.stem)
def test_layer_equals_pytorch(path):
    compare_layer(path, "float64", lambda mine, theirs: close(mine, theirs, 1e-9))


def compare_layer(path, dtype, close):
    """Parameters and bottoms in; tops, parameters and gradients out."""
    spec, data = fixture(path)
    net = oracle_net(spec, data, dtype)
    blobs = net.params.get("it", [])
    for blob, values in zip(blobs, numbered(data, "param"), strict=True):
        blob.data[...] = values
    bottoms = dict(zip(spec["layer"]["bottom"], numbered(data, "bottom"), strict=True))
    for _ in range(spec["steps"]):
        net.forward(**bottoms)
    for name, values in zip(spec["layer"]["top"], numbered(data, "top"), strict=True):
        close(net.blobs[name].data, values)
    for blob, values in zip(blobs, numbered(data, "paramafter"), strict=False):
        close(blob.data, values)
    diffs = {name: data[f"topdiff{i}"] for i, name in enumerate(spec["layer"]["top"]) if f"topdiff{i}" in data}
    net.backward(**diffs)
    for i, name in enumerate(spec["layer"]["bottom"]):
        if f"bottomdiff{i}" in data:
            close(net.blobs[name].diff, data[f"bottomdiff{i}"])
    for i, blob in enumerate(blobs):
        if f"paramdiff{i}" in data:
            close(blob.diff, data[f"paramdiff{i}"])


def test_every_layer_of_this_zoo_that_caffe_computed_is_compared():
    assert len(LAYERS) >= 23
    assert {"Convolution", "Pooling", "InnerProduct", "SoftmaxWithLoss"} <= {p.stem.split("_")[1] for p in LAYERS}


def solver_spec(solver, ip1_param):
    return {
        "solver": {"max_iter": 12} | solver,
        "layers": [
            {"name": "data", "type": "Input", "shape": [8, 6]},
            {"name": "label", "type": "Input", "shape": [8]},
            {"name": "ip1", "type": "InnerProduct", "bottom": "data", "num_output": 5, "param": ip1_param},
            {"name": "tanh", "type": "TanH"},
            {"name": "ip2", "type": "InnerProduct", "num_output": 3},
            {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip2", "label"]},
        ],
    }


SOLVERS = sorted(ORACLE.glob("solver_*.npz"))
TORCH_SOLVERS = sorted(TORCH.glob("solver_*.npz"))


@pytest.mark.parametrize("path", SOLVERS + TORCH_SOLVERS, ids=lambda path: f"{path.parent.name} {path.stem}")
def test_solver_equals_caffe_and_pytorch(path):
    spec, data = fixture(path)
    solver = nettrain.get_solver(solver_spec(spec["solver"], spec["ip1_param"]))
    for name, blobs in solver.net.params.items():
        for i, blob in enumerate(blobs):
            blob.data[...] = data[f"init_{name}_{i}"]
    rows = iter(zip(data["X"], data["Y"], strict=True))
    for iteration, loss in enumerate(data["losses"], 1):

        def feed(net=solver.net):
            for name, values in zip(("data", "label"), next(rows), strict=True):
                net.blobs[name].data[...] = values

        solver.net.layers["data"].Forward_cpu = lambda bottom, top, feed=feed: feed()
        solver.step(1)
        np.testing.assert_allclose(solver.losses[-1], loss, rtol=1e-5)
        for key in (k for k in data if k.startswith(f"iter{iteration}_")):
            _, name, i = key.split("_")
            close(solver.net.params[name][int(i)].data, data[key], 1e-5)


def test_every_solver_fixture_is_compared():
    assert len(SOLVERS) == 9
    assert {path.stem.split("_")[2] for path in TORCH_SOLVERS} == set(RULES)


def test_plateau_equals_pytorch():
    """PyTorch's patience is the number of tests that are let pass; ours that after which the rate drops."""
    with np.load(TORCH / "plateau.npz") as arrays:
        scores, rates = arrays["scores"], arrays["rates"]
    keys = {"base_lr": 0.5, "lr_policy": "plateau", "gamma": 0.7, "plateau_patience": 3, "min_lr": 0.01}
    policy = rate_policy(SolverParameters.from_mapping(keys | {"test_interval": 1}), 60)
    monitor, seen = Monitor("score", higher=True), []
    for i, score in enumerate(scores):
        policy.after_test(monitor.see(score, i))
        seen.append(policy(i))
    np.testing.assert_allclose(seen, rates, rtol=1e-12)
    assert len(set(seen)) > 5
