"""Fillers: the distributions of first values, and the independence of what each layer draws."""

import math

import nettrain
import numpy as np
import pytest
from nettrain import ShapeError, SpecError
from nettrain.net.fillers import Filler, stream

WEIGHTS = (300, 50)  # M x K of an InnerProduct
KERNELS = (64, 16, 3, 3)  # M x C x kernel of a Convolution
VECTOR = (5000,)
# fan_in = count / shape[0], fan_out = count / shape[1] (count for a vector)
FANS = {WEIGHTS: (50, 300), KERNELS: (144, 576), VECTOR: (1, 5000)}
NORMS = {"FAN_IN": lambda i, o: i, "FAN_OUT": lambda i, o: o, "AVERAGE": lambda i, o: (i + o) / 2}


def filled(shape, swap_fans=False, seed=1, dtype=np.float64, **parameters):
    data = np.full(shape, np.nan, dtype)
    Filler.from_mapping(parameters).fill(data, np.random.default_rng(seed), swap_fans)
    return data


def uniform(low, high):
    return lambda x: np.clip((x - low) / (high - low), 0, 1)


def normal(mean, std):
    return np.vectorize(lambda x: (1 + math.erf((x - mean) / (std * math.sqrt(2)))) / 2)


def assert_distributed(values, cdf):
    """Kolmogorov and Smirnov: the largest distance of the two distribution functions, at the 1 % level."""
    x = np.sort(values, axis=None)
    distance = np.abs(cdf(x) - (np.arange(x.size) + 0.5) / x.size).max()
    assert distance < 1.63 / math.sqrt(x.size)


def ip(name, bottom="x", num_output=4, **keys):
    return {"name": name, "type": "InnerProduct", "bottom": bottom, "num_output": num_output, **keys}


def net(*layers, shape=(2, 6), **options):
    return nettrain.Net({"layers": [{"name": "x", "type": "Input", "shape": list(shape)}, *layers]}, **options)


# Distributions


@pytest.mark.parametrize("value", [0, -2.5])
def test_constant(value):
    np.testing.assert_array_equal(filled((3, 4), type="constant", value=value), np.full((3, 4), value))


def test_uniform():
    values = filled(WEIGHTS, type="uniform", min=-2, max=5)
    assert -2 <= values.min() < -1.99
    assert 4.99 < values.max() < 5
    assert_distributed(values, uniform(-2, 5))


def test_uniform_by_default():
    assert_distributed(filled(WEIGHTS, type="uniform"), uniform(0, 1))


def test_gaussian():
    assert_distributed(filled(WEIGHTS, type="gaussian", mean=3, std=0.01), normal(3, 0.01))
    assert_distributed(filled(WEIGHTS, type="gaussian"), normal(0, 1))


@pytest.mark.parametrize("swap_fans", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", FANS, ids=str)
def test_xavier(shape, norm, swap_fans):
    fans = FANS[shape][::-1] if swap_fans else FANS[shape]
    limit = math.sqrt(3 / NORMS[norm](*fans))
    values = filled(shape, swap_fans, type="xavier", variance_norm=norm)
    assert 0.99 * limit < np.abs(values).max() <= limit
    assert_distributed(values, uniform(-limit, limit))


@pytest.mark.parametrize("swap_fans", [False, True], ids=["", "swapped"])
@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("shape", FANS, ids=str)
def test_msra(shape, norm, swap_fans):
    fans = FANS[shape][::-1] if swap_fans else FANS[shape]
    values = filled(shape, swap_fans, type="msra", variance_norm=norm)
    assert_distributed(values, normal(0, math.sqrt(2 / NORMS[norm](*fans))))


def test_the_norm_is_fan_in_by_default():
    for kind in ("xavier", "msra"):
        explicit = filled(WEIGHTS, type=kind, variance_norm="FAN_IN")
        np.testing.assert_array_equal(filled(WEIGHTS, type=kind), explicit)


@pytest.mark.parametrize(("sparse", "share"), [(0, 0.0), (30, 0.1), (150, 0.5), (300, 1.0), (1000, 1.0), (-1, 1.0)])
def test_sparse_gaussian_keeps_a_share_of_sparse_over_outputs(sparse, share):
    values = filled(WEIGHTS, type="gaussian", mean=1, std=0.5, sparse=sparse)
    kept = values[values != 0]
    tolerance = 5 * math.sqrt(share * (1 - share) / values.size)
    assert abs(kept.size / values.size - share) <= tolerance
    if kept.size:
        assert_distributed(kept, normal(1, 0.5))


@pytest.mark.parametrize("shape", [WEIGHTS, KERNELS, (4, 1)], ids=str)
def test_positive_unitball_rows_sum_to_one(shape):
    values = filled(shape, type="positive_unitball")
    np.testing.assert_allclose(values.reshape(shape[0], -1).sum(axis=1), 1, rtol=1e-12)
    assert values.min() >= 0


def test_positive_unitball_is_uniform_before_it_is_normalised():
    rows = filled((5, 4000), type="positive_unitball")
    for row in rows:
        assert_distributed(row / row.max(), uniform(0, 1))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8])
