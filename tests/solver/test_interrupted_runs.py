"""Processes that train and are killed, told to stop, or lose their disk, data or reader: nothing is lost."""

import json
import os
import random
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

import helpers
import nettrain
import numpy as np
import pytest
import yaml
from helpers import PATIENCE, finish, interrupt, wait_for, wait_until
from helpers.runs import rows, solver, spec, write_images, write_spec
from nettrain.solver.finding import find_snapshot
from nettrain.solver.runs import Run
from nettrain.solver.snapshot import read_snapshot


@pytest.fixture(autouse=True)
def _data(workdir):
    write_images()


# Processes


start = partial(helpers.start, "train")


def metrics_of(folder):
    """How many lines of metrics a run has written."""
    return Path(folder, "metrics.jsonl").read_bytes().count(b"\n")


# trains as a command would, in a child of a process that has imported everything: starting Python thirty times takes
# longer than all that is killed
FORKING = """
import json, os, sys
import nettrain.layers, nettrain.tools.training
from nettrain.__main__ import main
for line in sys.stdin:
    child = os.fork()
    if not child:
        output = os.open("output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1), os.dup2(output, 2)
        sys.argv = ["nettrain", "train", *json.loads(line)]
        sys.exit(main())
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_thirty_kills_change_nothing():
    keys = {"max_iter": 1500, "snapshot": 2, "snapshot_keep": 3, "test_interval": 50, "display": 10, "type": "Adam"}
    write_spec(**keys)
    whole = solver("whole", **keys | {"snapshot": 0})
    whole.solve()
    rng, metrics = random.Random(1), Path("part/metrics.jsonl")
    process = helpers.start("-c", FORKING, program=(), stdin=subprocess.PIPE)
    for _ in range(30):
        arguments = ["--resume", "part"] if Path("part/best.npz").exists() else []
        before = metrics.stat().st_mtime_ns if metrics.exists() else 0
        process.stdin.write(json.dumps(["run.yaml", "--out", "part", "--threads", "1", *arguments]) + "\n")
        process.stdin.flush()
        child = int(process.stdout.readline())
        # it trains when it writes its first line
        wait_until(lambda before=before: metrics.exists() and metrics.stat().st_mtime_ns != before, process)
        time.sleep(rng.uniform(0, 0.08))
        os.kill(child, signal.SIGKILL)
        assert int(process.stdout.readline()) == -signal.SIGKILL, Path("output").read_text()
        for path in Path("part").glob("*.npz"):
            read_snapshot(path)  # nothing unreadable has a final name
    assert Run("", folder="part").snapshots()
    finish(start("run.yaml", "--resume", "part"))
    found = [read_snapshot(Path(name, "iter_1500.npz")) for name in ("part", "whole")]
    for name, array in found[1].params.items():
        np.testing.assert_array_equal(found[0].params[name], array)
    assert rows("part") == rows("whole")
    assert not list(Path("part").glob(".*"))


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_to_stop_leaves_a_snapshot_to_go_on_from(name, code):
    write_spec(max_iter=10**6, display=1)
    process = start("run.yaml", "--out", "part")
    wait_for("part/metrics.jsonl", process)
    _, err = interrupt(process, name, code)
    assert "stopping after this iteration" in err
    assert "resume  nettrain train --resume part" in err
    at = find_snapshot(Path("part")).snapshot.iter
    out, _ = finish(start("--resume", "part", "--set", f"solver.max_iter={at + 5}"))
    assert f"done: {at + 5} iterations" in out
    whole = solver("whole", max_iter=at + 5)
    whole.solve()
    assert rows("part") == rows("whole")


def test_sighup_writes_a_snapshot_and_goes_on():
    write_spec(max_iter=10**6, display=1, test_interval=0)
    process = start("run.yaml", "--out", "part", stdout=subprocess.DEVNULL)
    wait_for("part/metrics.jsonl", process)
    assert not list(Path("part").glob("iter_*"))
    process.send_signal(signal.SIGHUP)
    wait_until(lambda: list(Path("part").glob("iter_*.npz")), process)
    here = metrics_of("part")
    wait_until(lambda: metrics_of("part") > here + 1, process)  # it goes on
    interrupt(process)
    assert len(list(Path("part").glob("iter_*"))) == 2


def test_effects_may_be_chosen():
    write_spec(max_iter=10**6, display=1, test_interval=0)
    process = start(
        "run.yaml", "--out", "part", "--sigint_effect", "none", "--sighup-effect", "stop", stdout=subprocess.DEVNULL
    )
    wait_for("part/metrics.jsonl", process)
    process.send_signal(signal.SIGINT)
    here = metrics_of("part")
    wait_until(lambda: metrics_of("part") > here + 100, process)  # it goes on
    interrupt(process, "SIGHUP", 129)


def test_a_full_disk_leaves_the_snapshots_before():
    """A limit of the system on the size of files: the snapshot with its momentum no longer fits."""
    resource = pytest.importorskip("resource")
    write_spec(max_iter=40, snapshot=10, test_interval=0, display=1)
    size = solver("size").snapshot().stat().st_size
    small = solver("part", snapshot=10, test_interval=0)
    small.run.open()
    small.step(10)
    small.run.close()

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 500, size - 500))

    _, err = finish(start("run.yaml", "--resume", "part", preexec_fn=limit), 1)
    assert "cannot write part/iter_20.npz: File too large; part/iter_10.npz is intact" in err
    assert sorted(path.name for path in Path("part").iterdir()) == [
        "iter_10.npz",
        "metrics.jsonl",
        "run.json",
        "spec.yaml",
    ]
    assert find_snapshot(Path("part")).snapshot.iter == 10


def test_the_same_bits_with_one_thread_and_two():
    """A net large enough that two threads share its products, its convolution and its update."""
    layers = [
        {"name": "d", "type": "DummyData", "shape": [64, 8, 24, 24], "data_filler": "gaussian"},
        {"name": "t", "type": "DummyData", "shape": [64, 600], "data_filler": "gaussian"},
        {"name": "conv", "type": "Convolution", "bottom": "d", "num_output": 16, "kernel_size": 3, "stride": 2},
        {"name": "relu", "type": "ReLU"},
        {"name": "drop", "type": "Dropout"},
        {"name": "ip", "type": "InnerProduct", "num_output": 600},
        {"name": "loss", "type": "EuclideanLoss", "bottom": ["ip", "t"]},
    ]
    keys = {"type": "Adam", "base_lr": 0.01, "max_iter": 5, "display": 1, "weight_decay": 0.01, "clip_gradients": 1}
    Path("run.yaml").write_text(yaml.safe_dump({"name": "run", "solver": keys, "layers": layers}))
    for threads in (1, 2):
        out, _ = finish(start("run.yaml", "--out", f"threads{threads}", "--threads", threads))
        assert f"{threads} thread{'s' if threads > 1 else ''} " in out
    assert rows("threads1") == rows("threads2")
    found = [read_snapshot(Path(f"threads{threads}/iter_5.npz")) for threads in (1, 2)]
    assert sum(array.size for array in found[0].params.values()) > 1 << 20
    for name, array in found[0].params.items():
        np.testing.assert_array_equal(found[1].params[name], array)
    for mine, theirs in zip(found[0].history, found[1].history, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def start_slow(seconds):
    """A run in the middle of a first forward pass that takes so long, in short steps as a layer's are: a signal that
    comes between Python's own look and one long call would wait for all of it."""
    slow = f"import time; [time.sleep(0.01) for _ in range({100 * seconds})]"
    Path("slow.py").write_text(
        "class Slow:\n"
        "    def setup(self, bottom, top): pass\n"
        "    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)\n"
        f"    def forward(self, bottom, top): open('began', 'w').close(); {slow}\n"
        "    def backward(self, top, propagate_down, bottom): pass\n"
    )
    one = spec(max_iter=10, test_interval=0)
    one["layers"].append({"name": "slow", "type": "Python", "bottom": "ip2", "module": "slow", "layer": "Slow"})
    Path("run.yaml").write_text(yaml.safe_dump(one, sort_keys=False))
    process = start("run.yaml", "--out", "part", "--allow-python")
    wait_for("began", process)
    return process


