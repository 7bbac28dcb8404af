"""Blocks: a spec with them is the spec written out, and what is wrong in one is shown with its use."""

import json
from itertools import product
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.net.expansion import expand
from nettrain.net.graph import _included
from nettrain.net.netspec import load
from nettrain.net.presence import restrict
from nettrain.net.records import Common, State
from nettrain.solver.snapshot import read_snapshot
from nettrain.spec.errors import Problems, SpecError
from nettrain.spec.node import Node
from nettrain.spec.reader import Reader
from nettrain.spec.reading import read_text

HEAD = "name: small\nsolver: {base_lr: 0.1, momentum: 0.9, max_iter: 8, random_seed: 5, display: 0, test_interval: 4}\n"
DATA = """\
- {name: digits, type: Data, source: digits, batch_size: 16, top: [data, label]}
- {name: image, type: Reshape, bottom: data, shape: [0, 1, 8, 8]}
"""
END = """\
- {name: ip, type: InnerProduct, num_output: 10, weight_filler: xavier}
- {name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}
"""
RESIDUAL = """\
blocks:
  residual:
    parameters: {channels: , stride: 1}
    layers:
    - {name: conv1, type: Convolution, num_output: $channels, kernel_size: 3, pad: 1, stride: $stride}
    - {name: bn1, type: BatchNorm, affine: true, top: conv1}
    - {name: relu1, type: ReLU, top: conv1}
    - {name: conv2, type: Convolution, num_output: $channels, kernel_size: 3, pad: 1, weight_filler: msra}
    - {name: short, type: Convolution, bottom: in, num_output: $channels, kernel_size: 1, stride: $stride}
    - {name: sum, type: Eltwise, bottom: [conv2, short]}
    - {name: relu, type: ReLU, top: sum}
"""


def residual(name, bottom, top, channels, stride):
    """The block above, written out."""
    conv = f"type: Convolution, num_output: {channels}"
    return f"""\
- {{name: {name}/conv1, {conv}, bottom: {bottom}, kernel_size: 3, stride: {stride}, pad: 1}}
- {{name: {name}/bn1, type: BatchNorm, affine: true, bottom: {name}/conv1, top: {name}/conv1}}
- {{name: {name}/relu1, type: ReLU, bottom: {name}/conv1, top: {name}/conv1}}
- {{name: {name}/conv2, {conv}, bottom: {name}/conv1, kernel_size: 3, pad: 1, weight_filler: msra}}
- {{name: {name}/short, {conv}, bottom: {bottom}, kernel_size: 1, stride: {stride}}}
- {{name: {name}/sum, type: Eltwise, bottom: [{name}/conv2, {name}/short], top: {top}}}
- {{name: {name}/relu, type: ReLU, bottom: {top}, top: {top}}}
"""


WITH_BLOCKS = f"""{HEAD}{RESIDUAL}layers:
{DATA}- {{name: res2a, type: residual, bottom: image, channels: 4}}
- {{name: res3, type: residual, channels: 6, stride: [2, 1], repeat: 3}}
{END}"""
WRITTEN_OUT = f"""{HEAD}layers:
{DATA}{residual("res2a", "image", "res2a", 4, 1)}\
{residual("res3/1", "res2a", "res3/1", 6, 2)}{residual("res3/2", "res3/1", "res3/2", 6, 1)}\
{residual("res3/3", "res3/2", "res3", 6, 1)}{END}"""

pytestmark = pytest.mark.usefixtures("workdir")


def rows(spec, phase="TRAIN"):
    """What each layer of a net is, reads and makes."""
    net = nettrain.Net(spec, phase)
    return [(s.spec.name, s.spec.cls.__name__, s.bottom_keys, s.top_keys, s.loss_weights) for s in net.steps]


def inputs(*names, shape="[2, 3]"):
    return "".join(f"- {{name: {name}, type: Input, shape: {shape}}}\n" for name in names)


def blocks(text, layers):
    """A spec of one block ``b`` and of layers."""
    return f"blocks:\n  b: {text}\nlayers:\n{layers}"


def wrong(spec, *settings):
    with pytest.raises(SpecError) as error:
        nettrain.Net(load(spec, settings), "TRAIN")
    return [problem.message for problem in error.value.problems]


def test_a_net_with_blocks_is_the_net_written_out():
    assert rows(WITH_BLOCKS) == rows(WRITTEN_OUT)
    assert rows(WITH_BLOCKS, "TEST") == rows(WRITTEN_OUT, "TEST")
    assert load(WITH_BLOCKS).flat.to_python()["solver"] == load(WRITTEN_OUT).to_python()["solver"]


