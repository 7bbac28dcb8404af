"""The benchmark nets are those of PyTorch and of their papers, and train; the script runs."""

import importlib.util
import json
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import growth
import hosts
import nettrain
import numpy as np
import parity
import pytest
import side_by_side
import worker
from nettrain.compute import parallel
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


def script(*options, **more):
    command = [sys.executable, str(BENCHMARKS / "side_by_side.py"), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, **more)


def test_the_script_measures_nettrain_alone(tmp_path):
    result = tmp_path / "result.json"
    options = ["--only", "nettrain", "--nets", "a", "--rounds", "1", "--threads", "1", "--batch", "8", "--json", result]
    done = script(*options, check=True)
    assert "mlp64" in done.stdout
    (row,) = json.loads(result.read_text())["results"]
    assert (row["net"], row["batch"], row["parameters"]) == ("mlp64", 8, PARAMETERS["mlp64"])
    # every product forward and for dW, all but the first for dx
    multiply_adds = 8 * (3 * (784 * 512 + 512 * 256 + 256 * 10) - 784 * 512)
    np.testing.assert_allclose(row["gflop_per_step"], 2e-9 * multiply_adds)
    side = row["nettrain"]
    np.testing.assert_allclose(side["gflops"], row["gflop_per_step"] / (side["ms"] / 1e3))
    np.testing.assert_allclose(side["share_of_peak"], side["gflops"] / row["peak_gflops"])


def test_inference_is_measured_in_batches_of_1_and_32(tmp_path):
    result = tmp_path / "result.json"
    done = script("--only", "nettrain", "--nets", "resnet20", "--rounds", 1, "--forward", "--json", result)
    assert "forward passes" in done.stdout
    rows = json.loads(result.read_text())["results"]
    assert [(row["batch"], row["forward"]) for row in rows] == [(1, True), (32, True)]
    assert {row["parameters"] for row in rows} == {PARAMETERS["resnet20"]}  # not the running statistics
    one, many = (row["gflop_per_step"] for row in rows)
    np.testing.assert_allclose(many, 32 * one)
    blocks = 32**2 * (3 * 16 + 6 * 16 * 16) + 16**2 * (16 * 32 + 5 * 32 * 32) + 8**2 * (32 * 64 + 5 * 64 * 64)
    projections = 16**2 * 16 * 32 + 8**2 * 32 * 64
    np.testing.assert_allclose(one, 2e-9 * (9 * blocks + projections + 64 * 10))


@pytest.mark.parametrize("name", ["resnet20", "mobilenet"])
def test_inference_begins_with_statistics_that_change_nothing(name):
    """A BatchNorm that has seen nothing multiplies by 316: after twenty of them all is infinite."""
    net = nettrain.Net(BENCHMARKS / f"{name}.yaml", phase="TEST", settings=["data.shape=[[2, 3, 32, 32], [2]]"])
    net.blobs["data"].data[...] = np.random.default_rng(0).standard_normal((2, 3, 32, 32))
    worker.forward_of(net)()
    scores = net.blobs["fc"].data
    assert np.isfinite(scores).all()
    assert 1e-3 < np.abs(scores).max() < 1e3


def test_the_engine_is_passed_on_and_printed(tmp_path):
    result = tmp_path / "result.json"
    options = ["--only", "nettrain", "--nets", "mlp64", "--rounds", 1, "--batch", 8, "--json", result]
    assert "engine numpy" in script(*options, "--engine", "numpy").stdout
    (row,) = json.loads(result.read_text())["results"]
    assert row["engine"] == "numpy"


@pytest.mark.parametrize("axis", growth.AXES)
def test_the_nets_that_grow_train(axis):
    before = parallel.threads()
    try:
        step = growth.nettrain_side((axis, growth.AXES[axis][0]), 1)
        step()
    finally:
        parallel.use_threads(before)
    (solver,) = (cell.cell_contents for cell in step.__closure__)
    kinds = [type(one.layer).__mro__ for one in solver.net.steps[1:-1]]
    names = [kind for kind, _ in growth.layers_of(axis, growth.AXES[axis][0])]
    assert all(name in {one.__name__ for one in mro} for name, mro in zip(names, kinds, strict=True))
    assert all(
        np.abs(parameter.blob.diff).max() > 0 for parameter in solver.net.parameters if parameter.blob.count > 10
    )


