"""What an iteration does to the parameters, against algebra done by hand for least squares."""

import math

import nettrain
import numpy as np
import pytest
from helpers import layer
from helpers.solvers import B0, W0, T, X, least_squares

pytestmark = pytest.mark.usefixtures("workdir")


def gradient(W, b, x=X, t=T):
    e = x @ W.T + b - t
    return e.T @ x / len(x), e.sum(axis=0) / len(x)


def assert_parameters(solver, W, b, name="ip"):
    for blob, values in zip(solver.net.params[name], (W, b), strict=True):
        np.testing.assert_allclose(blob.data, values, rtol=1e-5, atol=1e-6)


G, H = gradient(W0, B0)  # of W and of b, at the start
NORM = math.sqrt((G**2).sum() + (H**2).sum())

ONE_STEP = {
    "plain": ({}, W0 - 0.1 * G, B0 - 0.1 * H),
    "weight decay": ({"weight_decay": 0.5}, W0 - 0.1 * (G + 0.5 * W0), B0 - 0.1 * (H + 0.5 * B0)),
    "weight decay L1": (
        {"weight_decay": 0.5, "regularization_type": "L1"},
        W0 - 0.1 * (G + 0.5 * np.sign(W0)),
        B0 - 0.1 * (H + 0.5 * np.sign(B0)),
    ),
    "lr_mult": ({"params": [{"lr_mult": 3}, {"lr_mult": 0.5}]}, W0 - 0.3 * G, B0 - 0.05 * H),
    "lr_mult 0": ({"params": [{"lr_mult": 0}, {}], "weight_decay": 0.5}, W0, B0 - 0.1 * (H + 0.5 * B0)),
    "decay_mult": (
        {"params": [{"decay_mult": 2}, {"decay_mult": 0}], "weight_decay": 0.5},
        W0 - 0.1 * (G + W0),
        B0 - 0.1 * H,
    ),
    "decay_mult L1": (
        {"params": [{"decay_mult": 0}, {"decay_mult": 3}], "weight_decay": 0.5, "regularization_type": "L1"},
        W0 - 0.1 * G,
        B0 - 0.1 * (H + 1.5 * np.sign(B0)),
    ),
    "clipped": ({"clip_gradients": 0.25}, W0 - 0.1 * G * 0.25 / NORM, B0 - 0.1 * H * 0.25 / NORM),
    "clip not reached": ({"clip_gradients": 1.01 * NORM}, W0 - 0.1 * G, B0 - 0.1 * H),
    "clipped before the decay is added": (
        {"clip_gradients": 0.25, "weight_decay": 0.5},
        W0 - 0.1 * (G * 0.25 / NORM + 0.5 * W0),
        B0 - 0.1 * (H * 0.25 / NORM + 0.5 * B0),
    ),
    "iter_size": ({"batch_size": 2, "iter_size": 2}, W0 - 0.1 * G, B0 - 0.1 * H),
    "iter_size with weight decay": (
        {"batch_size": 1, "iter_size": 4, "weight_decay": 0.5},
        W0 - 0.1 * (G + 0.5 * W0),
        B0 - 0.1 * (H + 0.5 * B0),
    ),
    "iter_size, clipped on the mean": (
        {"batch_size": 2, "iter_size": 2, "clip_gradients": 0.25},
        W0 - 0.1 * G * 0.25 / NORM,
        B0 - 0.1 * H * 0.25 / NORM,
    ),
    "iter_size, the mean below the limit and the sum above": (
        {"batch_size": 2, "iter_size": 2, "clip_gradients": 1.5 * NORM},
        W0 - 0.1 * G,
        B0 - 0.1 * H,
    ),
    "momentum has no effect yet": ({"momentum": 0.9}, W0 - 0.1 * G, B0 - 0.1 * H),
    "a whole batch over the end of the data": ({"batch_size": 3, "iter_size": 4}, W0 - 0.1 * G, B0 - 0.1 * H),
}


@pytest.mark.parametrize("case", ONE_STEP)
def test_one_step(case):
    keys, W, b = ONE_STEP[case]
    solver = least_squares(**keys)
    solver.step(1)
    assert solver.iter == 1
    assert_parameters(solver, W, b)


def three_steps(W, b, momentum=0.0, decay=(0.0, 0.0), rates=(0.1, 0.1), batches=((X, T),) * 3):
    """SGD with momentum by hand: v = momentum v + rate (g + decay w), w = w - v."""
    vW, vb = 0, 0
    for x, t in batches:
        g, h = gradient(W, b, x, t)
        vW = momentum * vW + rates[0] * (g + decay[0] * W)
        vb = momentum * vb + rates[1] * (h + decay[1] * b)
        W, b = W - vW, b - vb
    return W, b


