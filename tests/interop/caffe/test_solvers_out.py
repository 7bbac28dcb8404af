"""Every rule, policy and key of a solver as Caffe's text and back; what Caffe cannot do is refused."""

from pathlib import Path

import pytest
from google.protobuf import text_format
from nettrain.interop.caffe.classes import classes
from nettrain.interop.convert import Options, convert
from nettrain.net.netspec import load
from nettrain.solver.parameters import parameters_of
from nettrain.spec.errors import NettrainError

LAYERS = """layers:
  - {name: data, type: Data, top: [x, label], source: digits, batch_size: 100, shuffle: false}
  - {name: ip1, type: InnerProduct, bottom: x, num_output: 10}
  - {name: ip2, type: InnerProduct, num_output: 10}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip2, label]}
"""
BASE = {"base_lr": "0.01", "max_iter": "10"}
GOES = [
    *({"type": kind} for kind in ("SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam")),
    {"momentum": "0.9", "weight_decay": "5e-4", "regularization_type": "L1"},
    {"type": "Nesterov", "momentum": "0.95"},
    {"type": "AdaGrad", "delta": "1e-6"},
    {"type": "RMSProp", "rms_decay": "0.98"},
    {"type": "AdaDelta", "momentum": "0.95", "delta": "1e-6"},
    {"type": "Adam", "momentum": "0", "momentum2": "0.99"},
    {"lr_policy": "step", "gamma": "0.1", "stepsize": "4"},
    {"lr_policy": "exp", "gamma": "0.99"},
    {"lr_policy": "inv", "gamma": "1e-4", "power": "0.75"},
    {"lr_policy": "multistep", "gamma": "0.5", "stepvalue": "[3, 7]"},
    {"lr_policy": "poly", "power": "0.5"},
    {"lr_policy": "sigmoid", "gamma": "-0.5", "stepsize": "5"},
    {"lr_policy": "sigmoid", "gamma": "0.5", "stepsize": "5"},
    {"iter_size": "4", "clip_gradients": "2.5"},
    {"clip_gradients": "35"},
    {"display": "2", "average_loss": "3", "snapshot": "5", "snapshot_after_train": "false", "debug_info": "true"},
    {"test_interval": "5", "test_iter": "[3]", "test_compute_loss": "true", "test_initialization": "false"},
    {"random_seed": "7"},
    {"snapshot_prefix": "out/net"},
    {
        "train_state": "{level: 2, stage: [a]}",
        "test_state": "[{stage: [b, c]}]",
        "test_iter": "[3]",
        "test_interval": "5",
    },
]
# Keys that Caffe always has, for which nettrain has another way of leaving them out.
ALWAYS = {"test_iter", "test_interval", "snapshot_prefix", "max_epoch", "max_iter"}


def spec_of(keys):
    return "solver:\n" + "".join(f"  {key}: {value}\n" for key, value in keys.items()) + LAYERS


@pytest.mark.parametrize(
    "keys", [row for row in GOES if row.get("gamma") != "-0.5"], ids=lambda row: " ".join(row.values())
)
def test_there_and_back(workdir, keys):
    Path("net.yaml").write_text(spec_of(BASE | keys))
    convert("net.yaml", "net.prototxt", Options())
    text_format.Parse(Path("net_solver.prototxt").read_text(), classes()["SolverParameter"]())
    convert("net_solver.prototxt", "back.yaml", Options())
    ours = parameters_of(load("net.yaml"), "TRAIN")
    for name in ("net_solver.prototxt", "back.yaml"):
        theirs = parameters_of(load(name), "TRAIN")
        for one in ours.fields():
            if one.name not in ALWAYS or one.name in keys:
                value, other = getattr(ours, one.name), getattr(theirs, one.name)
                if one.name in ("type", "lr_policy"):
                    assert (value.name, value.p) == (other.name, other.p)
                elif isinstance(value, float):
                    assert other == pytest.approx(value, rel=1e-6)
                else:
                    assert other == value, one.name


def test_what_stands_in_caffes_words(workdir):
    keys = BASE | {"type": "Adam", "freeze": "ip1", "clip_gradients": "2", "iter_size": "3", "test_interval": "4"}
    del keys["max_iter"]
    Path("net.yaml").write_text(spec_of(keys | {"max_epoch": "2"}))
    convert("net.yaml", "net.prototxt", Options())
    solver = text_format.Parse(Path("net_solver.prototxt").read_text(), classes()["SolverParameter"]())
    net = text_format.Parse(Path("net.prototxt").read_text(), classes()["NetParameter"]())
    assert (solver.net, solver.type, solver.solver_mode, solver.lr_policy) == ("net.prototxt", "Adam", 0, "fixed")
    assert solver.momentum == pytest.approx(0.9)
    assert solver.clip_gradients == 6  # Caffe's norm is of sums over iter_size
    assert [[spec.lr_mult for spec in layer.param] for layer in net.layer if layer.type == "InnerProduct"] == [
        [0, 0],
        [],
    ]
    plan = load("net.yaml")
    assert solver.max_iter > 0
    assert plan.solver is not None
    assert len(solver.test_iter) == 1


REFUSED = [
    ({"type": "AdamW"}, "Caffe has no solver AdamW; it has SGD, Nesterov"),
    ({"type": "Adam", "amsgrad": "true"}, "`amsgrad` has no equal in Caffe"),
    ({"lr_policy": "cosine"}, "Caffe has no lr_policy cosine"),
    ({"warmup_iter": "3"}, "Caffe's rate has no warm-up"),
    ({"patience": "3", "test_interval": "2"}, "Caffe does not end early"),
]


@pytest.mark.parametrize(("keys", "said"), REFUSED, ids=lambda row: "" if isinstance(row, str) else " ".join(row))
def test_what_caffe_cannot_do(workdir, keys, said):
    Path("net.yaml").write_text(spec_of(BASE | keys))
    with pytest.raises(NettrainError) as caught:
        convert("net.yaml", "net.prototxt", Options())
    assert said in str(caught.value)
    assert not Path("net.prototxt").exists()
