"""Where output goes: closed, full, narrow, dumb, in another encoding; and Ctrl-C before anything runs."""

import contextlib
import fcntl
import os
import random
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from helpers import PATIENCE, start

NETTRAIN = f"{shlex.quote(sys.executable)} -m nettrain"
TRAIN = f"{NETTRAIN} train configs/mlp.yaml --set solver.max_iter=3"
PRINTING = [
    "--help",
    "--version",
    "train --help",
    "layers",
    "layers --markdown",
    "schema",
    "env",
    "env --json",
    "check configs/mlp.yaml",
    "explain --expr x*y x=1 y=2",
    "worksheet",
]


def shell(command, **environment):
    return subprocess.run(command, shell=True, capture_output=True, env=os.environ | environment, timeout=PATIENCE)


@pytest.mark.parametrize(
    "closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", "&>/dev/full"]
)
def test_training_needs_nobody_who_looks(workdir, closed):
    command = f"{TRAIN} --out part {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr
    assert {path.name for path in Path("part").iterdir()} >= {"best.npz", "iter_3.npz", "metrics.jsonl"}
    assert Path("part/metrics.jsonl").read_text().count("\n") == 2  # rows and nothing else


@pytest.mark.parametrize("command", PRINTING)
def test_output_that_cannot_be_written_is_an_error(workdir, command):
    check_that_it_is_said(command, ">/dev/full", b"No space left on device")


def check_that_it_is_said(command, closed, why):
    done = shell(f"{NETTRAIN} {command} {closed}")
    assert (done.returncode, done.stdout) == (1, b"")
    lines = [line for line in done.stderr.splitlines() if b"is not in this folder" not in line]
    assert lines == [b"the output cannot be written: " + why]


@pytest.mark.parametrize("command", ["--help", "env --json", "check configs/mlp.yaml"])  # click's, JSON, a report
def test_closed_output_is_an_error_and_closed_stderr_is_none(workdir, command):
    check_that_it_is_said(command, ">&-", b"stdout is closed")
    assert shell(f"{NETTRAIN} {command} >/dev/full 2>&-").returncode == 1
    assert shell(f"{NETTRAIN} {command} 2>/dev/full").returncode == 0


@pytest.mark.parametrize("command", [["--help"], ["layers", "--markdown"], ["schema"]])
def test_a_pipe_nobody_reads_is_an_error(workdir, command):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "nettrain", *command], stdout=writing, stderr=subprocess.PIPE, timeout=PATIENCE
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"the output cannot be written: Broken pipe\n")


def test_an_error_that_cannot_be_said_keeps_its_exit_code(workdir):
    for command, ways in (
        ("train nowhere.yaml", ("2>&-", "2>/dev/full", "2>&- >&-")),
        ("trian", ("2>&-", "2>/dev/full")),
        ("train", ("2>&-",)),
        ("gradcheck --layer Nothing", ("2>/dev/full",)),
    ):
        for closed in ways:
            assert shell(f"{NETTRAIN} {command} {closed}").returncode == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin1", "cp1252", "koi8-r"])
