"""`nettrain explain`: values and gradients as the net has them, formulas typed by hand, the page."""

import errno
import json
import re
from itertools import pairwise

import click
import nettrain
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nettrain.files import plain_json
from nettrain.net import registry
from nettrain.net.netspec import load
from nettrain.spec.errors import NettrainError
from nettrain.tools import explain_page, explain_text
from nettrain.tools.explain import explain
from nettrain.tools.explain_json import as_json
from nettrain.tools.expression import spec_of
from nettrain.tools.layout import lay_out


def test_the_table_of_a_small_graph(nettrain_cli):
    lines = nettrain_cli("explain", "configs/lecture/add_mul.yaml").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["node", "x", "y", "z", "q", "f", "loss"]
    assert lines[1].split(None, 6) == [
        *("x", "-2", "-4", "1", "x", "-4"),
        "add distributes: each input gets the gradient as it is",
    ]
    assert lines[4].split() == ["q", "=", "x", "+", "y", "3", "-4", "-4", "x", "1"]
    assert lines[-1] == "loss -12"


def gradients(net):
    net.clear_param_diffs()
    net.forward_backward()
    return {name: [blob.diff.copy() for blob in blobs] for name, blobs in net.params.items()}


@pytest.mark.parametrize("config", ["configs/mlp.yaml", "configs/spiral.yaml", "configs/lecture/activations.yaml"])
def test_it_is_what_the_net_computes(config):
    """The same parameters' gradients as an ordinary pass, although every layer ran backward several times."""
    explanation = explain(load(config))
    expected = gradients(nettrain.Net(config, "TRAIN", dtype="float64"))
    assert expected
    for gate in explanation.gates:
        if gate.name in expected:
            for parameter, diff in zip(gate.parameters, expected[gate.name], strict=True):
                np.testing.assert_allclose(parameter.diff, diff, rtol=1e-12, atol=1e-15)


def test_gradients_of_a_value_are_the_sum_over_its_wires():
    explanation = explain(load("configs/lecture/activations.yaml"))
    for value in explanation.values.values():
        if value.diff is not None and value.uses:
            np.testing.assert_allclose(sum(use.gradient for use in value.uses), value.diff, atol=1e-15)
    assert len(explanation.values["x"].uses) == 6


def test_along_a_wire_the_gradient_is_local_times_upstream():
    seen = 0
    for config in ("configs/lecture/sigmoid_gates.yaml", "configs/lecture/activations.yaml", "configs/mlp.yaml"):
        for value in explain(load(config)).values.values():
            for use in value.uses:
                if use.local is not None and use.by_element:
                    np.testing.assert_allclose(use.local * use.upstream, use.gradient, rtol=1e-12, atol=1e-15)
                elif use.local is not None:
                    expected = use.upstream.reshape(-1) @ use.local
                    np.testing.assert_allclose(expected, use.gradient.reshape(-1), rtol=1e-12, atol=1e-15)
                seen += use.local is not None
    assert seen > 20


IN_PLACE = """
layers:
- {name: x, type: Parameter, shape: [2, 2], filler: {values: [1, -2, 3, -4]}}
- {name: square, type: Power, bottom: x, power: 2, top: y}
- {name: less, type: Power, bottom: y, shift: -5, top: y}
- {name: relu, type: ReLU, bottom: y, top: y}
- {name: sum, type: Reduction, loss_weight: 1}
"""


def test_versions_of_a_blob_computed_in_place_are_all_kept():
    values = explain(load(IN_PLACE)).values
    assert values["y"].data.tolist() == [[1, 4], [9, 16]]
    assert values["y'"].data.tolist() == [[-4, -1], [4, 11]]
    assert values["y''"].data.tolist() == [[0, 0], [4, 11]]
    assert values["y'"].diff.tolist() == [[0, 0], [1, 1]]
    assert values["x"].diff.tolist() == [[0, 0], [6, -8]]


def test_an_output_without_a_loss_starts_from_one():
    explanation = explain(load(IN_PLACE.replace(", loss_weight: 1", "")))
    assert explanation.seeded == ["sum"]
    assert explanation.values["x"].diff.tolist() == [[0, 0], [6, -8]]


