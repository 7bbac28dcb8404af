"""Some fuzzing cases of every kind, always the same ones; and the harness itself, with readers that fail."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KINDS = [
    *("npy", "npz", "idx", "gz", "images", "tars", "lmdb", "hdf5"),
    *("snapshots", "metrics", "yaml", "set", "expr", "csv", "lists"),
    *("prototxt", "caffemodel", "binarynet", "caffemodel.h5", "safetensors", "solverstate", "solverstate.h5"),
    *("binaryproto", "onnx"),
]
CASES = 25  # of each kind: some 12 s on two cores for all


def fuzz(*arguments, cwd):
    command = [sys.executable, HERE / "fuzz" / "run.py", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("kinds", [KINDS[::2], KINDS[1::2]], ids=",".join)
def test_damaged_input_is_refused_in_words(kinds, tmp_path):
    """In two processes, which are long in starting."""
    done = fuzz(*(word for kind in kinds for word in ("--kind", kind)), "--cases", CASES, "--seed", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row.split()[0]: row.split()[1:3] for row in done.stdout.splitlines()[1:]}
    for kind in kinds:
        cases, past = rows[kind]
        assert (int(cases), int(past.rstrip("%")) > 50) == (CASES, True), kind


def test_every_kind_is_tried():
    listed = "from fuzz import arrays, databases, images, models, prototxts, runs, texts\n"
    listed += "from fuzz.kinds import Kind; print(*Kind.all)"
    done = subprocess.run([sys.executable, "-c", listed], cwd=HERE, capture_output=True, text=True, check=True)
    assert sorted(done.stdout.split()) == sorted(KINDS)


# The harness itself

BROKEN = """
import json, os, random, signal, sys, time, warnings
from pathlib import Path
import numpy as np
from fuzz import driver
from fuzz.kinds import Case, Kind
from nettrain.data.idx import read_idx
from nettrain.files import reading
from nettrain.spec.errors import NettrainError

driver.SECONDS = 0.3
reading.PATIENCE = 60  # the harness notices first

class Broken(Kind):
    name = "broken"

    def seeds(self):
        return ["good"]

    def good(self, seed):
        return Case({"a.txt": b"x"}, {"way": seed})

    def mutate(self, rng, seed):
        return self.good(WAY)

    def passes_first_check(self, case):
        return True

    def execute(self, case, folder):
        words = NettrainError("a.txt is bad")
        match case.what["way"]:
            case "refused": raise words
            case "exception": read_idx(5)
            case "exit": sys.exit(3)
            case "interrupt": raise KeyboardInterrupt
            case "death": os.kill(os.getpid(), signal.SIGBUS)
            case "quiet death": os._exit(0)
            case "computing":
                while True: pass
            case "computing in a net":
                try:
                    while True: pass
                except Exception: pass
            case "in a library":
                signal.signal(signal.SIGPROF, signal.SIG_IGN)
                signal.signal(signal.SIGALRM, signal.SIG_IGN)
                time.sleep(100)
            case "waiting":
                os.mkfifo("fifo")
                silent = os.open("fifo", os.O_RDWR)
                reading.read_bytes(Path("fifo"), pipes=True)
            case "memory": np.ones(50 << 20)
            case "memory in words":
                try: np.ones(50 << 20)
                except MemoryError: raise words from None
            case "no name": raise NettrainError("something is bad")
            case "empty": raise NettrainError("  ")
            case "surrogate" | "escape" as way:
                words.args = ("a.txt has " + {"surrogate": "\\ud800", "escape": "\\x1b[2J"}[way],)
                raise words
            case "traceback": raise NettrainError("a.txt: Traceback (most recent call last)")
            case "nan": json.dumps(float("nan"), allow_nan=False)
            case "warning": np.array([np.inf]) - np.array([np.inf])

    def command(self, case):
        command = {"usage": ["explain"], "json": ["explain", "--expr", "x", "x=1", "--json"]}
        return command.get(case.what["way"])

found = {}
for WAY in sys.argv[1:]:
    driver.KILLED, driver.WAITING = 1 if WAY == "in a library" else 120, 0.3 if WAY == "waiting" else 10
    (tally,) = driver.run([Kind.all["broken"]], 1, None, 2, 0, lambda text: None)
    found[WAY] = [tally.cases, tally.accepted, [[key, n] for key, (_, _, n) in tally.findings.items()]]
print(json.dumps(found))
"""
FINDINGS = {
    "exception": "TypeError in files/reading.py _descriptor",
    "exit": "SystemExit in outside of nettrain",
    "interrupt": "KeyboardInterrupt in outside of nettrain",
    "death": "death by SIGBUS in outside of nettrain",
    "quiet death": "death by exit 0 in outside of nettrain",
    "computing": "hang in outside of nettrain",
    "computing in a net": "hang in outside of nettrain",
    "in a library": "hang, could not be interrupted in outside of nettrain",
    "waiting": "hang in files/reading.py _next_bytes",
    "memory": "memory in outside of nettrain",
    "memory in words": "memory in outside of nettrain",
    "no name": "no file name in outside of nettrain",
    "empty": "bad message in outside of nettrain",
    "surrogate": "unprintable message in outside of nettrain",
    "escape": "unprintable message in outside of nettrain",
    "traceback": "bad message in outside of nettrain",
    "nan": "ValueError in outside of nettrain",
    "warning": "RuntimeWarning in outside of nettrain",
}


def test_what_goes_wrong_is_a_finding_and_nothing_else_is(tmp_path):
    """Readers that fail in some way, twice each; all from one process, which is long in starting."""
    script = tmp_path / "broken.py"
    script.write_text(f"import sys\nsys.path.insert(0, {str(HERE)!r})\n{BROKEN}")
    taken = {way: [2, 2, []] for way in ("good", "json", "usage")}
    wrong = {way: [2, 0, [[finding, 2]]] for way, finding in FINDINGS.items()}
    ways = [*taken, "refused", *FINDINGS]
    done = subprocess.run([sys.executable, script, *ways], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == taken | {"refused": [2, 0, []]} | wrong


def test_cases_follow_from_the_seed_alone():
    # libhdf5 leaves bytes that are never read as they were in memory, so hdf5's cases are not the same to the byte
    code = """
import hashlib, sys
from fuzz import arrays, databases, driver, images, models, prototxts, runs, texts
from fuzz.kinds import Kind
names = "npy npz idx gz images yaml set expr csv lists caffemodel safetensors onnx"
for name in names.split():
    cases = [driver.make_case(Kind.all[name], 3, number) for number in range(8)]
    print(name, hashlib.sha256(repr(cases).encode()).hexdigest())
"""
    command, found = [sys.executable, "-c", code], []
    for hashes in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": hashes}
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, text=True, check=True)
        found.append(done.stdout)
    assert found[0] == found[1]
    assert len({line.split()[1] for line in found[0].splitlines()}) == 13


def test_a_case_that_was_kept_can_be_run_again(tmp_path):
    folder = tmp_path / "kept"
    folder.mkdir()
    (folder / "mean.npy").write_bytes(b"\x93NUMPY")
    (folder / "case.json").write_text(json.dumps({"what": {}, "special": {}}))
    done = fuzz("--kind", "npy", "--replay", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mean.npy is damaged or not an .npy file" in done.stdout
