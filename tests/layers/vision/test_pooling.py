"""Pooling: known values, loops over every window in odd geometries, ties, and what it refuses."""

import itertools
import math

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain.compute import parallel
from nettrain.net.fillers import stream


def pooling_net(shape, tops=1, **params):
    return layer_net("Pooling", shape, inputs="x", name="pool", **{"top": ["y", "where"][:tops]} | params)


def output_size(size, kernel, stride, pad, round_mode, after=None):
    """Caffe's formula; a last window that would begin beyond the image and its upper border is dropped."""
    span = (size + pad + (pad if after is None else after) - kernel) / stride
    count = (math.ceil(span) if round_mode == "CEIL" else math.floor(span)) + 1
    return count - 1 if (count - 1) * stride >= size + pad else count


def slow_pooling(x, dy, mode, kernel, stride, pad, after=None, border_counts=True):
    """One window at a time: y, where each maximum is, and dx."""
    after = after or pad
    (H, W), y, where, dx = x.shape[2:], np.zeros(dy.shape), np.full(dy.shape, -1.0), np.zeros(x.shape)
    for n, c, i, j in np.ndindex(dy.shape):
        top, left = i * stride[0] - pad[0], j * stride[1] - pad[1]
        bottom, right = min(top + kernel[0], H + after[0]), min(left + kernel[1], W + after[1])
        inside = [(h, w) for h in range(max(0, top), min(bottom, H)) for w in range(max(0, left), min(right, W))]
        if mode == "MAX":
            best = max(inside, key=lambda place: x[n, c, *place])  # the first of equal ones
            y[n, c, i, j], where[n, c, i, j] = x[n, c, *best], best[0] * W + best[1]
            dx[n, c, *best] += dy[n, c, i, j]
        else:
            size = (bottom - top) * (right - left) if border_counts else len(inside)
            y[n, c, i, j] = sum(x[n, c, *place] for place in inside) / size
            for place in inside:
                dx[n, c, *place] += dy[n, c, i, j] / size
    return y, where, dx


def check_against_loops(shape, kernel, stride, pad, params, ties=False, **options):
    rng = np.random.default_rng(5)
    x = rng.integers(0, 3, shape).astype(float) if ties else rng.standard_normal(shape)
    mode, rounding = params.get("pool", "MAX"), params.get("round_mode", "CEIL")
    net = pooling_net(shape, tops=2 if mode == "MAX" else 1, **options, **params)
    sizes = [output_size(*axis, rounding) for axis in zip(shape[2:], kernel, stride, pad, strict=True)]
    assert net.blobs["y"].shape == (*shape[:2], *sizes)
    dy = rng.standard_normal(net.blobs["y"].shape)
    outputs = net.forward(x=x)
    dx = net.backward(y=dy)["x"]
    y, where, expected_dx = slow_pooling(x, dy, mode, kernel, stride, pad)
    np.testing.assert_allclose(outputs["y"], y, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-14)
    if mode == "MAX":
        np.testing.assert_array_equal(outputs["where"], where)


def pool(rows, **params):
    """The pooled image of one image, as nested lists."""
    return pooling_net((1, 1, len(rows), len(rows[0])), **params).forward(x=[[rows]])["y"][0, 0].tolist()


