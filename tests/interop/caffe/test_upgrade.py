"""Nets of older Caffes, as text and in binary, become what Caffe itself makes of them."""

import contextlib

import pytest
from google.protobuf import text_format
from nettrain.interop.caffe.classes import classes
from nettrain.interop.caffe.specs import read_spec
from nettrain.spec.errors import NettrainError, Problems, SpecError

FORMS = ["text", "binary"]


def read(text, form, tmp_path):
    """The layers of a net as plain mappings, and the messages of warnings and notes."""
    raw = text.encode()
    if form == "binary":
        raw = text_format.Parse(text, classes()["NetParameter"]()).SerializeToString()
    problems = Problems()
    imported = read_spec(raw, tmp_path / "net", "net", problems)
    problems.raise_if_any()
    return imported.root.to_python()["layers"], [said.message for said in (*imported.warnings, *imported.notes)]


def errors_of(text, tmp_path, form="text"):
    with pytest.raises(SpecError) as caught:
        read(text, form, tmp_path)
    return [(problem.place.line, problem.message) for problem in caught.value.problems]


V0 = """
name: "old" input: "data" input_dim: 2 input_dim: 3 input_dim: 8 input_dim: 8
layers { layer { name: "pad1" type: "padding" pad: 2 } bottom: "data" top: "pad1" }
layers { layer { name: "conv1" type: "conv" num_output: 4 kernelsize: 5 stride: 2 group: 1 biasterm: true
    weight_filler { type: "gaussian" std: 0.01 } bias_filler { type: "constant" value: 1 }
    blobs_lr: 1. blobs_lr: 2. weight_decay: 1. weight_decay: 0. }
  bottom: "pad1" top: "conv1" }
layers { layer { name: "relu1" type: "relu" } bottom: "conv1" top: "conv1" }
layers { layer { name: "pool1" type: "pool" pool: AVE kernelsize: 3 stride: 2 pad: 1 } bottom: "conv1" top: "pool1" }
layers { layer { name: "norm1" type: "lrn" local_size: 3 alpha: 0.1 beta: 0.5 k: 2 } bottom: "pool1" top: "norm1" }
layers { layer { name: "cat" type: "concat" concat_dim: 0 } bottom: "norm1" bottom: "pool1" top: "cat" }
layers { layer { name: "drop" type: "dropout" dropout_ratio: 0.2 } bottom: "cat" top: "cat" }
layers { layer { name: "fc" type: "innerproduct" num_output: 7 biasterm: false } bottom: "cat" top: "fc" }
layers { layer { name: "prob" type: "softmax" scale: 2 kernelsize: 4 } bottom: "fc" top: "prob" }
"""


@pytest.mark.parametrize("form", FORMS)
def test_first_generation(form, tmp_path):
    layers, said = read(V0, form, tmp_path)
    assert layers == [
        {"name": "input", "type": "Input", "top": "data", "shape": [2, 3, 8, 8]},
        {
            "name": "conv1",
            "type": "Convolution",
            "bottom": "data",
            "top": "conv1",
            "num_output": 4,
            "kernel_size": 5,
            "stride": 2,
            "group": 1,
            "bias_term": True,
            "weight_filler": {"type": "gaussian", "std": pytest.approx(0.01)},
            "bias_filler": 1,
            "pad": 2,
            "param": [{"lr_mult": 1, "decay_mult": 1}, {"lr_mult": 2, "decay_mult": 0}],
        },
        {"name": "relu1", "type": "ReLU", "bottom": "conv1", "top": "conv1"},
        {"name": "pool1", "type": "Pooling", "bottom": "conv1", "top": "pool1"}
        | {"pool": "AVE", "kernel_size": 3, "stride": 2, "pad": 1},
        {"name": "norm1", "type": "LRN", "bottom": "pool1", "top": "norm1"}
        | {"local_size": 3, "alpha": pytest.approx(0.1), "beta": 0.5, "k": 2},
        {"name": "cat", "type": "Concat", "bottom": ["norm1", "pool1"], "top": "cat", "concat_dim": 0},
        {"name": "drop", "type": "Dropout", "bottom": "cat", "top": "cat", "dropout_ratio": pytest.approx(0.2)},
        {"name": "fc", "type": "InnerProduct", "bottom": "cat", "top": "fc"}
        | {"num_output": 7, "bias_term": False, "weight_filler": 0},
        {"name": "prob", "type": "Softmax", "bottom": "fc", "top": "prob"},
    ]
    assert any("`kernelsize` has no effect in a layer of type softmax" in words for words in said)
    assert any("`transform_param` is left out: Softmax does not transform" in words for words in said)


