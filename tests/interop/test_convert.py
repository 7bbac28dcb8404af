"""`nettrain convert` for someone who tries it: every pair of kinds, files that are there, folders of others."""

import os
from pathlib import Path

import numpy as np
import pytest
import yaml
from google.protobuf import text_format
from nettrain import Net, Solver
from nettrain.data.lmdb import read_lmdb
from nettrain.interop.caffe.classes import classes
from nettrain.interop.convert import Options, convert
from nettrain.net.netspec import load
from nettrain.spec.errors import NettrainError

ROOT = Path(__file__).parents[2]
SPEC = """solver: {base_lr: 0.1, max_iter: 3, test_interval: 3}
layers:
  - {name: data, type: Data, top: [x, label], source: digits, batch_size: {train: 64, test: 100}, shuffle: false}
  - {name: ip1, type: InnerProduct, bottom: x, num_output: 10}
  - {name: accuracy, type: Accuracy, bottom: [ip1, label], include: test}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}
"""


@pytest.fixture
def files(workdir):
    """A file of each kind."""
    Path("net.yaml").write_text(SPEC)
    Net("net.yaml").save("net.npz")
    convert("net.yaml", "deploy.prototxt", Options())
    for ending in ("caffemodel", "h5", "safetensors"):
        convert("net.npz", f"net.{ending}", Options())
    np.save("mean.npy", np.arange(12, dtype=np.float32).reshape(3, 2, 2))
    convert("mean.npy", "mean.binaryproto", Options())
    convert("net.yaml", "net.onnx", Options(weights="net.npz"))
    state = classes()["SolverState"](iter=3, learned_net="net.caffemodel")
    state.history.add().data[:] = [1, 2]
    Path("net.solverstate").write_bytes(state.SerializeToString())
    Path("odd.bin").write_bytes(b"\xff\x00\x01 odd")
    Path("empty.yaml").write_text("")
    return workdir


SOURCES = ["net.yaml", "deploy_solver.prototxt", "net.npz", "net.caffemodel", "net.h5", "net.safetensors", "mean.npy"]
SOURCES += ["mean.binaryproto", "net.onnx", "net.solverstate", "odd.bin"]
ENDINGS = ["yaml", "yml", "prototxt", "npz", "caffemodel", "h5", "safetensors", "binaryproto", "npy", "onnx", "py"]
WEIGHTS = {"npz", "caffemodel", "h5", "safetensors"}
GOES = {
    "net.yaml": {"yaml", "yml", "prototxt", "onnx", "py"},
    "deploy_solver.prototxt": {"yaml", "yml", "prototxt", "onnx", "py"},
    **{f"net.{ending}": WEIGHTS for ending in WEIGHTS},
    "mean.npy": {"binaryproto"},
    "mean.binaryproto": {"npy"},
    "net.onnx": set(),  # see the tests of onnx_in
}


@pytest.mark.parametrize("source", SOURCES)
def test_every_pair_of_kinds(files, nettrain_cli, source):
    for ending in ENDINGS:
        if (source, ending[:1]) == ("net.onnx", "y"):
            continue
        target = f"new.{ending}"
        goes = ending in GOES.get(source, ())
        result = nettrain_cli("convert", source, "--to", target, exit_code=0 if goes else 2)
        assert os.path.exists(target) == goes
        if goes:
            assert f"wrote {target}" in result.output
        else:
            assert source.partition(".")[0] in result.output  # which file, and what would be right
            assert any(
                word in result.output for word in ("it can become", "give ", "it becomes", "is neither", "already")
            ), target


def test_with_weights_a_spec_becomes_weights(files, nettrain_cli):
    for ending in WEIGHTS:
        nettrain_cli("convert", "net.yaml", "--weights", "net.npz", "--to", f"new.{ending}")
    assert "no such file" in nettrain_cli("convert", "none.yaml", "--to", "a.npz", exit_code=2).output
    missing = nettrain_cli("convert", "net.yaml", "--weights", "none.npz", "--to", "a.npz", exit_code=2)
    assert "none.npz" in missing.output


