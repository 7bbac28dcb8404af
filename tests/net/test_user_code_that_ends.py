"""Code of the user's cannot end the program by what is no Exception."""

import textwrap

import nettrain
import pytest
from helpers.user_code import BACKWARD, FORWARD, NET, blamed, write
from nettrain.tools import gradcheck

# What is not an Exception, and would get past every `except Exception`

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


def test_ctrl_c_within_a_layer_is_not_a_bug_in_it(workdir):
    body = FORWARD.replace("top[0].data", "raise KeyboardInterrupt; top[0].data")
    write(workdir, body + BACKWARD)
    with pytest.raises(KeyboardInterrupt):
        nettrain.Net("net.yaml", "train", allow_python=True).forward()
    with pytest.raises(KeyboardInterrupt):
        list(gradcheck.check_file("mine.py"))
    (workdir / "mine.py").write_text("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        nettrain.Net("net.yaml", "train", allow_python=True)