def test_what_is_flat_is_a_spec_that_gives_the_same_net():
    flat = load(WITH_BLOCKS).flat
    assert isinstance(flat, Node)
    assert "blocks" not in flat.value
    assert rows(flat.to_python()) == rows(WRITTEN_OUT)
    without = load(WRITTEN_OUT)
    assert without.flat is without.root


def test_training_gives_the_same_bits():
    trained = []
    for name, spec in (("blocks", WITH_BLOCKS), ("flat", WRITTEN_OUT)):
        solver = nettrain.get_solver(spec, out=name)
        solver.solve()
        snapshot = next(Path(name).glob("iter_8*.npz"))
        with np.load(snapshot) as arrays:
            trained.append((list(solver.losses), {key: arrays[key] for key in arrays.files if key not in ("state",)}))
    (losses, arrays), (others, flat) = trained
    assert losses == others
    assert len(losses) > 0
    same = [key for key in arrays if np.issubdtype(arrays[key].dtype, np.floating)]
    assert any("res3/3/conv2" in key for key in same)
    assert arrays.keys() == flat.keys()
    for key in same:
        np.testing.assert_array_equal(arrays[key], flat[key], strict=True)


def test_a_snapshot_keeps_the_blocks_and_is_resumed(nettrain_cli):
    Path("net.yaml").write_text(WITH_BLOCKS)
    nettrain_cli("train", "net.yaml", "--out", "whole")
    nettrain_cli("train", "net.yaml", "--set", "solver.max_iter=4", "--out", "parts")
    told = nettrain_cli("train", "--resume", "parts", "--set", "solver.max_iter=8").stderr
    assert [line for line in told.splitlines() if "blocks" in line or "layer" in line] == []
    nets = []
    for folder in ("whole", "parts"):
        (newest,) = Path(folder).glob("iter_8*.npz")
        assert read_snapshot(newest).state["spec"]["blocks"] == load(WITH_BLOCKS).to_python()["blocks"]
        nets.append(nettrain.Net(WITH_BLOCKS, "TEST"))
        nets[-1].copy_from(newest)
    np.testing.assert_array_equal(nets[0].flat.data, nets[1].flat.data)


def test_a_resumed_run_tells_what_is_different_in_a_block(nettrain_cli):
    Path("net.yaml").write_text(WITH_BLOCKS)
    nettrain_cli("train", "net.yaml", "--set", "solver.max_iter=4", "--out", "parts")
    Path("net.yaml").write_text(
        WITH_BLOCKS.replace("type: ReLU, top: sum", "type: ReLU, negative_slope: 0.1, top: sum")
    )
    told = nettrain_cli("train", "net.yaml", "--resume", "parts").stderr
    assert "note: blocks.residual.layer.relu.negative_slope is 0.1, in the snapshot it is left out" in told


# Names


def test_the_last_layers_top_is_called_like_the_use():
    layers = inputs("x") + "- {name: u, type: b}\n- {name: after, type: TanH}\n"
    found = rows(blocks("{layers: [{name: a, type: ReLU}, {name: c, type: Sigmoid}]}", layers))
    assert [row[:4] for row in found[1:]] == [
        ("u/a", "ReLU", [("x", 0)], [("u/a", 0)]),
        ("u/c", "Sigmoid", [("u/a", 0)], [("u", 0)]),
        ("after", "TanH", [("u", 0)], [("after", 0)]),
    ]


def test_several_inputs_and_outputs():
    block = "{inputs: [p, q], outputs: [s, d], layers: [{name: s, type: Eltwise, bottom: [p, q]}, \
{name: d, type: Eltwise, bottom: [p, q], coeff: [1, -1]}, {name: unused, type: Silence, bottom: [s]}]}"
    named = rows(
        blocks(
            block,
            inputs("x", "y") + "- {name: u, type: b, bottom: [x, y], top: [plus, minus]}\n- {name: z, type: TanH}\n",
        )
    )
    assert [row[3] for row in named[2:4]] == [[("plus", 0)], [("minus", 0)]]
    assert named[-1][2] == [("plus", 0)]
    plain = rows(blocks(block, inputs("x", "y") + "- {name: u, type: b, bottom: [x, y]}\n"))
    assert [row[3] for row in plain[2:4]] == [[("u/s", 0)], [("u/d", 0)]]


