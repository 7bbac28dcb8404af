"""Wiring: which layers are in the net, which read what, in what order, and how gradients find their way back."""

import itertools

import nettrain
import numpy as np
import pytest
from helpers import layer
from hypothesis import given, settings
from hypothesis import strategies as st
from nettrain import SpecError

SHAPE = (2, 3, 4)
SMOOTH = {"std": 0.5, "type": "gaussian"}  # biases that are not zero, so that their order cannot be mixed up


def source(name, shape=SHAPE):
    return layer(name, "Input", shape=list(shape))


def ip(name, bottom=None, top=None, num_output=4, **keys):
    """Works on the last axis, so that it can come between layers of any kind."""
    return layer(name, "InnerProduct", bottom, top, num_output=num_output, axis=-1, bias_filler=SMOOTH, **keys)


def loss(*bottoms, name="loss", **keys):
    return layer(name, "EuclideanLoss", list(bottoms), **keys)


def build(*layers, phase="TRAIN", inputs=("x", "t"), **options):
    """A float64 net whose inputs hold fixed random numbers."""
    force = options.pop("force_backward", False)
    net = nettrain.Net({"force_backward": force, "layers": list(layers)}, phase=phase, dtype="float64", **options)
    rng = np.random.default_rng(3)
    for name in inputs:
        if name in net.blobs:
            net.blobs[name].data[...] = rng.standard_normal(net.blobs[name].shape)
    return net


def gradients(net):
    """Loss, and gradient of each parameter blob, of one forward and backward pass."""
    net.batch = 0  # the same dropout each time
    net.clear_param_diffs()
    value = net.forward_backward()
    return value, {name: [blob.diff.copy() for blob in blobs] for name, blobs in net.params.items()}


def assert_same_gradients(net, other, rtol=1e-12):
    (loss_a, a), (loss_b, b) = gradients(net), gradients(other)
    np.testing.assert_allclose(loss_a, loss_b, rtol=rtol)
    for name in a.keys() & b.keys():
        for mine, theirs in zip(a[name], b[name], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=rtol, atol=1e-14, err_msg=name)
    assert any(np.abs(diff).max() > 1e-3 for diffs in a.values() for diff in diffs)


def assert_numeric(net, *blobs):
    """The gradients of all parameters (and of ``blobs``) against central differences of the loss."""
    _, diffs = gradients(net)
    checks = [(f"{n}[{i}]", net.params[n][i].data, d) for n, ds in diffs.items() for i, d in enumerate(ds)]
    checks += [(name, net.blobs[name].data, net.blobs[name].diff.copy()) for name in blobs]
    for name, data, diff in checks:
        numeric = np.empty(diff.shape)
        for index in np.ndindex(diff.shape):
            x, values = data[index], []
            for h in (1e-5, -1e-5):
                data[index] = x + h
                values.append(gradients(net)[0])
            data[index] = x
            numeric[index] = (values[0] - values[1]) / 2e-5
        np.testing.assert_allclose(diff, numeric, rtol=1e-6, atol=1e-8, err_msg=name)


def problems(*layers, **options):
    with pytest.raises(SpecError) as error:
        nettrain.Net({"layers": list(layers)}, **options)
    return [problem.message for problem in error.value.problems]


def ran_backward(net):
    """Names of the layers whose Backward_cpu was called in one pass, in that order."""
    ran = []
    for step in net.steps:

        def run(*arguments, name=step.spec.name, original=step.layer.Backward_cpu):
            ran.append(name)
            original(*arguments)

        step.layer.Backward_cpu = run
    net.forward_backward()
    assert set(ran) == {step.spec.name for step in net.steps if step.needs_backward}
    return ran


# Who is in

