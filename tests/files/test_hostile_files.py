"""Files made to do harm: pipes and devices, sizes that are not true, little that unpacks to much, every kind of damage.

What is refused is refused at once, in words, and without memory for what it claims.
"""

import gzip
import os
import random
import resource
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zipfile
from pathlib import Path

import h5py
import lmdb
import nettrain
import numpy as np
import pytest
from helpers import npy, reading_net
from nettrain import NettrainError
from nettrain.data.btree import Database
from nettrain.files import arrays as npz
from nettrain.files import reading, seal
from nettrain.net.spec_file import read_file
from nettrain.solver.runs import find_snapshot
from PIL import Image

HUGE = 2**40


pytestmark = pytest.mark.usefixtures("workdir")


def first_batch(kind, top=("data", "label"), **params):
    net = reading_net(kind, top, phase="TEST", **params)
    net.forward()
    return net


def refused(words, make, most=20_000_000):
    """``make`` ends with a message, soon, and never has much memory."""
    started = time.process_time()
    tracemalloc.start()
    try:
        with pytest.raises(NettrainError) as error:
            make()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert words in str(error.value), str(error.value)
    assert time.process_time() - started < 3
    assert peak < most


def reader_of(name):
    """What reads a file of this name, in each of the ways there are."""
    weights = {"layers": [{"name": "in", "type": "Input", "top": "x", "shape": [1, 2]}]}
    tiny = {"source": "tiny.npz", "batch_size": 1}
    np.savez("tiny.npz", data=np.zeros((2, 2)), label=np.zeros(2))
    Path("list.txt").write_text(f"{name} 0\n")
    Path("files.txt").write_text(f"{name}\n")
    return {
        "npz": lambda: first_batch("Data", source=name, batch_size=1),
        "csv": lambda: first_batch("Data", source=name, batch_size=1),
        "idx": lambda: first_batch("Data", source=name, batch_size=1),
        "lmdb": lambda: first_batch("Data", source=name, batch_size=1, backend="LMDB"),
        "mean": lambda: first_batch("Data", **tiny, transform={"mean_file": name}),
        "weights": lambda: nettrain.Net(weights).copy_from(name),
        "image": lambda: first_batch("ImageData", source="list.txt"),
        "list": lambda: first_batch("ImageData", source=name),
        "windows": lambda: first_batch("WindowData", source=name, batch_size=1, transform={"crop_size": 2}),
        "hdf5": lambda: first_batch("HDF5Data", source="files.txt", batch_size=1),
        "hdf5 list": lambda: first_batch("HDF5Data", source=name, batch_size=1),
    }


KINDS = {"npz": "a.npz", "csv": "a.csv", "idx": "a-idx3-ubyte", "mean": "a.npy", "weights": "a.npz", "hdf5": "a.h5"}
READERS = ["npz", "csv", "idx", "lmdb", "mean", "weights", "image", "list", "windows", "hdf5", "hdf5 list"]


@pytest.mark.parametrize("what", ["pipe", "device", "link", "socket"])
@pytest.mark.parametrize("kind", READERS)
def test_only_regular_files_are_read(kind, what):
    name = KINDS.get(kind, "a.txt")
    if what == "pipe":
        os.mkfifo(name)
    elif what == "socket":
        os.mknod(name, 0o140600)
    else:
        Path("other").symlink_to("/dev/zero")
        Path(name).symlink_to("/dev/zero" if what == "device" else "other")
    kinds = {"pipe": "it is a pipe", "socket": "it is a socket", "device": "it is a device", "link": "it is a device"}
    refused(f"{kinds[what]}; only regular files are read", reader_of(name)[kind])


def test_a_pipe_is_called_one():
    os.mkfifo("a.npz")
    refused(
        "weights file a.npz cannot be read: it is a pipe; only regular files are read", reader_of("a.npz")["weights"]
    )


def test_a_spec_is_no_device():
    refused("cannot be read: it is a device", lambda: read_file(Path("/dev/zero")))


def test_a_pipe_that_nobody_opens_is_given_up(monkeypatch):
    monkeypatch.setattr(reading, "PATIENCE", 0.1)
    os.mkfifo("a.yaml")
    words = "a.yaml: cannot be read: it is a pipe into which nobody wrote for 0.1 seconds"
    refused(words, lambda: read_file(Path("a.yaml")))


