"""Warnings: each sign is seen where it is, is not seen where it is not, and is said once."""

import math
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.solver.signs import Saturation
from nettrain.solver.snapshot import read_snapshot

pytestmark = pytest.mark.usefixtures("workdir")


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
        "10 of 10 units of ReLU `act` were 0 in the whole test and no longer learn; try a smaller base_lr, or "
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
        "and check that labels belong to their examples and inputs are scaled"
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
    assert said[0] == (
        "InnerProduct `out` reads `data` unscaled, values from 3.75011 to 253.75; learning is easier near -1 to 1: "
        "bring each column to mean 0 and standard deviation 1, or put a BatchNorm between them"
    )


def test_a_norm_that_subtracts_only_the_mean_leaves_the_scale():
    layers = [ip("h", "data", 4), {"name": "n", "type": "MVN", "bottom": "h", "across_channels": True}, ip("out", "n")]
    for variance, count in ((True, 0), (False, 1)):
        layers[1]["normalize_variance"] = variance
        solver, said = make(layers, scale=255.0, base_lr=1e-9)
        solver.solve()
        assert len([text for text in said if "unscaled" in text]) == count


NORMS = [{"type": "BatchNorm"}, {"type": "GroupNorm", "num_groups": 2}, {"type": "LayerNorm"}]


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: norm["type"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_inputs_that_are_normalized_need_no_scale(norm, after):
    before = [{"name": "n", "bottom": "data", **norm}, ip("out", "n")]
    behind = [ip("h", "data", 4), {"name": "n", "bottom": "h", **norm}, ip("out", "n")]
    solver, said = make(behind if after else before, scale=255.0, base_lr=1e-6, test_initialization=False)
    solver.solve()
    assert said == []


def test_behind_a_norm_and_beside_it():
    """A second reader without a norm still reads what is not scaled."""
    layers = [
        ip("h", "data", 4),
        {"name": "n", "type": "BatchNorm", "bottom": "h"},
        ip("side", "data"),
        ip("main", "n"),
    ]
    layers.append({"name": "out", "type": "Eltwise", "bottom": ["main", "side"]})
    solver, said = make(layers, scale=255.0, base_lr=1e-6, test_initialization=False)
    solver.solve()
    assert [text.split(" reads")[0] for text in said] == ["InnerProduct `side`"]


def images(values, first="InnerProduct", kind="Data", transform=None, batch=10, **more):
    """A net on images; what it says."""
    labels = np.arange(len(values)) % 3
    np.savez("im.npz", data=values, label=labels)
    source = {"name": "d", "type": kind, "top": ["data", "label"], "source": "im.npz", "batch_size": batch}
    if transform:
        source["transform"] = transform
    if first == "Convolution":
        layer = {"name": "c", "type": "Convolution", "bottom": "data", "num_output": 3, "kernel_size": values.shape[-1]}
        layers = [layer, {"name": "out", "type": "Flatten", "bottom": "c"}]
    else:
        layers = [ip("out", "data")]
    loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["out", "label"]}
    said = []
    spec = {"solver": {"base_lr": 1e-9, "max_iter": 2} | more, "layers": [source, *layers, loss]}
    nettrain.get_solver(spec, out="run", on_warning=said.append).solve()
    return [text for text in said if "unscaled" in text]


RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (20, 1, 9, 9), dtype="u1")


@pytest.mark.parametrize("first", ["InnerProduct", "Convolution"])
def test_advice_for_bytes_is_a_transform_that_fits_them(first):
    (text,) = images(BYTES, first)
    assert text.endswith("transform: {scale: 0.0078125, mean_value: 128} for bytes")
    assert images(BYTES, first, transform={"scale": 0.0078125, "mean_value": 128}) == []  # what it says helps


def test_rows_of_bytes_are_images_too():
    (text,) = images(BYTES.reshape(20, 81))
    assert text.endswith("for bytes")


