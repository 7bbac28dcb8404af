"""Scores of a test: those of the whole set with any batch size, in the unit of the training loss, never a bad best."""

import itertools
import json
import re

import h5py
import nettrain
import numpy as np
import pytest
import yaml
from nettrain.solver.evaluate import evaluate, run_test
from nettrain.solver.mistakes import same_examples
from nettrain.tools import plot

SIZES = [1, 2, 3, 4, 5, 7, 11, 12, 23]
COUNT = 23  # examples: no size but 1 and itself divides it


@pytest.fixture(autouse=True)
def _data(workdir):
    rng = np.random.default_rng(3)
    scores = rng.standard_normal((COUNT, 4, 3))
    label = rng.integers(0, 3, (COUNT, 3))  # class 3 is never there
    label[5:12] = 1  # whole batches without class 0 and 2
    label[7] = 255
    label[20:] = 2
    np.savez(
        "set.npz",
        data=scores,
        label=label,
        flat=rng.standard_normal((COUNT, 4)),
        one=np.where(label[:, 0] == 255, 0, label[:, 0]),
        weight=rng.uniform(0, 2, (COUNT, 3)),
        p=rng.dirichlet(np.ones(4), COUNT),
        bits=rng.integers(-1, 2, (COUNT, 4)),
        targets=rng.random((COUNT, 4)),
        other=rng.standard_normal((COUNT, 4)),
        similar=rng.integers(0, 2, COUNT),
        keep=(np.arange(COUNT) % 3 == 0) & (np.arange(COUNT) > 9),
        H=np.tile(rng.random((1, 4, 4)), (COUNT, 1, 1)),
    )


TOPS = ["data", "label", "flat", "one", "weight", "p", "bits", "targets", "other", "similar", "keep", "H"]


def layers_of(batch_size, *layers):
    data = {"name": "d", "type": "Data", "top": TOPS, "source": "set.npz", "batch_size": batch_size}
    return {"layers": [data, {"name": "quiet", "type": "Silence", "bottom": TOPS}, *layers]}


def scores_of(batch_size, *layers, dtype="float64"):
    return evaluate(nettrain.Net(layers_of(batch_size, *layers), "TEST", dtype=dtype))


IGNORE = {"ignore_label": 255}
NORMALIZED = ["FULL", "VALID", "BATCH_SIZE"]
MEASURES = {
    "accuracy": {"type": "Accuracy", "bottom": ["data", "label"], "top": ["a", "by_class"], **IGNORE},
    "top 2": {"type": "Accuracy", "bottom": ["data", "label"], "top": ["a", "by_class"], "top_k": 2, **IGNORE},
    "accuracy of one label": {"type": "Accuracy", "bottom": ["flat", "one"], "top": ["a", "by_class"]},
    "binary": {"type": "BinaryAccuracy", "bottom": ["flat", "bits"], "ignore_label": -1},
    "class weights": {
        "type": "SoftmaxWithLoss",
        "bottom": ["data", "label"],
        "class_weight": [1, 2, 0, 3],
        **IGNORE,
    },
    "weights": {"type": "SoftmaxWithLoss", "bottom": ["data", "label", "weight"], "top": ["l", "prob"], **IGNORE},
    "smoothing": {"type": "SoftmaxWithLoss", "bottom": ["data", "label"], "label_smoothing": 0.2, **IGNORE},
    "probabilities": {"type": "SoftmaxWithLoss", "bottom": ["flat", "p"]},
    "multinomial": {"type": "MultinomialLogisticLoss", "bottom": ["p", "one"]},
    "hinge": {"type": "HingeLoss", "bottom": ["flat", "one"], "norm": "L2"},
    "euclidean": {"type": "EuclideanLoss", "bottom": ["flat", "other"]},
    "contrastive": {"type": "ContrastiveLoss", "bottom": ["flat", "other", "similar"], "margin": 3},
    "mean": {"type": "Reduction", "bottom": "flat", "operation": "MEAN"},
    "mean of each": {"type": "Reduction", "bottom": "flat", "operation": "SUMSQ", "axis": 1},
    "best": {"type": "ArgMax", "bottom": "flat"},
}
for mode in NORMALIZED:
    MEASURES[f"softmax {mode}"] = {
        "type": "SoftmaxWithLoss",
        "bottom": ["data", "label"],
        "normalization": mode,
        **IGNORE,
    }
    MEASURES[f"svm {mode}"] = {
        "type": "MulticlassSVMLoss",
        "bottom": ["data", "label"],
        "normalization": mode,
        **IGNORE,
    }
    MEASURES[f"sigmoid {mode}"] = {
        "type": "SigmoidCrossEntropyLoss",
        "bottom": ["flat", "bits"],
        "ignore_label": -1,
        "normalization": mode,
    }
