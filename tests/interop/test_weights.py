"""Weights in the files of other programs: Caffe's of three generations, HDF5, and safetensors with PyTorch's names."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy
from nettrain import Net
from nettrain.files import wire
from nettrain.files.arrays import open_npz, write_npz
from nettrain.interop.caffe import weights
from nettrain.interop.caffe.classes import classes
from nettrain.interop.convert import Options, convert
from nettrain.net.parameter_files import open_parameters
from nettrain.spec.errors import NettrainError

FIXTURES = Path(__file__).parent / "torch_names"
NET = """layers:
  - {name: x, type: Input, shape: [2, 3, 6, 6]}
  - {name: conv1, type: Convolution, num_output: 4, kernel_size: 3}
  - {name: bn1, type: BatchNorm}
  - {name: relu1, type: PReLU}
  - {name: ip1, type: InnerProduct, num_output: 5}
"""
SHAPES = {"conv1": [(4, 3, 3, 3), (4,)], "bn1": [(4,), (4,), (1,)], "relu1": [(4,)], "ip1": [(5, 64), (5,)]}


def values(dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return {
        f"param/{name}/{i}": rng.uniform(0.5, 2, shape).astype(dtype)
        for name, shapes in SHAPES.items()
        for i, shape in enumerate(shapes)
    }


def read(path):
    with open_parameters(Path(path), "weights file") as arrays:
        return {key: np.array(arrays[key]) for key in arrays}


def same_bits(one, other):
    assert list(one) == list(other)
    for key in one:
        assert (one[key].dtype, one[key].shape, one[key].tobytes()) == (
            other[key].dtype,
            other[key].shape,
            other[key].tobytes(),
        ), key


ODD_NAMES = ("a", "ü日😀", "x" * 3000, "a.0", "a\nb", "..", "7", "weight", "param")
ODD_SHAPES = ((), (1,), (0,), (2, 3), (2, 0, 3), (1, 2, 3), (2, 1, 1, 3), (1, 2, 1, 2, 3), (3,))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5", ".safetensors"])
def test_there_and_back_bit_for_bit(workdir, ending, dtype):
    rng, size = np.random.default_rng(0), np.dtype(dtype).itemsize
    given = {}
    for name in ODD_NAMES if ending == ".caffemodel.h5" else (*ODD_NAMES, "a/ß"):
        for i, shape in enumerate(ODD_SHAPES):  # any bits: NaN with payloads, -0.0, the smallest numbers
            bits = rng.integers(0, 256, (*shape, size), np.uint8)
            given[f"param/{name}/{i}"] = np.frombuffer(bits.tobytes(), dtype).reshape(shape)
    given["param/odd/0"] = np.array([-0.0, np.nan, np.inf, -np.inf, np.finfo(dtype).smallest_subnormal], dtype)
    given["param/odd/0"].view(np.uint8)[size] = 7  # a NaN with a payload
    write_npz(Path("a.npz"), given)
    convert("a.npz", f"a{ending}", Options())
    convert(f"a{ending}", "b.npz", Options())
    with open_npz(Path("b.npz"), "it") as back:
        found = {key: np.array(back[key]) for key in back}
    if ending != ".caffemodel":  # which give no order of layers
        found = {key: found[key] for key in given}
    same_bits(given, found)


def test_with_the_net_names_are_pytorchs_and_statistics_are_what_they_mean(workdir):
    Path("net.yaml").write_text(NET)
    given = values(np.float64)
    write_npz(Path("a.npz"), given)
    convert("net.yaml", "a.safetensors", Options(weights="a.npz"))
    found = safetensors.numpy.load_file("a.safetensors")
    assert set(found) == {
        *("conv1.weight", "conv1.bias", "relu1.weight", "ip1.weight", "ip1.bias"),
        *("bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"),
    }
    factor = given["param/bn1/2"][0]
    assert np.allclose(found["bn1.running_mean"], given["param/bn1/0"] / factor, rtol=1e-15)
    net, other = Net("net.yaml", phase="TEST", dtype="float64"), Net("net.yaml", phase="TEST", dtype="float64")
    net.copy_from("a.npz", "all")
    other.copy_from("a.safetensors", "all")
    same_outputs(net, other, 1e-12)


def same_outputs(net, other, tolerance=1e-5):
    x = np.random.default_rng(1).normal(size=net.blobs["x"].shape)
    (one,), (two,) = (list(each.forward(x=x).values()) for each in (net, other))
    assert np.abs(one).max() > 0
    assert np.allclose(one, two, rtol=tolerance, atol=tolerance)


# PyTorch

CNN = """layers:
  - {name: x, type: Input, shape: [2, 3, 3, 3]}
  - {name: conv1, type: Convolution, num_output: 4, kernel_size: 3, pad: 1}
  - {name: bn1, type: BatchNorm, affine: true}
  - {name: relu1, type: PReLU}
  - {name: up1, type: Deconvolution, num_output: 2, kernel_size: 2, stride: 2}
  - {name: bn2, type: BatchNorm}
  - {name: ip1, type: InnerProduct, num_output: 5}