def test_what_does_not_lead_to_the_loss_has_no_gradient(nettrain_cli):
    values = explain(load("configs/mlp.yaml"), "TEST").values
    assert values["label"].diff is None
    assert values["accuracy"].diff is None
    assert [use.gate for use in values["ip2"].uses] == ["loss"]
    assert values["data"].diff is not None


def test_sample(nettrain_cli):
    values = explain(load("configs/mlp.yaml"), sample=3).values
    whole = explain(load("configs/mlp.yaml")).values
    assert values["ip1"].data.tolist() == whole["ip1"].data[3].tolist()
    assert values["ip1"].diff.tolist() == whole["ip1"].diff[3].tolist()
    assert values["label"].data.shape == ()
    assert "examples 0 to 63" in nettrain_cli("explain", "configs/mlp.yaml", "--sample", 64, exit_code=2).stderr


def test_pick(nettrain_cli):
    text = nettrain_cli("explain", "configs/mlp.yaml", "--layer", "ip2", "--sample", 0).stdout
    assert re.findall(r"^(\w+)", text, re.M) == ["relu1", "ip2", "loss"]
    blob = json.loads(nettrain_cli("explain", "configs/mlp.yaml", "--blob", "relu1", "--json").stdout)
    assert list(blob["values"]) == ["relu1"]
    wrong = nettrain_cli("explain", "configs/mlp.yaml", "--layer", "ip3", exit_code=2).stderr
    assert "the net has no layer `ip3`; did you mean" in wrong


def test_weights(nettrain_cli):
    net = nettrain.Net("configs/mlp.yaml", seed=5)
    net.save("w.npz")
    answer = json.loads(nettrain_cli("explain", "configs/mlp.yaml", "--weights", "w.npz", "--json").stdout)
    ip2 = next(gate for gate in answer["gates"] if gate["name"] == "ip2")
    assert ip2["parameters"]["W"]["data"] == net.params["ip2"][0].data.astype("f8").tolist()


# Formulas

MATHS = {
    "exp": np.exp,
    "log": np.log,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "relu": lambda x: np.maximum(x, 0),
    "abs": abs,
    "sqrt": np.sqrt,
    "max": max,
    "pow": pow,
}

FORMULAS = [
    ("(x+y)*z", "x=-2 y=5 z=-4"),
    ("1/(1+exp(-(w0*x0+w1*x1+w2)))", "w0=2 x0=-1 w1=-3 x1=-2 w2=-3"),
    ("x*x*x", "x=1.5"),
    ("x-x", "x=3"),
    ("2*x - y/3 + 4", "x=1 y=2"),
    ("x/y/z", "x=3 y=2 z=5"),
    ("1/x", "x=4"),
    ("3/(x+1)", "x=4"),
    ("x**3 + 2**x + x**y", "x=1.3 y=0.7"),
    ("pow(x, 2.5)", "x=2"),
    ("max(x, y, 1) * max(0, x)", "x=2 y=3"),
    ("log(x) + sqrt(y) + abs(z)", "x=2 y=3 z=-1"),
    ("sigmoid(x) * tanh(y) - relu(z)", "x=2 y=-1 z=0.5"),
    ("-(-x) - +y", "x=1 y=2"),
    ("(1+2)*3*x + 2**3 - 7/2", "x=1"),
    ("exp(3)*x", "x=1"),
]


@pytest.mark.parametrize(("formula", "given"), FORMULAS, ids=[formula for formula, _ in FORMULAS])
def test_formula(nettrain_cli, formula, given):
    """The value is Python's own, every gradient agrees with numerical ones."""
    answer = json.loads(nettrain_cli("explain", "--expr", formula, *given.split(), "--json").stdout)
    variables = {name: float(value) for name, value in (pair.split("=") for pair in given.split())}
    assert answer["loss"] == pytest.approx(eval(formula, MATHS | variables), rel=1e-12)
    assert set(answer["gradcheck"]) == set(variables)
    assert all(check["ok"] for check in answer["gradcheck"].values())


