"""The cost model: known values, a simulation of who sends what, bounds that any such formula has."""

from math import inf, log2

import numpy as np
import pytest
from nettrain.ranks.reduction import piece_of
from nettrain.tools.scaling import model as scaling
from nettrain.tools.scaling.model import (
    LINKS,
    Link,
    Work,
    chain,
    exchange,
    halving,
    iteration,
    ring,
    share,
    strong,
    tree,
    weak,
)

PLAIN = Link(1e6, 1.0, 0.0, 0.0)  # a megabyte a second, a second of latency, nothing else
LENET = Work(0.011, 0.015, 0.001, 1.724e6, 64)
COUNTS = [2**k for k in range(11)]


def test_by_hand():
    """Four nodes, a megabyte: each sends three quarters of it, twice."""
    assert exchange(4, 1e6, PLAIN) == pytest.approx(1 + 0.75)
    assert share(4, 1e6, PLAIN) == pytest.approx(2 + 0.75)
    assert chain(4, 1e6, PLAIN) == pytest.approx(4.5)
    assert ring(4, 1e6, PLAIN) == pytest.approx(6 + 1.5)
    assert halving(4, 1e6, PLAIN) == pytest.approx(4 + 1.5)
    assert tree(4, 1e6, PLAIN) == pytest.approx(4 + 4)
    with_costs = Link(inf, 0.0, message=0.1, adding=1e-6)
    assert exchange(4, 1e6, with_costs) == pytest.approx(0.3 + 0.75)
    assert exchange(4, 1e6, with_costs, pieces=2) == pytest.approx(0.6 + 0.75)
    assert exchange(4, 0, PLAIN, pieces=3) == pytest.approx(3)


def test_a_link_in_words():
    assert LINKS["10 Gbit/s"].speed == pytest.approx(1.125e9)


@pytest.mark.parametrize("n", [2, 3, 4, 7])
def test_bytes_are_those_that_are_sent(n):
    """Count, step by step, what the busiest node sends while segments go all to all, round a ring, and up a tree."""
    size, link = 840.0 * n, Link(1.0, 0.0, 0.0, 0.0)
    sent = np.zeros(n)
    for i in range(n):
        for j in range(n):
            sent[i] += (i != j) * size / n
    assert exchange(n, size, link) == pytest.approx(sent.max())
    gathered = {i: {i} for i in range(n)}
    steps = 0
    while any(len(has) < n for has in gathered.values()):  # everybody hands on what it got last
        gathered = {i: gathered[i] | gathered[(i - 1) % n] for i in range(n)}
        steps += 1
    assert steps == n - 1
    assert share(n, size, link) == pytest.approx(steps * size / n)
    assert ring(n, size, link) == pytest.approx(2 * steps * size / n)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("size", [0.0, 2e4, 2e6, 2.4e8])
def test_what_holds_for_any_net_and_network(link, size):
    one = LINKS[link]
    for way in scaling.WAYS.values():
        times = [way(n, size, one) for n in COUNTS]
        assert times[0] == 0
        assert times == sorted(times)
    for n in COUNTS[1:]:
        least = 2 * (n - 1) / n * size / one.speed  # each node must at least send that much
        assert all(way(n, size, one) >= least for way in scaling.WAYS.values())
        assert tree(n, size, one) >= log2(n) * 2 * size / one.speed
        assert tree(n, size, one) >= halving(n, size, one) - 1e-12


def test_an_iteration():
    x, s = exchange(4, LENET.size, PLAIN), share(4, LENET.size, PLAIN)
    assert iteration(1, LENET, PLAIN) == pytest.approx(0.027)
    assert iteration(4, LENET, PLAIN) == pytest.approx(0.026 + x + s + 0.001 / 4)
    assert iteration(4, LENET, PLAIN, rounds=3) == pytest.approx(3 * (0.026 + x) + s + 0.001 / 4)
    pieces = round(LENET.size / piece_of(4))
    assert pieces == 2
    hidden = max(0.015, exchange(4, LENET.size, PLAIN, pieces))
    assert iteration(4, LENET, PLAIN, overlap=True) == pytest.approx(
        0.011 + hidden + share(4, LENET.size, PLAIN, pieces) + 0.001 / 4
    )


def test_where_nothing_is_sent_all_nodes_count():
    free = Link(inf, 0.0, 0.0, 0.0)
    work = Work(1.0, 2.0, 0.0, 1e6, 8)
    for n in (1, 2, 8):
        assert weak(n, work, free) == pytest.approx(n)
        assert weak(n, work, free, overlap=True, rounds=3) == pytest.approx(n)
        assert strong(n, work, free, 8) == pytest.approx(n)
    assert strong(8, work, free, 8, overhead=1.0) < 8
    assert strong(9, work, free, 8) is None


def test_the_overhead_of_a_pass_is_paid_by_everybody():
    """A batch of 8 takes 3 s, of which 1 s is there for a batch of one too; two nodes take 2 s."""
    free = Link(inf, 0.0, 0.0, 0.0)
    assert strong(2, Work(1.0, 2.0, 0.0, 0.0, 8), free, 8, overhead=1.0) == pytest.approx(3 / 2)


@pytest.mark.parametrize("link", LINKS)
def test_overlap_hides_no_more_than_backward(link):
    for n in COUNTS[1:]:
        pieces = max(1, round(LENET.size / piece_of(n)))
        x = exchange(n, LENET.size, LINKS[link], pieces)
        hidden = iteration(n, LENET, LINKS[link], overlap=True)
        in_pieces = 0.026 + x + share(n, LENET.size, LINKS[link], pieces) + 0.001 / n
        assert in_pieces - hidden == pytest.approx(min(LENET.backward, x))


@pytest.mark.parametrize("n", [2, 3, 8])
@pytest.mark.parametrize("size", [2e4, 2e6, 2.4e8])
def test_a_link_is_found_from_its_times(n, size):
    link = Link(1e8, 50e-6, adding=0.0)
    least = chain(n, 0.0, link)
    found = scaling.link_of(n, size, exchange(n, size, link), share(n, size, link), least)
    assert found.speed == pytest.approx(link.speed)
    assert found.latency == pytest.approx(link.latency)


def test_a_link_of_times_that_do_not_fit():
    """A clock too coarse, or a large array that was no slower than a small one: no error, and no time below zero."""
    for times in ((0.0, 0.0, 0.0), (1e-5, 1e-5, 1.0)):
        found = scaling.link_of(4, 1e6, *times)
        assert found.speed > 0
        assert found.latency >= 0
        assert iteration(8, LENET, found) > 0
