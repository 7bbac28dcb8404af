"""The command line: what it prints, where, and with which exit code."""

import json
import os
import re
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers import interrupt, start
from nettrain.cli import main
from nettrain.solver.parameters import SolverParameters
from nettrain.solver.policies import POLICIES
from nettrain.solver.rules import RULES


def nettrain(*arguments, cwd, **options):
    command = [sys.executable, "-m", "nettrain", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, **options)


def test_help_shows_examples_and_every_command(nettrain_cli):
    text = nettrain_cli("--help").output
    assert text == nettrain_cli("-h").output
    assert text.index("nettrain train configs/mlp.yaml") < text.index("Train:")
    for command in main.commands:
        assert re.search(rf"^  {command} ", text, re.M)


def test_help_cuts_no_sentence_short(nettrain_cli):
    assert "..." not in nettrain_cli("--help").output


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_has_help(nettrain_cli, command):
    assert "Usage:" in nettrain_cli(command, "--help").output


def test_solvers_lists_and_explains(nettrain_cli):
    found = json.loads(nettrain_cli("solvers", "--json").stdout)
    assert (set(found["type"]), set(found["lr_policy"])) == (set(RULES), set(POLICIES))
    text = nettrain_cli("solvers").stdout
    for name in (*RULES, *POLICIES, *(key["name"] for key in found["keys"])):
        assert re.search(rf"^{name} ", text, re.M), name
    assert [key["name"] for key in found["keys"]] == [name for name, *_ in SolverParameters.fields()]
    adam = json.loads(nettrain_cli("solvers", "Adam", "--json").stdout)
    assert {key["name"]: key["default"] for key in adam["parameters"]}["momentum2"] == "0.999"
    assert "gamma: …" in nettrain_cli("solvers", "exp").stdout
    assert "did you mean `Adam`?" in nettrain_cli("solvers", "adam", exit_code=2).stderr


@pytest.mark.parametrize("name", [*RULES, *POLICIES])
def test_every_example_of_a_rule_or_policy_is_a_solver(name):
    from nettrain.tools.catalogue import solver_details

    text = solver_details(name)["example"].replace("stepvalue: …", "stepvalue: [5]").replace("…", "1")
    text = text.replace("}", ", test_interval: 1}")
    p = SolverParameters.from_mapping(yaml.safe_load(text)["solver"])
    assert name in (p.type.name, p.lr_policy.name)


def test_help_does_not_wait_for_numpy(tmp_path):
    code = "import sys, nettrain.cli; sys.exit(bool({'numpy', 'tqdm', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == 0


def test_help_is_quick(tmp_path):
    nettrain("--help", cwd=tmp_path)
    times = []
    for _ in range(5):
        before = os.times()  # processor time: what else the machine does must not matter
        assert nettrain("--help", cwd=tmp_path).returncode == 0
        after = os.times()
        times.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(times) < 0.2


def test_training_session(nettrain_cli, workdir):
    result = nettrain_cli("train", "configs/mlp.yaml")
    lines = result.stdout.splitlines()
    assert lines[0].startswith("mlp · 4,810 parameters · digits: 1,437 train / 360 test · seed 1701 · ")
    assert lines[0].endswith("runs/mlp/001")
    assert lines[1].split() == ["iter", "epoch", "train", "loss", "test", "loss", "accuracy", "lr", "it/s"]
    assert [line.split()[0] for line in lines[2:8]] == ["0", "200", "400", "600", "800", "1000"]
    assert lines[2].endswith("* best")
    assert lines[8].startswith("done: 1000 iterations in ")
    assert "weights runs/mlp/001/best.npz · last snapshot runs/mlp/001/iter_1000.npz" in lines[9]
    assert lines[10].split() == ["next", "nettrain", "test", "runs/mlp/001"]
    assert "using the one that comes with nettrain" in result.stderr
    assert {p.name for p in (workdir / "runs/mlp/001").iterdir()} == {
        "best.npz",
        "iter_1000.npz",
        "metrics.jsonl",
        "run.json",
        "spec.yaml",
    }
    rows = [json.loads(line) for line in (workdir / "runs/mlp/001/metrics.jsonl").read_text().splitlines()]
    assert [row["iter"] for row in rows] == [0, 200, 400, 600, 800, 1000]
    assert rows[-1]["test"]["accuracy"] >= 0.97


def test_the_command_that_training_names_next(nettrain_cli):
    printed = nettrain_cli("train", "configs/mlp.yaml").stdout.splitlines()
    best = max(re.findall(r"(\d\d\.\d\d)%", "\n".join(printed[2:8])))
    command = printed[-1].split()[2:]
    result = json.loads(nettrain_cli(*command, "--json").stdout)
    assert f"{100 * result['scores']['accuracy']:.2f}" == best
    assert result["examples"] == {"digits": 360}
    assert "accuracy" in nettrain_cli(*command).stdout


