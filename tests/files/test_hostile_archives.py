"""gz, IDX, .npz and .npy that say more than they hold: nothing is unpacked that is not wanted."""

import gzip
import struct
import zipfile
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import npy
from helpers.hostile import archive, first_batch, reader_of, refused
from nettrain.files import arrays as npz
from nettrain.files import reading, seal
from nettrain.solver.finding import find_snapshot

pytestmark = pytest.mark.usefixtures("workdir")


# gz and IDX


def header(*sizes):
    return bytes([0, 0, 8, len(sizes)]) + struct.pack(f">{len(sizes)}I", *sizes)


def test_a_gz_is_unpacked_only_as_far_as_its_header_says():
    Path("a-idx3-ubyte.gz").write_bytes(gzip.compress(header(5, 2, 2) + bytes(100_000_000), 1))
    refused("is too long: 5 x 2 x 2 values need 36 bytes", reader_of("a-idx3-ubyte.gz")["idx"])


def test_a_gz_whose_header_says_more_than_it_can_hold():
    Path("a-idx3-ubyte.gz").write_bytes(gzip.compress(header(60_000, 2000, 2000) + bytes(1000)))
    refused("is truncated: 60000 x 2000 x 2000 values need", reader_of("a-idx3-ubyte.gz")["idx"])


def test_what_memory_cannot_hold_is_refused_before_it_is_unpacked(monkeypatch):
    monkeypatch.setattr(reading, "memory", lambda: 50_000_000)
    Path("a-idx3-ubyte.gz").write_bytes(gzip.compress(header(60, 1000, 1000) + bytes(60_000_000), 1))
    refused("needs 0.1 GB of memory, but this machine has 0.1 GB", reader_of("a-idx3-ubyte.gz")["idx"])


# npz and npy


def npy_saying(text, values=b"", version=1):
    text = text.encode("latin1") + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + values


def test_members_that_nobody_needs_are_not_read(monkeypatch):
    """The large one would be 100 MB, and the damaged one an error."""
    data, label = np.arange(8.0).reshape(4, 2), np.arange(4)
    large, damaged = npy_saying("{'descr': '|u1', 'fortran_order': False, 'shape': (100000000,)}", bytes(10**8)), b"x"
    members = {"data": npy(data), "label": npy(label), "large": large, "damaged": damaged, "param/ip/0": npy(data)}
    members["param/other/0"] = large
    archive("a.npz", [(f"{name}.npy", content) for name, content in members.items()])
    read = []
    real = npz.Stored.read
    monkeypatch.setattr(npz.Stored, "read", lambda self: read.append(self.info.filename) or real(self))
    first_batch("Data", source="a.npz", batch_size=4)
    assert read == ["data.npy", "label.npy"]
    read.clear()
    ip = {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 4, "bias_term": False}
    net = nettrain.Net({"layers": [{"name": "x", "type": "Input", "shape": [1, 2]}, ip]})
    report = net.copy_from("a.npz")
    assert (read, report.ignored) == (["param/ip/0.npy"], ["other"])
    np.testing.assert_array_equal(net.params["ip"][0].data, data)
    refused("a.npz is damaged", lambda: first_batch("Data", ["x", "y", "damaged"], source="a.npz", batch_size=1))


def test_weights_of_which_one_is_damaged_change_nothing():
    ip = [
        {"name": f"ip{i}", "type": "InnerProduct", "bottom": "x", "num_output": 4, "bias_term": False} for i in (1, 2)
    ]
    net = nettrain.Net({"layers": [{"name": "x", "type": "Input", "shape": [1, 2]}, *ip]}, seed=1)
    before = net.flat.data.copy()
    net.save("w.npz")
    good = npy(np.ones((4, 2), np.float32))
    archive("w.npz", [("param/ip1/0.npy", good), ("param/ip2/0.npy", good)], zipfile.ZIP_STORED)
    raw = Path("w.npz").read_bytes()
    second = raw.index(good, raw.index(good) + 1)
    Path("w.npz").write_bytes(raw[: second + len(good) - 4] + b"\1\2\3\4" + raw[second + len(good) :])
    refused("w.npz is damaged", lambda: net.copy_from("w.npz"))
    np.testing.assert_array_equal(net.flat.data, before)


def packed(shape, kind="|u1"):
    """An array of 100 MB that is 100 kB in an archive."""
    return npy_saying(f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}}}", bytes(10**8))