def test_the_next_layer_reads_the_first_output_wherever_it_is_made():
    block = "{outputs: [a], layers: [{name: a, type: ReLU}, {name: c, type: Sigmoid}]}"
    found = rows(blocks(block, inputs("x") + "- {name: u, type: b}\n- {name: after, type: TanH}\n"))
    assert found[-1][2] == [("u", 0)]


def test_a_block_may_work_in_place_on_its_input():
    block = "{layers: [{name: a, type: ReLU, top: in}, {name: c, type: Dropout, top: in}]}"
    found = rows(blocks(block, inputs("x") + "- {name: h, type: TanH}\n- {name: u, type: b}\n- {name: z, type: Exp}\n"))
    assert [row[2:4] for row in found[2:]] == [
        ([("h", 0)], [("h", 1)]),
        ([("h", 1)], [("h", 2)]),
        ([("h", 2)], [("z", 0)]),
    ]
    bad = inputs("x") + "- {name: u, type: b, top: other}\n"
    assert wrong(blocks(block, bad)) == ["b `u` works in place, so its top has the name of its bottom, x; got other"]


def test_copies_are_numbered_and_the_last_is_called_like_the_use():
    block = "{parameters: {k: 1}, layers: [{name: a, type: Power, scale: $k}]}"
    found = rows(blocks(block, inputs("x") + "- {name: u, type: b, repeat: 3, k: [2, 5], top: y}\n"))
    assert [row[:4] for row in found[1:]] == [
        ("u/1/a", "Power", [("x", 0)], [("u/1", 0)]),
        ("u/2/a", "Power", [("u/1", 0)], [("u/2", 0)]),
        ("u/3/a", "Power", [("u/2", 0)], [("y", 0)]),
    ]
    spec = load(blocks(block, inputs("x") + "- {name: u, type: b, repeat: 3, k: [2, 5]}\n"))
    assert [layer.parameters.scale for layer in spec.layers[1:]] == [2, 5, 5]
    assert [layer.name for layer in load(blocks(block, inputs("x") + "- {name: u, type: b, repeat: 1}\n")).layers] == [
        "x",
        "u/1/a",
    ]


def test_further_inputs_are_the_same_for_all_copies():
    block = "{inputs: [h, context], layers: [{name: a, type: Eltwise, bottom: [h, context]}]}"
    found = rows(blocks(block, inputs("x", "y") + "- {name: u, type: b, bottom: [x, y], repeat: 2}\n"))
    assert [row[2] for row in found[2:]] == [[("x", 0), ("y", 0)], [("u/1", 0), ("y", 0)]]


def test_blocks_nest_whatever_their_order():
    spec = f"""blocks:
  outer: {{parameters: {{n: }}, layers: [{{name: i, type: inner, m: 2 * $n, repeat: $n}}, {{name: r, type: ReLU}}]}}
  inner: {{parameters: {{m: }}, layers: [{{name: p, type: Power, shift: $m + 1}}]}}
layers:
{inputs("x")}- {{name: u, type: outer, n: 2}}
"""
    assert [(row[0], row[3]) for row in rows(spec)[1:]] == [
        ("u/i/1/p", [("u/i/1", 0)]),
        ("u/i/2/p", [("u/i", 0)]),
        ("u/r", [("u", 0)]),
    ]
    assert [layer.parameters.shift for layer in load(spec).layers[1:3]] == [5, 5]
    assert load(spec).layers[1].names == ("u/i/1/p", "u/i/1", "u/i", "u")


def test_a_block_in_a_recurrent_cell():
    spec = """blocks:
  step: {parameters: {n: }, layers: [{name: sum, type: InnerProduct, num_output: $n}, {name: squashed, type: TanH}]}
layers:
- {name: x, type: Input, shape: [3, 2, 4]}
- {name: cont, type: Input, shape: [3, 2]}
- name: rnn
  type: Recurrent
  bottom: [x, cont]
  states: {name: h, next: h_next, shape: 5}
  outputs: h_next
  cell:
  - {name: both, type: Concat, bottom: [x, h]}
  - {name: h_next, type: step, n: 5}
"""
    net = nettrain.Net(spec, "TRAIN")
    assert net.blobs["rnn"].shape == (3, 2, 5)
    assert [blob.shape for blob in net.params["rnn"]] == [(5, 9), (5,)]
    assert load(spec).uses == []


