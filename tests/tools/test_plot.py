"""Curves: what is read of runs, what the activation functions are, and files that can be looked at."""

import json

import numpy as np
import pytest
from nettrain import NettrainError
from nettrain.tools import plot

X = np.linspace(-4, 4, 401)
FUNCTIONS = {
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
    "tanh": (np.tanh, lambda x: 1 - np.tanh(x) ** 2),
    "ReLU": (lambda x: np.maximum(x, 0), lambda x: 1.0 * (x > 0)),
    "leaky": (lambda x: np.where(x > 0, x, 0.1 * x), lambda x: np.where(x > 0, 1, 0.1)),
    "Maxout": (lambda x: np.maximum(x, (1 - x) / 2), lambda x: np.where(x > 1 / 3, 1, -0.5)),
    "ELU": (lambda x: np.where(x > 0, x, np.exp(x) - 1), lambda x: np.where(x > 0, 1, np.exp(x))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_activations_are_their_formulas(name):
    known = plot.activation_curves()
    (which,) = (key for key in known if key.startswith(name))
    x, y, slope = known[which]
    value, derivative = FUNCTIONS[name]
    np.testing.assert_allclose(x, X, atol=1e-12)
    np.testing.assert_allclose(y, value(x), atol=1e-12)
    np.testing.assert_allclose(slope, derivative(x), atol=1e-12)
    assert len(known) == len(FUNCTIONS)


def test_activations_as_a_file_that_is_the_same_each_time(nettrain_cli, workdir):
    for name in ("a.svg", "b.svg"):
        assert name in nettrain_cli("plot", "--activations", "--out", name).stdout
    text = (workdir / "a.svg").read_text()
    assert text == (workdir / "b.svg").read_text()
    for name in ("tanh(x)", "derivative", "max(0, x)"):
        assert name in text


def test_curves_of_runs(nettrain_cli, workdir):
    for name in ("one", "two"):
        nettrain_cli("train", "configs/spiral.yaml", "--set", "solver.max_iter=40", "--out", name)
    rows = [json.loads(line) for line in (workdir / "one" / "metrics.jsonl").read_text().splitlines()]
    run = plot.read_run("one")
    assert run.metrics["train loss"] == ([row["iter"] for row in rows], [row["train_loss"] for row in rows])
    tested = [row for row in rows if "test" in row]
    assert run.metrics["test accuracy"][1] == [row["test"]["accuracy"] for row in tested]
    nettrain_cli("plot", "one")
    nettrain_cli("plot", "one", "two/metrics.jsonl", "--out", "both.png", "--metric", "test accuracy")
    svg = (workdir / "curves.svg").read_text()
    for name in ("accuracy", "test accuracy"):  # as the column of the table is called, too
        nettrain_cli("plot", "one", "--out", f"{name}.svg", "--metric", name)
    assert (workdir / "accuracy.svg").read_bytes() == (workdir / "test accuracy.svg").read_bytes()
    for name in ("train loss", "test loss", "test accuracy", "iteration"):
        assert name in svg
    assert (workdir / "both.png").read_bytes().startswith(b"\x89PNG")


def test_lines_that_are_not_whole_are_passed_over(workdir):
    (workdir / "metrics.jsonl").write_text(
        '{"iter": 0, "train_loss": 2.5, "test": null}\n[1]\n'
        '{"iter": 1, "train_loss": null, "test": {"loss": 2}}\n{"iter": 2, "tra'
    )
    assert plot.read_run("metrics.jsonl").metrics == {"train loss": ([0], [2.5]), "test loss": ([1], [2.0])}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "plot what?"),
        (["nowhere"], "no metrics in nowhere: nowhere (No such file or directory); a run is a folder"),
        (["empty"], "has no line with numbers"),
        (["binary"], "has no line with numbers"),
        (
            ["good", "--metric", "tets loss"],
            "no run has the metric `tets loss`; did you mean `test loss`; there are: test loss",
        ),
        (["good", "--out", "curves.gif"], "must end in .svg, .png, .pdf"),
        (["good", "--out", "curves"], "must end in .svg, .png, .pdf"),
        (["good", "--activations"], "--activations draws functions, not runs"),
    ],
)
def test_what_cannot_be_drawn(nettrain_cli, workdir, arguments, says):
    for name, text in (("empty", b"\n"), ("binary", b"\xff\xfe"), ("good", b'{"iter": 0, "test": {"loss": 1}}\n')):
        (workdir / name).mkdir()
        (workdir / name / "metrics.jsonl").write_bytes(text)
    result = nettrain_cli("plot", *arguments, exit_code=2)
    assert says in result.stderr
    assert result.stdout == ""


def test_a_file_that_cannot_be_written(nettrain_cli):
    assert (
        "cannot be written" in nettrain_cli("plot", "--activations", "--out", "no/such/folder.svg", exit_code=1).stderr
    )


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(NettrainError, match=r'pip install "nettrain\[plot\]"'):
        plot.plot([], [], True, None)


def test_names_are_no_formulas_and_runs_in_a_folder_are_named(nettrain_cli, workdir):
    (workdir / "runs" / "001").mkdir(parents=True)
    (workdir / "runs" / "001" / "metrics.jsonl").write_text('{"iter": 0, "train_loss": 1, "test": {"a$_{$": 1}}\n')
    nettrain_cli("plot", "runs/001")
    assert "a$_{$" in (workdir / "curves.svg").read_text()
    assert "there are runs/001" in nettrain_cli("plot", "runs", exit_code=2).stderr