def test_an_accuracy_is_a_percentage_whatever_its_name(nettrain_cli):
    spec = """
solver: {base_lr: 0.1, max_epoch: 1}
layers:
  - {name: digits, type: Data, top: [data, label], source: digits, batch_size: 64}
  - {name: fc, type: InnerProduct, bottom: data, num_output: 10}
  - {name: right, type: Accuracy, bottom: [fc, label], include: test}
  - {name: loss, type: SoftmaxWithLoss, bottom: [fc, label]}
"""
    Path("net.yaml").write_text(spec)
    assert re.search(r"· best right \d+\.\d\d% at 23$", nettrain_cli("train", "net.yaml").stdout, re.M)


def test_a_second_run_gets_its_own_folder_and_the_same_numbers(nettrain_cli, workdir):
    short = ("train", "configs/mlp.yaml", "--set", "solver.max_iter=50")
    for number in ("001", "002"):
        assert f"runs/mlp/{number}" in nettrain_cli(*short).stdout
    first, second = (np.load(workdir / f"runs/mlp/{n}/iter_50.npz") for n in ("001", "002"))
    with first, second:
        assert first.files == second.files
        for name in first:
            assert np.array_equal(first[name], second[name])


def test_piped_output_has_no_bar_and_no_colour(tmp_path):
    done = nettrain("train", "configs/mlp.yaml", "--set", "solver.max_iter=300", cwd=tmp_path)
    assert done.returncode == 0
    assert "it/s]" not in done.stdout + done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert done.stderr.count("\n") == 1  # the note about the bundled config


def test_a_terminal_gets_a_bar(tmp_path):
    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (24, 100))
    command = [sys.executable, "-m", "nettrain", "train", "configs/mlp.yaml"]
    rows = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=slave, check=True).stdout.decode()
    bar = os.read(master, 1 << 16).decode(errors="replace")  # the terminal may hold a part of a character
    os.close(slave)
    os.close(master)
    assert "/1000 [" in bar
    assert "loss=" in bar
    assert "it/s" not in rows.split("done:")[0].split("it/s", 1)[1]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train", "nowhere.yaml"], 2, "nowhere.yaml: no such file"),
        (["train", "configs/mlp.yml"], 2, "did you mean `configs/mlp.yaml`?"),
        (["train", "configs/mlp.yaml", "--set", "solver.bse_lr=1"], 2, "did you mean `solver.base_lr`?"),
        (["train", "configs/mlp.yaml", "--set", "ip3.num_output=1"], 2, "there is no layer `ip3`"),
        (["train", "configs/mlp.yaml", "--set", "solver.base_lr=x"], 2, "Nothing was trained."),
        (["train", "configs/mlp.yaml", "--weights", "no.npz"], 2, "weights file not found: no.npz"),
        (["train"], 2, "give a spec, or a run to resume: --resume RUN"),
        (["trian"], 2, "No such command"),
        (
            ["test", "configs/mlp.yaml"],
            2,
            "give the weights too (--weights FILE), or",
        ),
        (["test", "."], 2, "no snapshot in ."),
        (["test", "configs/mlp.yaml", "--weights", "no.npz"], 2, "weights file not found"),
        (["check", "."], 2, "this is a folder, not a YAML file"),
        (["layers", "Dense"], 2, "a fully connected layer is `InnerProduct`"),
        (["gradcheck", "--layer", "Convolutoin"], 2, "did you mean `Convolution`?"),
        (["gradcheck", "own.py"], 2, "own.py: no such file"),
        (["gradcheck", "own.py:Swish"], 2, "no such file"),
        (["explain", "\ud800", "x=1"], 2, "is not a file name"),
        (["check", "a\0b.yaml"], 2, "is not a file name"),
    ],
)
def test_wrong_usage_is_one_message_and_exit_code_2(nettrain_cli, arguments, code, words):
    result = nettrain_cli(*arguments, exit_code=code)
    assert words in result.stderr
    assert result.stdout == ""


def test_debug_shows_the_traceback(tmp_path):
    for arguments in (["--debug", "train", "nowhere.yaml"], ["train", "nowhere.yaml", "--debug"]):
        done = nettrain(*arguments, cwd=tmp_path)
        assert "Traceback" in done.stderr
        assert done.returncode == 1


def test_divergence_is_exit_code_3(nettrain_cli):
    arguments = ["configs/mlp.yaml", "--set", "solver.base_lr=1e30", "--set", "solver.snapshot=1"]
    result = nettrain_cli("train", *arguments, exit_code=3)
    assert "training diverged at iteration" in result.stderr
    assert "first bad value" in result.stderr
    assert "layer `ip" in result.stderr
    assert "--set solver.base_lr=1e+28" in result.stderr
    assert "iter_1.npz" in result.stderr


