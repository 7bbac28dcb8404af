"""What is undone after each test: folders to work in, processes, layer types; the command line; a page to follow."""

import os
import re
import shlex
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from nettrain.compute import openblas, parallel

pytest.register_assert_rewrite("helpers")

from helpers import end_processes, idx  # noqa: E402

# What tests start should start as it does for people: Python compiles each module once, and not in every process.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# The tests run with the formulas, and a second time with NETTRAIN_ENGINE=onednn.
os.environ.setdefault("NETTRAIN_ENGINE", "numpy")


SHARE = None  # of the processors, for one of pytest-xdist's workers


def pytest_configure(config):
    """Each of pytest-xdist's workers uses its share of the processors; tests of threads say how many they want.

    Several workers may have the processor in common that their nets keep to, and BLAS's threads wait in a loop.
    """
    if hasattr(config, "workerinput"):
        global SHARE
        SHARE = max(1, parallel.threads() // config.workerinput["workercount"])
        parallel.use_threads(SHARE)
        openblas.set_threads(SHARE)


@pytest.fixture(autouse=True)
def zoo():
    """A test's own layer types are gone after it, and its modules: ``mine`` and ``theirs``."""
    from nettrain.net import engines, registry, user_code

    before = registry.types()
    yield
    engines.use_engine("auto")
    registry._TYPES.clear()
    registry._TYPES.update(before)
    user_code._layer_files.clear()
    for name in ("mine", "theirs"):
        sys.modules.pop(name, None)


@pytest.fixture(autouse=True)
def _share():
    """A test may ask for threads, as a command with --threads does: the next would wait with them for others."""
    yield
    if SHARE is not None:
        parallel.use_threads(SHARE)
        openblas.set_threads(SHARE)


@pytest.fixture(autouse=True)
def _wide(monkeypatch):
    """Tables are as wide as they want to be: pytest-xdist sets COLUMNS."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture(autouse=True)
def _no_process_is_left():
    """What a test started with ``helpers.start`` ends with it, when it fails too."""
    yield
    end_processes()


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    """An empty current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETTRAIN_DATA", raising=False)
    return tmp_path


@pytest.fixture
def mnist(workdir):
    """The current folder with a stand-in for MNIST in data/mnist: noise with the label's row bright."""
    folder, rng = workdir / "data" / "mnist", np.random.default_rng(0)
    folder.mkdir(parents=True)
    for stem, count in (("train", 200), ("t10k", 100)):
        labels = np.arange(count) % 10
        images = rng.integers(0, 50, (count, 28, 28))
        images[np.arange(count), labels * 2 + 4] = 255
        (folder / f"{stem}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{stem}-labels-idx1-ubyte").write_bytes(idx(labels))
    return workdir


@pytest.fixture
def data_sets(mnist):
    """The current folder with what the bundled configs read: MNIST's stand-in, pairs of its images, points in HDF5."""
    import h5py

    rng = np.random.default_rng(1)
    for split in ("train", "test"):
        images = rng.integers(0, 255, (200, 1, 28, 28), np.uint8)
        alike = rng.integers(0, 2, 200)
        others = np.where(alike[:, None, None, None], images, 255 - images)
        np.savez(f"pairs_{split}.npz", data=np.concatenate([images, others], axis=1), label=alike)
        points = rng.standard_normal((200, 4)).astype(np.float32)
        with h5py.File(f"{split}.h5", "w") as file:
            file["data"], file["label"] = points, (points[:, 0] > 0).astype(np.float32)
        (mnist / f"{split}.txt").write_text(f"{split}.h5\n")
    return mnist


@pytest.fixture
def nettrain_cli(workdir):
    """Runs a command line in the empty folder; gives click's result. ``exit_code``: what it must be, or may be."""
    from nettrain.cli import main

    def run(*arguments, exit_code=0):
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        allowed = exit_code if isinstance(exit_code, tuple) else (exit_code,)
        assert result.exit_code in allowed, result.output
        assert "Traceback" not in result.output
        return result

    return run


BLOCK = re.compile(r"(?:<!-- ([^>]*) -->\n)?```(\w+)\n(.*?)```", re.DOTALL)


@pytest.fixture
def follow(nettrain_cli, workdir):
    """Does what a page of the docs says, in order; gives the commands' outputs.

    A block behind ``<!-- file NAME -->`` is written, one behind ``<!-- add to NAME -->`` appended. Commands must end as
    ``<!-- exit code N -->`` says, else with 0, and print what the text block after them shows, times aside.
    """

    def without_times(text):
        return re.sub(r" in \d+\.\d s$", " in … s", text, flags=re.MULTILINE)

    def run(page, leave_out=()):
        outputs, shown = {}, None
        for note, kind, text in BLOCK.findall(page):
            if note.startswith("file "):
                (workdir / note.removeprefix("file ")).write_text(text)
            elif note.startswith("add to "):
                with (workdir / note.removeprefix("add to ")).open("a") as file:
                    file.write(text)
            elif kind == "sh":
                code = int(note.removeprefix("exit code ")) if note.startswith("exit code") else 0
                for line in text.strip().splitlines():
                    program, *arguments = shlex.split(line, comments=True)
                    assert program == "nettrain"
                    if arguments[0] not in leave_out:
                        shown = outputs[line] = nettrain_cli(*arguments, exit_code=code).output
            elif kind == "text" and shown is not None:
                assert without_times(text.strip()) in without_times(shown)
                shown = None
        return outputs

    return run