for mode, kind in itertools.product(["FULL", "BATCH_SIZE"], ["L1Loss", "SmoothL1Loss"]):
    MEASURES[f"{kind} {mode}"] = {"type": kind, "bottom": ["flat", "other"], "normalization": mode}
for normalize in (True, False):
    MEASURES[f"normalize {normalize}"] = {
        "type": "SoftmaxWithLoss",
        "bottom": ["data", "label"],
        "normalize": normalize,
        **IGNORE,
    }


@pytest.mark.parametrize("kind", MEASURES)
def test_any_batch_size_gives_the_scores_of_one_batch_of_all(kind):
    measure = {"name": "m"} | MEASURES[kind]
    net = nettrain.Net(layers_of(COUNT, measure), "TEST", dtype="float64")
    outputs = net.forward()
    whole = scores_of(COUNT, measure)
    for name, score in whole.items():
        rows = np.ndim(outputs[name]) > np.ndim(score)
        expected = outputs[name].mean(axis=0) if rows else outputs[name]
        if name == "by_class":
            absent = np.isnan(score)
            assert absent.tolist() == [False, False, False, True]
            expected = np.where(absent, np.nan, expected)
        np.testing.assert_allclose(score, expected, rtol=1e-12)
    for size in SIZES:
        found = scores_of(size, measure)
        assert list(found) == list(whole)
        for name, score in found.items():
            np.testing.assert_allclose(score, whole[name], rtol=1e-10, err_msg=f"{name} with batches of {size}")


@pytest.mark.parametrize("kind", MEASURES)
def test_means_need_no_note(kind):
    found = run_test(nettrain.Net(layers_of(4, {"name": "m"} | MEASURES[kind]), "TEST"), total="sum")
    assert found.notes == []


def test_all_losses_and_scores_of_the_zoo_are_among_them():
    zoo = {name for name, cls in nettrain.net.registry.types().items() if cls.is_loss or cls.is_score} - {
        "InfogainLoss"
    }  # its third bottom is not data: see below
    assert zoo == {measure["type"] for measure in MEASURES.values()} - {"Reduction", "ArgMax"}


@pytest.mark.parametrize("mode", NORMALIZED)
def test_infogain_loss_with_any_batch_size(mode):
    np.save("H.npy", np.random.default_rng(0).random((4, 4)))
    measure = {
        "name": "m",
        "type": "InfogainLoss",
        "bottom": ["data", "label"],
        "source": "H.npy",
        "normalization": mode,
        **IGNORE,
    }
    whole = nettrain.Net(layers_of(COUNT, measure), "TEST", dtype="float64").forward()["m"]
    for size in SIZES:
        assert scores_of(size, measure)["m"] == pytest.approx(float(whole), rel=1e-10)


def test_what_a_filter_keeps_is_measured_as_kept():
    """Batches of which nothing is kept count nothing."""
    kept = [{"name": "f", "type": "Filter", "bottom": ["flat", "other", "keep"], "top": ["x", "y"]}]
    for measure in (
        {"type": "EuclideanLoss", "bottom": ["x", "y"]},
        {"type": "L1Loss", "bottom": ["x", "y"]},
        {"type": "Reduction", "bottom": "x", "operation": "MEAN"},
    ):
        rest = {"name": "s", "type": "Silence", "bottom": ["x", "y"]}
        whole = scores_of(COUNT, *kept, rest, {"name": "m"} | measure)["m"]
        for size in SIZES:
            assert scores_of(size, *kept, rest, {"name": "m"} | measure)["m"] == pytest.approx(whole, rel=1e-10)


def test_a_class_that_a_batch_lacks_is_not_wrong_in_it():
    """All answers right, examples sorted by class, class 0 in three of ten batches: 100%, not 30%."""
    label = np.repeat([0, 1, 2, 3], 25)
    np.savez("right.npz", data=np.eye(5)[label], label=label)
    data = {"name": "d", "type": "Data", "top": ["x", "label"], "source": "right.npz", "batch_size": 10}
    accuracy = {"name": "a", "type": "Accuracy", "bottom": ["x", "label"], "top": ["a", "by_class"]}
    net = nettrain.Net({"layers": [data, accuracy]}, "TEST")
    scores = evaluate(net)
    assert scores["a"] == 1
    assert scores["by_class"][:4] == [1, 1, 1, 1]
    assert np.isnan(scores["by_class"][4])
    net.layers["d"].start_pass()
    assert net.forward()["by_class"].tolist() == [1, 0, 0, 0, 0]  # of one batch, as in Caffe


