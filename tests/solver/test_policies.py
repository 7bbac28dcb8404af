"""Learning-rate policies against the formulas of Caffe's GetLearningRate."""

import json
import math

import nettrain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nettrain import SpecError
from nettrain.solver.parameters import SolverParameters
from nettrain.solver.policies import POLICIES, rate_policy

ITERATIONS = [0, 1, 2, 9, 10, 11, 19, 20, 99, 100, 1000]

# policy, its parameters, and the rate for base_lr 0.3 and max_iter 100
FORMULAS = [
    ("fixed", {}, lambda i: 0.3),
    ("step", {"gamma": 0.5, "stepsize": 10}, lambda i: 0.3 * 0.5 ** math.floor(i / 10)),
    ("step", {"gamma": 0.1, "stepsize": 1}, lambda i: 0.3 * 0.1**i),
    ("step", {"gamma": 0, "stepsize": 10}, lambda i: 0.3 if i < 10 else 0),
    ("exp", {"gamma": 0.99}, lambda i: 0.3 * 0.99**i),
    ("exp", {"gamma": 1.001}, lambda i: 0.3 * 1.001**i),
    ("exp", {"gamma": 0}, lambda i: 0 if i else 0.3),
    ("inv", {"gamma": 1e-4, "power": 0.75}, lambda i: 0.3 * (1 + 1e-4 * i) ** -0.75),
    ("inv", {"gamma": 2, "power": 1}, lambda i: 0.3 / (1 + 2 * i)),
    ("multistep", {"gamma": 0.5, "stepvalue": [10, 20]}, lambda i: 0.3 * 0.5 ** ((i >= 10) + (i >= 20))),
    ("multistep", {"gamma": 0.1, "stepvalue": 10}, lambda i: 0.3 * 0.1 ** (i >= 10)),
    ("poly", {"power": 2}, lambda i: 0.3 * (1 - min(i, 100) / 100) ** 2),
    ("poly", {"power": 0.5}, lambda i: 0.3 * math.sqrt(1 - min(i, 100) / 100)),
    ("poly", {"power": 1}, lambda i: 0.3 * max(0, 1 - i / 100)),
    ("sigmoid", {"gamma": 0.1, "stepsize": 20}, lambda i: 0.3 / (1 + math.exp(-0.1 * (i - 20)))),
    ("sigmoid", {"gamma": 0, "stepsize": 20}, lambda i: 0.15),
    ("cosine", {}, lambda i: 0.15 * (1 + math.cos(math.pi * min(i, 100) / 100))),
    ("cosine", {"min_lr": 0.1}, lambda i: 0.1 + 0.1 * (1 + math.cos(math.pi * min(i, 100) / 100))),
]


def policy(name, max_iter=100, **keys):
    keys = {"base_lr": 0.3, "lr_policy": name, "max_iter": max_iter, "test_interval": 1} | keys
    return rate_policy(SolverParameters.from_mapping(keys), max_iter)


@pytest.mark.parametrize("iteration", ITERATIONS)
@pytest.mark.parametrize(("name", "keys", "formula"), FORMULAS, ids=[f"{n} {k}" for n, k, _ in FORMULAS])
def test_formula(name, keys, formula, iteration):
    assert policy(name, **keys)(iteration) == pytest.approx(formula(iteration), rel=1e-12, abs=1e-300)


def test_every_policy_that_may_be_written_is_there():
    assert set(POLICIES) == {name for name, _, _ in FORMULAS} | {"plateau"}
    choices = SolverParameters.schema()["properties"]["lr_policy"]["enum"]
    assert set(choices) == set(POLICIES)


@pytest.mark.parametrize(("name", "keys", "formula"), FORMULAS, ids=[f"{n} {k}" for n, k, _ in FORMULAS])
def test_a_rate_depends_on_the_iteration_alone(name, keys, formula):
    rate = policy(name, **keys)
    later = rate(50)
    rate(3)
    assert rate(50) == later == pytest.approx(formula(50))


def caffes_multistep(stepvalue, iterations):
    """Number of steps taken at each iteration, by Caffe's loop with its current_step."""
    current_step = 0
    for iteration in range(iterations):
        if current_step < len(stepvalue) and iteration >= stepvalue[current_step]:
            current_step += 1
        yield current_step


