"""`nettrain time`: every layer once, columns that add up, GFLOP/s by a clock whose ticks are known."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from nettrain.net.net import Net
from nettrain.net.netspec import load
from nettrain.tools import timing

SPEC = """
name: small
solver: {base_lr: 0.1, momentum: 0.9, max_iter: 1}
layers:
  - {name: data, type: Input, shape: [[8, 6], [8]], top: [data, label]}
  - {name: ip1, type: InnerProduct, bottom: data, num_output: 5}
  - {name: relu, type: ReLU, top: ip1}
  - {name: ip2, type: InnerProduct, num_output: 3}
  - {name: frozen, type: InnerProduct, num_output: 4, param: [{lr_mult: 0}, {lr_mult: 1}]}
  - {name: loss, type: SoftmaxWithLoss, bottom: [frozen, label]}
"""
WITHOUT_SOLVER = SPEC.replace("solver: {base_lr: 0.1, momentum: 0.9, max_iter: 1}", "")
NAMES = ["data", "ip1", "relu", "ip2", "frozen", "loss"]


@pytest.fixture
def clock(monkeypatch):
    """A clock that is one second later each time it is read."""
    ticks = itertools.count()
    monkeypatch.setattr(timing, "perf_counter", lambda: float(next(ticks)))
    monkeypatch.setattr(timing, "PEAK_SIZE", 16)


def measured(text=SPEC, phase="TRAIN", settings=()):
    return timing.measure(load(text, settings), phase, 2)


def test_gflops(clock):
    result = measured()
    layers = {layer["name"]: layer for layer in result["layers"]}
    products = {"ip1": 8 * 6 * 5, "ip2": 8 * 5 * 3, "frozen": 8 * 3 * 4}
    backward = {"ip1": 1, "ip2": 2, "frozen": 1}  # ip1: dW alone; frozen: dx alone
    for name, multiply_adds in products.items():
        assert layers[name]["forward_gflops"] == pytest.approx(2e-9 * multiply_adds)
        assert layers[name]["backward_gflops"] == pytest.approx(2e-9 * multiply_adds * backward[name])
    assert all(layers[n][f"{way}_gflops"] is None for n in ("data", "relu", "loss") for way in ("forward", "backward"))
    totals = result["totals"]
    assert totals["gflops"] == pytest.approx(2e-9 * sum(n * (1 + backward[name]) for name, n in products.items()))
    assert totals["peak_gflops"] == pytest.approx(2e-9 * result["threads"] * 16**3)
    assert totals["share_of_peak"] == pytest.approx(totals["gflops"] / totals["peak_gflops"])
    assert totals["examples_per_second"] == 8
    assert totals["step_ms"] == 1000


def test_sums(clock):
    result = measured()
    layers, totals = result["layers"], result["totals"]
    assert [layer["backward_ms"] for layer in layers] == [0, 1000, 1000, 1000, 1000, 1000]
    assert totals["forward_ms"] == sum(layer["forward_ms"] for layer in layers) == 6000
    assert totals["backward_ms"] == sum(layer["backward_ms"] for layer in layers) == 5000
    assert totals["update_ms"] == 1000
    assert sum(layer["share"] for layer in layers) + totals["update_share"] == pytest.approx(1)
    assert layers[1]["share"] == pytest.approx(2 / 12)


def test_two_bottoms_one_of_which_learns(clock):
    """A convolution of two bottoms makes one dx for each that wants it."""
    text = """
layers:
  - {name: data, type: Input, shape: [[2, 3, 4, 4], [2, 3, 2, 2]], top: [data, target]}
  - {name: first, type: Convolution, bottom: data, num_output: 3, kernel_size: 1}
  - {name: both, type: Convolution, bottom: [data, first], num_output: 3, kernel_size: 3, top: [a, b]}
  - {name: loss, type: EuclideanLoss, bottom: [a, target]}
  - {name: loss2, type: EuclideanLoss, bottom: [b, target]}