def ask_to_stop(process, number):
    process.send_signal(number)
    while "a second signal stops at once" not in process.stderr.readline():
        assert process.poll() is None


@pytest.mark.parametrize(
    "later", [[(0.6, "SIGINT")], [(0, "SIGTERM"), (0, "SIGINT")], [(0, "SIGTERM"), (0.6, "SIGINT")]], ids=str
)
def test_a_second_signal_stops_at_once_and_a_third_always(later):
    process = start_slow(5 * PATIENCE)
    ask_to_stop(process, signal.SIGINT)
    for seconds, name in later:
        time.sleep(seconds)
        process.send_signal(getattr(signal, name))
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (130, 143), err
    assert "interrupted at iteration 0; no snapshot was made before" in err


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_two_signals_at_once_are_one_request(second):
    """As a shell, a process manager and `timeout` send them: the snapshot must not be lost."""
    process = start_slow(1)
    process.send_signal(signal.SIGTERM)
    process.send_signal(second)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode in (128 + second, 143), err
    assert "resume  nettrain train --resume part" in err
    assert find_snapshot(Path("part")).snapshot.iter == 1


def test_an_echo_that_comes_when_the_snapshot_is_written_does_no_harm():
    write_spec(max_iter=10**6, display=1, test_interval=0)
    process = start("run.yaml", "--out", "part", stdout=subprocess.DEVNULL)
    wait_for("part/metrics.jsonl", process)
    ask_to_stop(process, signal.SIGTERM)
    wait_until(lambda: list(Path("part").glob("iter_*.npz")))
    _, err = interrupt(process, "SIGTERM", 143)
    assert "resume  nettrain train --resume part" in err


