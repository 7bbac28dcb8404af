"""What several machines would do: the time of an update by formulas, from a net's size and times and a network's speed.

Each formula holds for nodes that are alike, on links that are as fast both ways at once, with nobody else on them, and
without a switch in between that all together fill. docs/scale.md has the tables, and what of this was measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log2

from ...ranks.reduction import piece_of

ETHERNET = 0.9  # of a link's bits are the gradient's; the rest are headers, and pauses
MESSAGE = 3e-6  # seconds of a processor for a message of many that are under way at once
ADDING = 1 / 8e9  # seconds to add a byte to another


@dataclass(frozen=True)
class Link:
    """What joins two nodes: bytes a second that arrive, seconds until the first one does, seconds of a processor for
    each message, and seconds to add a byte that has come."""

    speed: float
    latency: float
    message: float = MESSAGE
    adding: float = ADDING


def ethernet(gigabits: float, latency: float) -> Link:
    """A link of so many Gbit/s and seconds of latency."""
    return Link(gigabits * 1e9 / 8 * ETHERNET, latency)


LINKS = {  # the latencies are of programs that talk by TCP through one switch, the last of RDMA
    "1 Gbit/s": ethernet(1, 40e-6),
    "10 Gbit/s": ethernet(10, 20e-6),
    "25 Gbit/s": ethernet(25, 12e-6),
    "100 Gbit/s": ethernet(100, 3e-6),
}


# What it takes until n nodes all have the sum of their arrays of ``size`` bytes, in seconds


def exchange(n: int, size: float, link: Link, pieces: int = 1) -> float:
    """All-to-all of segments, and the sum of those that came: p (α + (n - 1) o) + (n - 1)/n S (1/B + γ).

    Each sends to all others the part of its array that they add up. The messages are under way together, so latency α
    counts once for each of p pieces, and a processor's time o for each message; B is the link's speed, γ the time to
    add a byte.
    """
    if n == 1:
        return 0.0
    return pieces * (link.latency + (n - 1) * link.message) + _part(n, size) * (1 / link.speed + link.adding)


def share(n: int, size: float, link: Link, pieces: int = 1) -> float:
    """All-gather of the segments: p ⌈log₂ n⌉ α + (n - 1)/n S/B."""
    return pieces * _steps(n) * link.latency + _part(n, size) / link.speed


def chain(n: int, size: float, link: Link) -> float:
    """``exchange``, then ``share``: what nettrain does, for its sum is in the order of the nodes at any n."""
    return exchange(n, size, link) + share(n, size, link)


def ring(n: int, size: float, link: Link) -> float:
    """2 (n - 1) α + 2 (n - 1)/n S/B + (n - 1)/n S γ: segments go round twice, the first time added up.

    The same bytes as ``chain``; each segment is added up in another order.
    """
    return 2 * (n - 1) * link.latency + _part(n, size) * (2 / link.speed + link.adding)


def halving(n: int, size: float, link: Link) -> float:
    """2 ⌈log₂ n⌉ α + 2 (n - 1)/n S/B + (n - 1)/n S γ: recursive halving, then doubling. Its order depends on n."""
    return 2 * _steps(n) * link.latency + _part(n, size) * (2 / link.speed + link.adding)


def tree(n: int, size: float, link: Link) -> float:
    """⌈log₂ n⌉ (2 α + 2 S/B + S γ): whole arrays go up a binary tree, added up on the way, and down again."""
    return _steps(n) * (2 * link.latency + size * (2 / link.speed + link.adding))


WAYS: dict[str, Callable[[int, float, Link], float]] = {
    "chain": chain,
    "ring": ring,
    "halving": halving,
    "tree": tree,
}


def _steps(n: int) -> int:
    return ceil(log2(n))


def _part(n: int, size: float) -> float:
    return (n - 1) / n * size


# What an update takes, and what more nodes give


@dataclass(frozen=True)
class Work:
    """What a net takes on one node: seconds of a batch forward and backward and of an update, bytes of its gradient,
    examples of a batch."""

    forward: float
    backward: float
    update: float
    size: float
    batch: int = 1


def iteration(n: int, work: Work, link: Link, rounds: int = 1, overlap: bool = False) -> float:
    """Seconds of an update of n nodes, of which each computes ``rounds`` batches, so that iter_size is n · rounds.

    rounds (f + b + x) + u/n + s, with x = ``exchange`` and s = ``share``: gradients are exchanged after each round, for
    they are added in the order of the batches, each node updates its segment, and the weights are shared. With
    ``overlap`` b + x becomes max(b, x), in pieces of ``piece_of(n)`` bytes. That is the best there can be: as if the
    gradients of all layers were ready when backward begins.
    """
    pieces = max(1, round(work.size / piece_of(n))) if overlap else 1
    x, s = exchange(n, work.size, link, pieces), share(n, work.size, link, pieces)
    each = max(work.backward, x) if overlap else work.backward + x
    return rounds * (work.forward + each) + work.update / n + s


def weak(n: int, work: Work, link: Link, overlap: bool = False, rounds: int = 1) -> float:
    """How many times the examples a second of one node n nodes get through, each with batches of the same size.

    An update then has n times as many examples: ``base_lr`` and what is learned by an epoch change with it.
    """
    return n * iteration(1, work, link, rounds) / iteration(n, work, link, rounds, overlap)


def strong(n: int, work: Work, link: Link, examples: int, overlap: bool = False, overhead: float = 0.0) -> float | None:
    """How many times the updates a second of one node n nodes make, with as many ``examples`` in each.

    Each node's batch is examples / n, and takes that part of the time, but for ``overhead``, the seconds of a pass that
    do not depend on its batch. None where there are fewer examples than nodes.
    """
    if n > examples:
        return None
    alone, shared = (_sized(work, examples / k, overhead) for k in (1, n))
    return iteration(1, alone, link) / iteration(n, shared, link, overlap=overlap)


def _sized(work: Work, examples: float, overhead: float) -> Work:
    """The same net with batches of another size."""
    times, whole = examples / work.batch, work.forward + work.backward
    fixed = [overhead * part / whole for part in (work.forward, work.backward)]
    forward, backward = (
        times * (seconds - part) + part for seconds, part in zip((work.forward, work.backward), fixed, strict=True)
    )
    return Work(forward, backward, work.update, work.size)


def link_of(n: int, size: float, exchanged: float, shared: float, least: float) -> Link:
    """The link on which ``exchange`` and ``share`` of ``size`` bytes took as long as was measured among n nodes, and
    both together ``least`` seconds where next to nothing was sent. Adding is part of its speed."""
    latency = max(0.0, (least - (n - 1) * MESSAGE) / (1 + _steps(n)))
    for_bytes = exchanged + shared - (1 + _steps(n)) * latency - (n - 1) * MESSAGE
    speed = 2 * _part(n, size) / for_bytes if for_bytes > 0 else float("inf")
    return Link(speed, latency, MESSAGE, 0.0)