"""
    both = next(layer for layer in measured(text)["layers"] if layer["name"] == "both")
    products = 2 * 2 * 3 * 4 * 3 * 9
    assert both["forward_gflops"] == pytest.approx(2e-9 * products)
    assert both["backward_gflops"] == pytest.approx(2e-9 * products * 1.5)


def test_what_the_clock_covers(monkeypatch):
    """A layer that is slow in one direction only is slow there only, and the median forgets an outlier."""
    now, calls = [0.0], []
    monkeypatch.setenv("NETTRAIN_ENGINE", "numpy")  # a chain does not call its layers' Forward_cpu
    monkeypatch.setattr(timing, "perf_counter", lambda: now[0])
    monkeypatch.setattr(timing, "PEAK_SIZE", 16)
    relu = Net(load(SPEC), "TRAIN").layers["relu"]
    forward, backward = type(relu).Forward_cpu, type(relu).Backward_cpu

    def slow(self, bottom, top):
        calls.append(now[0])
        now[0] += 100.0 if len(calls) == timing.WARM_UP + 2 else 3.0
        forward(self, bottom, top)

    def slower(self, top, propagate_down, bottom):
        now[0] += 5.0
        backward(self, top, propagate_down, bottom)

    monkeypatch.setattr(type(relu), "Forward_cpu", slow)
    monkeypatch.setattr(type(relu), "Backward_cpu", slower)
    monkeypatch.setattr(timing, "sgemm_peak", lambda: 1.0)
    result = timing.measure(load(SPEC), "TRAIN", 5)
    times = {layer["name"]: (layer["forward_ms"], layer["backward_ms"]) for layer in result["layers"]}
    assert times.pop("relu") == (3000, 5000)
    assert set(times.values()) == {(0, 0)}
    assert result["totals"]["step_ms"] == 8000
    assert len(calls) == timing.WARM_UP + 2 * 5


def test_every_layer_once_and_every_field(nettrain_cli, workdir):
    (workdir / "net.yaml").write_text(SPEC)
    result = json.loads(nettrain_cli("time", "net.yaml", "--iterations", "2", "--threads", "2", "--json").stdout)
    assert [layer["name"] for layer in result["layers"]] == NAMES
    fields = {"name", "type", "forward_ms", "backward_ms", "share", "forward_gflops", "backward_gflops"}
    fields |= {"engine", "uncovered"}
    assert all(set(layer) == fields for layer in result["layers"])
    about = {key: value for key, value in result.items() if key not in ("layers", "totals")}
    assert about == {"name": "small", "phase": "TRAIN", "iterations": 2, "threads": 2, "batch": 8}
    assert set(result["totals"]) == {
        *("forward_ms", "backward_ms", "update_ms", "update_share", "step_ms"),
        *("examples_per_second", "gflops", "peak_gflops", "share_of_peak"),
    }
    assert all(value > 0 for value in result["totals"].values())


def test_the_table(nettrain_cli):
    lines = nettrain_cli("time", "configs/mlp.yaml", "--iterations", "2").stdout.splitlines()
    assert lines[0].startswith("mlp · TRAIN · batch 64 · ")
    assert [line.split()[0] for line in lines[2:-2]] == ["digits", "ip1", "relu1", "ip2", "loss", "total"]
    assert lines[-2].startswith("update 0.")
    assert "examples/s" in lines[-1]


def test_a_spec_without_a_solver_has_no_update(nettrain_cli, workdir):
    (workdir / "net.yaml").write_text(WITHOUT_SOLVER)
    assert "update" not in nettrain_cli("time", "net.yaml", "--iterations", "1").stdout
    totals = json.loads(nettrain_cli("time", "net.yaml", "--iterations", "1", "--json").stdout)["totals"]
    assert totals["update_ms"] == 0
    assert totals["backward_ms"] > 0


def test_the_test_net_runs_forward_only(nettrain_cli):
    options = ("--phase", "test", "--iterations", "1", "--set", "digits.batch_size=10", "--json")
    result = json.loads(nettrain_cli("time", "configs/mlp.yaml", *options).stdout)
    assert [layer["name"] for layer in result["layers"]] == ["digits", "ip1", "relu1", "ip2", "accuracy", "loss"]
    assert result["batch"] == 10
    assert result["totals"]["backward_ms"] == result["totals"]["update_ms"] == 0
    assert result["layers"][1]["backward_gflops"] is None


def test_the_solver_is_checked(nettrain_cli, workdir):
    (workdir / "net.yaml").write_text(SPEC.replace("momentum: 0.9", "momentum: 2"))
    assert "solver.momentum" in nettrain_cli("time", "net.yaml", exit_code=2).stderr


@pytest.mark.parametrize("arguments", [["missing.yaml"], ["net.yaml"], ["configs/mlp.yaml", "--iterations", "0"]])
def test_what_is_wrong_exits_2(nettrain_cli, arguments):
    Path("net.yaml").write_text(SPEC.replace("ReLU", "Relo"))
    nettrain_cli("time", *arguments, exit_code=2)


def test_no_loss_stops_it_and_no_weight_changes(monkeypatch):
    nets = []
    monkeypatch.setattr(timing, "fill_inputs", lambda net: (nets.append(net), net.blobs["data"].data.fill(np.inf)))
    before = Net(load(SPEC), "TRAIN").flat.data.copy()
    finite = measured(SPEC, settings=["solver.base_lr=1e30"])
    assert finite["totals"]["step_ms"] > 0
    nets.clear()
    monkeypatch.setattr(timing, "fill_inputs", lambda net: nets.append(net))
    measured(SPEC, settings=["solver.base_lr=1e30"])
    assert np.array_equal(nets[0].flat.data, before)


def test_inputs_are_filled_once_with_labels_that_exist():
    text = """
