"""A rank that waits long says for whom, once, and where that one is."""

import queue
import threading
import time

import pytest
from helpers import wait_until
from helpers.teams import Post
from nettrain.ranks.team import Team
from nettrain.ranks.watch import Watch


class Here(Team):
    """A member of a team that only watches."""

    def __init__(self, rank, boxes, patience=0.2, beat=0.02):
        self.rank, self.size, self.said = rank, len(boxes), []
        self.say = self.said.append
        self.doing = f"in iteration {10 + rank}"
        self.watch = Watch(self, Post(rank, boxes), patience, beat)


@pytest.fixture
def team(monkeypatch):
    monkeypatch.setattr("platform.node", lambda: "here")
    boxes = [queue.SimpleQueue() for _ in range(3)]
    members = [Here(rank, boxes) for rank in range(3)]
    yield members
    for one in members:
        one.watch.end()
        assert not one.watch.thread.is_alive()


def waits(member, until):
    """A thread in which a member is in an exchange until an event."""

    def work():
        with member.watch:
            until.wait()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.mark.parametrize("late", [0, 1, 2])
def test_the_lowest_of_those_that_wait_says_who_is_late_and_where(team, late):
    come = threading.Event()
    waiting = [one for one in team if one.rank != late]
    threads = [waits(one, come) for one in waiting]
    speaker = waiting[0]
    wait_until(lambda: speaker.said)
    head, line = speaker.said[0].splitlines()
    assert head.startswith(
        f"rank {speaker.rank} on here has waited 0 s, in iteration {10 + speaker.rank}, for this of 3:"
    )
    assert line.startswith(f"   rank {late} on here is in iteration {10 + late}, at ")
    assert any(name in line for name in ("test_watch.py", "threading.py", "helpers"))  # where this thread is
    come.set()
    for thread in threads:
        thread.join()
    wait_until(lambda: speaker.said[-1].startswith(f"rank {speaker.rank} on here goes on after "))
    assert not any(one.said for one in team if one is not speaker)


def test_a_rank_whose_process_is_stopped_does_not_answer(team):
    team[2].watch.end()  # its thread is the one that would answer
    come = threading.Event()
    threads = [waits(one, come) for one in team[:2]]
    wait_until(lambda: team[0].said)
    assert "   rank 2 does not answer: its process is stopped, or " in team[0].said[0]
    assert "rank 1" not in team[0].said[0]
    come.set()
    for thread in threads:
        thread.join()
    assert not team[1].said


def test_where_all_wait_the_network_is_at_fault(team):
    come = threading.Event()
    threads = [waits(one, come) for one in team]
    wait_until(lambda: team[0].said)
    assert "for the others, which wait too: what they exchange does not come through" in team[0].said[0]
    assert "rank 1 on here is in iteration 11" in team[0].said[0]
    come.set()
    for thread in threads:
        thread.join()


def test_what_is_not_long_is_not_told(team):
    for one in team:
        one.watch.patience = one.watch.next = 1
    for _ in range(24):
        come = threading.Event()
        threads = [waits(one, come) for one in team[:2]]
        time.sleep(0.05)
        come.set()
        for thread in threads:
            thread.join()
    assert not any(one.said for one in team)


def test_it_is_said_again_each_time_the_wait_has_doubled(team):
    come = threading.Event()
    thread = waits(team[0], come)
    begun = time.monotonic()
    wait_until(lambda: len(team[0].said) == 3)
    took = time.monotonic() - begun
    come.set()
    thread.join()
    assert took >= 4 * 0.2


def test_two_threads_of_a_rank_may_be_in_exchanges(team):
    come, goes = threading.Event(), threading.Event()
    first, second = waits(team[0], come), waits(team[0], goes)
    goes.set()
    second.join()
    assert team[0].watch.waited() is not None
    come.set()
    first.join()
    assert team[0].watch.waited() is None