def test_vectors(nettrain_cli):
    answer = json.loads(nettrain_cli("explain", "--expr", "a*x + x", "a=2", "x=1,2,3", "--json").stdout)
    assert answer["loss"] == 18
    assert answer["values"]["x"]["gradient"] == [3, 3, 3]
    assert answer["values"]["a"]["gradient"] == 6


@pytest.mark.parametrize(
    ("formula", "given", "value"),
    [
        ("x ** (a + b) + (a + b*log(x))", {"x": 2, "a": 1, "b": 3}, 16 + 1 + 3 * np.log(2)),
        ("max(x, 1234567.1) + max(x, 1234568.9)", {"x": 0}, 1234567.1 + 1234568.9),
        ("x ** y ** z", {"x": 2, "y": 3, "z": 2}, 512),
    ],
)
def test_parts_that_would_have_one_name_are_two(formula, given, value):
    found = explain(spec_of(formula, [f"{name}={number}" for name, number in given.items()]))
    assert found.loss == pytest.approx(value, rel=1e-12)


def test_max_with_zero_leaves_no_number_lying_about():
    assert list(explain(spec_of("max(0, x)", ["x=-1"])).values) == ["x", "max(0, x)"]


@pytest.mark.parametrize(
    ("formula", "x", "says"),
    [
        ("log(x)", -1, "no gradcheck: `log(x)` is nan here"),
        ("exp(x)", 1000, "no gradcheck: `exp(x)` is inf here"),
        ("1/x", 0, "no gradcheck: `1 / x` is inf here"),
        ("x ** 2.5", -3, "no gradcheck: `x ** 2.5` is nan here"),
    ],
)
def test_where_a_formula_has_no_value(nettrain_cli, formula, x, says):
    result = nettrain_cli("explain", "--expr", formula, f"x={x}")
    assert says in result.stdout
    assert result.stderr == ""
    data = json.loads(nettrain_cli("explain", "--expr", formula, f"x={x}", "--json").stdout, parse_constant=pytest.fail)
    assert data["loss"] is None
    assert (data["gradcheck"], len(data["without_gradient"])) == ({}, 1)


def test_statistics_of_what_is_no_number_are_json(nettrain_cli, workdir):
    (workdir / "inf.yaml").write_text(
        "layers:\n- {name: x, type: Parameter, shape: [2000]}\n- {name: y, type: Log, loss_weight: 1}\n"
    )
    text = nettrain_cli("explain", "inf.yaml", "--json").stdout
    assert json.loads(text, parse_constant=pytest.fail)["values"]["y"]["data"]["mean"] is None


