"""Test nets and what is looked at: several nets with a state of their own, total loss, the monitor, what is frozen."""

import math
from pathlib import Path

import nettrain
import numpy as np
import pytest
from nettrain import NettrainError, SpecError
from nettrain.solver import evaluate
from nettrain.solver.listener import Functions
from nettrain.solver.monitor import Monitor


@pytest.fixture(autouse=True)
def _data(workdir):
    rng = np.random.default_rng(0)
    for name, count in (("easy", 7), ("hard", 5)):
        data = rng.standard_normal((count, 4))
        np.savez(f"{name}.npz", data=data, label=rng.integers(0, 3, count))


def data(name, include, batch_size=3):
    top = ["data", "label"]
    source = {"train": f"{name}.npz", "test": f"{name}.npz"}
    return {"name": name, "type": "Data", "top": top, "source": source, "batch_size": batch_size, "include": include}


def spec(**solver):
    layers = [
        data("easy", [{"phase": "TRAIN"}, {"stage": "easy"}]),
        data("hard", [{"phase": "TEST", "stage": "hard"}], 2),
        {"name": "ip1", "type": "InnerProduct", "bottom": "data", "num_output": 6},
        {"name": "tanh", "type": "TanH"},
        {"name": "ip2", "type": "InnerProduct", "num_output": 3},
        {"name": "accuracy", "type": "Accuracy", "bottom": ["ip2", "label"], "include": "test"},
        {"name": "loss", "type": "SoftmaxWithLoss", "bottom": ["ip2", "label"]},
        {"name": "small", "type": "Reduction", "bottom": "ip1", "operation": "SUMSQ", "loss_weight": 0.01},
    ]
    keys = {"base_lr": 0.1, "max_iter": 6, "test_interval": 2, "test_state": [{"stage": "easy"}, {"stage": "hard"}]}
    return {"name": "two", "solver": keys | solver, "layers": layers}


def solver(**keys):
    return nettrain.get_solver(spec(**keys), out="run")


def by_hand(one, name):
    """Accuracy and losses of all examples of a set, in plain numpy."""
    with np.load(f"{name}.npz") as arrays:
        x, label = arrays["data"], arrays["label"].astype(int)
    (W1, b1), (W2, b2) = ([blob.data for blob in one.net.params[layer]] for layer in ("ip1", "ip2"))
    hidden = x @ W1.T + b1
    z = np.tanh(hidden) @ W2.T + b2
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), label]
    return (z.argmax(axis=1) == label).mean(), losses.mean(), hidden


def test_each_test_net_has_its_own_data_and_scores():
    one = solver()
    one.step(3)
    scores = one.test()
    names = ("accuracy", "loss", "small", "total_loss")
    assert list(scores) == [f"{net}/{name}" for net in ("easy", "hard") for name in names]
    for name in ("easy", "hard"):
        accuracy, loss, _ = by_hand(one, name)
        assert scores[f"{name}/accuracy"] == pytest.approx(accuracy)
        assert scores[f"{name}/loss"] == pytest.approx(loss, rel=1e-5)
    assert [net.state.stages for net in one.test_nets] == [("easy",), ("hard",)]


def test_nets_that_are_called_alike_are_numbered():
    one = solver(test_state=["easy", "easy", "hard"])
    assert [test.prefix for test in one.tests] == ["0/", "1/", "hard/"]


def test_batches_for_each_test_net():
    one = solver(test_iter=[2, 1])
    one.test()
    assert [
        net.layers[name].order.state()["position"] for name, net in zip(("easy", "hard"), one.test_nets, strict=True)
    ] == [6, 2 % 5]
    with pytest.raises(SpecError, match="test_iter must be one number, or one for each of 2 test nets, got 3"):
        solver(test_iter=[1, 2, 3])


def test_the_state_of_the_training_net():
    one = spec(train_state={"stage": "more", "level": 2})
    one["layers"].append(
        {
            "name": "extra",
            "type": "EuclideanLoss",
            "bottom": ["ip2", "ip2"],
            "include": {"stage": "more", "min_level": 2},
        }
    )
    made = nettrain.get_solver(one)
    assert "extra" in made.net.layers
    assert all("extra" not in net.layers for net in made.test_nets)


def test_total_loss_is_the_weighted_sum_over_all_examples():
    one = solver(test_state=[{"stage": "easy"}])
    one.step(1)
    scores = one.test()
    _, loss, _ = by_hand(one, "easy")
    with np.load("easy.npz") as arrays:
        sizes = [3, 3, 1]
        hidden = np.split(by_hand(one, "easy")[2], np.cumsum(sizes)[:-1])
        assert len(arrays["data"]) == sum(sizes)
    small = sum(size * (batch**2).sum() for size, batch in zip(sizes, hidden, strict=True)) / 7
    assert scores["total_loss"] == pytest.approx(loss + 0.01 * small, rel=1e-5)


