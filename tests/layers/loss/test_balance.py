"""Classes of unequal size: what is said of them, and weights that make up for them."""

import json
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain.net.blob import Known
from nettrain.net.net import Net
from nettrain.solver.finding import find_snapshot
from nettrain.spec.errors import SpecError
from nettrain.tools import testing, training
from sklearn.utils.class_weight import compute_class_weight

pytestmark = pytest.mark.usefixtures("workdir")
LABELS = np.repeat([0, 1, 2], [6, 30, 1])


def layers(**loss):
    return [
        {"name": "d", "type": "Data", "source": "set.npz", "batch_size": 8, "top": ["data", "label"]},
        {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 4},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"], **loss},
    ]


def written(labels=LABELS, tested=(0, 1, 2, 3)):
    rng = np.random.default_rng(0)
    arrays = {"train_data": rng.standard_normal((len(labels), 3)), "train_label": labels}
    np.savez("set.npz", **arrays, test_data=rng.standard_normal((len(tested), 3)), test_label=tested)


def weights_of(net):
    return net.layers["loss"].class_weight


def test_balanced_weights_are_scikit_learns_and_belong_to_the_run():
    written()
    expected = [*compute_class_weight("balanced", classes=np.arange(3), y=LABELS), 1]  # no label is 3
    spec = {"solver": {"base_lr": 0.1, "max_iter": 3}, "layers": layers(class_weight="balanced")}
    solver = nettrain.get_solver(spec, out="run")
    assert weights_of(solver.net) == pytest.approx(expected)
    assert weights_of(solver.test_nets[0]) == pytest.approx(expected)
    solver.solve()
    by_hand = {"layers": layers(class_weight=expected)}
    net = Net(by_hand, "TEST", weights=solver.run.folder / "iter_3.npz")
    ((_, loss),) = net.passes()
    result = testing.run("run/iter_3.npz", None, None, (), None, print)
    assert result["scores"]["loss"] == pytest.approx(loss, rel=1e-6)
    assert result["notes"] == []
    assert find_snapshot(Path("run/iter_3.npz")).snapshot.state["fitted"]["loss"]["class_weight"] == pytest.approx(
        expected
    )
    assert nettrain.load("run").predict(np.zeros((2, 3))).shape == (2,)


def test_without_the_run_a_test_says_whose_labels_it_weighs_by():
    written()
    net = Net({"layers": layers(class_weight="balanced")}, "TEST")
    assert weights_of(net).tolist() == [1, 1, 1, 1]
    assert "the labels it is tested on" in net.layers["loss"].unready()


def test_ignored_labels_are_no_class():
    written(np.where(LABELS == 1, 3, LABELS))
    net = Net({"layers": layers(class_weight="balanced", ignore_label=3)}, "TRAIN")
    assert weights_of(net) == pytest.approx([7 / 12, 1, 7 / 2, 1])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_weight": "balance"}, "did you mean `balanced`"),
        ({"class_weight": [1, -1]}, "must be a number >= 0, got -1"),
        ({"class_weight": "balanced", "bottom": ["ip", "made"]}, "needs all labels before training"),
        ({"class_weight": [0, 0, 0, 0]}, "must not be zero for every class"),
    ],
)
def test_what_cannot_be_balanced_is_said(change, words):
    written()
    made = {"name": "made", "type": "DummyData", "shape": [8], "top": "made"}
    with pytest.raises(SpecError, match=words):
        Net({"layers": [made, *layers(**change)]}, "TRAIN")


@pytest.mark.parametrize("phase", ["TRAIN", "TEST"])
def test_unequal_classes_are_said_where_nothing_weighs_them(phase):
    def remark(**loss):
        return Net({"layers": layers(**loss)}, phase).layers["loss"].remark

    written()
    words = (
        "class 1 is 81% of the 37 labels and class 2 2.7%; class_weight: balanced in the loss weighs all classes alike"
    )
    assert remark() == (words if phase == "TRAIN" else "")
    assert remark(class_weight=[1, 2, 3, 4]) == remark(class_weight="balanced") == ""
    assert "class 1 is 97%" in remark(ignore_label=0) if phase == "TRAIN" else not remark(ignore_label=0)
    written(np.repeat([0, 1], [5, 1]))
    assert remark() == ""


def test_it_is_said_before_training():
    written()
    said = []
    spec = {"solver": {"base_lr": 0.1, "max_iter": 1}, "layers": layers()}
    Path("spec.yaml").write_text(json.dumps(spec), encoding="utf-8")
    training.prepare("spec.yaml", (), said.append, out="run")
    assert any(line.startswith("set.npz: class 1 is 81%") for line in said)


def test_labels_are_counted_where_each_is_known():
    values = np.array([0, 2, 2, 7])
    assert Known(values, "x").counts(3, ignored=7).tolist() == [1, 0, 2]
    assert Known(values, "x").counts(3) is None
    assert Known(values, "x", each=False).counts(8) is None
    assert Known(values / 2, "x").counts(8) is None
