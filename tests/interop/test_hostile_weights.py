"""Weights from people one does not know: damaged, of a wrong kind, with sizes that lie, with links out of the file."""

import json
import random
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.numpy
from helpers.hostile import refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nettrain.data.blob_file import read_blob
from nettrain.files import wire
from nettrain.files.arrays import write_npz
from nettrain.interop.caffe import hdf5
from nettrain.interop.caffe.classes import classes
from nettrain.interop.convert import Options, convert
from nettrain.interop.torch_names import from_torch
from nettrain.interop.weights import open_weights
from nettrain.spec.errors import NettrainError

ARRAYS = {f"param/{name}/{i}": np.arange(6, dtype=np.float32).reshape(2, 3) for name in "ab" for i in range(2)}


def read(path):
    """All arrays of a file; None where it is told not to be weights."""
    opened = open_weights(Path(path), "weights file")
    if opened is None:
        return None
    with opened as arrays:
        return {key: np.array(arrays[key]) for key in arrays}


def files(folder):
    write_npz(folder / "a.npz", ARRAYS)
    for ending in ("caffemodel", "h5", "safetensors"):
        convert(str(folder / "a.npz"), str(folder / f"a.{ending}"), Options())
    np.save(folder / "mean.npy", np.ones((3, 2, 2), np.float32))
    convert(str(folder / "mean.npy"), str(folder / "mean.binaryproto"), Options())
    return {
        name: (folder / name).read_bytes() for name in ("a.caffemodel", "a.h5", "a.safetensors", "mean.binaryproto")
    }


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return files(tmp_path_factory.mktemp("good"))


def tried(path):
    """Read with the reader of its kind, whatever it is; a NettrainError must name the file."""
    try:
        if path.suffix == ".binaryproto":
            read_blob(path, "mean")
        else:
            read(path)
    except NettrainError as error:
        message = str(error)
    else:
        message = ""
    assert not message or path.name in message
    return bool(message)


@pytest.mark.parametrize("name", ["a.caffemodel", "a.h5", "a.safetensors", "mean.binaryproto"])
def test_changed_bytes(good, name, tmp_path):
    rng, path, told = random.Random(name), tmp_path / name, 0
    for _ in range(200):
        raw = bytearray(good[name])
        for _ in range(rng.randint(1, 4)):
            raw[rng.randrange(len(raw))] = rng.choice([0, 255, 127, rng.randrange(256)])
        path.write_bytes(raw[: rng.randrange(1, len(raw)) if rng.random() < 0.3 else None])
        told += tried(path)
    assert told > 10


