"""Deconvolution, activations, Softmax, LayerNorm and PReLU over oneDNN: the formulas' numbers, also the odd ones."""

import math

import nettrain
import numpy as np
import pytest
from helpers import layer, layer_net
from nettrain.compute import parallel
from nettrain.compute.onednn.library import library

AVX2 = 0x4  # a bit of what oneDNN says the processor can do
NEEDS = {"LayerNorm": AVX2}  # elsewhere oneDNN has only its slow reference


def served(kind):
    """Whether oneDNN has the type's passes for this processor."""
    return NEEDS.get(kind, 0) & ~library().functions.dnnl_get_effective_cpu_isa() == 0


def ran(kind, given, engine, gradient=None, learn=None, channels_last=False, phase="TRAIN", **params):
    """The layer after both passes, its top, and the gradients: of the bottoms and, added to 1, of the parameters."""
    shapes = [one.shape for one in given]
    net = layer_net(kind, *shapes, dtype="float32", phase=phase, channels_last=channels_last, engine=engine, **params)
    step = net.steps[-1]
    rng = np.random.default_rng(5)
    for i, one in enumerate(given):
        net.blobs[f"x{i}"].data[...] = one
    for blob in step.layer.blobs:
        blob.data[...] = rng.uniform(-0.5, 1.5, blob.shape)
        blob.diff[...] = 1
    if learn is not None:
        step.layer.param_propagate_down = learn
    with np.errstate(all="ignore"):
        net.run_forward()
        top = [blob.data.copy() for blob in step.top]
        for blob in step.top:
            blob.diff[...] = rng.standard_normal(blob.shape) if gradient is None else gradient
        net.run_backward(len(net.steps) - 1)
        net.run_forward()  # the calls that were prepared
    np.testing.assert_array_equal(top, [blob.data for blob in step.top])
    return step.layer, [*top, *(blob.diff.copy() for blob in (*step.bottom, *step.layer.blobs))]


def compare(kind, given, tolerance=1e-5, covered=True, **options):
    """Both engines' numbers, which must be close in parts of the largest one; NaN and infinity at the same places."""
    (_, theirs), (one, mine) = (ran(kind, given, engine, **options) for engine in ("numpy", "onednn"))
    assert (one.uncovered == "") == (covered and served(kind)) == (one.computed_by == "onednn")
    for a, b in zip(mine, theirs, strict=True):
        numbers = np.isfinite(b)
        scale = max(1.0, float(np.abs(b[numbers]).max(initial=0)))
        np.testing.assert_array_equal(a[~numbers], b[~numbers])
        np.testing.assert_allclose(a[numbers] / scale, b[numbers] / scale, rtol=0, atol=tolerance)
    return one


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


DECONVOLUTIONS = [
    ((32, 16, 12, 12), {"num_output": 8, "kernel_size": 4, "stride": 2, "pad": 1}),
    ((5, 6, 9, 7), {"num_output": 9, "kernel_size": 3, "group": 3}),
    ((3, 21, 20, 20), {"num_output": 21, "group": 21, "kernel_size": 4, "stride": 2, "pad": 1, "bias_term": False}),
    ((2, 32, 9, 9), {"num_output": 32, "group": 32, "kernel_size": 3, "pad": 1}),
    ((9, 16, 30), {"num_output": 12, "kernel_size": 3, "stride": 3, "dilation": 2}),
    ((4, 8, 14, 13), {"num_output": 6, "kernel_size": [5, 2], "stride": [3, 1], "dilation": [1, 3], "pad": [2, 1]}),
    ((2, 4, 5, 6, 7), {"num_output": 5, "kernel_size": [3, 2, 2], "stride": [1, 2, 2], "pad": [1, 0, 0]}),
    ((1, 1, 28, 28), {"num_output": 20, "kernel_size": 5}),
]


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("shape", "params"), DECONVOLUTIONS, ids=str)
def test_deconvolutions_equal_the_formulas(shape, params, channels_last):
    compare("Deconvolution", [normal(*shape)], channels_last=channels_last, **params)


def test_a_deconvolution_is_the_sum_of_its_kernels():
    x = normal(2, 3, 4, 5)
    one, (y, *_) = ran("Deconvolution", [x], "onednn", num_output=2, kernel_size=3, stride=2, pad=1)
    W, b = (blob.data for blob in one.blobs)
    slow = np.zeros((2, 2, 9, 11), np.float64)
    for i in range(4):
        for j in range(5):
            slow[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] += np.einsum("nc,cmkl->nmkl", x[:, :, i, j], W)
    np.testing.assert_allclose(y, slow[:, :, 1:-1, 1:-1] + b[:, None, None], atol=1e-5)


