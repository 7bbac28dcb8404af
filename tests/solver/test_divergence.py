"""A run whose numbers leave the numbers stops, says where, and keeps the best weights."""

import os
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers.solvers import least_squares, rows_of
from nettrain import NettrainError
from nettrain.solver.listener import Functions

pytestmark = pytest.mark.usefixtures("workdir")


def test_divergence_stops_the_run_and_names_the_layer():
    text = """\
name: wild
solver:
  base_lr: 1.0e+30
  max_iter: 100
  display: 1
layers:
  - {name: x, type: DummyData, shape: [4, 3], data_filler: gaussian}
  - {name: y, type: DummyData, shape: [4, 2], data_filler: 1}
  - {name: first, type: InnerProduct, bottom: x, num_output: 5}
  - {name: second, type: InnerProduct, num_output: 2}
  - {name: loss, type: EuclideanLoss, bottom: [second, y]}
"""
    solver = nettrain.get_solver(text, out="run")
    rows = rows_of(solver)
    with pytest.raises(NettrainError) as error:
        solver.solve()
    message = str(error.value)
    assert error.value.exit_code == 3
    assert solver.iter == 1  # 1e30 · 1e30 does not fit into 32 bits
    assert message.startswith("training diverged at iteration 1: the loss is ")
    assert "forward, layer `second` (spec:10:12): " in message
    assert " among 8 of its outputs" in message
    assert "the learning rate is too high: solver.base_lr = 1e+30 (spec:3:12)" in message
    assert "--set solver.base_lr=1e+28" in message
    assert "no snapshot was made before" in message
    assert [row.iter for row in rows] == [0]
    assert sorted(os.listdir("run")) == ["metrics.jsonl", "run.json", "spec.yaml"]


@pytest.mark.parametrize("tests", [False, True])
@pytest.mark.parametrize(
    ("filler", "words"),
    [
        (1e30, "the parameters of InnerProduct `first` are too large from the start: largest |W| 1e+30"),
        (1.0, "EuclideanLoss `loss` has no finite result for what it reads"),
    ],
)
def test_what_diverges_before_the_first_update_is_not_due_to_the_rate(filler, words, tests):
    text = f"""\
solver: {{base_lr: 0.1, max_iter: 100, test_iter: 1}}
layers:
  - {{name: x, type: DummyData, shape: [4, 3], data_filler: 1.0e+20}}
  - {{name: y, type: DummyData, shape: [4, 2], data_filler: -1.0e+25}}
  - {{name: first, type: InnerProduct, bottom: x, num_output: 2, weight_filler: {filler}}}
  - {{name: loss, type: EuclideanLoss, bottom: [first, y]}}
"""
    settings = [f"solver.test_interval={int(tests)}"]
    solver, said = nettrain.get_solver(text, out="run", settings=settings), []
    solver.add(Functions(on_warning=said.append))
    with pytest.raises(NettrainError, match=r"^training diverged at iteration 0: the loss is ") as error:
        solver.solve()
    labels = [line.split("  ")[1] for line in str(error.value).splitlines()[1:]]
    assert labels == ["first bad value", "likely cause", "try", "kept"]
    assert words in str(error.value)
    assert str(error.value).endswith("kept             nothing: no update was made")
    assert not [text for text in said if "no finite number" in text]  # the error says the same


def test_the_best_weights_are_kept_when_training_diverges():
    solver = nettrain.get_solver("configs/mlp.yaml", settings=["solver.base_lr=1e30"], out="run")
    with pytest.raises(NettrainError, match=r"(?s)training diverged at iteration 1: .*kept +run/best\.npz$"):
        solver.solve()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_data_is_told_from_a_bad_rate(bad):
    solver = least_squares(snapshot=1, snapshot_after_train=False, batch_size=1)
    solver.step(2)
    solver.net.layers["d"].set.data[2, 1] = bad
    with pytest.raises(NettrainError) as error:
        solver.step(1)
    message = str(error.value)
    assert error.value.exit_code == 3
    words = "NaN" if bad != bad else "infinite"
    assert message.startswith(f"training diverged at iteration 2: the loss is {words}\n")
    assert f"layer `d` (spec.layers[0].name): 1 {'NaN' if bad != bad else 'inf'} among 3 of its outputs" in message
    assert "the data itself" in message
    assert "look for NaN or infinity in the data file" in message
    assert "run/iter_2.npz" in message
    assert solver.iter == 2
    assert np.isfinite(solver.net.flat.data).all()


def test_a_parameter_that_is_not_a_number_is_named():
    solver = least_squares()
    solver.net.params["ip"][1].data[1] = np.nan
    with pytest.raises(NettrainError, match=r"parameter 1 of layer `ip` \(.*\): 1 NaN among 2"):
        solver.step(1)


@pytest.mark.parametrize("keys", [{"snapshot": 1, "max_iter": 5}, {"max_iter": 1}], ids=["when due", "at the end"])
def test_weights_that_are_not_numbers_are_never_a_snapshot(keys):
    """The loss of an iteration is that before its update, so that the last update is not seen in it."""
    solver = least_squares(base_lr=1e39, test_interval=0, **keys)
    with pytest.raises(NettrainError) as error:
        solver.solve()
    assert error.value.exit_code == 3
    assert "layer `ip`" in str(error.value)
    assert "no snapshot was made before" in str(error.value)
    assert list(Path("run").glob("*.npz")) == []
