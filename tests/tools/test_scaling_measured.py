"""`nettrain time` in several processes: what is measured on a network whose times are known, and what is said of it."""

import json

import pytest
from helpers.teams import together
from nettrain.files import plain_json
from nettrain.net.netspec import load
from nettrain.ranks.team import Team
from nettrain.tools import timing
from nettrain.tools.scaling import measured as shared_time
from nettrain.tools.scaling import model as scaling
from nettrain.tools.scaling.model import Link, Work

COUNT = 250_000  # numbers: 1 MB
TOTALS = {"forward_ms": 30.0, "backward_ms": 50.0, "update_ms": 4.0, "step_ms": 44.0}  # layer by layer it takes longer
WORK = Work(0.015, 0.025, 0.004, 1e6, 64)


class Network(Team):
    """Rank 0 of a team on a network: a clock of its own goes on as the formulas say."""

    library = "A library 1.2"

    def __init__(self, size, link, machines=None, slowest=1.0):
        self.size, self.link, self.now, self.slowest = size, link, 0.0, slowest
        self.machines = machines or [f"host{i}" for i in range(size)]
        self.exchanges = 0

    def gather(self, thing):
        if isinstance(thing, str):
            return self.machines
        if isinstance(thing, dict):  # another rank's net is slower
            return [thing] * (self.size - 1) + [{key: value * self.slowest for key, value in thing.items()}]
        return [thing] * self.size

    def exchange(self, flat, inbox, starts, counts):
        assert len(starts) == len(counts) == self.size
        assert [*starts[1:], len(flat)] == [a + b for a, b in zip(starts, counts, strict=True)]
        assert inbox.shape == (self.size, counts[0])
        self.exchanges += 1
        self.now += scaling.exchange(self.size, flat.nbytes, self.link)

    def share(self, flat, starts, counts):
        self.now += scaling.share(self.size, flat.nbytes, self.link)


@pytest.fixture
def measured(monkeypatch):
    def measure(team, **options):
        monkeypatch.setattr(shared_time, "perf_counter", lambda: team.now)
        monkeypatch.setattr(shared_time, "machine", lambda: "host0")
        return shared_time.measure(team, COUNT, TOTALS, 64, **options)

    return measure


LINK = Link(1e8, 1e-4, adding=0.0)


def test_the_times_of_an_iteration(measured):
    found = measured(Network(4, LINK), rounds=3)
    exchanged, shared = scaling.exchange(4, 1e6, LINK), scaling.share(4, 1e6, LINK)
    assert found["exchange_ms"] == pytest.approx(3e3 * exchanged)
    assert found["share_ms"] == pytest.approx(1e3 * shared)
    assert found["compute_ms"] == pytest.approx(3 * 40 + 4 / 4)
    assert found["iteration_ms"] == pytest.approx(1e3 * scaling.iteration(4, WORK, LINK, 3))
    assert found["communication_share"] == pytest.approx(found["communication_ms"] / found["iteration_ms"])
    assert (found["ranks"], found["machines"], found["gradient_bytes"]) == (4, 4, 1_000_000)


def test_more_of_the_same_are_estimated_by_the_link_that_was_measured(measured):
    found = measured(Network(4, LINK))
    assert found["link"]["megabytes_per_second"] == pytest.approx(100, rel=1e-3)
    assert found["link"]["latency_ms"] == pytest.approx(0.1, rel=1e-2)
    assert [one["ranks"] for one in found["estimates"]] == [4, 8, 16, 32]
    for one in found["estimates"]:
        assert one["times_one"] == pytest.approx(scaling.weak(one["ranks"], WORK, LINK), rel=1e-3)
        overlapped = scaling.weak(one["ranks"], WORK, LINK, overlap=True)
        assert one["times_one_overlapped"] == pytest.approx(max(overlapped, one["times_one"]), rel=1e-3)


def test_on_one_machine_networks_are_those_of_the_model(measured):
    found = measured(Network(2, LINK, ["host0"] * 2))
    assert found["machines"] == 1
    assert {one["link"] for one in found["estimates"]} == set(scaling.LINKS)
    for one in found["estimates"]:
        assert one["times_one"] == pytest.approx(scaling.weak(one["ranks"], WORK, scaling.LINKS[one["link"]]))
    text = shared_time.report(found)
    assert "2 ranks on one machine · A library 1.2 · gradient 1.00 MB · 1 batch of each in an update" in text
    assert "the memory of one machine" in text


def test_the_slowest_rank_counts(measured):
    assert measured(Network(2, LINK, slowest=3.0))["compute_ms"] == pytest.approx(3 * 42)


def test_a_slow_network_is_not_measured_for_ever(measured):
    slow = Network(2, Link(1e5, 1e-4))  # 10 s each time
    measured(slow, repeats=20)
    assert slow.exchanges <= 2 + shared_time.FEWEST + 22


@pytest.mark.parametrize(
    ("speed", "verdict"), [(1e9, "yes"), (3e7, "where communication is hidden"), (1e6, "no: try larger batches")]
)
def test_whether_more_pay(measured, speed, verdict):
    text = shared_time.report(measured(Network(2, Link(speed, 1e-5, adding=0.0))))
    assert text.splitlines()[-1].endswith(verdict)
    assert f"A rank gets {speed / 1e6:,.0f} MB/s" in text


def test_pays_up_to_a_number(measured):
    found = measured(Network(2, Link(1e8, 1e-3, adding=0.0, message=5e-3)))
    estimates = [one | {"times_one": 0.6 * one["ranks"] if one["ranks"] <= 8 else 1.0} for one in found["estimates"]]
    estimates = [one | {"times_one_overlapped": one["times_one"]} for one in estimates]
    assert "up to 8" in shared_time.report(found | {"estimates": estimates})


def test_where_the_clock_sees_nothing(measured):
    found = measured(Network(2, Link(float("inf"), 0.0, 0.0, 0.0)))
    json.loads(plain_json.text(found), parse_constant=pytest.fail)
    assert "communication is 0%" in shared_time.report(found)


SPEC = """
name: small
solver: {base_lr: 0.1, max_iter: 1, iter_size: 6}
layers:
  - {name: data, type: Input, shape: [[8, 6], [8]], top: [data, label]}
  - {name: ip, type: InnerProduct, bottom: data, num_output: 5}
  - {name: loss, type: SoftmaxWithLoss, bottom: [ip, label]}
"""


def test_the_command_measures_what_its_net_sends(monkeypatch):
    monkeypatch.setattr(timing, "sgemm_peak", lambda: 1.0)
    result = timing.measure(load(SPEC), iterations=2, team=Network(2, LINK))
    assert result["team"]["gradient_bytes"] == 4 * (6 * 5 + 5)
    assert result["team"]["batches_each"] == 3
    assert timing.report(result).endswith(shared_time.report(result["team"]))
    assert "team" not in timing.measure(load(SPEC), "TEST", 1, team=Network(2, LINK))
    assert "team" not in timing.measure(load(SPEC), iterations=1)


def test_all_ranks_exchange_as_often_and_come_to_the_same():
    """Three threads, each with other times, would wait for each other for ever if they did not agree."""

    def one(team):
        return shared_time.measure(team, 1000, TOTALS | {"step_ms": 44.0 + team.rank}, 64, repeats=4)

    first, *others = together(3, one)
    assert all(found == first for found in others)
    assert first["machines"] == 1
    assert first["compute_ms"] == pytest.approx(42 + 4 / 3)  # of rank 2
