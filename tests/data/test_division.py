"""Dividing a set: sizes, classes, groups and folds as scikit-learn counts them; nothing in both parts."""

import math

import nettrain
import numpy as np
import pytest
from nettrain.data.dataset import DataSet
from nettrain.data.division import Split, classes_of, counts_of, divide, part_of
from nettrain.spec.errors import NettrainError

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


@pytest.mark.parametrize("share", [0.2, 0.25, 0.37, 0.011])
@pytest.mark.parametrize("stratify", [True, False])
def test_sizes_and_classes(share, stratify):
    train, test = divide(100, Split(test=share, stratify=stratify), LABELS)
    assert len(test) == math.ceil(100 * share)  # scikit-learn's train_test_split
    assert sorted([*train, *test]) == list(range(100))
    assert list(train) == sorted(train)
    if stratify:
        assert np.abs(np.bincount(LABELS[test], minlength=3) - np.array([50, 30, 20]) * len(test) / 100).max() < 1


def test_it_follows_from_the_seed_alone():
    first, again, other = (divide(100, Split(seed=seed), LABELS)[1] for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_groups_stay_together():
    groups = np.random.default_rng(0).integers(0, 20, 200)
    train, test = divide(200, Split(test=0.3, group="g"), None, groups)
    assert not set(groups[train]) & set(groups[test])
    assert len(set(groups[test])) == math.ceil(0.3 * len(set(groups)))  # GroupShuffleSplit


@pytest.mark.parametrize("kind", ["plain", "classes", "groups"])
def test_folds_are_a_partition_of_equal_parts(kind):
    groups = np.arange(103) // 4 if kind == "groups" else None
    labels = np.arange(103) % 3 if kind == "classes" else None
    folds = [divide(103, Split(folds=5, fold=k), labels, groups)[1] for k in range(1, 6)]
    assert sorted(np.concatenate(folds)) == list(range(103))
    assert max(map(len, folds)) - min(map(len, folds)) <= (4 if kind == "groups" else 1)
    if labels is not None:
        counts = np.array([np.bincount(labels[fold], minlength=3) for fold in folds])
        assert (counts.max(axis=0) - counts.min(axis=0)).max() <= 1  # StratifiedKFold
    if groups is not None:
        assert len({group for fold in folds for group in set(groups[fold])}) == sum(len(set(groups[f])) for f in folds)


def test_what_are_classes():
    assert classes_of(LABELS) is not None
    assert classes_of(LABELS.astype(float)[:, None]) is not None
    for labels in (np.linspace(0, 1, 9), np.arange(9), np.array([0, 0, np.nan]), np.zeros((4, 2)), None):
        assert classes_of(labels) is None


def test_how_many_of_each_class():
    assert counts_of(np.array([2.0, 0, 2])) == {"0": 1, "2": 2}
    assert counts_of(np.array([[2], [0], [7]], np.uint8), ("a", "b", "c")) == {"a": 1, "b": 0, "c": 1, "7": 1}
    assert counts_of(np.array([True, False, True])) == {"0": 1, "1": 2}
    for labels in (np.array([0.5, 1]), np.array([0, np.inf]), np.array([0, np.nan]), np.zeros((2, 2)), None):
        assert counts_of(labels) == {}


def test_a_part_knows_its_rows():
    others = {"mask": np.arange(20).reshape(10, 2)}
    whole = DataSet(np.arange(10.0)[:, None], np.arange(10) % 2, "x.csv", others=others)
    part = part_of(whole, Split(test=0.3), "test")
    assert len(part) == 3
    assert np.array_equal(part.data[:, 0], part.rows)
    assert np.array_equal(part.others["mask"], others["mask"][part.rows])
    assert part.name_of(1) == f"{part.rows[1]}"
    assert part_of(whole, Split(test=0), "test") is whole


def test_what_cannot_be_divided_is_said():
    whole = DataSet(np.zeros((6, 1)), None, "x.npz", others={"g": np.ones(6)})
    with pytest.raises(NettrainError, match=r"6 examples in 1 group .by `g`. cannot be divided"):
        part_of(whole, Split(group="g"), "train")
    several = DataSet(np.zeros((6, 1)), None, "x.npz", others={"g": np.arange(12).reshape(6, 2)})
    with pytest.raises(NettrainError, match="`g` has 2 values for each example; to group by it must have one"):
        part_of(several, Split(group="g"), "train")
    with pytest.raises(NettrainError, match=r"x.npz has no column or array `p` to group by; it has g"):
        part_of(whole, Split(group="p"), "train")


TABLE = "a,b,label\n" + "".join(f"{i},{i * 7 % 11},{i % 2}\n" for i in range(40))
SPEC = """
name: one
solver: {{base_lr: 0.1, max_iter: 4{more}}}
layers:
  - {{name: d, type: Data, source: one.csv, batch_size: 8, top: [data, label]{split}}}
  - {{name: ip, type: InnerProduct, bottom: data, num_output: 2}}
  - {{name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}}
"""


def test_one_file_is_never_both_silently(nettrain_cli, workdir):
    (workdir / "one.csv").write_text(TABLE)
    for split, said, sizes in (
        ("", True, "32 train / 8 test"),
        (", split: 0.25", False, "30 train / 10 test"),
        (", split: {folds: 5, fold: 5}", False, "32 train / 8 test"),
        (", split: 0", False, "40 train / 40 test"),
    ):
        (workdir / "s.yaml").write_text(SPEC.format(split=split, more=""))
        result = nettrain_cli("train", "s.yaml")
        assert sizes in result.stdout
        assert ("one.csv: a fifth is kept for tests (split: 0.2 is the default" in result.stderr) == said
        assert ("is both training and test set" in result.stderr) == (split == ", split: 0")


def test_training_and_tests_read_different_rows_and_name_them_as_the_file_does(workdir):
    import nettrain

    (workdir / "one.csv").write_text(TABLE)
    (workdir / "s.yaml").write_text(SPEC.format(split="", more=""))
    train, test = (nettrain.Net("s.yaml", phase).layers["d"] for phase in ("TRAIN", "TEST"))
    assert sorted([*train.set.data[:, 0], *test.set.data[:, 0]]) == list(range(40))
    assert np.bincount(test.set.labels.astype(int)).tolist() == [4, 4]
    test.indices = np.array([3])
    assert test.which_example(0) == f"example {int(test.set.data[3, 0])} of one.csv, counted from 0"


def test_a_set_with_a_part_for_tests_is_not_divided(nettrain_cli, workdir):
    (workdir / "s.yaml").write_text(SPEC.format(split=", split: 0.5", more="").replace("one.csv", "digits"))
    result = nettrain_cli("check", "s.yaml", exit_code=2)
    assert "digits has a part for tests already; leave out split" in result.stderr


def test_mixup_counts_classes_that_only_tests_have(workdir):
    (workdir / "t.csv").write_text("x,kind\n" + "".join(f"{i},{'ab'[i % 2] if i else 'c'}\n" for i in range(20)))
    keys = {"source": "t.csv", "batch_size": 4, "transform": {"mixup": 0.2}, "split": {"test": 0.5, "seed": 3}}
    net = nettrain.Net({"layers": [{"name": "d", "type": "Data", "top": ["data", "label"], **keys}]}, "TRAIN")
    assert 0 not in net.layers["d"].set.rows
    assert net.blobs["label"].shape == (4, 3)