"""
RNN = """layers:
  - {{name: x, type: Input, shape: [5, 2, 3]}}
  - {{name: cont, type: Input, shape: [5, 2]}}
  - {{name: rnn1, type: {}, bottom: [x, cont], num_output: 4}}
"""
CASES = {
    "cnn": CNN,
    **{f"{kind.lower()}{bias}": RNN.format(kind) for kind in ("LSTM", "GRU") for bias in ("", "_no_bias")},
}


@pytest.mark.parametrize("name", CASES)
def test_a_state_dict_of_pytorchs_computes_the_same_and_comes_back(name, workdir):
    arrays = dict(np.load(FIXTURES / f"{name}.npz"))
    state = {key.removeprefix("state/"): array for key, array in arrays.items() if key.startswith("state/")}
    safetensors.numpy.save_file(state, "a.safetensors")
    Path("net.yaml").write_text(CASES[name])
    net = Net("net.yaml", phase="TEST")
    net.copy_from("a.safetensors", "all")
    inputs = {"x": arrays["in"]}
    if "cont" in net.blobs:
        inputs["cont"] = np.repeat([[0], [1]], [1, 4], axis=0).repeat(2, axis=1)
    (y,) = net.forward(**inputs).values()
    assert np.allclose(y, arrays["out"], rtol=1e-5, atol=1e-6)
    net.save("net.npz")
    convert("net.yaml", "b.safetensors", Options(weights="net.npz"))
    back = safetensors.numpy.load_file("b.safetensors")
    for key, array in state.items():
        if "num_batches" not in key and key not in ("rnn1.bias_ih_l0", "rnn1.bias_hh_l0"):
            assert np.allclose(back[key], array, rtol=1e-6), key
    if name == "lstm":  # one bias here, the sum of theirs
        total = state["rnn1.bias_ih_l0"] + state["rnn1.bias_hh_l0"]
        assert np.allclose(back["rnn1.bias_ih_l0"] + back["rnn1.bias_hh_l0"], total, rtol=1e-6)
    if name == "gru":
        assert np.allclose(back["rnn1.bias_hh_l0"], state["rnn1.bias_hh_l0"])


def test_half_precision_is_read(workdir):
    half = np.array([[1.5, -2.25]], np.float16)
    bits = (np.array([[3.0, -0.5]], np.float32).view(np.uint32) >> 16).astype("<u2")
    header = b'{"a.weight":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]},'
    header += b'"b.weight":{"dtype":"F16","shape":[1,2],"data_offsets":[4,8]}}'
    header += b" " * (-len(header) % 8)
    Path("a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bits.tobytes() + half.tobytes())
    found = read("a.safetensors")
    assert {key: (array.dtype, array.tolist()) for key, array in found.items()} == {
        "param/a/0": (np.float32, [[3.0, -0.5]]),
        "param/b/0": (np.float32, [[1.5, -2.25]]),
    }


# Caffe's generations


def blob(array, legacy=False, double=False, unpacked=False):
    """A blob as protobuf writes it; with ``unpacked`` each value after its own tag, as old files have it."""
    made = classes()["BlobProto"]()
    if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        made.num, made.channels, made.height, made.width = shape
    else:
        made.shape.dim[:] = array.shape
    if unpacked:
        values = array.astype("<f4").reshape(-1)
        return made.SerializeToString() + b"".join(b"\x2d" + value.tobytes() for value in values)
    (made.double_data if double else made.data).extend(array.reshape(-1).tolist())
    return made.SerializeToString()


def field(number, raw):
    return wire.tag_of(number, wire.BYTES) + wire.write_varint(len(raw)) + raw


def caffemodel(generation, arrays, **how):
    """The bytes of a caffemodel of layers, with a dangling input and a layer without blobs."""
    layers = {}
    for key, array in arrays.items():
        layers.setdefault(key.split("/")[1], []).append(blob(array, **how))
    raw = field(1, b"net") + field(3, b"data")
    for name, blobs in {"data": [], **layers, "elsewhere": [blob(np.ones(3, np.float32))]}.items():
        inner = b"".join(field({0: 50, 1: 6, 2: 7}[generation], one) for one in blobs)
        if generation == 2:
            raw += field(100, field(1, name.encode()) + inner)
        elif generation == 1:
            raw += field(2, field(4, name.encode()) + b"\x28\x04" + inner)
        else:
            raw += field(2, field(1, field(1, name.encode()) + field(2, b"conv") + inner))
    return raw


@pytest.mark.parametrize("how", ["", "legacy", "double", "unpacked", "legacy unpacked"])
@pytest.mark.parametrize("generation", [0, 1, 2])
def test_every_generation_loads(workdir, generation, how):
    given = values()
    Path("net.yaml").write_text(NET)
    Path("a.caffemodel").write_bytes(caffemodel(generation, given, **dict.fromkeys(how.split(), True)))
    proto = classes()["NetParameter"].FromString(Path("a.caffemodel").read_bytes())
    assert len(proto.layer if generation == 2 else proto.layers) == 6
    write_npz(Path("a.npz"), given)
    net, other = Net("net.yaml", phase="TEST"), Net("net.yaml", phase="TEST")
    net.copy_from("a.npz")
    report = other.copy_from("a.caffemodel")
    assert (report.loaded, report.missing, report.ignored) == (["conv1", "bn1", "relu1", "ip1"], [], ["elsewhere"])
    same_outputs(net, other)


def test_of_layers_of_one_name_the_last_counts(workdir):
    first, last = values(seed=1), values(seed=2)
    Path("a.caffemodel").write_bytes(caffemodel(2, first) + caffemodel(2, last))
    found = read("a.caffemodel")
    assert all(np.array_equal(found[key], last[key]) for key in last)


def raw_blob(**fields):
    made = classes()["BlobProto"]()
    for name, value in fields.items():
        if name == "shape":
            made.shape.dim[:] = value
        elif name == "data":
            made.data[:] = value
        else:
            setattr(made, name, value)
    return made.SerializeToString()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"shape": [2, 3], "data": [1] * 5}, "blob 0 of layer `ip1` says 2 x 3 but holds 5 values"),
        ({"shape": [2, -3], "data": [1] * 6}, "blob 0 of layer `ip1` says 2 x -3 but holds 6 values"),
        ({"shape": [1 << 40, 1 << 40], "data": [1]}, "but holds 1 values"),
        ({"num": 5, "channels": 64, "data": [1] * 320}, "says 5 x 64 x 0 x 0 but holds 320 values"),
        ({"shape": [64, 5], "data": [1] * 320}, "layer `ip1` has blobs of 64 x 5, 5 in the file and 5 x 64, 5 in the"),
        ({"shape": [1, 1, 5, 64], "data": [1] * 320}, "layer `ip1` has blobs of 1 x 1 x 5 x 64, 5 in the file"),
        ({}, "blob 0 of layer `ip1`"),
    ],
)
def test_shapes_that_do_not_fit(workdir, fields, said):
    Path("net.yaml").write_text(NET)
    blobs = field(7, raw_blob(**fields)) + field(7, raw_blob(shape=[5], data=[1] * 5))
    Path("a.caffemodel").write_bytes(field(100, field(1, b"ip1") + blobs))
    with pytest.raises(NettrainError) as caught:
        Net("net.yaml").copy_from("a.caffemodel")
    assert "a.caffemodel" in str(caught.value)
    assert said in str(caught.value) or (not fields and "ip1" in str(caught.value))


# BatchNorm with factors is BatchNorm and Scale in Caffe

AFFINE = NET.replace("{name: bn1, type: BatchNorm}", "{name: bn1, type: BatchNorm, affine: true}")


@pytest.mark.parametrize("ending", [".caffemodel", ".caffemodel.h5"])
@pytest.mark.parametrize("scale", ["bn1_scale", "scale1"])
def test_factors_of_a_batch_norm_go_to_caffe_and_come_back(workdir, ending, scale):
    Path("net.yaml").write_text(AFFINE)
    net = Net("net.yaml", phase="TEST")
    for blobs in net.params.values():
        for one in blobs:
            one.data[...] = np.random.default_rng(3).uniform(0.5, 2, one.shape)
    net.save("a.npz")
    convert("net.yaml", "net.prototxt", Options())
    convert("net.yaml", f"a{ending}", Options(weights="a.npz"))
    stored = read(f"a{ending}")
    assert [stored[f"param/bn1{end}"].shape for end in ("/2", "_scale/0", "_scale/1")] == [(1,), (4,), (4,)]
    theirs = Net("net.prototxt", phase="TEST")
    theirs.copy_from(f"a{ending}", "all")
    same_outputs(net, theirs)
    if scale != "bn1_scale":
        stored = {key.replace("bn1_scale", scale): array for key, array in stored.items()}
        write_npz(Path("names.npz"), stored)
        convert("names.npz", f"b{ending}", Options())
    name = f"a{ending}" if scale == "bn1_scale" else f"b{ending}"
    convert("net.yaml", "back.npz", Options(weights=name))
    same_bits(read("a.npz"), {key: read("back.npz")[key] for key in read("a.npz")})


def test_a_scale_that_the_net_has_itself_is_left_to_it(workdir):
    Path("net.yaml").write_text(AFFINE + "  - {name: bn1_scale, type: Scale, bias_term: true}\n")
    net = Net("net.yaml")
    net.save("a.npz")
    convert("net.yaml", "a.caffemodel", Options(weights="a.npz"))
    assert {key.split("/")[1] for key in read("a.caffemodel")} == {
        *("conv1", "bn1", "bn1_scale", "bn1_scale_2", "relu1", "ip1")
    }


def test_h5_as_caffe_writes_it(workdir):
    Path("net.yaml").write_text(NET)
    write_npz(Path("a.npz"), values())
    convert("net.yaml", "a.caffemodel.h5", Options(weights="a.npz"))
    with h5py.File("a.caffemodel.h5") as file:
        assert sorted(file["data"]) == ["bn1", "conv1", "ip1", "relu1", "x"]  # a group for every layer
        assert file["data/conv1/0"].dtype == np.float32
        assert len(file["data/x"]) == 0
    many = {f"param/a/{i}": np.full(1, i, np.float32) for i in range(12)}
    write_npz(Path("many.npz"), many)
    convert("many.npz", "many.h5", Options())
    assert [float(array[0]) for array in read("many.h5").values()] == list(range(12))
    Path("nameless.caffemodel").write_bytes(b"".join(weights.caffemodel({"param//0": np.ones(1, np.float32)})))
    with pytest.raises(NettrainError, match="cannot have a layer ``: no group can have its name"):
        convert("nameless.caffemodel", "bad.h5", Options())
    write_npz(Path("slash.npz"), {"param/a/b/0": np.ones(1, np.float32)})
    with pytest.raises(NettrainError, match="cannot have a layer `a/b`: a slash is a group"):
        convert("slash.npz", "slash.h5", Options())


# Where weights are given


def test_a_net_is_tested_trained_and_begun_with_any_of_them(workdir, nettrain_cli):
    spec = """solver: {base_lr: 0.0, max_iter: 1, test_interval: 1}