# formula, values, what is compared, and for each point without a gradient why
NO_GRADIENT = [
    ("x**y", "x=-2 y=3", "x", ["y: `x ** y` has no slope where `y` is 3"]),
    ("(-2)**x", "x=3", "", ["x: `(-2) ** x` has no slope where `x` is 3"]),
    ("x**y", "x=0 y=2", "xy", []),
    ("x**y", "x=0 y=0", "x", ["y: `x ** y` has an infinite slope where `y` is 0"]),
    ("x**0.5", "x=0", "", ["x: `x ** 0.5` has an infinite slope where `x` is 0"]),
    ("sqrt(x)", "x=0", "", ["x: `sqrt(x)` has an infinite slope where `x` is 0"]),
    ("sqrt(x)", "x=4,0", "x", ["x[1]: `sqrt(x)` has an infinite slope where `x` is 0"]),
    ("abs(x)**0.5", "x=0", "", ["x: `abs(x) ** 0.5` has an infinite slope where `abs(x)` is 0"]),
    ("x**1.5", "x=0", "", ["x: the end of the domain, no value below"]),
    ("(-x)**1.5", "x=0", "", ["x: the end of the domain, no value above"]),
    ("abs(x)", "x=0", "", ["x: a kink, slope -1 below and 1 above"]),
    ("relu(x)", "x=0", "", ["x: a kink, slope 0 below and 1 above"]),
    ("max(0, x)", "x=0", "", ["x: a kink, slope 0 below and 1 above"]),
    ("max(x, 2*y)", "x=2 y=1", "", [f"{v}: a kink, slope 0 below and {s} above" for v, s in (("x", 1), ("y", 2))]),
    ("abs(x)", "x=1e-8", "x", []),
    ("relu(x)", "x=-1e-30", "x", []),
    ("abs(x)**1.5", "x=0", "x", []),
    ("x*abs(x)", "x=0", "x", []),
    ("max(x, x)", "x=1", "x", []),
    ("x**2", "x=0", "x", []),
    ("x**0", "x=0", "x", []),
    ("exp(1e6*x)", "x=0", "x", []),
    ("tanh(1e8*x)", "x=0", "x", []),
    ("log(x)", "x=1e-12", "x", []),
    ("log(x)", "x=1e-300", "x", []),
    ("1/x", "x=1e-150", "x", []),
    ("sqrt(x)", "x=1e-300", "x", []),
    ("(x + 1e30) - 1e30", "x=1", "", ["x: rounding hides its slope from numerical differences"]),
    ("log(x)", "x=0", None, ["`log(x)` is -inf here, and has no slope"]),
    ("log(x)", "x=1,-1", None, ["`log(x)`[1] is nan here, and has no slope"]),
    ("1/x", "x=0", None, ["`1 / x` is inf here, and has no slope"]),
    ("x/(y-y)", "x=1 y=1", None, ["`1 / (y - y)` is inf here, and has no slope"]),
    ("x**-1", "x=0", None, ["`x ** (-1)` is inf here, and has no slope"]),
    ("x**y", "x=0 y=-1", None, ["`x ** y` is inf here, and has no slope"]),
    ("x**y", "x=-2 y=0.5", None, ["`x ** y` is nan here, and has no slope"]),
    ("exp(x)", "x=1000", None, ["`exp(x)` is inf here, and has no slope"]),
    ("x**9", "x=1e38", None, ["`x ** 9` is inf here, and has no slope"]),
]


@pytest.mark.parametrize(
    ("formula", "given", "compared", "why"), NO_GRADIENT, ids=[f"{one[0]} {one[1]}" for one in NO_GRADIENT]
)
def test_one_rule_for_points_without_a_gradient(nettrain_cli, formula, given, compared, why):
    """Said with the reason, and never a failure; all other variables are compared."""
    answer = json.loads(
        nettrain_cli("explain", "--expr", formula, *given.split(), "--json").stdout, parse_constant=pytest.fail
    )
    assert answer["without_gradient"] == why
    entries = answer["gradcheck"]
    assert (not entries) is (compared is None)
    for name, check in entries.items():
        assert check["ok"]
        assert check["kinks"] == sum(re.match(rf"{name}\b", line) is not None for line in why)
    text = nettrain_cli("explain", "--expr", formula, *given.split()).stdout
    assert ("gradcheck ok: numerical gradients differ by at most" in text) is bool(compared)
    for line in why:
        assert f"{'no gradient' if compared else 'no gradcheck'}: {line}" in text


def test_a_power_of_a_negative_base():
    explained = explain(spec_of("x**y", ["x=-2", "y=3"]))
    assert explained.values["x ** y"].data == -8
    assert explained.values["x"].diff == 12
    assert np.isnan(explained.values["y"].diff)


@pytest.mark.parametrize("formula", ["log(x)", "1/x", "x/(x-x)", "sqrt(x)"])
def test_a_part_of_the_answer_has_the_verdict_of_the_whole(nettrain_cli, formula):
    text = nettrain_cli("explain", "--expr", formula, "x=0", "--blob", "x").stdout
    assert "no gradcheck: " in text


def test_a_wrong_gradient_of_a_formula_fails(nettrain_cli, monkeypatch):
    cls = registry.types()["TanH"]
    right = cls.Backward_cpu

    def wrong(self, top, propagate_down, bottom):
        right(self, top, propagate_down, bottom)
        bottom[0].diff *= 1 + 1e-4

    monkeypatch.setattr(cls, "Backward_cpu", wrong)
    for x in ("0.3", "1e-9", "0"):
        assert "gradcheck FAILED" in nettrain_cli("explain", "--expr", "tanh(x)", f"x={x}", exit_code=4).stdout