IMAGE = [[1, 2, 3], [8, 9, 4], [7, 6, 5]]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"kernel_size": 2}, [[9, 9], [9, 9]]),
        ({"kernel_size": 2, "stride": 2}, [[9, 4], [7, 5]]),  # the last windows hang over
        ({"kernel_size": 2, "stride": 2, "round_mode": "FLOOR"}, [[9]]),
        ({"pool": "AVE", "kernel_size": 2}, [[5, 4.5], [7.5, 6]]),
        ({"pool": "AVE", "kernel_size": 2, "stride": 2}, [[5, 3.5], [6.5, 5]]),  # divided by what lies inside
        (
            {"pool": "AVE", "kernel_size": 2, "stride": 2, "pad": 1},
            [[0.25, 1.25], [3.75, 6]],
        ),  # zeros of the border count
        (
            {"pool": "AVE", "kernel_size": 2, "stride": 2, "pad": 1, "count_include_pad": False},
            [[1, 2.5], [7.5, 6]],
        ),
        ({"pool": "AVE", "kernel_size": 2, "stride": 2, "pad_t": 1}, [[0.75, 1.5], [7.5, 4.5]]),
        ({"kernel_size": 2, "stride": 2, "pad_l": 1}, [[8, 9], [7, 6]]),
        ({"kernel_size": 2, "stride": 2, "pad": 1}, [[1, 3], [8, 9]]),
        ({"kernel_h": 1, "kernel_w": 3}, [[3], [9], [7]]),
        ({"kernel_h": 3, "kernel_w": 1}, [[8, 9, 5]]),
        ({"global_pooling": True}, [[9]]),
        ({"pool": "AVE", "global_pooling": True}, [[5]]),
        ({"kernel_size": 1}, IMAGE),
        ({"kernel_size": 3}, [[9]]),
        ({"kernel_size": 3, "round_mode": "FLOOR"}, [[9]]),
        ({"kernel_size": 4, "stride": 2}, [[9]]),  # larger than the image, by less than a stride
    ],
)
def test_known_values(params, expected):
    assert pool(IMAGE, **params) == expected


def test_the_border_never_wins():
    assert pool([[-1, -2], [-3, -4]], kernel_size=2, stride=2, pad=1) == [[-1, -2], [-3, -4]]


# From Caffe's issues: sizes at which rounding up matters.
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "ceil", "floor"),
    [
        (10, 3, 2, 0, 5, 4),
        (112, 3, 2, 0, 56, 55),
        (64, 3, 2, 1, 33, 32),
        (32, 1, 2, 0, 16, 16),  # Caffe makes a 17th window that is wholly outside
        (5, 1, 3, 0, 2, 2),
        (4, 2, 2, 1, 3, 3),
        (5, 3, 3, 1, 2, 2),
        (3, 2, 4, 1, 1, 1),  # the second window would see the border only
        (7, 2, 6, 1, 2, 2),
    ],
)
def test_output_sizes(size, kernel, stride, pad, ceil, floor):
    params = {"kernel_size": kernel, "stride": stride, "pad": pad}
    assert pooling_net((1, 1, size, 4), **params).blobs["y"].shape[2] == ceil
    assert pooling_net((1, 1, size, 4), round_mode="FLOOR", **params).blobs["y"].shape[2] == floor


def geometries():
    for kernel, stride, pad in itertools.product((1, 2, 3), (1, 2, 3), (0, 1, 2)):
        if pad < kernel:
            yield kernel, stride, pad


@pytest.mark.parametrize("round_mode", ["CEIL", "FLOOR"])
@pytest.mark.parametrize("mode", ["MAX", "AVE"])
@pytest.mark.parametrize(("kernel", "stride", "pad"), list(geometries()))
def test_every_small_geometry(mode, round_mode, kernel, stride, pad):
    params = {"pool": mode, "round_mode": round_mode, "kernel_size": kernel, "stride": stride, "pad": pad}
    check_against_loops((2, 2, 5, 4), (kernel,) * 2, (stride,) * 2, (pad,) * 2, params)


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
@pytest.mark.parametrize(
    ("shape", "kernel", "stride", "pad"),
    [
        ((1, 1, 1, 1), (2, 2), (2, 2), (1, 1)),
        ((1, 3, 4, 7), (1, 5), (3, 2), (0, 4)),
        ((3, 1, 6, 2), (4, 2), (1, 3), (3, 1)),
        ((2, 2, 3, 3), (4, 5), (2, 3), (0, 0)),
        ((2, 1, 9, 1), (2, 1), (5, 1), (1, 0)),
    ],
)
def test_different_height_and_width(mode, shape, kernel, stride, pad):
    params = {"pool": mode}
    for key, pair in (("kernel", kernel), ("stride", stride), ("pad", pad)):
        params |= {f"{key}_h": pair[0], f"{key}_w": pair[1]}
    check_against_loops(shape, kernel, stride, pad, params)