@pytest.mark.parametrize(
    ("monitor", "name", "higher"),
    [
        (None, "easy/accuracy", True),
        ("hard/accuracy", "hard/accuracy", True),
        ("hard/loss", "hard/loss", False),
        ("hard/total_loss", "hard/total_loss", False),
        ({"metric": "easy/accuracy", "direction": "lower"}, "easy/accuracy", False),
        ({"metric": "easy/small", "direction": "higher"}, "easy/small", True),
    ],
)
def test_what_is_monitored(monitor, name, higher):
    keys = {"monitor": monitor} if monitor else {}
    one = solver(test_compute_loss=True, **keys)
    assert (one.monitor.name, one.monitor.higher) == (name, higher)
    one.solve()
    assert one.best is not None
    assert Path("run/best.npz").exists()


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"monitor": "accuracy"}, r"the tests have no score `accuracy`; did you mean .*accuracy`\?"),
        ({"monitor": "total_loss"}, "no score `total_loss`"),
        ({"monitor": {"metric": "easy/loss", "direction": "up"}}, "must be one of higher, lower"),
        ({"monitor": {"direction": "higher"}}, "needs `metric`"),
        ({"monitor": 3}, "must be a mapping with keys metric, direction"),
        ({"patience": 2, "test_interval": 0}, "patience counts tests during training"),
        ({"lr_policy": "plateau", "gamma": 0.1, "test_interval": 0}, "plateau looks at the tests during training"),
        ({"lr_policy": "plateau"}, "solver needs `gamma` for lr_policy plateau"),
        ({"freeze": "ip3"}, r"no layer with parameters is called `ip3`; did you mean `ip[12]`\?"),
        ({"freeze": "ip*"}, "nothing to learn: .* that is not in solver.freeze"),
    ],
)
def test_mistakes(keys, message):
    with pytest.raises(SpecError, match=message):
        solver(**keys)


def test_an_output_that_is_neither_needs_a_direction():
    one = spec(monitor="hard/ip9")
    one["layers"].append({"name": "ip9", "type": "Reduction", "bottom": "ip2", "include": "test"})
    with pytest.raises(SpecError, match="`hard/ip9` is neither a loss nor a score; give a direction too"):
        nettrain.get_solver(one)


# Scores, one after another: which are the best, and when patience ends
@pytest.mark.parametrize(
    ("higher", "min_delta", "patience", "scores", "better", "ends"),
    [
        (True, 0, 2, [1, 2, 2, 3, 3, 3], "110100", 5),
        (False, 0, 2, [3, 2, 2, 1, 1, 1], "110100", 5),
        (True, 0.5, 2, [1, 1.4, 1.6, 2.0, 2.05, 3], "101001", 4),
        (True, 0, 3, [math.nan, math.inf, math.nan], "000", 2),
        (True, 0, 0, [1, 1, 1, 1], "1000", None),
    ],
)
def test_patience(higher, min_delta, patience, scores, better, ends):
    one, seen, end = Monitor("score", higher, min_delta, patience), "", None
    for i, score in enumerate(scores):
        seen += str(int(one.see(score, i)))
        if one.exhausted and end is None:
            end = i
        again = Monitor("score", higher, min_delta, patience)
        again.set_state(one.state())
        one = again
    assert (seen, end) == (better, ends)


def test_the_best_of_another_score_is_forgotten():
    one = Monitor("accuracy", higher=True, patience=3)
    one.see(0.9, 4)
    one.see(0.9, 5)
    for other, best in (
        (Monitor("accuracy", higher=True), (0.9, 4)),
        (Monitor("loss", higher=False), None),
        (Monitor("accuracy", higher=False), None),
    ):
        other.set_state(one.state())
        assert (other.best, other.waited) == (best, 1 if best else 0)


def test_training_that_gets_no_better_ends_and_says_why():
    one = solver(base_lr=0.0, max_iter=100, patience=2, test_interval=3)
    one.solve()
    assert one.iter == 6
    score = one.best[0]
    assert one.ended == f"no better easy/accuracy than {score:.2%} (iteration 0) in 2 tests (solver.patience)"


