"""Every bundled config checks, trains a few steps, and passes a gradient check."""

import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml"))


def options(*settings):
    return tuple(word for setting in settings for word in ("--set", setting))


def sequences(longest):
    return options(f"task.max_length={longest}", "test.min_length=3", "test.max_length=3", "solver.test_iter=1")


SMALL = options("mnist.batch_size={train: 8, test: 50}")  # LeNet, quickly
A_FEW = {  # what makes a config quick, and how long it then trains
    "logreg": options("solver.max_epoch=0.1"),
    "lenet": (*SMALL, *options("solver.max_iter=4")),
    "alexnet": options(
        *("solver.max_iter=4", "solver.base_lr=0.002", "images.batch_size=4"),
        *("images.generate.examples=4", "images.generate.test_examples=4"),
    ),
    "ntm_copy": (*sequences(3), *options("solver.max_iter=60", "solver.base_lr=0.01")),
    "lstm_copy": (*sequences(3), *options("solver.max_iter=60", "solver.base_lr=0.01")),
}
WIDTHS = {"conv1": 4, "conv2": 4, "conv3": 6, "conv4": 6, "conv5": 4, "fc6": 5, "fc7": 5, "fc8": 10}
TO_CHECK = {  # what makes a numerical gradient quick
    "lenet": options("mnist.batch_size=1"),
    "alexnet": options(
        "images.generate={examples: 2, test_examples: 2, shape: [3, 67, 67], classes: 10}",
        *("images.batch_size=2", "images.transform.scale=1"),
        *(f"{name}.num_output={width}" for name, width in WIDTHS.items()),
        *(f"{name}.weight_filler=msra" for name in WIDTHS),
    ),
    "ntm_copy": (*sequences(2), *options("task.batch_size=2")),
    "lstm_copy": (*sequences(2), *options("task.batch_size=2")),
}


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_few_steps(nettrain_cli, mnist, config):
    settings = A_FEW.get(Path(config).stem, options("solver.max_iter=4"))
    checked = json.loads(nettrain_cli("check", config, "--json", *settings).stdout)
    assert checked["warnings"] == []
    assert all(one["examples"] == one["total"] for one in checked["data"])
    nettrain_cli("train", config, *settings, "--set", "solver.display=1", "--out", "out")
    losses = [row["train_loss"] for row in rows(mnist / "out")]
    assert len(losses) >= 3
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("config", CONFIGS)
def test_gradients(nettrain_cli, mnist, config):
    assert "all ok" in nettrain_cli("gradcheck", config, *TO_CHECK.get(Path(config).stem, ())).stdout


@pytest.mark.parametrize(("config", "least"), [("mlp", 0.97), ("logreg", 0.95), ("spiral", 0.95)])
def test_accuracy(nettrain_cli, workdir, config, least):
    nettrain_cli("train", f"configs/{config}.yaml", "--out", "out")
    assert rows(workdir / "out")[-1]["test"]["accuracy"] >= least


def test_lenet_learns(nettrain_cli, mnist):
    """A stand-in for MNIST whose classes are rows of bright pixels."""
    nettrain_cli("train", "configs/lenet.yaml", "--set", "solver.max_iter=80", *SMALL, "--out", "out")
    assert rows(mnist / "out")[-1]["test"]["accuracy"] >= 0.9