RULES = [
    # rules of the layer, then for (phase, level, stages): is it in?
    ({}, ("TRAIN", 0, ()), True),
    ({"include": "test"}, ("TEST", 0, ()), True),
    ({"include": "test"}, ("TRAIN", 0, ()), False),
    ({"include": {"phase": "TRAIN"}}, ("TRAIN", 0, ()), True),
    ({"exclude": "TRAIN"}, ("TRAIN", 0, ()), False),
    ({"exclude": "TRAIN"}, ("TEST", 0, ()), True),
    ({"include": {"min_level": 2}}, ("TEST", 1, ()), False),
    ({"include": {"min_level": 2}}, ("TEST", 2, ()), True),
    ({"include": {"max_level": 2}}, ("TEST", 2, ()), True),
    ({"include": {"max_level": 2}}, ("TEST", 3, ()), False),
    ({"include": {"min_level": -1, "max_level": 1}}, ("TEST", 0, ()), True),
    ({"exclude": {"min_level": 2}}, ("TEST", 3, ()), False),
    ({"include": {"stage": "a"}}, ("TEST", 0, ("a", "b")), True),
    ({"include": {"stage": "a"}}, ("TEST", 0, ("b",)), False),
    ({"include": {"stage": ["a", "b"]}}, ("TEST", 0, ("a",)), False),
    ({"include": {"stage": ["a", "b"]}}, ("TEST", 0, ("b", "c", "a")), True),
    ({"include": {"not_stage": "a"}}, ("TEST", 0, ()), True),
    ({"include": {"not_stage": ["a", "b"]}}, ("TEST", 0, ("b",)), False),
    ({"include": {"phase": "TEST", "stage": "a"}}, ("TEST", 0, ()), False),
    ({"include": {"phase": "TEST", "stage": "a"}}, ("TRAIN", 0, ("a",)), False),
    ({"include": {"phase": "TEST", "stage": "a", "min_level": 1}}, ("TEST", 1, ("a",)), True),
    ({"include": [{"phase": "TRAIN"}, {"stage": "a"}]}, ("TEST", 0, ("a",)), True),
    ({"include": [{"phase": "TRAIN"}, {"stage": "a"}]}, ("TRAIN", 0, ()), True),
    ({"include": [{"phase": "TRAIN"}, {"stage": "a"}]}, ("TEST", 0, ()), False),
    ({"exclude": [{"phase": "TRAIN"}, {"stage": "a"}]}, ("TEST", 0, ("a",)), False),
    ({"exclude": [{"phase": "TRAIN"}, {"stage": "a"}]}, ("TEST", 0, ("b",)), True),
    ({"exclude": {"phase": "TRAIN", "stage": "a"}}, ("TRAIN", 0, ()), True),
    ({"exclude": {"phase": "TRAIN", "stage": "a"}}, ("TRAIN", 0, ("a",)), False),
]


@pytest.mark.parametrize(("rules", "state", "is_in"), RULES)
def test_include_and_exclude(rules, state, is_in):
    phase, level, stages = state
    net = build(source("x"), layer("maybe", "ReLU", "x", **rules), phase=phase, level=level, stages=stages)
    assert list(net.layers) == (["x", "maybe"] if is_in else ["x"])


def test_the_state_of_a_net_by_default():
    rules = {"test": {"phase": "TEST"}, "level": {"min_level": 0, "max_level": 0}, "plain": {"not_stage": "a"}}
    others = {"train": {"phase": "TRAIN"}, "deep": {"min_level": 1}, "staged": {"stage": "a"}}
    layers = [layer(name, "Input", include=rule) for name, rule in (rules | others).items()]
    assert list(nettrain.Net({"layers": layers}).layers) == list(rules)


def test_include_and_exclude_together_are_an_error():
    (message,) = problems(layer("x", "Input", include="test", exclude="train"))
    assert message == "Input.exclude cannot be combined with `include`; write one of them"


def test_a_name_may_be_used_in_each_phase():
    layers = [layer("x", "Input", shape=[2], include="train"), layer("x", "Input", shape=[3], include="test")]
    assert [nettrain.Net({"layers": layers}, phase=p).blobs["x"].shape for p in ("TRAIN", "TEST")] == [(2,), (3,)]


def test_a_net_without_layers_is_an_error():
    assert problems(layer("x", "Input", include="train"), phase="TEST") == [
        "no layer is in the TEST net: check include and exclude"
    ]


# Who reads what


def wiring(*layers, **options):
    net = build(*layers, **options)
    return {s.spec.name: ([k[0] for k in s.bottom_keys], [k[0] for k in s.top_keys]) for s in net.steps}


def test_bottom_and_top_left_out():
    found = wiring(
        layer("data", "Input", top=["x", "y"], shape=[2, 3]),
        layer("a", "ReLU"),
        layer("quiet", "Silence", "y"),
        layer("b", "ReLU"),
        layer("only_train", "ReLU", include="train"),
        layer("c", "ReLU", top="d"),
        layer("e", "ReLU"),
        phase="TEST",
    )
    assert found == {
        "data": ([], ["x", "y"]),
        "a": (["x"], ["a"]),
        "quiet": (["y"], []),
        "b": (["a"], ["b"]),  # the layer before has no top, so the one before that
        "c": (["b"], ["d"]),  # only_train is not there
        "e": (["d"], ["e"]),
    }


def test_bottoms_keep_their_order():
    found = wiring(source("x"), ip("a", "x"), layer("sum", "Eltwise", ["x", "a", "x"]))
    assert found["sum"][0] == ["x", "a", "x"]


