"""What a test measures besides means: scikit-learn's figures of the whole set, whatever the size of a batch."""

import json

import numpy as np
import pytest
from nettrain.net.net import Net
from nettrain.serving import classes, measures
from nettrain.serving.judging import judges
from nettrain.serving.measures import Worst, auc
from nettrain.solver.evaluate import run_test
from nettrain.tools.reports import measured
from sklearn import metrics

pytestmark = pytest.mark.usefixtures("workdir")
SIZES = (1, 4, 100)
N = 47


def measure(layers, batch_size=4, mistakes=3, columns=(), **arrays):
    """What the losses and scores find in these arrays, of which the first is called data; ``columns`` are the names of
    a table's labels."""
    np.savez("set.npz", **arrays)
    data = {"name": "d", "type": "Data", "source": "set.npz", "batch_size": batch_size, "top": [*arrays]}
    named = [{"name": f"l{i}"} | layer for i, layer in enumerate(layers)]
    net = Net({"layers": [data, *named]}, "TEST")
    if columns:
        net.layers["d"].fitted |= {"table": {"labels": [{"name": name} for name in columns]}}
    found = judges(net, mistakes)
    run_test(net, after_batch=lambda: [one.add() for one in found])
    return [one.result() for one in found]


def loss(kind="SoftmaxWithLoss", **keys):
    return {"type": kind, "bottom": ["data", "label"], **keys}