def test_nothing_that_counts_is_no_score(nettrain_cli, workdir):
    np.savez("none.npz", data=np.zeros((6, 2)), label=np.full(6, 9))
    spec = {
        "name": "none",
        "solver": {"base_lr": 0.1, "max_iter": 1, "test_interval": 1},
        "layers": [
            {"name": "d", "type": "Data", "top": ["x", "label"], "source": "none.npz", "batch_size": 2},
            {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 2},
            {"name": "a", "type": "Accuracy", "bottom": ["ip", "label"], "ignore_label": 9, "top": ["a", "each"]},
            {"name": "n", "type": "Reduction", "bottom": "ip", "operation": "SUMSQ", "axis": 1, "loss_weight": 1},
        ],
    }
    (workdir / "none.yaml").write_text(yaml.safe_dump(spec))
    net = nettrain.Net("none.yaml", "TEST")
    net.save("w.npz")
    assert np.isnan(evaluate(net)["a"])
    shown = nettrain_cli("test", "none.yaml", "--weights", "w.npz").stdout
    assert [line.split()[1:] for line in shown.splitlines() if line.startswith(("a ", "each "))] == [
        ["-"],
        ["[-,", "-]"],
    ]
    found = json.loads(nettrain_cli("test", "none.yaml", "--weights", "w.npz", "--json").stdout)
    assert (found["scores"]["a"], found["scores"]["each"]) == (None, [None, None])


SUMS = {
    "no normalization": {"type": "SoftmaxWithLoss", "bottom": ["data", "label"], "normalization": "NONE", **IGNORE},
    "L1 without": {"type": "L1Loss", "bottom": ["flat", "other"], "normalization": "NONE"},
    "a sum": {"type": "Reduction", "bottom": "flat", "loss_weight": 1},
    "a sum of each, as a loss": {"type": "Reduction", "bottom": "flat", "axis": 1, "loss_weight": 0.5},
}


@pytest.mark.parametrize("kind", SUMS)
def test_a_sum_over_the_batch_is_said_to_be_one(kind):
    spec = layers_of(4, {"name": "m"} | SUMS[kind])
    found = run_test(nettrain.Net(spec, "TEST"), total="total_loss")
    names = {note.split("`")[1] for note in found.notes}
    assert names == ({"total_loss"} if "each" in kind else {"m", "total_loss"})
    assert all("another batch_size gives another number" in note for note in found.notes)


def test_what_is_made_of_a_loss_is_said_to_be_a_mean_over_batches():
    layers = [
        {"name": "l", "type": "EuclideanLoss", "bottom": ["flat", "other"]},
        {"name": "perplexity", "type": "Exp", "bottom": "l"},
        {"name": "w", "type": "Parameter", "shape": [2]},
    ]
    notes = run_test(nettrain.Net(layers_of(4, *layers), "TEST")).notes
    assert [note.split("`")[1] for note in notes] == ["perplexity"]


# One unit in a column and on an axis


def spec_with(*losses, **solver):
    """A net with these losses over the set, as a spec to be trained."""
    layers = [
        {
            "name": "d",
            "type": "Data",
            "top": ["x", "label"],
            "source": "digits",
            "batch_size": {"train": 40, "test": 97},
        },
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 10},
        *losses,
    ]
    keys = {"base_lr": 1e-4, "max_iter": 4, "test_interval": 2}
    return {"name": "units", "solver": keys | solver, "layers": layers}


