"""Update rules: each formula written out in plain numpy, with two parameters, over steps; what the options add."""

import math

import nettrain
import numpy as np
import pytest
from nettrain import SpecError
from nettrain.solver import rules

W0, B0 = np.array([[0.5, -1.0, 0.25], [1, 0.5, -0.75]]), np.array([0.5, -0.25])
GRADIENTS = [  # of (W, b), step by step
    (np.array([[1.0, -2, 0.5], [0.25, 3, -1]]), np.array([0.5, -4.0])),
    (np.array([[-1.0, 1, 2.0], [0.5, -3, 0.1]]), np.array([2.0, 1.0])),
    (np.array([[0.3, 0, -0.5], [4, 1, 1]]), np.array([-0.1, 0.2])),
]
RULES = ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam", "AdamW"]


def solver_of(params=(), **solver):
    """A net of one InnerProduct, with W0 and B0, whose gradients the test hands in."""
    layers = [
        {"name": "in", "type": "Input", "top": ["x", "t"], "shape": [[1, 3], [1, 2]]},
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 2, "param": list(params)},
        {"name": "loss", "type": "EuclideanLoss", "bottom": ["ip", "t"]},
    ]
    made = nettrain.get_solver({"solver": {"base_lr": 0.1, "max_iter": 9} | solver, "layers": layers})
    for blob, values in zip(made.net.params["ip"], (W0, B0), strict=True):
        blob.data[...] = values
    return made


def steps(solver, gradients=GRADIENTS, rate=0.1):
    for t, pair in enumerate(gradients, 1):
        for blob, values in zip(solver.net.params["ip"], pair, strict=True):
            blob.diff[...] = values
        solver.updater.apply(rate, t)
    return [blob.data.copy() for blob in solver.net.params["ip"]]


def by_hand(rule, w, gradients, rate=0.1, decay=0.0, mu=0.0, rho=0.99, beta2=0.999, delta=1e-8, amsgrad=False):
    """The formulas of caffe-semantics, one parameter at a time, in float64."""
    w = w.astype(float)
    v, h, k, m, most = (np.zeros_like(w) for _ in range(5))
    for t, g in enumerate(gradients, 1):
        if rule == "AdamW":
            w = w - rate * decay * w
        else:
            g = g + decay * w
        if rule == "SGD":
            v = mu * v + rate * g
            step = v
        elif rule == "Nesterov":
            after = mu * v + rate * g
            step = (1 + mu) * after - mu * v
            v = after
        elif rule == "AdaGrad":
            h = h + g**2
            step = rate * g / (np.sqrt(h) + delta)
        elif rule == "RMSProp":
            h = rho * h + (1 - rho) * g**2
            step = rate * g / (np.sqrt(h) + delta)
        elif rule == "AdaDelta":
            h = mu * h + (1 - mu) * g**2
            u = g * np.sqrt((k + delta) / (h + delta))
            k = mu * k + (1 - mu) * u**2
            step = rate * u
        else:
            m = mu * m + (1 - mu) * g
            h = beta2 * h + (1 - beta2) * g**2
            most = np.maximum(most, h)
            below = most if amsgrad else h
            if rule == "Adam":
                step = rate * math.sqrt(1 - beta2**t) / (1 - mu**t) * m / (np.sqrt(below) + delta)
            else:
                step = rate * (m / (1 - mu**t)) / (np.sqrt(below / (1 - beta2**t)) + delta)
        w = w - step
    return w


OPTIONS = {
    "SGD": [{}, {"momentum": 0.9}],
    "Nesterov": [{}, {"momentum": 0.9}],
    "AdaGrad": [{}, {"delta": 0.5}],
    "RMSProp": [{}, {"rms_decay": 0.5, "delta": 0.1}],
    "AdaDelta": [{"momentum": 0.95, "delta": 1e-6}, {"momentum": 0.5, "delta": 0.1}],
    "Adam": [{}, {"momentum": 0.5, "momentum2": 0.9, "delta": 0.1}, {"amsgrad": True, "momentum2": 0.5}],
    "AdamW": [{}, {"momentum": 0.5, "momentum2": 0.9, "delta": 0.1}, {"amsgrad": True, "momentum2": 0.5}],
}
CASES = [(rule, options) for rule, several in OPTIONS.items() for options in several]


