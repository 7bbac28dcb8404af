"""Files that are pipes, folders, holes, or of another kind than is asked for: a message, soon, in little memory."""

import gzip
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from helpers.hostile import first_batch, reader_of, refused
from nettrain import NettrainError
from nettrain.files import arrays as npz
from nettrain.files import reading
from nettrain.net.spec_file import read_file
from PIL import Image

HUGE = 2**40

pytestmark = pytest.mark.usefixtures("workdir")


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
    "Data": ("a.npz", "a.npy", "table.csv", "folder"),
    "ImageData": ("images.txt", "folder"),
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
        "image a.h5 is not an image: it is an HDF5 file; `HDF5Data` reads it",
        lambda: first_batch("ImageData", source="list.txt"),
    )
    Path("list.txt").write_text("a.png\n")
    words = "a.png is not an HDF5 file: it is a PNG image; `Data` reads a folder of images for each class"
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