def test_names_are_made_once():
    assert problems(source("x"), layer("a", "ReLU", "x", "y"), layer("b", "ReLU", "x", "y")) == [
        "blob `y` is already made by `a`; give this top another name"
    ]
    assert problems(layer("x", "Input", top=["a", "a"])) == ["Input `x` makes `a` twice"]
    assert problems(source("x"), layer("a", "ReLU", "x"), layer("a", "TanH", "x", "b")) == [
        "the layer name `a` is used twice; first"
    ]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (layer("a", "ReLU", "conv"), "layer `a` reads blob `conv`, which no layer makes; did you mean `conv1`?"),
        (layer("a", "ReLU", "zzz"), "layer `a` reads blob `zzz`, which no layer makes"),
        (layer("a", "ReLU", "zzz", "zzz"), "layer `a` reads blob `zzz`, which no layer makes"),
        (layer("a", "ReLU", ["conv1", "x"]), "ReLU `a` takes 1 bottom, got 2"),
        (layer("a", "EuclideanLoss", "x"), "EuclideanLoss `a` takes 2 bottoms, got 1"),
        (layer("a", "Eltwise", "x"), "Eltwise `a` takes at least 2 bottoms, got 1"),
        (layer("a", "SoftmaxWithLoss", ["x", "x"], ["b", "c", "d"]), "SoftmaxWithLoss `a` takes 1 to 2 tops, got 3"),
        (
            layer("a", "Convolution", "x", ["b", "c"], num_output=1, kernel_size=1),
            "Convolution `a` needs as many tops as bottoms",
        ),
        (layer("a", "ReLU", "x", loss_weight=[1, 2]), "loss_weight must have one value for each top: 1, got 2"),
        (layer("a", "ReLU", "x", propagate_down=[True] * 2), "propagate_down must have one value for each bottom: 1"),
    ],
)
def test_mistakes_in_wiring(wrong, message):
    (found,) = problems(source("x"), ip("conv1", "x"), wrong)
    assert message in found


def test_an_unknown_blob_among_others_is_pointed_at():
    with pytest.raises(SpecError) as error:
        nettrain.Net({"layers": [source("x"), layer("a", "Eltwise", ["x", "x", "y", "x"])]})
    assert [str(problem.place) for problem in error.value.problems] == ["spec.layers[1].bottom[2]"]


@pytest.mark.parametrize(("blobs", "ending"), [(19, "b18, a"), (20, "b19 …")])
def test_an_unknown_blob_shows_twenty_others_at_most(blobs, ending):
    made = [layer(f"b{i}", "Input") for i in range(blobs)]
    with pytest.raises(SpecError) as error:
        nettrain.Net({"layers": [*made, layer("a", "ReLU", "zzz")]})
    (details,) = error.value.problems[0].details
    assert details.startswith("blobs: b0, b1")
    assert details.endswith(ending)


# Order


def test_the_files_order_is_kept():
    names = ["x", "c", "a", "b", "t"]
    net = build(source("x"), ip("c", "x"), ip("a", "x"), ip("b", "c"), source("t"))
    assert list(net.layers) == names


def test_layers_out_of_order_run_when_their_bottoms_are_there():
    net = build(loss("b", "t"), ip("b", "a"), source("t"), ip("a", "x"), source("x"))
    assert list(net.layers) == ["t", "x", "a", "b", "loss"]
    ordered = build(source("x"), source("t"), ip("a", "x"), ip("b", "a"), loss("b", "t"))
    assert_same_gradients(net, ordered)


@st.composite
def graphs(draw):
    """Layers of a random graph in an order that works, and a permutation of them."""
    layers, blobs = [source("x")], ["x"]
    for i in range(draw(st.integers(1, 6))):
        bottoms = draw(st.lists(st.sampled_from(blobs), min_size=1, max_size=3))
        name = f"l{i}"
        layers.append(ip(name, bottoms[0]) if len(bottoms) == 1 else layer(name, "Eltwise", bottoms))
        blobs.append(name)
    layers.append(loss(blobs[-1], draw(st.sampled_from(blobs))))
    return layers, draw(st.permutations(layers))


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_any_order_of_a_spec_gives_the_same_net(graph):
    layers, shuffled = graph
    net, other = build(*layers), build(*shuffled)
    assert list(net.layers) == [spec["name"] for spec in layers]
    made = set()
    for step in other.steps:
        assert set(step.bottom_keys) <= made
        made.update(step.top_keys)
    (value, diffs), (other_value, other_diffs) = gradients(net), gradients(other)
    np.testing.assert_allclose(value, other_value, rtol=1e-12)
    for name, blobs in diffs.items():
        for mine, theirs in zip(blobs, other_diffs[name], strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-12)


def test_a_cycle_names_its_layers_and_no_others():
    net = [
        source("x"),
        ip("before", "x"),
        layer("a", "Eltwise", ["before", "c"]),
        ip("b", "a"),
        ip("c", "b"),
        ip("after", "c"),
    ]
    assert problems(*net) == ["these layers wait for each other: a -> b -> c -> a"]