def test_bilinear_is_caffes_formula(size):
    shape = (2, 3, size, size)
    expected = np.empty(shape)
    f = math.ceil(size / 2)
    c = (size - 1) / (2 * f)
    for i in range(expected.size):
        x, y = i % size, i // size % size
        expected.flat[i] = (1 - abs(x / f - c)) * (1 - abs(y / f - c))
    np.testing.assert_allclose(filled(shape, type="bilinear"), expected, rtol=1e-12)


def test_bilinear_upsamples_by_two():
    ramp = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_array_equal(filled((1, 1, 4, 4), type="bilinear")[0, 0], np.outer(ramp, ramp))


@pytest.mark.parametrize("shape", [(4,), (4, 4), (2, 4, 4), (1, 2, 3, 4), (1, 1, 3, 3, 3)], ids=str)
def test_bilinear_needs_square_images(shape):
    with pytest.raises(ShapeError, match=f"needs a 4-D blob with a square kernel, got {' x '.join(map(str, shape))}"):
        filled(shape, type="bilinear")


# How a spec writes them


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("xavier", {"type": "xavier"}),
        (0.25, {"type": "constant", "value": 0.25}),
        (2, {"type": "constant", "value": 2}),
        ({"value": 3}, {"type": "constant", "value": 3}),
        ({"type": "gaussian", "std": 0.01}, {"type": "gaussian", "std": 0.01}),
    ],
)
def test_short_forms(written, means):
    layer = net(ip("ip", weight_filler=written)).layers["ip"]
    assert layer.p.weight_filler == Filler(**means)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("xaver", "InnerProduct.weight_filler must be one of constant, .*; did you mean `xavier`?"),
        (True, "InnerProduct.weight_filler must be a filler: a name such as xavier, a number, or a mapping"),
        ({"type": "gaussian", "std": -1}, "weight_filler.std must be a number >= 0"),
        ({"type": "uniform", "min": 2, "max": 1}, "weight_filler.min must be <= max, got 2 and 1"),
        ({"type": "xavier", "sparse": 3}, "weight_filler.sparse works with gaussian only"),
        ({"type": "msra", "sparse": 0}, "weight_filler.sparse works with gaussian only"),
        ({"type": "gaussian", "stddev": 1}, "no key `stddev`; did you mean `std`?"),
        ({"type": "msra", "variance_norm": "FANIN"}, "did you mean `FAN_IN`?"),
        ("bilinear", "InnerProduct `ip`: the bilinear filler needs a 4-D blob with a square kernel, got 4 x 6"),
    ],
)
def test_mistakes(written, message):
    with pytest.raises(SpecError, match=message):
        net(ip("ip", weight_filler=written))


def test_left_out_weights_are_xavier_and_biases_zero():
    layers = [ip("ip", num_output=300), {"name": "conv", "type": "Convolution", "num_output": 64, "kernel_size": 3}]
    for layer, fan_in in zip(layers, (100, 144), strict=True):
        shape = (2, 100) if layer["name"] == "ip" else (2, 16, 5, 5)
        weight, bias = net(layer | {"bottom": "x"}, shape=shape).params[layer["name"]]
        limit = math.sqrt(3 / fan_in)
        assert_distributed(weight.data, uniform(-limit, limit))
        assert not bias.data.any()


def test_a_transposed_weight_has_the_same_distribution():
    """K x M weights see the fans the other way round, so that n is the number of inputs in both."""
    for transpose in (False, True):
        weight = net(ip("ip", num_output=300, transpose=transpose), shape=(2, 50)).params["ip"][0]
        assert weight.shape == ((50, 300) if transpose else (300, 50))
        assert_distributed(weight.data, uniform(-math.sqrt(3 / 50), math.sqrt(3 / 50)))


def noise(shape, filler):
    layer = {"name": "noise", "type": "DummyData", "shape": list(shape), "data_filler": filler}
    return nettrain.Net({"layers": [layer]}).forward()["noise"]


