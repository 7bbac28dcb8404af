"""One process at a time writes a run: real processes, one of them killed."""

import json
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import nettrain
import pytest
import yaml
from helpers import PATIENCE, start, wait_for, wait_until
from nettrain import NettrainError
from nettrain.solver import lock
from nettrain.solver.listener import Functions
from nettrain.solver.runs import Run
from nettrain.solver.snapshot import read_snapshot

LAYERS = [
    {"name": "digits", "type": "Data", "top": ["data", "label"], "source": "digits", "batch_size": 16},
    {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 10},
    {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
]


def spec(**keys):
    return {"solver": {"base_lr": 0.01, "max_iter": 10, "display": 1, "test_interval": 0} | keys, "layers": LAYERS}


def start_training(*arguments, **keys):
    """A training process that has written its first line."""
    Path("run.yaml").write_text(yaml.safe_dump(spec(max_iter=10**7, **keys)))
    process = start("train", "run.yaml", *arguments)
    for line in process.stdout:
        if line.split()[0] == "0":
            return process
    raise AssertionError(process.stderr.read())


@pytest.mark.parametrize(
    ("where", "second"),
    [
        (["--out", "part"], ["train", "run.yaml", "--out", "part"]),
        (["--out", "part"], ["train", "run.yaml", "--out", "./part/../part"]),
        (["--set", "solver.snapshot_prefix=part/a"], ["train", "run.yaml", "--set", "solver.snapshot_prefix=part/a"]),
        (["--out", "part"], ["train", "--resume", "part"]),
        ([], ["train", "--resume", "runs/net/001"]),
    ],
    ids=" ".join,
)
def test_a_second_run_is_told_who_writes_there(nettrain_cli, workdir, where, second):
    process = start_training(*where, snapshot=1, snapshot_keep=2)
    folder = Path("part" if where else "runs/net/001")
    wait_until(lambda: list(folder.glob("*iter_*.npz")), process)
    message = nettrain_cli(*second, exit_code=2).stderr
    assert "damaged" not in message
    assert process.poll() is None
    who = (
        rf"is being written by process {process.pid} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\d \d\d:"
    )
    assert re.search(who, message)
    assert f"kill -INT {process.pid}" in message
    assert "choose another --out or snapshot_prefix" in message


def test_two_prefixes_in_one_folder_are_two_runs(nettrain_cli, workdir):
    start_training("--set", "solver.snapshot_prefix=part/a")
    half_written = Path("part/.a_iter_9.npz.x.part")
    half_written.write_bytes(b"")
    for prefix in ("part/b", "part/a_b", "part/"):
        nettrain_cli("train", "run.yaml", "--set", f"solver.snapshot_prefix={prefix}", "--set", "solver.max_iter=1")
    assert half_written.exists()  # it may be about to get its name


def test_what_a_killed_run_had_is_taken_over(nettrain_cli, workdir):
    process = start_training("--out", "part", snapshot=3)
    wait_for("part/iter_3.npz", process)
    process.kill()
    process.communicate()
    assert json.loads(Path("part/.lock").read_text())["pid"] == process.pid
    at = max(int(path.stem.partition("_")[2]) for path in Path("part").glob("iter_*.npz"))
    nettrain_cli("train", "--resume", "part", "--set", f"solver.max_iter={at + 10}")
    assert not Path("part/.lock").exists()
    assert read_snapshot(Path(f"part/iter_{at + 10}.npz")).iter == at + 10


def test_a_killed_run_without_a_snapshot_is_started_again(nettrain_cli, workdir):
    process = start_training("--out", "part")
    Path("part/.iter_3.npz.x.part").write_bytes(b"PK")
    process.kill()
    process.communicate()
    assert Path("part/metrics.jsonl").stat().st_size
    nettrain_cli("train", "run.yaml", "--out", "part", "--set", "solver.max_iter=3")
    rows = [json.loads(line)["iter"] for line in Path("part/metrics.jsonl").read_text().splitlines()]
    assert rows == [0, 1, 2, 3]
    assert {path.name for path in Path("part").iterdir()} == {
        "best.npz",
        "iter_3.npz",
        "metrics.jsonl",
        "run.json",
        "spec.yaml",
    }


def test_many_at_once_are_one(workdir):
    """Whoever opens the file while its owner removes it must begin again: one after the other, or not at all."""
    code = """
import sys, time
from pathlib import Path
from nettrain.spec.errors import NettrainError
from nettrain.solver import lock
taken = 0
end = time.monotonic() + 2
while time.monotonic() < end:
    try:
        held = lock.take(Path(".lock"), "run")
    except NettrainError:
        continue
    with open("inside", "x"):  # an error when another is inside
        pass
    Path("inside").unlink()
    taken += 1
    del held
sys.exit(not taken)
"""
    processes = [start("-c", code, program=()) for _ in range(4)]
    assert [process.wait(PATIENCE) for process in processes] == [0] * 4
    assert os.listdir() == []


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_child_does_not_keep_the_lock(workdir, method):
    """Forked ones have all files their parent had open, where processes are forked; others must not have this one."""
    held = lock.take(Path(".lock"), "run")
    child = multiprocessing.get_context(method).Process(target=time.sleep, args=(5 * PATIENCE,))
    child.start()
    try:
        take = [
            sys.executable,
            "-c",
            "from pathlib import Path; from nettrain.solver.lock import take; take(Path('.lock'), 'r')",
        ]
        assert b"is being written by" in subprocess.run(take, capture_output=True).stderr
        os.close(held.descriptor)  # as if this process were gone
        held.forget = held._release.detach()
        assert subprocess.run(take, capture_output=True).returncode == 0
    finally:
        lock._held.clear()
        child.kill()
        child.join()


def test_a_child_that_goes_on_is_refused(workdir):
    code = """
import os, sys
from nettrain.solver.runs import Run
run = Run("net", folder="part")
run.open()
child = os.fork()
if child == 0:
    try:
        run.open()
    except Exception as error:
        os._exit(7 if "is being written by" in str(error) else 8)
    os._exit(9)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 7
    assert os.listdir("part") == []


def test_two_solvers_of_a_program_take_turns_and_threads_do_not_mix(workdir):
    one, two = (nettrain.get_solver(spec(), out="part") for _ in range(2))
    two.request = None
    inside, go_on = threading.Event(), threading.Event()

    def wait(_):
        inside.set()
        assert go_on.wait(PATIENCE)

    one.add(Functions(on_step=wait))
    thread = threading.Thread(target=one.solve)
    thread.start()
    assert inside.wait(PATIENCE)
    with pytest.raises(NettrainError, match="is being written by another solver in this program"):
        two.solve()
    go_on.set()
    thread.join()
    assert one.iter == 10
    two.solve()  # now it may
    assert not Path("part/.lock").exists()


@pytest.mark.parametrize(
    ("owner", "refused"),
    [
        ({"pid": 2**22 + 12345, "host": socket.gethostname(), "since": "then"}, False),  # gone
        ({"pid": 1, "host": socket.gethostname(), "since": "then"}, True),
        ({"pid": 2**22 + 12345, "host": "elsewhere", "since": "then"}, True),  # nobody can know
        ({"pid": "x"}, False),
        ([], False),
        ("", False),
    ],
)
def test_without_locks_of_the_system_the_file_counts(workdir, monkeypatch, owner, refused):
    def no_locks(descriptor, how):
        raise OSError(45, "Operation not supported")

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    Path(".lock").write_text(json.dumps(owner) if owner != "" else "[" * 100_000)
    if refused:
        with pytest.raises(NettrainError, match=r"if that process is gone, remove .*\.lock"):
            lock.take(Path(".lock"), "run")
    else:
        held = lock.take(Path(".lock"), "run")
        assert json.loads(Path(".lock").read_text())["pid"] == os.getpid()
        del held
    assert Path(".lock").exists() == refused


def test_a_run_that_is_gone_frees_its_lock(workdir):
    run = Run("net", folder="part")
    run.open()
    assert Path("part/.lock").exists()
    del run
    assert os.listdir("part") == []


KINDS = {
    "a folder": os.mkdir,
    "a pipe": os.mkfifo,
    "a link": lambda path: os.symlink("elsewhere", path),
    "a socket": lambda path: socket.socket(socket.AF_UNIX).bind(path),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_of_another_kind_is_named(nettrain_cli, workdir, kind):
    Path("run.yaml").write_text(yaml.safe_dump(spec()))
    Path("part").mkdir()
    KINDS[kind]("part/.lock")
    message = nettrain_cli("train", "run.yaml", "--out", "part", exit_code=1).stderr
    assert f"part/.lock is {kind}, not a lock of nettrain's; remove it" in message
    assert os.path.lexists("part/.lock")
    assert os.listdir("part") == [".lock"]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_leftovers_of_all_kinds(nettrain_cli, workdir):
    """What cannot be removed, such as a folder, does not keep the others."""
    Path("run.yaml").write_text(yaml.safe_dump(spec()))
    Path("part").mkdir()
    names = [f"part/.iter_{i}.npz.x.part" for i in range(20)]
    for name, make in zip(names, list(KINDS.values()) * 5, strict=True):
        make(name)
    nettrain_cli("train", "run.yaml", "--out", "part")
    assert sorted(Path(names[i]).name for i in range(0, 20, 4)) == sorted(path.name for path in Path("part").glob(".*"))


@pytest.mark.parametrize("kind", ["a folder", "a pipe"])
def test_metrics_of_another_kind_are_an_error_without_a_wait(nettrain_cli, workdir, kind):
    Path("run.yaml").write_text(yaml.safe_dump(spec()))
    nettrain_cli("train", "run.yaml", "--out", "part")
    Path("part/metrics.jsonl").unlink()
    KINDS[kind]("part/metrics.jsonl")
    message = nettrain_cli("train", "--resume", "part", "--set", "solver.max_iter=20", exit_code=1).stderr
    assert "cannot write part/metrics.jsonl: " in message


def test_a_run_without_a_snapshot_yet_is_said_to_be_written(nettrain_cli, workdir):
    process = start_training("--out", "part")
    for command in (["train", "--resume", "part"], ["test", "part"]):
        message = nettrain_cli(*command, exit_code=2).stderr
        assert f"part has no snapshot yet; it is being written by process {process.pid} on" in message


def test_a_lock_that_is_a_link_is_not_followed(workdir):
    """A run's folder may come from somebody else: what its files point to is not the run's."""
    (workdir / "precious").write_text("mine")
    (workdir / "lock").symlink_to("precious")
    with pytest.raises(OSError, match="is a link, not a lock of nettrain's"):
        lock.take(str(workdir / "lock"), "the run")
    assert (workdir / "precious").read_text() == "mine"
    assert (workdir / "lock").is_symlink()


@pytest.mark.parametrize(
    ("owner", "words"),
    [
        (
            {"pid": 77, "host": "h", "since": "s"},
            "process 77 on h since s: wait until it ends, stop it (kill -INT 77, ",
        ),
        ({"pid": "rm -rf", "host": "h"}, "process rm -rf on h since ?: wait until it ends, stop it, or choose"),
        ({"host": "h"}, "process ? on h since ?: wait until it ends, stop it, or choose"),
        ({}, "another process: wait until it ends, stop it, or choose"),
    ],
)
def test_a_command_to_type_is_shown_for_a_number_alone(workdir, owner, words):
    """What stands in a lock may be from anybody."""
    Path(".lock").write_text(json.dumps(owner))
    assert words in lock._refusal(".lock", "run")
