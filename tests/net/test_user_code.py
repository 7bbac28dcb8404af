"""A layer of the user's own with a bug: file, line, exception, layer and shapes by every command, no traceback."""

import inspect
import json
import re
import sys
import textwrap

import nettrain
import numpy as np
import pytest
from click.testing import CliRunner
from nettrain.net import user_code
from nettrain.net.user_code import UserCodeError
from nettrain.tools import contract, gradcheck

HEAD = '''
import numpy as np
from nettrain import Declared, Example, Filler, Layer, param, register


def helper(blob):
    return blob.nothing


@register
class Mine(Layer):
    """y = 2 x. Backward: dx = 2 dy."""

    examples = [Example([(3, 4)])]
    backward_reads = ()
'''
FORWARD = "    def Forward_cpu(self, bottom, top):\n        top[0].data[...] = 2 * bottom[0].data\n"
BACKWARD = (
    "    def Backward_cpu(self, top, propagate_down, bottom):\n"
    "        if propagate_down[0]:\n            bottom[0].diff[...] = 2 * top[0].diff\n"
)
NET = """\
layer_files: mine.py
solver: {base_lr: 0.1, max_iter: 2}
layers:
- {name: d, type: Data, source: digits, batch_size: 4, top: [data, label]}
- {name: ip, type: InnerProduct, bottom: data, num_output: 10}
- {name: y, type: Mine}
- {name: loss, type: SoftmaxWithLoss, bottom: [y, label]}
"""
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