def test_a_pipe_is_waited_for_until_somebody_opens_it():
    os.mkfifo("a.yaml")
    thread = threading.Timer(0.2, lambda: Path("a.yaml").write_text("a: 1\n"))
    thread.start()
    assert read_file(Path("a.yaml")).to_python() == {"a": 1}
    thread.join()


def test_a_spec_may_come_from_a_command():
    spec = "layers: [{name: x, type: Input, shape: [1, 2]}]"
    nettrain = f"{sys.executable} -m nettrain check"
    for line in (f"{nettrain} <(echo '{spec}')", f"echo '{spec}' | {nettrain} /dev/stdin"):
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_a_pipe_that_gives_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(reading, "PATIENCE", 0.1)
    os.mkfifo("a.yaml")
    writer = os.open("a.yaml", os.O_RDWR)
    refused("nobody wrote for 0.1 seconds", lambda: read_file(Path("a.yaml")))
    os.close(writer)


def test_a_pipe_that_gives_late_is_waited_for():
    os.mkfifo("a.yaml")
    writer = os.open("a.yaml", os.O_RDWR)

    def write():
        time.sleep(0.2)
        os.write(writer, b"a: 1\n")
        os.close(writer)

    thread = threading.Thread(target=write)
    thread.start()
    assert read_file(Path("a.yaml")).to_python() == {"a": 1}
    thread.join()


@pytest.mark.parametrize("kind", ["npz", "idx", "mean", "weights", "lmdb", "csv"])
def test_a_file_with_a_hole_larger_than_memory(kind):
    name = KINDS.get(kind, "a.mdb")
    with open(name, "wb") as file:
        file.truncate(HUGE)
    refused(name, reader_of(name)[kind], most=200_000_000)


def test_a_name_that_is_too_long_is_an_error_wherever_it_stands():
    for length in (251, 254, 255, 300, 5000):
        name = "a" * (length - 4) + ".npz"
        for kind in ("npz", "mean", "weights", "image", "hdf5"):
            refused("", reader_of(name)[kind])


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
    refused("needs 0.1 GB of memory, this machine has 0.1 GB", reader_of("a-idx3-ubyte.gz")["idx"])


# npz and npy


def archive(name, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(name, "w", compression, compresslevel=1) as file:
        for member, content in members:
            file.writestr(member, content)


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
    refused("`mask` has 100,000 rows, there are 4", lambda: first_batch(*net, source="a.npz", batch_size=1), most=most)
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
def test_of_what_is_no_snapshot_only_the_state_is_read(state, words):
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
def test_headers_of_arrays_that_are_none(text, version):
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
def test_archives_that_are_no_npz(members, words):
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


# csv

ROWS = "1,2,0\n3,4,1\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,1_0,0\n", "a.csv:1: `1_0` is not a number"),
        (ROWS + "1,١,0\n", "a.csv:3: `١` is not a number"),
        (ROWS + "1,0x10,0\n", "a.csv:3: `0x10` is not a number"),
        (ROWS + '1,"2\n3",0\n', "a.csv:3: a quoted cell does not end on its line"),
        ('a,"b\nc",label\n' + ROWS, "a.csv:1: a quoted cell does not end on its line"),
        (ROWS + "\n\n1,,0\n", "a.csv:5: column 2 is empty; a number is needed"),
        (ROWS + "1,\0,0\n", "a.csv:3: `\\x00` is not a number"),
        (
            "label,a,label\n" + ROWS,
            "a.csv has 2 columns `label`; say which is the label by its number: label_column: 0 or 2",
        ),
        ("1," * (1 << 23), "line 1 has more than 8,388,608 characters"),
        (ROWS * 3000 + "1,\u00e9,\n", "a.csv:6001: `\u00e9` is not a number"),
    ],
    ids=range(10),
)
def test_tables_of_what_are_no_numbers(text, words):
    Path("a.csv").write_text(text, encoding="utf-8")
    refused(words, reader_of("a.csv")["csv"], most=100_000_000)