def test_training_goes_on_when_nobody_reads_its_rows():
    write_spec(max_iter=300, display=1, test_interval=0)
    process = start("run.yaml", "--out", "part")
    process.stdout.readline()
    process.stdout.close()
    process.stderr.close()
    assert process.wait(PATIENCE) == 0
    assert len(rows("part")) == 301
    assert Path("part/iter_300.npz").exists()


def test_a_data_file_that_vanishes_is_said_and_nothing_is_lost():
    image = pytest.importorskip("PIL.Image")
    Path("images").mkdir()
    for i in range(6):
        image.fromarray(np.full((4, 4), 40 * i, np.uint8)).save(f"images/{i}.png")
    Path("list.txt").write_text("".join(f"images/{i}.png {i % 2}\n" for i in range(6)))
    layers = [
        {"name": "d", "type": "ImageData", "top": ["data", "label"], "source": "list.txt", "batch_size": 2}
        | {"cache_mb": 0},
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 2},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
    ]
    keys = {"base_lr": 1e-4, "max_iter": 10**6, "snapshot": 50, "snapshot_keep": 2, "display": 1}
    Path("run.yaml").write_text(yaml.safe_dump({"name": "run", "solver": keys, "layers": layers}))
    process = start("run.yaml", "--out", "part")
    wait_for("part/iter_50.npz", process)
    Path("images").rename("elsewhere")
    _, err = finish(process, 2)
    assert "ImageData `d`" in err
    assert "images/" in err
    at = find_snapshot(Path("part")).snapshot.iter
    assert f"kept    part/iter_{at}.npz" in err
    Path("elsewhere").rename("images")
    finish(start("--resume", "part", "--set", f"solver.max_iter={at + 7}"))
    whole = nettrain.get_solver("run.yaml", settings=[f"solver.max_iter={at + 7}"], out="whole")
    whole.solve()
    assert rows("part") == rows("whole")