layers:
  - {name: data, type: Input, shape: [[50, 6], [50], [50, 3]], top: [data, label, target]}
  - {name: ip, type: InnerProduct, bottom: data, num_output: 3}
  - {name: copies, type: Split, bottom: label, top: [one, two]}
  - {name: accuracy, type: Accuracy, bottom: [ip, one]}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip, two]}
  - {name: distance, type: EuclideanLoss, bottom: [ip, target]}
"""
    nets = [Net(text, "TRAIN") for _ in range(2)]
    for net in nets:
        timing.fill_inputs(net)
        assert not net.blobs["label"].data.any()
        for name in ("data", "target"):
            assert 0.7 < net.blobs[name].data.std() < 1.3
        net.forward_backward()
    assert np.array_equal(nets[0].blobs["data"].data, nets[1].blobs["data"].data)


@pytest.mark.parametrize(
    "recurrent",
    [
        {"type": "LSTM", "bottom": ["x", "cont"], "num_output": 2},
        {
            "type": "Recurrent",
            "bottom": ["x", "cont"],
            "states": {"name": "h", "next": "h2", "shape": 2},
            "outputs": "h2",
            "cell": [
                {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 2},
                {"name": "h2", "type": "Eltwise", "bottom": ["ip", "h"]},
            ],
        },
    ],
    ids=lambda layer: layer["type"],
)
def test_sequences_go_on_after_the_first_step(recurrent):
    shapes = {"x": [5, 3, 4], "cont": [5, 3]}
    layers = [{"name": name, "type": "Input", "shape": shape} for name, shape in shapes.items()]
    net = Net({"layers": [*layers, {"name": "y", **recurrent}]})
    timing.fill_inputs(net)
    assert np.array_equal(net.blobs["cont"].data, [[0] * 3] + [[1] * 3] * 4)


def test_the_peak_counts_one_product_for_each_thread(clock, monkeypatch):
    shapes = []
    matmul = np.matmul
    monkeypatch.setattr(timing.np, "matmul", lambda a, b, out: (shapes.append(out.shape), matmul(a, b, out=out)))
    monkeypatch.setattr(timing, "threads", lambda: 3)
    assert timing.sgemm_peak() == pytest.approx(2e-9 * 3 * 16**3)
    assert shapes == [(16, 16)] * 3 * (1 + timing.PEAK_REPEATS)