def test_other_images_get_a_scale_of_their_own():
    (text,) = images(np.round(BYTES * 16.0))  # 12 bits
    assert text.endswith("transform: {scale: 0.00049, mean_value: 2040}")
    assert images(np.round(BYTES * 16.0), transform={"scale": 0.00049, "mean_value": 2040}) == []


def test_images_without_their_mean_are_as_caffe_has_them():
    assert images(BYTES, transform={"mean_value": 120}) == []


def test_a_table_of_large_numbers_of_both_signs_is_unscaled():
    (text,) = images(RNG.normal(0, 1000, (20, 5)))
    assert "bring each column to mean 0 and standard deviation 1" in text
    assert images(RNG.normal(0, 1, (20, 5))) == []


def test_what_is_not_learned_or_was_trained_elsewhere_is_not_unscaled():
    layers = [ip("h", "data", 4), ip("out", "h")]
    solver, said = make(layers, scale=255.0, base_lr=1e-6, freeze=["h"])
    solver.solve()
    assert said == []
    solver, said = make(layers, scale=255.0, base_lr=1e-6)
    solver.net.save("w.npz")
    solver, said = make(layers, scale=255.0, base_lr=1e-6, weights=["w.npz"])
    solver.solve()
    assert said == []


def test_hdf5_has_no_transform_to_speak_of(workdir):
    h5py = pytest.importorskip("h5py")
    with h5py.File("a.h5", "w") as file:
        file["data"], file["label"] = BYTES.astype("f4"), np.arange(20) % 3
    Path("list.txt").write_text("a.h5\n")
    source = {"name": "d", "type": "HDF5Data", "top": ["data", "label"], "source": "list.txt", "batch_size": 5}
    loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["out", "label"]}
    said = []
    spec = {"solver": {"base_lr": 1e-9, "max_iter": 2}, "layers": [source, ip("out", "data"), loss]}
    nettrain.get_solver(spec, out="run", on_warning=said.append).solve()
    assert [text for text in said if "HDF5Data `d` has no transform, so scale them where they come from" in text]


def test_a_parameter_without_gradient():
    layers = [
        ip("side", "data"),
        {"name": "zero", "type": "Power", "bottom": "side", "scale": 0},
        ip("main", "data"),
        {"name": "out", "type": "Eltwise", "bottom": ["main", "zero"]},
    ]
    solver, said = make(layers)
    solver.solve()
    wanted = (
        "gets no gradient: nothing it makes reaches a loss, or it is multiplied by zeros only, in what it reads or "
        "after it"
    )
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