@settings(deadline=None)
@given(st.lists(st.integers(0, 12), min_size=1, max_size=6).map(sorted))
def test_multistep_takes_one_step_an_iteration_as_caffe_does(stepvalue):
    rate = policy("multistep", gamma=0.5, stepvalue=stepvalue)
    expected = [0.3 * 0.5**steps for steps in caffes_multistep(stepvalue, 30)]
    assert [rate(i) for i in range(30)] == expected


def test_multistep_with_equal_stepvalues():
    rate = policy("multistep", gamma=0.1, stepvalue=[3, 3, 3])
    assert [rate(i) for i in (2, 3, 4, 5, 6)] == pytest.approx([0.3, 0.03, 0.003, 0.0003, 0.0003])


@pytest.mark.parametrize("power", [0.5, 1, 2.5])
def test_poly_ends_at_zero_and_stays_there(power):
    rate = policy("poly", power=power)
    assert [rate(i) for i in (100, 101, 100_000)] == [0, 0, 0]
    assert rate(99) > 0


def test_poly_of_no_iterations():
    assert policy("poly", power=1, max_iter=0)(0) == 0


@pytest.mark.parametrize("distance", [-(10**6), 10**6])
def test_sigmoid_does_not_overflow(distance):
    rate = policy("sigmoid", gamma=5, stepsize=2 * 10**6)
    assert rate(2 * 10**6 + distance) == pytest.approx(0.3 if distance > 0 else 0)


# What must be given

NEEDS = [
    ("step", ["gamma", "stepsize"]),
    ("exp", ["gamma"]),
    ("inv", ["gamma", "power"]),
    ("multistep", ["gamma", "stepvalue"]),
    ("poly", ["power"]),
    ("sigmoid", ["gamma", "stepsize"]),
]


@pytest.mark.parametrize(("name", "keys"), NEEDS)
def test_what_a_policy_needs_is_checked_before_any_work(name, keys):
    with pytest.raises(SpecError) as error:
        policy(name)
    found = [problem.message.partition(":")[0].strip() for problem in error.value.problems]
    assert found == [f"needs `{key}` for lr_policy {name}" for key in keys]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"lr_policy": "linear"}, "lr_policy must be one of fixed, step, exp, inv, multistep, poly, sigmoid, cosine"),
        ({"lr_policy": "stp"}, "did you mean `step`"),
        ({"lr_policy": "exp", "gamma": -0.5}, "gamma must be a number >= 0"),
        ({"lr_policy": "step", "gamma": 0.5, "stepsize": 0}, "stepsize must be an integer >= 1"),
        ({"lr_policy": "multistep", "gamma": 0.5, "stepvalue": [5, 3]}, r"stepvalue must increase, got \[5, 3\]"),
        ({"lr_policy": "poly", "power": -0.5}, "power must be >= 0 for lr_policy poly, got -0.5"),
        ({"base_lr": -1}, "base_lr must be a number >= 0"),
    ],
)
def test_mistakes(keys, message):
    with pytest.raises(SpecError, match=message):
        SolverParameters.from_mapping({"base_lr": 0.1, "max_iter": 10} | keys, "solver")


# In a run


@pytest.mark.parametrize(("name", "keys", "formula"), FORMULAS, ids=[f"{n} {k}" for n, k, _ in FORMULAS])
def test_the_solver_uses_and_reports_the_rate(name, keys, formula, tmp_path):
    """The gradient of w·1 is 1, so that each update subtracts the rate."""
    solver = nettrain.get_solver(
        {
            "solver": {"base_lr": 0.3, "lr_policy": name, "max_iter": 100, "display": 1, **keys},
            "layers": [
                {"name": "one", "type": "DummyData", "shape": [1, 1], "data_filler": 1},
                {"name": "ip", "type": "InnerProduct", "num_output": 1, "bias_term": False, "loss_weight": 1},
            ],
        },
        out=tmp_path,
    )
    (w,) = solver.net.params["ip"]
    w.data[...] = expected = 0
    for iteration in range(22):
        solver.step(1)
        expected -= formula(iteration)
        assert w.data.item() == pytest.approx(expected, rel=1e-5)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["lr"] for row in rows] == pytest.approx([formula(i) for i in range(22)], rel=1e-12)


def test_max_epoch_is_what_poly_ends_at(tmp_path):
    solver = nettrain.get_solver(
        {
            "solver": {"base_lr": 0.3, "lr_policy": "poly", "power": 1, "max_epoch": 2},
            "layers": [
                {"name": "d", "type": "Data", "source": "digits", "top": ["x", "y"], "batch_size": 100},
                {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 10},
                {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "y"]},
            ],
        },
        out=tmp_path,
    )
    assert solver.max_iter == 29  # 2 · 1437 / 100, rounded up
    assert solver.policy(0) == 0.3
    assert solver.policy(28) == pytest.approx(0.3 / 29)
    assert solver.policy(29) == 0