def borders(rng):
    """A random geometry with a border of its own for each side: (shape, kernel, stride, before, after, parameters)."""
    while True:
        shape = tuple(int(n) for n in (*rng.integers(1, 3, 2), *rng.integers(1, 8, 2)))
        kernel, stride = (tuple(int(n) for n in rng.integers(1, 5, 2)) for _ in range(2))
        before, after = (tuple(int(rng.integers(0, k)) for k in kernel) for _ in range(2))
        padded = [size + a + b for size, a, b in zip(shape[2:], before, after, strict=True)]
        if all(size >= k for size, k in zip(padded, kernel, strict=True)):
            break
    sides = {"pad_t": before[0], "pad_b": after[0], "pad_l": before[1], "pad_r": after[1]}
    params = {"kernel_h": kernel[0], "kernel_w": kernel[1], "stride_h": stride[0], "stride_w": stride[1]}
    params |= {side: pad for side, pad in sides.items() if pad or rng.random() < 0.5}
    if not set(params) & set(sides):
        params["pad_b"] = 0
    return shape, kernel, stride, before, after, params | {"round_mode": str(rng.choice(["CEIL", "FLOOR"]))}


@pytest.mark.parametrize(("mode", "border_counts"), [("MAX", True), ("AVE", True), ("AVE", False)])
def test_a_border_of_its_own_for_each_side(mode, border_counts):
    rng = np.random.default_rng(3)
    for _ in range(120):
        shape, kernel, stride, before, after, params = borders(rng)
        params |= {"pool": mode} | ({} if border_counts else {"count_include_pad": False})
        net = pooling_net(shape, tops=2 if mode == "MAX" else 1, channels_last=bool(rng.integers(2)), **params)
        sizes = [
            output_size(size, k, s, b, params["round_mode"], a)
            for size, k, s, b, a in zip(shape[2:], kernel, stride, before, after, strict=True)
        ]
        assert net.blobs["y"].shape == (*shape[:2], *sizes), params
        x, dy = rng.standard_normal(shape), rng.standard_normal((*shape[:2], *sizes))
        outputs = net.forward(x=x)
        dx = net.backward(y=dy)["x"]
        y, where, expected_dx = slow_pooling(x, dy, mode, kernel, stride, before, after, border_counts)
        np.testing.assert_allclose(outputs["y"], y, rtol=1e-10, atol=1e-14, err_msg=str(params))
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-14, err_msg=str(params))
        if mode == "MAX":
            np.testing.assert_array_equal(outputs["where"], where)


def test_sides_that_are_equal_are_the_pad():
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 7))
    for mode in ("MAX", "AVE"):
        params = {"pool": mode, "kernel_size": 3, "stride": 2}
        sides = pooling_net(x.shape, pad_t=1, pad_b=1, pad_l=2, pad_r=2, **params).forward(x=x)["y"]
        np.testing.assert_array_equal(sides, pooling_net(x.shape, pad_h=1, pad_w=2, **params).forward(x=x)["y"])


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
def test_global_pooling(mode):
    check_against_loops((2, 3, 4, 5), (4, 5), (1, 1), (0, 0), {"pool": mode, "global_pooling": True})


@pytest.mark.parametrize(("kernel", "stride", "pad"), [(2, 1, 0), (3, 2, 1), (3, 1, 2)])
def test_of_equal_values_the_first_wins(kernel, stride, pad):
    params = {"kernel_size": kernel, "stride": stride, "pad": pad}
    check_against_loops((2, 3, 6, 5), (kernel,) * 2, (stride,) * 2, (pad,) * 2, params, ties=True)