def drawn(C, seed=0):
    """Scores of single precision, as the net has them, and labels they say something of."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, C, N)
    scores = rng.standard_normal((N, C))
    scores[np.arange(N), labels] += 0.8
    return scores.astype(np.float32), labels


def softmax(x):
    p = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)


def calibration_error(p, labels):
    """By a plain loop over bins."""
    sure, right = p.max(axis=1), p.argmax(axis=1) == labels
    total = 0.0
    for k in range(15):
        inside = (sure > k / 15) & (sure <= (k + 1) / 15)
        if inside.any():
            total += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    return total


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("C", [2, 3, 7])
def test_classes_are_measured_as_by_scikit_learn(C, batch_size):
    scores, labels = drawn(C)
    p, predicted = softmax(scores), scores.argmax(axis=1)
    (found,) = measure([loss()], batch_size, data=scores, label=labels)
    assert (found["kind"], found["of"], found["by"], found["examples"]) == ("classes", "data", "label", N)
    near = pytest.approx
    assert found["accuracy"] == near(metrics.accuracy_score(labels, predicted))
    assert found["balanced_accuracy"] == near(metrics.balanced_accuracy_score(labels, predicted))
    assert found["log_loss"] == near(metrics.log_loss(labels, p))
    assert found["ece"] == near(calibration_error(p, labels))
    assert np.array_equal(found["confusion"], metrics.confusion_matrix(labels, predicted))
    area = metrics.roc_auc_score(labels, p[:, 1]) if C == 2 else metrics.roc_auc_score(labels, p, multi_class="ovr")
    assert found["roc_auc"] == near(area)
    assert found.get("top_5") == (near(metrics.top_k_accuracy_score(labels, p, k=5)) if C > 5 else None)
    columns = metrics.precision_recall_fscore_support(labels, predicted)
    for name, values in zip(("precision", "recall", "f1", "examples"), columns, strict=True):
        assert [one[name] for one in found["classes"]] == near(values.tolist())
    for average in ("macro", "weighted"):
        of = metrics.precision_recall_fscore_support(labels, predicted, average=average)
        key = {"macro": "mean", "weighted": "weighted"}[average]
        assert [found[f"{key}_{name}"] for name in ("precision", "recall", "f1")] == near(of[:3])
    wrong = found["confused"]
    assert sum(one["examples"] for one in wrong) == (predicted != labels).sum()
    assert wrong == sorted(wrong, key=lambda one: -one["examples"])


def test_the_most_certain_mistakes_are_listed_by_name():
    scores, labels = drawn(3)
    p, predicted = softmax(scores), scores.argmax(axis=1)
    wrong = [int(i) for i in np.argsort(-p.max(axis=1)) if predicted[i] != labels[i]]
    for batch_size in SIZES:
        (found,) = measure([loss()], batch_size, data=scores, label=labels)
        assert [one["example"] for one in found["mistakes"]] == [str(i) for i in wrong[:3]]
        first = found["mistakes"][0]
        assert (first["true"], first["predicted"]) == (labels[wrong[0]], predicted[wrong[0]])
        assert first["probability"] == pytest.approx(p[wrong[0]].max())
    assert measure([loss()], mistakes=0, data=scores, label=labels)[0]["mistakes"] == []


def test_classes_that_do_not_occur_are_in_no_mean_and_one_that_is_never_predicted_has_0():
    scores, labels = drawn(4)
    scores[:, 3] = -9
    scores[:, 2] = -9
    labels[labels == 3] = 0
    predicted = scores.argmax(axis=1)
    (found,) = measure([loss()], data=scores, label=labels)
    columns = metrics.precision_recall_fscore_support(labels, predicted, zero_division=0)
    assert [one["precision"] for one in found["classes"]] == [*pytest.approx(columns[0].tolist()).expected, None]
    assert found["classes"][2]["precision"] == 0
    macro = metrics.f1_score(labels, predicted, average="macro", zero_division=0)
    assert found["mean_f1"] == pytest.approx(macro)


def test_probabilities_are_told_from_scores():
    scores, labels = drawn(3)
    p = softmax(scores).astype(np.float32)
    (given,) = measure([loss("MultinomialLogisticLoss")], data=p, label=labels)
    assert given["log_loss"] == pytest.approx(metrics.log_loss(labels, p), rel=1e-5)
    assert given["ece"] == pytest.approx(calibration_error(p.astype(np.float64), labels), rel=1e-5)
    (margins,) = measure([loss("HingeLoss")], data=scores, label=labels)
    assert (margins["log_loss"], margins["ece"], margins["roc_auc"]) == (None, None, None)
    assert margins["accuracy"] == given["accuracy"]
    first = margins["mistakes"][0]
    i = int(first["example"])
    assert first["ahead"] == pytest.approx(scores[i].max() - scores[i, labels[i]])
    two, labels = drawn(2)
    (margins,) = measure([loss("HingeLoss")], data=two, label=labels)
    assert margins["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, two[:, 1] - two[:, 0]))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_maps_are_measured_by_place_and_what_is_ignored_is_not(batch_size):
    rng = np.random.default_rng(3)
    scores, labels = rng.standard_normal((5, 3, 4, 2)).astype(np.float32), rng.integers(0, 3, (5, 4, 2))
    labels[1, :, 0] = labels[2] = 255
    keep = labels != 255
    true, predicted = labels[keep], scores.argmax(axis=1)[keep]
    (found,) = measure([loss(ignore_label=255)], batch_size, data=scores, label=labels)
    assert found["examples"] == keep.sum()
    assert found["accuracy"] == pytest.approx((true == predicted).mean())
    assert np.array_equal(found["confusion"], metrics.confusion_matrix(true, predicted))
    assert found["mean_iou"] == pytest.approx(metrics.jaccard_score(true, predicted, average="macro"))
    wrong = ((labels != scores.argmax(axis=1)) & keep).sum(axis=(1, 2))
    share = wrong / np.maximum(keep.sum(axis=(1, 2)), 1)
    assert [one["example"] for one in found["mistakes"]] == [str(i) for i in np.argsort(-share, kind="stable")[:3]]
    assert found["mistakes"][0]["wrong"] == wrong[share.argmax()]


def test_classes_on_the_last_axis_and_weights_of_0():
    rng = np.random.default_rng(4)
    scores, labels = rng.standard_normal((6, 3, 4)).astype(np.float32), rng.integers(0, 4, (6, 3))
    weight = rng.integers(0, 2, (6, 3))
    layer = {"type": "SoftmaxWithLoss", "bottom": ["data", "label", "weight"], "axis": -1}
    (found,) = measure([layer], 4, data=scores, label=labels, weight=weight)
    counted = weight > 0
    predicted = scores.argmax(axis=2)
    assert np.array_equal(
        found["confusion"], metrics.confusion_matrix(labels[counted], predicted[counted], labels=range(4))
    )
    first = int(found["mistakes"][0]["example"])
    assert ((predicted != labels) & counted)[first].any()


@pytest.mark.parametrize("batch_size", [4, 9])  # 9: as many labels as a matrix of 3 classes has numbers
def test_a_third_bottom_is_taken_for_what_it_is(batch_size):
    scores, labels = drawn(3)
    H = {"type": "DummyData", "top": "H", "shape": [3, 3]}  # of zeros
    (found,) = measure([H, loss("InfogainLoss", bottom=["data", "label", "H"])], batch_size, data=scores, label=labels)
    assert found["examples"] == N
    weight = np.tile(np.float32([1, 0, 2]), (N, 1))
    layer = loss("SmoothL1Loss", bottom=["data", "label", "weight", "weight"])
    (found,) = measure([layer], batch_size, data=scores, label=np.zeros((N, 3)), weight=weight)
    assert [one["mae"] for one in found["outputs"]][1] is None
    assert found["mae"] == pytest.approx(np.abs(scores[:, ::2]).mean())


@pytest.mark.parametrize("batch_size", SIZES)
def test_labels_are_measured_one_by_one(batch_size):
    rng = np.random.default_rng(5)
    scores, labels = rng.standard_normal((N, 3)).astype(np.float32), rng.integers(0, 2, (N, 3))
    scores += labels
    said = scores > 0
    (found,) = measure([loss("SigmoidCrossEntropyLoss")], batch_size, data=scores, label=labels)
    assert found["kind"] == "labels"
    columns = metrics.precision_recall_fscore_support(labels, said)
    for name, values in zip(("precision", "recall", "f1", "examples"), columns, strict=True):
        assert [one[name] for one in found["labels"]] == pytest.approx(values.tolist())
    areas = metrics.roc_auc_score(labels, scores, average=None)
    assert [one["roc_auc"] for one in found["labels"]] == pytest.approx(areas.tolist())
    assert found["roc_auc"] == pytest.approx(areas.mean())
    assert found["exact"] == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["accuracy"] == pytest.approx((labels == said).mean())
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels.ravel(), 1 / (1 + np.exp(-scores.ravel()))))
    assert found["mean_f1"] == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    size = np.where(said != labels, np.abs(scores), 0)
    i, j = np.unravel_index(size.argmax(), size.shape)
    worst = found["mistakes"][0]
    assert (worst["example"], worst["label"], worst["true"]) == (str(i), j, "yes" if labels[i, j] else "no")


def test_a_single_label_is_two_classes_and_targets_between_are_values():
    rng = np.random.default_rng(6)
    scores, labels = rng.standard_normal((N, 1)).astype(np.float32), rng.integers(0, 2, (N, 1))
    p = 1 / (1 + np.exp(-scores.astype(np.float64)))
    (found,) = measure([loss("SigmoidCrossEntropyLoss")], data=scores, label=labels)
    assert found["kind"] == "classes"
    assert found["roc_auc"] == pytest.approx(metrics.roc_auc_score(labels, p))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(labels, p))
    assert np.array_equal(found["confusion"], metrics.confusion_matrix(labels, scores > 0))
    (alone,) = measure([loss("BinaryAccuracy", threshold=0.5)], data=p.astype(np.float32), label=labels)
    assert alone["log_loss"] == pytest.approx(found["log_loss"], rel=1e-5)
    assert alone["confusion"] == found["confusion"]
    share = rng.random((N, 1))
    (found,) = measure([loss("SigmoidCrossEntropyLoss")], data=scores, label=share)
    assert found["kind"] == "values"
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(share, p), rel=1e-6)


def test_labels_that_are_ignored_do_not_count():
    rng = np.random.default_rng(7)
    scores, labels = rng.standard_normal((N, 2)).astype(np.float32), rng.integers(-1, 2, (N, 2))
    (found,) = measure([loss("SigmoidCrossEntropyLoss", ignore_label=-1)], data=scores, label=labels)
    for j, one in enumerate(found["labels"]):
        t, x = (array[labels[:, j] >= 0, j] for array in (labels, scores))
        assert one["f1"] == pytest.approx(metrics.f1_score(t, x > 0))
        assert one["roc_auc"] == pytest.approx(metrics.roc_auc_score(t, x))

    halves = np.where(labels < 0, 0.5, labels)
    (other,) = measure([loss("BinaryAccuracy", ignore_label=0.5)], data=scores, label=halves)
    assert other["labels"] == found["labels"]


@pytest.mark.parametrize("batch_size", SIZES)
@pytest.mark.parametrize("kind", ["EuclideanLoss", "L1Loss", "SmoothL1Loss"])
def test_values_are_measured_as_by_scikit_learn(kind, batch_size):
    rng = np.random.default_rng(8)
    targets = (rng.standard_normal((N, 3)) * [1, 10, 0.1] + [1000, 0, 5]).astype(np.float32)
    values = (targets + rng.standard_normal((N, 3)) * [0.1, 1, 0.2]).astype(np.float32)
    y, t = values.astype(np.float64), targets.astype(np.float64)
    (found,) = measure([loss(kind)], batch_size, data=values, label=targets)
    for name, function in (
        ("mae", metrics.mean_absolute_error),
        ("rmse", metrics.root_mean_squared_error),
        ("r2", metrics.r2_score),
    ):
        each = function(t, y, multioutput="raw_values")
        assert [one[name] for one in found["outputs"]] == pytest.approx(each.tolist(), rel=1e-9)
        assert found[name] == pytest.approx(function(t, y), rel=1e-9)
    i, j = np.unravel_index(np.abs(y - t).argmax(), y.shape)
    assert found["mistakes"][0] == {"example": str(i), "output": j, "true": t[i, j], "predicted": y[i, j]}


def test_targets_that_are_all_the_same_have_the_r2_of_scikit_learn():
    same = np.full((9, 2), 0.1, np.float32)
    values = same + np.array([0, 0.5], np.float32)
    for batch_size in SIZES:
        (found,) = measure([loss("L1Loss")], batch_size, data=values, label=same)
        assert [one["r2"] for one in found["outputs"]] == [1, 0]
    assert measure([loss("L1Loss")], data=values[:1], label=same[:1])[0]["r2"] is None


def test_what_is_compared_is_found():
    scores, labels = drawn(3)
    net = [
        {"type": "InnerProduct", "bottom": "data", "top": "ip", "num_output": 3},
        {"type": "Softmax", "bottom": "ip", "top": "p"},
        {"type": "Accuracy", "bottom": ["p", "label"]},  # what a loss is compared with already
        {"type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
        {"type": "Accuracy", "bottom": ["ip", "more"]},
        {"type": "EuclideanLoss", "bottom": ["wanted", "ip"]},  # either order
        {"type": "EuclideanLoss", "bottom": ["p", "ip"]},  # neither is true
    ]
    wanted = np.zeros((N, 3))
    found = measure(net, data=scores, label=labels, more=(labels + 1) % 3, wanted=wanted)
    pairs = [("classes", "ip", "label"), ("classes", "ip", "more"), ("values", "ip", "wanted")]
    assert [(one["kind"], one["of"], one["by"]) for one in found] == pairs


def test_classes_labels_and_files_have_their_names(workdir):
    from PIL import Image

    pixels = np.zeros((3, 2, 2), np.uint8)
    for i, at in enumerate([(0, 1), (1, 0), (1, 1)]):
        pixels[i][at] = 5
        Image.fromarray(pixels[i]).save(f"{i}.png")
    (workdir / "list.txt").write_text("0.png 1\n1.png 0\n2.png 2\n")
    data = {"name": "d", "type": "ImageData", "source": "list.txt", "batch_size": 2, "is_color": False}
    layers = [
        data | {"top": ["data", "label"]},
        {"name": "flat", "type": "Flatten", "bottom": "data"},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["flat", "label"]},
    ]
    net = Net({"layers": layers}, "TEST")
    net.layers["d"].fitted = {"classes": ["ant", "bee", "cat", "dog"]}
    (judge,) = judges(net)
    run_test(net, after_batch=judge.add)
    found = judge.result()
    worst = {(one["example"], one["true"], one["predicted"]) for one in found["mistakes"]}
    assert worst == {("1.png", "ant", "cat"), ("2.png", "cat", "dog")}
    assert [one["class"] for one in found["classes"]] == ["ant", "bee", "cat", "dog"]

    found = measure([loss("L1Loss")], columns=["a", "b"], data=pixels[:, 0], label=pixels[:, 1] * 2)[0]
    assert [one["output"] for one in found["outputs"]] == ["a", "b"]
    assert found["mistakes"][0]["output"] in ("a", "b")
    bits = measure([loss("BinaryAccuracy")], columns=["a", "b"], data=pixels[:, 0], label=pixels[:, 1] > 0)[0]
    assert [one["label"] for one in bits["labels"]] == ["a", "b"]


def test_a_type_of_your_own_is_measured_and_what_it_does_not_check_is_said(workdir):
    from nettrain.spec.errors import NettrainError

    (workdir / "mine.py").write_text(
        "import nettrain\n@nettrain.register\nclass Mine(nettrain.Layer):\n    'Says 0.'\n    num_bottoms = 2\n"
        "    judges = 'classes'\n    examples = [nettrain.Example([(3, 2), (3,)])]\n"
        "    def reshape(self, bottom, top): top[0].reshape(())\n"
        "    def Forward_cpu(self, bottom, top): top[0].data[...] = 0\n"
    )

    def judged(labels):
        np.savez("set.npz", data=np.eye(3), label=labels)
        data = {"name": "d", "type": "Data", "source": "set.npz", "batch_size": 3, "top": ["data", "label"]}
        mine = {"name": "mine", "type": "Mine", "bottom": ["data", "label"]}
        net = Net({"layer_files": "mine.py", "layers": [data, mine]}, "TEST", allow_python=True)
        (judge,) = judges(net)
        run_test(net, after_batch=judge.add)
        return judge.result()

    assert judged([0, 1, 1])["accuracy"] == 2 / 3
    with pytest.raises(NettrainError, match="labels must be from 0 to 2"):
        judged([0, 1, 3])
    with pytest.raises(NettrainError, match="needs 3 labels, got 6"):
        judged([[0, 1], [1, 2], [2, 0]])


def test_limits_leave_out_what_would_need_too_much_memory(monkeypatch):
    scores, labels = drawn(3)
    monkeypatch.setattr(measures, "MOST_SCORES", 3 * N - 1)
    monkeypatch.setattr(classes, "MOST_PAIRS", 2)
    (found,) = measure([loss()], data=scores, label=labels)
    assert found["roc_auc"] is None
    assert found["confusion"] is None
    assert found["accuracy"] == (scores.argmax(axis=1) == labels).mean()
    assert measured.report({"net": ""} | found)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_channels_of_maps_are_labels_and_outputs(batch_size):
    rng = np.random.default_rng(9)
    scores, labels = rng.standard_normal((6, 2, 3, 2)).astype(np.float32), rng.integers(0, 2, (6, 2, 3, 2))
    (one,) = measure([loss("SigmoidCrossEntropyLoss")], batch_size, data=scores[:, :1], label=labels[:, :1])
    assert one["mean_iou"] == pytest.approx(
        metrics.jaccard_score(labels[:, 0].ravel(), scores[:, 0].ravel() > 0, average="macro")
    )
    assert one["mistakes"][0]["of"] == 6
    (two,) = measure([loss("SigmoidCrossEntropyLoss")], batch_size, data=scores, label=labels)
    (values,) = measure([loss("L1Loss")], batch_size, data=scores, label=labels)
    for j in range(2):
        t, x = labels[:, j].ravel(), scores[:, j].ravel()
        assert two["labels"][j]["f1"] == pytest.approx(metrics.f1_score(t, x > 0))
        assert two["labels"][j]["roc_auc"] == pytest.approx(metrics.roc_auc_score(t, x))
        assert values["outputs"][j]["r2"] == pytest.approx(metrics.r2_score(t, x))
    example, output = (
        np.abs(scores - labels).max(axis=(2, 3)).argmax() // 2,
        np.abs(scores - labels).max(axis=(0, 2, 3)),
    )
    assert (values["mistakes"][0]["example"], values["mistakes"][0]["output"]) == (str(example), output.argmax())


def test_examples_of_which_nothing_counts_are_not_right_and_chosen_rows_have_no_name_of_another():
    labels = np.array([[-1, -1], [-1, -1], [1, 1], [0, 1]])
    layer = loss("SigmoidCrossEntropyLoss", ignore_label=-1)
    (found,) = measure([layer], data=-np.ones((4, 2), np.float32), label=labels)
    assert (found["examples"], found["exact"]) == (2, 0)
    chosen = [
        {"type": "Filter", "bottom": ["data", "label", "chosen"], "top": ["some", "of"]},
        {"type": "Accuracy", "bottom": ["some", "of"]},
    ]
    scores = np.eye(3, dtype=np.float32)[[0, 0, 0, 0, 0]]
    (found,) = measure(chosen, 5, data=scores, label=[0, 1, 0, 0, 2], chosen=[0, 0, 0, 1, 1])
    assert [one["example"] for one in found["mistakes"]] == ["1"]  # of two rows, whichever example it was


def test_of_equal_scores_the_first_counts_and_nan_says_nothing():
    scores = np.zeros((5, 7), np.float32)
    scores[3:] = np.nan
    scores[4, 2] = 1
    one = classes.Classes(7)
    one.add(scores[:, :, None], np.array([[0], [4], [5], [0], [0]]), np.ones((5, 1), bool), str)
    found = one.result()
    assert (found["accuracy"], found["top_5"]) == (1 / 5, 2 / 5)
    assert np.array_equal(found["confusion"][0][:3], [1, 0, 1])
    assert sum(map(sum, found["confusion"])) == 4  # the fourth example has no answer
    assert {one["example"] for one in found["mistakes"]} == {"1", "2", "4"}


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_batch_that_only_looks_like_probabilities_changes_nothing(batch_size):
    scores, labels = np.array([[0.25, 0.75], [3, -1], [0, 2], [5, 6]], np.float32), [0, 1, 0, 1]
    (found,) = measure([loss("HingeLoss")], batch_size, data=scores, label=labels)
    assert found["roc_auc"] == metrics.roc_auc_score(labels, scores[:, 1] - scores[:, 0])
    assert [(one["example"], one["ahead"]) for one in found["mistakes"]] == [("1", 4), ("2", 2), ("0", 0.5)]
    assert measured.report({"net": ""} | found)


def test_auc_counts_ties_as_half():
    scores, truth = np.array([1, 2, 2, 3, 3, 3.0]), np.array([0, 1, 0, 1, 0, 1], bool)
    assert auc(scores, truth) == metrics.roc_auc_score(truth, scores)
    assert auc(scores, truth | True) is None


def test_worst_keeps_the_first_of_equals():
    worst = Worst(2)
    for names in ("ab", "cd"):
        worst.add(np.array([1.0, 0.0]), lambda i, names=names: {"name": names[i]})
    worst.add(np.array([1.0, 2.0]), lambda i: {"name": "ef"[i]})
    assert [one["name"] for one in worst.entries()] == ["f", "a"]


def test_the_command_says_it_in_tables_and_json(nettrain_cli):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 60)
    np.savez("set.npz", data=rng.standard_normal((60, 4)) + labels[:, None], label=labels)
    spec = {
        "solver": {"base_lr": 0.1, "max_iter": 20},
        "layers": [
            {"name": "d", "type": "Data", "source": "set.npz", "batch_size": 8, "top": ["data", "label"]},
            {"name": "ip", "type": "InnerProduct", "bottom": "data", "num_output": 3},
            {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
        ],
    }
    with open("spec.yaml", "w", encoding="utf-8") as file:
        json.dump(spec, file)
    nettrain_cli("train", "spec.yaml", "--out", "run")
    found = json.loads(nettrain_cli("test", "run", "--json", "--mistakes", "2").output)
    (report,) = found["measures"]
    assert report["log_loss"] == pytest.approx(found["scores"]["loss"], rel=1e-5)
    assert report["examples"] == found["examples"]["d"] == 12
    assert len(report["mistakes"]) == min(2, 12 - round(12 * report["accuracy"]))
    text = nettrain_cli("test", "run").output
    means, _, rest = text.partition("\n\n")
    assert "loss" in means
    for words in (
        "`ip` against `label`: 12 answers",
        "class          precision  recall      F1  examples  predicted",
        "confusion matrix: a row is a true class",
        "most certain mistakes:\nexample  true  predicted  probability",
    ):
        assert words in rest
    numbers = [one["example"] for one in report["mistakes"]]
    assert all(f"\n{number} " in rest for number in numbers)
