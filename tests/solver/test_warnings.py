"""Warnings of a spec: what can be run, but may be a mistake. `check` and `train` say them."""

import json

import nettrain
import pytest
from nettrain.net.netspec import load

NET = """\
solver: {base_lr: 0.01, max_iter: 2, freeze: %s}
layers:
- {name: digits, type: Data, top: [data, label], source: digits, batch_size: 8}
- {name: ip1, type: InnerProduct, bottom: data, num_output: 8, param: {name: %s}}
- {name: ip2, type: InnerProduct, bottom: data, num_output: 8, param: {name: %s}}
- {name: bn, type: BatchNorm, bottom: ip2%s}
- {name: sum, type: Eltwise, bottom: [ip1, bn]}
- {name: loss, type: SoftmaxWithLoss, bottom: [sum, label]}
"""


def net(freeze="[]", first="shared", second="shared", bn=""):
    text = NET % (freeze, first, second, bn)
    return text.replace("num_output: 8", "num_output: 10")


def said(text, nettrain_cli):
    """What both commands say of the spec, which is the same; training may say more of its tests."""
    with open("net.yaml", "w") as file:
        file.write(text)
    checked = [
        line for line in nettrain_cli("check", "net.yaml").stdout.splitlines() if line.startswith("warning: net.yaml")
    ]
    trained = [
        line for line in nettrain_cli("train", "net.yaml").stderr.splitlines() if line.startswith("warning: net.yaml")
    ]
    assert trained == checked
    return checked


def test_a_name_that_is_shared_is_not_warned_of(nettrain_cli):
    assert said(net(), nettrain_cli) == []


def test_a_misspelt_parameter_name_shares_nothing(nettrain_cli):
    (first, second) = said(net(second="shred"), nettrain_cli)
    assert first == (
        "warning: net.yaml:4:79: the parameter name `shared` is used only once, so InnerProduct `ip1` shares nothing; "
        "did you mean `shred`, as in `ip2` (line 5)?"
    )
    assert (
        "`shred` is used only once, so InnerProduct `ip2` shares nothing; did you mean `shared`, as in `ip1`" in second
    )


def test_names_that_are_used_once_and_far_from_each_other_are_said_together(nettrain_cli):
    (warning,) = said(net(first="w1", second="w2"), nettrain_cli)
    assert warning.endswith("the parameter names `w1`, `w2` are each used only once, so nothing is shared by them")
    (warning,) = said(net(first="conv1_w", second="conv2_w"), nettrain_cli)
    assert "did you mean" not in warning


def test_layers_of_the_two_phases_share_too():
    text = (
        "layers:\n- {name: x, type: Input, shape: [2, 3]}\n"
        "- {name: a, type: InnerProduct, num_output: 2, bottom: x, include: TRAIN, param: {name: w}}\n"
        "- {name: b, type: InnerProduct, num_output: 2, bottom: x, include: TEST, param: {name: w}}\n"
    )
    assert load(text).warnings == []


def test_a_frozen_batch_norm_moves(nettrain_cli):
    (warning,) = said(net(freeze="[bn]"), nettrain_cli)
    assert warning == (
        "warning: net.yaml:6:10: BatchNorm `bn` is in solver.freeze, but its running statistics still follow the "
        "training data; use_global_stats: true freezes them too"
    )


@pytest.mark.parametrize("text", [net(freeze="[bn]", bn=", use_global_stats: true"), net(freeze="[ip1]"), net()])
def test_a_batch_norm_that_stands_still_or_is_not_frozen_is_not_warned_of(text, nettrain_cli):
    assert said(text, nettrain_cli) == []


@pytest.mark.parametrize("still", [True, False])
def test_what_the_warning_says_is_so(still, workdir):
    solver = nettrain.get_solver(net(freeze="[bn]", bn=", use_global_stats: true" if still else ""))
    solver.net.params["bn"][2].data[...] = 1
    solver.net.params["bn"][1].data[...] = 1
    before = [blob.data.copy() for blob in solver.net.params["bn"]]
    solver.step(2)
    same = [bool((blob.data == old).all()) for blob, old in zip(solver.net.params["bn"], before, strict=True)]
    assert all(same) == still
    assert any(same) == still


def test_warnings_are_in_the_json(nettrain_cli):
    with open("net.yaml", "w") as file:
        file.write(net(freeze="[bn]"))
    (warning,) = json.loads(nettrain_cli("check", "net.yaml", "--json").stdout)["warnings"]
    assert warning.startswith("net.yaml:6:10: BatchNorm `bn` is in solver.freeze")


def test_bundled_configs_have_none():
    import importlib.resources

    for path in importlib.resources.files("nettrain").joinpath("configs").rglob("*.yaml"):
        assert load(path).warnings == [], path


@pytest.mark.parametrize(("loss", "first"), [("SoftmaxWithLoss", "Softmax"), ("SigmoidCrossEntropyLoss", "Sigmoid")])
@pytest.mark.parametrize("twice", [True, False])
def test_a_loss_that_takes_its_softmax_again(loss, first, twice, workdir):
    label = "label" if loss == "SoftmaxWithLoss" else "ip1"
    text = (
        "solver: {base_lr: 0.01, max_iter: 2}\nlayers:\n"
        "- {name: digits, type: Data, top: [data, label], source: digits, batch_size: 8}\n"
        "- {name: ip1, type: InnerProduct, bottom: data, num_output: 10, propagate_down: false}\n"
        f"- {{name: p, type: {first}, bottom: ip1}}\n"
        f"- {{name: loss, type: {loss}, bottom: [{'p' if twice else 'ip1'}, target]}}\n"
        f"- {{name: target, type: {'Input' if label == 'ip1' else 'Split'}"
        f"{', shape: [8, 10]' if label == 'ip1' else ', bottom: label'}}}\n"
    )
    said = [str(warning) for warning in nettrain.get_solver(text).warnings]
    wanted = f"{loss} `loss` reads {first} `p` (line 5), and applies {first} itself: it wants the scores, `ip1`"
    assert said == ([f"spec:6:10: {wanted}"] if twice else [])


@pytest.mark.parametrize(("count", "more"), [(8, False), (9, True)])
def test_of_many_names_that_are_used_once_eight_are_shown(count, more):
    names = [word * 4 for word in "abcdefghi"[:count]]  # far from each other
    layers = [{"name": "x", "type": "Input", "shape": [2, 3]}]
    layers += [
        {"name": f"ip{i}", "type": "InnerProduct", "bottom": "x", "num_output": 2, "param": {"name": name}}
        for i, name in enumerate(names)
    ]
    (warning,) = load({"layers": layers}).warnings
    shown = ", ".join(f"`{name}`" for name in names[:8]) + (" …" if more else "")
    assert f"the parameter names {shown} are each used only once" in str(warning)