SEQUENCES = """
layers:
- {name: x, type: DummyData, shape: [5, 3, 2], data_filler: gaussian}
- {name: cont, type: DummyData, shape: [5, 3], data_filler: 1}
- {name: rnn, type: RNN, bottom: [x, cont], num_output: 4}
- {name: loss, type: Reduction, operation: SUMSQ, loss_weight: 1}
"""
PARAMETER = """
layers:
- {name: W, type: Parameter, shape: [3, 4], filler: gaussian}
- {name: b, type: DummyData, shape: [7], data_filler: 1}
- {name: x, type: DummyData, shape: [3, 4], data_filler: gaussian}
- {name: s, type: MatMul, bottom: [x, W], transpose_b: true}
- {name: loss, type: Reduction, loss_weight: 1}
- {name: more, type: Reduction, bottom: b, loss_weight: 1}
"""


def test_a_sample_is_cut_where_the_examples_are():
    """T x N along N; not a parameter whose first axis happens to be N."""
    whole, one = explain(load(SEQUENCES)), explain(load(SEQUENCES), sample=2)
    assert (one.examples, one.sample) == (3, 2)
    for name in ("x", "rnn"):
        np.testing.assert_array_equal(one.values[name].data, whole.values[name].data[:, 2])
        np.testing.assert_array_equal(one.values[name].diff, whole.values[name].diff[:, 2])
    with pytest.raises(NettrainError, match="examples 0 to 2"):
        explain(load(SEQUENCES), sample=3)
    whole, one = explain(load(PARAMETER)), explain(load(PARAMETER.replace("[7]", "[3]")), sample=1)
    np.testing.assert_array_equal(one.values["W"].data, whole.values["W"].data)
    np.testing.assert_array_equal(one.values["x"].data, whole.values["x"].data[1])
    np.testing.assert_array_equal(one.values["s"].diff, whole.values["s"].diff[1])


def test_one_example_says_what_is_of_the_whole_batch(nettrain_cli):
    text = nettrain_cli("explain", "configs/mlp.yaml", "--sample", "3", "--layer", "ip2").stdout
    assert "example 3 of 64, but the loss and the gradients of parameters are those of the whole batch" in text


def test_a_layer_that_does_not_look_at_its_flags(nettrain_cli, workdir):
    (workdir / "mine.py").write_text(
        "import numpy as np\nfrom nettrain import Example, Filler, Layer, register\n\n@register\nclass Times(Layer):\n"
        '    """y = w x."""\n    examples = [Example([(2,)])]\n'
        "    def setup(self, bottom, top):\n        self.add_blob((), Filler(value=2))\n"
        "    def Forward_cpu(self, bottom, top):\n        top[0].data[...] = self.blobs[0].data * bottom[0].data\n"
        "    def Backward_cpu(self, top, propagate_down, bottom):\n"
        "        self.blobs[0].diff += (bottom[0].data * top[0].diff).sum()\n"
        "        bottom[0].diff[...] = self.blobs[0].data * top[0].diff\n"
    )
    spec = {
        "layer_files": "mine.py",
        "layers": [
            {"name": "x", "type": "Parameter", "shape": [2], "filler": {"values": [1, 2]}},
            {"name": "y", "type": "Times"},
            {"name": "loss", "type": "Reduction", "loss_weight": 1},
        ],
    }
    (gate,) = (gate for gate in explain(load(spec, allow_python=True)).gates if gate.name == "y")
    assert gate.parameters[0].diff == 3


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({"type": "Reduction", "operation": "SUMSQ", "coeff": 0.5}, "times 1 times its value"),
        ({"type": "Reduction", "coeff": 2}, "each element gets the gradient, times 2"),
        ({"type": "Power", "power": -1, "shift": 5}, "times -1 * base ** -2"),
        ({"type": "Power", "power": 0}, "a constant: no gradient"),
        ({"type": "Power"}, "the gradient passes unchanged"),
        ({"type": "InnerProduct", "num_output": 2, "transpose": True}, "the input gets W times the gradient"),
        ({"type": "Eltwise", "operation": "PROD", "bottom": ["x", "x", "x"]}, "times the product of the others"),
        ({"type": "Eltwise", "operation": "MAX", "bottom": ["x", "x", "x"]}, "the largest input"),
        ({"type": "MatMul", "bottom": ["x", "x"], "transpose_b": True}, "the other, in the shape of the input"),
    ],
)
def test_what_a_gate_does_is_true_for_its_parameters(layer, words):
    layers = [{"name": "x", "type": "Parameter", "shape": [2, 2], "filler": 3}, {"name": "y", "bottom": "x"} | layer]
    assert words in explain(load({"layers": layers})).gates[-1].words


