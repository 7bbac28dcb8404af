"""What is printed to be typed next works when it is typed, by a shell."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

PYTHON = f"{shlex.quote(sys.executable)} -m nettrain"
LAYERS = [
    {"name": "digits", "type": "Data", "top": ["data", "label"], "source": "digits", "batch_size": 64},
    {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 20},
    {"name": "hard", "type": "Dropout", "bottom": "ip", "top": "ip", "include": {"stage": "hard"}},
    {"name": "wide", "type": "InnerProduct", "bottom": "ip", "num_output": 20, "include": {"min_level": 2}},
    {"name": "fc", "type": "InnerProduct", "bottom": "ip", "num_output": 10},
    {"name": "accuracy", "type": "Accuracy", "bottom": ["fc", "label"], "include": "test"},
    {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["fc", "label"]},
]
OWN = """
class Same:
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top): top[0].data[...] = bottom[0].data
    def backward(self, top, propagate_down, bottom): bottom[0].diff[...] = top[0].diff
"""


@pytest.fixture(autouse=True)
def _specs(workdir):
    solver = {"base_lr": 0.05, "max_iter": 30, "test_interval": 15}
    Path("a net").mkdir()
    Path("a net/it's.yaml").write_text(yaml.safe_dump({"name": "my net", "solver": solver, "layers": LAYERS}))
    own = {"name": "own", "type": "Python", "bottom": "ip", "top": "own", "module": "own", "layer": "Same"}
    layers = [*LAYERS[:2], own, {**LAYERS[4], "bottom": "own"}, *LAYERS[5:]]
    Path("own.yaml").write_text(yaml.safe_dump({"name": "own", "solver": solver, "layers": layers}))
    Path("own.py").write_text(OWN)
    rng = np.random.default_rng(0)
    np.savez("a net/part.npz", data=rng.random((200, 1, 8, 8)), label=np.arange(200) % 10)


@pytest.fixture
def shell(nettrain_cli):
    """Types a line that begins with nettrain; gives what it prints on stdout and stderr.

    A shell takes the line apart, and the command is called with the words that it found: starting Python for each of
    them would take most of the time.
    """

    def run(line, code=0):
        assert line.startswith("nettrain ")
        words = subprocess.run(
            ["sh", "-c", "printf '%s\\0'" + line.removeprefix("nettrain")], capture_output=True, text=True, check=True
        ).stdout
        result = nettrain_cli(*words.removesuffix("\0").split("\0"), exit_code=code)
        return result.stdout, result.stderr

    return run


def test_a_line_is_typed_as_a_process_would_get_it(shell):
    """One line in a process of its own: the fixture above stands for this."""
    line = f"{SPACED} --out 'a\"b$HOME;ls' --set solver.max_iter=2"
    done = subprocess.run(["sh", "-c", PYTHON + line.removeprefix("nettrain")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert after("next", done.stdout) == after("next", shell(line.replace("ls'", "ls 2'"))[0]).replace("ls 2", "ls")


def after(word, text):
    return re.search(rf"^  {word} +(nettrain .*)$", text, re.M)[1]


SPACED = 'nettrain train "a net/it\'s.yaml"'


@pytest.mark.parametrize(
    "command",
    [
        "nettrain train configs/mlp.yaml --set solver.max_iter=30",
        "nettrain train configs/mlp.yaml --set solver.max_iter=30 --set ip1.num_output=128",
        SPACED,
        f"{SPACED} --set ip.num_output=7 --out 'x y'",
        f"{SPACED} --set digits.batch_size=50 --set 'digits.transform={{scale: 0.0625, mean_value: 8}}'",
        f"{SPACED} --set digits.source=part.npz --set digits.split=0.5 --set 'fc.weight_filler={{type: xavier}}'",
        f"{SPACED} --set solver.type=Adam --set solver.base_lr=0.01",
        f"{SPACED} --out -x",
        f"{SPACED} --out 'a\"b$HOME;ls'",
        f"{SPACED} --set 'solver.snapshot_prefix=snap shots/a b'",
        f"{SPACED} --set solver.snapshot_prefix=snaps/a_b",
        f"{SPACED} --stage hard --level 2",
        f"{SPACED} --set solver.test_interval=0 --set solver.test_initialization=false",
        "nettrain train own.yaml --allow-python",
        f"{SPACED} --set solver.max_iter=0",
    ],
)
def test_next_after_training_and_after_going_on(shell, command):
    printed, _ = shell(command)
    line = after("next", printed)
    result = json.loads(shell(f"{line} --json")[0])
    best = re.search(r"best accuracy ([\d.]+)%", printed)
    assert f"{100 * result['scores']['accuracy']:.2f}" == best[1]
    assert result["layers"]["missing"] == result["layers"]["ignored"] == []
    where = shlex.split(line)[2]
    more = ["--allow-python"] * ("--allow-python" in line)
    longer, errors = shell(shlex.join(["nettrain", "train", "--resume", where, *more]))
    option = re.search(r"to train longer: (--set .*)", errors)[1]
    longer, errors = shell(shlex.join(["nettrain", "train", "--resume", where, *more, *shlex.split(option)]))
    result = json.loads(shell(f"{after('next', longer)} --json")[0])
    assert f"{100 * result['scores']['accuracy']:.2f}" == re.search(r"best accuracy ([\d.]+)%", longer)[1]


def several(shell, **solver):
    """A spec with two test nets of data of their own, in a file; trained, its last row and the line printed to be typed
    next."""
    state = {"test_state": [{"stage": "easy"}, {"stage": "hard"}]}
    keys = {"base_lr": 0.05, "max_iter": 12, "test_interval": 12, "test_initialization": False} | state | solver
    digits = LAYERS[0] | {"include": [{"phase": "TRAIN"}, {"stage": "easy"}]}
    hard = LAYERS[0] | {"name": "hard_digits", "batch_size": 10, "transform": {"scale": 0.5}}
    layers = [digits, hard | {"include": {"phase": "TEST", "stage": "hard"}}, LAYERS[1], *LAYERS[4:]]
    Path("two.yaml").write_text(yaml.safe_dump({"name": "two", "solver": keys, "layers": layers}))
    printed, _ = shell("nettrain train two.yaml --out part")
    row = json.loads(Path("part/metrics.jsonl").read_text().splitlines()[-1])
    return row["test"], after("next", printed)


@pytest.mark.parametrize(
    ("keys", "examples"),
    [
        ({}, {"easy/digits": 360, "hard/hard_digits": 360}),
        ({"test_iter": [1, 3]}, {"easy/digits": 64, "hard/hard_digits": 30}),
        ({"test_iter": [2], "test_compute_loss": True}, {"easy/digits": 128, "hard/hard_digits": 20}),
    ],
    ids=str,
)
def test_next_after_a_run_with_several_test_nets(shell, keys, examples):
    """The first test of a run of the same batches gives the same scores, under the same names."""
    trained, line = several(shell, **keys)
    result = json.loads(shell(f"{line} --json")[0])
    assert result["scores"] == pytest.approx(trained, rel=1e-12)
    assert list(result["scores"]) == list(trained)
    assert ("easy/total_loss" in trained) == ("test_compute_loss" in keys)
    assert result["examples"] == examples
    assert result["layers"] == {"loaded": ["ip", "fc"], "missing": [], "ignored": []}
    of_a_spec = json.loads(shell("nettrain test two.yaml --weights part/best.npz --json")[0])
    assert of_a_spec["scores"] == result["scores"]


def test_one_of_several_test_nets(shell):
    trained, line = several(shell, test_iter=[1, 3])
    result = json.loads(shell(f"{line} --stage hard --json")[0])
    assert result["examples"] == {"hard_digits": 30}
    assert result["scores"]["loss"] == pytest.approx(trained["hard/loss"], rel=1e-12)


def test_so_many_examples_as_were_tested_are_said(shell):
    _, line = several(shell)
    assert "  easy/digits: 360 examples\n  hard/hard_digits: 360 examples\n" in shell(line)[0]
    printed, _ = shell(f"{line} --iterations 2")
    assert "  easy/digits: 128 of 360 examples\n  hard/hard_digits: 20 of 360 examples\n" in printed
    printed, _ = shell(f"{line} --iterations 7")
    assert "  easy/digits: 448 examples, 360 of them different\n  hard/hard_digits: 70 of 360 examples\n" in printed


def test_longer_of_a_run_that_counts_epochs(shell):
    text = Path("a net/it's.yaml").read_text().replace("max_iter: 30", "max_epoch: 1")
    Path("net.yaml").write_text(text)
    shell("nettrain train net.yaml --out part")
    option = re.search(r"to train longer: (--set .*)", shell("nettrain train --resume part")[1])[1]
    assert "done: 45 iterations" in shell(f"nettrain train --resume part {option}")[0]


@pytest.mark.parametrize("out", ["part", "x y"])
def test_go_on_after_an_error(shell, out):
    data = "digits.source={train: d.npz, test: digits}"
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 640)
    labels[-1] = 10  # in the last batch: a score that no output stands for, seen only when it comes
    np.savez("d.npz", train_data=rng.random((640, 1, 8, 8)), train_label=labels)
    # behind a layer, labels are known only when they come
    behind = {"name": "l", "type": "Power", "bottom": "label"}
    layers = [*LAYERS[:5], behind, {**LAYERS[6], "bottom": ["fc", "l"]}]
    solver = {"base_lr": 0.05, "max_iter": 30, "test_interval": 15, "snapshot": 5}
    Path("a net/it's.yaml").write_text(yaml.safe_dump({"name": "late", "solver": solver, "layers": layers}))
    words = ["nettrain", "train", "a net/it's.yaml", "--out", out, "--set", data, "--set", "digits.shuffle=false"]
    _, errors = shell(shlex.join(words), 2)
    line = after("resume", errors)
    assert "resumed from" in shell(line, 2)[1]  # the label is still there: it says so again, after the resume


def test_files_that_only_the_beginning_needed_may_be_gone(shell):
    shell(f"{SPACED} --out first")
    printed, _ = shell(f"{SPACED} --set solver.weights=first/best.npz --out second")
    os.remove("first/best.npz")
    assert "resumed from" in shell("nettrain train --resume second --set solver.max_iter=40")[1]
    shell(after("next", printed))


def test_what_to_try_after_divergence(shell):
    command = "nettrain train configs/mlp.yaml --set solver.base_lr=1e30 --set solver.max_iter=20"
    _, errors = shell(command, 3)
    line = re.search(r"^  try +(.*)$", errors, re.M)[1]
    for option in line.split("   or   "):
        shell(f"{command} {option}", (0, 3))  # not wrong usage: a step towards it


def test_test_takes_a_run_or_a_snapshot_and_other_weights(nettrain_cli):
    nettrain_cli("train", "a net/it's.yaml", "--out", "part", "--set", "solver.snapshot=10", "--set", "ip.num_output=5")
    scores = {}
    for what in ("part", "part/", "part/best.npz", "part/iter_10.npz", "part/iter_30.npz"):
        scores[what] = json.loads(nettrain_cli("test", what, "--json").stdout)
    assert scores["part"]["weights"] == "part/best.npz"
    assert scores["part"]["scores"] == scores["part/best.npz"]["scores"]
    assert scores["part/iter_10.npz"]["scores"] != scores["part/iter_30.npz"]["scores"]
    other = json.loads(nettrain_cli("test", "part", "--weights", "part/iter_10.npz", "--json").stdout)
    assert other["scores"] == scores["part/iter_10.npz"]["scores"]
    Path("part/best.npz").write_bytes(b"PK")
    result = nettrain_cli("test", "part", "--json")
    assert "best.npz is damaged" in result.stderr
    assert json.loads(result.stdout)["weights"] == "part/iter_30.npz"
    assert "give the weights too" in nettrain_cli("test", "a net/it's.yaml", exit_code=2).stderr
    assert "no snapshot in a net" in nettrain_cli("test", "a net", exit_code=2).stderr
    os.remove("a net/it's.yaml")
    assert nettrain_cli("test", "part/iter_10.npz").exit_code == 0
    assert "there is no layer `ipp`" in nettrain_cli("test", "part", "--set", "ipp.num_output=3", exit_code=2).stderr