def test_a_maximum_of_several_windows_gets_the_sum_of_their_gradients():
    net = pooling_net((1, 1, 3, 3), kernel_size=2, tops=2)
    where = net.forward(x=[[IMAGE]])["where"]
    np.testing.assert_array_equal(where, [[[[4, 4], [4, 4]]]])  # row 1, column 1 of rows of 3
    dx = net.backward(y=[[[[1, 10], [100, 1000]]]])["x"]
    np.testing.assert_array_equal(dx, [[[[0, 0, 0], [0, 1111, 0], [0, 0, 0]]]])


def test_the_mask_counts_within_its_channel():
    net = pooling_net((2, 2, 2, 3), global_pooling=True, tops=2)
    x = np.zeros((2, 2, 6))
    x[[0, 0, 1, 1], [0, 1, 0, 1], [5, 0, 3, 4]] = 1
    np.testing.assert_array_equal(net.forward(x=x.reshape(2, 2, 2, 3))["where"].ravel(), [5, 0, 3, 4])


def test_overlapping_means_share_the_gradient():
    net = pooling_net((1, 1, 1, 3), pool="AVE", kernel_h=1, kernel_w=2)
    net.forward(x=[[[[1, 2, 3]]]])
    np.testing.assert_array_equal(net.backward(y=[[[[2, 20]]]])["x"], [[[[1, 11, 10]]]])


@pytest.mark.parametrize("value", [1000, -1000, 0, 1e300, -1e300])
@pytest.mark.parametrize("mode", ["MAX", "AVE"])
def test_extreme_values_pass(mode, value):
    np.testing.assert_allclose(
        pool([[value] * 3] * 3, pool=mode, kernel_size=2, stride=2), [[value] * 2] * 2, rtol=1e-15
    )


def test_a_window_of_nan_has_no_maximum():
    net = pooling_net((1, 1, 1, 4), kernel_h=1, kernel_w=2, stride_h=1, stride_w=2, tops=2)
    assert net.forward(x=[[[[np.nan, np.nan, np.nan, 5]]]])["where"].tolist() == [[[[-1, 3]]]]
    assert net.backward(y=[[[[1, 10]]]])["x"].tolist() == [[[[0, 0, 0, 10]]]]


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
def test_no_examples(mode):
    net = pooling_net((0, 2, 4, 4), pool=mode, kernel_size=2)
    assert net.forward()["y"].shape == (0, 2, 3, 3)
    assert net.backward()["x"].shape == (0, 2, 4, 4)


@pytest.mark.parametrize("mode", ["MAX", "AVE"])
def test_images_of_another_size(mode):
    net = pooling_net((2, 2, 6, 6), pool=mode, kernel_size=3, stride=2)
    rng = np.random.default_rng(0)
    for shape in ((3, 2, 9, 4), (1, 2, 3, 3), (2, 2, 6, 6)):
        x = rng.standard_normal(shape)
        y = net.forward(x=x)["y"]
        dy = rng.standard_normal(y.shape)
        dx = net.backward(y=dy)["x"]
        expected_y, _, expected_dx = slow_pooling(x, dy, mode, (3, 3), (2, 2), (0, 0))
        np.testing.assert_allclose(y, expected_y, rtol=1e-10)
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-14)


def test_global_pooling_follows_the_image():
    net = pooling_net((1, 1, 2, 2), pool="AVE", global_pooling=True)
    net.forward(x=np.ones((1, 1, 2, 2)))
    assert net.forward(x=np.arange(12).reshape(1, 1, 3, 4))["y"].tolist() == [[[[5.5]]]]


