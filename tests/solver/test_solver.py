"""How long a solver trains, what is wrong with its spec, which nets and weights it begins with."""

import nettrain
import numpy as np
import pytest
from helpers import layer
from helpers.solvers import classifier, least_squares, no_test, rows_of
from nettrain import NettrainError, SpecError

pytestmark = pytest.mark.usefixtures("workdir")


# How long


@pytest.mark.parametrize(
    ("epochs", "iter_size", "iterations"),
    [(1, 1, 4), (2, 1, 8), (1.5, 1, 6), (0.1, 1, 1), (1, 3, 2), (3, 4, 3), (0, 1, 0)],
)
def test_max_epoch(epochs, iter_size, iterations):
    spec = classifier()[0].spec.to_python()
    spec["solver"] = {"base_lr": 0.1, "max_epoch": epochs, "iter_size": iter_size}
    solver = nettrain.get_solver(spec, out="run")
    assert solver.max_iter == iterations
    rows = rows_of(solver)
    solver.solve()
    assert solver.iter == iterations
    assert rows[-1].epoch == pytest.approx(iterations * iter_size * 5 / 20)


def test_max_epoch_needs_data_with_an_end():
    spec = no_test()
    spec["solver"] = {"base_lr": 0.1, "max_epoch": 3}
    with pytest.raises(SpecError, match=r"solver.max_epoch needs a Data layer whose data set ends; give max_iter"):
        nettrain.get_solver(spec)


def test_what_is_left_out_is_caffes_default():
    parameters = nettrain.get_solver({**no_test(), "solver": {"base_lr": 0.1, "max_iter": 5}}).p
    expected = {
        "weight_decay": 0,
        "regularization_type": "L2",
        "clip_gradients": -1,
        "iter_size": 1,
        "display": 0,
        "average_loss": 1,
        "test_interval": 0,
        "test_iter": (),
        "test_initialization": True,
        "snapshot": 0,
        "snapshot_prefix": None,
        "snapshot_after_train": True,
        "weights": (),
        "debug_info": False,
    }
    assert {key: getattr(parameters, key) for key in expected} == expected
    assert (parameters.type.name, parameters.type.p.momentum) == ("SGD", 0)
    assert parameters.lr_policy.name == "fixed"  # Caffe has none


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"base_lr": 0.1}, "solver.max_iter is missing: give it, or max_epoch"),
        ({"base_lr": 0.1, "max_iter": 5, "max_epoch": 5}, "solver.max_epoch cannot be combined with `max_iter`"),
        ({"max_iter": 5}, "solver needs `base_lr`"),
        ({"base_lr": 0.1, "max_iter": 5, "clip_gradients": 0}, "clip_gradients 0 would set every gradient to zero"),
        ({"base_lr": 0.1, "max_iter": 5, "momentum": 1}, "momentum must be a number >= 0 and < 1, got 1"),
        ({"base_lr": 0.1, "max_iter": 5, "lr": 1}, "solver has no key `lr`; did you mean `base_lr`?"),
        ({"base_lr": 0.1, "max_iter": 5, "solver_mode": "GPU"}, "nettrain always runs on the CPU; leave it out"),
        ({"base_lr": 0.1, "max_iter": 5, "regularization_type": "l2"}, "did you mean `L2`?"),
    ],
)
def test_mistakes_in_solver(keys, message):
    with pytest.raises(SpecError) as error:
        nettrain.get_solver(no_test() | {"solver": keys})
    assert [message in str(problem) for problem in error.value.problems] == [True]


