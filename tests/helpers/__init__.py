"""What tests of several folders share: nets in a line, files, processes that do not outlive a test.

Imported by name (``from helpers import layer_net``): pyproject.toml puts ``tests`` on the path. What has to be undone
after a test is a fixture of ``conftest.py``.
"""

import errno
import io
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import nettrain
import numpy as np

PATIENCE = 120  # seconds for what takes one: a machine may have ten times as much to do as it can

# Layers and nets


def layer(name, type, bottom=None, top=None, **keys):
    """A layer of a spec; what is None is left out."""
    given = {"name": name, "type": type, "bottom": bottom, "top": top}
    return {key: value for key, value in given.items() if value is not None} | keys


def layer_net(
    kind,
    *shapes,
    name="y",
    inputs=None,
    phase="TRAIN",
    dtype="float64",
    seed=1701,
    force_backward=True,
    allow_python=False,
    channels_last=False,
    **params,
):
    """A net of one layer over Input layers of these shapes, whose gradients are all computed.

    ``kind`` is the layer's type, or the whole layer without its name and bottoms. The inputs are called as ``inputs``
    says (``"x label"``; there may be fewer shapes than names), or x0, x1 …, in memory ``channels_last`` or not.
    """
    names = inputs.split()[: len(shapes)] if inputs else [f"x{i}" for i in range(len(shapes))]
    bottoms = [layer(one, "Input", shape=list(shape)) for one, shape in zip(names, shapes, strict=True)]
    it = {"name": name} | ({"bottom": names} if names else {}) | (kind if isinstance(kind, dict) else {"type": kind})
    spec = {"force_backward": force_backward, "layers": [*bottoms, it | params]}
    net = nettrain.Net(spec, phase=phase, dtype=dtype, seed=seed, allow_python=allow_python)
    if channels_last:
        for one, shape in zip(names, shapes, strict=True):
            net.blobs[one].reshape(shape, channels_last=True)
        net.reshape()
    return net


def reading_net(kind, top=("data", "label"), *, name="d", phase="TRAIN", dtype="float32", seed=1, **params):
    """A net of one layer that reads data."""
    options = {"name": name, "phase": phase, "dtype": dtype, "seed": seed, "force_backward": False}
    return layer_net(kind, top=top if isinstance(top, str) else list(top), **options, **params)


# Files


IDX_TYPES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array, dtype="u1"):
    """The bytes of an IDX file, from the format's description."""
    array = np.asarray(array)
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, IDX_TYPES[dtype], array.ndim, *array.shape)
    return header + array.astype(f">{dtype}").tobytes()


def npy(array):
    """The bytes of an .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def varint(value):
    """An integer as protocol buffers write it, seven bits a byte, the lowest first."""
    out = b""
    value %= 2**64
    while True:
        out += bytes([value & 127 | (128 if value > 127 else 0)])
        value >>= 7
        if not value:
            return out


def datum(array, label, floats=None, encoded=None):
    """A Datum as protobuf writes it."""
    out = b"".join(varint(field << 3) + varint(size) for field, size in zip((1, 2, 3), array.shape, strict=True))
    if encoded is not None:
        out += varint(4 << 3 | 2) + varint(len(encoded)) + encoded + varint(7 << 3) + b"\x01"
    elif floats == "packed":
        data = array.astype("<f4").tobytes()
        out += varint(6 << 3 | 2) + varint(len(data)) + data
    elif floats:
        out += b"".join(varint(6 << 3 | 5) + struct.pack("<f", v) for v in array.ravel())
    else:
        out += varint(4 << 3 | 2) + varint(array.size) + array.astype("u1").tobytes()
    return out + varint(5 << 3) + varint(label)


def write_lmdb(records, name="db"):
    """A database whose keys are the records' numbers, in eight digits."""
    import lmdb

    with lmdb.open(name, map_size=1 << 22) as database, database.begin(write=True) as transaction:
        for i, record in enumerate(records):
            transaction.put(f"{i:08d}".encode(), record)


def full_disk(file, array, allow_pickle):
    """In place of numpy's ``write_array``: a disk that is full after a few bytes."""
    file.write(b"PK" + bytes(1000))
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Processes

_started = []


def start(*arguments, program=("-m", "nettrain"), by=(), **options):
    """A process of nettrain's, or of Python with another ``program``, whose output can be read as text; started ``by``
    a launcher, several.

    Whatever becomes of the test, the process is gone after it and its pipes are closed.
    """
    command = [*map(str, by), sys.executable, *program, *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes | options)
    _started.append(process)
    return process


def end_processes():
    """Kill what ``start`` started and still runs, and close its pipes."""
    while _started:
        process = _started.pop()
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def wait_until(holds, process=None):
    """Wait until ``holds()`` is true; an error when ``process`` ends before, or after much time."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert process is None or process.poll() is None or holds(), process.communicate()
        assert time.monotonic() < end, f"it did not come in {PATIENCE} s"
        time.sleep(0.002)


def wait_for(path, process=None):
    """Wait until a file is there."""
    wait_until(Path(path).exists, process)


def finish(process, code=0):
    """Wait for the end of a process, which must be with this exit code; what it printed on stdout and stderr."""
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == code, err
    return out, err


def interrupt(process, name="SIGINT", code=130):
    """Send a signal, and wait for the end it brings."""
    process.send_signal(getattr(signal, name))
    return finish(process, code)