SPECS = {
    "no kernel": ({}, "needs `kernel_size`, or `kernel_h` and `kernel_w`, or `global_pooling: true`"),
    "kernel 0": ({"kernel_size": 0}, "kernel_size must be an integer >= 1"),
    "stride 0": ({"kernel_size": 2, "stride": 0}, "stride must be an integer >= 1"),
    "unknown pool": ({"pool": "L2", "kernel_size": 2}, "must be one of MAX, AVE, STOCHASTIC"),
    "a random element of the border": (
        {"pool": "STOCHASTIC", "kernel_size": 2, "pad": 1},
        "pad must be 0 with pool STOCHASTIC",
    ),
    "a mask of random elements": (
        {"pool": "STOCHASTIC", "kernel_size": 2, "top": ["y", "where"]},
        "only MAX has a second top",
    ),
    "unknown rounding": ({"round_mode": "ROUND", "kernel_size": 2}, "must be one of CEIL, FLOOR"),
    "two forms of kernel": ({"kernel_size": 2, "kernel_h": 2, "kernel_w": 2}, "cannot be combined with `kernel_size`"),
    "two forms of stride": ({"kernel_size": 2, "stride": 1, "stride_h": 1, "stride_w": 1}, "combined with `stride`"),
    "two forms of pad": ({"kernel_size": 2, "pad": 1, "pad_h": 1, "pad_w": 1}, "cannot be combined with `pad`"),
    "kernel_w alone": ({"kernel_w": 2}, "kernel_w needs `kernel_h` too"),
    "stride_h alone": ({"kernel_size": 2, "stride_h": 2}, "stride_h needs `stride_w` too"),
    "pad_w alone": ({"kernel_size": 2, "pad_w": 1}, "pad_w needs `pad_h` too"),
    "pad as large as the kernel": ({"kernel_size": 2, "pad": 2}, "must be smaller than the kernel"),
    "pad_b as large": ({"kernel_size": 2, "pad_b": 2}, r"Pooling.pad_b must be smaller than the kernel, got 2 and 2"),
    "sides and pad": ({"kernel_size": 2, "pad": 1, "pad_b": 1}, "cannot be combined with `pad`"),
    "sides and pairs": ({"kernel_size": 2, "pad_h": 1, "pad_w": 1, "pad_b": 1}, "cannot be combined with `pad_h`"),
    "global and a side": ({"global_pooling": True, "pad_l": 1}, "needs pad 0 and stride 1"),
    "a side of random elements": (
        {"pool": "STOCHASTIC", "kernel_size": 2, "pad_l": 1},
        "pad_l must be 0 with pool STOCHASTIC",
    ),
    "a maximum without a border": (
        {"kernel_size": 2, "count_include_pad": False},
        "count_include_pad works with AVE only, not with MAX",
    ),
    "kernel too large for the sides": (
        {"kernel_h": 6, "kernel_w": 2, "pad_t": 1, "round_mode": "FLOOR"},
        r"kernel 6 does not fit into 1 \+ 3 \+ 0 = 4",
    ),
    "pad_w as large": ({"kernel_size": 2, "pad_h": 1, "pad_w": 2}, "must be smaller than the kernel"),
    "global and kernel": ({"global_pooling": True, "kernel_size": 2}, "leave the kernel out"),
    "global and pad": ({"global_pooling": True, "pad": 1}, "needs pad 0 and stride 1"),
    "global and stride": ({"global_pooling": True, "stride": 2}, "needs pad 0 and stride 1"),
    "kernel too large": ({"kernel_size": 4, "round_mode": "FLOOR"}, "kernel 4 does not fit into 3"),
    "kernel larger by a stride": ({"kernel_size": 5, "stride": 2}, "kernel 5 does not fit into 3"),
    "a mask of means": ({"pool": "AVE", "kernel_size": 2, "top": ["y", "where"]}, "only MAX has a second top"),
}


@pytest.mark.parametrize(("params", "words"), SPECS.values(), ids=SPECS)
def test_what_does_not_fit_is_said(params, words):
    with pytest.raises(nettrain.SpecError, match=words):
        pooling_net((1, 1, 3, 9), **params)


def test_an_image_without_pixels():
    with pytest.raises(nettrain.SpecError, match=r"kernel 2 does not fit into 0 \+ 2 x 1"):
        pooling_net((1, 1, 0, 3), kernel_size=2, pad=1)


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 5, 6)])
def test_four_axes_are_needed(shape):
    with pytest.raises(nettrain.SpecError, match="needs N x C x H x W, got 2 x 3"):
        pooling_net(shape, kernel_size=2)
    with pytest.raises(nettrain.ShapeError, match="needs N x C x H x W, got 2 x 3"):
        pooling_net((1, 1, 4, 4), kernel_size=2).forward(x=np.zeros(shape))