@pytest.fixture(autouse=True)
def modules():
    """The users' modules are forgotten after a test."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name in ("mine", "theirs"):
            del sys.modules[name]


def write(folder, body):
    (folder / "mine.py").write_text(HEAD + body)
    (folder / "net.yaml").write_text(NET)


def blamed(text):
    """The part of the line that the carets stand below."""
    line, carets = next(
        (above, below)
        for above, below in zip(text.split("\n"), text.split("\n")[1:], strict=False)
        if re.fullmatch(r" *\| *\^+", below)
    )
    return line[carets.index("^") : carets.rindex("^") + 1]


@pytest.mark.parametrize(("bug", "command"), [(bug, c) for bug, case in BUGS.items() for c in case[3]])
def test_a_bug_is_told_in_words(workdir, bug, command):
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


def test_both_nets_and_other_errors_are_reported_at_once(workdir):
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
        "TypeError: a shape is whole numbers such as (5, 2, 3), got ('a',), in Theirs.reshape",
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


# What is no Exception, and would pass by every `except Exception`

ENDS = {"sys.exit(7)": "SystemExit: 7", "raise GeneratorExit": "GeneratorExit", "raise Odd('so')": "Odd: so"}
ODD = "\nimport sys\n\n\nclass Odd(BaseException):\n    pass\n\n"


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("method", ["setup", "reshape", "Forward_cpu", "Backward_cpu", "state", "__init__", "validate"])
def test_a_layer_cannot_end_the_program(nettrain_cli, workdir, method, end):
    arguments = {"Backward_cpu": "top, propagate_down, bottom", "state": "", "__init__": "*a, **k", "validate": ""}
    body = f"    def {method}(self, {arguments.get(method, 'bottom, top')}):\n        {end}\n"
    if method == "validate":
        body = "    class Parameters(Declared):\n" + textwrap.indent(body, "    ")
    write(workdir, FORWARD + BACKWARD + body)
    (workdir / "mine.py").write_text(ODD + (workdir / "mine.py").read_text())
    for command in ("train", "check", "explain", "gradcheck", "time"):
        if method == "state" and command not in ("train", "gradcheck"):
            continue
        message = nettrain_cli(command, "net.yaml", "--allow-python", exit_code=2).stderr
        assert f"{ENDS[end]}, in Mine." in message
        assert blamed(message) == end
    text = nettrain_cli("gradcheck", "mine.py", exit_code=4).stdout
    assert f"{ENDS[end]}, in Mine." in text


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("how", ["layer_files", "Python", "gradcheck"])
def test_a_file_cannot_end_the_program(nettrain_cli, workdir, how, end):
    (workdir / "mine.py").write_text(f"{ODD}{end}\n")
    python = NET.replace("layer_files: mine.py\n", "").replace("Mine", "Python, module: mine, layer: A")
    (workdir / "net.yaml").write_text(python if how == "Python" else NET)
    arguments = ("gradcheck", "mine.py") if how == "gradcheck" else ("train", "net.yaml", "--allow-python")
    message = nettrain_cli(*arguments, exit_code=2).stderr
    assert message.startswith("mine.py:8:1: ")
    assert f"does not load: {ENDS[end]}" in message


@pytest.mark.parametrize("method", ["setup", "reshape", "forward", "backward"])
def test_a_class_of_pycaffes_cannot_end_the_program(nettrain_cli, workdir, method):
    methods = {"setup": "pass", "reshape": "top[0].reshape(*bottom[0].shape)", "forward": "pass", "backward": "pass"}
    (workdir / "theirs.py").write_text(
        "import sys\n\n\nclass Theirs:\n"
        + "".join(
            f"    def {name}(self, *blobs):\n        bottom, top = blobs[:2]\n"
            f"        {'sys.exit()' if name == method else text}\n"
            for name, text in methods.items()
        )
    )
    spec = NET.replace("layer_files: mine.py\n", "").replace("Mine", "Python, module: theirs, layer: Theirs")
    (workdir / "net.yaml").write_text(spec)
    message = nettrain_cli("train", "net.yaml", "--allow-python", exit_code=2).stderr
    assert f"SystemExit, in Theirs.{method}" in message


def test_ctrl_c_within_a_layer_is_no_bug_of_it(workdir):
    body = FORWARD.replace("top[0].data", "raise KeyboardInterrupt; top[0].data")
    write(workdir, body + BACKWARD)
    with pytest.raises(KeyboardInterrupt):
        nettrain.Net("net.yaml", "train", allow_python=True).forward()
    with pytest.raises(KeyboardInterrupt):
        list(gradcheck.check_file("mine.py"))
    (workdir / "mine.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        nettrain.Net("net.yaml", "train", allow_python=True)


def test_an_exception_without_words_is_told_too(nettrain_cli, workdir):
    body = (
        "    class Mute(Exception):\n        def __str__(self):\n            return self.nothing\n\n"
        + FORWARD.replace("top[0].data", "raise self.Mute(); top[0].data")
    )
    write(workdir, body)
    message = nettrain_cli("explain", "net.yaml", "--allow-python", exit_code=2).stderr
    assert "Mute: its message cannot be made (AttributeError), in Mine.Forward_cpu" in message


# Every method that a layer may override

METHODS = {name for name, found in vars(nettrain.Layer).items() if inspect.isfunction(found) and name[0] != "_"}
METHODS -= {"add_blob", "buffer"}  # which a layer calls and does not write
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
UNMET_IN_A_CELL = {"mean_over", "formula", "in_words", "fingerprint", "unready", "start_pass", "end_pass", "set_state"}
UNMET_IN_A_CELL |= {"examine", "without_spread"}


@pytest.mark.parametrize("method", sorted(METHODS))
@pytest.mark.parametrize("spec", [SCORE, CELL], ids=["net", "cell"])
def test_a_bug_in_any_method_is_told_by_every_command(workdir, method, spec):
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


# Examples and other attributes of a class that are not what they must be

WRONG = {
    "examples = [Example((3, 4))]": "an example is a list of shapes: Example([(3, 4)]), got (3, 4)",
    "examples = [Example([3, 4])]": "an example is a list of shapes: Example([(3, 4)]), got [3, 4]",
    "examples = [Example(5)]": "an example is a list of shapes: Example([(3, 4)]), got 5",
    "examples = [Example('3x4')]": "an example is a list of shapes: Example([(3, 4)]), got '3x4'",
    "examples = [Example(None)]": "an example is a list of shapes: Example([(3, 4)]), got None",
    "examples = [Example([(3, 4), None])]": "an example is a list of shapes: Example([(3, 4)]), got [(3, 4), None]",
    "examples = [Example([(3, -4)])]": "an example is a list of shapes: Example([(3, 4)]), got [(3, -4)]",
    "examples = [Example([(3, 4.0)])]": "an example is a list of shapes: Example([(3, 4)]), got [(3, 4.0)]",
    "examples = [Example((s, s) for s in (1, 2))]": "an example is a list of shapes: Example([(3, 4)]), got <generator",
    "examples = [Example([(3, 4)], 5)]": 'a mapping of names, as in Example([(3, 4)], {"num_output": 2}); got 5',
    "examples = [Example([(3, 4)], {1: 5})]": "a mapping of names",
    "examples = [Example([(3, 4)], None)]": "a mapping of names",
    "examples = [Example([(3, 4)], values=5)]": "functions by the number of the bottom",
    "examples = [Example([(3, 4)], values={0: np.ones((3, 4))})]": "functions by the number of the bottom",
    "examples = [Example([(3, 4)], values={1: np.ones})]": "the example has values for bottom 1, and 1 bottoms",
    "examples = [Example([(3, 4)], values={'x': np.ones})]": "the example has values for bottom 'x', and 1 bottoms",
    "examples = [Example([(3, 4)], tops='y')]": "the tops of an example are a number, as in tops=2; got 'y'",
    "examples = [Example([(3, 4)], tops=True)]": "the tops of an example are a number, as in tops=2; got True",
    "examples = [Example([(3, 4)], phase='test')]": 'the phase of an example is "TRAIN" or "TEST"; got \'test\'',
    "examples = [Example([(3, 4)], prepare=1)]": "`prepare` of an example is a function that takes the layer; got 1",
    "examples = [Example([(3, 4)], files='a.npz')]": "`files` of an example is a function that takes a folder; got 'a.",
    "examples = Example([(3, 4)])": "Mine.examples must be a list of examples: `examples = [Example([(3, 4)])]`",
    "examples = (Example([(3, 4)]) for _ in range(2))": "Mine.examples must be a list of examples",
    "examples = None": "Mine.examples must be a list of examples",
    "examples = {'a': Example([(3, 4)])}": "Mine.examples must be a list of examples",
    "examples = [Example([(3, 4)]), (3, 4)]": "Mine.examples must be a list of examples",
    "examples = [Example]": "Mine.examples must be a list of examples",
    "num_bottoms = '2'": "Mine.num_bottoms must be a number, or the least and the most: `num_bottoms = (1, None)`",
    "num_bottoms = (1,)": "Mine.num_bottoms must be a number, or the least and the most",
    "num_bottoms = (None, 2)": "Mine.num_bottoms must be a number, or the least and the most",
    "num_tops = None": "Mine.num_tops must be a number, or the least and the most",
    "num_tops = (3, 1)": "Mine.num_tops must be a number, or the least and the most",
    "backward_reads = 'bottom.data'": "Mine.backward_reads must be a tuple of 'bottom.data' and 'top.data'",
    "backward_reads = ['data']": "Mine.backward_reads must be a tuple of 'bottom.data' and 'top.data'",
    "backward_reads = [[]]": "Mine.backward_reads must be a tuple of 'bottom.data' and 'top.data'",
    "no_gradient = 0": "Mine.no_gradient must be a tuple of numbers of bottoms, or 'all': `no_gradient = (1,)`; got 0",
    "no_gradient = 'none'": "Mine.no_gradient must be a tuple of numbers of bottoms, or 'all'",
    "class Parameters: pass": "Mine.Parameters must be a class that inherits from nettrain.Declared",
    "Parameters = {'a': 1}": "Mine.Parameters must be a class that inherits from nettrain.Declared",
}


@pytest.mark.parametrize("how", ["gradcheck", "layer_files"])
@pytest.mark.parametrize("line", WRONG)
@pytest.mark.parametrize("decorated", [True, False])
def test_a_wrong_attribute_of_a_class_is_told_with_its_line(nettrain_cli, workdir, line, how, decorated):
    write(workdir, FORWARD + BACKWARD + f"    {line}\n")
    if not decorated:
        (workdir / "mine.py").write_text((workdir / "mine.py").read_text().replace("@register\n", ""))
    command = ["gradcheck", "mine.py"] if how == "gradcheck" else ["check", "net.yaml", "--allow-python"]
    message = nettrain_cli(*command, exit_code=2).stderr
    assert WRONG[line] in message
    number = int(re.match(r"mine\.py:(\d+):\d+: ", message)[1])
    shown = (workdir / "mine.py").read_text().split("\n")[number - 1]
    assert shown in (f"    {line}", "class Mine(Layer):")
    assert shown.strip() == line or "Mine." in WRONG[line]


# the example, and the words for it: the shapes are right, what is asked of the layer is not
REFUSED = {
    "Example([(3, 4)], {'scala': 2})": "Mine has no key `scala`",
    "Example([(3, 4)], {'scale': np.ones(3)})": "Mine.scale must be a number",
    "Example([(3, 4)], {'scale': {1, 2}})": "Mine.scale must be a number",
    "Example([(3, 4)], {'scale': len})": "Mine.scale must be a number",
    "Example([(3, 4)], tops=3)": "it has 3 tops, the type takes 1",
    "Example([(3, 4)], values={0: lambda: 3})": "takes 0 positional arguments but 2 were given",
    "Example([(3, 4)], values={0: lambda rng, shape: np.ones((7, 7))})": "could not broadcast input array",
    "Example([(3, 4)], values={0: lambda rng, shape: None})": "(one of 12 that are no numbers)",
    "Example([(3, 4)], values={0: lambda rng, shape: 1 / 0})": "ZeroDivisionError",
    "Example([(3, 4)], values={0: lambda rng, shape: exit()})": "SystemExit",
    "Example([(3, 4)], prepare=lambda: 3)": "takes 0 positional arguments but 1 was given",
    "Example([(3, 4)], files=lambda folder: folder.nothing)": "has no attribute 'nothing'",
    "Example([(10**9, 10**9)])": "is larger than 2^31 - 1",
    "Example([(3, 4)], values={0: lambda rng, shape: np.random.randn(*shape)})": "draw them from the generator",
}


@pytest.mark.parametrize("example", REFUSED)
def test_an_example_that_does_not_suit_the_layer_is_a_failure_of_it(nettrain_cli, workdir, example):
    """The other classes of the file are checked all the same."""
    body = "    class Parameters(Declared):\n        scale: float = param(default=2.0, doc='a factor')\n\n"
    write(workdir, body + FORWARD + BACKWARD + f"    examples = [{example}]\n")
    with (workdir / "mine.py").open("a") as file:
        file.write("\n\nclass Other(Mine):\n    examples = [Example([(2,)])]\n")
    text = nettrain_cli("gradcheck", "mine.py", exit_code=4).stdout
    assert REFUSED[example] in text
    assert re.search(r"^Other .* ok$", text, re.M)


# What stands in a file of the user's, and is no layer type yet


@pytest.mark.parametrize(
    ("text", "asked", "words"),
    [
        (HEAD.replace("@register\n", "") + FORWARD, "Mine", "mine.py:10:1 has a class Mine: put @register above it"),
        (HEAD.replace("@register\n", "") + FORWARD, "mine", "mine.py:10:1 has a class Mine: put @register above it"),
        (HEAD.replace("@register\n", "") + FORWARD, "Mines", "mine.py:10:1 has a class Mine: put @register above it"),
        (
            "class Mine:\n    pass\n",
            "Mine",
            "mine.py:1:1 has a class Mine, which is no layer type: let it inherit from",
        ),
        (
            "class Mine:\n    def forward(self, bottom, top):\n        pass\n",
            "Mine",
            "with pycaffe's methods: write type: Python, module: mine, layer: Mine",
        ),
        (HEAD + FORWARD, "Minee", "did you mean `Mine`?"),
        (HEAD.replace("@register\n", "") + FORWARD, "Dense", "a fully connected layer is `InnerProduct`"),
    ],
)
def test_a_class_that_is_not_registered_is_named(nettrain_cli, workdir, text, asked, words):
    (workdir / "mine.py").write_text(text)
    (workdir / "net.yaml").write_text(NET.replace("type: Mine", f"type: {asked}"))
    message = nettrain_cli("check", "net.yaml", "--allow-python", exit_code=2).stderr
    assert f"net.yaml:6:19: unknown layer type `{asked}`" in message
    assert words in message


# What a user's code prints


@pytest.mark.parametrize("command", ["check", "explain", "summary", "gradcheck", "time", "test"])
def test_json_stands_alone_on_stdout(nettrain_cli, workdir, command):
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


# gradcheck of a file


def test_every_class_of_a_file_is_checked(nettrain_cli, workdir):
    write(workdir, FORWARD + BACKWARD)
    (workdir / "mine.py").write_text(
        (workdir / "mine.py").read_text()
        + "\n\nclass Base(Layer):\n    pass\n"
        + "\n\nclass Other(Mine):\n    examples = [Example([(2,)]), Example([(5,)])]\n"
    )
    (workdir / "more.py").write_text(
        "from mine import Mine\n\n\nclass Third(Mine):\n    examples = Mine.examples\n    scale = 1\n"
    )
    text = nettrain_cli("gradcheck", "mine.py").stdout
    assert re.findall(r"^(\w+)  ", text, re.M) == ["layer", "Mine", "Base", "Other", "Other"]
    assert "not checked: no `examples`" in text
    assert re.findall(r"^(\w+)  ", nettrain_cli("gradcheck", "more.py").stdout, re.M) == ["layer", "Third"]
    assert re.findall(r"^(\w+)  ", nettrain_cli("gradcheck", "mine.py:Other").stdout, re.M) == ["layer", *["Other"] * 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x = 1\n", "mine.py has no layer class: a class that inherits from nettrain.Layer; it has no class at all"),
        ("class A:\n    pass\n", "it has A"),
        ("class A:\n    def forward(self, bottom, top):\n        pass\n", "A is for a layer of type Python"),
        ("from nettrain import Layer\nclass A(Layer):\n    pass\n", "A has no `examples`"),
        (
            "from nettrain import Layer\nclass A(Layer):\n    examples = [(3, 4)]\n",
            "A.examples must be a list of examples: `examples = [Example([(3, 4)])]`; got [(3, 4)]",
        ),
    ],
)
def test_a_file_with_nothing_to_check_says_so(nettrain_cli, workdir, text, words):
    (workdir / "mine.py").write_text(text)
    assert words in nettrain_cli("gradcheck", "mine.py", exit_code=2).stderr


def breaches():
    """(what is wrong, the class's body, the line that repairs it); each is the right layer with one mistake."""
    forward, backward = FORWARD, BACKWARD
    blob = (
        "    def setup(self, bottom, top):\n        self.add_blob((4,), Filler(value=1))\n"
        "    backward_reads = ('bottom.data',)\n"
        "    def Forward_cpu(self, bottom, top):\n        top[0].data[...] = self.blobs[0].data * bottom[0].data\n"
        "    def Backward_cpu(self, top, propagate_down, bottom):\n"
        "        if self.param_propagate_down[0]:\n"
        "            self.blobs[0].diff += (top[0].diff * bottom[0].data).sum(0)\n"
        "        if propagate_down[0]:\n            bottom[0].diff[...] = self.blobs[0].data * top[0].diff\n"
    )
    right = forward + backward
    neuron = right + "    may_run_in_place = True\n"
    both = right.replace("    def Forward", "    backward_reads = ('bottom.data', 'top.data')\n    def Forward")
    written = "diff[...] = 2 * top[0].diff"
    drawn = forward.replace("2 * bottom[0].data", "2 * bottom[0].data + {}") + backward
    return [
        (
            "spoils bottom.data",
            both.replace(written, f"{written}; bottom[0].data[...] = 0"),
            "`x = bottom[0].data.copy()`",
        ),
        (
            "spoils one value",
            both.replace(written, f"{written}; bottom[0].data[1, 2] += 1e-9"),
            "changed bottom[0].data",
        ),
        ("spoils top.data", both.replace(written, f"{written}; top[0].data *= 2"), "Backward_cpu changed top[0].data"),
        ("spoils top.diff", both.replace(written, "diff[...] = np.multiply(top[0].diff, 2, out=top[0].diff)"), "`dy ="),
        (
            "learns by itself",
            blob.replace("        top[0].data", "        self.blobs[0].data *= 0.9\n        top[0].data"),
            "solver",
        ),
        (
            "learns in backward",
            blob.replace("diff += (", "data -= 0.1; self.blobs[0].diff += ("),
            "the solver alone changes",
        ),
        (
            "adds in forward",
            blob.replace("        top[0].data", "        self.blobs[0].diff += 1\n        top[0].data"),
            "only",
        ),
        (
            "clips its bottom",  # the same again changes nothing more
            forward.replace("        top", "        np.maximum(bottom[0].data, 0, out=bottom[0].data)\n        top")
            + backward
            + "    shapes_follow_values = True\n",
            "Forward_cpu changed bottom[0].data; write into top[0].data only",
        ),
        (
            "draws from np.random",
            drawn.format("np.random.randn()"),
            "draw them from `self.rng` (not np.random or random)",
        ),
        ("draws a little", drawn.format("1e-9 * np.random.default_rng().random()"), "draw them from `self.rng`"),
        ("draws from random", drawn.format("__import__('random').random()"), "gives another top[0].data each time"),
        ("counts", drawn.format("self.n; self.n += 1") + "    n = 0\n", "in `state` and `set_state`"),
        ("nan gradient", right.replace(written, "diff[...] = np.nan"), "backward +nan  numeric"),
        ("draws from its own", drawn.format("self.rng.standard_normal()"), None),
        (
            "draws in backward",
            right.replace(written, f"{written} + np.random.randn()"),
            "Backward_cpu gives something else each",
        ),
        (
            "draws blobs",
            blob + "    def fill_blobs(self):\n        self.blobs[0].data[...] = np.random.randn(4)\n",
            "from one seed",
        ),
        (
            "draws blobs from its own",
            blob + "    def fill_blobs(self):\n        self.blobs[0].data[...] = self.rng.random(4)\n",
            None,
        ),
        ("written unasked", right.replace("if propagate_down[0]", "if True"), "write it only `if propagate_down[0]:`"),
        ("added to", right.replace("diff[...] =", "diff[...] +="), "overwrite it: `bottom[0].diff[...] = …`"),
        ("not written", forward + backward.replace("bottom[0].diff[...] = 2", "2"), "`no_gradient = (0,)`"),
        ("returned", right.replace("top[0].data[...] =", "return"), "nobody takes, and does not fill top[0].data"),
        (
            "half filled",
            right.replace("data[...] = 2 *", "data[:2] = 2 *").replace("bottom[0].data\n", "bottom[0].data[:2]\n"),
            "depends on what it held before",
        ),
        (
            "reads",
            right.replace("2 * top[0].diff", "2 * top[0].diff + 0 * bottom[0].data"),
            "`backward_reads = ('bottom.data',)`",
        ),
        (
            "changes its top",
            right.replace("= 2 * top[0].diff", "= 2 * top[0].diff; top[0].diff[...] = 0"),
            "`dy = top[0].diff.copy()`",
        ),
        (
            "changes its bottom",
            right.replace("2 * bottom[0].data", "2 * bottom[0].data; bottom[0].data[...] = 0"),
            "`x = bottom[0].data.copy()`",
        ),
        ("no numbers", right.replace("2 * bottom[0].data", "bottom[0].data / 0"), "`Example(…, values={0: lambda"),
        (
            "shape in forward",
            right.replace("top[0].data[...] =", "top[0].reshape((4, 3)); top[0].data[...] =").replace(
                "2 * bottom[0].data", "2 * bottom[0].data.T"
            ),
            "in reshape(self, bottom, top): `top[0].reshape(…)`",
        ),
        (
            "in place",
            neuron.replace("2 * bottom[0].data", "np.abs(bottom[0].data) + bottom[0].data")
            .replace(
                "top[0].data[...] = np.abs(bottom[0].data) +",
                "np.abs(bottom[0].data, out=top[0].data); top[0].data[...] +=",
            )
            .replace("2 * top[0].diff", "(1 + np.sign(bottom[0].data)) * top[0].diff")
            .replace("may_run", "backward_reads = ('bottom.data',)\n    may_run"),
            "`may_run_in_place = False` in the class",
        ),
        ("two bottoms", right.replace("[(3, 4)]", "").replace("2 *", "2 *"), None),
        ("blob overwritten", blob.replace("diff += (", "diff[...] = ("), "add to it: `self.blobs[0].diff += …`"),
        (
            "blob unasked",
            blob.replace("if self.param_propagate_down[0]:", "if True:"),
            "only `if self.param_propagate_down[0]:`",
        ),
        (
            "blob half",
            blob.replace("if self.param_propagate_down[0]:", "if self.param_propagate_down[0] and propagate_down[0]:"),
            "under `if self.param_propagate_down[0]:`, whatever else",
        ),
        ("right with a blob", blob, None),
    ]


@pytest.mark.parametrize(("what", "body", "repair"), breaches(), ids=[what for what, _, _ in breaches()])
def test_each_breach_is_said_with_the_line_that_repairs_it(workdir, what, body, repair):
    (workdir / "mine.py").write_text(HEAD + body)
    (check,) = gradcheck.check_file("mine.py", "Mine")
    assert check.ok is (repair is None), check.failures
    if repair:
        assert any(repair in failure for failure in check.failures), check.failures


def test_an_example_with_other_bottoms_than_the_type_takes(workdir):
    (workdir / "mine.py").write_text(HEAD.replace("[(3, 4)]", "[(3, 4), (3, 4)]") + FORWARD + BACKWARD)
    (check,) = gradcheck.check_file("mine.py", "Mine")
    assert "`num_bottoms = 2` in the class" in check.failures[0]


def test_forward_in_place_is_compared_for_every_type_that_may_run_so():
    """A type of the zoo that overwrites what it still reads."""

    class Wrong(nettrain.Layer):
        """y = x + |x|."""

        examples = (nettrain.Example([(3, 4)]),)
        may_run_in_place = True

        def Forward_cpu(self, bottom, top):
            np.abs(bottom[0].data, out=top[0].data)
            top[0].data[...] += bottom[0].data

        def Backward_cpu(self, top, propagate_down, bottom):
            if propagate_down[0]:
                bottom[0].diff[...] = (1 + np.sign(bottom[0].data)) * top[0].diff

    (failure,) = contract.check_layer(Wrong, Wrong.examples[0]).failures
    assert "top[0].data differs; `may_run_in_place = False`" in failure
