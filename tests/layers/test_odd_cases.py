"""Odd cases that any layer may meet: odd values, states that do not fit, errors half way, shapes that change."""

from functools import partial

import nettrain
import numpy as np
import pytest
from helpers import layer_net
from nettrain import NettrainError, ShapeError

net_in_test = partial(layer_net, phase="TEST")


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
    net = net_in_test(layer, *good)
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
    fresh, other = (net_in_test(layer, (3, n, 2), (3, n)) for n in (4, before))
    x, cont = rng.standard_normal((3, 4, 2)), np.ones((3, 4))
    expected = forward(fresh, x, cont)
    forward(other, rng.standard_normal((3, before, 2)), np.ones((3, before)))
    resumed = net_in_test(layer, (3, 4, 2), (3, 4))
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
    net = net_in_test({"type": "Python", "module": "pick", "layer": "Pick"}, (3, 2), allow_python=True)
    assert forward(net, [[1, 2], [-1, 3], [4, 5]]).tolist() == [[1, 2], [4, 5]]
    assert forward(net, [[-1, 2], [-1, 3], [4, 5]]).tolist() == [[4, 5]]


@pytest.mark.parametrize("x", [10.0, 12.0, 15.0, 17.0, 40.0])
@pytest.mark.parametrize("t", [0, 1])
def test_cross_entropy_of_sure_and_right_scores_keeps_its_digits(x, t):
    net = net_in_test({"type": "SigmoidCrossEntropyLoss", "normalization": "FULL"}, (4, 5), (4, 5), dtype="float32")
    loss = forward(net, np.full((4, 5), x if t else -x), np.full((4, 5), t))
    np.testing.assert_allclose(loss, np.log1p(np.exp(-x)), rtol=1e-6)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan, 1e308])
def test_scores_that_are_ignored_may_be_anything(bad):
    net = net_in_test({"type": "SigmoidCrossEntropyLoss", "ignore_label": 2}, (1, 3), (1, 3))
    assert forward(net, [[1.0, bad, 0.5]], [[1, 2, 0]]) == pytest.approx(np.log1p(np.exp(-1)) + np.log1p(np.exp(0.5)))
    net.backward()
    slope = net.blobs["x0"].diff[0]
    assert slope[1] == 0
    assert np.isfinite(slope).all()


def test_infogain_of_a_class_that_cannot_be():
    net = net_in_test({"type": "InfogainLoss"}, (1, 3), (1,), (3, 3))
    loss = forward(net, [[-np.inf, 0, 1]], [1], np.eye(3))
    assert loss == pytest.approx(np.log(1 + np.e))
    net.backward()
    assert np.isfinite(net.blobs["x0"].diff).all()


def test_a_bad_label_is_named_by_its_example_and_place():
    for axis, shape, at in ((-1, (2, 3, 4), (2, 3)), (1, (2, 4, 3), (2, 3))):
        net = net_in_test({"type": "SoftmaxWithLoss", "axis": axis}, shape, at)
        label = np.zeros(at)
        label[1, 2] = 9
        with pytest.raises(NettrainError, match=r"label 9 at \[1, 2\] of the batch is not one"):
            forward(net, np.zeros(shape), label)


@pytest.mark.parametrize("layer", [{"type": "Pooling", "kernel_size": 2}, {"type": "SPP", "pyramid_height": 2}])
def test_no_channels(layer):
    net = net_in_test(layer, (2, 0, 4, 4))
    net.forward()
    net.backward()


def test_power_of_scale_zero_is_a_constant():
    net = net_in_test({"type": "Power", "scale": 0, "shift": 3, "power": 2}, (3,))
    assert forward(net, [1, np.inf, np.nan]).tolist() == [9, 9, 9]