DATA_V0 = """
layers { layer { name: "d" type: "%s" source: "src" batchsize: 8 %s
    scale: 0.5 meanfile: "m.npy" cropsize: 5 mirror: true }
  top: "data" top: "label" }
"""


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        ("data", "rand_skip: 3", {"type": "Data", "backend": "LMDB", "shuffle": False}),
        (
            "images",
            "shuffle_images: true new_height: 6 new_width: 7",
            {"type": "ImageData", "shuffle": True, "new_height": 6, "new_width": 7},
        ),
        (
            "window_data",
            "det_fg_threshold: 0.25 det_bg_threshold: 0.125 det_fg_fraction: 0.75 "
            'det_context_pad: 3 det_crop_mode: "square"',
            {"type": "WindowData", "fg_threshold": 0.25, "bg_threshold": 0.125, "fg_fraction": 0.75}
            | {"context_pad": 3, "crop_mode": "square"},
        ),
    ],
)
def test_data_of_the_first_generation(form, kind, fields, expected, tmp_path):
    (layer,), _ = read(DATA_V0 % (kind, fields), form, tmp_path)
    transform = {"scale": 0.5, "mean_file": "m.npy", "crop_size": 5, "mirror": True}
    common = {"name": "d", "top": ["data", "label"], "source": "src", "batch_size": 8, "transform": transform}
    assert layer == common | expected


def test_what_the_first_generation_refuses(tmp_path):
    pad = 'layers { layer { name: "p" type: "padding" pad: 1 } bottom: "x" top: "p" }\n'
    ip = 'layers { layer { name: "ip" type: "innerproduct" num_output: 2 } bottom: "p" top: "ip" }\n'
    assert errors_of(pad + ip, tmp_path) == [(2, "padding `p` must have one bottom, and stand before a conv or pool")]
    wrong = 'layers { layer { name: "a" type: "convolve" } }\n'
    assert errors_of(wrong, tmp_path)[0] == (1, "there was no layer type `convolve` in Caffe's first generation")


def test_what_the_first_generation_loses_is_said(tmp_path):
    mixed = V0 + 'layers { name: "late" type: RELU bottom: "prob" top: "late" }\ndebug_info: true\n'
    _, said = read(mixed, "text", tmp_path)
    assert any("Caffe reads its blobs alone" in words for words in said)
    assert any("`debug_info` has no effect in a net of Caffe's first generation" in words for words in said)


V1 = """
name: "second"
layers { name: "d" type: DATA top: "data" top: "label" include { phase: TRAIN }
  data_param { source: "src" batch_size: 8 backend: LMDB scale: 0.5 mirror: true crop_size: 5 mean_file: "m.npy" } }
layers { name: "ip1" type: INNER_PRODUCT bottom: "data" top: "ip1" param: "w" param: "b"
  blob_share_mode: STRICT blob_share_mode: PERMISSIVE blobs_lr: 1 blobs_lr: 2 weight_decay: 1
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layers { name: "t" type: TANH bottom: "ip1" top: "t" }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "t" bottom: "label" top: "l" loss_weight: 0.5
  exclude { phase: TEST stage: "deploy" } }
"""


