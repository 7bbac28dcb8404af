"""BatchNorm: known values, slow loops, running statistics pass by pass, what is never learned, memory and threads."""

from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel

EPS = 1e-5


bn_net = partial(layer_net, "BatchNorm", inputs="x", name="bn", top="y")


def run(net, x, dy):
    """(y, dx)."""
    net.blobs["x"].data[...] = x
    y = net.forward()["y"].copy()
    return y, net.backward(y=dy)["x"].copy()


def slow_batch_norm(x, dy, eps=EPS):
    """One channel at a time, in float64: y, dx, mean, variance."""
    x, dy = x.astype(float), dy.astype(float)
    y, dx, means, variances = np.zeros(x.shape), np.zeros(x.shape), [], []
    for c in range(x.shape[1]):
        mine, g = x[:, c].ravel(), dy[:, c].ravel()
        m = len(mine)
        mean = sum(mine) / m
        variance = sum((v - mean) ** 2 for v in mine) / m
        hat = (mine - mean) / np.sqrt(variance + eps)
        # how y_j changes with x_i, written out: (δ_ij - 1/m - ŷ_i ŷ_j / m) / σ
        jacobian = (np.eye(m) - 1 / m - np.outer(hat, hat) / m) / np.sqrt(variance + eps)
        y[:, c], dx[:, c] = hat.reshape(x[:, c].shape), (jacobian @ g).reshape(x[:, c].shape)
        means.append(mean)
        variances.append(variance)
    return y, dx, np.array(means), np.array(variances)


def statistics(net):
    return [blob.data.copy() for blob in net.params["bn"]]


# The forms in which memory is cut: short and long rows of a channel, one example, one channel, no further axes.
SHAPES = [(2, 3, 4, 5), (3, 2, 6, 7), (5, 4), (1, 3, 5, 7), (4, 1, 3, 3), (4, 3, 2), (2, 2, 3, 2, 3), (1, 2, 50, 2)]


def test_known_values():
    net = bn_net((2, 2), eps=1.0)
    y, dx = run(net, [[1, 5], [3, 5]], [[2, 1], [4, 3]])
    # channel 0: mean 2, variance 1, σ = √2; channel 1: mean 5, variance 0, σ = 1
    root = np.sqrt(2)
    np.testing.assert_allclose(y, [[-1 / root, 0], [1 / root, 0]], rtol=1e-15)
    # mean dy = 3; mean dy y = (4 - 2) / 2√2 = 1/√2; dx = (dy - 3 - y/√2) / √2 = (∓1 ± 1/2) / √2
    np.testing.assert_allclose(dx, [[-0.5 / root, -1], [0.5 / root, 1]], rtol=1e-15)
    # b1 holds the variance times m / (m - 1) = 2
    for blob, expected in zip(net.params["bn"], ([2, 5], [2, 0], [1]), strict=True):
        np.testing.assert_allclose(blob.data, expected, rtol=1e-15)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_loops(shape, channels_last):
    rng = np.random.default_rng(4)
    x, dy = 3 + 2 * rng.standard_normal(shape), rng.standard_normal(shape)
    net = bn_net(shape, channels_last=channels_last, eps=0.01)
    assert net.blobs["y"].channels_last == channels_last
    y, dx = run(net, x, dy)
    expected_y, expected_dx, mean, variance = slow_batch_norm(x, dy, 0.01)
    np.testing.assert_allclose(y, expected_y, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-13)
    m = x.size // shape[1]
    np.testing.assert_allclose(net.params["bn"][0].data, mean, rtol=1e-12)
    np.testing.assert_allclose(net.params["bn"][1].data, variance * m / (m - 1), rtol=1e-12)


# Each is cut into several blocks: rows of a channel; rows of many channels with a last one that is not full.
LARGE = [((27, 24, 30, 31), False), ((19, 24, 30, 31), True), ((47, 300, 9, 5), False), ((17003, 24), False)]
LARGE += [((9, 40, 2, 1031), True), ((1501, 40, 3, 2), False), ((3, 2, 400, 300), False)]


