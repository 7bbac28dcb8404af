"""What takes part in training: who hears what, in which order, and what a snapshot keeps of it."""

import json

import nettrain
import numpy as np
import pytest
from nettrain.solver.listener import Listener
from nettrain.solver.snapshot import read_snapshot

SPEC = {
    "name": "line",
    "solver": {"base_lr": 0.1, "max_iter": 4, "test_interval": 2, "test_iter": [2], "snapshot": 3, "display": 1},
    "layers": [
        {
            "name": "x",
            "type": "DummyData",
            "top": ["x", "y"],
            "shape": [[4, 3], [4, 2]],
            "data_filler": [{"type": "gaussian", "std": 1}, {"type": "gaussian", "std": 1}],
        },
        {"name": "ip", "type": "InnerProduct", "bottom": "x", "num_output": 2},
        {"name": "loss", "type": "EuclideanLoss", "bottom": ["ip", "y"]},
    ],
}


class Diary(Listener):
    """Writes down all that it hears, with the iteration, and what the weights were."""

    key = "diary"

    def __init__(self):
        self.heard = []
        self.solver = None

    def started(self, solver):
        self.solver = solver
        self.heard.append(("started", solver.iter))

    def testing(self, solver):
        self.heard.append(("testing", solver.iter))

    def batch_tested(self, test):
        self.heard.append(("batch_tested", test.net.phase))

    def tested(self, solver):
        self.heard.append(("tested", solver.iter, sorted(solver.found.scores)))

    def computed(self, solver):
        self.heard.append(("computed", solver.iter, solver.net.flat.data.tobytes()))

    def updated(self, solver):
        self.heard.append(("updated", solver.iter, solver.net.flat.data.tobytes()))

    def reported(self, solver, row):
        self.heard.append(("reported", row.iter))

    def finished(self, solver):
        self.heard.append(("finished", solver.iter))

    def warned(self, text):
        self.heard.append(("warned", text))

    def state(self):
        return {"heard": len(self.heard)}

    def set_state(self, state):
        self.heard = [("before", state["heard"])]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_what_a_listener_hears():
    diary = Diary()
    nettrain.get_solver(SPEC, out="run", listeners=[diary]).solve()
    test = ["testing", "batch_tested", "batch_tested", "tested"]
    step = ["reported", "computed", "updated"]  # what reports stands before it
    assert [one[0] for one in diary.heard if one[0] != "warned"] == [
        "started",
        *test,
        *step,
        *step,
        *test,
        *step,
        *step,
        *test,
        "reported",
        "finished",
    ]
    computed = [one for one in diary.heard if one[0] == "computed"]
    updated = [one for one in diary.heard if one[0] == "updated"]
    assert [one[1] for one in computed] == [0, 1, 2, 3]
    assert [one[1] for one in updated] == [1, 2, 3, 4]
    assert all(after[2] == before[2] for after, before in zip(updated, computed[1:], strict=False))
    assert all(after[2] != before[2] for after, before in zip(updated, computed, strict=True))
    assert ("batch_tested", "TEST") in diary.heard
    assert ("tested", 2, ["loss"]) in diary.heard


def test_a_snapshot_keeps_what_a_listener_has_learned_of_the_same_event():
    diary = Diary()
    solver = nettrain.get_solver(SPEC, out="run", listeners=[diary])
    at = {}
    solver.add(type("Count", (Listener,), {"updated": lambda self, s: at.update({s.iter: len(diary.heard)})})())
    solver.solve()
    assert read_snapshot(solver.run.path("iter_3.npz")).state["diary"] == {"heard": at[3]}
    other = Diary()
    again = nettrain.get_solver(SPEC, out="other", listeners=[other])
    again.restore("run/iter_3.npz")
    assert other.heard == [("before", at[3])]
    again.solve()
    np.testing.assert_array_equal(again.net.flat.data, solver.net.flat.data)


def test_a_snapshot_without_a_listener_leaves_it_as_it_is():
    solver = nettrain.get_solver(SPEC, out="run")
    solver.solve()
    diary = Diary()
    nettrain.get_solver(SPEC, out="other", listeners=[diary]).restore("run/iter_3.npz")
    assert diary.heard == []


def test_a_listener_may_end_training():
    class Enough(Listener):
        def why_end(self):
            return "enough is enough" if self.count >= 2 else ""

        count = 0

        def updated(self, solver):
            self.count += 1

    diary = Diary()
    solver = nettrain.get_solver(SPEC, out="run", listeners=[Enough(), diary])
    solver.solve()
    assert (solver.iter, solver.ended) == (2, "enough is enough")
    assert diary.heard[-1] == ("finished", 2)
    rows = [json.loads(line)["iter"] for line in solver.run.path("metrics.jsonl").read_text().splitlines()]
    assert rows == [0, 1, 2]
    assert solver.last_snapshot.name == "iter_2.npz"


def test_every_listener_hears_a_warning_once():
    first, second = Diary(), Diary()
    solver = nettrain.get_solver(SPEC, out="run", listeners=[first])
    solver.add(second)
    solver.warn(["smoke"])
    assert first.heard == second.heard == [("warned", "smoke")]
    assert solver.listeners[-1] is solver.keeper  # so that a snapshot has what all others know