def test_all_mistakes_of_nets_and_solver_at_once():
    layers = [
        *no_test()["layers"],
        layer("train_only", "ReLU", "nowhere", include="train"),
        layer("test_only", "Sigmoid", "nowhere", include="test"),
    ]
    with pytest.raises(SpecError) as error:
        nettrain.get_solver({"solver": {"base_lr": -1, "max_iter": 5, "gama": 1}, "layers": layers})
    found = "\n".join(map(str, error.value.problems))
    for part in ("base_lr must be", "no key `gama`", "layer `train_only` reads", "layer `test_only` reads"):
        assert found.count(part) == 1
    assert len(error.value.problems) == 4


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (no_test()["layers"][:3], "the TRAIN net has no loss; add a layer such as SoftmaxWithLoss"),
        (
            [
                layer("x", "DummyData", shape=[2, 3]),
                layer("aside", "InnerProduct", "x", num_output=1),
                layer("r", "ReLU", "x", loss_weight=1),
            ],
            "the TRAIN net has nothing to learn: no layer has parameters with lr_mult > 0 on the way to a loss",
        ),
    ],
)
def test_nothing_to_train(layers, message):
    with pytest.raises(SpecError) as error:
        nettrain.get_solver({"solver": {"base_lr": 0.1, "max_iter": 1}, "layers": layers})
    assert [problem.message for problem in error.value.problems] == [message]


def test_nothing_to_train_is_said_beside_other_mistakes():
    with pytest.raises(SpecError) as error:
        nettrain.get_solver(
            {"solver": {"base_lr": 0.1, "max_iter": 1, "momentum": 2}, "layers": no_test()["layers"][:3]}
        )
    assert [problem.message.split(" must")[0].split(";")[0] for problem in error.value.problems] == [
        "the TRAIN net has no loss",
        "solver.momentum",
    ]


def test_a_spec_without_a_solver():
    with pytest.raises(SpecError, match="to train, a spec needs `solver:` with at least base_lr and max_iter"):
        nettrain.get_solver({"layers": no_test()["layers"]})


# Weights from files


def test_weights_to_start_from():
    first = least_squares(max_iter=3)
    first.solve()
    first.net.save("w.npz")
    solver = least_squares(weights="w.npz", max_iter=3)
    report = solver.load_reports[0]
    assert (report.loaded, report.missing, report.ignored) == (["ip"], [], [])
    assert solver.iter == 0
    other = nettrain.get_solver(first.spec, weights=["w.npz", "run/iter_3.npz"])  # a snapshot will do as well
    for blob, values in zip(other.net.params["ip"], first.net.params["ip"], strict=True):
        np.testing.assert_array_equal(blob.data, values.data)
    np.testing.assert_array_equal(other.test_nets[0].params["ip"][0].data, first.net.params["ip"][0].data)
    assert len(other.load_reports) == 2


def test_weights_that_are_not_there():
    with pytest.raises(NettrainError, match=r"weights file not found: w\.npz"):
        least_squares(weights="w.npz")


# The nets


def test_the_test_net_shares_the_weights():
    solver, _ = classifier()
    (test_net,) = solver.test_nets
    assert (solver.net.phase, test_net.phase) == ("TRAIN", "TEST")
    assert np.shares_memory(solver.net.params["ip"][0].data, test_net.params["ip"][0].data)
    assert list(test_net.layers) == ["d", "ip", "accuracy", "loss"]
    assert list(solver.net.layers) == ["d", "ip", "loss"]


def test_settings_level_and_stages():
    extra = [
        layer("deep", "ReLU", "ip", include={"min_level": 2}),
        layer("staged", "ReLU", "ip", include={"stage": "extra"}),
        layer("flat", "ReLU", "ip", include={"max_level": 0}),
    ]
    plain, _ = classifier(extra=extra)
    assert {"deep", "staged", "flat"} & set(plain.net.layers) == {"flat"}  # level 0, no stages
    spec = plain.spec.to_python()
    solver = nettrain.get_solver(spec, settings=["solver.base_lr=0.5", "ip.num_output=4"], level=2, stages=["extra"])
    assert solver.p.base_lr == 0.5
    for net in (solver.net, *solver.test_nets):
        assert {"deep", "staged"} <= set(net.layers)
        assert net.params["ip"][0].shape == (4, 4)


def test_training_learns():
    """The shipped example gets most of the digits right."""
    solver = nettrain.get_solver("configs/mlp.yaml", settings=["solver.max_iter=200"])
    solver.solve()
    assert solver.test()["accuracy"] > 0.9
