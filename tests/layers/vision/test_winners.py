"""Max pooling window by window: which element wins, whatever the geometry, the memory and the values."""

import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel

GEOMETRIES = {  # image, kernel, stride, pad
    "2x2 side by side": ((8, 6), (2, 2), (2, 2), (0, 0)),
    "2x2 over the end": ((7, 5), (2, 2), (2, 2), (0, 0)),
    "3x3 overlapping": ((9, 11), (3, 3), (2, 2), (0, 0)),
    "3x3 over the end": ((8, 10), (3, 3), (2, 2), (0, 0)),
    "3x3 with a border": ((8, 9), (3, 3), (2, 2), (1, 1)),
    "3x3 at every place": ((6, 7), (3, 3), (1, 1), (1, 1)),
    "3x3 at every place inside": ((6, 7), (3, 3), (1, 1), (0, 0)),
    "one element": ((5, 6), (1, 1), (1, 1), (0, 0)),
    "one element of some": ((5, 6), (1, 1), (3, 2), (0, 0)),
    "stride above kernel": ((13, 11), (2, 3), (5, 4), (1, 2)),
    "rows alone": ((6, 7), (1, 3), (1, 2), (0, 1)),
    "columns alone": ((7, 6), (4, 1), (3, 1), (2, 0)),
    "many elements in common": ((7, 6), (5, 6), (1, 1), (2, 3)),
    "the whole image": ((7, 5), (7, 5), (1, 1), (0, 0)),
    "larger than the image": ((4, 3), (40, 30), (60, 50), (20, 10)),
    "numbers beyond a byte": ((19, 18), (17, 16), (2, 1), (1, 0)),
}
LOWEST = float(np.finfo(np.float32).min)
VALUES = {
    "different": lambda rng, shape: rng.standard_normal(shape),
    "ties": lambda rng, shape: rng.integers(0, 2, shape),
    "zeros": lambda rng, shape: np.zeros(shape),
    "not finite": lambda rng, shape: rng.choice([np.nan, -np.inf, np.inf, LOWEST, -1, 2], shape),
    "few numbers": lambda rng, shape: rng.choice([np.nan, -np.inf, 1], shape, p=[0.6, 0.3, 0.1]),
    "no numbers": lambda rng, shape: rng.choice([np.nan, -np.inf], shape),
}


def slow(x, dy, kernel, stride, pad):
    """Caffe's loop: it begins with the lowest number there is, and takes what is larger."""
    y, where, dx = np.full(dy.shape, LOWEST, np.float32), np.full(dy.shape, -1), np.zeros(x.shape, np.float32)
    for n, c, i, j in np.ndindex(dy.shape):
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        for h in range(max(0, top), min(top + kernel[0], x.shape[2])):
            for w in range(max(0, left), min(left + kernel[1], x.shape[3])):
                if x[n, c, h, w] > y[n, c, i, j]:
                    y[n, c, i, j], where[n, c, i, j] = x[n, c, h, w], h * x.shape[3] + w
        if where[n, c, i, j] >= 0:
            dx[n, c].ravel()[where[n, c, i, j]] += dy[n, c, i, j]
    return y, where, dx


def max_pooling(shape, kernel, stride, pad, channels_last, dtype="float32"):
    params = {}
    for key, pair in (("kernel", kernel), ("stride", stride), ("pad", pad)):
        params |= {f"{key}_h": pair[0], f"{key}_w": pair[1]}
    net = layer_net(
        "Pooling",
        shape,
        inputs="x",
        name="pool",
        top=["y", "where"],
        dtype=dtype,
        channels_last=channels_last,
        **params,
    )
    assert net.blobs["y"].channels_last == channels_last
    return net


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_first_of_the_largest_wins(geometry, values, channels_last):
    sizes, kernel, stride, pad = GEOMETRIES[geometry]
    rng = np.random.default_rng(3)
    x = VALUES[values](rng, (2, 3, *sizes)).astype(np.float32)
    net = max_pooling(x.shape, kernel, stride, pad, channels_last)
    dy = rng.integers(-9, 9, net.blobs["y"].shape).astype(np.float32)
    outputs = {name: array.copy() for name, array in net.forward(x=x).items()}
    expected = slow(x, dy, kernel, stride, pad)
    np.testing.assert_array_equal(outputs["y"], expected[0])
    np.testing.assert_array_equal(outputs["where"], expected[1])
    np.testing.assert_array_equal(net.backward(y=dy)["x"], expected[2])


@pytest.mark.parametrize("channels_last", [False, True])
def test_one_batch_leaves_nothing_behind_for_the_next(channels_last):
    """Memory for intermediate results is used again: neither its border nor its values may be those of before."""
    rng = np.random.default_rng(4)
    for geometry in [*GEOMETRIES, *reversed(GEOMETRIES)]:
        sizes, kernel, stride, pad = GEOMETRIES[geometry]
        x = rng.standard_normal((2, 3, *sizes)).astype(np.float32)
        net = max_pooling(x.shape, kernel, stride, pad, channels_last)
        for sign in (1, -1):
            expected = slow(sign * x - 100 * sign, np.zeros(net.blobs["y"].shape), kernel, stride, pad)
            outputs = net.forward(x=sign * x - 100 * sign)
            np.testing.assert_array_equal(outputs["y"], expected[0])
            np.testing.assert_array_equal(outputs["where"], expected[1])


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("geometry", ["2x2 over the end", "3x3 with a border"])
def test_the_same_bits_with_any_number_of_threads(geometry, channels_last, monkeypatch):
    _, kernel, stride, pad = GEOMETRIES[geometry]
    rng, results = np.random.default_rng(5), []
    x = np.maximum(rng.standard_normal((40, 8, 45, 47)), 0).astype(np.float32)
    for count in (1, 2, 3):
        monkeypatch.setattr(parallel, "_wanted", count)
        net = max_pooling(x.shape, kernel, stride, pad, channels_last)
        outputs = net.forward(x=x)
        dy = np.ones(net.blobs["y"].shape, np.float32)
        results.append([outputs["y"].tobytes(), outputs["where"].tobytes(), net.backward(y=dy)["x"].tobytes()])
    assert results[0] == results[1] == results[2]