@pytest.mark.parametrize("name", ["growth", "zoo"])
def test_the_side_of_pytorch_needs_no_nettrain(name):
    command = [sys.executable, "-E", "-S", str(BENCHMARKS / f"{name}.py"), "--side", "torch", "--threads", "1"]
    done = subprocess.run(command, input="", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_pytorch_the_script_says_how_to_name_another(tmp_path):
    """An interpreter without it: this one, held to its standard library."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "$@"\n')
    bare.chmod(0o755)
    done = script("--nets", "mlp64", "--rounds", 1, "--batch", 8, "--torch-python", bare)
    assert done.returncode == 1
    assert "does not have torch; --torch-python names another interpreter" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_side_that_is_not_installed_is_left_out(monkeypatch, capsys):
    """All but PyTorch may be missing: the rest is measured, with a sentence about what is missing."""
    with pytest.raises(worker.MissingError, match=r"does not have no_such_package$"):
        worker.need("json", "no_such_package")

    def side(python, name, *_, **__):
        if name == "onnxruntime":
            raise side_by_side.MissingError("it is not there")
        about = {"batch": 1, "shape": [1, 784], "gflop": 1.0, "engine": "auto", "parameters": 5, "version": "2"}
        end = {"resident_bytes": 1, "peak_gflops": 1, "new_bytes": 0}
        made = MagicMock(about=about, steps=1, turn=lambda: 1.0, ask=lambda _: end)
        made.name = name
        made.__enter__.return_value = made
        return made

    monkeypatch.setattr(side_by_side, "Side", side)
    options = side_by_side.read_options(["--forward", "--onnxruntime", "--rounds", "2"])
    assert side_by_side.compare("mlp64", 1, options)["sides"] == ["nettrain", "torch"]
    assert capsys.readouterr().err == "mlp64: onnxruntime left out: it is not there\n"


def test_onnxruntime_is_for_inference():
    done = script("--onnxruntime")
    assert done.returncode == 2
    assert "add --forward" in done.stderr


def test_the_ratios_are_to_pytorch_as_it_comes_and_to_its_better_layout():
    """Of rounds in which everything is twice as slow the ratios are the same."""
    about = {"batch": 8, "gflop": 6.0, "engine": "auto", "parameters": 5, "version": "2"}
    sides = [SimpleNamespace(name=name, about=about, steps=1) for name in ("nettrain", "torch", "channels_last")]
    rounds = [[0.3, 0.6, 0.2], [0.6, 1.2, 0.4], [0.3, 0.6, 0.2]]
    ends = [{"resident_bytes": size, "peak_gflops": 100, "new_bytes": 0} for size in (7e6, 8e6, 9e6)]
    options = SimpleNamespace(forward=False, threads=2)
    images = side_by_side.summary("lenet", options, sides, rounds, ends)
    assert images["better"] == "channels_last"
    flat = side_by_side.summary("lstm", options, sides[:2], [turns[:2] for turns in rounds], ends[:2])
    assert flat["better"] == "torch"
    each, _, both = side_by_side.report([images, flat]).partition("\n\n")
    assert [line.split()[7] for line in each.splitlines()[1:]] == ["7", "8", "9", "7", "8"]
    rows = [line.split() for line in both.splitlines()[1:]]
    assert rows == [
        ["lenet", "8", "300", "600", "200", "0.50", "0.50-0.50", "1.50", "1.50-1.50"],
        ["lstm", "8", "300", "600", "-", "0.50", "0.50-0.50", "0.50", "0.50-0.50"],
    ]


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


# hosts.py: what needs no root


def test_rates_of_links():
    assert [hosts.bits_per_second(rate) for rate in ("100mbit", "1gbit", "2.5kbit")] == [1e8, 1e9, 2500]
    with pytest.raises(SystemExit, match="such as 100mbit; got 100"):
        hosts.bits_per_second("100")


def test_a_row_compares_with_the_model():
    """Two hosts send half of 4 MB twice, at 0.9 of 100 Mbit/s; the sum of half of it, and 50 µs twice, come to that."""
    found = {"gradient_bytes": 4_000_000, "compute_ms": 20.0, "exchange_ms": 200.0, "share_ms": 156.0}
    row = hosts.row("lenet", "100mbit", 2, found | {"communication_share": 0.95})
    assert row == ["lenet", "100mbit", "2", "20.0", "356.0", "355.9", "1.00", "0%", "95%"]
