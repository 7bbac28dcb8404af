"""A bug in a layer of the user's own is told in words, with its line, whatever command meets it."""

import inspect
import json
import re

import nettrain
import pytest
from click.testing import CliRunner
from helpers.user_code import BACKWARD, FORWARD, HEAD, NET, blamed, write
from nettrain.net import user_code
from nettrain.net.user_code import UserCodeError

COMMANDS = ("train", "check", "summary", "explain", "gradcheck", "time")
RUNNING = ("train", "check", "explain", "gradcheck", "time")

# the bug; the line that is blamed; the words; the commands that meet it
BUGS = {
    "no forward": (BACKWARD, "class Mine(Layer):", "NotImplementedError: Mine has no Forward_cpu(self, bott", RUNNING),
    "no backward": (FORWARD, "class Mine(Layer):", "NotImplementedError: Mine has no Backward_cpu(self, to", RUNNING),
    "attribute": (
        FORWARD.replace("2 * bottom[0].data", "self.nothing"),
        "self.nothing",
        "AttributeError: 'Mine' object has no attribute 'nothing', in Mine.Forward_cpu",
        RUNNING,
    ),
    "helper": (
        FORWARD.replace("2 * bottom[0].data", "helper(bottom[0])"),
        "blob.nothing",
        "AttributeError: 'Blob' object has no attribute 'nothing', in helper, called by Mine.Forward_cpu (mine.py:17)",
        RUNNING,
    ),
    "library": (  # the innermost line is numpy's
        FORWARD.replace("2 * bottom[0].data", "np.linalg.inv(bottom[0].data)"),
        "np.linalg.inv(bottom[0].data)",
        "LinAlgError: ",
        RUNNING,
    ),
    "shape": (
        FORWARD.replace("2 * bottom[0].data", "bottom[0].data[:, :3]"),
        "top[0].data[...]",
        "ValueError: could not broadcast input array",
        RUNNING,
    ),
    "whole blob": (  # the innermost line is nettrain's
        FORWARD.replace("top[0].data[...]", "top[0].data").replace("2 * bottom[0].data", "np.zeros((7, 7))"),
        "top[0].data",
        "ValueError: could not broadcast input array",
        RUNNING,
    ),
    "backward": (
        FORWARD + BACKWARD.replace("top[0].diff", "top[1].diff"),
        "top[1]",
        "IndexError: list index out of range, in Mine.Backward_cpu",
        RUNNING,
    ),
    "signature": (
        "    def Forward_cpu(self, bottom):\n        pass\n",
        "def Forward_cpu(self, bottom):",
        "TypeError: Mine.Forward_cpu() takes 2 positional arguments but 3 were given",
        RUNNING,
    ),
    "lambda": (
        "    Forward_cpu = lambda self, bottom: None\n",
        "Forward_cpu = lambda self, bottom: None",
        "<lambda>() takes 2 positional arguments but 3 were given",
        RUNNING,
    ),
    "constructor": (
        "    def __init__(self, parameters):\n        pass\n",
        "def __init__(self, parameters):",
        "TypeError: Mine.__init__() got an unexpected keyword argument",
        COMMANDS,
    ),
    "setup": (
        "    def setup(self, bottom, top):\n        self.add_blob((3,))\n",
        "self.add_blob((3,))",
        "TypeError: Layer.add_blob() missing 1 required positional argument: 'filler', in Mine.setup",
        COMMANDS,
    ),
    "reshape": (
        "    def reshape(self, bottom, top):\n        top[0].reshape((bottom[0].shape[5],))\n",
        "bottom[0].shape[5]",
        "IndexError: tuple index out of range, in Mine.reshape",
        COMMANDS,
    ),
    "parameters": (
        "    class Parameters(Declared):\n        a: int = param(default=2, doc='a')\n\n        def validate(self):\n"
        "            yield self.nope, 'wrong'\n",
        "self.nope",
        "AttributeError: 'Parameters' object has no attribute 'nope', in Mine.Parameters.validate",
        COMMANDS,
    ),
    "state": (
        FORWARD + BACKWARD + "    def state(self):\n        return self.my\n",
        "self.my",
        "in Mine.state",
        ["train"],
    ),
    "formula": (
        FORWARD + BACKWARD + "    def formula(self, names):\n        return names[3]\n",
        "names[3]",
        "IndexError: list index out of range, in Mine.formula",
        ["explain"],
    ),
    "multiply_adds": (
        FORWARD + BACKWARD + "    def multiply_adds(self, bottom, top):\n        return 1 / 0\n",
        "1 / 0",
        "ZeroDivisionError: division by zero, in Mine.multiply_adds",
        ["summary", "time"],
    ),
}


