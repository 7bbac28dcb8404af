"""Pad and MatMul, and Eltwise with broadcast: numpy's own functions, gradients by hand, threads, reshaped batches."""

import numpy as np
import pytest
from helpers import layer_net


def run(kind, *xs, net=None, **params):
    """y, a random dy, and the gradients."""
    net = net or layer_net(kind, *(np.shape(x) for x in xs), **params)
    y = net.forward(**{f"x{i}": x for i, x in enumerate(xs)})["y"].copy()
    dy = np.random.default_rng(1).standard_normal(y.shape)
    return y, dy, [dx.copy() for dx in net.backward(y=dy).values()]


def randn(*shape):
    return np.random.default_rng(0).standard_normal(shape)


MODES = {"constant": {"constant_values": 2.5}, "reflect": {}, "edge": {}}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("shape", "axis", "pad", "widths"),
    [
        ((2, 3, 4, 5), 2, 2, [(0, 0), (0, 0), (2, 2), (2, 2)]),
        ((2, 3, 4, 5), 2, [[1, 3], 2], [(0, 0), (0, 0), (1, 3), (2, 2)]),
        ((2, 3, 4, 5), 2, [[3, 0], [0, 4]], [(0, 0), (0, 0), (3, 0), (0, 4)]),
        ((2, 3, 4, 5), 1, [[2, 1], 0, [1, 1]], [(0, 0), (2, 1), (0, 0), (1, 1)]),
        ((3, 2), 0, [[1, 2], [1, 0]], [(1, 2), (1, 0)]),
        ((4, 3), -1, [[2, 1]], [(0, 0), (2, 1)]),
        ((2, 3, 4), 1, 0, [(0, 0)] * 3),
        ((0, 2, 3), 2, 1, [(0, 0), (0, 0), (1, 1)]),
        ((40, 8, 30, 31), 2, [3, [4, 0]], [(0, 0), (0, 0), (3, 3), (4, 0)]),  # several blocks of examples
    ],
)
def test_pad_is_numpys(mode, shape, axis, pad, widths):
    x = randn(*shape)
    value = {"value": 2.5} if mode == "constant" else {}
    y, dy, (dx,) = run("Pad", x, pad=pad, axis=axis, mode=mode, **value)
    np.testing.assert_array_equal(y, np.pad(x, widths, mode=mode, **MODES[mode]))
    # where each value of y comes from: pad the positions themselves
    origin = np.arange(x.size).reshape(shape)
    more = {"constant_values": x.size} if mode == "constant" else {}
    came_from = np.pad(origin, widths, mode=mode, **more)
    expected = np.bincount(came_from.ravel(), dy.ravel(), x.size + 1)[: x.size].reshape(shape)
    np.testing.assert_allclose(dx, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("mode", MODES)
def test_pad_of_batches_of_changing_size(mode):
    net = layer_net("Pad", (2, 2, 3, 3), pad=1, mode=mode)
    for n in (2, 5, 0, 1):
        x = randn(n, 2, 3, 3)
        y, _, _ = run("Pad", x, net=net)
        np.testing.assert_array_equal(y, np.pad(x, [(0, 0), (0, 0), (1, 1), (1, 1)], mode=mode))


def test_pad_of_extremes():
    y, _, _ = run("Pad", [[1000, np.inf, -1000]], axis=1, pad=2, mode="reflect")
    assert y.tolist() == [[-1000, np.inf, 1000, np.inf, -1000, np.inf, 1000]]


def unbroadcast(array, shape):
    """The sum over what numpy stretched."""
    array = array.sum(axis=tuple(range(array.ndim - len(shape))))
    return array.sum(axis=tuple(i for i, size in enumerate(shape) if size == 1), keepdims=True)


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((2, 3), (3, 4)),
        ((1, 1), (1, 1)),
        ((5, 2, 3), (5, 3, 4)),
        ((5, 2, 3), (3, 4)),
        ((2, 3), (5, 3, 4)),
        ((5, 1, 2, 3), (4, 3, 2)),
        ((1, 2, 3), (6, 3, 2)),
        ((2, 1, 2, 3), (1, 3, 3, 4)),
        ((0, 2, 3), (3, 4)),
        ((0, 2, 3), (0, 3, 4)),
        ((3, 2, 0), (3, 0, 4)),
        ((20, 70, 64), (20, 64, 65)),  # several tasks
        ((20, 80, 100), (100, 120)),  # one large product
    ],
)
def test_matmul_is_numpys(a, b, transpose_a, transpose_b):
    A, B = randn(*a), randn(*b) + 1
    given = [x.swapaxes(-1, -2) if turn else x for x, turn in ((A, transpose_a), (B, transpose_b))]
    y, dy, (da, db) = run("MatMul", *given, transpose_a=transpose_a, transpose_b=transpose_b)
    np.testing.assert_allclose(y, A @ B, rtol=1e-10, atol=1e-11)
    da, db = (x.swapaxes(-1, -2) if turn else x for x, turn in ((da, transpose_a), (db, transpose_b)))
    np.testing.assert_allclose(da, unbroadcast(dy @ B.swapaxes(-1, -2), a), rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(db, unbroadcast(A.swapaxes(-1, -2) @ dy, b), rtol=1e-10, atol=1e-11)


def test_matmul_known_values():
    y, _, _ = run("MatMul", [[1, 2], [3, 4]], [[5, 6], [7, 1000]])
    assert y.tolist() == [[19, 2006], [43, 4018]]
    y, _, _ = run("MatMul", [[1, 2], [3, 4]], [[5, 6], [7, 8]], transpose_a=True)
    assert y.tolist() == [[26, 30], [38, 44]]


def test_matmul_of_a_blob_with_itself_has_both_gradients():
    net = layer_net("MatMul", (2, 2), bottom=["x0", "x0"])
    net.forward(x0=[[1, 2], [3, 4]])
    assert net.backward(y=[[1, 0], [0, 0]])["x0"].tolist() == [[2, 3], [2, 0]]  # y00 = x00² + x01 x10


@pytest.mark.parametrize("operation", ["SUM", "PROD", "MAX"])
@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3, 4), (3, 1)),
        ((3, 1), (1, 4)),
        ((), (2, 2)),
        ((2, 1, 3), (1,), (2, 4, 1)),
        ((0, 3), (1, 3)),
        ((2, 3), (2, 3)),
        ((70, 64, 10, 10), (64, 1, 1), (70, 1, 10, 10)),  # several blocks
    ],
)
def test_eltwise_with_broadcast(shapes, operation):
    xs = [np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate(shapes)]
    y, dy, dxs = run("Eltwise", *xs, operation=operation, broadcast=True)
    full = np.broadcast_arrays(*xs)
    expected = {"SUM": sum, "PROD": lambda v: np.prod(v, axis=0), "MAX": lambda v: np.max(v, axis=0)}[operation](full)
    np.testing.assert_allclose(y, expected, rtol=1e-12)
    for i, (x, dx) in enumerate(zip(xs, dxs, strict=True)):
        others = [other for j, other in enumerate(full) if j != i]
        slope = {"SUM": 1, "PROD": np.prod(others, axis=0), "MAX": full[i] == expected}[operation]
        np.testing.assert_allclose(dx, unbroadcast(dy * slope, x.shape), rtol=1e-10, atol=1e-11)


def test_eltwise_with_broadcast_of_batches_of_changing_size():
    net = layer_net("Eltwise", (2, 3), (3,), broadcast=True)
    for n in (2, 6, 0, 1):
        y, dy, (dx, db) = run("Eltwise", randn(n, 3), [1, 2, 3], net=net)
        np.testing.assert_allclose(y, np.add(randn(n, 3), [1, 2, 3]))
        np.testing.assert_allclose(dx, dy)
        np.testing.assert_allclose(db, dy.sum(axis=0))
