"""What tests of runs share: a spec with all that a run remembers, its data and its rows."""

import json
from pathlib import Path

import nettrain
import numpy as np
import yaml


def write_images():
    """The data set of ``spec``, in the current folder."""
    rng = np.random.default_rng(0)
    np.savez(
        "images.npz",
        train_data=rng.standard_normal((23, 1, 6, 6)),
        train_label=rng.integers(0, 3, 23),
        test_data=rng.standard_normal((7, 1, 6, 6)),
        test_label=rng.integers(0, 3, 7),
    )


def spec(**solver):
    """Shuffled data, random crops and flips, dropout, test batches that continue from test to test."""
    keys = {"base_lr": 0.05, "max_iter": 10, "average_loss": 3, "display": 1, "test_interval": 2, "test_iter": 2}
    data = {"source": "images.npz", "batch_size": {"train": 5, "test": 3}}
    layers = [
        {"name": "d", "type": "Data", "top": ["data", "label"], "transform": {"crop_size": 5, "mirror": True}, **data},
        {"name": "ip1", "type": "InnerProduct", "bottom": "data", "num_output": 8},
        {"name": "drop", "type": "Dropout", "top": "ip1"},
        {"name": "ip2", "type": "InnerProduct", "bottom": "ip1", "num_output": 3},
        {"name": "accuracy", "type": "Accuracy", "bottom": ["ip2", "label"], "include": "test"},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip2", "label"]},
    ]
    return {"name": "run", "solver": keys | solver, "layers": layers}


def solver(out=None, **keys):
    return nettrain.get_solver(spec(**keys), out=out)


def rows(folder):
    """The lines of metrics without their speed."""
    lines = Path(folder, "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "it_per_s"} for line in lines]


def write_spec(**keys):
    Path("run.yaml").write_text(yaml.safe_dump(spec(**keys), sort_keys=False))