@pytest.mark.parametrize(("bug", "command"), [(bug, c) for bug, case in BUGS.items() for c in case[3]])
def test_a_bug_is_reported_in_words(workdir, bug, command):
    from nettrain.cli import main

    body, line, words, _ = BUGS[bug]
    write(workdir, body)
    result = CliRunner().invoke(main, [command, "net.yaml", "--allow-python"])
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == 2
    assert words in result.stderr
    assert line in blamed(result.stderr)
    assert re.search(r"^mine\.py:\d+:\d+: ", result.stderr, re.M)
    assert len(result.stderr.splitlines()) <= 6
    if command in RUNNING and command in BUGS["shape"][3] and bug in ("shape", "backward", "signature", "library"):
        assert re.search(r"Mine `y` \(net.yaml:6:10\), TRAIN · bottom ip 4 x 10 · top y 4 x 10", result.stderr)


@pytest.mark.parametrize("bug", [bug for bug, case in BUGS.items() if len(case[3]) > 2])
def test_gradcheck_of_the_file_names_the_example(nettrain_cli, workdir, bug):
    body, line, words, _ = BUGS[bug]
    write(workdir, body)
    text = nettrain_cli("gradcheck", "mine.py", exit_code=4).stdout
    assert "Mine (3,4)\n  mine.py:" in text
    assert words in text
    assert line in blamed(text)


def test_debug_shows_the_whole_traceback(workdir):
    from nettrain.cli import main

    write(workdir, BUGS["helper"][0])
    result = CliRunner().invoke(main, ["explain", "net.yaml", "--allow-python", "--debug"])
    assert isinstance(result.exception, UserCodeError)
    assert isinstance(result.exception.__cause__, AttributeError)


def test_check_gives_it_as_json_too(nettrain_cli, workdir):
    write(workdir, BUGS["backward"][0])
    found = json.loads(nettrain_cli("check", "net.yaml", "--allow-python", "--json", exit_code=2).stdout)
    (error,) = found["errors"]
    assert (found["ok"], error["file"], error["line"]) == (False, "mine.py", 20)
    assert error["message"].startswith("IndexError")


def test_both_nets_and_other_errors_are_reported_together(workdir):
    write(workdir, BUGS["setup"][0])
    with pytest.raises(nettrain.SpecError) as error:
        nettrain.Net("net.yaml", settings=["loss.ignore_label=a"], allow_python=True)
    assert {problem.place.file for problem in error.value.problems} == {"mine.py", "--set loss.ignore_label=a"}


def test_the_api_raises_it_too_with_its_cause(workdir):
    write(workdir, BUGS["attribute"][0])
    with pytest.raises(UserCodeError, match=r"mine\.py:17:28: AttributeError") as error:
        nettrain.Net("net.yaml", "train", allow_python=True).forward()
    assert isinstance(error.value.__cause__, AttributeError)


def test_a_layer_that_cannot_take_its_state_is_not_the_fault_of_snapshots(nettrain_cli, workdir):
    body = (
        FORWARD
        + "        self.n += 1\n\n    n = 0\n\n"
        + BACKWARD
        + "\n    def state(self):\n        return {'n': self.n}\n"
    )
    write(workdir, body)
    settings = ("--set", "solver.snapshot=1", "--allow-python")
    nettrain_cli("train", "net.yaml", "--out", "run", *settings)
    write(workdir, body + "\n    def set_state(self, state):\n        if state['n']:\n            self.nothing\n")
    message = nettrain_cli("train", "--resume", "run", "--allow-python", exit_code=2).stderr
    assert "AttributeError: 'Mine' object has no attribute 'nothing', in Mine.set_state" in message
    assert blamed(message) == "self.nothing"
    assert "snapshot" not in message


