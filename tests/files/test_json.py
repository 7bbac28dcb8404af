"""--json of every command: one object that any reader of JSON takes, whatever the numbers are."""

import json

import nettrain
import numpy as np
import pytest
from nettrain.files import plain_json

DATA = """
- {name: d, type: Data, source: odd.npz, batch_size: 4, top: [data, label]}
"""
NETS = {  # layers that make NaN and infinities of data with NaN, of 0 and of negative numbers
    "NaN in the data": DATA + "- {name: ip, type: InnerProduct, bottom: data, num_output: 3}\n",
    "power of 0": DATA.replace("odd", "zero")
    + "- {name: inverse, type: Power, bottom: data, power: -1}\n- {name: ip, type: InnerProduct, num_output: 3}\n",
    "log of negative": DATA.replace("odd", "negative")
    + "- {name: log, type: Log, bottom: data}\n- {name: ip, type: InnerProduct, num_output: 3}\n",
    "overflow": DATA.replace("odd", "large")
    + "- {name: exp, type: Exp, bottom: data}\n- {name: ip, type: InnerProduct, num_output: 3}\n",
}
COMMANDS = {
    "test": ("--weights", "w.npz"),
    "predict": ("odd.npz", "--weights", "w.npz"),
    "check": (),
    "summary": (),
    "explain": (),
    "explain one": ("--blob", "ip"),
    "gradcheck": (),
    "data": (),
    "time": ("--iterations", "1"),
}


def strictly(text):
    """JSON read as its standard says: no NaN, no Infinity, no key twice."""

    def once(pairs):
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    return json.loads(text, parse_constant=pytest.fail, object_pairs_hook=once)


@pytest.fixture
def odd(workdir):
    values = {"odd": np.nan, "zero": 0.0, "negative": -1.0, "large": 1e4}
    for name, value in values.items():
        x = np.random.default_rng(0).standard_normal((12, 5)).astype("f4")
        x[::3] = value
        np.savez(workdir / f"{name}.npz", x_train=x, y_train=np.arange(12) % 3, x_test=x, y_test=np.arange(12) % 3)
    return workdir


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("net", NETS)
def test_nets_that_make_no_numbers(odd, net, command):
    from click.testing import CliRunner
    from nettrain.cli import main

    loss = "- {name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}\n"
    (odd / "net.yaml").write_text("solver: {base_lr: 0.1, max_iter: 2}\nlayers:" + NETS[net] + loss)
    nettrain.Net("net.yaml").save("w.npz")
    result = CliRunner().invoke(main, [command.split()[0], "net.yaml", *COMMANDS[command], "--json"])
    assert isinstance(result.exception, SystemExit | None)
    assert result.exit_code in (0, 1, 2, 4), result.output
    if result.exit_code != 2 or command == "check":
        objects = result.stdout.splitlines() if command == "predict" else [result.stdout]  # one for each example
        found = [strictly(text) for text in objects]
        if command in ("explain", "predict", "test") and result.exit_code == 0:
            assert "null" in result.stdout
            assert found


NO_NET = [
    ("layers",),
    ("layers", "Power"),
    ("solvers",),
    ("solvers", "Adam"),
    ("env",),
    ("schema",),
    ("worksheet",),
    ("configs", "mlp"),
    ("data", "digits", "--mean", "mean.npy"),
    ("data", "table.csv"),
    ("runs",),
    ("train", "folds.yaml", "--folds", "2"),
]


FOLDS = """solver: {base_lr: 0.1, max_iter: 2}
layers:
  - {name: d, type: Data, source: all.csv, batch_size: 3, top: [data, label]}
  - {name: ip, type: InnerProduct, bottom: data, num_output: 2}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}
"""


@pytest.mark.parametrize("arguments", NO_NET)
def test_commands_without_a_net(nettrain_cli, workdir, arguments):
    (workdir / "table.csv").write_text("a,label\n1,0\nnan,1\n")
    (workdir / "all.csv").write_text("".join(f"{i},{i % 2}\n" for i in range(12)))
    (workdir / "folds.yaml").write_text(FOLDS)
    (workdir / "runs/n/001").mkdir(parents=True)
    (workdir / "runs/n/001/iter_1.npz").write_bytes(b"damaged")
    assert strictly(nettrain_cli(*arguments, *([] if arguments == ("schema",) else ["--json"])).stdout)


def test_every_command_with_json_is_tried_here():
    from nettrain.cli import main

    with_json = {name for name, c in main.commands.items() if any(p.name == "as_json" for p in c.params)}
    assert with_json == {name.split()[0] for name in COMMANDS} | {name for name, *_ in NO_NET} - {"schema"}


def test_check_says_what_is_wrong_with_the_data_as_json_too(nettrain_cli, workdir):
    np.savez(workdir / "d.npz", data=np.zeros((4, 2), "f4"), label=np.array([0, 1, 2, 9]))
    (workdir / "net.yaml").write_text(
        "layers:\n- {name: d, type: Data, source: d.npz, batch_size: 4, top: [data, label]}\n"
        "- {name: ip, type: InnerProduct, bottom: data, num_output: 3}\n"
        "- {name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}\n"
    )
    found = strictly(nettrain_cli("check", "net.yaml", "--json", exit_code=2).stdout)
    assert found["ok"] is False
    assert "label" in found["errors"][0]["message"]


def test_plain():
    odd = {
        "a": np.float32("nan"), "b": [float("inf"), (np.int64(3), -np.inf)], "c": np.array([[1.5, np.nan]]),
        3: True, "d": None, "e": np.bool_(False), "f": "nan",
    }  # fmt: skip
    expected = {"a": None, "b": [None, [3, None]], "c": [[1.5, None]], "3": True, "d": None, "e": False, "f": "nan"}
    assert strictly(plain_json.text(odd)) == expected
