"""What is wrong in a prototxt: all of it at once, each with its place and what would be right. And hostile texts."""

import contextlib
import random
import time

import nettrain
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nettrain.interop.caffe.specs import read_spec
from nettrain.net import netspec
from nettrain.spec.errors import NettrainError, Problems, SpecError

GOOD = """name: "good"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 dim: 6 dim: 6 } } }
layer {
  name: "conv" type: "Convolution" bottom: "x" top: "conv"
  convolution_param {
    num_output: 3 kernel_size: 3
    weight_filler { type: "gaussian" std: 0.1 }
  }
}
layer { name: "pool" type: "Pooling" bottom: "conv" top: "pool" pooling_param { pool: AVE kernel_size: 2 } }
"""


def errors_of(text):
    with pytest.raises(SpecError) as caught:
        netspec.load(text)
    return [(problem.place.line, problem.place.column, problem.message) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "place", "words"),
    [
        ("num_output: 3", "num_ouput: 3", (6, 5), "`num_ouput` is not a field of Caffe's ConvolutionParameter"),
        ("num_output: 3", "num_ouput: 3", (6, 5), "did you mean `num_output`?"),
        ('name: "conv"', 'name: "co\\001nv"', (4, 9), "'co\\x01nv': the character #x01 does not belong in a spec"),
        ("num_output: 3", "num_output: 3.5", (6, 17), "`num_output` must be a whole number, got 3.5"),
        ("num_output: 3", "num_output: -3", (6, 17), "a whole number from 0 to 4,294,967,295, got -3"),
        ("num_output: 3", "num_output: 3 num_output: 4", (6, 19), "`num_output` is written twice; first on line 6"),
        ("num_output: 3", "num_output: { a: 3 }", (6, 17), "`num_output` must be a single value, not { … }"),
        ("std: 0.1", "std: 1/10", (7, 43), "`std` must be a number, 0.1, got 1/10"),
        ("std: 0.1", 'std: "0.1"', (7, 43), 'a number without quotation marks, got "0.1"'),
        ("std: 0.1", "std: 0.1 sdt: 1", (7, 47), "did you mean `std`?"),
        ('type: "gaussian"', "type: gaussian", (7, 27), 'text in quotation marks: type: "gaussian", got gaussian'),
        ("pool: AVE", "pool: AVG", (10, 87), "`pool` has no value AVG; did you mean AVE?"),
        ("pool: AVE", "pool: MEDIAN", (10, 87), "`pool` must be one of MAX, AVE, STOCHASTIC"),
        ('bottom: "conv"', 'botom: "conv"', (10, 38), "did you mean `bottom`?"),
        ("pooling_param {", "pooling_parm {", (10, 65), "did you mean `pooling_param`?"),
        ("pooling_param { pool: AVE kernel_size: 2 }", "pooling_param: 3", (10, 80), "`pooling_param` must be {"),
        ('type: "Pooling"', 'type: "Poling"', (10, 28), "unknown layer type `Poling`; did you mean `Pooling`?"),
        ('type: "Pooling"', "type: POOLING", (10, 28), 'text in quotation marks: type: "POOLING"'),
        ("kernel_size: 2", "kernel_size: 0", (10, 104), "Pooling.kernel_size must be an integer >= 1, got 0"),
    ],
)
def test_one_error_with_its_place_and_what_would_be_right(old, new, place, words):
    assert GOOD.count(old) == 1 or old == "num_output: 3"
    (error,) = errors_of(GOOD.replace(old, new))
    assert error[:2] == place
    assert words in error[2]


def test_the_good_one_is_good():
    assert nettrain.Net(GOOD).blobs["pool"].shape == (1, 3, 3, 3)


def test_everything_at_once():
    text = GOOD.replace("num_output: 3", "num_output: a").replace("std: 0.1", "sdt: 0.1").replace("AVE", "AVG")
    text = text.replace('type: "Input"', 'type: "Inptu"')
    assert [(line, message.split("`")[1]) for line, _, message in errors_of(text)] == [
        (2, "Inptu"),
        (6, "num_output"),
        (7, "sdt"),
        (10, "pool"),
    ]


def test_fields_of_another_types_message_are_ignored_as_in_caffe():
    text = GOOD.replace("convolution_param {", "lrn_param { local_size: 3 } convolution_param {")
    spec = netspec.load(text)
    said = [(p.place.line, p.message) for p in spec.warnings]
    assert said == [(5, "`lrn_param` has no effect in a layer of type Convolution: Caffe ignores it")]


def test_a_missing_net_is_one_error(tmp_path):
    path = tmp_path / "solver.prototxt"
    path.write_text('base_lr: 0.1\nnet: "there/is/none.prototxt"\nbase_rl: 3\n')
    with pytest.raises(SpecError) as caught:
        netspec.load(path)
    found = [(problem.place.line, problem.message) for problem in caught.value.problems]
    assert found[0][0] == 2
    assert "there/is/none.prototxt: the net is not there" in found[0][1]
    assert found[1] == (3, "`base_rl` is not a field of Caffe's solvers; did you mean `base_lr`?")
    assert len(found) == 2


def test_a_solver_without_a_net():
    ((line, _, message),) = errors_of('base_lr: 0.1\nlr_policy: "fixed"\n')
    assert "names no net to train" in message
    assert line == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('item {\n name: "none" }\n', "this is a list of labels (SSD's), not a net"),
        ("layer { # never closed\n", "{"),
        ("layer {\n}}\n", "}"),
    ],
)
def test_what_is_no_net(text, words):
    assert words in errors_of(text)[0][2]


