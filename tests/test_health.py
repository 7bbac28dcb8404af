"""Warnings: each sign is seen where it is, is not seen where it is not, and is said once."""

import math

import nettrain
import numpy as np
import pytest
from nettrain.solver.snapshot import read_snapshot


@pytest.fixture(autouse=True)
def _here(workdir):
    return workdir


def make(layers, labels=None, scale=1.0, examples=60, width=4, on_warning=None, **solver):
    """A classifier of 3 classes; returns the solver and its warnings."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, examples) if labels is None else labels(examples)
    data = scale * rng.random((examples, width)) if scale > 1 else rng.standard_normal((examples, width))
    np.savez("data.npz", train_data=data, train_label=label, test_data=data, test_label=label)
    source = {"name": "d", "type": "Data", "top": ["data", "label"], "source": "data.npz", "batch_size": 20}
    loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["out", "label"]}
    keys = {"base_lr": 0.01, "max_iter": 8, "test_interval": 2}
    said = []
    spec = {"solver": keys | solver, "layers": [source, *layers, loss]}
    return nettrain.get_solver(spec, out="run", on_warning=said.append), said


def ip(name, bottom, num_output=3, **keys):
    return {"name": name, "type": "InnerProduct", "bottom": bottom, "num_output": num_output, **keys}


def hidden(kind, **keys):
    return [ip("ip1", "data", 10, **keys), {"name": "act", "type": kind, "bottom": "ip1"}, ip("out", "act")]


@pytest.mark.parametrize("kind", ["ReLU", "Sigmoid", "TanH"])
def test_a_healthy_net_is_not_warned_of(kind):
    solver, said = make(hidden(kind), base_lr=0.2)
    solver.solve()
    assert said == []


def test_dead_units_are_counted_over_the_whole_test():
    solver, said = make(hidden("ReLU", bias_filler=-50))
    solver.solve()
    dead = [text for text in said if "units" in text]
    assert dead == [
        "10 of 10 units of ReLU `act` were 0 in the whole test and learn no more; try a smaller base_lr, or "
        "weight_filler: msra before it"
    ]


def test_units_that_live_for_one_example_are_not_dead():
    solver, said = make(hidden("ReLU"), base_lr=1e-6)
    bias = solver.net.params["ip1"][1].data
    W = solver.net.params["ip1"][0].data
    with np.load("data.npz") as arrays:
        reach = arrays["test_data"] @ W.T
    bias[...] = 0.01 - reach.max(axis=0)  # each unit is positive for its one best example
    solver.solve()
    assert [text for text in said if "units" in text] == []
    bias[:6] -= 10  # six of ten never
    solver.max_iter += 2
    solver.solve()
    assert [text.split(" units")[0] for text in said if "units" in text] == ["6 of 10"]


def test_dead_units_of_images_are_channels():
    layers = [
        {"name": "c", "type": "Convolution", "num_output": 5, "kernel_size": 1, "bias_filler": -99},
        {"name": "act", "type": "ReLU", "top": "c", "bottom": "c"},
        ip("out", "c"),
    ]
    solver, said = make(layers)
    solver.solve()
    assert [text.split(" were")[0] for text in said if "units" in text] == ["5 of 5 units of ReLU `act`"]


@pytest.mark.parametrize("kind", ["Sigmoid", "TanH"])
def test_saturation(kind):
    solver, said = make(hidden(kind, weight_filler={"type": "gaussian", "std": 100}))
    solver.solve()
    assert [text.split(" are")[0].split(" of ", 1)[1] for text in said] == [f"the values of {kind} `act`"]


def test_a_sigmoid_at_the_end_may_be_at_its_limits():
    layers = [ip("out", "data"), {"name": "p", "type": "Sigmoid", "bottom": "out", "include": "test"}]
    solver, said = make(layers)
    solver.net.params["out"][0].data[...] = 0
    solver.net.params["out"][1].data[...] = 99
    solver.solve()
    assert [text for text in said if "limits" in text] == []


def test_a_loss_that_stays_at_that_of_guessing():
    solver, said = make([ip("out", "data", weight_filler=0)], base_lr=1e-9)
    solver.solve()
    assert said == [
        f"the loss of SoftmaxWithLoss `loss` sits at ln(3) = {math.log(3):.3f}, that of guessing; try another base_lr, "
        "and look whether labels belong to their examples and inputs are scaled"
    ]


def test_labels_that_begin_at_one():
    solver, said = make([ip("out", "data")], labels=lambda count: 1 + np.arange(count) % 2)
    solver.solve()
    assert said == [
        "none of 60 test labels of SoftmaxWithLoss `loss` is 0; the 3 classes are 0 to 2: are yours counted from 1?"
    ]


def test_unscaled_inputs():
    solver, said = make([ip("out", "data")], scale=255.0, base_lr=1e-6)
    solver.solve()
    assert len(said) == 1
    assert said[0].startswith("InnerProduct `out` reads `data` unscaled, values up to 25")


def test_a_parameter_without_gradient():
    layers = [
        ip("side", "data"),
        {"name": "zero", "type": "Power", "bottom": "side", "scale": 0},
        ip("main", "data"),
        {"name": "out", "type": "Eltwise", "bottom": ["main", "zero"]},
    ]
    solver, said = make(layers)
    solver.solve()
    wanted = "gets no gradient: nothing it makes reaches a loss, or all behind it is 0"
    assert said == [f"parameter {i} of InnerProduct `side` {wanted}" for i in (0, 1)]


def test_warnings_are_said_once_also_after_resuming():
    solver, said = make([ip("out", "data")], scale=255.0, base_lr=1e-6)
    solver.solve()
    assert read_snapshot(solver.last_snapshot).state["said"] == ["Unscaled InnerProduct `out`"]
    again, more = make([ip("out", "data")], scale=255.0, base_lr=1e-6, max_iter=12)
    again.run = nettrain.solver.runs.Run("", folder="other")
    again.restore(solver.last_snapshot)
    again.solve()
    assert (len(said), more) == (1, [])


def test_the_command_line_says_them(nettrain_cli):
    solver, _ = make([ip("out", "data")], scale=255.0, base_lr=1e-6)
    import yaml

    with open("net.yaml", "w") as file:
        yaml.safe_dump(solver.spec.to_python(), file)
    result = nettrain_cli("train", "net.yaml")
    assert result.stderr.count("warning: InnerProduct `out` reads `data` unscaled") == 1
    assert "warning" not in result.stdout


# Divergence: how it came


def test_how_the_weights_grew_before():
    solver, _ = make([ip("out", "data")], base_lr=3e38, momentum=0.5, test_interval=0, max_iter=50, display=1)
    with pytest.raises(nettrain.NettrainError) as error:
        solver.solve()
    text = next(line for line in str(error.value).splitlines() if "before it" in line)
    assert "largest |W| of `out` grew from " in text
    assert f"in {solver.iter - solver.trail.looks[-1][0]} iteration" in text


def test_the_bad_layer_is_found_though_a_later_one_works_in_its_memory():
    """Minus infinity, which a ReLU in the same memory makes 0: of what is left there the logarithm of it is first."""
    layers = [
        ip("out", "data"),
        ip("h", "data"),
        {"name": "r", "type": "ReLU", "bottom": "h", "top": "h"},
        {"name": "c", "type": "Log", "bottom": "h"},
        {"name": "extra", "type": "Reduction", "bottom": "c", "loss_weight": 1.0},
    ]
    solver, _ = make(layers, test_interval=0, scale=2.0)
    solver.net.params["h"][0].data[...] = -3e38
    steps = {step.spec.name: step for step in solver.net.steps}
    assert steps["r"].top[0].shares_data_with(steps["h"].top[0])
    with pytest.raises(nettrain.NettrainError, match=r"forward, layer `h` .* inf among 60 of its outputs"):
        solver.solve()
