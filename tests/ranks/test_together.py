"""Several processes that train as one give to the bit what one gives: weights, history, scores, metrics, snapshots."""

import hashlib
import json
import shutil
import time
from pathlib import Path

import nettrain
import numpy as np
import pytest
from helpers import layer
from helpers.teams import together
from nettrain import NettrainError, SpecError
from nettrain.interop.yaml_out import to_yaml
from nettrain.ranks.team import ALONE
from nettrain.tools import training


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 33), ("test", 23)):
        arrays[f"{part}_data"] = rng.standard_normal((count, 2, 6, 6)).astype(np.float32)
        arrays[f"{part}_label"] = rng.integers(0, 3, count)
    np.savez("d.npz", **arrays)


DATA = layer(
    "d", "Data", top=["data", "label"], source="d.npz", batch_size={"train": 4, "test": 5}, transform={"mirror": True}
)
END = [
    layer("ip", "InnerProduct", num_output=3, weight_filler="xavier"),
    layer("loss", "SoftmaxWithLoss", ["ip", "label"]),
    layer("accuracy", "Accuracy", ["ip", "label"], include="test"),
]
CONV = layer("conv", "Convolution", "data", num_output=6, kernel_size=3, weight_filler="msra")
NETS = {
    "mlp": (
        [
            DATA,
            layer("h", "InnerProduct", "data", num_output=300, weight_filler="xavier"),
            layer("r", "ReLU", "h", "h"),
            *END,
        ],
        {},
    ),
    "dropout": (
        [DATA, CONV, layer("r", "ReLU", "conv", "conv"), layer("drop", "Dropout", "conv", "conv"), *END],
        {"weight_decay": 0.01},
    ),
    "BatchNorm": (
        [DATA, CONV, layer("bn", "BatchNorm", "conv", "conv", affine=True), layer("r", "ReLU", "conv", "conv"), *END],
        {"clip_gradients": 0.5},
    ),
    "AdamW": (
        [DATA, CONV, *END],
        {"type": "AdamW", "lr_policy": "plateau", "gamma": 0.5, "plateau_patience": 1, "patience": 4},
    ),
    "LSTM": (
        [
            layer("task", "CopyTask", top=["x", "t", "cont"], batch_size=3, bits=4, max_length=6),
            layer("lstm", "LSTM", ["x", "cont"], num_output=9, weight_filler="xavier"),
            layer("out", "InnerProduct", "lstm", num_output=4, axis=2, weight_filler="xavier"),
            layer("loss", "SigmoidCrossEntropyLoss", ["out", "t"], ignore_label=-1),
        ],
        {"type": "Adam", "clip_gradients": 1, "test_iter": 3},
    ),
}


def solver(team, name, out="run", reduce="segments", **keys):
    layers, more = NETS[name]
    momentum = {} if more.get("type", "SGD") != "SGD" else {"momentum": 0.9}
    keys = (
        {"base_lr": 0.02, "max_iter": 12, "test_interval": 3, "snapshot": 4, "random_seed": 3} | momentum | more | keys
    )
    return nettrain.get_solver({"name": name, "solver": keys, "layers": layers}, out=out, team=team, reduce=reduce)


def everything(folder):
    """A hash of each thing that a run leaves, but for times."""
    found = {}
    for path in sorted(Path(folder).glob("*.npz")):
        with np.load(path) as archive:
            for name in archive.files:
                if name != "state":
                    found[path.name, name] = hashlib.sha256(archive[name].tobytes()).hexdigest()
            state = json.loads(str(archive["state"]))
            state.pop("folder")
            found[path.name, "state"] = state
    rows = [json.loads(line) for line in Path(folder, "metrics.jsonl").read_text().splitlines()]
    return found, [{key: value for key, value in row.items() if key != "it_per_s"} for row in rows]


@pytest.mark.parametrize("overlaps", [False, True], ids=["after", "overlapping"])
@pytest.mark.parametrize("name", NETS)
def test_any_number_of_ranks_gives_the_bits_of_one(name, overlaps):
    solver(ALONE, name, out="one", iter_size=4).solve()
    expected = everything("one")
    assert len(expected[1]) >= 4

    for ranks in (2, 4):
        ended = together(
            ranks, lambda team, out=f"on{ranks}": trained(solver(team, name, out=out, iter_size=4)), overlaps
        )
        assert everything(f"on{ranks}") == expected
        assert len({weights for weights, _ in ended}) == 1
        assert len({scores for _, scores in ended}) == 1


def trained(one):
    one.solve()
    return one.net.flat.data.tobytes(), json.dumps(one.last_test)


@pytest.mark.parametrize(("batches", "ranks"), [(2, 2), (3, 3), (8, 2), (8, 8)])
def test_any_number_of_batches_is_shared(batches, ranks):
    solver(ALONE, "dropout", out="one", iter_size=batches, max_iter=4).solve()
    together(ranks, lambda team: trained(solver(team, "dropout", out="shared", iter_size=batches, max_iter=4)))
    assert everything("shared") == everything("one")