# STOCHASTIC

DRAWN = {
    "overlapping": ((2, 3, 6, 5), {"kernel_size": 3, "stride": 2}, (3, 3), (2, 2)),
    "hanging over": ((2, 2, 5, 4), {"kernel_size": 2, "stride": 3}, (2, 2), (3, 3)),
    "apart": ((1, 2, 9, 8), {"kernel_h": 2, "kernel_w": 3, "stride_h": 3, "stride_w": 3}, (2, 3), (3, 3)),
    "larger than the image": ((2, 2, 3, 3), {"kernel_h": 4, "kernel_w": 5, "stride": 3}, (4, 5), (3, 3)),
    "FLOOR": ((2, 2, 6, 6), {"kernel_size": 3, "stride": 2, "round_mode": "FLOOR"}, (3, 3), (2, 2)),
    "global": ((3, 2, 4, 5), {"global_pooling": True}, (4, 5), (1, 1)),
    "many elements": ((1, 2, 17, 18), {"kernel_size": 16}, (16, 16), (1, 1)),
}


def windows_of(shape, sizes, kernel, stride):
    """(place of the output, places of the window's elements in reading order)."""
    for n, c, i, j in np.ndindex(*shape[:2], *sizes):
        rows = range(i * stride[0], min(i * stride[0] + kernel[0], shape[2]))
        columns = range(j * stride[1], min(j * stride[1] + kernel[1], shape[3]))
        yield (n, c, i, j), [(n, c, h, w) for h in rows for w in columns]


def draws(net, top):
    """The numbers u in (0, 1] that the next forward pass uses, in the order of the top's memory."""
    rng, (N, C, *sizes) = stream(net.layers["pool"].seed, "pool", f"batch {net.batch}"), top.shape
    return 1 - (np.moveaxis(rng.random((N, *sizes, C)), -1, 1) if top.channels_last else rng.random(top.shape))


@pytest.mark.parametrize(("shape", "params", "kernel", "stride"), DRAWN.values(), ids=DRAWN)
def test_stochastic_takes_where_the_sum_reaches_the_drawn_share(shape, params, kernel, stride):
    check_draws(shape, kernel, stride, params)


def check_draws(shape, kernel, stride, params, **options):
    net = pooling_net(shape, pool="STOCHASTIC", **options, **params)
    rng = np.random.default_rng(2)
    for _ in range(3):
        x = rng.integers(0, 4, shape).astype(float)
        u = draws(net, net.blobs["y"])
        y = net.forward(x=x)["y"]
        dy = rng.standard_normal(y.shape)
        dx = net.backward(y=dy)["x"]
        expected_y, expected_dx = np.zeros(y.shape), np.zeros(shape)
        for at, window in windows_of(shape, y.shape[2:], kernel, stride):
            sums = np.cumsum([x[place] for place in window])
            chosen = window[np.flatnonzero(sums >= u[at] * sums[-1])[0]]
            expected_y[at] = x[chosen]
            expected_dx[chosen] += dy[at]
        np.testing.assert_array_equal(y, expected_y)
        np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("shape", "params", "kernel", "stride"), DRAWN.values(), ids=DRAWN)
def test_stochastic_expects_in_test(shape, params, kernel, stride):
    check_expectations(shape, kernel, stride, params)


def check_expectations(shape, kernel, stride, params, **options):
    net = pooling_net(shape, pool="STOCHASTIC", phase="TEST", **options, **params)
    rng = np.random.default_rng(2)
    x = rng.integers(0, 3, shape).astype(float)
    x[0] *= 0.5
    y = net.forward(x=x)["y"].copy()
    dy = rng.standard_normal(y.shape)
    dx = net.backward(y=dy)["x"]
    expected_dx = np.zeros(shape)
    for at, window in windows_of(shape, y.shape[2:], kernel, stride):
        total = sum(x[place] for place in window)
        expected = sum(x[place] ** 2 for place in window) / total if total else 0
        np.testing.assert_allclose(y[at], expected, rtol=1e-12)
        for place in window:
            expected_dx[place] += dy[at] * (2 * x[place] - expected) / total if total else 0
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-10, atol=1e-12)