def test_a_loss_that_is_zero_leaves_no_gradient_and_is_no_sign():
    """Separable classes: the hinge is satisfied, and nothing is left to learn."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 3
    np.savez("data.npz", data=10 * np.eye(3)[label] + 0.1 * rng.standard_normal((60, 3)), label=label)
    spec = {
        "solver": {"base_lr": 0.1, "max_iter": 40, "test_interval": 2},
        "layers": [
            {"name": "d", "type": "Data", "top": ["data", "label"], "source": "data.npz", "batch_size": 20},
            ip("out", "data"),
            {"name": "loss", "type": "MulticlassSVMLoss", "bottom": ["out", "label"]},
        ],
    }
    said = []
    solver = nettrain.get_solver(spec, out="run", on_warning=said.append)
    solver.solve()
    assert solver.net.loss == 0
    assert said == []


def test_pixels_that_are_always_0_are_not_dead_units():
    """A ReLU that reads data learns nothing itself."""
    layers = [
        {"name": "neg", "type": "Power", "bottom": "data", "scale": -1, "shift": -50},
        {"name": "act", "type": "ReLU", "bottom": "neg"},
        ip("out", "data"),
        {"name": "quiet", "type": "Silence", "bottom": "act"},
    ]
    solver, said = make(layers)
    solver.solve()
    assert said == []


def test_a_few_examples_do_not_show_that_units_are_dead():
    layers = hidden("ReLU", bias_filler=-50)
    solver, said = make(layers, test_iter=[2])  # 40 examples
    solver.solve()
    assert [text for text in said if "units" in text] == []


def test_saturation_of_a_net_that_has_learned_is_not_a_sign():
    """Two clouds far apart: the hidden layer ends at its limits, and the loss is next to 0."""
    rng = np.random.default_rng(0)
    label = np.arange(60) % 2
    np.savez("data.npz", data=(4.0 * label - 2)[:, None] + 0.1 * rng.standard_normal((60, 4)), label=label)
    loss = {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["out", "label"]}
    source = {"name": "d", "type": "Data", "top": ["data", "label"], "source": "data.npz", "batch_size": 20}
    said = []
    keys = {"base_lr": 0.5, "max_iter": 200, "test_interval": 100}
    layers = [source, ip("ip1", "data", 10), {"name": "act", "type": "TanH"}, ip("out", "act"), loss]
    solver = nettrain.get_solver({"solver": keys, "layers": layers}, out="run", on_warning=said.append)
    W = solver.net.params["ip1"][0].data
    W *= 0.1
    solver.solve()
    W *= 1000
    solver.max_iter += 100
    solver.solve()
    (sign,) = [sign for sign in solver.health.signs[""] if isinstance(sign, Saturation)]
    assert sign.share > 0.5  # it is saturated
    assert said == []


def test_the_advice_for_saturation_behind_data_alone():
    layers = [{"name": "act", "type": "TanH", "bottom": "data"}, ip("out", "act")]
    solver, said = make(layers, scale=50.0)
    solver.solve()
    assert said == [
        f"{said[0].split(' of the')[0]} of the values of TanH `act` are at their limits, where the gradient is almost "
        "0; try scaled inputs"
    ]


def test_a_loss_that_begins_at_that_of_guessing_and_goes_down_is_not_stuck():
    solver, said = make([ip("out", "data", weight_filler=0)], base_lr=0.01, test_interval=1, max_iter=3)
    label = np.arange(60) % 3
    np.savez("data.npz", data=np.eye(3)[label], label=label)
    solver = nettrain.get_solver(solver.spec, out="run2", on_warning=said.append)
    solver.solve()
    assert abs(solver.test()["loss"] - math.log(3)) < 0.01 * math.log(3)  # still near
    assert said == []


def test_labels_from_one_in_the_test_data_alone():
    labels = 1 + np.arange(60) % 2
    rng = np.random.default_rng(0)
    data = rng.standard_normal((60, 4))
    arrays = {"train_data": data, "train_label": np.arange(60) % 3, "test_data": data, "test_label": labels}
    solver, said = make([ip("out", "data")])
    np.savez("data.npz", **arrays)
    solver = nettrain.get_solver(solver.spec, out="run2", on_warning=said.append)
    solver.solve()
    assert [text for text in said if "counted from 1" in text] == []


# Divergence: how it came


def test_a_layer_that_cannot_take_its_input_is_not_the_learning_rate():
    layers = [ip("out", "data"), {"name": "log", "type": "Log", "bottom": "data"}]
    layers.append({"name": "extra", "type": "Reduction", "bottom": "log", "loss_weight": 1.0})
    solver, _ = make(layers)  # half of the data is negative
    with pytest.raises(nettrain.NettrainError) as error:
        solver.step(1)
    text = str(error.value)
    assert "likely cause     Log `log` has no finite result for what it reads, `data` from -" in text
    assert "learning rate" not in text
    assert "--set" not in text


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


NORMS_OF_ONE = [
    ({"type": "BatchNorm"}, 1, "takes mean and variance over one value of each channel, and a batch of one has no"),
    ({"type": "BatchNorm", "affine": True}, 1, "takes mean and variance over one value of each channel, and a"),
    ({"type": "GroupNorm", "num_groups": 4}, 20, "takes mean and variance over single values, which have no variance"),
    ({"type": "MVN"}, 20, "takes mean and variance over single values, which have no variance"),
]


@pytest.mark.parametrize(("norm", "batch", "why"), NORMS_OF_ONE)
def test_a_norm_of_single_values_is_said_once_and_explains_what_learns_nothing(norm, batch, why):
    layers = [ip("h", "data", 4), {"name": "n", "bottom": "h", **norm}, {"name": "s", "type": "Scale", "bottom": "n"}]
    layers.append(ip("out", "s"))
    solver, said = make(layers, test_initialization=False)
    assert not [one for one in solver.warnings if "variance" in one.message] or batch == 20
    spec = solver.spec.to_python()
    spec["layers"][0]["batch_size"] = batch
    solver = nettrain.get_solver(spec, out="one", on_warning=said.append)
    (warning,) = [one for one in solver.warnings if "variance" in one.message]
    assert f"{norm['type']} `n` {why}" in warning.message
    assert "nothing before it learns" in warning.message
    solver.solve()
    assert [text for text in said if "gets no gradient" in text] == []
    assert not solver.net.params["h"][0].diff.any()  # so it is


def test_another_parameter_without_gradient_is_still_said():
    layers = [ip("h", "data", 4), {"name": "n", "type": "MVN", "bottom": "h"}, ip("side", "data")]
    layers += [{"name": "zero", "type": "Power", "bottom": "side", "scale": 0}, ip("main", "n")]
    layers.append({"name": "out", "type": "Eltwise", "bottom": ["main", "zero"]})
    solver, said = make(layers)
    solver.solve()
    assert [text.split(" gets")[0] for text in said if "gets no" in text] == [
        f"parameter {i} of InnerProduct `side`" for i in (0, 1)
    ]


KEYS = {
    "gamma": 0.5,
    "power": 2,
    "stepsize": 3,
    "stepvalue": [2],
    "plateau_patience": 4,
    "delta": 1e-7,
    "momentum2": 0.9,
    "rms_decay": 0.9,
}
USED = {
    "fixed": (),
    "step": ("gamma", "stepsize"),
    "exp": ("gamma",),
    "inv": ("gamma", "power"),
    "multistep": ("gamma", "stepvalue"),
    "poly": ("power",),
    "sigmoid": ("gamma", "stepsize"),
    "cosine": (),
    "plateau": ("gamma", "plateau_patience"),
    "SGD": (),
    "Nesterov": (),
    "AdaGrad": ("delta",),
    "RMSProp": ("delta", "rms_decay"),
    "AdaDelta": ("delta",),
    "Adam": ("delta", "momentum2"),
    "AdamW": ("delta", "momentum2"),
}
RATES = list(KEYS)[:5]


@pytest.mark.parametrize("choice", USED)
def test_keys_of_another_policy_or_rule_are_warned_of(choice):
    kind, keys = ("lr_policy", RATES) if choice.islower() else ("type", list(KEYS)[5:])
    used = USED[choice]
    solver, _ = make([ip("out", "data")], **{kind: choice}, **{key: KEYS[key] for key in keys})
    said = [one.message for one in solver.warnings if "not used" in one.message]
    assert sorted(text.split()[0] for text in said) == sorted(f"solver.{key}" for key in keys if key not in used)
    assert all(f"is not used by {kind} {choice}; it belongs to " in text for text in said)
    given = {key: KEYS[key] for key in used}
    solver, _ = make([ip("out", "data")], **{kind: choice}, **given)
    assert [one.message for one in solver.warnings if "not used" in one.message] == []


def test_whose_key_it_is():
    solver, _ = make([ip("out", "data")], gamma=0.1)
    assert [str(one) for one in solver.warnings if "not used" in str(one)] == [
        "spec.solver.gamma: solver.gamma is not used by lr_policy fixed; it belongs to step, exp, inv, multistep, "
        "sigmoid and plateau"
    ]


@pytest.mark.parametrize(("examples", "enough"), [(49, False), (50, True)])
def test_so_many_values_of_a_unit_are_enough(examples, enough):
    """Dead in 49 examples may be chance."""
    solver, said = make(hidden("ReLU", bias_filler=-50), examples=examples)
    solver.solve()
    assert any("units of ReLU `act` were 0" in text for text in said) is enough