@pytest.mark.parametrize(
    "learn", [(False, False), (True, False), (False, True)], ids=["nothing", "only W is", "only b is"]
)
@pytest.mark.parametrize(
    ("kind", "shape", "params"),
    [
        ("Deconvolution", (4, 5, 6, 6), {"num_output": 3, "kernel_size": 2, "stride": 2}),
        ("LayerNorm", (70, 33), {}),
    ],
)
def test_a_gradient_that_nobody_wants_is_not_added(kind, shape, params, learn):
    one = compare(kind, [normal(*shape)], learn=learn, **params)
    assert [bool((blob.diff == 1).all()) for blob in one.blobs] == [not wanted for wanted in learn]


ACTIVATIONS = [
    ("ELU", {}),
    ("ELU", {"alpha": 0.3}),
    ("GELU", {}),
    ("GELU", {"approximate": "tanh"}),
    ("Mish", {}),
    ("BNLL", {}),
    ("Softplus", {}),
    ("Softplus", {"beta": 2.5, "threshold": 30}),
]
NORMS = [("PReLU", {}), ("Softmax", {}), ("LogSoftmax", {}), ("LayerNorm", {}), ("LayerNorm", {"eps": 0.1})]
SHAPES = [(1, 1), (7, 1000), (300, 450), (5000, 40)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "params"), [*ACTIVATIONS, *NORMS], ids=str)
def test_matrices_equal_the_formulas(kind, params, shape):
    compare(kind, [3 * normal(*shape)], **params)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", [(3, 5, 7, 9), (8, 16, 31, 33)], ids=str)
@pytest.mark.parametrize(("kind", "params"), ACTIVATIONS, ids=str)
def test_images_equal_the_formulas_in_both_orders_of_memory(kind, params, shape, channels_last):
    compare(kind, [3 * normal(*shape)], channels_last=channels_last, **params)


@pytest.mark.parametrize(
    ("kind", "shape", "channels_last", "params"),
    [
        ("PReLU", (8, 16, 31, 33), True, {}),
        ("PReLU", (4, 300, 9), True, {"filler": -0.5}),
        ("Softmax", (6, 4, 50, 30), False, {"axis": -1}),
        ("LogSoftmax", (6, 4, 50, 30), False, {"axis": -1}),
        ("LayerNorm", (6, 40, 300), False, {"axis": -1}),
        ("LayerNorm", (6, 4, 50, 30), False, {}),
    ],
)
def test_larger_arrays_equal_the_formulas(kind, shape, channels_last, params):
    compare(kind, [3 * normal(*shape)], channels_last=channels_last, **params)


# NaN, infinity and numbers at the ends of what a float can be

ODD = [
    np.nan,
    np.inf,
    -np.inf,
    0,
    -0.0,
    1e-40,
    -1e-40,
    1e-20,
    1e30,
    -1e30,
    3e38,
    -3e38,
    88,
    -88,
    104,
    -104,
    1000,
    -1000,
]


@pytest.mark.parametrize("value", ODD)
@pytest.mark.parametrize(("kind", "params"), [*ACTIVATIONS, *NORMS], ids=str)
def test_an_odd_value_gives_what_the_formula_gives(kind, params, value):
    x = normal(40, 33)
    x[7, 5] = x[30, 0] = x[31] = value  # alone, at an end, a whole row
    compare(kind, [x], **params)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 0, 1e-40, 1e30])
@pytest.mark.parametrize(("kind", "params"), [*ACTIVATIONS, *NORMS], ids=str)
def test_an_odd_gradient_gives_what_the_formula_gives(kind, params, value):
    gradient = normal(40, 33, seed=1)
    gradient[7, 5] = gradient[30, 0] = gradient[31] = value
    compare(kind, [normal(40, 33)], gradient=gradient, **params)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e-40, 1e30])
def test_a_deconvolution_hides_nothing(value):
    x = normal(2, 3, 5, 5)
    x[1, 2, 2, 2] = value
    for group in (1, 3):
        compare("Deconvolution", [x], num_output=3, group=group, kernel_size=3, stride=2)


@pytest.mark.parametrize("kind", ["Softmax", "LogSoftmax"])
def test_masked_classes_stay_with_onednn(kind):
    x = normal(40, 33)
    x[:, 20:] = -np.inf
    assert not compare(kind, [x]).odd.any()
    x[5] = -np.inf
    assert compare(kind, [x]).odd.any()


@pytest.mark.parametrize(("kind", "params"), [*ACTIVATIONS, ("PReLU", {})], ids=str)
def test_a_layer_comes_back_to_onednn_after_odd_values(kind, params):
    net = layer_net(kind, (40, 33), dtype="float32", engine="onednn", **params)
    one = net.steps[-1].layer
    for value, odd in ((np.nan, True), (1, False)):
        net.blobs["x0"].data[...] = value
        net.run_forward()
        assert one.odd.any() == odd
        assert np.isnan(net.blobs["y"].data).all() == odd