@pytest.mark.parametrize(("kind", "old"), [("Slice", "slice_dim"), ("Concat", "concat_dim")])
def test_two_names_of_an_axis(kind, old):
    with pytest.raises(NettrainError, match=f"axis cannot be combined with `{old}`"):
        net_in_test({"type": kind, old: 0, "axis": 1}, (2, 2))
    assert forward(net_in_test({"type": kind, old: 0}, (2, 2)), np.eye(2)).shape == (2, 2)


def test_mvn_of_what_is_no_number():
    net = net_in_test({"type": "MVN"}, (1, 1, 4))
    with np.errstate(invalid="ignore"):
        assert np.isnan(forward(net, [[[1, 2, np.inf, 3]]])).all()


def test_absurdly_wide_windows():
    assert (
        forward(
            net_in_test({"type": "LRN", "local_size": 999999999, "alpha": 0}, (1, 2, 3, 3)), np.ones((1, 2, 3, 3))
        ).sum()
        == 18
    )
    layer = {"type": "Pooling", "kernel_size": 60000, "pad": 59999, "stride": 59999}
    assert forward(net_in_test(layer, (1, 1, 4, 4)), np.arange(16).reshape(1, 1, 4, 4)).max() == 15


def test_an_output_nobody_reads_leaves_no_gradient_behind():
    """A Flatten that lies in its bottom's memory, read by nobody: the same gradient each time."""
    layers = [
        {"name": "x", "type": "Input", "shape": [1, 1, 2, 2]},
        {"name": "c", "type": "Convolution", "num_output": 1, "kernel_size": 1, "weight_filler": 1},
        {"name": "y", "type": "InnerProduct", "num_output": 1, "weight_filler": 1},
        {"name": "f", "type": "Flatten", "bottom": "c"},
    ]
    net = nettrain.Net({"layers": layers, "force_backward": True}, dtype="float64")
    for _ in range(3):
        net.forward(x=np.ones((1, 1, 2, 2)))
        net.clear_param_diffs()
        net.backward(y=[[1.0]])
        assert net.params["c"][0].diff.item() == 4
        assert (net.blobs["x"].diff == 1).all()


def test_an_output_nobody_reads_below_a_loss_weight():
    layers = [
        {"name": "x", "type": "Parameter", "shape": [2, 2], "filler": 1},
        {"name": "a", "type": "Power", "scale": 3, "loss_weight": 2},
        {"name": "f", "type": "Flatten"},
    ]
    net = nettrain.Net({"layers": layers, "force_backward": True}, dtype="float64")
    for _ in range(3):
        net.clear_param_diffs()
        net.forward_backward()
        assert (net.params["x"][0].diff == 6).all()


def recurrent(cell, *shapes, more=(), **params):
    layer = {
        "type": "Recurrent",
        "cont": False,
        "cell": cell,
        "states": [{"name": "h", "next": "h1", "shape": [3], "initial": 0.3}],
        "outputs": "h1",
    } | params
    inputs = [{"name": f"x{i}", "type": "Input", "shape": list(shape)} for i, shape in enumerate(shapes)]
    bottoms = [one["name"] for one in inputs]
    spec = {"force_backward": True, "layers": [*more, *inputs, {"name": "y", "bottom": bottoms} | layer]}
    return nettrain.Net(spec, dtype="float64", seed=3)


@pytest.mark.parametrize("name", ["x", "h"])
def test_a_cell_may_compute_in_place_on_what_it_is_given(name):
    def cell(top):
        reads = [top if read == name else read for read in ("x", "h")]
        return [
            {"name": "first", "type": "TanH", "bottom": name, "top": top},
            {"name": "both", "type": "Concat", "bottom": reads},
            {"name": "sum", "type": "InnerProduct", "num_output": 3},
            {"name": "h1", "type": "TanH"},
        ]

    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((4, 2, 3)), rng.standard_normal((4, 2, 3))
    nets = [recurrent(cell(top), x.shape) for top in (name, "other")]
    for net in nets:
        net.params["y"][0].data[...] = np.linspace(-1, 1, 18).reshape(3, 6)
        net.clear_param_diffs()
        net.forward(x0=x)
        net.backward(y=dy)
    here, apart = nets
    assert abs(here.blobs["y"].data).min() > 0
    np.testing.assert_allclose(here.blobs["y"].data, apart.blobs["y"].data, rtol=1e-12)
    np.testing.assert_allclose(here.blobs["x0"].diff, apart.blobs["x0"].diff, rtol=1e-12)
    np.testing.assert_allclose(here.params["y"][0].diff, apart.params["y"][0].diff, rtol=1e-12)