# Parameters


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("$a", 3),
        ("2 * $a", 6),
        ("$a + 1", 4),
        ("$a+$b*2", 4.0),
        ("$b * $b + -1", -0.75),
        ("1e1 * $a", 30.0),
        ("$t", "MAX"),
        ("$t/$a.txt", "MAX/3.txt"),
        ("x$$a", "x$a"),
        ("$name/w", "u/w"),
        ("$yes", True),
        ("[$a, {x: $b}]", [3, {"x": 0.5}]),
        ("$list", [1, 2]),
        ("costs $ 5", "costs $ 5"),
    ],
)
def test_values_of_parameters(written, value):
    block = "{parameters: {a: 3, b: 0.5, t: MAX, yes: true, list: [1, 2], v: }, layers: [{name: n, type: ReLU, z: %s}]}"
    text = blocks(block % written, "- {name: u, type: b, v: 1}\n")
    problems = Problems()
    layers = expand(read_text(text, "net.yaml"), Reader(problems)).root.value["layers"]
    assert [(problem.message) for problem in problems.found] == ["give `u` its `bottom`: no layer comes before it"]
    text = blocks(block % written, "- {name: u, type: b, v: 1, bottom: x}\n")
    layers = expand(read_text(text, "net.yaml"), Reader(Problems())).root.value["layers"].to_python()
    assert layers[0]["z"] == value
    assert type(layers[0]["z"]) is type(value)


def test_a_default_may_be_made_from_other_parameters():
    block = "{parameters: {n: , m: 4 * $n}, layers: [{name: a, type: InnerProduct, num_output: $m}]}"
    spec = load(blocks(block, inputs("x") + "- {name: u, type: b, n: 2}\n- {name: v, type: b, n: 2, m: 3}\n"))
    assert [layer.parameters.num_output for layer in spec.layers[1:]] == [8, 3]


def test_a_type_may_be_a_parameter():
    block = "{parameters: {f: ReLU}, layers: [{name: a, type: $f}]}"
    spec = load(blocks(block, inputs("x") + "- {name: u, type: b, f: TanH}\n- {name: v, type: b}\n"))
    assert [layer.cls.__name__ for layer in spec.layers[1:]] == ["TanH", "ReLU"]


def test_a_parameter_name_is_shared_by_all_uses_and_one_with_the_uses_name_is_not():
    def counts(name):
        block = (
            f"{{layers: [{{name: a, type: InnerProduct, num_output: 3, param: [{{name: {name}}}, {{lr_mult: 1}}]}}]}}"
        )
        net = nettrain.Net(
            blocks(block, inputs("x") + "- {name: u, type: b, repeat: 2}\n- {name: v, type: b}\n"), "TRAIN"
        )
        return [
            net.params[layer][0].data is net.params["u/1/a"][0].data for layer in ("u/1/a", "u/2/a", "v/a")
        ], net.flat.count

    assert counts("w")[1] == 9 + 3 * 3
    assert counts("$name/w")[1] == 3 * 9 + 3 * 3


# include, exclude, loss_weight, engine, freeze


@pytest.mark.parametrize(
    ("use", "inner", "train", "test"),
    [
        ("include: train", "", True, False),
        ("exclude: train", "", False, True),
        ("include: train", "include: train", True, False),
        ("include: train", "exclude: test", True, False),
        ("include: train", "include: test", False, False),
        ("exclude: test", "exclude: train", False, False),
        ("exclude: test", "include: [{stage: s}, train]", True, False),
        ("exclude: {phase: TEST, stage: s}", "exclude: {stage: s, min_level: 3}", True, True),
        ("include: {max_level: 0}", "exclude: {min_level: -1, max_level: 2}", False, False),
        ("include: {not_stage: s}", "exclude: {not_stage: t}", False, False),
    ],
)
def test_a_layer_is_there_where_its_rules_and_those_of_the_use_are_met(use, inner, train, test):
    text = blocks(f"{{layers: [{{name: a, type: ReLU, {inner}}}]}}", inputs("x") + f"- {{name: u, type: b, {use}}}\n")
    assert ["u/a" in {row[0] for row in rows(text, phase)} for phase in ("TRAIN", "TEST")] == [train, test]