@pytest.mark.parametrize("filler", ["positive_unitball", "xavier", "msra"])
@pytest.mark.parametrize(("shape", "words"), [((), "scalar"), ((0, 3), "0 x 3"), ((3, 0), "3 x 0")])
def test_a_blob_that_has_no_rows_or_fans(shape, words, filler):
    with pytest.raises(ShapeError, match=f"DummyData `noise`: the {filler} filler cannot fill a blob of {words}"):
        noise(shape, filler)


@pytest.mark.parametrize("filler", [3, "uniform", "gaussian", {"type": "gaussian", "sparse": 1}], ids=str)
@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0)], ids=str)
def test_other_fillers_fill_a_blob_of_any_shape(shape, filler):
    values = noise(shape, filler)
    assert values.shape == shape
    assert np.isfinite(values).all()


# Seeds: every blob of every layer draws from a stream of its own


def params(spec_net):
    return {name: [blob.data.copy() for blob in blobs] for name, blobs in spec_net.params.items()}


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_the_seed_decides():
    layer = ip("ip", weight_filler="gaussian", bias_filler="uniform")
    first, again, other = (params(net(layer, seed=seed))["ip"] for seed in (5, 5, 6))
    assert same(first, again)
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_another_layer_changes_no_weight():
    a, b = ip("a"), ip("b", "x")
    few = params(net(a, b))
    many = params(net(ip("new", num_output=9), b, a, ip("newer", "a")))
    assert same(few["a"], many["a"])
    assert same(few["b"], many["b"])


def test_layers_and_blobs_draw_apart():
    filler = {"type": "uniform"}
    drawn = params(net(*(ip(name, weight_filler=filler, bias_filler=filler) for name in ("a", "b", "ab"))))
    firsts = [blob.flat[0] for blobs in drawn.values() for blob in blobs]
    assert len(set(firsts)) == 6


def test_the_phase_changes_no_weight():
    assert same(*(params(net(ip("ip"), phase=phase))["ip"] for phase in ("TRAIN", "TEST")))


def test_the_dtype_changes_no_weight_but_by_rounding():
    single, double = (params(net(ip("ip"), dtype=dtype))["ip"][0] for dtype in ("float32", "float64"))
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_streams_are_told_apart_by_seed_and_every_name():
    keys = [(1, "a"), (2, "a"), (1, "b"), (1, "a", "b"), (1, "ab"), (1, "b", "a"), (1,), (1, "a", ""), (1, "ä")]
    assert len({stream(*key).random() for key in keys}) == len(keys)
    assert stream(1, "a", "b").random() == stream(1, "a", "b").random()


def test_values_are_those_of_each_element_or_begin_each_row():
    np.testing.assert_array_equal(filled((2, 2), type="constant", values=[1, 2, 3, 4]), [[1, 2], [3, 4]])
    np.testing.assert_array_equal(filled((2, 3), type="constant", values=[5], value=-1), [[5, -1, -1]] * 2)
    np.testing.assert_array_equal(filled((3,), type="constant", values=[5, 6]), [5, 6, 0])
    np.testing.assert_array_equal(filled((), type="constant", values=[7]), 7)


@pytest.mark.parametrize(("shape", "values"), [((2, 3), [1, 2, 3, 4]), ((2, 2), [1, 2, 3]), ((), [1, 2])])
def test_values_that_fit_neither(shape, values):
    with pytest.raises(ShapeError, match="cannot be filled with"):
        filled(shape, type="constant", values=values)


@pytest.mark.parametrize(
    ("filler", "words"),
    [
        ({}, "constant 0"),
        ({"value": 0.25}, "constant 0.25"),
        ({"values": [1, 2, 3]}, "3 values"),
        ({"type": "xavier"}, "xavier"),
        ({"type": "gaussian", "std": 0.01}, "gaussian std 0.01"),
    ],
)
def test_fillers_in_words(filler, words):
    assert nettrain.Filler(**filler).in_short() == words


def test_the_filler_that_does_not_suit_is_shown_where_it_is_written():
    """In whichever parameter it stands, and for whichever of its blobs: here the third, of hidden states."""
    spec = """
layers:
  - {name: x, type: Input, shape: {dim: [3, 2, 4]}}
  - {name: cont, type: Input, shape: {dim: [3, 2]}}
  - name: rnn
    type: RNN
    bottom: [x, cont]
    num_output: 3
    bias_filler: 1
    weight_filler: {values: [1, 2, 3, 4]}
"""
    with pytest.raises(SpecError, match="at most as many as its last axis has") as caught:
        nettrain.Net(spec)
    assert [(problem.place.line, problem.place.column) for problem in caught.value.problems] == [(10, 20)]