def test_a_cycle_names_lines():
    text = """\
layers:
  - {name: a, type: ReLU, bottom: b}
  - {name: b, type: ReLU, bottom: a}
"""
    with pytest.raises(SpecError, match=r"spec:2:35: .*: a \(line 2\) -> b \(line 3\) -> a \(line 2\)"):
        nettrain.Net(text)


# Names written twice


def test_a_name_written_twice_is_read_in_its_last_version_before_the_reader():
    net = build(
        source("x"),
        layer("early", "Eltwise", ["x", "x"], coeff=[1, 0]),
        layer("first", "TanH", "x", "x"),
        layer("middle", "Eltwise", ["x", "x"], coeff=[1, 0]),
        layer("second", "Sigmoid", "x", "x"),
        layer("late", "Eltwise", ["x", "x"], coeff=[1, 0]),
        inputs=(),
    )
    x = np.linspace(-2, 2, 24).reshape(SHAPE)
    net.steps[0].top[0].data[...] = x
    net.forward()
    np.testing.assert_allclose(net.blobs["early"].data, x)
    np.testing.assert_allclose(net.blobs["middle"].data, np.tanh(x))
    np.testing.assert_allclose(net.blobs["late"].data, 1 / (1 + np.exp(-np.tanh(x))))
    np.testing.assert_allclose(net.blobs["x"].data, 1 / (1 + np.exp(-np.tanh(x))))
    assert net.outputs == ["early", "middle", "late"]


@pytest.mark.parametrize("tops", [["p", "a"], ["a", "p"]], ids=str)
def test_one_top_of_several_named_like_the_bottom(tops):
    """The tops keep their order, whether their name is new or not."""

    def net(rewritten):
        names = [rewritten if name == "a" else name for name in tops]
        return build(
            source("x"),
            source("t", (2, 3, 1)),
            ip("a", "x"),
            layer("cut", "Slice", "a", names, axis=2, slice_point=1),
            ip("b", rewritten, num_output=1),
            ip("c", "p", num_output=1),
            layer("sum", "Eltwise", ["b", "c"], coeff=[1, 2]),
            loss("sum", "t"),
        )

    assert_same_gradients(net("a"), net("new"))


def test_a_rewriter_before_the_maker_in_the_file():
    net = build(layer("r", "TanH", "a", "a"), source("x"), ip("a", "x"), source("t"), loss("a", "t"))
    plain = build(source("x"), ip("a", "x"), layer("r", "TanH", "a", "b"), source("t"), loss("b", "t"))
    assert list(net.layers) == ["x", "a", "r", "t", "loss"]
    assert_same_gradients(net, plain)


@pytest.mark.parametrize("type", ["ReLU", "Sigmoid", "TanH", "Dropout"])
def test_a_blob_read_both_before_and_after_an_in_place_layer(type):
    def net(after):
        return build(
            source("x"),
            source("t"),
            ip("a", "x"),
            ip("before", "a"),
            layer("r", type, "a", after),
            ip("after", after),
            layer("sum", "Eltwise", ["before", "after"], coeff=[1, 2]),
            loss("sum", "t"),
        )

    assert_same_gradients(net("a"), net("b"))
    assert_numeric(net("a"))


# In-place memory: the same gradients as with distinct names, whatever comes before, at and after the layer

PRODUCERS = {
    "ReLU": {},
    "Sigmoid": {},
    "TanH": {},
    "Dropout": {},
    "Softmax": {},
    "LeakyReLU": {"type": "ReLU", "negative_slope": 0.1},
    "NegativeReLU": {"type": "ReLU", "negative_slope": -0.5},
    "InnerProduct": {"num_output": 4, "axis": 2},
    "Convolution": {"num_output": 3, "kernel_size": 3, "pad": 1},
    "SUM": {"type": "Eltwise", "coeff": [0.5, 2]},
    "PROD": {"type": "Eltwise", "operation": "PROD"},
    "MAX": {"type": "Eltwise", "operation": "MAX"},
}


def made(kind, name, bottom, top):
    keys = {"type": kind} | PRODUCERS[kind]
    bottoms = [bottom, "other"] if keys["type"] == "Eltwise" else bottom
    return layer(name, bottom=bottoms, top=top, **keys)


def chain(kinds, in_place, phase="TRAIN", between=()):
    """x -> pre -> kinds[0] -> kinds[1] … -> post, all but the first in the memory of the first if asked for."""
    layers = [source("x"), source("t"), ip("other", "x"), ip("pre", "x"), made(kinds[0], "l0", "pre", "v0"), *between]
    for i, kind in enumerate(kinds[1:], 1):
        layers.append(made(kind, f"l{i}", "v0" if in_place else f"v{i - 1}", "v0" if in_place else f"v{i}"))
    last = "v0" if in_place else f"v{len(kinds) - 1}"
    return build(*layers, ip("post", last), loss("post", "t"), phase=phase)


