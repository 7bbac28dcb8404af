"""The benchmark nets load, train and have the shapes they are meant to have; the script runs."""

import json
import subprocess
import sys
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.tools.timing import fill_inputs

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
PARAMETERS = {
    "mlp64": 535818,
    "mlp256": 535818,
    "lenet": 431080,
    "cifar10_quick": 145578,
    "alexnet": 60965224,
    "lstm": 4 * 256 * (128 + 1 + 256) + 4 * 256 * (256 + 1 + 256) + 2570,
}
SHAPES = {"mlp64": [784], "mlp256": [784], "lenet": [1, 28, 28], "cifar10_quick": [3, 32, 32]}


def test_every_net_of_the_folder_is_known():
    assert {path.stem for path in BENCHMARKS.glob("*.yaml")} == set(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name):
    net = nettrain.Net(BENCHMARKS / f"{name}.yaml", phase="TEST")
    assert net.flat.count == PARAMETERS[name]
    if name == "alexnet":
        shapes = {blob: net.blobs[blob].shape[1:] for blob in ("conv1", "pool1", "pool2", "conv5", "pool5", "fc8")}
        assert shapes == {
            "conv1": (96, 55, 55),
            "pool1": (96, 27, 27),
            "pool2": (256, 13, 13),
            "conv5": (256, 13, 13),
            "pool5": (256, 6, 6),
            "fc8": (1000,),
        }


@pytest.mark.parametrize("name", SHAPES)
def test_training_changes_every_parameter(name, workdir):
    solver = nettrain.get_solver(BENCHMARKS / f"{name}.yaml", settings=[f"data.shape=[{[4, *SHAPES[name]]}, [4]]"])
    fill_inputs(solver.net)
    before = solver.net.flat.data.copy()
    solver.step(2)
    for parameter in solver.net.parameters:
        where = slice(parameter.start, parameter.stop)
        assert not np.array_equal(solver.net.flat.data[where], before[where]), parameter.name


def test_the_script_measures_nettrain_alone(tmp_path):
    result = tmp_path / "result.json"
    options = ["--only", "nettrain", "--nets", "a", "--rounds", "1", "--threads", "1", "--batch", "8", "--json", result]
    command = [sys.executable, str(BENCHMARKS / "side_by_side.py"), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "mlp64" in done.stdout
    (row,) = json.loads(result.read_text())["results"]
    assert (row["net"], row["batch"], row["parameters"]) == ("mlp64", 8, PARAMETERS["mlp64"])
    # every product forward and for dW, all but the first for dx
    multiply_adds = 8 * (3 * (784 * 512 + 512 * 256 + 256 * 10) - 784 * 512)
    np.testing.assert_allclose(row["gflop_per_step"], 2e-9 * multiply_adds)
    side = row["nettrain"]
    np.testing.assert_allclose(side["gflops"], row["gflop_per_step"] / (side["ms"] / 1e3))
    np.testing.assert_allclose(side["share_of_peak"], side["gflops"] / row["peak_gflops"])


def test_copying_sequences_of_other_lengths(workdir):
    """An untrained net has half of the bits wrong, at every length."""
    spec = Path(nettrain.__file__).parent / "configs" / "lstm_copy.yaml"
    nettrain.Net(spec, phase="TEST").save("weights.npz")
    options = [f"{spec}=weights.npz", "--lengths", "2,9", "--out", "lengths.svg"]
    command = [sys.executable, str(BENCHMARKS / "copy_lengths.py"), *options]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].split() == ["wrong", "bits", "2", "9"]
    for share in lines[1].split()[1:]:
        assert 35 < float(share.rstrip("%")) < 65
    svg = (workdir / "lengths.svg").read_text()
    assert "length of the sequence" in svg
    assert "share of wrong bits" in svg
