"""Every bundled config checks, trains a few steps, and passes a gradient check."""

import json
import math
from pathlib import Path

import nettrain
import pytest

ROOT = Path(__file__).parent.parent
CONFIGS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs").rglob("*.yaml"))


def options(*settings):
    return tuple(word for setting in settings for word in ("--set", setting))


def sequences(longest):
    return options(f"task.max_length={longest}", "test.min_length=3", "test.max_length=3", "solver.test_iter=1")


SMALL_MEMORY = ("ntm.states.0.shape=[16, 20]", "ntm.states.1.shape=[2, 16]")
SMALL = options("mnist.batch_size={train: 8, test: 50}")  # LeNet, quickly


def images(shape, classes=10, examples=4):
    """A few small images instead of a data set."""
    generate = f"{{examples: {examples}, test_examples: {examples}, shape: {list(shape)}, classes: {classes}}}"
    return options(f"images.generate={generate}", f"images.batch_size={examples}", "solver.max_iter=4")


CIFAR = options(
    *("cifar.source=gratings", "cifar.generate={examples: 8, test_examples: 8, shape: [3, 32, 32], classes: 10}"),
    *("cifar.batch_size=8", "cifar.transform={scale: 1}", "solver.warmup_iter=0", "solver.test_interval=0"),
)
FIRES = [f"fire{number}" for number in range(2, 10)]
NARROW = options(
    *(f"{fire}.{key}=2" for fire in FIRES for key in ("squeeze", "expand")),
    *(f"blocks.fire.{layer}.bias_filler=0.1" for layer in ("squeeze1x1", "expand1x1", "expand3x3")),  # not at a kink
    *("conv1.num_output=4", "conv10.num_output=10", "conv10.bias_filler=0.1"),
)
INCEPTIONS = ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")
A_FEW = {  # what makes a config quick, and how long it then trains
    "logreg": options("solver.max_epoch=0.1"),
    "lenet": (*SMALL, *options("solver.max_iter=4")),
    "alexnet": options(
        *("solver.max_iter=4", "solver.base_lr=0.01", "solver.warmup_iter=0", "images.batch_size=4"),
        *("images.generate.examples=4", "images.generate.test_examples=4", "fc6.num_output=256", "fc7.num_output=256"),
    ),
    "resnet20": (*CIFAR, *options("solver.base_lr=0.02", "solver.max_iter=4")),
    "cifar10_quick": (*CIFAR, *options("solver.max_iter=4", "cifar.transform.scale=30")),
    "cifar10_full": (*CIFAR, *options("solver.max_iter=4", "cifar.transform.scale=30")),
    "mnist_autoencoder": options("solver.max_iter=4", "mnist.batch_size=8"),
    "hdf5_classification": options("solver.max_iter=30", "solver.base_lr=0.1"),
    "siamese": options("solver.max_iter=30", "pairs.batch_size=64"),
    "resnet18": (*images((3, 64, 64)), *options("solver.base_lr=0.002", "solver.warmup_iter=0")),
    "squeezenet": (*images((3, 67, 67)), *options("drop9.dropout_ratio=0")),
    "googlenet": images((3, 128, 128)),
    "ntm_copy": (*sequences(3), *options("solver.max_iter=60", "solver.base_lr=0.01")),
    "lstm_copy": (*sequences(3), *options("solver.max_iter=60", "solver.base_lr=0.01")),
}
WIDTHS = {"conv1": 4, "conv2": 4, "conv3": 6, "conv4": 6, "conv5": 4, "fc6": 5, "fc7": 5, "fc8": 10}
FILLED = options(*(f"{name}.weight_filler=msra" for name in ("conv1", "conv2", "conv3")))  # not near every kink
TO_CHECK = {  # what makes a numerical gradient quick
    "cifar10_quick": (*CIFAR, *options("cifar.batch_size=2"), *FILLED),
    "cifar10_full": (*CIFAR, *options("cifar.batch_size=2"), *FILLED),
    "mnist_autoencoder": options(
        *("mnist.batch_size=2", "blocks.layer.ip.weight_filler=xavier"),
        *(f"{side}{i}.size=6" for i in (2, 3, 4) for side in ("encode", "decode")),
        "encode1.size=6",
    ),
    "siamese": options("pairs.batch_size=2", "loss.legacy_version=true"),  # the other divides by d + 1e-4, as Caffe
    "lenet": options("mnist.batch_size=1"),
    "alexnet": options(
        "images.generate={examples: 2, test_examples: 2, shape: [3, 67, 67], classes: 10}",
        *("images.batch_size=2", "images.transform.scale=1"),
        *(f"{name}.num_output={width}" for name, width in WIDTHS.items()),
        *(f"{name}.weight_filler=msra" for name in WIDTHS),
    ),
    "resnet20": (
        *CIFAR,
        *options(*(f"{name}.channels=2" for name in ("conv1", "res2", "res3a", "res3", "res4a", "res4"))),
        *options("cifar.generate.shape=[3, 8, 8]", "cifar.batch_size=4"),
    ),
    "resnet18": (
        *images((3, 32, 32)),
        *options(*(f"{name}.channels=2" for name in ("conv1", "res2"))),
        *options(*(f"res{i}{part}.channels=2" for i in (3, 4, 5) for part in "ab"), "fc.num_output=10"),
    ),
    "squeezenet": (*images((3, 35, 35), examples=2), *NARROW),
    "googlenet": (
        *images((3, 96, 96), examples=1),
        *options("conv1/7x7_s2.num_output=2", "conv2/3x3_reduce.num_output=2", "conv2/3x3.num_output=2"),
        *options(*(f"inception_{one}.{key}=1" for one in INCEPTIONS for key in ("c1", "r3", "c3", "r5", "c5", "pool"))),
        *options("blocks.classifier.conv.num_output=2", "blocks.classifier.fc.num_output=3"),
        *options("blocks.classifier.classifier.num_output=10", "loss3/classifier.num_output=10"),
    ),
    "ntm_copy": (*sequences(2), *options("task.batch_size=2", *SMALL_MEMORY)),
    "lstm_copy": (*sequences(2), *options("task.batch_size=2")),
}