@pytest.mark.parametrize("consumer", PRODUCERS)
@pytest.mark.parametrize("producer", PRODUCERS)
def test_in_place_gives_the_gradients_of_distinct_names(producer, consumer):
    assert_same_gradients(chain([producer, consumer], True), chain([producer, consumer], False))


@pytest.mark.parametrize("producer", PRODUCERS)
def test_two_layers_in_place_after_each_other(producer):
    for pair in itertools.product(["ReLU", "Sigmoid", "Dropout", "NegativeReLU"], repeat=2):
        assert_same_gradients(chain([producer, *pair], True), chain([producer, *pair], False))


READERS = {
    "another reader": [ip("reader", "v0"), loss("reader", "t", name="more")],
    "a reader without gradient": [layer("reader", "Silence", "v0")],
    "a loss on it": [layer("scaled", "Eltwise", ["v0", "v0"], loss_weight=0.3)],
}


@pytest.mark.parametrize("between", READERS)
@pytest.mark.parametrize("consumer", ["ReLU", "Sigmoid", "Dropout"])
def test_in_place_with_someone_else_reading_the_blob(consumer, between):
    nets = [chain(["InnerProduct", consumer], in_place, between=READERS[between]) for in_place in (True, False)]
    assert_same_gradients(*nets)


def test_in_place_on_a_blob_with_a_loss_of_its_own():
    def net(top):
        weighted = ip("a", "x", loss_weight=0.7)
        return build(source("x"), source("t"), weighted, layer("r", "Sigmoid", "a", top), loss(top, "t"))

    assert_same_gradients(net("a"), net("b"))
    assert_numeric(net("a"))


@pytest.mark.parametrize(
    ("producer", "consumer", "shared"),
    [
        ("InnerProduct", "ReLU", True),
        ("Convolution", "Dropout", True),
        ("Dropout", "Sigmoid", True),
        ("SUM", "Softmax", True),
        ("InnerProduct", "TanH", True),
        ("Sigmoid", "ReLU", False),  # its backward reads its top
        ("InnerProduct", "NegativeReLU", False),  # its backward reads its bottom
        ("ReLU", "SUM", False),  # it cannot overwrite a bottom while it reads another
    ],
)
def test_memory_is_shared_only_where_that_is_right(producer, consumer, shared):
    net = chain([producer, consumer], True)
    step = next(step for step in net.steps if step.spec.name == "l1")
    assert step.top[0].shares_data_with(step.bottom[0]) is shared


def test_memory_of_inputs_is_never_overwritten():
    net = build(source("x"), layer("r", "ReLU", "x", "x"), inputs=())
    blob, x = net.steps[0].top[0], np.linspace(-1, 1, 24).reshape(SHAPE)
    blob.data[...] = x
    net.forward()
    np.testing.assert_array_equal(blob.data, x)


# Fan-out: gradients of all readers are added


def fan_out(readers, split):
    """x -> a -> this many readers -> their sum; the blob read directly or through a Split layer."""
    names = [f"s{i}" if split else "a" for i in range(readers)]
    copies = [layer("copies", "Split", "a", names)] if split else []
    tops = [f"r{i}" for i in range(readers)]
    each = [ip(top, name) for top, name in zip(tops, names, strict=True)]
    total = layer("sum", "Eltwise", tops, coeff=[i + 1 for i in range(readers)])
    return build(source("x"), source("t"), ip("a", "x"), *copies, *each, total, loss("sum", "t"))


@pytest.mark.parametrize("readers", [2, 3, 5])
def test_fan_out_equals_a_split(readers):
    net = fan_out(readers, split=False)
    assert_same_gradients(net, fan_out(readers, split=True), rtol=1e-13)
    assert_numeric(net)


def test_fan_out_of_two_equals_a_split_bit_for_bit():
    (_, mine), (_, split) = gradients(fan_out(2, split=False)), gradients(fan_out(2, split=True))
    assert all(np.array_equal(a, b) for name in mine for a, b in zip(mine[name], split[name], strict=True))


@pytest.mark.parametrize(
    ("bottoms", "keys"),
    [
        (["a", "a"], {"coeff": [1, -3]}),
        (["a", "a"], {"operation": "PROD"}),
        (["a", "a"], {"operation": "MAX"}),
        (["a", "b", "a"], {"coeff": [1, 2, 3]}),
        (["a", "b", "a"], {"operation": "PROD"}),
        (["a", "a", "b", "a"], {"operation": "MAX"}),
    ],
)
def test_the_same_blob_twice_into_one_layer(bottoms, keys):
    net = build(
        source("x"), source("t"), ip("a", "x"), ip("b", "x"), layer("y", "Eltwise", bottoms, **keys), loss("y", "t")
    )
    assert_numeric(net)