def test_stochastic_draws_in_proportion_to_the_values():
    net = pooling_net((4000, 1, 2, 2), pool="STOCHASTIC", kernel_size=2, dtype="float32")
    y = net.forward(x=np.tile([[1, 0], [2, 5]], (4000, 1, 1, 1)))["y"].copy()
    counts = [(y == value).sum() for value in (0, 1, 2, 5)]
    assert counts[0] == 0
    np.testing.assert_allclose(np.divide(counts, 4000), [0, 1 / 8, 2 / 8, 5 / 8], atol=0.03)
    assert not np.array_equal(y, net.forward()["y"])  # drawn anew


def test_stochastic_mean_is_what_test_expects():
    x = np.random.default_rng(0).random((1, 1, 3, 3))
    many = pooling_net((20000, 1, 3, 3), pool="STOCHASTIC", kernel_size=3).forward(x=np.tile(x, (20000, 1, 1, 1)))["y"]
    once = pooling_net((1, 1, 3, 3), pool="STOCHASTIC", kernel_size=3, phase="TEST").forward(x=x)["y"]
    np.testing.assert_allclose(many.mean(), once.item(), rtol=0.01)


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize("value", [1000, 1e300, 1e-300, 0])
def test_stochastic_of_equal_values(phase, value):
    net = pooling_net((1, 2, 3, 3), pool="STOCHASTIC", kernel_size=2, phase=phase)
    y = net.forward(x=np.full((1, 2, 3, 3), value))["y"]
    expected = {1e300: np.inf, 1e-300: 0}.get(value, value) if phase == "TEST" else value  # of the squares
    np.testing.assert_allclose(y, np.full(y.shape, expected), rtol=1e-12)


def test_stochastic_windows_of_zeros():
    net = pooling_net((1, 1, 2, 2), pool="STOCHASTIC", kernel_size=2)
    assert net.forward(x=np.zeros((1, 1, 2, 2)))["y"].item() == 0
    assert net.backward(y=[[[[3]]]])["x"].ravel().tolist() == [3, 0, 0, 0]  # Caffe's choice too: the first
    net = pooling_net((1, 1, 2, 2), pool="STOCHASTIC", kernel_size=2, phase="TEST")
    assert net.forward(x=np.zeros((1, 1, 2, 2)))["y"].item() == 0
    assert net.backward(y=[[[[3]]]])["x"].ravel().tolist() == [0, 0, 0, 0]


def test_stochastic_and_values_that_are_no_numbers():
    x = [[[[1, np.inf, 1, np.nan], [2, 3, 1, 1]]]]
    params = {"pool": "STOCHASTIC", "kernel_size": 2, "stride": 2}
    np.testing.assert_array_equal(pooling_net((1, 1, 2, 4), **params).forward(x=x)["y"], [[[[np.inf, np.nan]]]])
    np.testing.assert_array_equal(
        pooling_net((1, 1, 2, 4), phase="TEST", **params).forward(x=x)["y"], [[[[np.nan] * 2]]]
    )


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_stochastic_refuses_what_has_no_probability(phase):
    net = pooling_net((1, 1, 2, 2), pool="STOCHASTIC", kernel_size=2, phase=phase)
    with pytest.raises(nettrain.NettrainError, match=r"got -0\.5; values must be >= 0, such as those of a ReLU"):
        net.forward(x=[[[[1, 2], [-0.5, 3]]]])


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_stochastic_images_of_another_size(phase):
    net = pooling_net((2, 2, 6, 6), pool="STOCHASTIC", kernel_size=3, stride=2, phase=phase)
    for shape in ((3, 2, 9, 4), (0, 2, 6, 6), (1, 2, 3, 3), (2, 2, 6, 6)):
        fresh = pooling_net(shape, pool="STOCHASTIC", kernel_size=3, stride=2, phase=phase)
        fresh.batch = net.batch
        x = np.random.default_rng(0).random(shape)
        y = net.forward(x=x)["y"]
        np.testing.assert_array_equal(y, fresh.forward(x=x)["y"])
        dy = np.random.default_rng(1).standard_normal(y.shape)
        np.testing.assert_array_equal(net.backward(y=dy)["x"], fresh.backward(y=dy)["x"])


