"""A layer of the user's own with a bug: file, line, exception, layer and shapes by every command, no traceback."""

import json
import re
import sys

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
            "A.examples must hold Example([(3, 4)]), got (3, 4)",
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
    return [
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