@pytest.mark.parametrize(("name", "keys", "formula"), FORMULAS, ids=[f"{n} {k}" for n, k, _ in FORMULAS])
def test_warm_up_rises_in_a_line_to_any_policy(name, keys, formula):
    keys = {"base_lr": 0.3, "lr_policy": name, "max_iter": 100, "warmup_iter": 8, "warmup_lr": 0.02} | keys
    rate = rate_policy(SolverParameters.from_mapping(keys), 100)
    assert rate(0) == pytest.approx(0.02)
    assert rate(2) == pytest.approx(0.02 + (formula(8) - 0.02) / 4)
    for i in (8, 9, 50):
        assert rate(i) == pytest.approx(formula(i), rel=1e-12, abs=1e-300)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"min_lr": 0.1}, "min_lr belongs to lr_policy cosine and plateau, not fixed"),
        ({"lr_policy": "cosine", "min_lr": 0.5}, "min_lr must be <= base_lr, got 0.5 and 0.3"),
        ({"warmup_lr": 0.1}, "warmup_lr needs warmup_iter"),
        ({"warmup_steps": 5}, "did you mean `warmup_iter`?"),
    ],
)
def test_options_of_warm_up_and_cosine_that_do_not_fit(keys, words):
    with pytest.raises(SpecError) as error:
        SolverParameters.from_mapping({"base_lr": 0.3, "max_iter": 100} | keys, "solver")
    assert words in str(error.value)


def test_a_solver_warms_up(workdir):
    layers = [
        {"name": "d", "type": "Data", "top": ["data", "label"], "source": "digits", "batch_size": 8},
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 10},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
    ]
    keys = {"base_lr": 0.01, "max_iter": 6, "warmup_iter": 4, "lr_policy": "cosine"}
    solver = nettrain.get_solver({"solver": keys, "layers": layers})
    before = solver.net.flat.data.copy()
    solver.step(1)
    assert (solver.net.flat.data == before).all()  # the first rate is 0
    solver.step(1)
    assert not (solver.net.flat.data == before).all()
    assert solver.rate() == pytest.approx(0.5 * 0.01 * 0.5 * (1 + math.cos(math.pi * 4 / 6)))


# (better or not, test by test) -> the rates after each, for base_lr 0.3, gamma 0.1, min_lr 0.001, plateau_patience 2
PLATEAUS = [
    ("1111", [0.3, 0.3, 0.3, 0.3]),
    ("1000000", [0.3, 0.3, 0.03, 0.03, 0.003, 0.003, 0.001]),
    ("10100", [0.3, 0.3, 0.3, 0.3, 0.03]),
    ("00100", [0.3, 0.03, 0.03, 0.03, 0.003]),
]


@pytest.mark.parametrize(("tests", "rates"), PLATEAUS)
@pytest.mark.parametrize("warmup", [0, 3])
def test_plateau_drops_after_tests_without_a_better_score(tests, rates, warmup):
    keys = {"base_lr": 0.3, "lr_policy": "plateau", "gamma": 0.1, "min_lr": 0.001, "plateau_patience": 2}
    keys |= {"max_iter": 9, "test_interval": 1, "warmup_iter": warmup}
    one = rate_policy(SolverParameters.from_mapping(keys), 9)
    seen = []
    for better in tests:
        one.after_test(better == "1")
        seen.append(one(5))
        again = rate_policy(SolverParameters.from_mapping(keys), 9)
        again.set_state(one.state())
        one = again  # goes on as if it had been restored
    assert seen == pytest.approx(rates)


@pytest.mark.parametrize("patience", [0, -1])
def test_a_plateau_of_no_tests_is_an_error(patience):
    layers = [{"name": "x", "type": "Parameter", "shape": [2], "loss_weight": 1}]
    keys = {"base_lr": 1, "max_iter": 2, "test_interval": 1, "lr_policy": "plateau", "gamma": 0.5}
    with pytest.raises(SpecError, match=f"plateau_patience must be .*>= 1.*, got {patience}"):
        nettrain.get_solver({"solver": keys | {"plateau_patience": patience}, "layers": layers})