layers:
  - {name: data, type: Data, top: [x, label], source: digits, batch_size: 50}
  - {name: ip1, type: InnerProduct, bottom: x, num_output: 10}
  - {name: accuracy, type: Accuracy, bottom: [ip1, label], include: test}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}
"""
    Path("net.yaml").write_text(spec)
    Net("net.yaml").save("a.npz")
    convert("net.yaml", "net.prototxt", Options())
    answers = set()
    for ending in ("npz", "caffemodel", "caffemodel.h5", "safetensors"):
        if ending != "npz":
            convert("net.yaml", f"a.{ending}", Options(weights="a.npz"))
        for net in ("net.yaml", "net.prototxt"):
            result = nettrain_cli("test", net, "--weights", f"a.{ending}")
            answers.add(result.output.split("accuracy")[1].split()[0])
        nettrain_cli("train", "net.yaml", "--weights", f"a.{ending}")
        nettrain_cli("train", "net.yaml", "--set", f"solver.weights=a.{ending}")
    assert len(answers) == 1


@pytest.mark.parametrize("suffix", [".caffemodel", ".h5", ".safetensors"])
@pytest.mark.parametrize("raw", [b"", b"hello\n", b"<html>"], ids=["empty", "text", "page"])
def test_a_file_that_is_none_is_not_called_a_damaged_npz(tmp_path, suffix, raw):
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(raw)
    net = Net(
        {
            "layers": [
                {"name": "x", "type": "Input", "shape": [1, 2]},
                {"name": "ip", "type": "InnerProduct", "num_output": 2},
            ]
        }
    )
    with pytest.raises(NettrainError, match=rf"is damaged, or no {suffix} file \({len(raw)} bytes\)"):
        net.copy_from(path)


# What one net keeps in a BatchNorm, and another in the Scale behind it

APART = """layers:
  - {name: x, type: Input, shape: [2, 3, 6, 6]}
  - {name: conv1, type: Convolution, num_output: 4, kernel_size: 3}
  - {name: bn1, type: BatchNorm}
  - {name: gain, type: Scale, bottom: bn1, top: bn1, bias_term: true}
  - {name: relu1, type: PReLU, bottom: bn1}
  - {name: ip1, type: InnerProduct, num_output: 5}