def test_all_states_of_rules_in_pairs():
    """The rules that are written for both are met where each is met."""
    rules = [
        "train",
        "{stage: [s, t]}",
        "{not_stage: s, phase: TEST}",
        "[{min_level: 1}, {stage: t}]",
        "{max_level: 0, not_stage: [s, t]}",
    ]
    states = [
        State(phase, level, stages)
        for phase in ("TRAIN", "TEST")
        for level in (-1, 0, 1)
        for stages in ((), ("s",), ("t",), ("s", "t"))
    ]

    class Holder:
        def __init__(self, node):
            self.common = Common.from_known(Reader(Problems()), node, "layer")

    def layer(key, rule):
        return read_text(f"{{name: a, type: b, {key}: {rule}}}\n", "net.yaml")

    for (a, x), (b, y) in product(product(("include", "exclude"), rules), repeat=2):
        expected = [_included(Holder(layer(a, x)), state) and _included(Holder(layer(b, y)), state) for state in states]
        node = layer(b, y)
        there = restrict(node, layer(a, x))
        assert [there and _included(Holder(node), state) for state in states] == expected, (a, x, b, y)


def test_loss_weight_goes_to_the_layer_that_makes_the_top():
    block = "{inputs: [x, label], outputs: [l, e], layers: [{name: e, type: EuclideanLoss, bottom: [x, label]}, \
{name: l, type: EuclideanLoss, bottom: [x, label], loss_weight: 7}, {name: n, type: Power, bottom: e, top: e}]}"
    text = blocks(block, inputs("p", "q") + "- {name: u, type: b, bottom: [p, q], loss_weight: [0.3, 0.5]}\n")
    assert {row[0]: row[4] for row in rows(text)[2:]} == {"u/e": [1.0], "u/l": [0.3], "u/n": [0.5]}


def test_engine_goes_to_layers_without_one():
    block = "{layers: [{name: a, type: ReLU}, {name: c, type: ReLU, engine: auto}]}"
    spec = load(blocks(block, inputs("x") + "- {name: u, type: b, engine: numpy}\n"))
    assert [layer.common.engine for layer in spec.layers] == ["DEFAULT", "numpy", "auto"]


@pytest.mark.parametrize("pattern", ["res3", "res3/*", "res3*"])
def test_freeze_knows_uses(pattern):
    solver = nettrain.get_solver(WITH_BLOCKS, settings=[f"solver.freeze={pattern}"])
    frozen = {step.spec.name.split("/")[0] for step in solver.net.steps if step.frozen}
    assert frozen == {"res3"}
    assert sum(step.frozen for step in solver.net.steps) == 21


def test_freeze_of_one_copy():
    solver = nettrain.get_solver(WITH_BLOCKS, settings=["solver.freeze=res3/2"])
    assert {step.spec.name.rpartition("/")[0] for step in solver.net.steps if step.frozen} == {"res3/2"}


# What a layer without `bottom` reads


def test_a_use_reads_what_comes_before_it_in_each_phase():
    data = "- {name: x, type: Input, shape: [2, 3], include: train}\n"
    data += "- {name: y, top: x, type: Input, shape: [2, 3], include: test}\n"
    found = rows(blocks("{layers: [{name: a, type: ReLU}]}", data + "- {name: u, type: b}\n"), "TEST")
    assert found[-1][2] == [("x", 0)]
    data = data.replace("top: x, ", "")
    assert wrong(blocks("{layers: [{name: a, type: ReLU}]}", data + "- {name: u, type: b}\n")) == [
        "give `u` its `bottom`: what comes before it depends on the phase: x, y"
    ]


def test_layers_of_one_phase_in_a_block():
    block = "{layers: [{name: d, type: Dropout, include: train, top: in}, {name: a, type: ReLU}, \
{name: t, type: TanH, include: test, top: a}, {name: c, type: Exp}]}"
    text = blocks(block, inputs("x") + "- {name: h, type: Log}\n- {name: u, type: b}\n")
    assert [row[2] for row in rows(text, "TEST")[2:]] == [[("h", 0)], [("u/a", 0)], [("u/a", 1)]]
    assert [row[2] for row in rows(text, "TRAIN")[2:]] == [[("h", 0)], [("h", 1)], [("u/a", 0)]]


def test_a_block_of_data_layers_needs_no_bottom():
    block = "{inputs: [], layers: [{name: d, type: Input, shape: [[2, 3], [2]], top: [data, label]}]}"
    found = rows(
        blocks(block, "- {name: u, type: b, top: [data, label]}\n- {name: ip, type: InnerProduct, num_output: 2}\n")
    )
    assert found[-1][2] == [("data", 0)]


# --set


