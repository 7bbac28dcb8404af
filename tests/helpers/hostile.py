"""What tests of hostile files share: readers of every kind, and what it is to be refused."""

import time
import tracemalloc
import zipfile
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain import NettrainError

from helpers import reading_net


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


def archive(name, members, compression=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(name, "w", compression, compresslevel=1) as file:
        for member, content in members:
            file.writestr(member, content)