def test_a_layer_of_nettrains_own_is_not_blamed_on_the_user(workdir):
    """Its traceback stays, with a note."""
    write(workdir, FORWARD + BACKWARD)
    net = nettrain.Net("net.yaml", "train", allow_python=True)
    net.layers["ip"].M = None
    with pytest.raises(TypeError) as error:
        net.forward()
    assert "InnerProduct `ip`" in error.value.__notes__[0]
    assert user_code.blame(error.value, type(net.layers["ip"]), "Forward_cpu") is None


def test_what_a_layer_of_the_users_refuses_on_purpose_keeps_its_words(nettrain_cli, workdir):
    body = (
        "    def reshape(self, bottom, top):\n        from nettrain import ShapeError\n"
        "        raise ShapeError('too flat')\n"
    )
    write(workdir, body)
    message = nettrain_cli("check", "net.yaml", "--allow-python", exit_code=2).stderr
    assert "net.yaml:6:3: Mine `y`: too flat" in message
    assert "the layer refuses its example: too flat" in nettrain_cli("gradcheck", "mine.py", exit_code=4).stdout


PYCAFFE = {
    "setup": ("self.param_str.nothing", "AttributeError: 'str' object has no attribute 'nothing', in Theirs.setup"),
    "reshape": (
        "top[0].reshape('a')",
        "TypeError: a shape must be integers such as (5, 2, 3), got ('a',), in Theirs.reshape",
    ),
    "forward": ("top[0].data[...] = bottom[5].data", "IndexError: list index out of range, in Theirs.forward"),
    "backward": ("bottom[0].diff[...] = 1 / 0", "ZeroDivisionError: division by zero, in Theirs.backward"),
}


@pytest.mark.parametrize("method", PYCAFFE)
@pytest.mark.parametrize("command", ["train", "check", "explain"])
def test_a_class_of_pycaffes(nettrain_cli, workdir, method, command):
    line, words = PYCAFFE[method]
    methods = {
        "setup": "pass",
        "reshape": "top[0].reshape(*bottom[0].shape)",
        "forward": "top[0].data[...] = bottom[0].data",
        "backward": "bottom[0].diff[...] = top[0].diff",
    } | {method: line}
    (workdir / "theirs.py").write_text(
        "class Theirs:\n"
        + "".join(
            f"    def {name}(self, {'top, propagate_down, bottom' if name == 'backward' else 'bottom, top'}):\n"
            f"        {text}\n"
            for name, text in methods.items()
        )
    )
    spec = NET.replace("layer_files: mine.py\n", "").replace("Mine", "Python, module: theirs, layer: Theirs")
    (workdir / "net.yaml").write_text(spec)
    message = nettrain_cli(command, "net.yaml", "--allow-python", exit_code=2).stderr
    assert words in message
    assert line.rpartition(" = ")[2] in message
    assert re.search(r"^theirs\.py:\d+:\d+: ", message, re.M)
    assert "Python `y` (net.yaml:5:10), TRAIN" in message


@pytest.mark.parametrize(
    ("has", "lacks"),
    [("backward", "forward(self, bottom, top)"), ("forward", "backward(self, top, propagate_down, bottom)")],
)
def test_a_class_of_pycaffes_without_a_method(nettrain_cli, workdir, has, lacks):
    (workdir / "theirs.py").write_text(
        f"class Theirs:\n    def {has}(self, *blobs):\n        pass\n\n"
        "    def reshape(self, bottom, top):\n        top[0].reshape(*bottom[0].shape)\n"
    )
    spec = NET.replace("layer_files: mine.py\n", "").replace("Mine", "Python, module: theirs, layer: Theirs")
    (workdir / "net.yaml").write_text(spec)
    message = nettrain_cli("train", "net.yaml", "--allow-python", exit_code=2).stderr
    assert f"Python `y`: theirs.Theirs (theirs.py:1:1) has no {lacks}" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("import numpy as np\nx = (1,\n", "mine.py:2:5: ", "mine.py does not load: SyntaxError: '(' was never closed"),
        ("a = 1\nb = a.nothing\n", "mine.py:2:5: ", "does not load: AttributeError: 'int' object has no attribute"),
        ("import nowhere\n", "mine.py:1:1: ", "ModuleNotFoundError: No module named 'nowhere'"),
        ("def f():\n    return 1 / 0\n\n\nf()\n", "mine.py:2:12: ", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "mine.py:1:1: ", "SystemExit: 3"),
    ],
)
@pytest.mark.parametrize("how", ["layer_files", "Python", "gradcheck"])
def test_a_file_that_does_not_load(nettrain_cli, workdir, text, place, words, how):
    (workdir / "mine.py").write_text(text)
    if how == "layer_files":
        (workdir / "net.yaml").write_text(NET)
    else:
        spec = NET.replace("layer_files: mine.py\n", "").replace("Mine", "Python, module: mine, layer: A")
        (workdir / "net.yaml").write_text(spec)
    arguments = ("gradcheck", "mine.py") if how == "gradcheck" else ("check", "net.yaml", "--allow-python")
    message = nettrain_cli(*arguments, exit_code=2).stderr
    assert message.startswith(place)
    assert words.removeprefix("mine.py ") in message
    if how != "gradcheck":
        assert "net.yaml:" in message