def test_a_parameter_of_a_use_is_set():
    net = nettrain.Net(
        WITH_BLOCKS,
        "TRAIN",
        settings=["res2a.channels=3", "blocks.residual.conv2.kernel_size=1", "blocks.residual.conv2.pad=0"],
    )
    assert net.blobs["res2a"].shape[1] == 3
    assert net.params["res3/1/conv2"][0].shape[2:] == (1, 1)
    defaults = nettrain.Net(WITH_BLOCKS, "TRAIN", settings=["blocks.residual.parameters.stride=2"])
    assert defaults.blobs["res2a"].shape[2] == 4


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "res2a/conv1.num_output=3",
            "`res2a/conv1` is written in the block `residual`; blocks.residual.conv1.num_output sets it in every use, "
            "and these set a parameter of this one: res2a.channels, res2a.stride",
        ),
        ("res2a=3", "`res2a` is a use of the block `residual`; set one of its keys, such as res2a.channels=…"),
        ("res2a.chanels=3", "residual has no key `chanels`; did you mean `res2a.channels`?"),
        ("blocks.residul.conv1.pad=1", "there is no block `residul`; did you mean `residual`?"),
        ("blocks.residual.layers.conv1.pad=1", "a layer is addressed by its name: `blocks.residual.conv1.pad`"),
        ("blocks.residual.stride=2", "`stride` is a parameter of the block; blocks.residual.parameters.stride=… gives"),
        ("res3/1.stride=2", "`res3/1` is a copy of `res3`, whose parameters take a list with a value for each: res3."),
        ("res3/4/conv7.pad=2", "there is no layer `res3/4/conv7`; the layers are "),
    ],
)
def test_settings_that_are_wrong(setting, message):
    (only,) = wrong(WITH_BLOCKS, setting)
    assert message in only


def test_a_setting_of_a_layer_in_nested_blocks_names_the_block_it_is_written_in():
    spec = blocks(
        "{layers: [{name: p, type: c, repeat: 2}]}\n  c: {layers: [{name: q, type: ReLU}]}",
        inputs("x") + "- {name: u/v, type: b}\n",
    )
    for setting, words in (
        ("u/v/p/2/q.top=z", "`u/v/p/2/q` is written in the block `c`; blocks.c.q.top sets it in every use"),
        ("u/v/p/2.top=z", "`u/v/p/2` is written in the block `b`; blocks.b.p.top sets it in every use"),
    ):
        assert wrong(spec, setting) == [words]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ("{n: 2 * $m, m: 3}", "a default is made from parameters that stand before it; `m` stands after it"),
        ("{n: 2 * $l, m: 3}", "block `b` has no parameter `l`; it has n, m"),
    ],
)
def test_a_default_of_what_is_not_there_is_one_error(parameters, message):
    layer = "{name: a, type: InnerProduct, num_output: $n}, {name: c, type: InnerProduct, num_output: $m}"
    spec = blocks(f"{{parameters: {parameters}, layers: [{layer}]}}", inputs("x") + "- {name: u, type: b}\n")
    assert wrong(spec) == [message]


def test_a_use_with_the_name_of_the_one_before():
    uses = "- {name: u, type: b}\n- {name: u, type: b}\n"
    spec = blocks("{layers: [{name: a, type: ReLU}]}", inputs("x") + uses)
    assert wrong(spec) == ["the name `u` is used twice; first at spec:5:3"]


# Limits


@pytest.mark.parametrize(
    "spec",
    [
        blocks("{layers: [{name: a, type: ReLU}]}", inputs("x") + "- {name: u, type: b, repeat: 1000000000}\n"),
        blocks(
            "{layers: [{name: a, type: ReLU, include: test}]}",
            inputs("x") + "- {name: u, type: b, repeat: 1000000000, include: train}\n",
        ),
        "blocks:\n  b0: {layers: [{name: a, type: ReLU}]}\n"
        + "".join(f"  b{i}: {{layers: [{{name: a, type: b{i - 1}, repeat: 20}}]}}\n" for i in range(1, 9))
        + "layers:\n- {name: x, type: Input, shape: [1]}\n- {name: u, type: b8}\n",
        "blocks:\n  b0: {parameters: {v: }, layers: [{name: a, type: ReLU, z: $v}]}\n"
        + "".join(
            f"  b{i}: {{parameters: {{v: }}, layers: [{{name: a, type: b{i - 1}, v: [$v, $v]}}]}}\n"
            for i in range(1, 40)
        )
        + "layers:\n- {name: x, type: Input, shape: [1]}\n- {name: u, type: b39, v: 1}\n",
    ],
    ids=["repeat", "nothing", "nested", "values"],
)
def test_what_grows_without_bound_is_refused_at_once(monkeypatch, spec):
    monkeypatch.setattr("nettrain.spec.template.MOST_NODES", 6_000)
    (message,) = wrong(spec)
    assert message == "with its blocks written out, the spec has more than 6,000 values; is a `repeat` too large?"