def test_a_net_without_anything_to_start_from(nettrain_cli, workdir):
    (workdir / "best.yaml").write_text(
        "layers:\n- {name: x, type: Parameter, shape: [3], filler: 3}\n- {name: y, type: ArgMax, axis: 0}\n"
    )
    assert "no loss and no output that has a gradient: nothing goes back" in nettrain_cli("explain", "best.yaml").stdout


def test_names_of_the_other_kind(nettrain_cli):
    message = nettrain_cli("explain", "configs/mlp.yaml", "--layer", "data", exit_code=2).stderr
    assert "that is a blob, which layer `digits` makes: --blob data" in message
    message = nettrain_cli("explain", "configs/mlp.yaml", "--blob", "digits", exit_code=2).stderr
    assert "that is a layer, which makes `data`, `label`: --layer digits" in message


def test_a_value_that_is_a_loss_and_read_by_others(nettrain_cli, workdir):
    (workdir / "both.yaml").write_text(
        "layers:\n- {name: x, type: Parameter, shape: [], filler: 3}\n"
        "- {name: s, type: Power, scale: 2, loss_weight: 1}\n- {name: f, type: Power, power: 2, loss_weight: 1}\n"
    )
    lines = nettrain_cli("explain", "both.yaml").stdout.splitlines()
    assert "13  a branch: the gradients add up" in lines[2]
    assert lines[3].split() == ["into", "the", "loss", "1"]
    assert lines[4].split()[:3] == ["into", "f", "12"]


def test_a_part_that_occurs_twice_is_one_gate():
    spec = spec_of("(x+y)*(x+y)", ["x=1", "y=2"])
    assert [layer.name for layer in spec.layers] == ["x", "y", "x + y", "(x + y) * (x + y)"]


@pytest.mark.parametrize(
    ("formula", "given", "says"),
    [
        ("x +", ["x=1"], "is not a formula"),
        ("x y", ["x=1"], "is not a formula"),
        ("", ["x=1"], "is not a formula"),
        ("x + y", ["x=1"], "the variable `y` has no value; add y=1"),
        ("x", ["x=1", "y=2"], "the formula has no variable `y`"),
        ("x", ["x"], "write x=2"),
        ("x", ["x=one"], "write x=2"),
        ("x", ["x=nan"], "a value must be a number between"),
        ("x", ["x=1e308"], "a value must be a number between"),
        ("x * y", ["x=1", "y=2", "x=3"], "the variable `x` is given twice"),
        ("x + y + z", ["x=1"], "the variables `y`, `z` have no value; add y=1 z=1"),
        ("x ^ 2", ["x=1"], "a power is written **"),
        ("2x", ["x=1"], "write a product with *: 2 * x"),
        ("lambda + x", ["x=1"], "`lambda` is a Python keyword, choose another name"),
        ("min(x, 2)", ["x=1"], "min(x, y) is -max(-x, -y)"),
        ("x * 1e400", ["x=1"], "is too large"),
        ("9**999 * x", ["x=1"], "`9 ** 999` is too large"),
        ("x * y", ["x=1,2,3", "y=2,3"], "the formula cannot be computed: Eltwise `x * y`: counted from the last, axes"),
        ("-" * 900 + "x", ["x=1"], "nested too deeply"),
        ("+".join(["x"] * 400), ["x=1"], "nested too deeply"),
        ("x*y", ["configs/mlp.yaml", "x=1"], "a spec or a formula, not both"),
        ("x", ["x=1", "--set", "solver.base_lr=1"], "--set changes the keys of a spec"),
        ("sin(x)", ["x=1"], "there is no function `sin`"),
        ("max(x)", ["x=1"], "`max` takes 2 arguments or more, got 1"),
        ("exp(x, x)", ["x=1"], "`exp` takes 1 argument, got 2"),
        ("__import__('os').system('true')", ["x=1"], "cannot be part of a formula"),
        ("x.real", ["x=1"], "cannot be part of a formula"),
        ("[x for x in y]", ["x=1"], "cannot be part of a formula"),
        ("x if x else 2", ["x=1"], "cannot be part of a formula"),
        ("x / 0", ["x=1"], "divides by 0"),
        ("2 + 3", [], "has no variable"),
        ("x % 2", ["x=1"], "cannot be part of a formula"),
        ("(-8)**0.5 + x", ["x=1"], "is not a real number"),
        ("9**9**9**9 + x", ["x=1"], "`9 **"),
        ("x" + "+x*x" * 5000, ["x=1"], "formula"),
    ],
)
def test_bad_formulas(nettrain_cli, formula, given, says):
    message = nettrain_cli("explain", "--expr", formula, *given, exit_code=2).stderr
    assert says in message
    assert len(message) < 1000
    assert "spec.layers" not in message


