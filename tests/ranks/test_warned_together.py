"""What several processes that train as one tell people is what one process tells: of all batches, not of their own."""

import nettrain
import numpy as np
import pytest
from helpers import layer
from helpers.teams import together
from nettrain.ranks.team import ALONE


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def data(**arrays):
    rng = np.random.default_rng(0)
    given = {
        "train_data": rng.standard_normal((32, 6)),
        "train_label": rng.integers(0, 3, 32),
        "test_data": rng.standard_normal((240, 6)),
        "test_label": rng.integers(0, 3, 240),
    }
    np.savez("d.npz", **given | arrays)


def trained(team, hidden, out="run", **keys):
    """The warnings of a run, and how it ended."""
    layers = [
        layer("d", "Data", top=["data", "label"], source="d.npz", batch_size={"train": 4, "test": 60}, shuffle=False),
        layer("h", "InnerProduct", "data", num_output=40, weight_filler={"type": "gaussian", "std": 5}, bias_filler=-2),
        layer("y", **({"type": hidden} if isinstance(hidden, str) else hidden), bottom="h"),
        layer("ip", "InnerProduct", "y", num_output=3, weight_filler="xavier"),
        layer("loss", "SoftmaxWithLoss", ["ip", "label"], ignore_label=-1),
    ]
    said = []
    keys = {"base_lr": 0.02, "max_iter": 4, "test_interval": 2, "iter_size": 4, "random_seed": 3} | keys
    one = nettrain.get_solver({"solver": keys, "layers": layers}, out=out, team=team, on_warning=said.append)
    try:
        one.solve()
    except nettrain.NettrainError as error:
        return said, error.exit_code, str(error)
    return said, 0, one.ended


def dead_in_one_batch():
    """Of the first test batch none reaches a ReLU, of the others all do."""
    examples = np.random.default_rng(1).standard_normal((240, 6)) * 3
    examples[:60] = 0
    return {"test_data": examples}


def labels_from_one():
    return {"test_label": np.arange(240) % 2 + 1, "train_label": np.arange(32) % 2 + 1}


@pytest.mark.parametrize(
    ("hidden", "arrays", "expected"),
    [
        ("Sigmoid", {}, "of the values of Sigmoid"),
        ("ReLU", dead_in_one_batch(), ""),
        ("TanH", labels_from_one(), "labels"),
    ],
    ids=["of the first batch", "in no other batch", "in all batches"],
)
def test_every_one_warns_as_a_process_alone(hidden, arrays, expected):
    data(**arrays)
    alone = trained(ALONE, hidden)
    assert any(expected in text for text in alone[0]) if expected else not alone[0]
    for ranks in (2, 4):
        assert together(ranks, lambda team: trained(team, hidden)) == [alone] * ranks


@pytest.mark.parametrize("ignored", [0, 4])
def test_a_last_batch_without_loss_explains_missing_gradients_to_all(ignored):
    labels = np.arange(32) % 3
    for update in (labels[:16], labels[16:]):
        update[16 - ignored :] = -1
    data(train_label=labels)
    alone = trained(ALONE, {"type": "Power", "scale": 0})
    assert len([text for text in alone[0] if "gets no gradient" in text]) == (0 if ignored else 3)
    assert together(4, lambda team: trained(team, {"type": "Power", "scale": 0})) == [alone] * 4


@pytest.mark.parametrize("overlaps", [False, True])
def test_divergence_has_the_same_message_on_all(overlaps):
    data()
    alone = trained(ALONE, "ReLU", base_lr=1e30, snapshot=2)
    assert alone[1] == 3
    assert "update/weight" in alone[2]
    for ranks in (2, 4):
        assert (
            together(ranks, lambda team: trained(team, "ReLU", base_lr=1e30, snapshot=2), overlaps) == [alone] * ranks
        )


@pytest.mark.parametrize("example", [1, 6, 13])
def test_a_bad_example_is_named_by_whoever_has_it(example):
    rng = np.random.default_rng(2)
    examples = rng.standard_normal((32, 6)).astype(np.float32)
    examples[example] = 3e38
    data(train_data=examples)
    alone = trained(ALONE, "ReLU", test_interval=0)
    assert alone[1] == 3
    assert "before it" not in alone[2]
    assert together(4, lambda team: trained(team, "ReLU", test_interval=0)) == [alone] * 4


def test_a_restored_solver_that_has_written_nothing_yet_says_what_is_kept():
    data()
    layers = [
        layer("d", "Data", top=["data", "label"], source="d.npz", batch_size={"train": 4, "test": 60}),
        layer("ip", "InnerProduct", "data", num_output=3, weight_filler="xavier"),
        layer("loss", "SoftmaxWithLoss", ["ip", "label"]),
    ]

    def diverged(team):
        spec = {"solver": {"base_lr": 3e38, "max_iter": 9, "test_interval": 9, "iter_size": 2}, "layers": layers}
        one = nettrain.get_solver(spec, team=team)
        one.restore("first/iter_2.npz")
        with pytest.raises(nettrain.NettrainError, match=r"kept +first/iter_2.npz"):
            one.step(4)

    solver = {"base_lr": 0.1, "max_iter": 2, "test_interval": 1, "iter_size": 2}
    nettrain.get_solver({"solver": solver, "layers": layers}, out="first").solve()
    diverged(ALONE)
    together(2, diverged)