WITHOUT_EFFECT = [
    (
        ["net.npz", "--to", "a.caffemodel", "--weights", "net.h5"],
        "--weights gives a spec its weights; net.npz is weights",
    ),
    (["deploy.prototxt", "--to", "a.yaml", "--set", "data.batch_size=3"], "--set changes a spec"),
    (["net.yaml", "--to", "a.yaml", "--until", "ip1"], "--until is for nets of Caffe's that become YAML"),
    (["net.yaml", "--to", "a.prototxt", "--flat"], "--flat is for .yaml"),
    (["net.yaml", "--to", "a.yaml", "--inference"], "--inference is for .py"),
    (["net.yaml", "--to", "a.yaml", "--keep-logits"], "--keep-logits is for .onnx"),
    (["net.yaml", "--to", "a.yaml", "--cont", "start"], "--cont is for .onnx"),
    (["net.yaml", "--to", "a.yaml", "--batch", "3"], "--batch is for ONNX models that are read"),
    (["net.yaml", "--to", "a.txt"], "a.txt: what to write is told by its ending"),
    (["net.yaml", "--to", "net.yaml"], "net.yaml is the file that is read"),
    (["net.yaml", "--to", "none/a.yaml"], "cannot write none/a.yaml: there is no folder none"),
    (["empty.yaml", "--to", "a.yaml"], "empty"),
]


@pytest.mark.parametrize(("arguments", "said"), WITHOUT_EFFECT)
def test_what_would_change_nothing_is_said(files, nettrain_cli, arguments, said):
    result = nettrain_cli("convert", *arguments, exit_code=2)
    assert said in result.output
    assert not Path("a.yaml").exists()


def test_nothing_is_written_over_unless_it_may_be(files, nettrain_cli):
    Path("a.prototxt").write_text("mine")
    Path("b_solver.prototxt").write_text("mine")
    for target in ("a", "b"):
        result = nettrain_cli("convert", "net.yaml", "--to", f"{target}.prototxt", exit_code=2)
        assert "is there already; to write over it: --force" in result.output
        assert not [name for name in os.listdir() if name.startswith(f"{target}_data")]  # nor half of it
    nettrain_cli("convert", "net.yaml", "--to", "a.prototxt", "--force")
    nettrain_cli("convert", "net.yaml", "--to", "a.prototxt", "--force")
    Path("c_data_train_lmdb").mkdir()
    Path("c_data_train_lmdb/mine.txt").write_text("mine")
    result = nettrain_cli("convert", "net.yaml", "--to", "c.prototxt", "--force", exit_code=2)
    assert "c_data_train_lmdb is there already, and is no LMDB" in result.output
    assert Path("c_data_train_lmdb/mine.txt").read_text() == "mine"


def test_folders_and_names_that_cannot_be_used(files, nettrain_cli):
    Path("folder.yaml").mkdir()
    assert "folder.yaml" in nettrain_cli("convert", "net.yaml", "--to", "folder.yaml", "--force", exit_code=1).output
    for name in ("a" * 300 + ".yaml", "a\nb.yaml", "-.yaml", "ä ö.prototxt"):
        nettrain_cli("convert", "net.yaml", f"--to={name}", exit_code=(0, 1))
    assert load("ä ö.prototxt").layers
    if os.geteuid():
        Path("shut").mkdir(mode=0o500)
        result = nettrain_cli("convert", "net.yaml", "--to", "shut/a.prototxt", exit_code=1)
        assert "cannot write" in result.output


def test_data_that_caffe_cannot_read_becomes_an_lmdb_of_the_same_batches(files):
    text = Path("deploy.prototxt").read_text()
    assert text.count('type: "Data"') == 2
    for phase in ("TRAIN", "TEST"):
        ours, theirs = Net("net.yaml", phase=phase, seed=1), Net("deploy.prototxt", phase=phase, seed=1)
        ours.copy_from("net.npz"), theirs.copy_from("net.npz")
        for _ in range(3):
            for one, two in zip(ours.forward().values(), theirs.forward().values(), strict=True):
                assert np.allclose(one, two, rtol=1e-5)
            assert np.array_equal(ours.blobs["x"].data, theirs.blobs["x"].data)
            assert np.array_equal(ours.blobs["label"].data, theirs.blobs["label"].data)
    found = read_lmdb(Path("deploy_data_test_lmdb"))
    assert len(found) % 100 < 100