def read(text):
    """Whatever the text, a spec or an error that can be told."""
    with contextlib.suppress(NettrainError):
        netspec.load(text + "\n", problems=Problems())
    with contextlib.suppress(NettrainError):
        read_spec(text.encode("utf-8", "surrogatepass"), netspec.Path("a"), "a", Problems())


V0 = """input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 5 } bottom: "pad1" top: "conv1" }
"""
V1 = """layers { name: "d" type: DATA top: "x" data_param { source: "s" batch_size: 8 scale: 0.5 } }
layers { name: "ip1" type: INNER_PRODUCT bottom: "x" top: "y" param: "w" blobs_lr: 1 blobs_lr: 2 }
"""
FORKS = """layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 2 } } }
layer { name: "b" type: "BN" bottom: "x" top: "b" bn_param { bn_mode: LEARN shift_filler { value: 1 } } }
layer { name: "s" type: "Squeeze" bottom: "b" top: "s" squeeze_param { axis: 1 axis: -2 } }
layer { name: "c" type: "Convolution" bottom: "s" top: "c" convolution_param { num_output: 2 pad_l: 1 pad_b: 0 } }
layer { name: "i" type: "Interp" bottom: "c" top: "i" interp_param { zoom_factor: 2 height: 3 width: 3 } }
layer { name: "l" type: "SoftmaxWithLoss" bottom: "i" bottom: "x" loss_param { class_weighting: 1
  weight_by_label_freqs: true normalization: PRE_FIXED pre_fixed_normalizer: 0 } }
layer { name: "a" type: "Axpy" bottom: "i" bottom: "x" bottom: "x" top: "a" }
layer { name: "h" type: "HardSwish" bottom: "i" top: "i" }
layer { name: "d" type: "DetectionOutput" bottom: "i" top: "d"
  detection_output_param { num_classes: 2 nms_param { top_k: 3 } } }
"""
SOLVER = "base_lr: 0.1 lr_policy: 'step' iter_size: 2 clip_gradients: 3 test_state { stage: 'a' } solver_type: ADAM\n"
SOLVER += 'weights: "a,b" net_param { layer { name: "d" type: "DummyData" top: "x" include { phase: TRAIN } } }\n'
TEXTS = [GOOD, V0, V1, FORKS, SOLVER, SOLVER + 'test_net_param { layer { name: "d" type: "Data" } }']
PIECES = ["{", "}", ":", '"', "'", "\n", "0", "-1", "1e400", "nan", "layer {", "[", "]", "<", ">", "#", ",", "\0", "é"]
PIECES += ["name: ", "type: ", "param { name: 'a' }", "include { phase: TEST }", "99999999999999999999", "\\"]


@pytest.mark.parametrize("text", TEXTS)
def test_damaged_texts_never_end_in_a_traceback(text):
    rng = random.Random(0)
    for _ in range(400):
        at, length = rng.randrange(len(text)), rng.choice([0, 1, 1, 5, 30])
        read(text[:at] + rng.choice([*PIECES, "", chr(rng.randrange(256))]) + text[at + length :])


@pytest.mark.parametrize("text", TEXTS)
def test_words_in_another_order_never_end_in_a_traceback(text):
    rng, words = random.Random(0), text.split(" ")
    for _ in range(200):
        some = words.copy()
        for _ in range(rng.choice([1, 2, 6])):
            i, j = rng.randrange(len(some)), rng.randrange(len(some))
            some[i], some[j] = some[j], some[i]
        read(" ".join(some))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from([*PIECES, *FORKS.split(), *V1.split(), *SOLVER.split()]), max_size=30))
def test_any_words_never_end_in_a_traceback(words):
    read("layer { " + " ".join(words))
    read(" ".join(words))


@pytest.mark.parametrize(
    "piece",
    [
        'layer { name: "a" type: "ReLU" bottom: "a" top: "a" }\n',
        'layer { name: "a" type: "ReLU" include { phase: TRAIN } }\nlayer { name: "a" type: "Pow',
        'layer { name: "d" type: "Data" top: "x" include { phase: TRAIN } }\n',
        "layer { name: 'a' type: 'Squeeze' bottom: 'x' top: 'a' squeeze_param { axis: 1 axis: 2 } }\n",
        "layers { layer { type: 'padding' } bottom: 'x' top: 'x' }\n",
        "input: 'a' ",
        "layer { ",
        "x: 1\n",
        "name: 'a' 'b' 'c'\n",
        "layer { param { } param { name: 'a' } }\n",
    ],
)
def test_long_texts_end_soon(piece):
    text = (piece * (100_000 // len(piece) + 1))[:100_000]
    began = time.perf_counter()
    read(text)
    assert time.perf_counter() - began < 10  # twice as long a text may take twice as long, not four times


def test_more_words_than_any_net_has_are_not_read():
    with pytest.raises(SpecError, match="more than 200,000 words and brackets, too many for a net"):
        read_spec(b"x: 1\n" * 80_000, netspec.Path("a"), "a", Problems())


def test_more_layers_than_any_net_has_are_not_made():
    with pytest.raises(SpecError, match="a:10001:7: more than 10,000 layers, too many for a net"):
        read_spec(b"layer {}\n" * 12_000, netspec.Path("a"), "a", Problems())