SEPARATED = "the columns are separated by {0}; nettrain reads `,` between columns: write `,` for {0}"
COMMAS = (
    "the columns are separated by {0}, and numbers have a decimal comma; nettrain reads `,` between columns; write "
    "1.5 for 1,5, and then `,` for {0}"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1;2;0\n", "a.csv:1: " + SEPARATED.format("`;`")),
        ("a;b;label\n1;2;0\n", "a.csv:2: " + SEPARATED.format("`;`")),
        ("1\t2\t0\n", "a.csv:1: " + SEPARATED.format("tabs")),
        ("1 2  0\n", "a.csv:1: " + SEPARATED.format("blanks")),
        ("1|2|0\n", "a.csv:1: " + SEPARATED.format("`|`")),
        ("a;b;label\n1,5;2,5;0\n", "a.csv:2: " + COMMAS.format("`;`")),
        ("1,5\t2,5\t0\n", "a.csv:1: " + COMMAS.format("tabs")),
        ("5;3;setosa\n", "a.csv:1: " + SEPARATED.format("`;`")),
        ('"1,5","2,5",0\n', "a.csv:1: `1,5` is not a number with a decimal point; write 1.5"),
        (
            "5.1,3.5,setosa\n",
            "a.csv:1: `setosa` is not a number, and the label of an example is one: number the classes from 0, such "
            "as 0 for `setosa`",
        ),
        ("kind,x,y\n1,2,3\nIris versicolor,2,3\n", "number the words in column 1, or leave it out"),
        ("label,x\ncat,2\n", "such as 0 for `cat`"),
        ("x,y,z\n1,2,3\n1,NA,3\n", "a.csv:3: `NA` is not a number: column 2 has no value there"),
        ("Label,x,y\n0,1,2\n", "column `Label`: did you mean `label`? The label would be the last column, `y`; rename"),
        ("x,LABEL,y\n0,1,2\n", "rename one, or say label_column: LABEL"),
        ("LABELS,0,1\n0,1,2\n", "column `LABELS`: did you mean `label`?"),
    ],
)
def test_tables_of_other_formats_are_said_to_be(text, words):
    Path("a.csv").write_text(text)
    refused(words, reader_of("a.csv")["csv"])


def test_a_label_in_capitals_is_the_last_column_or_is_named():
    Path("a.csv").write_text("x,y,Label\n1,2,0\n")
    assert first_batch("Data", source="a.csv", batch_size=1).blobs["label"].data.tolist() == [0]
    Path("a.csv").write_text("Label,x,y\n7,1,2\n")
    net = first_batch("Data", source="a.csv", batch_size=1, label_column="Label")
    assert net.blobs["label"].data.tolist() == [7]
    words = "has no column `label`; did you mean `Label`?"
    refused(words, lambda: first_batch("Data", source="a.csv", batch_size=1, label_column="label"))


def test_names_of_columns_are_shown_in_part():
    """However long, and however many."""
    for head in (["label ", "x" * 500_000], ["x" * 500_000, "y"], [f"c{i}" for i in range(100_000)]):
        Path("a.csv").write_text(",".join(head) + "\n" + ",".join("1" for _ in head) + "\n")
        with pytest.raises(NettrainError) as error:
            first_batch("Data", source="a.csv", batch_size=1, label_column="none such")
        assert len(str(error.value)) < 1000
    Path("a.csv").write_text("Label," + "x" * 500_000 + "\n1,2\n")
    with pytest.raises(NettrainError, match="did you mean `label`") as error:
        first_batch("Data", source="a.csv", batch_size=1)
    assert len(str(error.value)) < 1000


def test_a_number_too_large_for_float32_is_called_that(nettrain_cli):
    Path("a.csv").write_text("1,2,0\n1,1e300,1\n")
    Path("a.yaml").write_text("layers: [{name: d, type: Data, top: [x, y], source: a.csv, batch_size: 2}]")
    words = "a.csv: `x` of example 1 holds 1e+300 in column 1, both counted from 0; that is more than the net's numbers"
    assert words in nettrain_cli("check", "a.yaml", exit_code=2).stderr


