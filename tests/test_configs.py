"""Every bundled config checks, trains a few steps, and passes a gradient check."""

import json
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml"))


SMALL = ("--set", "mnist.batch_size={train: 8, test: 50}")  # LeNet, quickly


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_few_steps(nettrain_cli, mnist, config):
    small = SMALL if config.endswith("lenet.yaml") else ()
    nettrain_cli("check", config, *small)
    settings = ["--set", "solver.max_epoch=0.1"] if config.endswith("logreg.yaml") else ["--set", "solver.max_iter=4"]
    nettrain_cli("train", config, *settings, *small, "--set", "solver.display=1", "--out", "out")
    losses = [row["train_loss"] for row in rows(mnist / "out")]
    assert len(losses) >= 3
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("config", [c for c in CONFIGS if not c.endswith("lenet.yaml")])
def test_gradients(nettrain_cli, config):
    assert "all ok" in nettrain_cli("gradcheck", config).stdout


def test_gradients_of_lenet(nettrain_cli, mnist):
    text = nettrain_cli("gradcheck", "configs/lenet.yaml", "--set", "mnist.batch_size=1").stdout
    assert "all ok" in text


@pytest.mark.parametrize(("config", "least"), [("mlp", 0.97), ("logreg", 0.95), ("spiral", 0.95)])
def test_accuracy(nettrain_cli, workdir, config, least):
    nettrain_cli("train", f"configs/{config}.yaml", "--out", "out")
    assert rows(workdir / "out")[-1]["test"]["accuracy"] >= least


def test_lenet_learns(nettrain_cli, mnist):
    """A stand-in for MNIST whose classes are rows of bright pixels."""
    nettrain_cli("train", "configs/lenet.yaml", "--set", "solver.max_iter=80", *SMALL, "--out", "out")
    assert rows(mnist / "out")[-1]["test"]["accuracy"] >= 0.9