"""


def two_nets(name, other, ending, text=APART):
    """A net with factors of its own and one with a Scale: one with numbers, the other, and a file of the first's."""
    Path("apart.yaml").write_text(text)
    Path("whole.yaml").write_text(AFFINE)
    ours = Net(f"{name}.yaml", phase="TEST")
    for i, one in enumerate(blob for blobs in ours.params.values() for blob in blobs):
        one.data[...] = np.random.default_rng(i).uniform(0.5, 2, one.shape)
    ours.save("ours.npz")
    convert(f"{name}.yaml", f"a.{ending}", Options(weights="ours.npz", force=True))
    return ours, Net(f"{other}.yaml", phase="TEST"), f"a.{ending}"


@pytest.mark.parametrize(
    ("name", "other", "ending"),
    [("apart", "whole", "caffemodel"), ("whole", "apart", "npz"), ("whole", "apart", "safetensors")],
)
def test_factors_go_to_where_the_net_has_them(workdir, name, other, ending):
    """A caffemodel says which Scale is behind a BatchNorm, and else the net does."""
    ours, theirs, file = two_nets(name, other, ending)
    assert theirs.copy_from(file, "all").loaded == list(theirs.params)
    same_outputs(ours, theirs)


UNSURE = {  # another Scale, one of other axes, one that is not behind it, one that nothing is known of but its name
    "two": APART.replace("top: bn1", "top: y") + "  - {name: gain2, type: Scale, bottom: bn1}\n",
    "axis": APART.replace("bias_term: true", "bias_term: true, axis: 2"),
    "elsewhere": APART.replace("bottom: bn1, top: bn1", "bottom: conv1, top: y"),
    "behind": APART.replace("bottom: bn1, top: bn1", "bottom: conv1, top: bn1_scale").replace("gain", "bn1_scale"),
}