def test_an_exception_without_words_is_reported_too(nettrain_cli, workdir):
    body = (
        "    class Mute(Exception):\n        def __str__(self):\n            return self.nothing\n\n"
        + FORWARD.replace("top[0].data", "raise self.Mute(); top[0].data")
    )
    write(workdir, body)
    message = nettrain_cli("explain", "net.yaml", "--allow-python", exit_code=2).stderr
    assert "Mute: its message cannot be shown (AttributeError), in Mine.Forward_cpu" in message


# Every method that a layer may override

METHODS = {name for name, found in vars(nettrain.Layer).items() if inspect.isfunction(found) and name[0] != "_"}
METHODS -= {"add_blob", "buffer", "found_statistics"}  # which a layer calls and does not write
SCORE = """\
layer_files: mine.py
solver: {base_lr: 0.1, max_iter: 2, test_interval: 1, snapshot: 1}
layers:
- {name: d, type: Data, source: digits, batch_size: 4, top: [data, label]}
- {name: ip, type: InnerProduct, bottom: data, num_output: 10}
- {name: y, type: Mine}
- {name: loss, type: SoftmaxWithLoss, bottom: [y, label]}
- {name: sum, type: Reduction, bottom: y, loss_weight: 1}
- {name: score, type: Mine}
"""
CELL = """\
layer_files: mine.py
solver: {base_lr: 0.1, max_iter: 2, test_interval: 1, test_iter: 2, snapshot: 1}
layers:
- {name: x, type: DummyData, top: [x, cont], shape: [[3, 4, 2], [3, 4]]}
- name: r
  type: Recurrent
  bottom: [x, cont]
  states: {name: h, next: y, shape: 2}
  outputs: y
  cell:
    - {name: ip, type: InnerProduct, bottom: x, num_output: 2}
    - {name: mine, type: Mine}
    - {name: y, type: Eltwise, bottom: [mine, h]}
- {name: loss, type: Reduction, bottom: r, loss_weight: 1}
"""
UNMET = {"which_example", "entries", "fill_blobs"}  # of layers that read data, or have blobs
UNMET |= {"name_of", "read_given", "unread", "class_counts", "picture"}  # and give names, counts or pictures of it
UNMET |= {"forward_work", "backward_work"}  # of layers whose work is known
UNMET |= {"skip", "follows_on", "keep_statistics"}  # of layers whose batches several processes share
UNMET |= {"judged"}  # of layers that compare answers with what is true
UNMET_IN_A_CELL = {"mean_over", "formula", "in_words", "fingerprint", "unready", "start_pass", "end_pass", "set_state"}
UNMET_IN_A_CELL |= {"examine", "without_spread"}


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("spec", [SCORE, CELL], ids=["net", "cell"])
def test_a_bug_in_any_method_is_reported_by_every_command(workdir, method, spec):
    """Whatever a user's layer overrides, at the top of a net or in a cell: never a traceback; some command meets it."""
    from nettrain.cli import main

    bug = f"    def {method}(self, *arguments):\n        raise ArithmeticError('seven')\n"
    (workdir / "net.yaml").write_text(spec)
    (workdir / "mine.py").write_text(HEAD + FORWARD + BACKWARD)
    nettrain.Net("net.yaml", "TRAIN", allow_python=True).save("w.npz")
    (workdir / "mine.py").write_text(HEAD + FORWARD + BACKWARD + bug)
    met = 0
    for command in (*COMMANDS, "test"):
        weights = ["--weights", "w.npz", "--iterations", "2"] if command == "test" else []
        result = CliRunner().invoke(main, [command, "net.yaml", "--allow-python", *weights])
        assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
        told = f"ArithmeticError: seven, in Mine.{method}" in result.output
        assert result.exit_code == (2 if told else 0), (command, result.output)
        met += told
    if method not in UNMET and not (spec is CELL and method in UNMET_IN_A_CELL):
        assert met, "no command met it"


