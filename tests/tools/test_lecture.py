"""The lecture's examples give the lecture's numbers."""

import json
import re
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.compute.parallel import session
from numpy.random import default_rng


@pytest.fixture
def explained(nettrain_cli):
    """What `nettrain explain --json` says of a lecture's config: values by name, gates by name."""

    def run(name, *options):
        answer = json.loads(nettrain_cli("explain", f"configs/lecture/{name}.yaml", "--json", *options).stdout)
        return answer["values"], {gate["name"]: gate for gate in answer["gates"]}

    return run


def both(value):
    return value["data"], value["gradient"]


def test_add_mul(explained):
    """f = (x + y) z: forward 3 and -12, backward 1, 3, -4, -4, -4."""
    values, gates = explained("add_mul")
    assert {name: both(value) for name, value in values.items()} == {
        "x": (-2, -4),
        "y": (5, -4),
        "z": (-4, 3),
        "q": (3, -4),
        "f": (-12, 1),
    }
    assert gates["q"]["formula"] == "x + y"
    assert gates["f"]["formula"] == "q * z"


def test_sigmoid_gates(explained):
    values, _ = explained("sigmoid_gates")
    two_digits = {name: tuple(f"{x:.2f}" for x in both(value)) for name, value in values.items()}
    assert two_digits == {
        "w0": ("2.00", "-0.20"),
        "x0": ("-1.00", "0.39"),
        "w1": ("-3.00", "-0.39"),
        "x1": ("-2.00", "-0.59"),
        "w2": ("-3.00", "0.20"),
        "w0x0": ("-2.00", "0.20"),
        "w1x1": ("6.00", "0.20"),
        "wx": ("4.00", "0.20"),
        "dot": ("1.00", "0.20"),
        "negative": ("-1.00", "-0.20"),
        "exp": ("0.37", "-0.53"),
        "one_more": ("1.37", "-0.53"),
        "f": ("0.73", "1.00"),
    }
    f = 1 / (1 + np.exp(-1))
    assert values["dot"]["gradient"] == pytest.approx((1 - f) * f, rel=1e-12)


def test_one_sigmoid_gate_has_the_same_gradients(explained):
    many, one = explained("sigmoid_gates")[0], explained("sigmoid_gate")[0]
    for name in ("w0", "x0", "w1", "x1", "w2", "dot", "f"):
        assert both(one[name]) == pytest.approx(both(many[name]), rel=1e-12)


def test_a_branch_adds_its_gradients_up(explained):
    """f = max(x, y) z + x at 3, -1, 2: df/dx = z + 1."""
    values, gates = explained("branch")
    assert both(values["x"]) == (3, 3)
    assert [use["gradient"] for use in values["x"]["uses"]] == [2, 1]
    assert both(values["y"]) == (-1, 0)
    assert both(values["z"]) == (2, 3)
    assert [gates[name]["words"].split()[1].rstrip(":") for name in ("larger", "product", "f")] == [
        "routes",
        "swaps",
        "distributes",
    ]


def test_squared_norm(explained):
    values, _ = explained("squared_norm")
    assert np.reshape(values["q"]["data"], 2) == pytest.approx([0.22, 0.26], rel=1e-12)
    assert values["f"]["data"] == pytest.approx(0.116, rel=1e-12)
    assert np.reshape(values["q"]["gradient"], 2) == pytest.approx([0.44, 0.52], rel=1e-12)
    assert np.array(values["W"]["gradient"]) == pytest.approx(np.array([[0.088, 0.176], [0.104, 0.208]]), rel=1e-12)
    assert np.reshape(values["x"]["gradient"], 2) == pytest.approx([-0.112, 0.636], rel=1e-12)
    for value in values.values():
        assert np.shape(value["data"]) == np.shape(value["gradient"])


def test_svm_is_the_lectures_formula():
    """L = 1/N Σ_i Σ_{j≠y} max(0, s_j - s_y + 1) + λ Σ W², written out with loops."""
    net = nettrain.Net("configs/lecture/svm.yaml", "TRAIN", dtype="float64")
    net.forward_backward()
    x, label = net.blobs["x"].data, net.blobs["label"].data.astype(int)
    W = net.params["W"][0].data
    total = 0.0
    for row, y in zip(x, label, strict=True):
        s = W @ row
        total += sum(max(0.0, s[j] - s[y] + 1) for j in range(10) if j != y)
    assert net.loss == pytest.approx(total / len(x) + 0.01 * (W**2).sum(), rel=1e-12)