@pytest.mark.parametrize(("value", "words"), [("$v * $v", "too large a number"), ("$v$v", "is too long")])
def test_values_that_grow_with_each_block_are_refused(value, words):
    spec = "blocks:\n  b0: {parameters: {v: }, layers: [{name: a, type: ReLU, z: $v}]}\n"
    spec += "".join(
        f"  b{i}: {{parameters: {{v: }}, layers: [{{name: a, type: b{i - 1}, v: {value}}}]}}\n" for i in range(1, 60)
    )
    spec += "layers:\n- {name: x, type: Input, shape: [1]}\n- {name: u, type: b59, v: 10}\n"
    (message,) = wrong(spec)
    assert words in message


def test_blocks_nested_deeper_than_any_net():
    spec = "blocks:\n  b0: {layers: [{name: a, type: ReLU}]}\n"
    spec += "".join(f"  b{i}: {{layers: [{{name: a, type: b{i - 1}}}]}}\n" for i in range(1, 3000))
    (message,) = wrong(spec + "layers:\n- {name: x, type: Input, shape: [1]}\n- {name: u, type: b2999}\n")
    assert message == "blocks are nested deeper than 100 levels"


# What is told


def test_an_error_has_its_place_in_the_block_and_its_uses():
    Path("net.yaml").write_text(
        WITH_BLOCKS.replace("stride: [2, 1]", "stride: [0, 1]").replace(
            "type: ReLU, top: conv1", "type: ReLU, tip: conv1"
        )
    )
    with pytest.raises(SpecError) as error:
        load("net.yaml")
    first, second, third = error.value.problems
    assert str(first).splitlines()[-2:] == [
        "   `$stride` is 0, given at net.yaml:18:54",
        "   used by `res3/1` at net.yaml:18:3",
    ]
    assert first.place.line == 7
    assert second.message.startswith("ReLU has no key `tip`")
    assert second.all_details == ("used by `res2a` at net.yaml:17:3; the same in `res3/1`, `res3/2`, `res3/3`",)
    assert third.place.line == 11


def test_the_command_line_and_json_tell_the_use(nettrain_cli):
    Path("net.yaml").write_text(WITH_BLOCKS.replace("kernel_size: 1,", "kernel_size: 9,"))
    told = nettrain_cli("check", "net.yaml", exit_code=2)
    assert "used by `res2a` at net.yaml:17:3" in told.stderr
    data = json.loads(nettrain_cli("check", "net.yaml", "--json", exit_code=2).stdout)
    assert any("used by `res2a` at net.yaml:17:3" in detail for error in data["errors"] for detail in error["details"])


def test_warnings_of_what_is_not_used():
    spec = load(
        "blocks:\n  b: {parameters: {n: 1}, layers: [{name: a, type: ReLU}]}\n"
        "  c: {layers: [{name: a, type: b}]}\nlayers:\n" + inputs("x")
    )
    assert [warning.message for warning in spec.warnings] == [
        "block `b` makes no use of its parameter `n`",
        "the block `b` is never used",
        "the block `c` is never used",
    ]


def test_summary_has_a_row_for_each_use(nettrain_cli):
    Path("net.yaml").write_text(WITH_BLOCKS)
    shown = nettrain_cli("summary", "net.yaml", "--blocks").stdout
    assert "residual channels: 6, stride: [2, 1] x 3" in shown
    assert "res3/1" not in shown
    data = json.loads(nettrain_cli("summary", "net.yaml", "--json").stdout)
    rows = {row["name"]: row for row in data["blocks"]}
    assert list(rows) == ["digits", "image", "res2a", "res3", "ip", "loss"]
    assert rows["res3"] == {
        "name": "res3",
        "type": "residual",
        "tops": {"res3": [16, 6, 4, 4]},
        "layers": 21,
        "repeat": 3,
        "given": {"channels": 6, "stride": [2, 1]},
    } | {
        key: sum(layer[key] for layer in data["layers"] if layer["name"].startswith("res3/"))
        for key in ("parameters", "multiply_adds", "bytes")
    }
    for key in ("parameters", "multiply_adds", "bytes"):
        assert sum(row[key] for row in data["blocks"]) == data["totals"][key]


