"""`nettrain time` in several processes: what an update takes them together, and whether more of them would pay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from ...ranks.launch import machine
from ...ranks.team import Team
from ..table import table
from . import model
from .model import Link, Work

LONGEST = 5.0  # seconds that exchanges are timed, but for the first few
FEWEST = 3
TIMES = (1, 2, 4, 8)  # as many ranks as there are, for which the estimate is made
PAYS = 0.5  # of one rank's examples a second is what each of several must get through


def measure(
    team: Team, count: int, totals: Mapping[str, float], batch: int, rounds: int = 1, repeats: int = 20
) -> dict[str, Any]:
    """Time the exchange of a gradient of ``count`` float32 numbers; with ``totals``, the times of one process as
    ``timing`` gives them, this says what an update of ``rounds`` batches for each rank takes.

    Every rank must call it. The slowest counts, for all wait for it. With all ranks on one machine its memory is
    measured, and the estimates are for networks of ``model.LINKS``; else for more of the same.
    """
    n, size = team.size, 4.0 * count
    work = _slowest(team, totals, size, batch)
    exchanged, shared = _times(team, count, repeats)
    least = sum(_times(team, n, repeats))
    machines = len(set(team.gather(machine())))
    compute = rounds * (work.forward + work.backward) + work.update / n
    communication = rounds * exchanged + shared
    link = model.link_of(n, size, exchanged, shared, least)
    links, sizes = {"as measured": link}, [n * times for times in TIMES]
    if machines == 1:
        links, sizes = model.LINKS, [2 * times for times in TIMES]
    return {
        "ranks": n,
        "machines": machines,
        "library": team.library,
        "gradient_bytes": int(size),
        "batches_each": rounds,
        "compute_ms": 1e3 * compute,
        "exchange_ms": 1e3 * rounds * exchanged,
        "share_ms": 1e3 * shared,
        "least_ms": 1e3 * least,
        "communication_ms": 1e3 * communication,
        "iteration_ms": 1e3 * (compute + communication),
        "communication_share": communication / (compute + communication) if compute + communication else 0.0,
        "link": {"megabytes_per_second": link.speed / 1e6, "latency_ms": 1e3 * link.latency},
        "estimates": [_estimate(name, link, k, work, rounds) for name, link in links.items() for k in sizes],
    }


def _slowest(team: Team, totals: Mapping[str, float], size: float, batch: int) -> Work:
    """The work of the rank that takes longest."""
    most = max(team.gather(dict(totals)), key=lambda one: one["step_ms"])
    compute, layers = most["step_ms"] - most["update_ms"], most["forward_ms"] + most["backward_ms"]
    forward = compute * most["forward_ms"] / layers if layers else 0.0
    return Work(forward / 1e3, (compute - forward) / 1e3, most["update_ms"] / 1e3, size, batch)


def _times(team: Team, count: int, repeats: int) -> tuple[float, float]:
    """Median seconds of exchanging and adding up, and of sharing, an array of ``count`` numbers."""
    cuts = [count * r // team.size for r in range(team.size + 1)]
    starts, counts = cuts[:-1], [b - a for a, b in pairwise(cuts)]
    flat, inbox = np.zeros(count, np.float32), np.zeros((team.size, counts[team.rank]), np.float32)
    own = flat[starts[team.rank] :][: counts[team.rank]]

    def once() -> tuple[float, float]:
        team.gather(None)  # all begin together
        begin = perf_counter()
        team.exchange(flat, inbox, starts, counts)
        np.copyto(own, inbox[0])
        for theirs in inbox[1:]:
            np.add(own, theirs, out=own)
        between = perf_counter()
        team.share(flat, starts, counts)
        return between - begin, perf_counter() - between

    once()  # makes connections
    longest = max(team.gather(sum(once())))
    many = min(repeats, max(FEWEST, int(LONGEST / longest))) if longest > 0 else repeats
    of_all = np.array(team.gather([once() for _ in range(many)])).max(axis=0)
    exchanged, shared = (median(column) for column in of_all.T.tolist())
    return exchanged, shared


def _estimate(name: str, link: Link, n: int, work: Work, rounds: int) -> dict[str, Any]:
    """How many times one rank n would be."""
    plain, hidden = (model.weak(n, work, link, overlap, rounds) for overlap in (False, True))
    return {"link": name, "ranks": n, "times_one": plain, "times_one_overlapped": max(plain, hidden)}


def report(found: Mapping[str, Any]) -> str:
    """The times in words, and whether more would pay."""
    n, machines, each = found["ranks"], found["machines"], found["batches_each"]
    about = [f"{n} ranks on {'one machine' if machines == 1 else f'{machines} machines'}"]
    about += [*[found["library"]] * bool(found["library"]), f"gradient {found['gradient_bytes'] / 1e6:.2f} MB"]
    about += [f"{each} batch{'es' * (each > 1)} of each in an update"]
    if machines == 1:
        what = "That was the memory of one machine. One such rank on each machine, over a network, by docs/scale.md:"
    else:
        speed, latency = found["link"]["megabytes_per_second"], found["link"]["latency_ms"]
        what = (
            f"A rank gets {speed:,.0f} MB/s and {latency:.3f} ms of latency. More ranks like these, by docs/scale.md:"
        )
    by_link: dict[str, list[Mapping[str, Any]]] = {}
    for one in found["estimates"]:
        by_link.setdefault(one["link"], []).append(one)
    rows = [[name, *map(_times_one, some), _verdict(some)] for name, some in by_link.items()]
    counts = [f"{one['ranks']} ranks" for one in next(iter(by_link.values()))]
    head = ["times one rank", *counts, "does it pay?"]
    return (
        f"{' · '.join(about)}\n"
        f"communication is {found['communication_share']:.0%} of an iteration, {found['communication_ms']:.3f} of "
        f"{found['iteration_ms']:.3f} ms, where none of it is hidden behind backward\n"
        f"{what}\n{table(head, rows, right=range(1, len(counts) + 1))}"
    )


def _times_one(one: Mapping[str, Any]) -> str:
    """``6.9``, or ``6.9 to 7.8`` with all that can be hidden."""
    low, high = f"{one['times_one']:.1f}", f"{one['times_one_overlapped']:.1f}"
    return low if low == high else f"{low} to {high}"


def _verdict(some: Sequence[Mapping[str, Any]]) -> str:
    """Up to how many ranks each gets through at least half of what one alone does, surely or at best."""
    surely, at_best = (
        max((one["ranks"] for one in some if one[key] >= PAYS * one["ranks"]), default=0)
        for key in ("times_one", "times_one_overlapped")
    )
    last = some[-1]["ranks"]
    if surely == last:
        return "yes"
    if at_best == last:
        return "where communication is hidden"
    return f"up to {at_best}" if at_best else "no: try larger batches"