def softmax(name="loss", **keys):
    return {"name": name, "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]} | keys


SMALL = {"name": "small", "type": "Reduction", "bottom": "ip", "operation": "MEAN", "loss_weight": 0.25}


def trained(nettrain_cli, workdir, *losses, **solver):
    """The lines of a training run, its heading, and its last line of metrics."""
    (workdir / "units.yaml").write_text(yaml.safe_dump(spec_with(*losses, **solver)))
    lines = nettrain_cli("train", "units.yaml", "--out", "run").stdout.splitlines()
    with open("run/metrics.jsonl", encoding="utf-8") as file:
        return lines, lines[1].split(), json.loads(file.readlines()[-1])


def test_one_loss_of_weight_1_is_the_test_loss(nettrain_cli, workdir):
    _, head, row = trained(nettrain_cli, workdir, softmax())
    assert " ".join(head) == "iter epoch train loss test loss lr it/s"
    assert list(row["test"]) == ["loss"]


@pytest.mark.parametrize(
    ("losses", "columns", "weights"),
    [
        ([softmax(loss_weight=10)], ["loss"], {"loss": 10}),
        ([softmax(), SMALL], ["loss", "small"], {"loss": 1, "small": 0.25}),
        ([softmax(), softmax("again", loss_weight=2)], ["loss", "again"], {"loss": 1, "again": 2}),
        ([softmax(), softmax("total_loss", loss_weight=2)], ["loss", "total_loss"], {"loss": 1, "total_loss": 2}),
    ],
)
def test_the_test_loss_is_in_the_unit_of_the_train_loss(nettrain_cli, workdir, losses, columns, weights):
    """The weighted sum, on the same examples the very number; each loss stands beside it under its own name, and both
    are called in pictures and in metrics as in the table."""
    lines, head, row = trained(nettrain_cli, workdir, *losses)
    name = "weighted_total_loss" if "total_loss" in weights else "total_loss"
    headings = [f"test {score}" for score in (name, *columns)]
    assert " ".join(head) == f"iter epoch train loss {' '.join(headings)} lr it/s"
    drawn = plot.read_run("run").metrics
    shown = lines[4].split()[3:-2]
    assert [f"{drawn[heading][1][-1]:.4f}" for heading in headings] == shown[: len(headings)]
    assert row["test"][name] == pytest.approx(sum(w * row["test"][loss] for loss, w in weights.items()), rel=1e-12)
    assert lines[4].split()[3] == f"{row['test'][name]:.4f}"  # the last row
    solver = nettrain.get_solver(spec_with(*losses), out="again")
    assert (solver.monitor.name, solver.monitor.higher) == (name, False)
    same = nettrain.Net(spec_with(*losses), "TEST", dtype="float64")
    whole = run_test(same, None, name).scores[name]
    batches = [examples * loss for examples, loss in same.passes()]
    assert whole == pytest.approx(sum(batches) / 360, rel=1e-12)


def test_a_score_is_monitored_before_the_weighted_sum():
    accuracy = {"name": "right", "type": "Accuracy", "bottom": ["ip", "label"], "include": "test"}
    solver = nettrain.get_solver(spec_with(accuracy, softmax(loss_weight=3)), out="run")
    assert (solver.monitor.name, solver.monitor.higher) == ("right", True)


def test_losses_of_other_units_have_pictures_of_their_own(nettrain_cli, workdir):
    trained(nettrain_cli, workdir, softmax(loss_weight=10), softmax("aux_loss"))
    drawn = []
    figure = plot._figure

    def remember(rows, columns):
        made = figure(rows, columns)
        drawn.append(made[1])
        return made

    plot._figure = remember
    try:
        plot.curves([plot.read_run("run")], [], "curves.svg")
    finally:
        plot._figure = figure
    pictures = [[line.get_label() for line in axis.get_lines()] for axis in drawn[0]]
    assert pictures == [["train loss", "test total_loss"], ["test loss"], ["test aux_loss"]]


@pytest.mark.parametrize(
    ("known", "own"),
    [
        (["train loss", "test loss", "test aux_loss"], []),
        (["train loss", "test loss", "test total_loss"], ["test loss"]),
        (["train loss", "test a/loss", "test b/loss", "test a/total_loss"], ["test a/loss"]),
        (["train loss", "test total_loss", "test weighted_total_loss"], ["test total_loss"]),
    ],
)
def test_which_losses_have_a_unit_of_their_own(known, own):
    assert [name for name in known if plot._has_own_unit(name, known)] == own


# What is not finite


def spec_of(data, test, *layers, batch_size=4, **solver):
    np.savez("a.npz", x_train=data, y_train=np.arange(len(data)) % 3, x_test=test, y_test=np.arange(len(test)) % 3)
    source = {"name": "d", "type": "Data", "top": ["x", "label"], "source": "a.npz", "batch_size": batch_size}
    more = [
        {"name": "ip", "type": "InnerProduct", "num_output": 3},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]},
    ]
    keys = {"base_lr": 0.01, "max_iter": 4, "test_interval": 2}
    spec = {"name": "bad", "solver": keys | solver, "layers": [source, *layers, *more]}
    with open("bad.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(spec, file)
    return spec


def in_files(spec, data, test):
    """The same, from files that are read while it trains: what lies in memory is looked through before."""
    sources = []
    for phase, array in (("train", data), ("test", test)):
        with h5py.File(f"{phase}.h5", "w") as file:
            file["x"], file["label"] = array, np.arange(len(array)) % 3
        with open(f"{phase}.txt", "w", encoding="utf-8") as file:
            file.write(f"{phase}.h5\n")
        name = {"train": "d", "test": "t"}[phase]
        sources.append({"name": name, "type": "HDF5Data", "top": ["x", "label"], "source": f"{phase}.txt"})
        sources[-1] |= {"batch_size": 4, "include": phase}
    spec["layers"][:1] = sources
    with open("bad.yaml", "w", encoding="utf-8") as file:
        yaml.safe_dump(spec, file)
    return spec


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_bad_test_data_is_blamed_with_its_example(nettrain_cli, bad):
    good = np.random.default_rng(0).standard_normal((20, 5))
    test = good.copy()
    test[13, 2] = bad
    in_files(spec_of(good, good), good, test)
    result = nettrain_cli("train", "bad.yaml", exit_code=2)
    word = "NaN" if np.isnan(bad) else "inf"
    blamed = (
        f"layer `t` (bad.yaml:12:9): 1 {word} among 20 of its outputs, the first in example 13 of test.txt, counted "
        "from 0; look for NaN or infinity in the data"
    )
    warning = f"warning: the test gives no finite number for `loss`: forward, {blamed}"
    assert result.stderr.count(warning) == 1
    assert f"loss was never a finite number in 3 tests: forward, {blamed}" in result.stderr
    assert "iter_4.npz" in result.stderr
    assert "best" not in result.stdout
    with open("runs/bad/001/metrics.jsonl", encoding="utf-8") as file:
        assert [json.loads(line)["test"] for line in file] == [{"loss": None}] * 3
    result = nettrain_cli("check", "bad.yaml", exit_code=2)
    assert f"HDF5Data `t`: test.txt: `x` of example 13 holds {bad:g} in column 2, both counted" in result.stderr
    nettrain.Net("bad.yaml", "TEST").save("w.npz")
    result = nettrain_cli("test", "bad.yaml", "--weights", "w.npz", exit_code=2)
    assert f"note: no finite number for `loss`: forward, {blamed}" in result.stdout
    result = nettrain_cli("test", "bad.yaml", "--weights", "w.npz", "--json", exit_code=2)
    assert json.loads(result.stdout)["scores"] == {"loss": None}


def test_a_sum_of_several_bad_losses_is_named_once(nettrain_cli):
    good = np.random.default_rng(0).standard_normal((20, 5))
    second = {"name": "again", "type": "SoftmaxWithLoss", "bottom": ["ip", "label"]}
    spec = spec_of(good, np.full_like(good, np.nan))
    spec["layers"].append(second)
    solver = nettrain.get_solver(spec, out="run")
    solver.test()
    assert solver.found.bad == ["loss", "again", "total_loss"]


def test_training_data_that_is_bad_is_blamed_with_its_example(nettrain_cli):
    good = np.random.default_rng(0).standard_normal((20, 5))
    data = good.copy()
    data[17, 0] = np.nan
    in_files(spec_of(good, good, max_iter=20), data, good)
    result = nettrain_cli("train", "bad.yaml", exit_code=3)
    assert "1 NaN among 20 of its outputs, the first in example 17 of train.txt, counted from 0" in result.stderr


def test_a_bad_score_is_never_the_best():
    """Classes without examples do not make a mean NaN; a value that is NaN does, whatever the others are."""
    rng = np.random.default_rng(0)
    data = rng.standard_normal((20, 5))
    accuracy = {"name": "a", "type": "Accuracy", "bottom": ["ip", "label"], "top": ["a", "each"], "include": "test"}
    spec = spec_of(data, data, monitor={"metric": "each", "direction": "higher"})
    spec["layers"].append(accuracy)
    spec["layers"][-3]["num_output"] = 5
    solver = nettrain.get_solver(spec, out="run")
    solver.solve()
    assert np.isnan(solver.found.scores["each"]).tolist() == [False] * 3 + [True] * 2
    assert np.isfinite(solver.best[0])
    data = data.copy()
    data[3, 1] = np.nan
    spec = spec_of(data, data, monitor={"metric": "sums", "direction": "higher"})
    in_files(spec, rng.standard_normal((20, 5)), data)
    spec["layers"].append({"name": "sums", "type": "Power", "bottom": "x", "include": "test"})
    solver = nettrain.get_solver(spec, out="other")
    solver.solve()
    assert np.isnan(solver.found.scores["sums"]).tolist() == [False, True, False, False, False]
    assert solver.best is None


def test_a_bad_batch_does_not_change_what_comes_after_it():
    """Finding out why runs layers again: what a recurrent layer carries on stays as it was."""
    sequence = np.random.default_rng(0).standard_normal((12, 2, 3))
    np.savez("s.npz", data=sequence, cont=np.ones((12, 2)), wanted=np.zeros((12, 2, 4)))
    tops = ["x", "label", "cont", "wanted"]
    layers = [
        {"name": "d", "type": "Data", "top": tops[:1] + tops[1:], "source": "s.npz", "batch_size": 3},
        {"name": "quiet", "type": "Silence", "bottom": "label"},
        {"name": "rnn", "type": "RNN", "bottom": ["x", "cont"], "num_output": 4},
        {"name": "m", "type": "EuclideanLoss", "bottom": ["rnn", "wanted"]},
    ]
    with np.load("s.npz") as arrays:
        np.savez("s.npz", **arrays, label=np.zeros(12))
    net = nettrain.Net({"layers": layers}, "TEST")

    def last_outputs():
        seen = []
        run_test(net, None, None, lambda: seen.append(net.blobs["rnn"].data.copy()))
        return seen

    expected = last_outputs()
    net.layers["d"].further[-1][4] = np.nan  # the targets of the second batch
    for mine, theirs in zip(last_outputs(), expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_batchnorm_that_has_seen_nothing_is_said(nettrain_cli):
    """Caffe's statistics of nothing are mean 0 and variance 0: y = x / √eps, which is finite here."""
    data = np.random.default_rng(0).standard_normal((20, 5))
    norms = [{"name": "bn", "type": "BatchNorm"}, {"name": "bn2", "type": "BatchNorm"}]
    spec = spec_of(data, data, *norms)
    net = nettrain.Net(spec, "TEST")
    out = net.forward()
    assert np.isfinite(out["loss"])
    np.testing.assert_allclose(net.blobs["bn2"].data, net.blobs["x"].data / 1e-5, rtol=1e-5)
    result = nettrain_cli("train", "bad.yaml")
    says = (
        "BatchNorm `bn` has seen no batch yet: it assumes mean 0 and variance 0, and multiplies by 316 (and so have "
        "1 more); this test says little"
    )
    assert result.stderr.count(says) == 1
    net.save("w.npz")
    shown = nettrain_cli("test", "bad.yaml", "--weights", "w.npz").stdout
    assert "note: BatchNorm `bn` has seen no batch yet" in shown
    nettrain_cli("test", "bad.yaml", "--weights", "runs/bad/001/best.npz")
    assert "has seen no batch" not in nettrain_cli("test", "bad.yaml", "--weights", "runs/bad/001/iter_4.npz").stdout


def test_a_test_that_overflows_behind_such_a_batchnorm_blames_it(nettrain_cli):
    data = np.random.default_rng(0).standard_normal((20, 5))
    norms = [{"name": f"bn{i}", "type": "BatchNorm"} for i in range(20)]  # 316 ** 20
    spec_of(data, data, *norms)
    result = nettrain_cli("train", "bad.yaml")
    assert "no finite number for `loss`: forward, layer `bn15`" in result.stderr
    assert "; BatchNorm `bn0` has seen no batch yet" in result.stderr
    assert "best loss" in result.stdout  # of the later tests


# One set for training and test


def warnings_of(nettrain_cli, workdir, *layers):
    """What `train` and `check` warn of, which must be the same; the JSON of `check` has it too. Without places."""
    spec = {"name": "w", "solver": {"base_lr": 0.001, "max_iter": 1}, "layers": [*layers]}
    spec["layers"] += [
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 3},
        {"name": "loss", "type": "EuclideanLoss", "bottom": ["ip", "ip"]},
        {"name": "quiet", "type": "Silence", "bottom": "label"},
    ]
    (workdir / "w.yaml").write_text(yaml.safe_dump(spec))
    found = []
    for command in ("train", "check"):
        lines = nettrain_cli(command, "w.yaml").output.splitlines()
        found.append([line.removeprefix("warning: ") for line in lines if line.startswith("warning: ")])
    assert found[0] == found[1] == json.loads(nettrain_cli("check", "w.yaml", "--json").stdout)["warnings"]
    assert all(re.match(r"w\.yaml:\d+:9: ", text) for text in found[0])
    return [text.partition(": ")[2] for text in found[0]]


def source(name, include=None, **keys):
    one = {"name": f"d{include}", "type": "Data", "top": ["x", "label"], "source": name, "batch_size": 2} | keys
    return one | ({"include": include} if include else {})


SAYS = "is both training and test set: the scores say nothing about new data; give "


def test_one_file_for_training_and_test_is_warned_of(nettrain_cli, workdir):
    for name, last in (("a.csv", 3), ("b.csv", 4)):
        (workdir / name).write_text(f"1,2,0\n2,1,1\n{last},1,2\n")
    (workdir / "link.csv").symlink_to("a.csv")
    other = "source: {train: a.csv, test: ANOTHER}"
    assert warnings_of(nettrain_cli, workdir, source("a.csv")) == []  # it is divided
    whole = source("a.csv", split=0)
    assert warnings_of(nettrain_cli, workdir, whole) == [f"a.csv {SAYS}split: 0.2, or {other}"]
    assert warnings_of(nettrain_cli, workdir, source({"train": "a.csv", "test": "./a.csv"})) == [f"a.csv {SAYS}{other}"]
    pair = source("a.csv", "train"), source("a.csv", "test")
    assert warnings_of(nettrain_cli, workdir, *pair) == [f"a.csv {SAYS}split: 0.2, or {other}"]
    assert warnings_of(nettrain_cli, workdir, source({"train": "a.csv", "test": "link.csv"})) != []
    assert warnings_of(nettrain_cli, workdir, source({"train": "a.csv", "test": "b.csv"})) == []
    assert warnings_of(nettrain_cli, workdir, source("a.csv", "train"), source("b.csv", "test")) == []


def test_parts_of_one_file_are_two_sets(nettrain_cli, workdir):
    arrays = {
        f"{name}_{part}": np.full((4, 2), k)[:, : 2 if name == "x" else 1]
        for name in "xy"
        for k, part in enumerate(("train", "test"))
    }
    np.savez("parts.npz", **arrays)
    np.savez("whole.npz", x=np.ones((4, 2)), y=np.ones(4))
    assert warnings_of(nettrain_cli, workdir, source("parts.npz")) == []
    assert warnings_of(nettrain_cli, workdir, source("digits")) == []
    assert len(warnings_of(nettrain_cli, workdir, source("whole.npz", split=0))) == 1


def test_generated_examples_are_the_same_only_when_that_is_asked_for(nettrain_cli, workdir):
    assert warnings_of(nettrain_cli, workdir, source("moons")) == []
    again = source("moons", generate={"test_examples": 0})
    assert warnings_of(nettrain_cli, workdir, again) == [f"moons {SAYS}generate: {{test_examples: 300}}"]


def test_other_layers_that_read_the_same_are_found_too(nettrain_cli, workdir):
    import h5py
    import lmdb
    from PIL import Image

    for k, name in enumerate(("a", "b")):
        with h5py.File(f"{name}.h5", "w") as file:
            file["x"], file["label"] = np.full((3, 2), k), np.ones(3)
        Image.new("RGB", (2, 2), (k, k, k)).save(f"{name}.png")
        (workdir / f"{name}.images").write_text(f"{name}.png 0\n{name}.png 1\n")
    (workdir / "a.list").write_text("a.h5")
    (workdir / "both.list").write_text("b.h5 a.h5")
    (workdir / "b.list").write_text("b.h5")
    datum = bytes([8, 1, 16, 1, 24, 2, 34, 2, 1, 2, 40, 1])
    with lmdb.open("base") as base, base.begin(write=True) as transaction:
        for i in range(3):
            transaction.put(b"%d" % i, datum)

    def pair(kind, train, test):
        return [source(train, "train", type=kind), source(test, "test", type=kind)]

    found = warnings_of(nettrain_cli, workdir, *pair("HDF5Data", "a.list", "both.list"))
    assert [text.split(" is both")[0] for text in found] == ["a.h5"]
    assert warnings_of(nettrain_cli, workdir, *pair("HDF5Data", "a.list", "b.list")) == []
    assert len(warnings_of(nettrain_cli, workdir, *pair("ImageData", "a.images", "a.images"))) == 1
    assert warnings_of(nettrain_cli, workdir, *pair("ImageData", "a.images", "b.images")) == []
    assert len(warnings_of(nettrain_cli, workdir, source("base"))) == 1


def test_lists_that_name_the_same_files(nettrain_cli, workdir):
    """Under other names of the list, from other folders, and in part."""
    from PIL import Image

    (workdir / "sub" / "deep").mkdir(parents=True)
    for k in range(6):
        Image.new("RGB", (2, 2), (k, k, k)).save(workdir / f"sub/{k}.png")
    lists = {
        "train": "0.png 0\n1.png 1\n./2.png 1\n",
        "other": "3.png 0\n4.png 1\n5.png 1\n",
        "some": "2.png 0\n3.png 1\n.//0.png 1\n4.png 0\n",
        "one": "2.png 0\n3.png 1\n",
    }
    for name, text in lists.items():
        (workdir / f"sub/{name}").write_text(text)
    (workdir / "rooted").write_text(lists["some"])
    (workdir / "sub/deep/list").write_text("../1.png 1\n../4.png 0\n")
    (workdir / "absolute").write_text(f"{workdir}/sub/2.png 0\n{workdir}/sub/5.png 0\n")

    def found(test, **keys):
        pair = source("sub/train", "train", type="ImageData"), source(test, "test", type="ImageData") | keys
        return warnings_of(nettrain_cli, workdir, *pair)

    says = "the scores say less about new data; leave them out of one of the lists"
    assert found("sub/other") == []
    assert found("sub/some") == [f"2 of the 4 files in sub/some are in sub/train too: {says}"]
    assert found("sub/one") == [f"1 of the 2 files in sub/one is in sub/train too: {says}"]
    assert found("rooted", root_folder="sub") == [f"2 of the 4 files in rooted are in sub/train too: {says}"]
    assert found("sub/deep/list") == [f"1 of the 2 files in sub/deep/list is in sub/train too: {says}"]
    assert found("absolute") == [f"1 of the 2 files in absolute is in sub/train too: {says}"]


def test_window_files_of_the_same_images(workdir):
    from PIL import Image

    for k in range(3):
        Image.new("RGB", (8, 6), (k, k, k)).save(f"{k}.png")

    def net(name, *images):
        parts = [f"# {i}\n{i}.png\n3\n6\n8\n2\n1 0.9 1 1 4 4\n1 0.1 0 0 7 5\n" for i in images]
        (workdir / name).write_text("".join(parts))
        return nettrain.Net({"layers": [source(name, type="WindowData", transform={"crop_size": 2})]})

    (found,) = same_examples(net("train", 0, 1), [net("test", 1, 2)])
    assert found.message.startswith("1 of the 2 files in test is in train too: ")
    assert list(same_examples(net("train", 0, 1), [net("test", 2)])) == []


def test_the_same_contents_under_another_name(nettrain_cli, workdir):
    import h5py
    from PIL import Image

    rows = "1,2,0\n2,1,1\n3,1,2\n"
    for name, text in {"a.csv": rows, "b.csv": rows + "\n", "c.csv": rows[:-2] + "1\n"}.items():
        (workdir / name).write_text(text)
    says = "b.csv holds the same examples as a.csv: the scores say nothing about new data; give source: {train: a.csv, "
    (found,) = warnings_of(nettrain_cli, workdir, source({"train": "a.csv", "test": "b.csv"}))
    assert found.startswith(says)
    assert warnings_of(nettrain_cli, workdir, source({"train": "a.csv", "test": "c.csv"})) == []
    for name in "ab":
        with h5py.File(f"{name}.h5", "w") as file:
            file["x"], file["label"] = np.arange(6.0).reshape(3, 2), np.ones(3)
        Image.new("RGB", (2, 2), (1, 2, 3)).save(f"{name}.png")
        (workdir / f"{name}.h5list").write_text(f"{name}.h5")
        (workdir / f"{name}.images").write_text(f"{name}.png 0\n")
    for kind, suffix in (("HDF5Data", "h5list"), ("ImageData", "images")):
        pair = source(f"a.{suffix}", "train", type=kind), source(f"b.{suffix}", "test", type=kind)
        (found,) = warnings_of(nettrain_cli, workdir, *pair)
        assert " holds the same examples as a." in found


def test_an_image_that_is_bad_is_named_by_its_number(workdir):
    """Also in layers that keep other things by names like these."""
    from PIL import Image

    for k in range(3):
        Image.new("RGB", (2, 2), (k, k, k)).save(f"{k}.png")
    (workdir / "list.txt").write_text("0.png 0\n1.png 1\n2.png 1\n")
    images = {"name": "d", "type": "ImageData", "top": ["x", "label"], "source": "list.txt", "batch_size": 3}
    layers = [images | {"transform": {"scale": 3e38}}, {"name": "q", "type": "Silence", "bottom": "label"}]
    found = run_test(nettrain.Net({"layers": layers}, "TEST"))
    assert "the first in example 2 of list.txt, counted from 0" in found.trouble.sentence