def test_other_encodings_get_what_they_can_hold(workdir, encoding):
    done = shell(f"{TRAIN} --out part", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    dot = "-" if encoding == "ascii" else "·"
    assert f"mlp {dot} 4,810 parameters {dot}" in done.stdout.decode(encoding)
    command = "layers BatchNorm"  # has letters that none of them holds
    done = shell(f"{NETTRAIN} {command}", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr


def test_what_ascii_cannot_hold_ends_no_command(workdir):
    for command in ("--help", "layers BatchNorm", "summary configs/mlp.yaml", "gradcheck --layer ReLU"):
        done = shell(f"{NETTRAIN} {command}", PYTHONIOENCODING="ascii")
        assert done.returncode == 0, done.stderr
    c = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    assert shell(f"{NETTRAIN} layers", **c).returncode == 0


def test_a_name_that_is_no_text_is_printed_as_it_is(workdir):
    command = [
        sys.executable,
        "-m",
        "nettrain",
        "train",
        "configs/mlp.yaml",
        "--set",
        "solver.max_iter=1",
        "--out",
        b"\xff x",
    ]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"nettrain test '\xff x'" in done.stdout


@pytest.mark.parametrize("width", [72, 100])
def test_tables_respect_the_width(nettrain_cli, workdir, monkeypatch, width):
    wide = {}
    for columns in (None, width):
        if columns:
            monkeypatch.setenv("COLUMNS", str(columns))
        for command in ("layers", "layers ReLU", "gradcheck --layer ReLU", "summary configs/mlp.yaml"):
            lines = nettrain_cli(*command.split()).stdout.splitlines()
            start = next(i for i, line in enumerate(lines) if re.match("type  |parameter  |layer  ", line))
            end = next(
                (i for i in range(start, len(lines)) if not lines[i].strip()), len(lines) - (command != "layers")
            )
            text = lines[start : end - command.startswith("summary")]
            letters = sorted("".join("".join(text).split()))
            if columns:
                assert max(map(len, text)) <= width
                assert letters == wide[command]  # nothing is lost
            wide[command] = letters


@pytest.mark.parametrize("width", [40, 60, 80])
@pytest.mark.parametrize("command", ["layers", "layers Pooling", "summary configs/mlp.yaml"])
def test_narrow_tables_break_no_word(nettrain_cli, workdir, monkeypatch, width, command):
    """Where the columns do not fit side by side, the cells of a row stand below each other."""

    def tables(text):
        begin = re.search("^(type|parameter|layer) ", text, re.MULTILINE).start()
        return re.split(r"^(?:parameters take|Example)", text[begin:], maxsplit=1, flags=re.MULTILINE)[0]

    wide = tables(nettrain_cli(*command.split()).stdout)
    monkeypatch.setenv("COLUMNS", str(width))
    narrow = tables(nettrain_cli(*command.split()).stdout)
    words = set(wide.split())
    assert set(narrow.split()) == words
    too_long = [line for line in narrow.splitlines() if len(line) > width]
    assert all(re.fullmatch(r"(what it does)? *\S+", line) for line in too_long)  # one word that has no room


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (None, "iter epoch train loss test loss accuracy lr it/s"),
        (72, "iter epoch train loss test loss accuracy lr it/s"),
        (70, "iter epoch train loss test loss accuracy lr"),
        (60, "iter epoch train loss test loss accuracy"),
        (50, "iter train loss test loss accuracy"),
    ],
)
def test_rows_of_training_fit_a_narrow_terminal(nettrain_cli, workdir, monkeypatch, width, head):
    if width:
        monkeypatch.setenv("COLUMNS", str(width))
    lines = nettrain_cli("train", "configs/mlp.yaml", "--set", "solver.max_iter=3", "--out", "out").stdout.splitlines()
    begin = next(i for i, line in enumerate(lines) if line.lstrip().startswith("iter"))
    assert " ".join(lines[begin].split()) == head
    rows = lines[begin : begin + 3]
    assert "* best" in rows[1]
    assert max(map(len, rows)) <= (width or 100)
    assert {len(row.removesuffix("   * best")) for row in rows} == {len(lines[begin])}


def on_terminal(arguments, size=(24, 100), then=None, **environment):
    """What a terminal shows; ``then`` may resize it."""
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, size)
    process = start(
        *arguments, stdout=slave, stderr=slave, stdin=slave, env=os.environ | environment, start_new_session=True
    )
    shown = b""
    os.set_blocking(master, False)
    while process.poll() is None:
        try:
            shown += os.read(master, 1 << 16)
        except BlockingIOError:
            time.sleep(0.01)
        if then and b"it/s" in shown and b"%|" in shown:
            fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, then, 0, 0))
            shown, then = b"", None
    with contextlib.suppress(BlockingIOError):
        shown += os.read(master, 1 << 16)
    os.close(slave)
    os.close(master)
    assert process.returncode == 0, shown
    return shown.decode(errors="replace")


LONG = ["train", "configs/mlp.yaml", "--set", "solver.max_iter=4000", "--set", "solver.test_interval=4000"]


def test_the_bar_follows_a_terminal_that_is_resized(workdir):
    shown = on_terminal(LONG, (24, 110), 50)
    bars = [bar for bar in re.split(r"[\r\n]", shown) if "%|" in bar]
    assert bars
    assert max(map(len, bars[5:])) <= 50


def test_a_terminal_that_is_closed_ends_nothing(workdir):
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 80))
    process = start(*LONG, "--out", "part", stdout=slave, stderr=slave, stdin=slave, start_new_session=True)
    os.close(slave)
    shown = b""
    while b"%|" not in shown:
        shown += os.read(master, 1 << 16)
    os.close(master)
    assert process.wait(PATIENCE) == 0
    assert Path("part/iter_4000.npz").exists()


def test_a_dumb_terminal_gets_no_bar(workdir):
    shown = on_terminal(LONG, TERM="dumb")
    assert "%|" not in shown
    assert "\x1b" not in shown
    assert "done: 4000 iterations" in shown


def test_a_table_is_as_wide_as_the_terminal(workdir):
    lines = on_terminal(["layers"], (24, 70)).splitlines()
    assert max(map(len, lines)) <= 70


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_at_any_moment_is_no_traceback(workdir, name, code):
    """From our first line on; until then it is Python that starts, and what it says is not ours."""
    rng = random.Random(3)
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # in a script's background too
    )
    program += "import nettrain.__main__ as it; print('ready', flush=True); it.main()"
    arguments = ["train", "configs/mlp.yaml", "--set", "solver.max_iter=1000000", "--sighup-effect", "stop"]
    for _ in range(5):
        process = start("-c", program, *arguments, program=())
        assert process.stdout.readline() == "ready\n"
        time.sleep(rng.uniform(0, 0.7))
        process.send_signal(getattr(signal, name))
        _, errors = process.communicate(timeout=PATIENCE)
        assert "Traceback" not in errors, errors
        assert process.returncode in (code, 128 - code)  # or it is the system that ended it, before training began
        assert name != "SIGINT" or "interrupted" in errors