def test_twenty_lines_of_numpy():
    """The two-layer net beside the program itself: the same loss in each of the first 150 iterations."""
    solver = nettrain.get_solver("configs/lecture/two_layer.yaml", dtype="float64", settings=["solver.display=0"])
    net = solver.net
    rng = default_rng(7)
    for name, shape in (("w1", (100, 1000)), ("w2", (10, 100))):
        net.params[name][0].data[...] = rng.standard_normal(shape)
    net.forward()
    x, y = net.blobs["x"].data.copy(), net.blobs["y"].data.copy()
    w1, w2 = net.params["w1"][0].data.T.copy(), net.params["w2"][0].data.T.copy()
    assert x.shape == (64, 1000)
    assert y.shape == (64, 10)

    theirs, ours = [], []
    with session():  # BLAS's own threads would wait for those of other tests
        for _ in range(150):
            h = 1 / (1 + np.exp(-x.dot(w1)))
            y_pred = h.dot(w2)
            theirs.append(np.square(y_pred - y).sum())
            grad_y_pred = 2.0 * (y_pred - y)
            grad_w2 = h.T.dot(grad_y_pred)
            grad_h = grad_y_pred.dot(w2.T)
            grad_w1 = x.T.dot(grad_h * h * (1 - h))
            w1 -= 1e-4 * grad_w1
            w2 -= 1e-4 * grad_w2
        for _ in range(150):
            solver.step(1)
            ours.append(solver.losses[-1])
    assert ours[-1] < ours[0] / 10
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_every_activation_learns_the_spirals(nettrain_cli, workdir):
    nettrain_cli("train", "configs/lecture/activations.yaml", "--out", "out")
    last = json.loads((workdir / "out" / "metrics.jsonl").read_text().splitlines()[-1])["test"]
    kinds = ("sigmoid", "tanh", "relu", "leaky", "maxout", "elu")
    assert min(last[f"of_{kind}"] for kind in kinds) >= 0.95


def test_alexnet_is_the_published_net():
    net = nettrain.Net("configs/alexnet.yaml", "TRAIN", settings=["images.batch_size=1"])
    assert sum(parameter.blob.count for parameter in net.parameters) == 60_965_224
    shapes = {name: blob.shape[1:] for name, blob in net.blobs.items()}
    assert shapes == {
        "data": (3, 227, 227),
        "label": (),
        "conv1": (96, 55, 55),
        "norm1": (96, 55, 55),
        "pool1": (96, 27, 27),
        "conv2": (256, 27, 27),
        "norm2": (256, 27, 27),
        "pool2": (256, 13, 13),
        "conv3": (384, 13, 13),
        "conv4": (384, 13, 13),
        "conv5": (256, 13, 13),
        "pool5": (256, 6, 6),
        "fc6": (4096,),
        "fc7": (4096,),
        "fc8": (1000,),
        "loss": (),
    }


SMALL_NTM = [
    *("task.max_length=4", "test.min_length=4", "test.max_length=4", "task.bits=3", "test.bits=3", "bit.num_output=3"),
    *("ntm.states.0.shape=[16, 20]", "ntm.states.1.shape=[2, 16]"),
    *("solver.base_lr=0.005", "solver.max_iter=600", "solver.test_interval=600"),
]


def test_a_small_turing_machine_learns_to_copy(workdir):
    """Sequences of up to 4 vectors of 3 bits, then of 6, longer than any it saw. Guessing gives half of the bits."""
    solver = nettrain.get_solver("configs/ntm_copy.yaml", settings=SMALL_NTM, out="out")
    solver.solve()
    assert solver.tests[0].net.blobs["right"].data >= 0.99
    six = [*SMALL_NTM, "test.min_length=6", "test.max_length=6"]
    longer = nettrain.Net("configs/ntm_copy.yaml", "TEST", settings=six)
    longer.share_with(solver.net)
    assert longer.forward()["right"] >= 0.9


FOLDER = Path(nettrain.__file__).parent / "configs" / "lecture"


def test_the_readme_of_the_lecture(follow):
    """Every config is in it, every command runs and prints what it shows; training is tested with the configs."""
    text = (FOLDER / "README.md").read_text()
    for config in FOLDER.glob("*.yaml"):
        assert f"configs/lecture/{config.name}" in text, config.name
    for name in re.findall(r"configs/[\w/]+\.yaml", text):
        assert (FOLDER.parent.parent / name).exists(), name
    for name in re.findall(r"\]\(([^)]+)\)", text):
        assert (FOLDER / name).exists(), name
    assert len(follow(text, leave_out=["train"])) >= 15