@pytest.mark.parametrize("form", FORMS)
def test_second_generation(form, tmp_path):
    layers, _ = read(V1, form, tmp_path)
    data, ip1, tanh, loss = layers
    assert data["transform"] == {"scale": 0.5, "mean_file": "m.npy", "crop_size": 5, "mirror": True}
    assert set(data) == {
        "name", "type", "top", "source", "batch_size", "backend", "shuffle", "transform", "include",
    }  # fmt: skip
    assert data["include"] == "train"
    assert ip1["param"] == [
        {"name": "w", "share_mode": "STRICT", "lr_mult": 1, "decay_mult": 1},
        {"name": "b", "share_mode": "PERMISSIVE", "lr_mult": 2},
    ]
    assert tanh == {"name": "t", "type": "TanH", "bottom": "ip1", "top": "t"}
    assert loss["type"] == "SoftmaxWithLoss"
    assert loss["loss_weight"] == 0.5
    assert loss["exclude"] == {"phase": "TEST", "stage": "deploy"}


TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL", "CONCAT": "Concat",
    "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution", "DATA": "Data",
    "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout", "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise",
    "EUCLIDEAN_LOSS": "EuclideanLoss", "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data",
    "HDF5_OUTPUT": "HDF5Output", "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN", "MEMORY_DATA": "MemoryData",
    "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss", "MVN": "MVN", "NONE": "", "POOLING": "Pooling",
    "POWER": "Power", "RELU": "ReLU", "SIGMOID": "Sigmoid",
    "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss", "SILENCE": "Silence", "SLICE": "Slice",
    "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss", "SPLIT": "Split", "TANH": "TanH",
    "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
}  # fmt: skip


def test_names_of_types():
    from nettrain.interop.caffe.schema import enums
    from nettrain.interop.caffe.upgrade import v2_type
    from nettrain.net import registry

    known = [name for name, number in enums()["V1LayerParameter.LayerType"].items() if number >= 0]
    assert {name: v2_type(name) for name in known} == TYPES
    assert [name for name in TYPES.values() if name and registry.layer_type(name) is None] == []


@pytest.mark.parametrize("form", FORMS)
def test_old_transforms(form, tmp_path):
    """V1 WindowData's scale is moved where nobody reads it; in V2 the old fields are never looked at."""
    fields = 'source: "s" batch_size: 2 scale: 0.5 crop_size: 4'
    window = f'layers {{ name: "w" type: WINDOW_DATA top: "x" window_data_param {{ {fields} }} }}'
    (layer,), said = read(window, form, tmp_path)
    assert "scale" not in layer
    assert layer["transform"] == {"crop_size": 4}
    assert any("`scale` has no effect" in words for words in said)
    new = 'layer { name: "d" type: "Data" top: "x" data_param { source: "s" batch_size: 2 scale: 0.5 mirror: true } }'
    (layer,), said = read(new, form, tmp_path)
    assert "transform" not in layer
    assert sum("Caffe reads it in transform_param alone" in words for words in said) == 2
    window = (
        'layer { name: "w" type: "WindowData" top: "x" window_data_param { source: "s" batch_size: 2 scale: 0.5 } }'
    )
    (layer,), _ = read(window, form, tmp_path)
    assert layer["scale"] == 0.5


def test_two_generations_in_one_file(tmp_path):
    text = 'layer { name: "a" type: "ReLU" }\nlayers { name: "b" type: RELU }\n'
    assert errors_of(text, tmp_path)[0] == (2, "`layers` and `layer` in one file (line 1); Caffe takes one kind")


RELU = '\nlayer { name: "r" type: "ReLU" bottom: "a" top: "y" }\n'


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("input: 'a' input_dim: 1 input_dim: 2 input_dim: 3 input_dim: 4", {"top": "a", "shape": [1, 2, 3, 4]}),
        ("input: 'a' input_shape { dim: 5 dim: 6 }", {"top": "a", "shape": [5, 6]}),
        (
            "input: 'a' input: 'b' input_shape { dim: 5 } input_shape { dim: 6 dim: 7 }",
            {"top": ["a", "b"], "shape": [[5], [6, 7]]},
        ),
    ],
)
def test_inputs(form, fields, expected, tmp_path):
    layers, _ = read(fields + RELU, form, tmp_path)
    assert layers[0] == {"name": "input", "type": "Input"} | expected
    taken, _ = read(fields + RELU.replace('"r"', '"input"'), form, tmp_path)
    assert [layer["name"] for layer in taken] == ["input_2", "input"]


