"""What the README says to type works, and the examples in it are right."""

import re
import shlex
from pathlib import Path

import nettrain
import pytest
import yaml
from helpers.own_data import photos
from nettrain.solver.parameters import SolverParameters

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for block in blocks("sh")
    for line in block.splitlines()
    if line.startswith("nettrain ")
] + [shlex.split(command)[1:] for command in re.findall(r"`(nettrain (?:train|test|check) [^`]*)`", README)]


def test_there_are_commands():
    assert {command[0] for command in COMMANDS} >= {
        "train",
        "check",
        "gradcheck",
        "summary",
        "layers",
        "env",
        "convert",
    }


# the whole zoo's gradients, some seconds, are what tests/test_cli.py looks at
@pytest.mark.parametrize("command", [command for command in COMMANDS if command != ["gradcheck"]], ids=" ".join)
def test_command(nettrain_cli, mnist, command):
    (mnist / "my_layers.py").write_text(next(block for block in blocks("python") if "class Square" in block))
    if "mlp_solver.prototxt" in command:
        nettrain_cli("convert", "configs/mlp.yaml", "--to", "mlp.prototxt")
    if command[0] == "plot" or command[:2] == ["test", "runs/mlp/001"] or "runs/mlp/001/best.npz" in command:
        nettrain_cli("train", "configs/mlp.yaml", "--set", "solver.max_iter=20")
    if command == ["runs"] or "runs/mlp/001/spec.yaml" in command:
        nettrain_cli("train", "configs/mlp.yaml", "--set", "solver.max_iter=20")
    if any("photos" in word for word in command):
        photos(mnist / "photos", 3, sizes=((16, 16),))
        photos(mnist / "new", 1, sizes=((16, 16),))
        before = [["new", "photos", "--data", "photos/"], ["train", "photos.yaml", "--set", "solver.max_iter=3"]]
        for one in before[: ("new", "train", "test", "predict").index(command[0])]:
            nettrain_cli(*one)
    if "--resume" in command:
        nettrain_cli("train", "configs/mlp.yaml", "--set", "solver.max_iter=500", "--set", "solver.snapshot=400")
    elif command[0] == "train":
        if "a.npz,b.npz" in command:
            for name in ("a.npz", "b.npz"):
                nettrain.Net("configs/lenet.yaml").save(name)
        command = [*command, "--set", "solver.max_iter=3"]
        if "configs/lenet.yaml" in command:
            command += ["--set", "mnist.batch_size=8"]
    nettrain_cli(*command)


def test_the_explanation_in_the_readme_is_what_is_printed(nettrain_cli):
    shown = next(block for block in blocks("text") if block.startswith("node"))
    command = next(command for command in COMMANDS if "--expr" in command)
    assert nettrain_cli(*command).stdout == shown


def test_the_spec_of_the_readme_trains(nettrain_cli, workdir):
    (workdir / "net.yaml").write_text(blocks("yaml")[0])
    lines = nettrain_cli("train", "net.yaml").stdout.splitlines()
    assert float(re.search(r"best accuracy ([\d.]+)%", lines[-3])[1]) >= 97


def test_the_program_of_the_readme_runs(workdir, capsys):
    exec(compile(next(b for b in blocks("python") if "get_solver" in b), "README.md", "exec"), {})
    assert capsys.readouterr().out == "(64, 10) (64, 64)\n"


def test_the_session_of_the_readme_is_what_is_printed(nettrain_cli):
    """The same lines and columns; numbers as near as another processor's rounding leaves them."""
    shown = next(block for block in blocks("text") if block.startswith("mlp ·")).splitlines()
    printed = nettrain_cli("train", "configs/mlp.yaml").stdout.splitlines()
    assert len(printed) == len(shown)
    assert printed[0].split(" · ")[:4] == shown[0].split(" · ")[:4]
    assert printed[1] == shown[1]
    assert printed[-2:] == shown[-2:]
    for mine, theirs in zip(printed[2:-3], shown[2:-3], strict=True):
        (iteration, epoch, *values), (wanted_iteration, wanted_epoch, *wanted) = mine.split(), theirs.split()
        assert (iteration, epoch) == (wanted_iteration, wanted_epoch)
        for value, near in zip(values[:2], wanted[:2], strict=True):  # losses
            assert float(value) == pytest.approx(float(near), rel=0.1, abs=0.02)
        assert float(values[2].rstrip("%")) == pytest.approx(float(wanted[2].rstrip("%")), abs=1.5)
        assert values[3] == wanted[3]  # the rate


def test_the_errors_of_the_readme_are_what_is_printed(nettrain_cli, workdir):
    shown = next(block for block in blocks("text") if "bse_lr" in block)
    lines = ["solver:", "  max_iter: 1", *[""] * 11, "  bse_lr: 0.05", "layers:"]
    lines += ["  - {name: digits, type: Data, top: [data, label], source: digits, batch_size: 64}", *[""] * 10]
    lines += ["  - name: ip1", "    type: Dense", "    bottom: data", "    num_output: 10"]
    lines += ["  - {name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}"]
    (workdir / "mlp.yaml").write_text("\n".join(lines) + "\n")
    assert nettrain_cli("train", "mlp.yaml", exit_code=2).stderr == shown


def test_every_file_the_readme_links_to_is_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_the_recurrent_cell_is_a_layer_that_runs():
    inputs = "layers:\n- {name: in, type: Input, top: [x, cont], shape: [[5, 2, 8], [5, 2]]}\n"
    assert nettrain.Net(inputs + next(block for block in blocks("yaml") if "Recurrent" in block)).forward()[
        "rnn"
    ].shape == (5, 2, 32)


def test_the_solver_of_the_readme_is_one():
    block = next(block for block in blocks("yaml") if "plateau" in block)
    p = SolverParameters.from_mapping(yaml.safe_load(block)["solver"] | {"base_lr": 0.1})
    assert (p.lr_policy.name, p.patience, p.monitor.metric, len(p.test_state)) == ("plateau", 15, "accuracy", 2)