# What a user's code prints


@pytest.mark.parametrize("command", ["check", "explain", "summary", "gradcheck", "time", "test"])
def test_json_is_alone_on_stdout(nettrain_cli, workdir, command):
    body = FORWARD.replace("        top[0]", "        print('so far', 'so good')\n        top[0]") + BACKWARD
    body += "    def setup(self, bottom, top):\n        sys.stdout.write('set up')\n"
    write(workdir, body)
    (workdir / "mine.py").write_text("import sys\nprint('loading')\n" + (workdir / "mine.py").read_text())
    nettrain.Net("net.yaml", "TRAIN", allow_python=True).save("w.npz")
    more = ["--weights", "w.npz"] if command == "test" else []
    result = nettrain_cli(command, "net.yaml", "--allow-python", *more, "--json")
    assert isinstance(json.loads(result.stdout), dict)
    assert "loading\n" in result.stderr
    assert "set up" in result.stderr
    assert ("so far so good" in result.stderr) == (command != "summary")
    assert "loading\n" in nettrain_cli(command, "net.yaml", "--allow-python", *more).stdout
    (workdir / "mine.py").write_text((workdir / "mine.py").read_text() + "\nprint(nothing)\n")
    result = nettrain_cli(command, "net.yaml", "--allow-python", *more, "--json", exit_code=2)
    assert json.loads(result.stdout)["ok"] is False if command == "check" else not result.stdout


# What a layer refuses while the net runs

SPEC_ERROR = (
    "__import__('nettrain').Net({'layers': [{'name': 'a', 'type': 'Nope'}]}, 'TEST')",
    "unknown layer type `Nope`",
)
REFUSALS = {
    "error": (
        "raise __import__('nettrain').NettrainError('too odd', hint='make it even')",
        "Mine `y`: too odd\n   make it even",
    ),
    "shape": ("raise __import__('nettrain').ShapeError('too flat')", "Mine `y`: too flat\n   ip 4 x 10"),
    "spec": SPEC_ERROR,
}


@pytest.mark.parametrize("command", RUNNING)
@pytest.mark.parametrize("what", REFUSALS)
@pytest.mark.parametrize("method", ["Forward_cpu", "Backward_cpu"])
def test_what_a_layer_refuses_while_it_runs_names_it_once(nettrain_cli, workdir, command, what, method):
    line, words = REFUSALS[what]
    arguments = "bottom, top" if method == "Forward_cpu" else "top, propagate_down, bottom"
    write(workdir, FORWARD + BACKWARD + f"    def {method}(self, {arguments}):\n        {line}\n")
    message = nettrain_cli(command, "net.yaml", "--allow-python", exit_code=2).stderr
    assert words in message
    assert message.count("net.yaml:6:10") == (what != "spec")


def test_what_a_layer_in_a_cell_refuses_names_both(nettrain_cli, workdir):
    (workdir / "net.yaml").write_text(CELL)
    refuses = "raise __import__('nettrain').NettrainError('too odd')"
    (workdir / "mine.py").write_text(HEAD + f"    def Forward_cpu(self, bottom, top):\n        {refuses}\n")
    for command in ("explain", "train", "gradcheck"):
        message = nettrain_cli(command, "net.yaml", "--allow-python", exit_code=2).stderr
        assert re.search(r"^net\.yaml:5:9: Recurrent `r`: in its cell, Mine `r/mine.*`: too odd$", message, re.M), (
            message
        )
        assert message.count("Recurrent `r`") == 1