@pytest.mark.parametrize("text", UNSURE.values(), ids=UNSURE)
def test_factors_are_not_guessed(workdir, text):
    for name, other, ending in (("apart", "whole", "caffemodel"), ("whole", "apart", "npz")):
        _, theirs, file = two_nets(name, other, ending, text)
        with pytest.raises(NettrainError, match="layer `bn1` has blobs of"):
            theirs.copy_from(file)
    _, theirs, file = two_nets("apart", "whole", "npz")
    with pytest.raises(NettrainError, match="layer `bn1` has blobs of 4, 4, 1 in the file and 4, 4, 1, 4, 4 in the"):
        theirs.copy_from(file)


def test_a_scale_without_an_offset_is_an_offset_of_0(workdir):
    Path("apart.yaml").write_text(APART.replace("bias_term: true", "bias_term: false"))
    Path("whole.yaml").write_text(AFFINE)
    net = Net("apart.yaml", phase="TEST")
    net.params["gain"][0].data[...] = [1, 2, 3, 4]
    net.save("a.npz")
    convert("apart.yaml", "a.caffemodel", Options(weights="a.npz"))
    whole = Net("whole.yaml", phase="TEST")
    whole.params["bn1"][4].data[...] = 7
    whole.copy_from("a.caffemodel", "all")
    assert [blob.data.tolist() for blob in whole.params["bn1"][3:]] == [[1, 2, 3, 4], [0, 0, 0, 0]]