def test_both_bottoms_of_a_loss_from_one_blob():
    net = build(source("x"), ip("a", "x"), ip("b", "a"), loss("a", "b"))
    assert_numeric(net)


def test_gradients_of_reshaped_inputs_with_fan_out():
    net = fan_out(3, split=False)
    rng = np.random.default_rng(0)
    for examples in (5, 1, 4):  # larger, smaller, between
        x, t = rng.standard_normal((2, examples, 3, 4))
        fresh = fan_out(3, split=False)
        for one in (net, fresh):
            one.clear_param_diffs()
            one.forward(x=x, t=t)
            one.backward()
        np.testing.assert_array_equal(net.flat.diff, fresh.flat.diff)


# Losses


def test_a_loss_on_a_blob_that_is_also_read():
    net = build(source("x"), source("t"), ip("a", "x", loss_weight=0.25), ip("b", "a"), ip("c", "a"), loss("c", "t"))
    value, _ = gradients(net)
    assert value == pytest.approx(0.25 * net.blobs["a"].data.sum() + net.blobs["loss"].data)
    assert_numeric(net)


def test_a_loss_layers_top_read_by_another_layer():
    square = layer("square", "Eltwise", ["first", "first"], operation="PROD", loss_weight=0.5)
    net = build(source("x"), source("t"), ip("a", "x"), loss("a", "t", name="first"), square)
    value, _ = gradients(net)
    first = float(net.blobs["first"].data)
    assert value == pytest.approx(first + 0.5 * first**2)
    assert_numeric(net)


def test_several_losses_are_weighted_and_added():
    net = build(
        source("x"),
        source("t"),
        ip("a", "x"),
        ip("b", "a"),
        loss("b", "t", name="one", loss_weight=2),
        loss("a", "t", name="two", loss_weight=-0.5),
        loss("a", "b", name="three"),
        layer("four", "TanH", "a", loss_weight=0.1),
    )
    value, _ = gradients(net)
    one, two, three = (float(net.blobs[name].data) for name in ("one", "two", "three"))
    assert value == pytest.approx(2 * one - 0.5 * two + three + 0.1 * np.tanh(net.blobs["a"].data).sum())
    assert_numeric(net)


def test_a_second_top_with_a_loss_weight():
    net = build(
        source("x", (3, 4)),
        layer("label", "Input", shape=[3]),
        ip("a", "x", num_output=5),
        layer("l", "SoftmaxWithLoss", ["a", "label"], ["l", "p"], loss_weight=[1, 0.5]),
        layer("p2", "Eltwise", ["p", "p"], operation="PROD", loss_weight=3),
    )
    net.blobs["label"].data[...] = [0, 4, 2]
    assert_numeric(net)


def test_loss_weight_zero_is_no_loss():
    net = build(
        source("x"), source("t"), ip("a", "x"), loss("a", "t", loss_weight=0), ip("b", "x"), loss("b", "t", name="l")
    )
    assert ran_backward(net) == ["l", "b"]
    assert net.loss == net.blobs["l"].data
    assert net.blobs["loss"].data > 0


def test_a_label_that_comes_from_a_layer_that_learns():
    layers = [source("x", (3, 4)), ip("a", "x"), ip("label", "x", num_output=1)]
    wrong = layer("l", "SoftmaxWithLoss", ["a", "label"])
    (message,) = problems(*layers, wrong, phase="TRAIN")
    assert message == (
        "SoftmaxWithLoss `l` has no gradient for its bottom 1 (`label`), but a layer before it learns; "
        "stop it there with propagate_down: [true, false]"
    )
    net = build(*layers, wrong | {"propagate_down": [True, False]})
    net.params["label"][0].data[...] = 0
    net.params["label"][1].data[...] = 2
    assert ran_backward(net) == ["l", "a"]


# Where backward runs


def test_backward_runs_in_the_opposite_order():
    net = build(source("x"), source("t"), ip("a", "x"), ip("b", "a"), ip("c", "b"), loss("c", "t"))
    assert ran_backward(net) == ["loss", "c", "b", "a"]


def test_nothing_runs_that_leads_to_no_loss():
    net = build(
        source("x"), source("t"), ip("a", "x"), ip("aside", "a"), layer("s", "Sigmoid"), ip("b", "a"), loss("b", "t")
    )
    assert ran_backward(net) == ["loss", "b", "a"]


def test_nothing_runs_below_the_first_layer_that_learns():
    net = build(
        source("x"), source("t"), layer("s", "Sigmoid", "x"), layer("u", "TanH"), ip("a"), ip("b"), loss("b", "t")
    )
    assert ran_backward(net) == ["loss", "b", "a"]
    assert {step.spec.name: step.propagate_down for step in net.steps}["a"] == [False]