def test_stochastic_channels_last():
    shape, params = (2, 3, 5, 6), {"kernel_size": 3, "stride": 2}
    net = pooling_net(shape, pool="STOCHASTIC", channels_last=True, **params)
    assert net.blobs["y"].channels_last
    check_draws(shape, (3, 3), (2, 2), params, channels_last=True)


# Random geometries


@pytest.mark.parametrize("mode", ["MAX", "AVE", "TRAIN", "TEST"])  # the last two are the phases of STOCHASTIC
def test_random_geometries(mode, monkeypatch):
    """Windows that hang over, that are larger than the image, that are further apart than it is long, in any order of
    memory, cut into tasks as it comes and one example at a time."""
    rng, seen = np.random.default_rng(len(mode)), set()
    whole = parallel.BLOCK, parallel.TASK
    for _ in range(100):
        sizes = rng.integers(1, 9, 2)
        kernel = rng.integers(1, [[4], [12]][rng.integers(2)], 2)
        stride = rng.integers(1, [[3], [3], [30]][rng.integers(3)], 2)
        pad = np.minimum(kernel - 1, rng.integers(0, 9, 2)) * (mode in ("MAX", "AVE"))
        sizes, kernel, stride, pad = (tuple(map(int, pair)) for pair in (sizes, kernel, stride, pad))
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 3)), *sizes)
        rounding = str(rng.choice(["CEIL", "FLOOR"]))
        params = {"round_mode": rounding}
        for key, pair in (("kernel", kernel), ("stride", stride), ("pad", pad)):
            params |= {f"{key}_h": pair[0], f"{key}_w": pair[1]}
        options = {"channels_last": bool(rng.random() < 0.5)}
        in_pieces = rng.random() < 0.5
        for name, size in zip(("BLOCK", "TASK"), (1, 1) if in_pieces else whole, strict=True):
            monkeypatch.setattr(parallel, name, size)
        monkeypatch.setattr(parallel, "_wanted", int(rng.integers(1, 4)))
        missing = max(k - size - 2 * p for k, size, p in zip(kernel, sizes, pad, strict=True))
        over = [k - size - 2 * p - s + 1 for k, size, p, s in zip(kernel, sizes, pad, stride, strict=True)]
        if missing > 0 and (rounding == "FLOOR" or max(over) > 0):
            with pytest.raises(nettrain.SpecError, match="does not fit into"):
                pooling_net(shape, pool=mode if mode in ("MAX", "AVE") else "STOCHASTIC", **params)
            seen.add("refused")
            continue
        try:
            if mode == "TRAIN":
                check_draws(shape, kernel, stride, params, **options)
            elif mode == "TEST":
                check_expectations(shape, kernel, stride, params, **options)
            else:
                check_against_loops(shape, kernel, stride, pad, params | {"pool": mode}, rng.random() < 0.5, **options)
        except Exception as error:
            raise AssertionError(f"{shape}, {params}, {options}, in pieces: {in_pieces}: {error}") from error
        seen |= {
            name
            for name, case in {
                "kernel beyond the image": max(k - size for k, size in zip(kernel, sizes, strict=True)) > 0,
                "kernel beyond the padded image": missing > 0,
                "stride beyond the image": max(s - size for s, size in zip(stride, sizes, strict=True)) > 0,
                "pad beyond the image": max(p - size for p, size in zip(pad, sizes, strict=True)) >= 0,
                "in pieces": in_pieces and shape[0] > 1,
                **options,
            }.items()
            if case
        }
    assert len(seen) == 7 - (mode in ("TRAIN", "TEST"))