# entries of each parameter to compare, where 12 take long; one where the same block is there many times
ENTRIES = {"mnist_autoencoder": 3, "cifar10_quick": 3, "cifar10_full": 3}
ENTRIES |= {"resnet18": 1, "resnet20": 1, "googlenet": 1, "squeezenet": 1}


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_few_steps(nettrain_cli, data_sets, config):
    settings = A_FEW.get(Path(config).stem, options("solver.max_iter=4"))
    checked = json.loads(nettrain_cli("check", config, "--json", *settings).stdout)
    assert checked["warnings"] == []
    assert all(one["examples"] == one["total"] for one in checked["data"])
    nettrain_cli("train", config, *settings, "--set", "solver.display=1", "--out", "out")
    losses = [row["train_loss"] for row in rows(data_sets / "out")]
    assert len(losses) >= 3
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("config", "phase", "learned"),
    [
        ("alexnet", "TRAIN", 60_965_224),
        ("resnet20", "TRAIN", 272_474),
        ("resnet18", "TRAIN", 11_689_512),
        ("squeezenet", "TRAIN", 1_235_496),
        ("googlenet", "TRAIN", 13_378_280),
        ("googlenet", "TEST", 6_998_552),
    ],
)
def test_learned_parameters_of_published_nets(workdir, config, phase, learned):
    settings = ["images.batch_size=1", "images.generate.examples=1", "images.generate.test_examples=1"]
    if config == "resnet20":
        settings = list(CIFAR[1::2])
    net = nettrain.Net(f"configs/{config}.yaml", phase, settings=settings)
    blobs = [blob for step in net.steps for blob, fixed in zip(step.layer.blobs, step.fixed, strict=True) if not fixed]
    assert sum(blob.count for blob in blobs) == learned


def test_the_classifiers_of_googlenet_have_a_small_weight(workdir):
    net = nettrain.Net("configs/googlenet.yaml", "TRAIN", settings=["images.batch_size=1"])
    weights = {step.spec.name: step.loss_weights for step in net.steps if any(step.loss_weights)}
    assert weights == {"loss1/loss": [0.3], "loss2/loss": [0.3], "loss3/loss3": [1.0]}


@pytest.mark.parametrize("config", CONFIGS)
def test_gradients(nettrain_cli, data_sets, monkeypatch, config):
    entries = ENTRIES.get(Path(config).stem, 12)  # of each parameter; the layers' own checks look at all
    monkeypatch.setattr("nettrain.tools.gradcheck.ENTRIES_OF_A_NET", entries)
    assert "all ok" in nettrain_cli("gradcheck", config, *TO_CHECK.get(Path(config).stem, ())).stdout


@pytest.mark.parametrize(("config", "least"), [("mlp", 0.97), ("logreg", 0.95), ("spiral", 0.95)])
def test_accuracy(nettrain_cli, workdir, config, least):
    nettrain_cli("train", f"configs/{config}.yaml", "--out", "out")
    assert rows(workdir / "out")[-1]["test"]["accuracy"] >= least


def test_lenet_learns(nettrain_cli, mnist):
    """A stand-in for MNIST whose classes are rows of bright pixels."""
    nettrain_cli("train", "configs/lenet.yaml", "--set", "solver.max_iter=80", *SMALL, "--out", "out")
    assert rows(mnist / "out")[-1]["test"]["accuracy"] >= 0.9