def test_a_cells_convolution_shared_with_the_outside():
    cell = [
        {
            "name": "c",
            "type": "Convolution",
            "bottom": "x",
            "num_output": 3,
            "kernel_size": 2,
            "param": [{"name": "w"}],
        },
        {"name": "flat", "type": "Flatten"},
        {"name": "part", "type": "InnerProduct", "num_output": 3},
        {"name": "h1", "type": "Eltwise", "bottom": ["part", "h"]},
    ]
    shape = (3, 1, 2, 3, 3)
    weights = [
        {"name": "w", "type": "Parameter", "shape": [3, 2, 2, 2], "filler": "gaussian", "param": [{"name": "w"}]}
    ]
    shared, alone = (recurrent(cell, shape, more=more, param=[{"name": "w"}]) for more in (weights, ()))
    for theirs, ours in zip(alone.params["y"], shared.params["y"], strict=True):
        theirs.data[...] = ours.data
    x = np.random.default_rng(0).standard_normal(shape)
    np.testing.assert_allclose(forward(shared, x), forward(alone, x), rtol=1e-12)


def test_what_does_not_belong_into_a_cell_is_refused():
    cell = [{"name": "f", "type": "Filter", "bottom": ["x", "h"]}, {"name": "h1", "type": "TanH", "bottom": "h"}]
    with pytest.raises(NettrainError, match="the shapes of what it makes follow from values"):
        recurrent(cell, (2, 3, 3))


def test_an_error_inside_a_cell_names_its_layer():
    cell = [
        {"name": "e", "type": "Embed", "bottom": "x", "num_output": 3, "input_dim": 3},
        {"name": "h1", "type": "Eltwise", "bottom": ["e", "h"]},
    ]
    net = recurrent(cell, (2, 2))
    with pytest.raises(NettrainError, match=r"Recurrent `y`: in its cell, Embed `y/e.*index 7 at \[1\]"):
        forward(net, [[0, 7], [1, 1]])