def test_csv_and_generated_data_too(workdir):
    rng = np.random.default_rng(0)
    rows = [
        f"{a:.3f},{b:.3f},{label}"
        for a, b, label in zip(*rng.normal(size=(2, 20)), rng.integers(0, 3, 20), strict=True)
    ]
    Path("a.csv").write_text("a,b,label\n" + "\n".join(rows) + "\n")
    for source in ("a.csv", "spiral"):
        Path("net.yaml").write_text(
            f"layers:\n  - {{name: in/data, type: Data, top: [x, label], source: {source}, batch_size: 4, "
            "shuffle: false}\n"
            "  - {name: ip1, type: InnerProduct, bottom: x, num_output: 3}\n"
        )
        convert("net.yaml", "net.prototxt", Options(force=True))
        ours, theirs = Net("net.yaml", phase="TRAIN"), Net("net.prototxt", phase="TRAIN")
        for _ in range(2):
            ours.forward(), theirs.forward()
            assert np.allclose(ours.blobs["x"].data.ravel(), theirs.blobs["x"].data.ravel(), rtol=1e-6)


def test_a_snapshot_has_its_net(workdir, nettrain_cli):
    Path("net.yaml").write_text(SPEC)
    nettrain_cli("train", "net.yaml")
    (best,) = Path("runs").glob("*/*/best.npz")
    result = nettrain_cli("convert", best, "--to", "a.caffemodel")
    assert "only the parameters" in result.output
    proto = classes()["NetParameter"].FromString(Path("a.caffemodel").read_bytes())
    assert [(layer.name, layer.type) for layer in proto.layer if layer.blobs] == [("ip1", "InnerProduct")]
    nettrain_cli("convert", best, "--to", "a.safetensors")
    net, other = Net("net.yaml"), Net("net.yaml")
    assert net.copy_from(best).loaded == other.copy_from("a.safetensors").loaded == ["ip1"]
    assert np.array_equal(net.params["ip1"][0].data, other.params["ip1"][0].data)


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 5), (3,), (1, 3, 4, 5)])
def test_means(workdir, shape):
    mean = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.save("mean.npy", mean)
    convert("mean.npy", "mean.binaryproto", Options())
    blob = classes()["BlobProto"].FromString(Path("mean.binaryproto").read_bytes())
    assert blob.num == 1
    assert blob.channels * blob.height * blob.width == mean.size
    convert("mean.binaryproto", "back.npy", Options())
    assert np.array_equal(np.load("back.npy").ravel(), mean.ravel())


def test_a_mean_that_caffe_does_not_read_is_told(files):
    Path("mean.yaml").write_text(SPEC.replace("shuffle: false", "transform: {mean_file: m.npy}"))
    np.save("m.npy", np.ones((1, 8, 8), np.float32))
    assert any("nettrain convert m.npy --to" in note for note in convert("mean.yaml", "m.prototxt", Options()).notes)


# Every config