def test_the_rate_drops_on_a_plateau_of_the_tests():
    rows = []
    keys = {"base_lr": 0.0, "lr_policy": "plateau", "gamma": 0.5, "plateau_patience": 1, "warmup_iter": 1}
    one = solver(**keys | {"base_lr": 1e-30, "display": 1, "max_iter": 7})
    one.add(Functions(on_row=rows.append))
    one.solve()
    assert [row.lr for row in rows] == pytest.approx([0, 1e-30, 5e-31, 5e-31, 2.5e-31, 2.5e-31, 1.25e-31, 6.25e-32])


# Fine-tuning


@pytest.mark.parametrize(("freeze", "fixed"), [("ip1", {"ip1"}), (["ip2"], {"ip2"}), ("*1", {"ip1"}), ([], set())])
def test_frozen_layers_stay(freeze, fixed):
    one = solver(freeze=freeze, weight_decay=0.1, momentum=0.9)
    before = {name: [blob.data.copy() for blob in blobs] for name, blobs in one.net.params.items()}
    one.step(3)
    for name, blobs in one.net.params.items():
        same = [np.array_equal(blob.data, values) for blob, values in zip(blobs, before[name], strict=True)]
        assert same == [name in fixed] * 2
    frozen = spec()
    for layer in frozen["layers"]:
        if layer["name"] in fixed:
            layer["param"] = [{"lr_mult": 0}, {"lr_mult": 0}]
    frozen["solver"] |= {"weight_decay": 0.1, "momentum": 0.9}
    other = nettrain.get_solver(frozen)
    other.step(3)
    np.testing.assert_array_equal(one.net.flat.data, other.net.flat.data)


def weights(**changes):
    """A file of a net like this one, with some layers changed."""
    one = spec()
    one["layers"] = [
        layer | changes.get(layer["name"], {}) for layer in one["layers"] if changes.get(layer["name"]) != 0
    ]
    nettrain.Net(one, "TRAIN", seed=5).save("w.npz")
    return "w.npz"


def test_weights_that_fit_are_taken():
    one = solver(weights=weights())
    with np.load("w.npz") as arrays:
        np.testing.assert_array_equal(one.net.params["ip2"][0].data, arrays["param/ip2/0"])
    assert one.load_reports[0].rows() == [["ip1", "loaded"], ["ip2", "loaded"]]


def test_other_shapes_are_an_error_unless_allowed():
    path = weights(ip1={"num_output": 5})
    message = r"`ip1` has blobs of 5 x 4, 5 in the file and 6 x 4, 6 in the net(?s:.*)`ip2` has blobs of 3 x 5, 3"
    for strict in ("shapes", "all"):
        with pytest.raises(SpecError, match=message):
            solver(weights=path, weights_strict=strict)
    with pytest.raises(NettrainError, match="no layer of the file has the name of one in the net"):
        solver(weights=path, weights_strict="none")
    path = weights(ip1={"bias_term": False})
    fresh = solver().net.params["ip1"][0].data.copy()
    one = solver(weights=path, weights_strict="none")
    assert one.load_reports[0].rows() == [
        ["ip2", "loaded"],
        ["ip1", "wrong shape, left as initialised: blobs of 6 x 4 in the file and 6 x 4, 6 in the net"],
    ]
    np.testing.assert_array_equal(one.net.params["ip1"][0].data, fresh)


def test_with_all_nothing_may_be_missing_or_left_over():
    renamed = weights(ip1={"name": "other", "top": "ip1"})
    one = solver(weights=renamed)
    assert one.load_reports[0].rows() == [
        ["ip2", "loaded"],
        ["ip1", "missing from the file, left as initialised"],
        ["other", "skipped: not in the net"],
    ]
    with pytest.raises(
        SpecError, match=r"`ip1` of the net is not in the file(?s:.*)`other` of the file is not in the net"
    ):
        solver(weights=renamed, weights_strict="all")
    assert solver(weights=weights(), weights_strict="all").load_reports[0].loaded == ["ip1", "ip2"]


@pytest.mark.parametrize(
    ("weight", "names"),
    [(0.01, ["total_loss", "accuracy", "loss", "small"]), (0, ["accuracy", "loss", "small", "total_loss"])],
)
def test_what_training_makes_small_comes_before_other_losses(weight, names):
    """Their sum; where there is but one loss, that."""
    layers = [layer | ({"loss_weight": weight} if layer["name"] == "small" else {}) for layer in spec()["layers"]]
    net = nettrain.Net({"layers": layers}, "TEST", stages=["easy"])
    assert list(evaluate.TestNet("", net, None, compute_loss=True).scores()) == names


def test_one_number_of_batches_is_that_of_every_test():
    one = solver(test_iter=[2])
    assert list(one.p.test_iter) == [2]
    assert len(one.test_nets) == 2
    one.test()