@pytest.mark.parametrize("kind", ["BatchNorm", "Scale", "InnerProduct", "Pooling"])
@pytest.mark.parametrize(("first", "then"), [((2, 2), (1, 2)), ((1, 2), (2, 2)), ((1, 2), (1, 1))])
def test_the_memory_order_of_a_stretched_sum_stays_what_it_was(kind, first, then):
    params = {"InnerProduct": {"num_output": 3}, "Pooling": {"kernel_size": 2}}.get(kind, {})

    def built(sizes):
        layers = [
            {"name": "a", "type": "Input", "shape": [sizes[0], 2, 4, 4]},
            {"name": "c", "type": "Convolution", "num_output": 8, "kernel_size": 1},
            {"name": "b", "type": "Input", "shape": [sizes[1], 8, 4, 4]},
            {"name": "sum", "type": "Eltwise", "bottom": ["c", "b"], "broadcast": True},
            {"name": "y", "type": kind, **params},
        ]
        return nettrain.Net({"layers": layers, "force_backward": True}, dtype="float64", seed=1)

    rng = np.random.default_rng(2)
    net, fresh = built(first), built(then)
    a, b = (rng.standard_normal(shape) for shape in ((then[0], 2, 4, 4), (then[1], 8, 4, 4)))
    net.forward(a=np.ones((first[0], 2, 4, 4)), b=np.ones((first[1], 8, 4, 4)))
    results = []
    for one in (net, fresh):
        if kind == "BatchNorm":
            for blob in one.params["y"]:
                blob.data[...] = 0
        y = one.forward(a=a, b=b)["y"].copy()
        one.clear_param_diffs()
        one.backward(y=np.linspace(-1, 1, y.size).reshape(y.shape))
        results.append([y, one.blobs["a"].diff.copy(), one.params["c"][0].diff.copy()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_global_pooling_of_growing_images():
    net = net_in_test({"type": "Pooling", "global_pooling": True}, (1, 1, 15, 15))
    for size in (15, 16, 20):
        x = np.arange(size * size, dtype=float).reshape(1, 1, size, size)
        forward(net, x)
        net.backward(y=np.ones((1, 1, 1, 1)))
        assert net.blobs["x0"].diff.ravel()[-1] == 1
        assert net.blobs["x0"].diff.sum() == 1


@pytest.mark.parametrize("kind", ["Scale", "Bias"])
def test_sums_over_no_places_are_zero(kind):
    from nettrain.compute.parallel import scratch

    net = net_in_test({"type": kind}, (1, 3, 0))
    scratch("parts of sums", (100_000,), np.float64).fill(7)
    net.clear_param_diffs()
    net.forward()
    net.backward()
    assert not net.params["y"][0].diff.any()


@pytest.mark.parametrize(("alpha", "slopes"), [(1, [1, 0, 1]), (0.5, [1, 0, 1]), (-0.5, [1, 0, 1])])
def test_elu_of_infinities(alpha, slopes):
    net = net_in_test({"type": "ELU", "alpha": alpha}, (3,))
    assert forward(net, [np.inf, -np.inf, 1]).tolist() == [np.inf, -alpha, 1]
    net.backward(y=np.ones(3))
    assert net.blobs["x0"].diff.tolist() == slopes


@pytest.mark.parametrize("kind", ["Im2col", "Convolution", "Deconvolution"])
def test_the_dilation_of_a_kernel_of_one_means_nothing(kind):
    params = {} if kind == "Im2col" else {"num_output": 1, "weight_filler": 1}
    net = net_in_test({"type": kind, "kernel_size": 1, "dilation": 2**62, **params}, (1, 1, 2, 2))
    assert forward(net, np.arange(4).reshape(1, 1, 2, 2)).ravel().tolist() == [0, 1, 2, 3]


def test_a_score_that_is_no_number_is_no_answer():
    net = net_in_test({"type": "BinaryAccuracy"}, (2,), (2,))
    assert forward(net, [np.nan, -1], [0, 0]) == 0.5


def test_shapes_that_stop_fitting_while_running_are_all_named():
    net = net_in_test({"type": "Concat"}, (2, 3), (2, 3))
    with pytest.raises(ShapeError, match=r"Concat `y`: (?s:.*)x0 2 x 3 · x1 2 x 3 x 1"):
        forward(net, np.zeros((2, 3)), np.zeros((2, 3, 1)))
    net = net_in_test({"type": "Convolution", "num_output": 1, "kernel_size": 5}, (1, 1, 8, 8))
    with pytest.raises(ShapeError, match=r"kernel 5 does not fit into 3(?s:.*)use kernel_size <= 3"):
        forward(net, np.zeros((1, 1, 3, 3)))


def test_no_classes_and_no_examples():
    with pytest.raises(NettrainError, match="has no classes"):
        net_in_test({"type": "HingeLoss"}, (2, 0), (2,))
    with pytest.raises(NettrainError, match="there are no examples"):
        forward(net_in_test({"type": "BatchReindex"}, (0, 2), (1,)), np.zeros((0, 2)), [0])


def test_an_infogain_matrix_of_words(workdir):
    np.save(workdir / "H.npy", np.array([["a", "b"], ["c", "d"]]))
    with pytest.raises(NettrainError, match=r"H.npy must hold numbers, but it holds <U1"):
        net_in_test({"type": "InfogainLoss", "source": "H.npy"}, (2, 2), (2,))
