"""Bias, Embed, LayerNorm, GroupNorm, MVN and BatchNorm's affine option: by hand, in loops, and against each other."""

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain import NettrainError, ShapeError


def slow_rows(x, rows, eps, on_sigma=False, divides=True):
    """Each row on its own in float64, with the derivative written out as a matrix."""
    flat, dy = x.reshape(rows, -1), np.random.default_rng(5).standard_normal(x.shape)
    y, dx = np.zeros(flat.shape), np.zeros(flat.shape)
    for i, (row, g) in enumerate(zip(flat, dy.reshape(rows, -1), strict=True)):
        m, c = len(row), row - row.mean()
        sigma = np.sqrt((c**2).mean())
        s = (sigma + eps if on_sigma else np.sqrt(sigma**2 + eps)) if divides else 1.0
        along = np.eye(m) - 1 / m
        # ds/dx_j = c_j / (m σ) for s = σ + eps, c_j / (m s) for the root
        ds = c / (m * (sigma if on_sigma else s)) if divides else 0 * c
        y[i] = c / s
        dx[i] = (along / s - np.outer(c, ds) / s**2).T @ g
    return y.reshape(x.shape), dy, dx.reshape(x.shape)


@pytest.mark.parametrize(
    ("type_name", "params", "rows", "options"),
    [
        ("MVN", {}, 6, {"eps": 1e-9, "on_sigma": True}),
        ("MVN", {"across_channels": True, "eps": 0.3}, 2, {"eps": 0.3, "on_sigma": True}),
        ("MVN", {"normalize_variance": False}, 6, {"eps": 0, "divides": False}),
        ("MVN", {"normalize_variance": False, "across_channels": True}, 2, {"eps": 0, "divides": False}),
        ("LayerNorm", {"affine": False}, 2, {"eps": 1e-5}),
        ("LayerNorm", {"affine": False, "axis": 2, "eps": 0.1}, 6, {"eps": 0.1}),
        ("LayerNorm", {"affine": False, "axis": 0}, 1, {"eps": 1e-5}),
        ("GroupNorm", {"affine": False, "num_groups": 3}, 6, {"eps": 1e-5}),
        ("GroupNorm", {"affine": False, "num_groups": 1}, 2, {"eps": 1e-5}),
    ],
)
@pytest.mark.parametrize("top", ["y", "x0"])
def test_rows_against_loops(type_name, params, rows, options, top):
    x = 3 + 2 * np.random.default_rng(1).standard_normal((2, 3, 4, 5))
    y, dy, dx = slow_rows(x, rows, **options)
    net = layer_net(type_name, x.shape, top=top, **params)
    net.forward(x0=x)
    np.testing.assert_allclose(net.blobs[top].data, y, rtol=1e-10, atol=1e-12)
    net.backward(**{top: dy})
    np.testing.assert_allclose(net._input_blobs["x0"].diff, dx, rtol=1e-8, atol=1e-12)


