"""InnerProduct: known values, a loop over the formula, axis and transpose, and what it refuses."""

from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net

ip_net = partial(layer_net, "InnerProduct", inputs="x", name="ip")


def test_known_values():
    net = ip_net((2, 3), num_output=2)
    net.params["ip"][0].data[...] = [[1, 2, 3], [0, -1, 0]]
    net.params["ip"][1].data[...] = [100, 200]
    y = net.forward(x=[[1, 1, 1], [1, 0, 2]])["ip"]
    assert y.tolist() == [[106, 199], [107, 200]]
    dx = net.backward(ip=[[1, 0], [10, 1]])["x"]
    assert dx.tolist() == [[1, 2, 3], [10, 19, 30]]
    assert net.params["ip"][0].diff.tolist() == [[11, 1, 21], [1, 0, 2]]
    assert net.params["ip"][1].diff.tolist() == [11, 1]


@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("bias_term", [False, True])
@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((3, 4), 1),
        ((1, 4), 1),
        ((3, 1), 1),
        ((2, 3, 2, 2), 1),
        ((2, 3, 4), 2),
        ((2, 3, 4), -1),
        ((2, 3, 4), 0),
        ((5,), 0),
    ],
)
def test_the_formula_in_loops(shape, axis, bias_term, transpose):
    net = ip_net(shape, num_output=3, axis=axis, bias_term=bias_term, transpose=transpose)
    lead = shape[: axis % len(shape)]
    rng = np.random.default_rng(1)
    x, dy = rng.standard_normal(shape), rng.standard_normal((*lead, 3))
    blobs = net.params["ip"]
    K = x.size // int(np.prod(lead))
    assert blobs[0].shape == ((K, 3) if transpose else (3, K))
    for blob in blobs:
        blob.data[...] = rng.standard_normal(blob.shape)
        blob.diff[...] = 1
    W = blobs[0].data.T if transpose else blobs[0].data
    b = blobs[1].data if bias_term else np.zeros(3)
    y = net.forward(x=x)["ip"]
    dx = net.backward(ip=dy)["x"]

    rows, dys = x.reshape(-1, K), dy.reshape(-1, 3)
    expected_y, expected_dx, dW = np.zeros(dys.shape), np.zeros(rows.shape), np.ones((3, K))
    for n, m in np.ndindex(dys.shape):
        expected_y[n, m] = b[m] + sum(W[m, k] * rows[n, k] for k in range(K))
        for k in range(K):
            expected_dx[n, k] += dys[n, m] * W[m, k]
            dW[m, k] += dys[n, m] * rows[n, k]
    np.testing.assert_allclose(y, expected_y.reshape(dy.shape), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dx, expected_dx.reshape(shape), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(blobs[0].diff, dW.T if transpose else dW, rtol=1e-10, atol=1e-13)
    if bias_term:
        np.testing.assert_allclose(blobs[1].diff, 1 + dys.sum(axis=0), rtol=1e-10)
    else:
        assert len(blobs) == 1


def test_transpose_swaps_the_fans_of_a_filler():
    limits = []
    for transpose in (False, True):
        net = ip_net((1, 300), num_output=3, transpose=transpose)
        limits.append(np.abs(net.params["ip"][0].data).max())
    np.testing.assert_allclose(limits, np.sqrt(3 / 300), rtol=0.02)  # fan_in is K either way


def test_first_values_follow_the_fillers():
    net = ip_net((1, 4), num_output=2, weight_filler=0.5, bias_filler={"type": "constant", "value": -3})
    assert net.forward(x=[[1, 2, 3, 4]])["ip"].tolist() == [[2, 2]]


@pytest.mark.parametrize("value", [1000, -1000, 1e150])
def test_large_inputs(value):
    net = ip_net((1, 2), num_output=1, weight_filler=1)
    assert net.forward(x=[[value, value]])["ip"].tolist() == [[2 * value]]
    assert net.forward(x=[[value, -value]])["ip"].tolist() == [[0]]


def test_no_examples():
    net = ip_net((0, 4), num_output=3)
    assert net.forward()["ip"].shape == (0, 3)
    net.backward()
    assert not any(blob.diff.any() for blob in net.params["ip"])


def test_the_number_of_examples_may_change():
    net = ip_net((2, 3), num_output=2, weight_filler=1)
    for n in (5, 1, 3):
        x = np.arange(3.0 * n).reshape(n, 3)
        np.testing.assert_array_equal(net.forward(x=x)["ip"], np.stack([x.sum(axis=1)] * 2, axis=1))


@pytest.mark.parametrize(
    ("shape", "params", "words"),
    [
        ((2, 3), {}, "needs `num_output`: M, outputs per example"),
        ((2, 3), {"num_output": 0}, "num_output must be an integer >= 1, got 0"),
        ((2, 3), {"num_output": 2.5}, "num_output must be an integer >= 1, got 2.5"),
        ((2, 3), {"num_output": 1, "axis": 2}, "axis 2 of 2 x 3: there are axes -2 to 1"),
        ((2, 3), {"num_output": 1, "weight_filler": "xavir"}, "did you mean `xavier`"),
        ((2, 3), {"num_output": 1, "weight_filler": "bilinear"}, "bilinear filler needs a 4-D blob"),
        ((2, 3), {"num_output": 1, "kernel_size": 1}, "InnerProduct has no key `kernel_size`; it belongs to"),
        ((2, 0), {"num_output": 1}, "an example of 0 has no values"),
        ((), {"num_output": 1}, "axis 1 of a scalar"),
    ],
)
def test_wrong_parameters(shape, params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        ip_net(shape, **params)


def test_another_number_of_inputs_after_the_first_batch():
    net = ip_net((2, 3, 4), num_output=1)
    with pytest.raises(nettrain.ShapeError, match=r"the weights take 12 inputs, but 2 x 3 x 5 .* has 3 x 5 = 15"):
        net.forward(x=np.zeros((2, 3, 5)))


def test_another_layout_of_the_same_inputs():
    net = ip_net((2, 12), num_output=1, weight_filler=1)
    assert net.forward(x=np.ones((1, 3, 4)))["ip"].tolist() == [[12]]