def test_activations_are_exact_to_a_millionth_over_the_whole_range():
    x = np.linspace(-12, 12, 24001)
    tanh_of = np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))
    exact = {
        "GELU": x * np.array([math.erfc(-v / math.sqrt(2)) / 2 for v in x]),
        "ELU": np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        "Mish": x * np.tanh(np.logaddexp(0, x)),
        "BNLL": np.logaddexp(0, x),
        "Softplus": np.logaddexp(0, x),
    }
    for kind, y in exact.items():
        _, (mine, *_) = ran(kind, [x[None]], "onednn")
        np.testing.assert_allclose(mine[0], y, rtol=1e-6, atol=2e-6, err_msg=kind)
    _, (mine, *_) = ran("GELU", [x[None]], "onednn", approximate="tanh")
    np.testing.assert_allclose(mine[0], x * (1 + tanh_of) / 2, rtol=1e-6, atol=2e-6)


def test_the_mean_of_a_row_may_be_large():
    x = (1000 + normal(30, 4000)).astype(np.float32)
    one, (y, *_) = ran("LayerNorm", [x], "onednn")
    w, b = (blob.data for blob in one.blobs)
    wide = x.astype(np.float64)
    hat = (wide - wide.mean(axis=1, keepdims=True)) / np.sqrt(wide.var(axis=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(y, w * hat + b, atol=1e-3)


# Nets


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
@pytest.mark.parametrize(("kind", "params"), [*ACTIVATIONS, *NORMS], ids=str)
def test_a_top_may_have_the_name_of_its_bottom(kind, params, phase):
    found = {}
    for engine in ("numpy", "onednn"):
        layers = [
            layer("x", "Input", shape=[6, 8]),
            layer("ip", "InnerProduct", "x", "h", num_output=9),
            layer("f", kind, "h", "h", **params),
            layer("out", "InnerProduct", "h", num_output=3),
        ]
        net = nettrain.Net({"force_backward": True, "layers": layers}, phase=phase, dtype="float32", engine=engine)
        net.blobs["x"].data[...] = normal(6, 8)
        net.run_forward()
        net.blobs["out"].diff[...] = normal(6, 3, seed=1)
        net.run_backward(len(net.steps) - 1)
        found[engine] = [net.blobs["out"].data.copy(), net.blobs["x"].diff.copy(), net.flat.diff.copy()]
    assert (net.layers["f"].computed_by == "onednn") == served(kind)
    for mine, theirs in zip(found["onednn"], found["numpy"], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "shape", "params"),
    [
        ("Deconvolution", (16, 16, 14, 14), {"num_output": 16, "kernel_size": 4, "stride": 2, "pad": 1}),
        ("Deconvolution", (16, 16, 14, 14), {"num_output": 16, "kernel_size": 4, "stride": 2, "pad": 1, "group": 16}),
        ("GELU", (8, 16, 60, 60), {}),
        ("PReLU", (8, 16, 60, 60), {}),
        ("Softmax", (3000, 100), {}),
        ("LayerNorm", (9000, 100), {}),
    ],
)
def test_the_bits_do_not_depend_on_the_number_of_threads(kind, shape, params):
    before, found = parallel.threads(), set()
    last = len(shape) > 2
    try:
        for threads in (1, 2, 3, 5):
            parallel.use_threads(threads)
            one, made = ran(kind, [normal(*shape)], "onednn", channels_last=last, **params)
            found.add(b"".join(array.tobytes() for array in made))
        assert (one.computed_by == "onednn") == served(kind)
        assert len(found) == 1
    finally:
        parallel.use_threads(before)


UNCOVERED = [
    ("Deconvolution", (4, 5, 1, 1), {"num_output": 3, "kernel_size": 4}, "single pixels"),
    ("Deconvolution", (4, 5, 6, 6), {"num_output": 1, "kernel_size": 4}, "one output channel"),
    ("ELU", (4, 5), {"alpha": -0.5}, "α below 0"),
    ("Softplus", (4, 5), {"threshold": 1}, "a threshold below 15"),
    ("PReLU", (4, 5, 6), {}, "channels that do not lie last"),
    ("PReLU", (4, 5), {"channel_shared": True}, "one slope for all channels"),
    ("Softmax", (4, 5, 6), {}, "classes that do not lie side by side"),
    ("LogSoftmax", (4, 5, 6), {}, "classes that do not lie side by side"),
    ("LayerNorm", (4, 5), {"affine": False}, "affine: false, whose backward pass reads y alone"),
]


@pytest.mark.parametrize(("kind", "shape", "params", "reason"), UNCOVERED, ids=str)
def test_what_is_not_covered_is_computed_by_the_formulas(kind, shape, params, reason):
    assert compare(kind, [normal(*shape)], covered=False, **params).uncovered == reason