def test_an_array_of_an_archive_keeps_its_kind():
    path = Path("a.npz")
    npz.write_npz(path, {"single": np.ones(3, np.float32), "large": np.array([2**60 + 1])})
    with npz.open_npz(path, "file") as archive:
        assert np.asarray(archive["single"]).dtype == np.float32
        assert np.asarray(archive["large"]).tolist() == [2**60 + 1]
        assert np.asarray(archive["single"], np.float64).dtype == np.float64


def test_the_place_of_a_byte_that_is_no_text_is_counted_from_the_begin_of_the_file():
    for mark in (b"", b"\xef\xbb\xbf"):
        for at in (0, 100, 5000, 8191, 8192, 100_000):
            rows = (ROWS.encode() * 20_000)[:at]
            Path("a.csv").write_bytes(mark + rows + b"\xff,1,2\n")
            refused(f"byte {len(mark) + at} is not UTF-8", reader_of("a.csv")["csv"])


def test_of_two_columns_of_one_name_the_label_is_chosen_by_number():
    Path("a.csv").write_text("label,a,label\n" + ROWS)
    assert first_batch("Data", source="a.csv", batch_size=2, label_column=2, shuffle=False).blobs[
        "label"
    ].data.tolist() == [
        0,
        1,
    ]
    Path("a.csv").write_text("x,x,label\n" + ROWS)
    first_batch("Data", source="a.csv", batch_size=2)


def test_the_label_is_any_column_of_a_table():
    Path("a.csv").write_text("a,b,c\n" + ROWS)
    for column in range(3):
        net = first_batch("Data", source="a.csv", batch_size=2, label_column=column, shuffle=False)
        table = np.array([[1, 2, 0], [3, 4, 1]])
        np.testing.assert_array_equal(net.blobs["label"].data, table[:, column])
        np.testing.assert_array_equal(net.blobs["data"].data, np.delete(table, column, axis=1))


# Images and lists


def test_a_small_image_file_of_very_many_pixels():
    for size, words in (
        ((12_000, 9000), "12,000 x 9,000 pixels; of a file of its size up to"),
        ((20_000, 9000), "more"),
    ):
        Image.new("1", size).save("a.png")
        assert Path("a.png").stat().st_size < 50_000
        refused(f"list.txt:1: image a.png has {words}", reader_of("a.png")["image"])


def test_an_image_is_the_same_in_one_piece_and_in_bands():
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1100, 3), "u1")
    Image.fromarray(pixels).save("a.png")
    made = reader_of("a.png")["image"]().blobs["data"].data[0]
    np.testing.assert_array_equal(made, pixels.transpose(2, 0, 1)[::-1])