FIXED = [{"lr_mult": 0}, {"lr_mult": 0}]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, ["loss", "c", "s", "b", "a"]),
        ({"a": FIXED}, ["loss", "c", "s", "b"]),
        ({"a": FIXED, "b": FIXED}, ["loss", "c"]),
        ({"a": FIXED, "b": [{"lr_mult": 0}]}, ["loss", "c", "s", "b"]),  # b's bias still learns
        ({"b": FIXED}, ["loss", "c", "s", "b", "a"]),  # the gradient passes through
        ({"a": FIXED, "b": FIXED, "c": FIXED}, []),
    ],
)
def test_lr_mult_zero_cuts_backward(params, expected):
    def learner(name, bottom=None):
        return ip(name, bottom, param=params.get(name, []))

    net = build(
        source("x"), source("t"), learner("a", "x"), learner("b"), layer("s", "Sigmoid"), learner("c"), loss("c", "t")
    )
    assert ran_backward(net) == expected
    for name, fixed in params.items():
        assert not any(blob.diff.any() for blob in net.params[name][: len(fixed)])


def test_propagate_down_false_stops_the_gradient():
    def net(**keys):
        both = layer("sum", "Eltwise", ["a", "b"], **keys)
        return build(source("x"), source("t"), ip("a", "x"), ip("b", "x"), both, loss("sum", "t"))

    assert ran_backward(net()) == ["loss", "sum", "b", "a"]
    assert ran_backward(net(propagate_down=[False, True])) == ["loss", "sum", "b"]
    assert ran_backward(net(propagate_down=[False, False])) == []  # nothing learns by it
    (_, all_), (_, some) = gradients(net()), gradients(net(propagate_down=[False, True]))
    np.testing.assert_array_equal(all_["b"][0], some["b"][0])
    assert not some["a"][0].any()


def test_propagate_down_false_on_one_of_two_readers():
    stopped = build(
        source("x"),
        source("t"),
        ip("a", "x"),
        ip("b", "a", propagate_down=False),
        loss("b", "t"),
        loss("a", "t", name="l"),
    )
    alone = build(source("x"), source("t"), ip("a", "x"), loss("a", "t", name="l"))
    np.testing.assert_allclose(gradients(stopped)[1]["a"][0], gradients(alone)[1]["a"][0], rtol=1e-13)


def test_propagate_down_true_gives_inputs_a_gradient():
    net = build(source("x"), source("t"), ip("a", "x", propagate_down=True), loss("a", "t"))
    assert_numeric(net, "x")
    through = build(source("x"), source("t"), layer("s", "Sigmoid", "x", propagate_down=True), ip("a"), loss("a", "t"))
    assert ran_backward(through) == ["loss", "a", "s"]
    assert_numeric(through, "x")


def test_force_backward_computes_every_gradient():
    net = build(
        source("x"),
        source("t"),
        layer("s", "Sigmoid", "x"),
        ip("a", "s", param=FIXED),
        ip("b", "s"),
        layer("sum", "Eltwise", ["a", "b", "x"]),
        loss("sum", "t"),
        force_backward=True,
    )
    assert {step.spec.name for step in net.steps if step.needs_backward} == {"s", "a", "b", "sum", "loss"}
    assert_numeric(net, "x", "t")
    assert net.params["a"][0].diff.any()


def test_force_backward_leaves_out_what_has_no_gradient():
    net = build(
        source("x", (3, 4)),
        layer("label", "Input", shape=[3]),
        ip("a", "x"),
        layer("right", "Accuracy", ["a", "label"]),
        layer("l", "SoftmaxWithLoss", ["a", "label"]),
        force_backward=True,
        inputs=("x",),
    )
    assert ran_backward(net) == ["l", "a"]
    assert_numeric(net, "x")


# Parameters by name


def shared(name, bottom, **keys):
    """An InnerProduct whose weight is called ``w`` and whose bias is its own."""
    return ip(name, bottom, param=[{"name": "w", **keys}, {}])


def test_a_name_is_one_parameter():
    net = build(source("x"), source("t"), shared("a", "x"), shared("b", "a"), loss("b", "t"))
    (wa, ba), (wb, bb) = net.params["a"], net.params["b"]
    assert np.shares_memory(wa.data, wb.data)
    assert np.shares_memory(wa.diff, wb.diff)
    assert not np.shares_memory(ba.data, bb.data)
    assert [p.name for p in net.parameters] == ["a[0]", "a[1]", "b[1]"]
    assert net.flat.count == 16 + 4 + 4


