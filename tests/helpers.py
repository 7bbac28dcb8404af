"""What tests of several folders share: nets in a line, files, processes that do not outlive a test.

Imported by name (``from helpers import layer_net``): pyproject.toml puts ``tests`` on the path. What has to be undone
after a test is a fixture of ``conftest.py``.
"""

import errno
import gzip
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


def write_idx(path, array):
    """An IDX file of unsigned bytes, gzipped when the name says so."""
    array = np.asarray(array, np.uint8)
    raw = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)


def full_disk(file, array, allow_pickle):
    """In place of numpy's ``write_array``: a disk that is full after a few bytes."""
    file.write(b"PK" + bytes(1000))
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Processes

_started = []


def start(*arguments, program=("-m", "nettrain"), **options):
    """A process of nettrain's, or of Python with another ``program``, whose output can be read as text.

    Whatever becomes of the test, the process is gone after it and its pipes are closed.
    """
    command = [sys.executable, *program, *map(str, arguments)]
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
