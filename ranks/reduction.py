"""How the gradients of several processes are added up: by segments, in the order of the batches.

All-to-all brings segment r of everybody's gradient to rank r, which adds them in the order of the ranks, updates that
part of the weights, and all-gather brings the weights back: each process sends 2 (n - 1) / n of the gradient's size, as
a ring does, but the sum does not depend on the library, on the number of processes or on how the gradient is cut.
"""

from __future__ import annotations

import itertools
import queue
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..net.blob import Blob
from ..net.net import Net
from ..net.step import Step
from .sums import GradientSum
from .team import Team

PIECE, MANY = 1 << 20, 16


def piece_of(ranks: int) -> int:
    """Bytes exchanged at a time while backward goes on: fewer cost more in messages than they hide, and each piece is a
    message to every rank."""
    return PIECE * max(1, ranks // MANY)


Reduce = Literal["segments", "mpi"]


def gradient_sum(
    team: Team, net: Net, blocks: Sequence[slice], batches: int, reduce: Reduce = "segments"
) -> GradientSum:
    """What adds up the gradients of ``batches``, a multiple of the team's size."""
    if team.size == 1:
        return GradientSum(net.flat, blocks, batches)
    kind = SegmentSum if reduce == "segments" else LibrarySum
    return kind(team, net, blocks, batches // team.size)


class LibrarySum(GradientSum):
    """The sum over a team by MPI's all-reduce, for networks whose upper links an all-to-all would fill. Everybody has
    the same sum, but its order is the library's: the last digits depend on it and on the number of processes."""

    def __init__(self, team: Team, net: Net, blocks: Sequence[slice], rounds: int):
        super().__init__(net.flat, blocks, rounds)
        self.team = team

    def add(self, j: int) -> None:
        super().add(j)
        if j == self.rounds - 1:
            self.team.sum(self.flat.diff)


@dataclass
class Piece:
    """Some neighbouring blocks, and how they are divided: segment r is rank r's."""

    where: slice
    starts: list[int]
    counts: list[int]
    blobs: list[Blob]  # the parameters that lie in it
    step: int  # the step of the net, by number, whose backward pass is the last to add to it; none before -1


class SegmentSum(GradientSum):
    """The sum over a team; see above. Where ``team.overlaps``, pieces are exchanged from the last layer backwards by a
    thread while the backward pass goes on: their sums are the same."""

    def __init__(self, team: Team, net: Net, blocks: Sequence[slice], rounds: int):
        self.flat, self.blocks, self.rounds, self.team = net.flat, blocks, rounds, team
        self.raw = net.flat.diff  # the memory itself: looking at the blob's diff would write zeros into what is not yet
        self.number = {id(step): i for i, step in enumerate(net.steps)}
        self.pieces, self.mine = [], set[int]()
        most = piece_of(team.size) // net.flat.data.itemsize if team.overlaps else len(self.raw)
        for first, last in _from_the_end(blocks, most):
            self.pieces.append(self._piece(net, first, last))
        sizes = [piece.counts[team.rank] for piece in self.pieces]
        self.sums = [np.empty(size, self.raw.dtype) for size in sizes]
        self.inbox = np.empty((team.size, max(sizes, default=0)), self.raw.dtype)
        self.round, self.next = 0, 0
        self.worker = Worker() if team.overlaps else None

    def _piece(self, net: Net, first: int, last: int) -> Piece:
        """Blocks first … last - 1, divided as evenly as whole blocks can be."""
        blocks, n = self.blocks[first:last], self.team.size
        begin, end = blocks[0].start, blocks[-1].stop
        edges = [block.start for block in blocks] + [end]
        cuts = [min(edges, key=lambda edge: abs(edge - begin - (end - begin) * r / n)) for r in range(n + 1)]
        own = slice(cuts[self.team.rank], cuts[self.team.rank + 1])
        self.mine |= {i for i in range(first, last) if own.start <= self.blocks[i].start < own.stop}
        held = [one for one in net.parameters if one.start < end and one.stop > begin]
        users = [
            i
            for i, step in enumerate(net.steps)
            if step.needs_backward and any(b.shares_diff_with(one.blob) for b in step.layer.blobs for one in held)
        ]
        counts = [after - before for before, after in itertools.pairwise(cuts)]
        return Piece(slice(begin, end), cuts[:-1], counts, [one.blob for one in held], min(users, default=-1))

    def begin(self) -> None:
        super().begin()
        self.next = 0

    def ready(self, step: Step) -> None:
        if self.worker is None:
            return
        while self.next < len(self.pieces) and self.pieces[self.next].step >= self.number[id(step)]:
            self._exchange(self.next)
            self.next += 1

    def add(self, j: int) -> None:
        while self.next < len(self.pieces):
            self._exchange(self.next)
            self.next += 1
        if self.worker is not None:
            self.worker.wait()
        self.round = (self.round + 1) % self.rounds

    def _exchange(self, k: int) -> None:
        """Exchange a piece, now or as soon as those before it are."""
        for blob in self.pieces[k].blobs:
            _ = blob.diff  # zeros, where no layer wrote any
        if self.worker is None:
            self._sum(k, self.round)
        else:
            self.worker.do(lambda: self._sum(k, self.round))

    def _sum(self, k: int, round: int) -> None:
        piece, total = self.pieces[k], self.sums[k]
        inbox = self.inbox.reshape(-1)[: self.team.size * len(total)].reshape(self.team.size, -1)
        self.team.exchange(self.raw, inbox, piece.starts, piece.counts)
        for i, theirs in enumerate(inbox):
            if i == round == 0:
                np.copyto(total, theirs)
            else:
                total += theirs
        if round == self.rounds - 1:
            start = piece.starts[self.team.rank]
            np.copyto(self.raw[start : start + len(total)], total)

    def owns(self, block: int) -> bool:
        return block in self.mine

    def square(self) -> float:
        squares: dict[int, float] = {}
        for theirs in self.team.gather(self._squares(sorted(self.mine))):
            squares |= theirs
        return sum(squares[i] for i in range(len(self.blocks)))

    def hand_round(self, flat: np.ndarray) -> None:
        for piece in self.pieces:
            self.team.share(flat, piece.starts, piece.counts)


class Worker:
    """A thread that does one thing after the other while its owner goes on. An error comes out of ``wait``."""

    def __init__(self) -> None:
        self.things: queue.SimpleQueue = queue.SimpleQueue()
        self.error: BaseException | None = None
        self.given = 0
        self.done = threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True, name="exchange of gradients").start()

    def do(self, thing) -> None:
        self.given += 1
        self.things.put(thing)

    def wait(self) -> None:
        """Until all is done."""
        while self.given:
            self.done.acquire()
            self.given -= 1
        if self.error is not None:
            error, self.error = self.error, None
            raise error

    def _run(self) -> None:
        while True:
            thing = self.things.get()
            try:
                if self.error is None:
                    thing()
            except BaseException as error:
                self.error = error
            self.done.release()


def _from_the_end(blocks: Sequence[slice], most: int) -> list[tuple[int, int]]:
    """The blocks in rows of about ``most`` elements, from the last one back: the gradients that are ready first."""
    found, end = [], len(blocks)
    while end:
        begin = end - 1
        while begin and blocks[end - 1].stop - blocks[begin - 1].start <= most:
            begin -= 1
        found.append((begin, end))
        end = begin
    return found
