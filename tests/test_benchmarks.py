"""The benchmark nets are those of PyTorch and of their papers, and train; the script runs."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path

import nettrain
import numpy as np
import parity
import pytest
from nettrain.tools.timing import fill_inputs

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
TORCH = Path(__file__).parent / "oracle_torch" / "nets.npz"
PARAMETERS = {
    "mlp64": 535818,
    "mlp256": 535818,
    "lenet": 431080,
    "cifar10_quick": 145578,
    "alexnet": 60965224,
    "lstm": 4 * 256 * (128 + 1 + 256) + 4 * 256 * (256 + 1 + 256) + 2570,
    "resnet18": 11689512,
    "resnet20": 272474,
    "vgg11": 132863336,
    "squeezenet": 1235496,
    "mobilenet": 4231976,
    "autoencoder": 2837314,
}
TRAINED = {name: shape for name, shape in parity.SHAPES.items() if name not in ("alexnet", "vgg11", "lstm")}


def test_every_net_of_the_folder_is_known():
    assert {path.stem for path in BENCHMARKS.glob("*.yaml")} == set(PARAMETERS) == set(parity.SHAPES)


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_net_is_the_one_of_pytorch(name):
    """The same parameters, loss and gradient of the first layer, in float64: no layer is left out, or other."""
    mine = parity.nettrain_numbers(name)
    assert sum(map(math.prod, mine["shapes"])) == PARAMETERS[name]
    with np.load(TORCH, allow_pickle=False) as theirs:
        assert [list(shape) for shape in mine["shapes"]] == json.loads(str(theirs[f"{name}_shapes"]))
        for key in ("loss", "gradient"):
            assert parity.distance(mine[key], theirs[f"{name}_{key}"]) < 1e-9


if importlib.util.find_spec("torch"):

    @pytest.mark.parametrize("name", PARAMETERS)
    def test_the_net_in_pytorch_is_the_one_whose_numbers_are_kept(name):
        now = parity.torch_numbers(name)
        with np.load(TORCH, allow_pickle=False) as kept:
            assert [list(shape) for shape in now["shapes"]] == json.loads(str(kept[f"{name}_shapes"]))
            for key in ("loss", "gradient"):
                assert parity.distance(now[key], kept[f"{name}_{key}"]) < 1e-9


@pytest.mark.parametrize("name", TRAINED)
def test_training_changes_every_parameter(name, workdir):
    batch, *example = TRAINED[name]
    example[1:] = [min(side, 64) for side in example[1:]]  # these pool whatever size is left
    labels = [] if name == "autoencoder" else [[batch]]
    shapes = [[batch, *example], *labels]
    solver = nettrain.get_solver(BENCHMARKS / f"{name}.yaml", settings=[f"data.shape={shapes}"])
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