def test_a_format_that_runs_a_program_is_no_image():
    Path("a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    refused("list.txt:1: image a.eps is no image, or damaged", reader_of("a.eps")["image"])


def test_lists_of_other_systems_are_read():
    for name in ("a.png", "b.png"):
        Image.new("RGB", (3, 2)).save(name)
    Path("list.txt").write_bytes(b"\xef\xbb\xbfa.png 3\r\n\r\nb.png 4\r\n")
    assert first_batch("ImageData", source="list.txt", batch_size=2).blobs["label"].data.tolist() == [3, 4]
    Path("list.txt").write_bytes(b"\na.png 3\nb.png 4 \n\nc.png 5\n")
    refused(
        "list.txt:5: image c.png: there is no file",
        lambda: first_batch("ImageData", source="list.txt", batch_size=3),
    )


@pytest.mark.parametrize("number", ["²", "١", "9" * 5000, "-1", "1_0", "", "1e3"])
def test_numbers_of_a_window_file(number):
    lines = ["# 0", "a.png", "3", "6", "8", "1", "1 0.9 1 1 4 4"]
    for at in range(2, 6):
        Path("w.txt").write_text("\n".join([*lines[:at], number, *lines[at + 1 :]]), encoding="utf-8")
        refused("w.txt:", reader_of("w.txt")["windows"])
    for at in range(6):
        words = lines[6].split()
        words[at] = "nan" if at == 1 else number if number != "-1" else "x"
        Path("w.txt").write_text("\n".join([*lines[:6], " ".join(words)]), encoding="utf-8")
        refused("w.txt:7: `class overlap x1 y1 x2 y2` is expected", reader_of("w.txt")["windows"])


def test_a_window_file_that_announces_more_windows_than_there_are():
    Path("w.txt").write_text("# 0\na.png\n3\n6\n8\n9999999999\n1 0.9 1 1 4 4\n")
    refused("w.txt:8: `class overlap x1 y1 x2 y2` is expected, the file ends", reader_of("w.txt")["windows"])


# LMDB


def write_random_lmdb(sizes, deleted=0, seed=0):
    rng, records = random.Random(seed), {}
    with lmdb.open("db", map_size=1 << 26) as database:
        with database.begin(write=True) as transaction:
            for _ in range(300):
                key, value = b"%08d" % rng.randrange(10**8), rng.randbytes(rng.choice(sizes))
                records[key] = value
                transaction.put(key, value)
        with database.begin(write=True) as transaction:
            for key in rng.sample(sorted(records), deleted):
                transaction.delete(key)
                del records[key]
    return records


@pytest.mark.parametrize("sizes", [[0, 1, 20], [20, 300, 3000], [2020, 2030, 2040, 10_000]])
@pytest.mark.parametrize("deleted", [0, 150, 300])
def test_a_database_is_what_the_library_wrote(sizes, deleted):
    records = write_random_lmdb(sizes, deleted)
    database = Database(Path("db/data.mdb"))
    assert [database[i] for i in range(len(database))] == sorted(records.items())


def test_no_damage_to_a_database_gives_anything_but_an_error_or_records():
    """The library ends with SIGBUS or SIGABRT for many of these."""
    write_random_lmdb([20, 300, 3000])
    file = Path("db/data.mdb")
    whole, page, rng = file.read_bytes(), 4096, random.Random(1)
    pages = len(whole) // page
    cases = [whole[: k * page] for k in range(pages)] + [whole[: rng.randrange(len(whole))] for _ in range(60)]
    for _ in range(400):
        damaged = bytearray(whole)
        if rng.random() < 0.3:
            here, there = rng.randrange(pages) * page, rng.randrange(pages) * page
            damaged[here : here + page] = whole[there : there + page]
        else:
            at = rng.choice([rng.randrange(pages) * page + rng.randrange(60), rng.randrange(len(whole) - 8)])
            number = rng.choice([0, 1, 255, 65535, 2**31, 2**63, 2**64 - 1, rng.randrange(2**64)])
            length = rng.choice([1, 2, 4, 8])
            damaged[at : at + length] = (number % 256**length).to_bytes(length, "little")
        cases.append(bytes(damaged))
    refusals = 0
    for case in cases:
        file.write_bytes(case)
        try:
            database = Database(file)
            for i in range(0, len(database), 10):
                database[i]
        except ValueError:
            refusals += 1
    assert refusals > pages + 60


def test_a_record_that_vanishes_while_it_is_in_use():
    datum = b"\x08\x01\x10\x01\x18\x02\x22\x02ab\x28\x01"
    with lmdb.open("db", map_size=1 << 20) as database, database.begin(write=True) as transaction:
        for i in range(9):
            transaction.put(b"%04d\x1b" % i, datum)
    net = first_batch("Data", source="db", batch_size=3)
    with open("db/data.mdb", "r+b") as file:
        file.truncate(8192)
    refused("of db cannot be read: it was changed while it was in use", net.forward)
    refused("db cannot be read as LMDB: it is cut or damaged", lambda: first_batch("Data", source="db", batch_size=3))


# HDF5


def hdf5(make, **params):
    Path("a.h5").unlink(missing_ok=True)
    with h5py.File("a.h5", "w") as file:
        make(file)
    return reader_of("a.h5")["hdf5"]


def test_links_of_an_hdf5_file():
    with h5py.File("other.h5", "w") as file:
        file["data"] = file["label"] = np.zeros(3)

    def dangling(file):
        file["label"], file["data"] = np.zeros(3), h5py.SoftLink("/nowhere")

    def round_and_round(file):
        file["label"], file["data"] = np.zeros(3), h5py.SoftLink("/label2")
        file["label2"] = h5py.SoftLink("/data")

    def outside(file):
        file["label"], file["data"] = np.zeros(3), h5py.SoftLink("/there")
        file["there"] = h5py.ExternalLink("other.h5", "/data")

    def pieces(file):
        layout = h5py.VirtualLayout((3,), "f4")
        layout[:] = h5py.VirtualSource("other.h5", "data", (3,))
        file["label"] = np.zeros(3)
        file.create_virtual_dataset("data", layout)

    def elsewhere(file):
        file["label"] = np.zeros(3)
        file.create_dataset("data", (3,), "f4", external=[("/dev/zero", 0, 12)])

    for make in (dangling, round_and_round):
        refused("a.h5 has no dataset `data` for that top", hdf5(make))
    refused("a.h5: `data` is a link to another file, which is not read", hdf5(outside))
    for make in (pieces, elsewhere):
        refused("a.h5: `data` lies in other files, which are not read", hdf5(make))

    def inside(file):
        file["group/values"], file["label"] = np.arange(3.0), np.zeros(3)
        file["data"] = h5py.SoftLink("group/values")

    assert hdf5(inside)().blobs["data"].data.tolist() == [0]


def test_datasets_that_say_more_than_the_file_holds():
    def rows(file):
        file["label"] = np.zeros(3)
        file.create_dataset("data", (10**12, 3), "f4", chunks=(10, 3))

    def chunk(file):
        file["label"] = np.zeros(3)
        file.create_dataset("data", (3, 40_000_000), "u1", chunks=(3, 40_000_000), compression="gzip")[:] = 1

    for make in (rows, chunk):
        refused("a.h5: `data` is damaged", hdf5(make))


def test_a_list_of_more_files_than_may_be_open():
    names = [f"{i}.h5" for i in range(120)]
    for i, name in enumerate(names):
        with h5py.File(name, "w") as file:
            file["data"], file["label"] = np.full(1, i), np.full(1, i)
    Path("all.txt").write_text("\n".join(names))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100 + len(os.listdir("/proc/self/fd")), before[1]))
    try:
        net = first_batch("HDF5Data", source="all.txt", batch_size=120)
        assert net.blobs["data"].data.tolist() == list(range(120))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_image_has_so_many_pixels_on_a_side():
    """Readers of formats keep whole rows, and something for each: 16 bytes of memory for a pixel of a long line."""
    for size in ((300_000, 2), (2, 300_000)):
        Image.new("1", size).save("a.png")
        refused("and 262,144 on a side", reader_of("a.png")["image"])


