"""docs/scale.md: its tables are the model's, its sweeps run."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import scaling

PAGE = Path(__file__).parent.parent / "docs" / "scale.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)


def block(kind, word):
    """The block of the page that a word is in."""
    (found,) = [text for of, text in BLOCKS if of == kind and word in text]
    return found


def test_the_tables_are_those_of_the_model():
    found = scaling.tables()
    assert set(re.findall("<!-- table (.+?) -->", TEXT)) == set(found)
    for name, table in found.items():
        assert f"<!-- table {name} -->\n\n{table}\n" in TEXT, "python benchmarks/scaling.py --write"
    assert scaling.written(TEXT, found) == TEXT
    assert scaling.written(TEXT.replace("| AlexNet", "| other"), found) == TEXT


def test_the_rule_of_thumb():
    """Four fifths of a node's speed where its work takes 8 S/B, which is so many ms for each MB."""
    for gigabits, said in (("1", 71), ("10", 7)):
        link = scaling.LINKS[f"{gigabits} Gbit/s"]
        seconds = 8e6 / link.speed
        assert round(1e3 * seconds) == said
        work = scaling.Work(50 * seconds, 50 * seconds, 0.0, 100e6)
        assert scaling.weak(64, work, link) / 64 == pytest.approx(0.8, abs=0.02)


def test_a_sweep_by_the_shell(nettrain_cli, monkeypatch, capsys):
    _, _, command = block("sh", "xargs").replace("\\\n", " ").partition("nettrain train ")
    lines = []
    for value in ("0.01", "0.3", "1e30"):
        words = shlex.split(command.partition(">")[0].replace("{}", value))
        short = ("--set", "solver.max_iter=60", "--set", "solver.test_interval=20")
        lines += [nettrain_cli("train", *words, *short, exit_code=(0, 3)).stdout]
    Path("sweep.jsonl").write_text("".join(lines))
    exec(compile(block("python", "sweep.jsonl"), "sweep", "exec"), {})
    score, weights = capsys.readouterr().out.split()
    runs = {run["run"]: run for run in map(json.loads, lines)}
    assert [run["exit_code"] for run in runs.values()] == [0, 0, 3]
    assert weights == "runs/lr0.3/best.npz"
    assert float(score) == runs["runs/lr0.3"]["score"]


class PrunedError(Exception):
    pass


def test_a_sweep_by_optuna(nettrain_cli, monkeypatch):
    """With a stand-in for Optuna, which asks for these rates, one of which is too high."""
    trials = []

    class Study:
        best_value = best_params = None

        def optimize(self, objective, n_trials, n_jobs):
            for number, rate in enumerate((0.1, 1e30)):
                trial = SimpleNamespace(number=number, attrs={}, value=None)
                trial.suggest_float = lambda *_, rate=rate, **__: rate
                trial.suggest_int = lambda *_, **__: 16
                trial.set_user_attr = trial.attrs.__setitem__
                try:
                    trial.value = objective(trial)
                except PrunedError:
                    trial.value = "pruned"
                trials.append(trial)
            self.best_trial = SimpleNamespace(user_attrs=trials[0].attrs)

    def run(command, stdout, text):
        result = nettrain_cli(*command[1:], "--set", "solver.max_iter=30", exit_code=(0, 2, 3))
        return SimpleNamespace(returncode=result.exit_code, stdout=result.stdout)

    def create_study(direction):
        assert direction == "maximize"
        return Study()

    monkeypatch.setitem(sys.modules, "optuna", SimpleNamespace(create_study=create_study, TrialPruned=PrunedError))
    monkeypatch.setattr("subprocess.run", run)
    exec(compile(block("python", "optuna"), "tune", "exec"), {})
    assert trials[0].value > 0.5
    assert trials[0].attrs["weights"] == "runs/tune/0/best.npz"
    assert trials[1].value == "pruned"