@pytest.mark.parametrize("form", FORMS)
def test_inputs_without_shapes_are_nothing(form, tmp_path):
    layers, _ = read("input: 'a'" + RELU, form, tmp_path)
    assert [layer["name"] for layer in layers] == ["r"]
    layers, _ = read("input_dim: 1" + RELU, form, tmp_path)
    assert [layer["name"] for layer in layers] == ["r"]


def test_too_few_shapes(tmp_path):
    assert errors_of("input: 'a' input: 'b' input_shape { dim: 5 }" + RELU, tmp_path) == [
        (1, "2 inputs, but not an input_shape for each")
    ]
    assert errors_of("input: 'a' input_dim: 5" + RELU, tmp_path) == [(1, "1 inputs, but not four input_dim for each")]


def batch_norm(*params):
    return 'layer { name: "bn" type: "BatchNorm" bottom: "x" top: "x"\n' + "\n".join(params) + "\n}"


@pytest.mark.parametrize("form", FORMS)
def test_statistics_are_not_learned(form, tmp_path):
    (layer,), _ = read(batch_norm(*["param { lr_mult: 1 decay_mult: 1 }"] * 3), form, tmp_path)
    assert layer["param"] == [{"lr_mult": 0, "decay_mult": 0}] * 3
    (layer,), _ = read(batch_norm("param { lr_mult: 0 }"), form, tmp_path)
    assert "statistics" in errors_of(batch_norm("param { lr_mult: 0 }", "param { lr_mult: 1 }"), tmp_path)[0][1]
    assert "three parameters" in errors_of(batch_norm(*["param { }"] * 4), tmp_path)[0][1]


NET = 'net_param { layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 } } } }\n'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("SGD", "SGD"),
        ("NESTEROV", "Nesterov"),
        ("ADAGRAD", "AdaGrad"),
        ("RMSPROP", "RMSProp"),
        ("ADADELTA", "AdaDelta"),
        ("ADAM", "Adam"),
        ("1", "Nesterov"),
        ("5", "Adam"),
    ],
)
def test_types_of_solvers(old, new, tmp_path):
    text = f'{NET}base_lr: 0.1 lr_policy: "fixed" solver_type: {old}'
    problems = Problems()
    solver = read_spec(text.encode(), tmp_path / "s", "s", problems).root.to_python()["solver"]
    assert problems.found == []
    assert solver["type"] == new
    if new == "Adam":
        assert solver["momentum"] == 0  # which is Caffe's, and 0.9 nettrain's
    both = f'{text}\ntype: "SGD"'
    problems = Problems()
    read_spec(both.encode(), tmp_path / "s", "s", problems)
    assert [problem.message for problem in problems.found] == [
        "`solver_type` and `type` cannot stand together; leave out the first"
    ]


def test_what_a_solver_says_that_means_something_else(tmp_path):
    text = f"{NET}clip_gradients: 10 iter_size: 4 random_seed: -1 device_id: 3 snapshot_format: HDF5\n"
    text += 'weights: "a.npz,b.npz"'
    imported = read_spec(text.encode(), tmp_path / "s", "s", Problems())
    solver = imported.root.to_python()["solver"]
    assert solver == {
        "clip_gradients": 2.5,
        "iter_size": 4,
        "random_seed": -1,
        "base_lr": 0,
        "weights": ["a.npz", "b.npz"],
    }
    assert sorted(said.message.split(":")[0] for said in imported.warnings) == [
        "there is no `base_lr`, so nothing is learned",
        "there is no `lr_policy`",
    ]


def test_damaged_binary_nets_are_an_error(tmp_path):
    raw = text_format.Parse(V1, classes()["NetParameter"]()).SerializeToString()
    for cut in range(1, len(raw), 3):
        for hurt in (raw[:cut], raw[:cut] + bytes([raw[cut] ^ 0x55]) + raw[cut + 1 :]):
            with contextlib.suppress(NettrainError):  # and nothing else
                read_spec(hurt, tmp_path / "net", "net", Problems())