def test_a_run_goes_on_with_another_number_of_ranks():
    solver(ALONE, "dropout", out="one", iter_size=4, max_iter=12).solve()
    together(4, lambda team: trained(solver(team, "dropout", out="run", max_iter=4, iter_size=4)))

    def on(team):
        one = solver(team, "dropout", out="run", max_iter=8, iter_size=4)
        one.resume("run/iter_4.npz")
        return trained(one)

    together(2, on)
    last = solver(ALONE, "dropout", out="run", max_iter=12, iter_size=4)
    last.resume("run")
    last.solve()
    (files, _), (wanted, _) = everything("run"), everything("one")
    last_of_all = "iter_12.npz"
    assert {key: value for key, value in files.items() if key[0] == last_of_all and key[1] != "state"} == {
        key: value for key, value in wanted.items() if key[0] == last_of_all and key[1] != "state"
    }


def test_without_iter_size_each_rank_has_a_batch_and_more_must_be_shared_evenly():
    (one, _) = together(2, lambda team: solver(team, "mlp"))
    assert one.p.iter_size == 2
    assert one.spec.to_python()["solver"]["iter_size"] == 2  # so a snapshot goes on with it, on any number of ranks
    assert training.banner(one).count("2 ranks x 4 = 8 examples an update, as iter_size 2 on one") == 1
    with pytest.raises(SpecError) as error:
        together(3, lambda team: solver(team, "mlp", iter_size=4))
    assert "4 batches of an update cannot be shared evenly by 3 processes" in str(error.value)
    assert "start 1, 2 or 4 of them, or --set solver.iter_size=6" in str(error.value)
    with pytest.raises(SpecError, match=r"start 1 of them, or --set solver\.iter_size=2"):
        together(2, lambda team: solver(team, "mlp", iter_size=1))


def test_the_library_may_add_up_gradients_in_its_order():
    alike = together(4, lambda team: trained(solver(team, "BatchNorm", out="there", iter_size=4, reduce="mpi")))
    solver(ALONE, "BatchNorm", out="one", iter_size=4).solve()
    assert len(set(alike)) == 1
    with np.load("there/iter_12.npz") as one, np.load("one/iter_12.npz") as other:
        for name in other.files:
            if name != "state":
                np.testing.assert_allclose(one[name], other[name], rtol=1e-4, atol=1e-6)


def test_what_cannot_be_shared_is_refused(monkeypatch):
    layers, more = NETS["LSTM"]
    task = layers[0] | {"top": ["x", "t"], "min_length": 6}
    ones = layer("ones", "DummyData", top="cont", shape=[13, 3], data_filler=1)
    monkeypatch.setitem(NETS, "carried", ([task, ones, *layers[1:]], more))
    with pytest.raises(NettrainError, match="carries its states on from batch to batch"):
        together(2, lambda team: trained(solver(team, "carried")))
    out = layer("out", "HDF5Output", ["ip", "label"], file_name="o.h5", include="train")
    monkeypatch.setitem(NETS, "writes", ([*NETS["mlp"][0], out], {}))
    with pytest.raises(SpecError, match="HDF5Output `out` writes what it reads to files"):
        together(2, lambda team: solver(team, "writes"))


def by_hand(team):
    """Steps, a test and snapshots without ``solve``, in a folder that only the first finds a number for."""
    one = solver(team, "mlp", out=None, iter_size=4, snapshot=0)
    one.step(2)
    one.test()
    path = one.snapshot()
    before = one.net.flat.data.tobytes()
    one.step(1)
    if team.is_first:
        time.sleep(0.05)  # the others may ask for a file that is not there yet, or never comes to be where they are
    one.restore(one.snapshot())
    one.restore(path)
    assert one.net.flat.data.tobytes() == before
    one.step(2)
    return str(path), str(one.last_snapshot), one.net.flat.data.tobytes()


def test_a_program_may_step_and_restore(tmp_path):
    expected = by_hand(ALONE)
    shutil.rmtree(tmp_path / "runs")
    assert together(4, by_hand) == [expected] * 4


def test_a_spec_without_iter_size_goes_on_as_the_run_it_resumes(tmp_path):
    spec = solver(ALONE, "mlp").spec
    (tmp_path / "mlp.yaml").write_text(to_yaml(spec.root))
    together(4, lambda team: training.prepare("mlp.yaml", ["solver.max_iter=4"], print, out="run", team=team).solve())

    def on(team):
        one = training.prepare("mlp.yaml", ["solver.max_iter=8"], print, resume="run", team=team)
        one.solve()
        return one.p.iter_size, one.iter

    assert together(2, on) == [(4, 8)] * 2
