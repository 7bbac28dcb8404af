"""What a reading of the zoo against Caffe found, each once: odd values, states that do not fit, errors half way."""

import nettrain
import numpy as np
import pytest
from nettrain import NettrainError, ShapeError


def net_of(layer, *shapes, tops=("y",), dtype="float64", **options):
    inputs = [{"name": f"x{i}", "type": "Input", "shape": list(shape)} for i, shape in enumerate(shapes)]
    bottoms = [one["name"] for one in inputs]
    spec = {"force_backward": True, "layers": [*inputs, {"name": "y", "bottom": bottoms, "top": list(tops)} | layer]}
    return nettrain.Net(spec, dtype=dtype, **options)


def forward(net, *arrays):
    return net.forward(**{f"x{i}": np.asarray(a) for i, a in enumerate(arrays)})["y"].copy()


@pytest.mark.parametrize(
    ("layer", "good", "bad"),
    [
        ({"type": "LayerNorm"}, [(2, 4)], [(2, 5)]),
        ({"type": "SoftmaxWithLoss", "class_weight": [1, 2, 3]}, [(4, 3), (4,)], [(2, 4), (2,)]),
        ({"type": "GroupNorm", "num_groups": 2}, [(2, 4)], [(2, 5)]),
    ],
)
def test_after_a_shape_that_was_refused_the_old_one_works(layer, good, bad):
    net = net_of(layer, *good)
    arrays = [np.random.default_rng(0).integers(0, 2, shape) for shape in good]
    before = forward(net, *arrays)
    with pytest.raises(ShapeError):
        forward(net, *(np.zeros(shape) for shape in bad))
    np.testing.assert_array_equal(forward(net, *arrays), before)


CELL = [
    {"name": "both", "type": "Concat", "bottom": ["x", "h"]},
    {"name": "sum", "type": "InnerProduct", "num_output": 2},
    {"name": "h_next", "type": "TanH"},
]
CARRYING = {
    "LSTM": {"num_output": 2},
    "GRU": {"num_output": 2},
    "RNN": {"num_output": 2},
    "Recurrent": {
        "cell": CELL,
        "states": [{"name": "h", "next": "h_next", "shape": [2]}],
        "outputs": "h_next",
        "carry": True,
    },
}


@pytest.mark.parametrize("kind", CARRYING)
@pytest.mark.parametrize("before", [1, 0, 5])
def test_carried_states_of_another_number_of_sequences_are_left(kind, before):
    layer = {"type": kind} | CARRYING[kind]
    rng = np.random.default_rng(1)
    fresh, other = (net_of(layer, (3, n, 2), (3, n)) for n in (4, before))
    x, cont = rng.standard_normal((3, 4, 2)), np.ones((3, 4))
    expected = forward(fresh, x, cont)
    forward(other, rng.standard_normal((3, before, 2)), np.ones((3, before)))
    resumed = net_of(layer, (3, 4, 2), (3, 4))
    resumed.set_layer_states(other.layer_states())
    np.testing.assert_array_equal(forward(resumed, x, cont), expected)


def test_python_layers_reshape_before_each_forward(workdir):
    (workdir / "pick.py").write_text(
        "import numpy as np\n"
        "class Pick:\n"
        "    def reshape(self, bottom, top):\n"
        "        self.keep = np.flatnonzero(bottom[0].data[:, 0] > 0)\n"
        "        top[0].reshape(max(1, len(self.keep)), bottom[0].shape[1])\n"
        "    def forward(self, bottom, top):\n"
        "        top[0].data[...] = bottom[0].data[self.keep]\n"
        "    def backward(self, top, propagate_down, bottom):\n"
        "        pass\n"
    )
    net = net_of({"type": "Python", "module": "pick", "layer": "Pick"}, (3, 2), allow_python=True)
    assert forward(net, [[1, 2], [-1, 3], [4, 5]]).tolist() == [[1, 2], [4, 5]]
    assert forward(net, [[-1, 2], [-1, 3], [4, 5]]).tolist() == [[4, 5]]


@pytest.mark.parametrize("x", [10.0, 12.0, 15.0, 17.0, 40.0])
@pytest.mark.parametrize("t", [0, 1])
def test_cross_entropy_of_sure_and_right_scores_keeps_its_digits(x, t):
    net = net_of({"type": "SigmoidCrossEntropyLoss", "normalization": "FULL"}, (4, 5), (4, 5), dtype="float32")
    loss = forward(net, np.full((4, 5), x if t else -x), np.full((4, 5), t))
    np.testing.assert_allclose(loss, np.log1p(np.exp(-x)), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e308])
def test_scores_that_are_ignored_may_be_anything(bad):
    net = net_of({"type": "SigmoidCrossEntropyLoss", "ignore_label": 2}, (1, 3), (1, 3))
    assert forward(net, [[1.0, bad, 0.5]], [[1, 2, 0]]) == pytest.approx(np.log1p(np.exp(-1)) + np.log1p(np.exp(0.5)))
    net.backward()
    slope = net.blobs["x0"].diff[0]
    assert slope[1] == 0
    assert np.isfinite(slope).all()


def test_infogain_of_a_class_that_cannot_be():
    net = net_of({"type": "InfogainLoss"}, (1, 3), (1,), (3, 3))
    loss = forward(net, [[-np.inf, 0, 1]], [1], np.eye(3))
    assert loss == pytest.approx(np.log(1 + np.e))
    net.backward()
    assert np.isfinite(net.blobs["x0"].diff).all()


def test_a_bad_label_is_named_by_its_example_and_place():
    for axis, shape, at in ((-1, (2, 3, 4), (2, 3)), (1, (2, 4, 3), (2, 3))):
        net = net_of({"type": "SoftmaxWithLoss", "axis": axis}, shape, at)
        label = np.zeros(at)
        label[1, 2] = 9
        with pytest.raises(NettrainError, match=r"label 9 at \[1, 2\] of the batch is none"):
            forward(net, np.zeros(shape), label)


@pytest.mark.parametrize("layer", [{"type": "Pooling", "kernel_size": 2}, {"type": "SPP", "pyramid_height": 2}])
def test_no_channels(layer):
    net = net_of(layer, (2, 0, 4, 4))
    net.forward()
    net.backward()


def test_power_of_scale_zero_is_a_constant():
    net = net_of({"type": "Power", "scale": 0, "shift": 3, "power": 2}, (3,))
    assert forward(net, [1, np.inf, np.nan]).tolist() == [9, 9, 9]


@pytest.mark.parametrize(("kind", "old"), [("Slice", "slice_dim"), ("Concat", "concat_dim")])
def test_two_names_of_an_axis(kind, old):
    with pytest.raises(NettrainError, match="cannot stand beside `axis`"):
        net_of({"type": kind, old: 0, "axis": 1}, (2, 2))
    assert forward(net_of({"type": kind, old: 0}, (2, 2)), np.eye(2)).shape == (2, 2)


def test_mvn_of_what_is_no_number():
    net = net_of({"type": "MVN"}, (1, 1, 4))
    with np.errstate(invalid="ignore"):
        assert np.isnan(forward(net, [[[1, 2, np.inf, 3]]])).all()


def test_absurdly_wide_windows():
    assert (
        forward(net_of({"type": "LRN", "local_size": 999999999, "alpha": 0}, (1, 2, 3, 3)), np.ones((1, 2, 3, 3))).sum()
        == 18
    )
    layer = {"type": "Pooling", "kernel_size": 60000, "pad": 59999, "stride": 59999}
    assert forward(net_of(layer, (1, 1, 4, 4)), np.arange(16).reshape(1, 1, 4, 4)).max() == 15