def test_values_without_a_formula(nettrain_cli):
    assert "belong to a formula" in nettrain_cli("explain", "configs/mlp.yaml", "x=1", exit_code=2).stderr
    assert "explain what?" in nettrain_cli("explain", exit_code=2).stderr


LEAVES = st.sampled_from(["x", "y", "2", "0.5"])
FORMULA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*"]), inner).map(lambda t: f"({t[0]} {t[1]} {t[2]})"),
        st.tuples(st.sampled_from(["tanh", "sigmoid", "relu", "-", "abs"]), inner).map(lambda t: f"{t[0]}({t[1]})"),
        st.tuples(inner, inner).map(lambda t: f"max({t[0]}, {t[1]})"),
    ),
    max_leaves=10,
)


@settings(max_examples=150, deadline=None)
@given(FORMULA, st.floats(-3, 3), st.floats(-3, 3))
def test_any_formula_has_pythons_value(formula, x, y):
    variables = {name: value for name, value in (("x", x), ("y", y)) if re.search(rf"\b{name}\b", formula)}
    if not variables:
        with pytest.raises(NettrainError, match="no variable"):
            spec_of(formula, [])
        return
    spec = spec_of(formula, [f"{name}={value!r}" for name, value in variables.items()])
    assert explain(spec).loss == pytest.approx(eval(formula, MATHS | variables), rel=1e-9, abs=1e-9)


# The page


def page(nettrain_cli, *arguments):
    nettrain_cli("explain", *arguments, "--html", "page.html")
    with open("page.html", encoding="utf-8") as file:
        return file.read()


def test_the_page_holds_everything(nettrain_cli):
    text = page(nettrain_cli, "configs/lecture/add_mul.yaml")
    assert "http" not in text.replace("http-equiv", "")
    for number in ("-2", "5", "-4", "3", "-12", "1"):
        assert f">{number}</text>" in text
    steps = json.loads(re.search(r"const gates = (.*);", text)[1])
    assert [step["name"] for step in steps] == ["x", "y", "z", "q", "f"]
    assert steps[3]["uses"] == [["x", "1 × -4", "-4", ""], ["y", "1 × -4", "-4", ""]]
    assert text.count('class="value"') == 5 + 1  # and one in the legend
    assert "<!--" not in text


def test_the_page_cannot_be_broken_by_names(nettrain_cli, workdir):
    (workdir / "net.yaml").write_text(
        "name: '</script><b>'\nlayers:\n- {name: '</script><i>', type: Parameter, shape: [2], filler: 1}\n"
        "- {name: sum, type: Reduction, loss_weight: 1}\n"
    )
    text = page(nettrain_cli, "net.yaml")
    assert "<i>" not in text
    assert text.count("</script>") == 1


def test_the_page_cannot_be_written(nettrain_cli):
    message = nettrain_cli("explain", "configs/mlp.yaml", "--html", "nowhere/page.html", exit_code=1).stderr
    assert "--html nowhere/page.html cannot be written" in message