def keys_by_hand(rule, options):
    names = {"momentum": "mu", "rms_decay": "rho", "momentum2": "beta2", "delta": "delta", "amsgrad": "amsgrad"}
    return ({"mu": 0.9} if rule.startswith("Adam") else {}) | {names[key]: value for key, value in options.items()}


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize(("rule", "options"), CASES, ids=str)
def test_the_formula(rule, options, count):
    given = GRADIENTS[:count]
    keys = keys_by_hand(rule, options)
    for got, start, i in zip(steps(solver_of(type=rule, **options), given), (W0, B0), (0, 1), strict=True):
        expected = by_hand(rule, start, [pair[i] for pair in given], **keys)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rule", "options"), CASES, ids=str)
def test_with_decay_and_multipliers_for_each_parameter(rule, options):
    params = [{"lr_mult": 2, "decay_mult": 0.5}, {"lr_mult": 0.5, "decay_mult": 0}]
    solver = solver_of(params, type=rule, weight_decay=0.3, **options)
    keys = keys_by_hand(rule, options)
    got = steps(solver)
    for i, (start, rate, decay) in enumerate(((W0, 0.2, 0.15), (B0, 0.05, 0.0))):
        expected = by_hand(rule, start, [pair[i] for pair in GRADIENTS], rate=rate, decay=decay, **keys)
        np.testing.assert_allclose(got[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_clipped_and_averaged_first(rule):
    options = OPTIONS[rule][-1]
    solver = solver_of(type=rule, clip_gradients=1.0, iter_size=4, **options)
    got = steps(solver)
    scaled = []
    for pair in GRADIENTS:
        mean = [g / 4 for g in pair]
        norm = math.sqrt(sum((g**2).sum() for g in mean))
        scaled.append([g * min(1, 1 / norm) for g in mean])
    for i, start in enumerate((W0, B0)):
        expected = by_hand(rule, start, [pair[i] for pair in scaled], **keys_by_hand(rule, options))
        np.testing.assert_allclose(got[i], expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_learned_stays(rule):
    got = steps(solver_of([{"lr_mult": 0}, {}], type=rule, weight_decay=0.5))
    assert np.array_equal(got[0], W0)
    assert not np.array_equal(got[1], B0)


@pytest.mark.parametrize("rule", RULES)
def test_a_large_parameter_in_blocks_and_threads_is_updated_like_a_small_one(rule):
    layers = [
        {"name": "p", "type": "DummyData", "shape": [1, 1500], "top": "x"},
        {"name": "t", "type": "DummyData", "shape": [1, 1500]},
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 1500, "weight_filler": 0.5},
        {"name": "loss", "type": "EuclideanLoss", "bottom": ["ip", "t"]},
    ]
    solver = nettrain.get_solver({"solver": {"base_lr": 0.1, "max_iter": 9, "type": rule}, "layers": layers})
    for t in (1, 2):
        solver.net.flat.diff[...] = 0.25 * t
        solver.updater.apply(0.1, t)
    W = solver.net.params["ip"][0].data
    assert np.ptp(W) < 1e-7  # BLAS rounds the last few of a block differently
    mu = 0.9 if rule.startswith("Adam") else 0.0
    expected = by_hand(rule, np.array([0.5]), [np.array([0.25]), np.array([0.5])], mu=mu)
    np.testing.assert_allclose(W[0, 0], expected[0], rtol=1e-5)


@pytest.mark.parametrize(
    ("solver", "words"),
    [
        (
            {"type": "AdaGrad", "momentum": 0.9},
            "AdaDelta, Adam and AdamW, not AdaGrad",
        ),
        (
            {"type": "RMSProp", "momentum": 0.9},
            "AdaDelta, Adam and AdamW, not RMSProp",
        ),
        ({"amsgrad": True}, "solver.amsgrad belongs to type Adam and AdamW, not SGD"),
        ({"type": "AdamW", "regularization_type": "L1"}, "AdamW shrinks the weights themselves"),
        ({"type": "adam"}, "did you mean `Adam`?"),
        ({"beta1": 0.9}, "did you mean `momentum`?"),
        ({"momentum2": 1}, "solver.momentum2 must be a number >= 0 and < 1"),
    ],
)
def test_options_that_do_not_fit(solver, words):
    with pytest.raises(SpecError, match="solver") as error:
        solver_of(**solver)
    assert words in str(error.value)


def test_every_rule_is_here():
    assert set(RULES) == set(OPTIONS) == set(rules.RULES)