@pytest.mark.parametrize(("shape", "channels_last"), LARGE, ids=str)
def test_work_in_several_tasks_gives_the_same_bits_with_any_number_of_threads(shape, channels_last):
    rng = np.random.default_rng(6)
    x, dy = 5 + rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
    before, runs = parallel.threads(), []
    try:
        for count in (1, 2, 3):
            parallel.use_threads(count)
            net = bn_net(shape, dtype="float32", channels_last=channels_last)
            runs.append([*run(net, x, dy), *statistics(net)])
    finally:
        parallel.use_threads(before)
    assert net.layers["bn"].channels.blocks > 2
    for other in runs[1:]:
        for a, b in zip(runs[0], other, strict=True):
            np.testing.assert_array_equal(a, b)
    # the same in float64 and whole arrays
    axes, C = (0, *range(2, x.ndim)), (1, shape[1], *[1] * (x.ndim - 2))
    x, dy = x.astype(float), dy.astype(float)
    mean, variance = x.mean(axes).reshape(C), x.var(axes).reshape(C)
    y = (x - mean) / np.sqrt(variance + EPS)
    dx = (dy - dy.mean(axes).reshape(C) - y * (dy * y).mean(axes).reshape(C)) / np.sqrt(variance + EPS)
    np.testing.assert_allclose(runs[0][0], y, rtol=1e-5, atol=3e-6)
    np.testing.assert_allclose(runs[0][1], dx, rtol=1e-5, atol=3e-6)
    np.testing.assert_allclose(runs[0][2], mean.ravel(), rtol=1e-6)
    m = x.size // shape[1]
    np.testing.assert_allclose(runs[0][3], variance.ravel() * m / (m - 1), rtol=1e-5)


def test_running_statistics_after_several_passes():
    shape, decay = (3, 2, 2, 2), 0.9
    net, rng = bn_net(shape, moving_average_fraction=decay), np.random.default_rng(1)
    b0, b1, b2, m = np.zeros(2), np.zeros(2), 0.0, 12
    for _ in range(4):
        x = rng.standard_normal(shape) * 3 + 1
        net.forward(x=x)
        b0 = decay * b0 + x.mean((0, 2, 3))
        b1 = decay * b1 + x.var((0, 2, 3)) * m / (m - 1)
        b2 = decay * b2 + 1
    for mine, expected in zip(statistics(net), (b0, b1, [b2]), strict=True):
        np.testing.assert_allclose(mine, expected, rtol=1e-13)
    assert statistics(net)[2][0] == pytest.approx(1 + 0.9 + 0.81 + 0.729)


def test_the_default_fraction_is_0_999():
    net = bn_net((2, 2))
    for _ in range(3):
        net.forward(x=[[1, 2], [3, 4]])
    assert statistics(net)[2][0] == pytest.approx(1 + 0.999 + 0.999**2, rel=1e-14)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("how", [{"phase": "TEST"}, {"phase": "TRAIN", "use_global_stats": True}], ids=str)
@pytest.mark.parametrize("shape", [(2, 2, 2, 3), (3, 2, 6, 7), (4, 2)], ids=str)
def test_running_statistics_are_used_and_left_alone(how, shape, channels_last):
    net, rng = bn_net(shape, channels_last=channels_last, **how), np.random.default_rng(3)
    for blob, values in zip(net.params["bn"], ([8.0, -2], [36.0, 4], [4.0]), strict=True):
        blob.data[...] = values
    x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
    y, dx = run(net, x, dy)
    for c, (mean, variance) in enumerate([(2, 9), (-0.5, 1)]):
        np.testing.assert_allclose(y[:, c], (x[:, c] - mean) / np.sqrt(variance + EPS), rtol=1e-13)
        np.testing.assert_allclose(dx[:, c], dy[:, c] / np.sqrt(variance + EPS), rtol=1e-13)
    assert [values.tolist() for values in statistics(net)] == [[8, -2], [36, 4], [4]]