HALVES = ((X[:2], T[:2]), (X[2:], T[2:]), (X[:2], T[:2]))
EVERYTHING = {
    "momentum": 0.9,
    "weight_decay": 0.05,
    "params": [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}],
}

THREE_STEPS = {
    "plain": ({}, {}),
    "momentum": ({"momentum": 0.9}, {"momentum": 0.9}),
    "momentum and weight decay": ({"momentum": 0.5, "weight_decay": 0.2}, {"momentum": 0.5, "decay": (0.2, 0.2)}),
    "minibatches": ({"batch_size": 2}, {"batches": HALVES}),
    "everything": (
        EVERYTHING | {"batch_size": 2},
        {"momentum": 0.9, "decay": (0.05, 0), "rates": (0.1, 0.2), "batches": HALVES},
    ),
    "everything over iter_size": (
        EVERYTHING | {"batch_size": 2, "iter_size": 2},
        {"momentum": 0.9, "decay": (0.05, 0), "rates": (0.1, 0.2)},
    ),
}


@pytest.mark.parametrize("case", THREE_STEPS)
def test_three_steps(case):
    keys, by_hand = THREE_STEPS[case]
    solver = least_squares(**keys)
    solver.step(3)
    assert_parameters(solver, *three_steps(W0, B0, **by_hand))


def test_a_falling_rate_stays_in_the_momentum():
    """The rate is inside the history, as in Caffe: what was added at 0.1 is still worth 0.1 when the rate is 0.01."""
    solver = least_squares(momentum=0.9, lr_policy="step", stepsize=1, gamma=0.1)
    solver.step(2)
    v = 0.1 * G
    W, b = W0 - v, B0 - 0.1 * H
    v = 0.9 * v + 0.01 * gradient(W, b)[0]
    np.testing.assert_allclose(solver.net.params["ip"][0].data, W - v, rtol=1e-5)


def test_many_parameters_are_updated_alike_in_every_block():
    """More parameters than fit a block of the update, with multipliers that change in the middle."""
    count = 50_001
    one = layer("one", "DummyData", shape=[1, 1], data_filler=1)

    def ip(name, num_output, lr_mult):
        return layer(
            name,
            "InnerProduct",
            "one",
            num_output=num_output,
            bias_term=False,
            loss_weight=1,
            param={"lr_mult": lr_mult},
        )

    layers = [one, ip("a", count, 1), ip("b", 3, 1), ip("c", count, 2)]
    solver = nettrain.get_solver(
        {"solver": {"base_lr": 0.5, "max_iter": 9, "momentum": 0.5}, "layers": layers}, out="run"
    )
    solver.net.flat.data[...] = 0
    solver.step(2)  # the gradient is 1 everywhere
    for name, lr_mult in (("a", 1), ("b", 1), ("c", 2)):
        (blob,) = solver.net.params[name]
        np.testing.assert_array_equal(blob.data, np.full(blob.shape, -lr_mult * (0.5 + 0.75)))


def test_a_shared_parameter_is_updated_once_with_the_sum_of_its_gradients():
    def ip(name, **keys):
        return layer(name, "InnerProduct", "one", num_output=1, bias_term=False, param={"name": "w", **keys})

    layers = [
        layer("one", "DummyData", shape=[1, 1], data_filler=1),
        ip("a", lr_mult=0.5) | {"loss_weight": 1},
        ip("b") | {"loss_weight": 3},
    ]
    keys = {"base_lr": 0.1, "max_iter": 9, "momentum": 0.5, "weight_decay": 0.01}
    solver = nettrain.get_solver({"solver": keys, "layers": layers}, out="run")
    w = v = 0.0
    solver.net.params["b"][0].data[...] = w
    for _ in range(3):
        v = 0.5 * v + 0.05 * (1 + 3 + 0.01 * w)
        w -= v
    solver.step(3)
    assert solver.net.params["a"][0].data.item() == pytest.approx(w, rel=1e-6)
    assert solver.net.params["b"][0].data.item() == pytest.approx(w, rel=1e-6)


def test_the_gradient_is_cleared_in_every_iteration():
    solver = least_squares()
    solver.net.flat.diff[...] = 1e6
    solver.step(1)
    assert_parameters(solver, W0 - 0.1 * G, B0 - 0.1 * H)