REFUSED = {
    "alexnet": ["Caffe has no lr_policy cosine", "Caffe's rate has no warm-up"],
    "resnet18": ["Caffe has no lr_policy cosine", "Caffe's rate has no warm-up"],
    "resnet20": ["Caffe has no lr_policy cosine", "Caffe's rate has no warm-up"],
    "lstm_copy": ["CopyTask has no equal in Caffe", "BinaryAccuracy has no equal"],
    "ntm_copy": ["CopyTask has no equal in Caffe", "Recurrent has no equal"],
    "lecture/activations": ["Maxout has no equal in Caffe"],
    **{
        f"lecture/{name}": ["`filler` has no equal in Caffe: Caffe's Parameter begins with zeros"]
        for name in ("add_mul", "branch", "sigmoid_gate", "sigmoid_gates")
    },
    "lecture/neuron": ["BinaryAccuracy has no equal in Caffe"],
    "lecture/squared_norm": ["MatMul has no equal in Caffe"],
    "lecture/svm": ["MatMul has no equal in Caffe", "MulticlassSVMLoss has no equal"],
    "lecture/two_layer": ["randn has several labels an example"],
}
CONFIGS = sorted(str(path.relative_to(ROOT / "configs").with_suffix("")) for path in (ROOT / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config(data_sets, name):
    images = [
        "cifar.source=gratings",
        "cifar.generate={examples: 200, test_examples: 200, shape: [3, 32, 32], classes: 10}",
    ]
    data = images if "resnet20" in name or "cifar10" in name else []
    if name in ("googlenet", "squeezenet"):
        data = ["images.generate={examples: 2, test_examples: 2, shape: [3, 128, 128]}", "images.batch_size=2"]
    options = Options(settings=tuple(data))
    path = str(ROOT / "configs" / f"{name}.yaml")
    if name in REFUSED:
        with pytest.raises(NettrainError) as caught:
            convert(path, "net.prototxt", options)
        assert all(reason in str(caught.value) for reason in REFUSED[name])
        assert not [entry for entry in os.listdir() if entry.startswith("net")]
        return
    convert(path, "net.prototxt", options)
    text_format.Parse(Path("net.prototxt").read_text(), classes()["NetParameter"]())
    text_format.Parse(Path("net_solver.prototxt").read_text(), classes()["SolverParameter"]())
    ours = load(path, data)
    theirs = load("net_solver.prototxt")
    convert("net_solver.prototxt", "again.yaml", Options())
    for one in (theirs, load("again.yaml")):
        for phase in ("TRAIN", "TEST"):
            nets = [Net(spec, phase=phase, seed=1) for spec in (ours, one)]
            shapes = [{key: [b.shape for b in blobs] for key, blobs in net.params.items()} for net in nets]
            affine = {layer.name for layer in ours.layers if getattr(layer.parameters, "affine", False)}
            for key, blobs in shapes[0].items():
                assert shapes[1][key] == (blobs[:3] if key in affine else blobs)
            assert sum(blob.count for blobs in nets[0].params.values() for blob in blobs) == sum(
                blob.count for blobs in nets[1].params.values() for blob in blobs
            )
    assert Solver(one).max_iter == Solver(ours).max_iter if name == "logreg" else True


def test_a_caffemodel_is_a_net_too(workdir):
    """Caffe's own have all that is known of a layer; one of 5 MB is more than a text may have."""
    layers = [
        {"name": "data", "type": "Input", "shape": [1, 3, 32, 32]},
        {"name": "conv", "type": "Convolution", "num_output": 4, "kernel_size": 3, "pad": 1},
        {"name": "norm", "type": "BatchNorm", "affine": True},
        {"name": "fc", "type": "InnerProduct", "num_output": 300},
    ]
    Path("net.yaml").write_text(yaml.safe_dump({"name": "net", "layers": layers}))
    net = Net("net.yaml", phase="TEST")
    rng = np.random.default_rng(0)
    for blobs in net.params.values():
        for blob in blobs:
            blob.data[...] = rng.uniform(0.5, 1, blob.shape)
    net.save("net.npz")
    convert("net.yaml", "net.caffemodel", Options(weights="net.npz"))
    assert Path("net.caffemodel").stat().st_size > 4_000_000
    again = Net("net.caffemodel", phase="TEST")
    again.copy_from("net.caffemodel")
    x = rng.standard_normal((1, 3, 32, 32))
    np.testing.assert_allclose(again.forward(data=x)["fc"], net.forward(data=x)["fc"], rtol=1e-5)
    convert("net.caffemodel", "back.yaml", Options())
    back = Net("back.yaml", phase="TEST")
    back.copy_from("back.npz")
    np.testing.assert_allclose(back.forward(data=x)["fc"], net.forward(data=x)["fc"], rtol=1e-5)


TRAINED = """name: "saved"
layer { name: "data" type: "Data" top: "x" top: "label" include { phase: TRAIN }
        data_param { source: "a" batch_size: 2 backend: LMDB } }
layer { name: "ip1" type: "InnerProduct" bottom: "x" top: "ip1" inner_product_param { num_output: 5 } }
layer { name: "ip1_ip1_0_split" type: "Split" bottom: "ip1" top: "ip1_ip1_0_split_0" top: "ip1_ip1_0_split_1" }
layer { name: "relu1" type: "ReLU" bottom: "ip1_ip1_0_split_0" top: "relu1" }
layer { name: "sum" type: "Eltwise" bottom: "relu1" bottom: "ip1_ip1_0_split_1" top: "sum" }
layer { name: "mine" type: "Split" bottom: "sum" top: "one" top: "two" }
layer { name: "norm" type: "BatchNorm" bottom: "one" top: "norm" }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "two" bottom: "label" top: "loss" loss_weight: 1 }
"""


def saved(text):
    """The bytes of a net as real Caffe saves it: each layer with its phase and blobs, copies put between."""
    proto = text_format.Parse(text, classes()["NetParameter"]())
    for layer in proto.layer:
        layer.phase = 0
        for shape in {"ip1": [(5, 64), (5,)], "norm": [(5,), (5,), (1,)]}.get(layer.name, []):
            blob = layer.blobs.add()
            blob.shape.dim[:], blob.data[:] = shape, np.arange(1, 1 + np.prod(shape))
    return proto.SerializeToString()


def test_a_caffemodel_that_training_left_is_the_net_of_train(workdir, nettrain_cli):
    Path("net.caffemodel").write_bytes(saved(TRAINED))
    for target in ("net.yaml", "net.prototxt"):
        result = nettrain_cli("convert", "net.caffemodel", "--to", target)
        assert "net.caffemodel: the file holds the net of TRAIN alone, which is used in both phases: `data` too" in (
            result.stderr
        )
    assert [(one.name, one.common.bottom, one.common.include) for one in load("net.yaml").layers] == [
        ("data", None, ()),
        ("ip1", None, ()),
        ("relu1", None, ()),
        ("sum", ("relu1", "ip1"), ()),
        ("mine", None, ()),
        ("norm", None, ()),
        ("loss", ("two", "label"), ()),
    ]
    convert("net.prototxt", "again.yaml", Options())
    assert Path("again.yaml").read_text() == Path("net.yaml").read_text()
    with np.load("net.npz") as file:
        assert {key: file[key].shape for key in file} == {
            **{"param/ip1/0": (5, 64), "param/ip1/1": (5,)},
            **{f"param/norm/{i}": shape for i, shape in enumerate([(5,), (5,), (1,)])},
        }
    failed = nettrain_cli("convert", "net.caffemodel", "--to", "net.onnx", exit_code=2)
    assert (
        "net.caffemodel holds the net that was trained, with its data; to give the net that is used:" in failed.stderr
    )


def test_a_caffemodel_becomes_anything_directly(workdir, nettrain_cli):
    """It holds the net: types give safetensors its names, and a copy loses nothing."""
    text = TRAINED.replace('type: "Data" top: "x" top: "label"', 'type: "Input" top: "x"').replace(
        'data_param { source: "a" batch_size: 2 backend: LMDB }', "input_param { shape { dim: 2 dim: 64 } }"
    )
    Path("net.caffemodel").write_bytes(saved(text[: text.index('layer { name: "loss"')]))
    for target in ("net.onnx", "net.caffemodel.h5", "net.safetensors", "copy.caffemodel"):
        nettrain_cli("convert", "net.caffemodel", "--to", target)
    ours = classes()["NetParameter"].FromString(Path("net.caffemodel").read_bytes())
    assert classes()["NetParameter"].FromString(Path("copy.caffemodel").read_bytes()) == ours
    whole = Net("net.caffemodel", phase="TEST")
    whole.copy_from("net.caffemodel", "all")
    for name in ("net.caffemodel.h5", "net.safetensors"):
        net = Net("net.caffemodel", phase="TEST")
        net.copy_from(name, "all")
        x = np.ones((2, 64))
        assert np.allclose(net.forward(x=x)["norm"], whole.forward(x=x)["norm"], rtol=1e-5)
    assert "norm.running_mean" in Path("net.safetensors").read_bytes().decode("latin-1")
    bare = convert("net.safetensors", "bare.caffemodel", Options())  # names and numbers alone
    assert bare.written
    failed = nettrain_cli("convert", "bare.caffemodel", "--to", "bare.yaml", exit_code=2)
    assert "bare.caffemodel holds weights; give the net, and them: nettrain convert SPEC --weights" in failed.stderr


def test_everything_wrong_with_a_prototxt_is_told_at_once_with_its_places(workdir):
    Path("bad.prototxt").write_text(
        'layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 1 dim: 3 } } }\n'
        'layer { name: "a" type: "Relu" bottom: "x" top: "a" }\n'
        'layer { name: "b" type: "InnerProduct" bottom: "x" top: "b" inner_product_param { outputs: 3 } }\n'
        'layer { name: "c" type: "Pooling" bottom: "x" top: "c" pooling_param { kernel_size: 0 } }\n'
    )
    with pytest.raises(NettrainError) as caught:
        convert("bad.prototxt", "good.yaml", Options())
    lines = [problem.place.line for problem in caught.value.problems]
    assert (lines, {problem.place.file for problem in caught.value.problems}) == ([2, 3, 4], {"bad.prototxt"})
    assert not Path("good.yaml").exists()