def test_the_statistics_of_the_batch_can_be_used_in_test():
    net = bn_net((4, 2), phase="TEST", use_global_stats=False)
    x = np.random.default_rng(0).standard_normal((4, 2))
    np.testing.assert_allclose(net.forward(x=x)["y"], (x - x.mean(0)) / np.sqrt(x.var(0) + EPS), rtol=1e-12)


def test_without_any_training_the_factor_is_that_of_eps():
    net = bn_net((2, 3), phase="TEST")
    for blob in net.params["bn"][:2]:
        blob.data[...] = 7  # does not count as long as no pass was counted
    x = np.array([[1.0, -2, 3], [0, 4, 5]])
    np.testing.assert_allclose(net.forward(x=x)["y"], x / np.sqrt(EPS), rtol=1e-14)  # 316 x, as in Caffe


def test_one_value_for_a_channel_keeps_its_variance_as_it_is():
    net = bn_net((1, 3))
    y, dx = run(net, [[7, -1000, 0]], [[1, 2, 3]])
    assert y.tolist() == [[0, 0, 0]]
    assert dx.tolist() == [[0, 0, 0]]
    assert [values.tolist() for values in statistics(net)] == [[7, -1000, 0], [0, 0, 0], [1]]


@pytest.mark.parametrize("channels_last", [False, True])
def test_no_examples_leave_the_statistics_alone(channels_last):
    net = bn_net((2, 3, 2, 2), channels_last=channels_last)
    net.forward(x=np.random.default_rng(0).standard_normal((2, 3, 2, 2)))
    before = statistics(net)
    assert net.forward(x=np.zeros((0, 3, 2, 2)))["y"].shape == (0, 3, 2, 2)
    assert net.backward()["x"].shape == (0, 3, 2, 2)
    for a, b in zip(before, statistics(net), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("shape", [(0, 3), (0, 3, 7, 9), (2, 0, 3, 3), (2, 3, 0, 4)], ids=str)
@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_blobs_without_elements(shape, phase):
    net = bn_net(shape, phase=phase)
    assert net.forward()["y"].shape == shape
    assert net.backward()["x"].shape == shape


def test_batches_of_another_size():
    net, rng = bn_net((2, 3, 4, 4)), np.random.default_rng(0)
    for shape in ((5, 3, 4, 4), (1, 3, 9, 7), (2, 3, 1, 2), (2, 3, 4, 4)):
        x, dy = rng.standard_normal(shape), rng.standard_normal(shape)
        y = net.forward(x=x)["y"].copy()
        dx = net.backward(y=dy)["x"]
        expected_y, expected_dx, *_ = slow_batch_norm(x, dy)
        np.testing.assert_allclose(y, expected_y, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("value", [1000, -1000, 0])
def test_equal_values_become_zero(value, channels_last):
    shape = (4, 2, 5, 9)
    net = bn_net(shape, dtype="float32", channels_last=channels_last)
    y, dx = run(net, np.full(shape, value), np.ones(shape))
    np.testing.assert_array_equal(y, 0)
    np.testing.assert_array_equal(dx, 0)
    assert statistics(net)[0].tolist() == [value, value]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(64, 3, 28, 28), (2000, 3)], ids=str)
def test_a_mean_that_is_large_beside_the_deviation(shape, channels_last):
    """E[x²] - μ² in float32 would have no digit left: 10^8 ± 1."""
    sign = np.where(np.arange(np.prod(shape)).reshape(shape) % 2, 1, -1)
    sign = np.random.default_rng(0).permuted(sign, axis=0)
    x = (10000 + sign).astype(np.float32)
    net = bn_net(shape, dtype="float32", channels_last=channels_last)
    y, _ = run(net, x, np.zeros(shape))
    x = x.astype(float)
    axes = (0, *range(2, x.ndim))
    C = (1, 3, *[1] * (x.ndim - 2))
    expected = (x - x.mean(axes).reshape(C)) / x.std(axes).reshape(C)
    np.testing.assert_allclose(y, expected, atol=2e-3)  # 10000 + μ has steps of 0.001
    m = x.size // 3
    np.testing.assert_allclose(statistics(net)[1], x.var(axes) * m / (m - 1), rtol=1e-5)