def test_ctrl_c_is_exit_code_130(workdir):
    process = start("train", "configs/mlp.yaml", "--set", "solver.max_iter=100000000")
    for line in process.stdout:
        if line.split()[0] == "200":
            break
    _, errors = interrupt(process)
    assert "interrupted at iteration" in errors
    assert "Traceback" not in errors


def test_an_unwritable_folder_is_said_before_training(nettrain_cli, workdir):
    (workdir / "runs").write_text("a file where the folder should be")
    result = nettrain_cli("train", "configs/mlp.yaml", exit_code=1)
    assert "cannot write to" in result.stderr
    assert "--out" in result.stderr


def test_gradcheck_of_the_zoo(nettrain_cli):
    text = nettrain_cli("gradcheck").stdout
    last = text.splitlines()[-1]
    assert text.splitlines()[0].split() == ["layer", "example", "checked", "max", "rel.", "error", "kinks", "verdict"]
    assert re.search(r"^\d+ layer types, \d+ examples: all ok, 2 entries not compared in [\d.]+ s$", last)  # 0 ** 0
    data = json.loads(nettrain_cli("gradcheck", "--layer", "Pooling", "--json").stdout)
    assert data["ok"]
    assert {check["subject"] for check in data["checks"]} == {"Pooling"}


def test_gradcheck_of_a_net(nettrain_cli):
    assert "ip2[1]" in nettrain_cli("gradcheck", "configs/mlp.yaml").stdout


OWN = """
import numpy as np
from nettrain import Example, Layer

class Twice(Layer):
    "y = 2 x."
    examples = [Example([(3, 4)])]
    def Forward_cpu(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data
    def Backward_cpu(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = FACTOR * top[0].diff
"""


def test_gradcheck_of_a_layer_of_ones_own(nettrain_cli, workdir):
    (workdir / "own.py").write_text(OWN.replace("FACTOR", "2"))
    assert "all ok" in nettrain_cli("gradcheck", "own.py:Twice").stdout
    (workdir / "wrong.py").write_text(OWN.replace("FACTOR", "4"))
    result = nettrain_cli("gradcheck", "wrong.py:Twice", exit_code=4)
    assert "1 FAILED" in result.stdout
    assert "ratio 2.000 in all 12 entries" in result.stdout


def test_check_says_ok_or_everything_that_is_wrong(nettrain_cli, workdir):
    assert (
        "configs/mlp.yaml: ok · TRAIN net of 5 layers, TEST net of 6 layers"
        in nettrain_cli("check", "configs/mlp.yaml").stdout
    )
    (workdir / "bad.yaml").write_text(
        "solver: {bse_lr: 0.05, max_iter: 10}\n"
        "layers:\n"
        "  - {name: digits, type: Data, top: [data, label], source: digits, batch_size: 64}\n"
        "  - {name: ip1, type: Dense, num_output: 10}\n"
        "  - {name: ip2, type: InnerProduct, num_output: ten}\n"
        "  - {name: loss, type: SoftmaxWithLoss, bottom: [ip9, label]}\n"
    )
    data = json.loads(nettrain_cli("check", "bad.yaml", "--json", exit_code=2).stdout)
    assert [error["line"] for error in data["errors"]] == [1, 4, 5, 6]
    assert not data["ok"]
    errors = nettrain_cli("check", "bad.yaml", exit_code=2).stderr
    places = [line.split(":")[1] for line in errors.splitlines() if line.startswith("bad.yaml:")]
    assert places == ["1", "4", "5", "6"]
    assert errors.splitlines()[-1] == "4 errors in bad.yaml."


def test_summary_of_lenet_has_the_published_numbers(nettrain_cli, mnist):
    data = json.loads(nettrain_cli("summary", "configs/lenet.yaml", "--json").stdout)
    shapes = {layer["name"]: next(iter(layer["tops"].values())) for layer in data["layers"]}
    assert shapes["conv1"] == [64, 20, 24, 24]
    assert shapes["pool2"] == [64, 50, 4, 4]
    assert data["totals"]["parameters"] == 431_080
    per_image = 20 * 25 * 24 * 24 + 50 * 20 * 25 * 8 * 8 + 800 * 500 + 500 * 10
    assert data["totals"]["multiply_adds"] == 64 * per_image
    text = nettrain_cli("summary", "configs/lenet.yaml", "--set", "mnist.batch_size=1").stdout
    assert "1 x 20 x 24 x 24" in text
    assert "431,080" in text