def test_explain_shows_the_layers_of_a_use(nettrain_cli):
    Path("net.yaml").write_text(WITH_BLOCKS)
    data = json.loads(nettrain_cli("explain", "net.yaml", "--layer", "res2a", "--sample", "0", "--json").stdout)
    assert "res2a/conv1" in json.dumps(data)
    assert "res3/1/conv2" not in json.dumps(data)


def test_the_page_about_blocks_tells_the_truth(nettrain_cli):
    page = (Path(nettrain.__file__).parent / "docs" / "blocks.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    Path("net.yaml").write_text(example)
    settings = ["res2a.channels=32", "blocks.residual.conv2.weight_filler=msra", "solver.max_iter=6"]
    solver = nettrain.get_solver("net.yaml", settings=settings)
    solver.solve()
    assert max(solver.losses) < 5
    assert json.loads(nettrain_cli("check", "net.yaml", "--json").stdout)["warnings"] == []
    Path("net.yaml").write_text(example.replace("channels: 8}", "channels: -3}"))
    assert page.split("```text\n")[1].split("```")[0] in nettrain_cli("check", "net.yaml", exit_code=2).stderr


WHOLE = """\
blocks:
  conv_bn:
    parameters: {id: , n: 8}
    layers:
    - {name: /conv$(id), type: Convolution, num_output: $n, kernel_size: 1}
    - {name: /bn$(id), type: BatchNorm, top: /conv$(id)}
  residual:
    parameters: {id: , stride: 1}
    layers:
    - {name: a, type: conv_bn, id: $(id)_a}
    - {name: b, type: conv_bn, bottom: in, id: $(id)_b}
    - {name: /sum$(id), type: Eltwise, bottom: [/conv$(id)_a, /conv$(id)_b], top: /res$id}
    - {name: relu, type: ReLU, top: /res$(id)}
    - {name: end, type: Pooling, stride: $stride, bottom: /res$id, kernel_size: 1, top: /res$(id)_end}
layers:
- {name: data, type: Input, shape: [2, 3, 4, 4]}
- {name: one, type: residual, id: 2a, stride: 2}
- {name: more, type: residual, repeat: 2, id: [2b, 2c]}
- {name: c, type: Eltwise, bottom: [res2b_end, res2c_end, res2c]}
- {name: last, type: conv_bn, bottom: res2a, top: other, id: 9}
"""


def whole_names(use, name, bottom, stride=1):
    return f"""\
- {{name: conv{name}_a, type: Convolution, bottom: {bottom}, num_output: 8, kernel_size: 1}}
- {{name: bn{name}_a, type: BatchNorm, bottom: conv{name}_a, top: conv{name}_a}}
- {{name: conv{name}_b, type: Convolution, bottom: {bottom}, num_output: 8, kernel_size: 1}}
- {{name: bn{name}_b, type: BatchNorm, bottom: conv{name}_b, top: conv{name}_b}}
- {{name: sum{name}, type: Eltwise, bottom: [conv{name}_a, conv{name}_b], top: res{name}}}
- {{name: {use}/relu, type: ReLU, bottom: res{name}, top: res{name}}}
- {{name: {use}/end, type: Pooling, kernel_size: 1, bottom: res{name}, stride: {stride}, top: res{name}_end}}
"""


def test_names_that_begin_with_a_slash_are_whole():
    flat = f"""layers:
- {{name: data, type: Input, shape: [2, 3, 4, 4]}}
{whole_names("one", "2a", "data", 2)}{whole_names("more/1", "2b", "res2a_end")}\
{whole_names("more/2", "2c", "res2b_end")}
- {{name: c, type: Eltwise, bottom: [res2b_end, res2c_end, res2c]}}
- {{name: conv9, type: Convolution, bottom: res2a, top: other, num_output: 8, kernel_size: 1}}
- {{name: bn9, type: BatchNorm, bottom: other, top: other}}
"""
    assert rows(WHOLE, "TEST") == rows(flat, "TEST")
    assert [use.tops for use in load(WHOLE).uses] == [("res2a_end",), ("res2c_end",), ("other",)]


def test_a_setting_of_a_layer_with_a_whole_name_is_of_its_block():
    assert wrong(WHOLE, "conv2b_a.num_output=4") == [
        "`conv2b_a` is written in a block; blocks.conv_bn./conv$(id).num_output sets it in every use"
    ]
    net = nettrain.Net(load(WHOLE, ["blocks.conv_bn./conv$(id).num_output=4"]), "TEST")
    assert net.blobs["conv2b_a"].shape[1] == 4