def test_parameters_are_counted_by_their_numbers(workdir):
    """Whatever order a file has them in; what is no parameter is left out, and said to be."""
    W, b = np.ones((2, 3), np.float32), np.zeros(2, np.float32)
    np.savez("a.npz", **{"param/ip/1": b, "param/ip/0": W, "param/ip/11": b, "param/ip/x": b, "param/odd": b})
    for ending in ("npz", "caffemodel", "h5", "safetensors"):
        result = convert("a.npz", f"b.{ending}", Options())
        assert {key: array.shape for key, array in read(f"b.{ending}").items()} == {
            **{"param/ip/0": (2, 3), "param/ip/1": (2,), "param/ip/2": (2,)}
        }
        assert result.notes[0] == "only the parameters of a.npz are taken, not param/ip/x, param/odd"


def test_blobs_that_are_not_those_of_their_type_keep_their_numbers(workdir):
    Path("net.yaml").write_text(NET + "  - {name: cont, type: Input, shape: [2, 5]}\n" + LSTM)
    given = {"param/bn1/0": np.ones(4), "param/bn1/1": np.ones(4), "param/bn1/2": np.array(1.0)}
    given |= {f"param/lstm1/{i}": np.ones(7) for i in range(3)}
    write_npz(Path("a.npz"), given)
    convert("net.yaml", "a.safetensors", Options(weights="a.npz"))
    same_bits(dict(sorted(given.items())), dict(sorted(read("a.safetensors").items())))


LSTM = "  - {name: lstm1, type: LSTM, bottom: [ip1, cont], num_output: 4}\n"


@pytest.mark.parametrize("ending", ["caffemodel", "safetensors"])
def test_what_is_copied_out_of_a_file_need_not_the_file(workdir, ending):
    write_npz(Path("a.npz"), {"param/a/0": np.arange(5000, dtype=np.float32)})
    convert("a.npz", f"a.{ending}", Options())
    with open_parameters(Path(f"a.{ending}"), "weights") as arrays:
        copied = np.array(arrays["param/a/0"])
        assert not np.shares_memory(copied, arrays["param/a/0"].array)
    np.testing.assert_array_equal(copied, np.arange(5000))
