"""Ranks that would not train the same, or no longer do, say so: everything at once, with ranks and values."""

import nettrain
import numpy as np
import pytest
from helpers import layer
from helpers.teams import together
from nettrain.compute import openblas
from nettrain.ranks import alike
from nettrain.ranks.team import ALONE
from nettrain.solver.listener import Listener


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, count in (("a", 24), ("b", 23)):
        data, labels = rng.standard_normal((count, 4)).astype(np.float32), rng.integers(0, 3, count)
        np.savez(f"{name}.npz", train_data=data, train_label=labels, test_data=data, test_label=labels)


def solver(team, source="a.npz", outputs=5, **keys):
    layers = [
        layer("d", "Data", top=["data", "label"], source=source, batch_size=4),
        layer("h", "InnerProduct", "data", num_output=outputs, weight_filler="xavier"),
        layer("out", "InnerProduct", "h", num_output=3, weight_filler="xavier"),
        layer("loss", "SoftmaxWithLoss", ["out", "label"]),
    ]
    options = {name: keys.pop(name) for name in ("on_step", "on_warning", "weights") if name in keys}
    keys = {"base_lr": 0.1, "max_iter": 6, "display": 2, "random_seed": 3, "iter_size": 4} | keys
    return nettrain.get_solver({"name": "n", "solver": keys, "layers": layers}, out="run", team=team, **options)


def error_of(size, work):
    """The one error that all of a team raise."""

    def one(team):
        with pytest.raises(nettrain.NettrainError) as error:
            work(team)
        return str(error.value), error.value.exit_code

    said = set(together(size, one))
    assert len(said) == 1, said
    return said.pop()


def test_all_differences_are_said_at_once(tmp_path):
    other = {"source": "b.npz", "outputs": 6, "base_lr": 0.2, "random_seed": 4}

    def on(team):
        solver(team, **other if team.rank == 2 else {}).solve()

    text, code = error_of(4, on)
    assert code == 2
    lines = text.splitlines()
    assert lines[0] == "the 4 ranks would not train the same:"
    for line in (
        "spec solver.base_lr: 0.1 on ranks 0, 1 and 3, 0.2 on rank 2",
        "spec solver.random_seed: 3 on ranks 0, 1 and 3, 4 on rank 2",
        "spec layer.h.num_output: 5 on ranks 0, 1 and 3, 6 on rank 2",
        'spec layer.d.source: "a.npz" on ranks 0, 1 and 3, "b.npz" on rank 2',
        "data train d.examples: 24 on ranks 0, 1 and 3, 23 on rank 2",
    ):
        assert f"   {line}" in lines
    assert any(line.startswith("   weights h[0]: ") for line in lines)
    assert not any(line.startswith("   seed") for line in lines)  # all took that of rank 0
    assert not (tmp_path / "run").exists()


def test_each_rank_is_said_with_its_value_and_its_machine():
    facts = [{"version": {"numpy": "2.1"}}, {"version": {"numpy": "2.2"}}, {"version": {"numpy": "2.1", "onednn": "3"}}]
    assert list(alike.differing(facts, alike.names_of(["a", "a", "b"]))) == [
        '   version numpy: "2.1" on ranks 0 (a) and 2 (b), "2.2" on rank 1 (a)',
        '   version onednn: left out on ranks 0 (a) and 1 (a), "3" on rank 2 (b)',
    ]
    assert alike.ranks([str(i) for i in range(100)]) == "ranks 0, 1, 2, 3, 4 and 95 more"
    assert list(alike.differing(facts[:1] * 3, ["0", "1", "2"])) == []


def test_only_a_hundred_differences_are_not_a_wall_of_text():
    text, _ = error_of(2, lambda team: alike.compare(team, {str(i): team.rank for i in range(100)}, {}))
    assert "   19: 0 on rank 0, 1 on rank 1\n   and 80 more\n" in text