def test_counts_are_compared_before_anything_is_unpacked():
    label, large = npy(np.arange(4)), packed("(100000, 1000)")
    archive("a.npz", [("data.npy", large), ("label.npy", label)])
    refused("a.npz holds 100,000 examples but 4 labels", reader_of("a.npz")["npz"], most=2_000_000)
    archive("a.npz", [("data.npy", npy(np.zeros((4, 2)))), ("label.npy", label), ("mask.npy", large)])
    most = 2_000_000
    net = ("Data", ["data", "label", "mask"])
    refused(
        "`mask` has 100,000 rows, but there are 4", lambda: first_batch(*net, source="a.npz", batch_size=1), most=most
    )
    Path("a-images-idx3-ubyte.gz").write_bytes(gzip.compress(header(10**5, 10, 100) + bytes(10**8), 1))
    Path("a-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header(4) + bytes(4)))
    refused("holds 100,000 examples but 4 labels", reader_of("a-images-idx3-ubyte.gz")["idx"], most=most)
    Path("a-images-idx3-ubyte.gz").write_bytes(gzip.compress(header(4, 2, 2) + bytes(16)))
    Path("a-labels-idx1-ubyte.gz").write_bytes(gzip.compress(header(10**8) + bytes(10**8), 1))
    refused("holds 4 examples but 100,000,000 labels", reader_of("a-images-idx3-ubyte.gz")["idx"], most=most)


def test_an_array_of_another_shape_than_wanted_is_not_unpacked():
    archive("a.npz", [("mean.npy", packed("(100000, 1000)"))])
    refused("a.npz holds 100000 x 1000, the examples are 2", reader_of("a.npz")["mean"], most=2_000_000)
    Path("a.npy").write_bytes(packed("(100000, 1000)"))
    refused("a.npy holds 100000 x 1000, the examples are 2", reader_of("a.npy")["mean"], most=2_000_000)
    layers = [
        {"name": "x", "type": "Input", "shape": [1, 3]},
        {"name": "y", "type": "Input", "shape": [1]},
        {"name": "loss", "type": "InfogainLoss", "bottom": ["x", "y"], "source": "a.npy"},
    ]
    words = "H must be 3 x 3 for 3 classes, got 100000 x 1000"
    refused(words, lambda: nettrain.Net({"layers": layers}), most=2_000_000)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, "is not a snapshot but weights without"),
        (npy(np.array("{}")), "is not a snapshot but weights without"),
        (npy(np.array('{"format": "nettrain snapshot 3"}')), "it has lost its checksum"),
        (npy(np.array('{"format": "nettrain snapshot 77"}')), "was written by a newer nettrain"),
        (packed("()", "<U25000000"), "is not a snapshot but weights without"),
    ],
    ids=range(5),
)
def test_of_what_is_not_a_snapshot_only_the_state_is_read(state, words):
    members = [("param/ip/0.npy", packed("(25000000,)", "<f4"))] + [("state.npy", state)] * (state is not None)
    archive("a.npz", members)
    refused(words, lambda: find_snapshot("a.npz"), most=2_000_000)


def test_a_sealed_snapshot_holds_no_more_than_its_file():
    solver = nettrain.get_solver("configs/mlp.yaml", settings=["solver.max_iter=1"])
    with zipfile.ZipFile(solver.snapshot()) as good:
        members = [(name, good.read(name)) for name in good.namelist()]
    archive("a.npz", [*members, ("param/x/0.npy", packed("(25000000,)", "<f4"))])
    with open("a.npz", "r+b") as file:
        seal.add(file)
    refused("it has members that nettrain does not write", lambda: find_snapshot("a.npz"), most=2_000_000)


def test_members_that_lie_in_each_other_are_refused():
    """A few bytes, in many names."""
    archive("a.npz", [("data.npy", npy(np.zeros((1000, 100))))], zipfile.ZIP_STORED)
    raw = Path("a.npz").read_bytes()
    at, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    entry = raw[at:end]
    entries = b"".join(entry.replace(b"data.npy", b"dat%d.npy" % i) for i in range(2))
    tail = raw[end : end + 8] + struct.pack("<HHII", 2, 2, len(entries), at) + b"\0\0"
    Path("a.npz").write_bytes(raw[:at] + entries + tail)
    refused("a.npz is damaged", reader_of("a.npz")["npz"])


SHAPES = [
    "(20000000000, 900)",
    "(9223372036854775808,)",
    "(0, 9223372036854775808)",
    "(-1, 2)",
    "(True, 2)",
    "(2.0,)",
    "('a',)",
    "(" + "1," * 70 + ")",
    "(" * 3000,
    "None",
]
TEXTS = [f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}" for shape in SHAPES]
TEXTS += [
    f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': (1,)}}" for kind in ("O", "V2147483647", "zz", "(3,)O")
]
TEXTS += ["{", "{'descr': '<f8'", "[]", "'", "(" * 200, "1" * 9000, "-" * 9000 + "1", '{\'descr\': """', "é\0"]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
@pytest.mark.parametrize("version", [1, 2, 3])
def test_strings_that_are_not_headers_of_arrays(text, version):
    raw = npy_saying(text, bytes(8), version)
    Path("a.npy").write_bytes(raw)
    refused("mean_file a.npy", reader_of("a.npy")["mean"])
    archive("a.npz", [("data.npy", raw)])
    refused("data file a.npz", reader_of("a.npz")["npz"])


def test_a_header_that_says_it_is_long():
    archive("a.npz", [("data.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + bytes(50_000_000))])
    refused("a.npz is damaged", reader_of("a.npz")["npz"])


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("data.npy", npy(np.zeros((2, 2)))), ("data.npy", npy(np.ones((2, 2))))], "a.npz holds data.npy twice"),
        (
            [("[Content_Types].xml", b"<x/>")],
            "a.npz is an archive without arrays, not an .npz file (it has [Content_Ty",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_that_are_not_npz(members, words):
    archive("a.npz", members)
    refused(words, reader_of("a.npz")["npz"])


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_that_numpy_does_not_write(compression):
    with zipfile.ZipFile("a.npz", "w", compression) as file:
        file.writestr("data.npy", npy(np.zeros((2, 2))))
    refused("a.npz is damaged", reader_of("a.npz")["npz"])


def test_an_archive_of_countless_names():
    archive("a.npz", [(f"{'x' * 100}{i}.npy", b"") for i in range(40_000)], zipfile.ZIP_STORED)
    refused("more files than any net has arrays", reader_of("a.npz")["npz"])