def test_layout():
    layout = lay_out(["a", "b", "c", "d"], {"b": ["a"], "c": ["b"], "d": ["a", "c"]})
    assert {node: rank for node, (rank, _) in layout.places.items()} == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert len(layout.bends["a", "d"]) == 2
    for rank in range(4):
        heights = [h for r, h in layout.places.values() if r == rank]
        heights += [h for bend in layout.bends.values() for r, h in bend if r == rank]
        heights.sort()
        assert all(b - a >= 0.999 for a, b in pairwise(heights))


def test_whole_arrays_stand_below_each_other(nettrain_cli):
    asked = ("--set", "task.max_length=1", "--sample", "0", "--blob", "x")
    lines = nettrain_cli("explain", "configs/ntm_copy.yaml", *asked).stdout.splitlines()
    lines = lines[lines.index("x, wanted   (CopyTask)") + 1 :]
    for first, *others in (lines[0:3], lines[3:6]):
        assert {first.index("[[") + 1} == {line.index("[") for line in others}
    assert lines[5].endswith("]]")


@pytest.mark.parametrize("name", nettrain.layer_type_list())
def test_every_example_of_every_layer_can_be_explained(name, workdir):
    """As text, short and whole, as a page and as JSON; and what it does to a gradient is said in words."""
    cls = registry.types()[name]
    for example in cls.examples:
        if name in ("HDF5Data", "MemoryData"):
            continue  # their tops have names of their own, or no data yet
        if example.files:
            example.files(workdir)
        rng, layers = np.random.default_rng(0), []
        for i, shape in enumerate(example.bottoms):
            values = example.values[i](rng, shape) if i in example.values else rng.standard_normal(shape)
            filler = {"values": np.ravel(values).tolist()} if np.size(values) else 0
            layers.append({"name": f"b{i}", "type": "Parameter", "shape": list(shape), "filler": filler})
        least = cls.num_tops if isinstance(cls.num_tops, int) else cls.num_tops[0]
        tops = [f"t{i}" for i in range(least if example.tops is None else example.tops)]
        layer = {"name": "it", "type": name, "bottom": [one["name"] for one in layers], "top": tops}
        explained = explain(load({"layers": [*layers, layer | dict(example.params)]}, allow_python=True))
        assert explain_text.report(explained)
        assert explain_text.report(explained, whole=True)
        assert "<svg" in explain_page.page(explained, name)
        plain_json.text(as_json(explained))
        if cls.no_gradient != "all" and not cls.runs_code:
            assert explained.gates[-1].words


def test_one_of_several_losses_is_shown_with_the_others(nettrain_cli):
    text = nettrain_cli("explain", "configs/lecture/svm.yaml", "--blob", "loss").stdout
    assert re.search(r"loss 8\.9\d+ = 8\.9\d+ \(loss\) \+ 0\.00\d+ \(regularisation\)", text)


def test_an_output_that_cannot_be_written(nettrain_cli, monkeypatch):
    real = click.echo

    def full(message=None, err=False, **options):
        if not err:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(message, err=err, **options)

    monkeypatch.setattr(click, "echo", full)
    result = nettrain_cli("explain", "--expr", "x * y", "x=1", "y=2", exit_code=1)
    assert result.stderr == "the output cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("formula", "values"), [("log(x)", "x=-1"), ("log(x) * y + z", "x=-1 y=2 z=1"), ("1/x", "x=0")]
)
def test_where_a_part_is_no_number_no_gradient_is_shown(nettrain_cli, formula, values):
    shown = nettrain_cli("explain", "--expr", formula, *values.split()).stdout
    table = shown.partition("loss")[0].splitlines()[1:]
    assert [line.split("  ")[-1].strip() for line in table if line.startswith(("y ", "z "))] in ([], ["-", "-"])
    assert all(re.search(r"  +-(  |$)", line) for line in table)
    data = json.loads(nettrain_cli("explain", "--expr", formula, *values.split(), "--json").stdout)
    assert {value["gradient"] for value in data["values"].values()} == {None}
    nettrain_cli("explain", "--expr", formula, *values.split(), "--html", "page.html")