def test_both_extremes_in_one_channel():
    net = bn_net((2, 1), dtype="float32")
    y, _ = run(net, [[1000], [-1000]], [[1], [0]])
    np.testing.assert_allclose(y, [[1], [-1]], rtol=1e-6)


CHAIN = [
    {"name": "x", "type": "Input", "shape": [6, 4]},
    {"name": "ip", "type": "InnerProduct", "num_output": 3},
    {"name": "bn", "type": "BatchNorm"},
    {"name": "scale", "type": "Scale", "bias_term": True},
    {"name": "relu", "type": "ReLU"},
]


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_a_top_named_like_the_bottom(phase):
    """The usual chain, all in place, gives the numbers of the chain with names of its own."""
    nets = []
    for in_place in (False, True):
        layers = [
            layer | ({"top": "ip", "bottom": "ip"} if in_place and i > 1 else {}) for i, layer in enumerate(CHAIN)
        ]
        nets.append(nettrain.Net({"force_backward": True, "layers": layers}, phase=phase, dtype="float64"))
    rng = np.random.default_rng(2)
    x, dy, learned = rng.standard_normal((6, 4)), rng.standard_normal((6, 3)), rng.standard_normal((2, 3))
    results = []
    for net, name in zip(nets, ("relu", "ip"), strict=True):
        for blob, values in zip(net.params["scale"], learned, strict=True):
            blob.data[...] = values
        for blob, values in zip(net.params["bn"], ([1.0, 2, 3], [2.0, 1, 4], [2.0]), strict=True):
            blob.data[...] = values
        y = net.forward(x=x)[name].copy()
        dx = net.backward(**{name: dy})["x"]
        results.append([y, dx, *(blob.diff for name in ("ip", "scale") for blob in net.params[name]), *statistics(net)])
    for apart, together in zip(*results, strict=True):
        np.testing.assert_array_equal(apart, together)
    assert all(np.abs(values).max() > 0 for values in results[0])
    steps = nets[1].steps
    assert steps[2].top[0].shares_data_with(steps[2].bottom[0])
    assert not steps[3].top[0].shares_data_with(steps[3].bottom[0])  # Scale's backward reads what BatchNorm made


@pytest.mark.parametrize("use_global_stats", [False, True])
def test_its_top_may_be_overwritten_when_backward_does_not_read_it(use_global_stats):
    layers = [*CHAIN[:3], {"name": "tanh", "type": "TanH", "bottom": "bn", "top": "bn"}]
    layers[2] = layers[2] | {"use_global_stats": use_global_stats}
    steps = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN").steps
    assert steps[3].top[0].shares_data_with(steps[3].bottom[0]) == use_global_stats


def test_in_place_on_large_blobs():
    shape, rng = (27, 24, 30, 31), np.random.default_rng(0)
    x, dy = rng.standard_normal(shape, np.float32), rng.standard_normal(shape, np.float32)
    results = []
    for top in ("y", "h"):
        layers = [
            {"name": "x", "type": "Input", "shape": list(shape)},
            {"name": "drop", "type": "Dropout", "dropout_ratio": 0, "top": "h"},
            {"name": "bn", "type": "BatchNorm", "bottom": "h", "top": top},
        ]
        net = nettrain.Net({"force_backward": True, "layers": layers}, phase="TRAIN")
        assert net.steps[2].top[0].shares_data_with(net.steps[2].bottom[0]) == (top == "h")
        results.append((net.forward(x=x)[top].copy(), net.backward(**{top: dy})["x"].copy()))
    for apart, together in zip(*results, strict=True):
        np.testing.assert_array_equal(apart, together)


# Statistics are never learned.