def test_gradients_of_a_shared_parameter_add_up():
    net = build(source("x"), source("t"), shared("a", "x"), layer("s", "Sigmoid"), shared("b", "s"), loss("b", "t"))
    assert_numeric(net)
    apart = build(source("x"), source("t"), ip("a", "x"), layer("s", "Sigmoid"), ip("b", "s"), loss("b", "t"))
    for name in ("a", "b"):
        for blob, values in zip(apart.params[name], net.params[name], strict=True):
            blob.data[...] = values.data
    _, diffs = gradients(apart)
    np.testing.assert_allclose(gradients(net)[1]["a"][0], diffs["a"][0] + diffs["b"][0], rtol=1e-12)


def test_the_first_layer_fills_a_shared_parameter():
    alone = build(source("x"), ip("a", "x"))
    net = build(source("x"), shared("a", "x"), shared("b", "a") | {"weight_filler": 7, "bias_filler": 3})
    np.testing.assert_array_equal(net.params["b"][0].data, alone.params["a"][0].data)
    np.testing.assert_array_equal(net.params["b"][1].data, np.full(4, 3))


def test_siamese_branches_equal_one_branch_on_both_inputs():
    def twin(name, bottom):
        return ip(name, bottom, param=[{"name": "w"}, {"name": "b"}])

    square = {"operation": "PROD", "loss_weight": 1}
    inputs = [source("x"), source("t")]
    pair = build(
        *inputs,
        twin("left", "x"),
        twin("right", "t"),
        layer("y", "Concat", ["left", "right"], axis=0),
        layer("z", "Eltwise", ["y", "y"], **square),
    )
    one = build(
        *inputs,
        layer("both", "Concat", ["x", "t"], axis=0),
        ip("left", "both"),
        layer("z", "Eltwise", ["left", "left"], **square),
    )
    assert_same_gradients(pair, one)


def test_permissive_sharing_needs_only_an_equal_count():
    def net(**keys):
        return [
            source("x", (2, 4)),
            source("y", (2, 6)),
            layer("a", "InnerProduct", "x", num_output=3, bias_term=False, param={"name": "w"}),
            layer("b", "InnerProduct", "y", num_output=2, bias_term=False, param={"name": "w", **keys}),
            layer("s", "Eltwise", ["b", "b"], operation="PROD", loss_weight=1),
            layer("u", "Eltwise", ["a", "a"], operation="PROD", loss_weight=1),
        ]

    permissive = build(*net(share_mode="PERMISSIVE"), inputs=("x", "y"))
    (a,), (b,) = permissive.params["a"], permissive.params["b"]
    assert (a.shape, b.shape) == ((3, 4), (2, 6))
    np.testing.assert_array_equal(a.data.ravel(), b.data.ravel())
    assert_numeric(permissive)
    for keys in ({}, {"share_mode": "STRICT"}):
        assert problems(*net(**keys)) == [
            "InnerProduct `b`: the blob `w`, shared with `a`, must have the same shape (share_mode STRICT), "
            "got 3 x 4 and 2 x 6"
        ]


def test_permissive_sharing_with_a_different_count():
    (message,) = problems(source("x"), shared("a", "x"), shared("b", "x", share_mode="PERMISSIVE") | {"num_output": 5})
    assert message.endswith("must have the same count (share_mode PERMISSIVE), got 4 x 4 and 5 x 4")


@pytest.mark.parametrize("key", ["lr_mult", "decay_mult"])
@pytest.mark.parametrize(
    ("values", "expected"),
    [((3, None), 3), ((None, 3), 3), ((3, 3), 3), ((None, None, 3), 3), ((None, 0), 0), ((None, None), 1)],
)
def test_a_multiplier_may_be_set_on_any_of_those_that_share(key, values, expected):
    layers = [shared(f"l{i}", "x", **({} if v is None else {key: v})) for i, v in enumerate(values)]
    net = build(source("x"), *layers)
    assert getattr(net.parameters[0], key) == expected


@pytest.mark.parametrize("key", ["lr_mult", "decay_mult"])
@pytest.mark.parametrize(("values", "clash"), [((2, 3), "2 and 3"), ((None, 2, 3), "2 and 3"), ((1, 2), "1 and 2")])
def test_multipliers_of_a_shared_parameter_must_agree(key, values, clash):
    layers = [shared(f"l{i}", "x", **({} if v is None else {key: v})) for i, v in enumerate(values)]
    (message,) = problems(source("x"), *layers)
    there, _, here = clash.partition(" and ")
    assert f"{key} of `w`, shared with" in message
    assert f"is {here} here and {there} there" in message


def test_more_param_entries_than_blobs():
    assert problems(source("x"), ip("a", "x", param=[{}, {}, {}])) == [
        "InnerProduct `a` has 2 parameter blobs, got 3 entries"
    ]