@pytest.mark.parametrize(
    ("kernels", "cure"),
    [
        (("SkylakeX", "Haswell"), "OPENBLAS_CORETYPE=Haswell"),
        (("Zen", "Sandybridge"), "OPENBLAS_CORETYPE=Sandybridge"),
        (("Zen", "Haswell"), "OPENBLAS_CORETYPE=Haswell"),
    ],
)
def test_other_kernels_are_a_warning_with_the_cure(kernels, cure):
    found = together(2, lambda team: alike.compare(team, {}, {"BLAS kernels": kernels[team.rank]}))
    assert found[0] == found[1]
    assert f'   BLAS kernels: "{kernels[0]}" on rank 0, "{kernels[1]}" on rank 1' in found[0][0].splitlines()
    assert cure in found[0][0]


def test_the_probe_knows_the_kernels(monkeypatch):
    net = solver(ALONE).net
    before = alike.kernels(net)
    assert before == alike.kernels(net)
    assert before["BLAS kernels"] == openblas.kernels()
    tanh = np.tanh
    monkeypatch.setattr(np, "tanh", lambda x: np.nextafter(tanh(x), np.float32(2)))
    after = alike.kernels(net)
    assert {key for key in before if before[key] != after[key]} == {"digest of a tanh"}


def test_code_is_compared(tmp_path, monkeypatch):
    (tmp_path / "room").mkdir()
    for name in ("__init__.py", "one.py", "room/__init__.py", "room/two.py"):
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(alike, "ROOT", tmp_path)
    digest = alike._digest_of_ours.__wrapped__
    seen = [digest()]
    (tmp_path / "room" / "two.py").write_text("2")
    seen.append(digest())
    (tmp_path / "one.py").rename(tmp_path / "three.py")
    seen.append(digest())
    assert len(set(seen)) == 3
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "t.py").write_text("no part of the package")
    assert digest() == seen[-1]


def test_code_of_ones_own_is_compared_too(tmp_path):
    layers = [layer("x", "Input", shape=[2, 3]), layer("m", "Python", "x", module="mine", layer="Mine")]
    seen = []
    for factor in (1, 2):
        (tmp_path / "mine.py").write_text(
            "class Mine:\n    def reshape(self, bottom, top):\n        top[0].reshape(*bottom[0].data.shape)\n\n"
            f"    def forward(self, bottom, top):\n        top[0].data[...] = {factor} * bottom[0].data\n"
        )
        seen.append(alike.code([nettrain.Net({"layers": layers}, allow_python=True)]))
    assert seen[0].keys() == seen[1].keys() == {"nettrain", "mine.py"}
    assert [key for key in seen[0] if seen[0][key] != seen[1][key]] == ["mine.py"]


@pytest.mark.parametrize(
    ("happens", "line"),
    [
        (lambda net: np.add(net.params["h"][0].data, 1e-3, out=net.params["h"][0].data), "   weights h[0]: "),
        (lambda net: net.skip(1), "   state train d.order"),
    ],
    ids=["weights", "place in the data"],
)
@pytest.mark.parametrize("keys", [{"display": 3}, {"display": 0, "snapshot": 3}], ids=["row", "snapshot"])
def test_a_rank_that_drifts_apart_is_noticed(tmp_path, happens, line, keys):
    def on(team):
        one = solver(team, **keys)
        one.add(Meddler(happens if team.rank == 1 else lambda net: None))
        one.solve()

    text, code = error_of(2, on)
    assert code == 1
    assert text.startswith("the ranks are no longer alike at iteration 3; at iteration 0 they were:\n" + line)
    assert not (tmp_path / "run" / "iter_3.npz").exists()


class Meddler(Listener):
    """Does something to a net after its third update."""

    def __init__(self, happens):
        self.happens = happens

    def updated(self, solver):
        if solver.iter == 3:
            self.happens(solver.net)


def test_a_resumed_run_is_compared_too(tmp_path):
    def on(team):
        one = solver(team, snapshot=2)
        one.solve()
        assert not one.together.is_due
        one.restore("run/iter_2.npz")
        one.max_iter = 8
        if team.rank == 0:
            one.updater.history[0][1] += 1
        one.solve()

    text, code = error_of(2, on)
    assert code == 2
    assert "   history: [" in text
    assert "weights" not in text


def test_alone_nothing_is_compared(monkeypatch):
    monkeypatch.setattr(alike, "compare", None)
    solver(ALONE).solve()