def solver_of(iter_size=1, param=None, **solver):
    bn = {"name": "bn", "type": "BatchNorm"} | ({"param": param} if param else {})
    layers = [
        {"name": "in", "type": "Input", "top": ["x", "t"], "shape": [[8, 3], [8, 2]]},
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 2},
        bn,
        {"name": "loss", "type": "EuclideanLoss", "bottom": ["bn", "t"]},
    ]
    solver = {"base_lr": 0.5, "max_iter": 9, "weight_decay": 0.1, "momentum": 0.9, "iter_size": iter_size} | solver
    made = nettrain.get_solver({"solver": solver, "layers": layers})
    rng = np.random.default_rng(8)
    for name in ("x", "t"):
        made.net.blobs[name].data[...] = rng.standard_normal(made.net.blobs[name].shape)
    return made


@pytest.mark.parametrize(
    "param",
    # three multipliers of 1 stand in old Caffe files, which Caffe reads as 0
    [None, [{"lr_mult": 0}] * 3, [{"lr_mult": 1, "decay_mult": 1}] * 3, [{"decay_mult": 5}] * 3, [{"name": "mean"}]],
    ids=str,
)
def test_neither_rate_nor_decay_touches_the_statistics(param):
    """After one step they are those of the first batch: decay or an update would have changed them."""
    solver = solver_of(param=param)
    W, b = (blob.data.copy() for blob in solver.net.params["ip"])
    solver.step(1)
    h = solver.net.blobs["x"].data @ W.T + b
    np.testing.assert_allclose(solver.net.params["bn"][0].data, h.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(solver.net.params["bn"][1].data, h.var(0) * 8 / 7, rtol=1e-5)
    assert solver.net.params["bn"][2].data.tolist() == [1]
    assert [p.lr_mult for p in solver.net.parameters] == [1, 1, 0, 0, 0]
    assert np.abs(solver.net.params["ip"][0].data - W).max() > 0


def test_force_backward_leaves_their_diffs_alone():
    net = bn_net((4, 3))
    run(net, np.random.default_rng(0).standard_normal((4, 3)), np.ones((4, 3)))
    assert [blob.diff.any() for blob in net.params["bn"]] == [False] * 3


def test_every_pass_of_iter_size_is_counted():
    solver = solver_of(iter_size=3, base_lr=1e-30)
    solver.step(2)
    assert solver.net.params["bn"][2].data[0] == pytest.approx(sum(0.999**i for i in range(6)), rel=1e-6)


def test_a_snapshot_keeps_them(tmp_path):
    net = bn_net((4, 3))
    net.forward(x=np.random.default_rng(0).standard_normal((4, 3)))
    net.save(tmp_path / "w.npz")
    other = bn_net((4, 3), phase="TEST")
    other.copy_from(tmp_path / "w.npz")
    for a, b in zip(statistics(net), statistics(other), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_test_net_sees_what_training_counted():
    train = bn_net((4, 3))
    layers = train.spec.to_python()
    test = nettrain.Net(layers, phase="TEST", dtype="float64", share_with=train)
    x = np.random.default_rng(0).standard_normal((4, 3))
    train.forward(x=x)
    expected = (x - x.mean(0)) / np.sqrt(x.var(0) * 4 / 3 + EPS)
    np.testing.assert_allclose(test.forward(x=x)["y"], expected, rtol=1e-12)


# What it refuses.


def test_the_number_of_channels_stays():
    net = bn_net((2, 3, 4, 4))
    for shape in ((2, 4, 4, 4), (6,)):
        with pytest.raises(nettrain.ShapeError, match="the statistics are those of 3 channels, got"):
            net.forward(x=np.zeros(shape))


@pytest.mark.parametrize("mult", [1, -0.5])
def test_a_rate_for_statistics_is_an_error(mult):
    with pytest.raises(nettrain.SpecError, match="blob 1 is a statistic that is never learned; lr_mult must be 0"):
        bn_net((2, 3), param=[{"lr_mult": 0}, {"lr_mult": mult}])