@given(raw=st.binary(max_size=300), name=st.sampled_from(["a.caffemodel", "a.h5", "a.safetensors", "mean.binaryproto"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_behind_the_right_beginning(good, raw, name, tmp_path):
    for start in (0, 1, 8, 9, 20):
        path = tmp_path / name
        path.write_bytes(good[name][:start] + raw)
        tried(path)


names = st.text(min_size=1, max_size=4) | st.sampled_from(
    [
        "a.weight",
        "a.bias",
        "a.running_mean",
        "a.running_var",
        "a.weight_ih_l0",
        "a.weight_hh_l0",
        "a.bias_ih_l0",
        "²",
        "a.²",
        "a.0",
    ]
)
shapes = st.lists(st.integers(0, 9), max_size=3).map(tuple)


@given(st.dictionaries(names, shapes, max_size=6))
@settings(max_examples=150, deadline=None)
def test_state_dicts_of_any_names_and_shapes(found):
    try:
        from_torch({name: np.zeros(shape, np.float32) for name, shape in found.items()}, "it")
    except NettrainError as error:
        message = str(error)
    else:
        message = "it has nothing wrong"
    assert message.startswith("it has ")


def field(number, raw):
    return wire.tag_of(number, wire.BYTES) + wire.write_varint(len(raw)) + raw


def test_sizes_that_lie(tmp_path):
    path = tmp_path / "a.caffemodel"
    blob = classes()["BlobProto"]()
    blob.shape.dim[:] = [1 << 30, 1 << 30]
    blob.data[:] = [1]
    path.write_bytes(field(100, field(1, b"a") + field(7, blob.SerializeToString())))
    refused("holds 1 values", lambda: read(path))
    path.write_bytes(b"\x0a" + wire.write_varint(1 << 60) + b"net\0")
    refused("a.caffemodel is damaged", lambda: read(path))
    path.write_bytes(b"\x0a\x01n" + field(100, field(7, b"\x2a\x04abcd\x35abcd") * 51_000))
    with pytest.raises(NettrainError, match="more messages than any net has"):
        read(path)
    path.write_bytes(b"\x0a\x01n" + field(100, field(7, b"\x2d\0\0\0\0\x3d\0\0\0\0" * 76_000)))
    with pytest.raises(NettrainError, match="more fields than any net has"):
        read(path)
    deep = b"\0"
    for _ in range(200):
        deep = field(25 if len(deep) % 2 else 6, deep)
    path.write_bytes(b"\x0a\x01n" + deep)
    tried(path)
    path = tmp_path / "a.safetensors"
    for header in (
        b'{"a":' * 50_000,
        b'{"a.weight":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,39999999996]}}',
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        refused("a.safetensors is damaged", lambda: read(path))
    path.write_bytes((5_000_000).to_bytes(8, "little") + b"{" + b" " * 5_000_000)
    refused("a header of 5,000,000 bytes, more arrays than any net has", lambda: read(path))
    path.write_bytes((99_999_999).to_bytes(8, "little") + b"{}")
    refused("a header of 99,999,999 bytes in 10", lambda: read(path))
    header = json.dumps({"a.weight": {"dtype": "BOOL", "shape": [1], "data_offsets": [0, 1]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + b"\1")
    refused("holds values of type BOOL, not floats", lambda: read(path))
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(b"\x08\x01" + b"\x2a\x04\0\0\0\0" * 1_001)
    refused("in more pieces than Caffe makes", lambda: read_blob(path, "mean"))
    path.write_bytes(b"\x08\x01" + b"\xf8\x3f\x01" * 301_000)
    with pytest.raises(NettrainError, match="more than 300,000 fields"):
        read_blob(path, "mean")
    path.write_bytes(b"\x08\x01\x10" + wire.write_varint(1 << 62) + b"\x2a\x04\0\0\0\0")
    refused("but holds 1 values", lambda: read_blob(path, "mean"))


def h5(path, make):
    with h5py.File(path, "w") as file:
        make(file, file.create_group("data"))


def test_nothing_outside_of_an_h5_is_followed(tmp_path):
    (tmp_path / "raw.bin").write_bytes(b"\0\0\x80?" * 6)
    h5(tmp_path / "secret.h5", lambda file, data: data.create_dataset("0", data=np.full(3, 7.0)))
    path = tmp_path / "a.h5"

    def group(file, data):
        del file["data"]
        file["data"] = h5py.ExternalLink("secret.h5", "/data")

    h5(path, group)
    refused("has no group `data`", lambda: read(path))

    def links(file, data):
        data["a/0"] = np.ones(2, np.float32)
        data["b"] = h5py.ExternalLink("secret.h5", "/data")
        data["c/0"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/data/0")
        data["d"] = h5py.SoftLink("/data")

    h5(path, links)
    assert list(read(path)) == ["param/a/0"]

    def virtual(file, data):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource("secret.h5", "/data/0", (3,))
        data.create_group("a").create_virtual_dataset("0", layout)

    h5(path, virtual)
    refused("`a/0` holds no plain numbers", lambda: read(path))
    h5(path, lambda f, data: data.create_dataset("a/0", (6,), "f4", external=[(str(tmp_path / "raw.bin"), 0, 24)]))
    refused("`a/0` holds no plain numbers", lambda: read(path))


def test_a_state_in_hdf5_that_holds_something_else(tmp_path):
    """Values in other files, none at all, and more than the file has: libhdf5 would crash on some of them."""
    path, raw = tmp_path / "a.solverstate.h5", tmp_path / "raw.bin"
    raw.write_bytes(bytes(64))

    def state(**other):
        with h5py.File(path, "w") as file:
            for make in {"iter": lambda file: file.create_dataset("iter", data=[3]), **other}.values():
                make(file)
            if "learned_net" not in file:
                file["learned_net"] = np.bytes_("a.caffemodel")

    state()
    assert hdf5.read_state(path, "state a") == (3, "a.caffemodel")
    state(learned_net=lambda file: file.create_dataset("learned_net", data="a.caffemodel"))
    assert hdf5.read_state(path, "state a") == (3, "a.caffemodel")
    for make in (
        lambda file: file.create_dataset("iter", (1,), "i4", external=[(str(raw), 0, 4)]),
        lambda file: file.create_dataset("iter", data=h5py.Empty("i4")),
        lambda file: file.create_group("iter"),
    ):
        state(iter=make)
        refused("state a: `iter` holds no plain numbers", lambda: hdf5.read_state(path, "state a"))
    state(iter=lambda file: file.create_dataset("iter", (6, 1 << 40), "f4", chunks=(1, 1000)))
    refused("says it is larger than the file", lambda: hdf5.read_state(path, "state a"))
    state(learned_net=lambda file: file.create_dataset("learned_net", (1,), "S9", external=[(str(raw), 0, 9)]))
    refused("`learned_net` is no text", lambda: hdf5.read_state(path, "state a"))
    path = tmp_path / "a.h5"
    h5(path, lambda file, data: data.create_dataset("a/0", data=h5py.Empty("f4")))
    refused("`a/0` holds no plain numbers", lambda: read(path))


def test_hdf5_that_lies_or_goes_deep(tmp_path):
    path = tmp_path / "a.h5"
    h5(path, lambda file, data: data.create_dataset("a/0", (1 << 28,), "f4"))  # nothing was ever written
    refused("says it is larger than the file", lambda: read(path))
    h5(path, lambda file, data: data.create_dataset("a/0", (1 << 28,), "f4", chunks=(1 << 26,), compression="gzip"))
    refused("says it is larger than the file", lambda: read(path))

    def deep(file, data):
        for _ in range(300):
            data = data.create_group("g")

    h5(path, deep)
    refused("more groups than any net", lambda: read(path))

    def circle(file, data):
        data["a"], data["b"] = data, data  # 2^n paths

    h5(path, circle)
    refused("more groups than any net", lambda: read(path))
    h5(path, lambda file, data: data.create_dataset("a/0", data=["text"]))
    refused("`a/0` holds no plain numbers", lambda: read(path))
    h5(path, lambda file, data: data.create_dataset("a", data=np.ones(2)))
    refused("holds no parameters", lambda: convert(str(path), str(tmp_path / "b.npz"), Options()))
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    refused("a.h5 cannot be read as HDF5", lambda: read(path))


def test_a_file_of_another_kind_is_named(tmp_path):
    safetensors.numpy.save_file({"x": np.ones(2)}, tmp_path / "a.npz")
    refused("names are LAYER.weight", lambda: read(tmp_path / "a.npz"))
    (tmp_path / "a.caffemodel").write_text('layer { name: "a" }')
    refused("a.caffemodel", lambda: convert(str(tmp_path / "a.caffemodel"), str(tmp_path / "b.npz"), Options()))


LIMITED = """
import json, sys
from pathlib import Path
import h5py, safetensors
from nettrain import Net
from nettrain.interop.weights import open_weights

def peak():  # not getrusage's, which begins with that of the process this one was started by
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0])

big, *paths = map(Path, sys.argv[1:])
layers = [{"name": "x", "type": "Input", "shape": [1, 1000]}]
layers += [{"name": f"ip{i}", "type": "InnerProduct", "num_output": 1000, "bottom": "x", "weight_filler": 0,
            "bias_term": False} for i in range(12)]
before = peak()
net = Net({"layers": layers}, "TEST")
net.copy_from(big)
loaded = peak() - before
values = float(net.params["ip11"][0].data[-1, -1])
del net
for path in paths:
    try:
        with open_weights(path, "weights file") as arrays:
            [arrays[key].shape for key in arrays]
    except Exception as error:
        assert type(error).__name__ == "NettrainError", error
print(json.dumps([values, loaded, peak() - before]))
"""


def test_memory_is_a_few_times_the_file(tmp_path):
    """In a process of its own: 48 MB of good weights, of which a net's copy and little else is in memory; then 10 MB
    each of empty blobs, of names, of single values, of sizes, which may take five times as much."""
    size, big = 10_000_000, tmp_path / "big.caffemodel"
    zeros = 4_000_000  # bytes of a layer, all but the last value; they are not written
    blob = field(7, field(7, b"\x08\xe8\x07\x08\xe8\x07"))[2:]  # its shape, 1000 x 1000
    with big.open("wb") as file:
        file.write(b"\x0a\x01n")
        for i in range(12):
            values = wire.tag_of(5, wire.BYTES) + wire.write_varint(zeros)
            inner = wire.tag_of(7, wire.BYTES) + wire.write_varint(len(blob) + len(values) + zeros) + blob + values
            name = field(1, f"ip{i}".encode())
            file.write(wire.tag_of(100, wire.BYTES) + wire.write_varint(len(name) + len(inner) + zeros) + name + inner)
            file.seek(zeros - 4, 1)
            file.write(np.float32(i).tobytes())
    bombs = {
        "blobs": field(100, b"\x3a\x00" * (size // 2)),
        "names": field(100, field(3, b"") * (size // 2)),
        "values": field(100, field(7, b"\x2d\0\0\0\0\x3d\0\0\0\0" * (size // 10))),
        "dims": field(100, field(7, field(7, b"\x08\x01" * (size // 2)))),
        "packed": field(100, field(7, field(7, field(1, b"\x01" * size)))),
        "float": field(100, field(7, b"\x2d\0\0\0\0" * (size // 5))),
    }
    paths = [big]
    for name, raw in bombs.items():
        paths.append(tmp_path / f"{name}.caffemodel")
        paths[-1].write_bytes(b"\x0a\x01n" + raw)
    result = subprocess.run([sys.executable, "-c", LIMITED, *map(str, paths)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    value, loaded, peak = json.loads(result.stdout)
    assert value == 11
    assert 48_000_000 < loaded < 1.3 * big.stat().st_size  # with the net's own parameters
    assert peak <= max(loaded, 5 * size)
