"""Every file in bad_specs/ has mistakes, each with the error it must cause beside it.

``# ERROR text`` at the end of a line: an error of this line whose message contains the text. Several errors of one
line follow each other. Lines of detail below the message come after `` // ``. What cannot be on its line is written
at the top of the file, as ``# EXPECT line: text`` (line 0: the error belongs to no line); ``# SET key=value`` stands
for the option ``--set``. Exactly these errors must come, in one run, in the order of the file.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner
from nettrain.cli import main
from nettrain.net.netspec import load
from nettrain.spec.errors import Problem, Problems, SpecError
from nettrain.tools.check import check

FOLDER = Path(__file__).parent / "bad_specs"
FILES = sorted(FOLDER.glob("*.yaml"))
SOLVER = "solver: {base_lr: 0.1, max_iter: 5}\n"
LAYERS = """\
layers:
- {name: digits, type: Data, top: [data, label], source: digits, batch_size: 8}
- {name: ip1, type: InnerProduct, bottom: data, num_output: 10}
- {name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}
"""


@dataclass
class Expected:
    """An error written beside the mistake that causes it."""

    line: int
    message: str
    details: list[str]

    def matches(self, problem: Problem) -> bool:
        details = "\n".join(problem.all_details)
        return (
            self.line == problem.place.line
            and self.message in problem.message
            and all(detail in details for detail in self.details)
        )

    def __str__(self) -> str:
        return " // ".join([f"{self.line}: {self.message}", *self.details])


def expectations(text: str) -> Iterator[Expected]:
    def expected(line: int, words: str) -> Expected:
        message, *details = (part.strip() for part in words.split(" // "))
        return Expected(line, message, details)

    for line, words in re.findall(r"^# EXPECT (\d+): (.+)$", text, re.MULTILINE):
        yield expected(int(line), words)
    for number, line in enumerate(text.split("\n"), 1):
        for words in line.split("# ERROR ")[1:]:
            yield expected(number, words)


def settings(text: str) -> list[str]:
    return re.findall(r"^# SET (.+)$", text, re.MULTILINE)


def problems_of(source: str, options: list[str]) -> list[Problem]:
    """What `nettrain check` complains about."""
    problems = Problems()
    with pytest.raises(SpecError) as error:
        check(load(source, options, problems), problems)
    return error.value.problems


pytestmark = pytest.mark.usefixtures("workdir")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_exactly_the_written_errors_come(path):
    text = path.read_text(encoding="utf-8")
    expected = sorted(expectations(text), key=lambda e: e.line)
    found = problems_of(str(path), settings(text))
    got = [" // ".join([f"{p.place.line}: {p.message}", *p.all_details]) for p in found]
    wanted = [str(e) for e in expected]
    message = "\n".join(["expected:", *wanted, "got:", *got])
    assert len(found) == len(expected), message
    assert all(e.matches(p) for e, p in zip(expected, found, strict=True)), message


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_command_line_says_it_with_its_place_and_returns_2(path):
    text = path.read_text(encoding="utf-8")
    options = [part for setting in settings(text) for part in ("--set", setting)]
    result = CliRunner().invoke(main, ["check", str(path), *options])
    assert result.exit_code == 2, result.output or repr(result.exception)
    assert "Traceback" not in result.output
    expected = list(expectations(text))
    for line in {e.line for e in expected if e.line}:
        assert f"{path}:{line}:" in result.output
    count = len(expected)
    assert re.search(rf"^{count} error{'s' if count > 1 else ''}\b", result.output, re.MULTILINE), result.output


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_caret_points_at_what_was_written(path):
    """Not at the comment, and not at nothing."""
    text = path.read_text(encoding="utf-8")
    for problem in problems_of(str(path), settings(text)):
        place = problem.place
        if place.line and place.text:
            written = place.text.partition("# ERROR")[0].rstrip()
            assert 1 <= place.column <= len(written) + 1, str(problem)
            assert str(problem).startswith(f"{path}:{place.line}:{place.column}: "), str(problem)


def test_every_file_expects_an_error():
    assert len(FILES) > 100
    assert [path.name for path in FILES if not list(expectations(path.read_text(encoding="utf-8")))] == []


def test_expectations_are_read_from_comments():
    text = "# EXPECT 7: seven // more\n# SET a=1\na: 1  # ERROR one // two # ERROR three\n# error four\n"
    assert [str(e) for e in expectations(text)] == ["7: seven // more", "3: one // two", "3: three"]
    assert settings(text) == ["a=1"]


def test_an_unexpected_error_is_noticed():
    (problem,) = problems_of("layers:\n- {name: data, type: Input, shape: [4, 3], color: red}\n", [])
    assert Expected(2, "Input has no key `color`", []).matches(problem)
    assert not Expected(2, "Input has no key `colour`", []).matches(problem)
    assert not Expected(1, "Input has no key `color`", []).matches(problem)
    assert not Expected(2, "Input has no key `color`", ["a detail"]).matches(problem)


# The whole message, as a person sees it.


def invoke(*arguments: str):
    return CliRunner().invoke(main, list(arguments))


def test_a_problem_is_shown_with_its_line_and_a_caret():
    Path("bad.yaml").write_text(
        "solver:\n  base_lr: 0.1\n  wieght_decay: 0.05\n  max_iter: 5\nlayers:\n  - {name: a, type: Dense}\n"
    )
    result = invoke("train", "bad.yaml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        "bad.yaml:3:3: solver has no key `wieght_decay`; did you mean `weight_decay`?\n"
        "    3 |   wieght_decay: 0.05\n"
        "      |   ^^^^^^^^^^^^\n"
        "bad.yaml:6:21: unknown layer type `Dense`; in nettrain (as in Caffe) a fully connected layer is "
        "`InnerProduct`\n"
        "    6 |   - {name: a, type: Dense}\n"
        "      |                     ^^^^^\n"
        "2 errors in bad.yaml. Nothing was trained.\n"
    )
    assert not Path("runs").exists()


def test_shapes_are_shown_below_the_message():
    Path("bad.yaml").write_text(
        "layers:\n"
        "- {name: data, type: Input, shape: [8, 16, 6, 6]}\n"
        "- {name: skip, type: Input, shape: [8, 12, 6, 6]}\n"
        "- {name: sum, type: Eltwise, bottom: [data, skip]}\n"
    )
    result = invoke("check", "bad.yaml")
    assert result.exit_code == 2
    assert "   data 8 x 16 x 6 x 6 (line 2) · skip 8 x 12 x 6 x 6 (line 3)" in result.stderr
    assert "axis 1 differs, 16 and 12" in result.stderr
    assert result.stderr.endswith("1 error in bad.yaml.\n")


@pytest.mark.parametrize("command", ["check", "train", "summary", "gradcheck", "test"])
def test_every_command_that_reads_a_spec_reports_all_its_errors(command):
    Path("bad.yaml").write_text(SOLVER + "layers:\n- {name: a, type: Dense}\n- {name: b, type: Linear}\n")
    more = ["--weights", "w.npz"] if command == "test" else []
    result = invoke(command, "bad.yaml", *more)
    assert result.exit_code == 2, result.output or repr(result.exception)
    assert "Traceback" not in result.output
    assert "bad.yaml:3:19: unknown layer type `Dense`" in result.stderr
    assert "bad.yaml:4:19: unknown layer type `Linear`" in result.stderr


def test_debug_shows_the_traceback():
    Path("bad.yaml").write_text("layers: 3\n")
    result = invoke("check", "bad.yaml", "--debug")
    assert isinstance(result.exception, SpecError)


def test_more_than_25_errors_are_counted():
    Path("bad.yaml").write_text("layers:\n" + "".join(f"- {{name: l{i}, type: Dense}}\n" for i in range(30)))
    result = invoke("check", "bad.yaml")
    assert result.stderr.count("unknown layer type") == 25
    assert "… and 5 more" in result.stderr
    assert result.stderr.endswith("30 errors in bad.yaml.\n")


def test_errors_of_the_file_and_of_the_options_come_together_in_order():
    Path("bad.yaml").write_text("layers:\n- {name: a, type: Input, shape: [2, 3]}\n- {name: b, type: Dense}\n")
    result = invoke("check", "bad.yaml", "--set", "a.shape=[x]", "--set", "c.num_output=3")
    assert result.exit_code == 2
    order = [result.stderr.find(words) for words in ("--set a.shape=[x]:", "--set c.num_output=3:", "bad.yaml:3:19:")]
    assert -1 not in order, result.stderr
    assert order == sorted(order)


def test_a_mapping_in_python_gets_key_paths_for_places():
    with pytest.raises(SpecError) as error:
        load({"layers": [{"name": "a", "type": "Dense"}, {"name": "b", "type": "Input", "shape": [-1]}]})
    assert [str(problem.place) for problem in error.value.problems] == [
        "spec.layers[0].type",
        "spec.layers[1].shape[0]",
    ]


# What is missing or cannot be read.


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nowhere.yaml", "nowhere.yaml: no such file; bundled: configs/"),
        ("configs/mpl.yaml", "configs/mpl.yaml: no such file; did you mean `configs/mlp.yaml`?"),
        ("mlp.yml", "mlp.yml: no such file; did you mean `configs/mlp.yaml`?"),
        ("lenet", "lenet: no such file; did you mean `configs/lenet.yaml`?"),
        (".", "this is a folder, not a YAML file"),
        ("x" * 300 + ".yaml", "x.yaml: "),
        ("bad.yaml/inside", "bad.yaml/inside: no such file"),
    ],
)
def test_a_spec_that_is_not_there(spec, words):
    Path("bad.yaml").write_text("layers: []\n")
    result = invoke("check", spec)
    assert result.exit_code == 2, repr(result.exception)
    assert words in result.stderr


def test_to_train_a_spec_needs_a_solver():
    Path("net.yaml").write_text("layers:\n- {name: data, type: Input, shape: [4, 3]}\n")
    assert invoke("check", "net.yaml").exit_code == 0
    result = invoke("train", "net.yaml")
    assert result.exit_code == 2
    assert "net.yaml:1:1: to train, a spec needs `solver:` with at least base_lr and max_iter" in result.stderr
    assert result.stderr.endswith("Nothing was trained.\n")


def test_train_and_test_nets_of_different_shape_are_an_error_with_a_place():
    Path("net.yaml").write_text(
        SOLVER + "layers:\n"
        "- {name: data, type: Input, shape: [4, 3], include: train}\n"
        "- {name: data, type: Input, shape: [4, 5], include: test}\n"
        "- {name: label, type: Input, shape: [4]}\n"
        "- {name: ip1, type: InnerProduct, bottom: data, num_output: 2}\n"
        "- {name: loss, type: SoftmaxWithLoss, bottom: [ip1, label]}\n"
    )
    result = invoke("check", "net.yaml")
    assert result.exit_code == 2
    assert (
        "net.yaml:4:10: Input `data`: an example of `data` has the shape 3 in the TRAIN net and 5 in the TEST net"
        in (result.stderr)
    )
    assert "layer `ip1` cannot share parameters with the TRAIN net" in result.stderr
    assert "2 x 3" in result.stderr
    assert "2 x 5" in result.stderr


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("solver.average_loss=1000000000000000000000", "solver.average_loss must be"),
        ("ip1.num_output=100000000000", "InnerProduct `ip1`: a blob of 100000000000 x 64 = 6,400,000,000,000 elements"),
        ("ip1.num_output=33554431", "InnerProduct `ip1`"),  # its W alone is just below 2^31 elements
    ],
)
def test_sizes_that_no_computer_can_hold_are_an_error(setting, words):
    """The effect of a mistyped exponent: refused with a name, before anything is allocated."""
    Path("net.yaml").write_text(
        SOLVER + "layers:\n"
        "- {name: digits, type: Data, top: [data, label], source: digits, batch_size: 64}\n"
        "- {name: ip1, type: InnerProduct, bottom: data, num_output: 10}\n"
        "- {name: ip2, type: InnerProduct, num_output: 10}\n"
        "- {name: loss, type: SoftmaxWithLoss, bottom: [ip2, label]}\n"
    )
    result = invoke("check", "net.yaml", "--set", setting)
    assert result.exit_code == 2, repr(result.exception)
    assert words in result.stderr


@pytest.mark.parametrize(
    "settings",
    [
        ["solver.lr_policy=inv", "solver.gamma=1e300", "solver.power=-1e300"],
        ["solver.lr_policy=exp", "solver.gamma=1e300"],
        ["solver.base_lr=1e300"],
        ["solver.snapshot_prefix=" + "x" * 300],
        ["solver.snapshot_prefix=" + "x" * 300 + "/y"],
        ["solver.weights=" + "x" * 300],
        ["digits.transform.scale=1e300"],
        ["ip1.weight_filler=1e300"],
        ["loss.loss_weight=1e300"],
    ],
    ids=lambda settings: settings[0][:30],
)
def test_what_only_shows_while_training_is_still_an_error_and_no_traceback(settings):
    Path("net.yaml").write_text(SOLVER + LAYERS)
    options = [part for setting in settings for part in ("--set", setting)]
    result = invoke("train", "net.yaml", *options)
    assert result.exit_code in (1, 2, 3)
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.stderr.strip()
    assert "Traceback" not in result.output
    assert "Warning" not in result.output


@pytest.mark.parametrize("name", [".", "..", "../../x", "/x"])
def test_a_run_stays_in_its_folder_whatever_the_net_is_called(name):
    Path("net.yaml").write_text(f"name: {name}\n{SOLVER}{LAYERS}")
    assert invoke("train", "net.yaml").exit_code == 0
    (metrics,) = Path().resolve().rglob("metrics.jsonl")
    assert len(metrics.relative_to(Path("runs").resolve()).parts) == 3  # net, number, file