@pytest.mark.parametrize(
    ("settings", "rates", "kept"),
    [
        ([], "0.1 at 0 · 0.1 at 250 · 0.05 at 500 · 0.05 at 750 · 0.025 at 999", "one history"),
        (
            ["lr_policy=fixed", "type=Adam"],
            "0.1 at 0 · 0.1 at 250 · 0.1 at 500 · 0.1 at 750 · 0.1 at 999",
            "two histories",
        ),
        (
            ["lr_policy=poly", "power=1", "max_iter=100", "warmup_iter=10", "type=Adam", "amsgrad=true"],
            "0 at 0 · 0.09 at 10 · 0.075 at 25 · 0.05 at 50 · 0.025 at 75 · 0.001 at 99",
            "three histories",
        ),
    ],
)
def test_summary_shows_the_learning_rate_and_what_the_rule_keeps(nettrain_cli, settings, rates, kept):
    options = [part for setting in settings for part in ("--set", f"solver.{setting}")]
    lines = nettrain_cli("summary", "configs/mlp.yaml", *options).stdout.splitlines()
    assert lines[-1] == f"learning rate {rates}"
    copies = {"one": 3, "two": 4, "three": 5}[kept.split()[0]]
    assert lines[-2] == f"parameters take {copies * 4 * 4810 / 1000:.1f} kB more (with gradients and {kept})"
    data = json.loads(nettrain_cli("summary", "configs/mlp.yaml", *options, "--json").stdout)
    assert " · ".join(f"{one['lr']:.4g} at {one['iter']}" for one in data["rates"]) == rates
    assert json.loads(nettrain_cli("summary", "configs/mlp.yaml", "--phase", "TEST", "--json").stdout)["rates"] == []


def test_layers_lists_and_explains(nettrain_cli):
    types = json.loads(nettrain_cli("layers", "--json").stdout)
    assert types["Convolution"] == "Cross-correlation of each example with M kernels."
    blocks = nettrain_cli("layers").stdout.split("\n\n")
    rows = {block.partition(":")[0].strip(): block.splitlines()[2:] for block in blocks}
    assert sorted(row.split()[0] for lines in rows.values() for row in lines) == sorted(types)
    assert set(rows) == {
        *(path.parent.name for path in (Path(__file__).parent.parent / "layers").glob("*/__init__.py")),
        "your own",
    }
    assert [row.split()[0] for row in rows["recurrent"]] == ["GRU", "LSTM", "LSTMUnit", "RNN", "Recurrent"]
    text = nettrain_cli("layers", "Dropout").stdout
    assert "a number >= 0 and < 1" in text
    assert "0.5" in text
    assert "type: Dropout" in text


def test_the_page_of_layers_is_current(nettrain_cli):
    page = (Path(__file__).parent.parent / "docs" / "layers.md").read_text(encoding="utf-8")
    assert page == nettrain_cli("layers", "--markdown").stdout, "run: nettrain layers --markdown > docs/layers.md"
    assert page.count("\n## ") == len(json.loads(nettrain_cli("layers", "--json").stdout))


def test_every_example_of_the_catalogue_is_a_spec_that_loads():
    from nettrain import layer_type_list
    from nettrain.net.netspec import load
    from nettrain.tools.catalogue import details

    for name in layer_type_list():
        spec = load("layers:\n  " + details(name)["example"] + "\n", allow_python=True)
        assert spec.layers[0].cls.__name__ == name


def test_schema_accepts_the_shipped_configs_structure(nettrain_cli):
    schema = json.loads(nettrain_cli("schema").stdout)
    *layers, use = schema["properties"]["layers"]["items"]["oneOf"]
    assert use == {"$ref": "#/$defs/use"}
    kinds = {item["properties"]["type"]["const"]: item for item in layers}
    assert kinds["InnerProduct"]["required"] == ["name", "num_output", "type"]
    assert kinds["InnerProduct"]["properties"]["num_output"]["minimum"] == 1
    assert schema["properties"]["solver"]["required"] == ["base_lr"]


def test_env_names_versions_and_kernels(nettrain_cli):
    data = json.loads(nettrain_cli("env", "--json").stdout)
    assert data["versions"]["numpy"] == np.__version__
    assert data["threads"] >= 1
    assert "numpy" in nettrain_cli("env").stdout


def test_threads_are_limited(tmp_path):
    done = nettrain("train", "configs/mlp.yaml", "--set", "solver.max_iter=1", "--threads", "1", cwd=tmp_path)
    assert "· 1 thread ·" in done.stdout


def test_shell_completion(tmp_path):
    environment = os.environ | {"_NETTRAIN_COMPLETE": "bash_source"}
    script = os.path.join(os.path.dirname(sys.executable), "nettrain")
    done = subprocess.run([script], env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "_nettrain_completion" in done.stdout