@pytest.mark.parametrize("form", ["png", "ppm", "tiff"])
def test_of_16_bits_the_upper_8_are_taken(form):
    values = (np.arange(12).reshape(3, 4) * 5000).astype(np.uint16)
    if form == "ppm":  # which pillow cannot write in all versions
        Path("a.ppm").write_bytes(b"P5 4 3 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(f"a.{form}")
    Path("list.txt").write_text(f"a.{form} 0\n")
    made = first_batch("ImageData", source="list.txt", is_color=False).blobs["data"].data
    np.testing.assert_array_equal(made[0, 0], values >> 8)


# Of another kind


def files_of_all_kinds():
    """By name, with what they are called and what is said to read them."""
    with h5py.File("a.h5", "w") as file:
        file["data"] = np.ones((2, 2))
    Image.new("RGB", (4, 4)).save("a.png")
    np.savez("a.npz", data=np.ones((2, 2)))
    np.save("a.npy", np.ones(3))
    Path("folder").mkdir()
    Image.new("RGB", (4, 4)).save("folder/a.png")
    Path("table.csv").write_text("1,2,0\n3,4,1\n")
    Path("table.csv.gz").write_bytes(gzip.compress(b"1,2,0\n"))
    Path("hdf5.txt").write_text("a.h5\n")
    Path("images.txt").write_text("a.png 0\n")
    Path("windows.txt").write_text("# 0\na.png\n3\n4\n4\n1\n1 0.9 0 0 1 1\n")
    return {
        "a.h5": ("it is an HDF5 file", "`HDF5Data`"),
        "a.png": ("it is a PNG image", "`ImageData`"),
        "a.npz": ("it is an archive of arrays (.npz)", "`Data`"),
        "a.npy": ("it is a single array (.npy)", "`Data`"),
        "folder": ("folder is a folder, not a data file", "`ImageData`"),
        "table.csv": ("it is a table", "`Data`"),
        "table.csv.gz": ("it is a gzip file", "gunzip"),
        "hdf5.txt": ("it is a list of HDF5 files", "`HDF5Data`"),
        "images.txt": ("it is a PNG image", "`ImageData`"),  # HDF5Data opens what it lists
        "windows.txt": ("it is a window file", "`WindowData`"),
    }


READ_BY = {
    "Data": ("a.npz", "table.csv"),
    "ImageData": ("images.txt",),
    "HDF5Data": ("hdf5.txt",),
    "WindowData": ("windows.txt",),
}


@pytest.mark.parametrize("kind", READ_BY)
def test_a_file_of_another_kind_is_called_what_it_is(kind):
    transform = {"transform": {"crop_size": 2}} if kind == "WindowData" else {}
    for name, (what, reader) in files_of_all_kinds().items():
        if name in READ_BY[kind]:
            continue
        with pytest.raises(NettrainError) as error:
            first_batch(kind, source=name, batch_size=1, **transform)
        if name == "images.txt" and kind != "HDF5Data":
            what = "it is a list of images"
        assert what in str(error.value), name
        assert reader in str(error.value), name
        assert name in str(error.value) or name == "images.txt"
        assert "codec" not in str(error.value)


def test_an_entry_of_a_list_that_is_another_kind_is_called_what_it_is():
    files_of_all_kinds()
    Path("list.txt").write_text("a.h5 0\n")
    refused(
        "image a.h5 is no image: it is an HDF5 file; `HDF5Data` reads it",
        lambda: first_batch("ImageData", source="list.txt"),
    )
    Path("list.txt").write_text("a.png\n")
    words = "a.png is no HDF5 file: it is a PNG image; `ImageData` reads images"
    refused(words, lambda: first_batch("HDF5Data", source="list.txt", batch_size=1))


def test_a_number_that_is_none_in_another_precision_is_no_warning():
    """A signalling NaN of 64 bits."""
    bad = np.array([[0x7FF0000000000001, 0]], np.uint64).view(np.float64)
    np.save("mean.npy", bad[0])
    np.savez("a.npz", data=bad, label=np.zeros(1), more=bad)
    with h5py.File("a.h5", "w") as file:
        file["data"], file["label"] = bad, np.zeros(1)
    Path("list.txt").write_text("a.h5")
    first_batch("Data", ["data", "label", "more"], source="a.npz", batch_size=1, transform={"mean_file": "mean.npy"})
    first_batch("HDF5Data", source="list.txt", batch_size=1)


def test_a_header_that_takes_long_to_read_is_refused_in_no_time():
    """numpy gives what Python cannot parse to a tokenizer, which takes the cube of the length for some texts."""
    text = b"\xe9" + b" " * 9_000 + b"\x1e\n"
    Path("a.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)
    started = time.process_time()
    refused("array a.npy is damaged or not an .npy file", lambda: npz.read_npy(Path("a.npy"), "array"))
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "=" + "x" * 5000],
        ["check", "x" * 5000],
        ["test", "x" * 5000],
        ["test", "x" * 5000, "--weights", "w.npz"],
        ["train", "--resume", "x" * 5000],
        ["plot", "x" * 5000],
        ["check", "net.yaml", "--allow-python"],
    ],
    ids=lambda arguments: arguments[0] + str(len(arguments)),
)
def test_a_name_too_long_for_a_file_is_an_error_in_words(nettrain_cli, arguments):
    Path("net.yaml").write_text("layers: [{name: p, type: Python, module: " + "x" * 5000 + ", layer: A, top: y}]")
    assert nettrain_cli(*arguments, exit_code=2).stderr


def test_a_folder_in_a_list_of_hdf5_files_is_named_with_the_list():
    Path("files.txt").write_text("here\n")
    Path("here").mkdir()
    refused("files.txt:1: here is not an HDF5 file", lambda: first_batch("HDF5Data", source="files.txt", batch_size=1))