def test_affine_starts_at_one_and_zero_and_acts_by_element_and_by_channel():
    x = np.random.default_rng(2).standard_normal((2, 4, 3))
    for type_name, params, shape in (("LayerNorm", {}, (4, 3)), ("GroupNorm", {"num_groups": 2}, (4,))):
        net, plain = layer_net(type_name, x.shape, **params), layer_net(type_name, x.shape, affine=False, **params)
        w, b = net.params["y"]
        assert w.shape == b.shape == shape
        hat = plain.forward(x0=x)["y"]
        np.testing.assert_array_equal(net.forward(x0=x)["y"], hat)
        w.data[...] = np.arange(w.count).reshape(shape)
        b.data[...] = -1
        spread = w.data if type_name == "LayerNorm" else w.data[:, None]
        np.testing.assert_allclose(net.forward(x0=x)["y"], hat * spread - 1, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("type_name", ["MVN", "LayerNorm", "GroupNorm"])
def test_a_row_of_equal_values_becomes_zero(type_name):
    net = layer_net(type_name, (2, 2, 3), **({"num_groups": 2} if type_name == "GroupNorm" else {}))
    assert not net.forward(x0=np.full((2, 2, 3), 1000.0))["y"].any()
    net.backward(y=np.ones((2, 2, 3)))
    assert np.isfinite(net.blobs["x0"].diff).all()


@pytest.mark.parametrize("type_name", ["MVN", "LayerNorm", "GroupNorm", "Bias"])
@pytest.mark.parametrize("batch", [0, 1, 5])
def test_batches_of_any_size(type_name, batch):
    net = layer_net(type_name, (3, 2, 4), **({"num_groups": 2} if type_name == "GroupNorm" else {}))
    x = np.random.default_rng(3).standard_normal((5, 2, 4))
    whole = net.forward(x0=x)["y"].copy()
    np.testing.assert_allclose(net.forward(x0=x[:batch])["y"], whole[:batch], rtol=1e-12)
    net.backward(y=np.ones((batch, 2, 4)))


def test_float32_keeps_its_digits_beside_a_large_mean():
    x = (1000 + np.random.default_rng(4).standard_normal((2, 3, 500))).astype("f")
    net = layer_net("LayerNorm", x.shape, dtype="float32")
    y = net.forward(x0=x)["y"]
    exact = x.astype(float)
    exact -= exact.mean(axis=(1, 2), keepdims=True)
    exact /= exact.std(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(y, exact, atol=2e-4)


def test_batch_norm_with_affine_is_batch_norm_and_scale():
    x, dy = np.random.default_rng(6).standard_normal((2, 5, 3, 4))
    layers = [
        {"name": "x0", "type": "Input", "shape": [5, 3, 4]},
        {"name": "n", "type": "BatchNorm"},
        {"name": "y", "type": "Scale", "bias_term": True},
    ]
    both = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN", dtype="float64")
    one = layer_net("BatchNorm", (5, 3, 4), affine=True)
    for i, values in enumerate(([0.5, -1, 2], [3, 0, -1])):
        both.params["y"][i].data[...] = one.params["y"][3 + i].data[...] = values
    for net in (both, one):
        net.forward(x0=x)
        net.backward(y=dy)
    np.testing.assert_allclose(one.blobs["y"].data, both.blobs["y"].data, rtol=1e-12)
    np.testing.assert_allclose(one.blobs["x0"].diff, both.blobs["x0"].diff, rtol=1e-12, atol=1e-14)
    for i in range(2):
        np.testing.assert_allclose(one.params["y"][3 + i].diff, both.params["y"][i].diff, rtol=1e-12)
    assert [parameter.lr_mult for parameter in one.parameters] == [0, 0, 0, 1, 1]


def test_bias_by_hand_and_from_a_bottom():
    net = layer_net("Bias", (2, 3, 2))
    net.params["y"][0].data[...] = [1, 10, 100]
    assert net.forward(x0=np.zeros((2, 3, 2)))["y"][1].tolist() == [[1, 1], [10, 10], [100, 100]]
    net.params["y"][0].diff[...] = 5
    net.backward(y=np.arange(12).reshape(2, 3, 2))
    assert net.params["y"][0].diff.tolist() == [5 + 0 + 1 + 6 + 7, 5 + 2 + 3 + 8 + 9, 5 + 4 + 5 + 10 + 11]
    net = layer_net("Bias", (2, 3), (2,), axis=0)
    assert net.forward(x0=np.zeros((2, 3)), x1=[4, 5])["y"].tolist() == [[4] * 3, [5] * 3]
    assert net.backward(y=np.ones((2, 3)))["x1"].tolist() == [3, 3]


def test_embed_by_hand():
    net = layer_net("Embed", (2, 3), input_dim=4, num_output=2)
    W, b = net.params["y"]
    W.data[...], b.data[...] = [[0, 1], [2, 3], [4, 5], [6, 7]], [10, 20]
    y = net.forward(x0=[[3, 0, 3], [1, 3, 0]])["y"]
    assert y.tolist() == [[[16, 27], [10, 21], [16, 27]], [[12, 23], [16, 27], [10, 21]]]
    W.diff[...] = 1
    net.backward(y=np.arange(12).reshape(2, 3, 2))
    assert W.diff.tolist() == [[1 + 2 + 10, 1 + 3 + 11], [1 + 6, 1 + 7], [1, 1], [1 + 0 + 4 + 8, 1 + 1 + 5 + 9]]
    assert b.diff.tolist() == [30, 36]


@pytest.mark.parametrize(
    ("bad", "words"),
    [(4, r"index 4 at \[1, 2\] is not one of the 4 \(0..3\)"), (-1, "index -1 at"), (1.5, "1.5"), (np.nan, "nan")],
)
def test_an_index_that_is_none_is_refused(bad, words):
    net = layer_net("Embed", (2, 3), input_dim=4, num_output=2)
    with pytest.raises(NettrainError, match=words):
        net.forward(x0=[[0, 1, 2], [3, 0, bad]])


def test_embed_takes_no_indices_too():
    net = layer_net("Embed", (2, 3), input_dim=4, num_output=2)
    assert net.forward(x0=np.zeros((0, 3)))["y"].shape == (0, 3, 2)
    net.backward(y=np.zeros((0, 3, 2)))


@pytest.mark.parametrize(
    ("type_name", "params", "shape"),
    [("LayerNorm", {}, (2, 5)), ("GroupNorm", {"num_groups": 2}, (2, 6)), ("Bias", {}, (2, 5))],
)
def test_another_number_of_channels_is_refused(type_name, params, shape):
    net = layer_net(type_name, (2, 4), **params)
    with pytest.raises(ShapeError, match=type_name):
        net.forward(x0=np.zeros(shape))


@pytest.mark.parametrize(
    ("type_name", "params", "shape", "rows"),
    [
        ("GroupNorm", {"num_groups": 4}, (70, 8, 30, 31), 280),  # columns, several blocks
        ("GroupNorm", {"num_groups": 2}, (700, 32, 4, 5), 1400),  # rows, each channel's values repeated
        ("LayerNorm", {}, (70, 8, 30, 31), 70),
        ("LayerNorm", {}, (3, 300_000), 3),  # a block smaller than an example
        ("MVN", {"across_channels": True}, (70, 8, 30, 31), 70),
    ],
)
def test_large_blobs_far_from_zero_against_float64(type_name, params, shape, rows):
    rng = np.random.default_rng(3)
    x, dy = (100 + rng.standard_normal(shape)).astype("f"), rng.standard_normal(shape).astype("f")
    net = layer_net(type_name, shape, dtype="float32", **params)
    w, b = np.ones(1), np.zeros(1)
    if blobs := net.params.get("y"):
        w, b = (rng.uniform(0.5, 2, blobs[0].shape).astype("f") for _ in range(2))
        blobs[0].data[...], blobs[1].data[...] = w, b
    spread = (len(w),) + (1,) * (len(shape) - 1 - w.ndim) if type_name == "GroupNorm" else w.shape
    w, b = w.reshape(spread).astype(float), b.reshape(spread).astype(float)
    flat = x.astype(float).reshape(rows, -1)
    centered = flat - flat.mean(axis=1, keepdims=True)
    s = np.sqrt((centered**2).mean(axis=1, keepdims=True) + (1e-9 if type_name == "MVN" else 1e-5))
    hat = (centered / s).reshape(shape)
    net.forward(x0=x)
    np.testing.assert_allclose(net.blobs["y"].data, w * hat + b, atol=2e-4)
    net.backward(y=dy)
    a = (w * dy).reshape(rows, -1)
    h = hat.reshape(rows, -1)
    dx = (a - a.mean(axis=1, keepdims=True) - h * (a * h).mean(axis=1, keepdims=True)) / s
    np.testing.assert_allclose(net._input_blobs["x0"].diff, dx.reshape(shape), atol=2e-4)
    if blobs:
        axes = (0, 2, 3) if type_name == "GroupNorm" else 0
        for blob, total in zip(blobs, ((dy * hat).sum(axis=axes), dy.astype(float).sum(axis=axes)), strict=True):
            np.testing.assert_allclose(blob.diff, total, rtol=1e-4, atol=2e-4 * np.sqrt(dy.size / blob.count))
