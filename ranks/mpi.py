"""The processes of an MPI job, by mpi4py. Imported only where a launcher has started this program: see ``launch``."""

from __future__ import annotations

import atexit
import contextlib
import time
from typing import Any, NoReturn

import numpy as np
from mpi4py import MPI

from .team import Team
from .watch import Watch

_NAME, _VERSION = MPI.get_vendor()
LIBRARY = f"{_NAME} {'.'.join(map(str, _VERSION))}"


class Ranks(Team):
    """The processes of MPI.COMM_WORLD.

    What comes from the others lies in the order of ranks, whatever the library does, so sums do not depend on it.
    """

    def __init__(self) -> None:
        if not MPI.Is_initialized():
            MPI.Init_thread()
        self.world = MPI.COMM_WORLD
        self.comm = self.world.Dup()  # gradients are exchanged by a thread of their own, beside what the others say
        self.last = self.world.Dup()  # where all meet that are about to end
        self.rank, self.size = self.world.Get_rank(), self.world.Get_size()
        self.library = LIBRARY
        self.may_overlap = MPI.Query_thread() == MPI.THREAD_MULTIPLE
        self.watch: Watch | contextlib.nullcontext = contextlib.nullcontext()
        if MPI.Query_thread() == MPI.THREAD_MULTIPLE:
            self.watch = Watch(self, Messages(self.world.Dup()))
            atexit.register(self.watch.end)  # MPI ends after it

    def gather(self, thing: Any) -> list[Any]:
        with self.watch:
            return self.world.allgather(thing)

    def of_first(self, thing: Any) -> Any:
        with self.watch:
            return self.world.bcast(thing, root=0)

    def exchange(self, flat: np.ndarray, inbox: np.ndarray, starts: list[int], counts: list[int]) -> None:
        kind, mine = _kind(flat), counts[self.rank]
        places = [i * mine for i in range(self.size)]
        with self.watch:
            self.comm.Alltoallv([flat, counts, starts, kind], [inbox, [mine] * self.size, places, kind])

    def share(self, flat: np.ndarray, starts: list[int], counts: list[int]) -> None:
        with self.watch:
            self.comm.Allgatherv(MPI.IN_PLACE, [flat, counts, starts, _kind(flat)])

    def sum(self, flat: np.ndarray) -> None:
        with self.watch:
            self.comm.Allreduce(MPI.IN_PLACE, [flat, _kind(flat)], MPI.SUM)

    def all_end(self, seconds: float) -> bool:
        last, others = time.monotonic() + seconds, self.last.Ibarrier()
        while not others.Test():
            if time.monotonic() > last:
                return False
            time.sleep(0.01)
        return True

    def end(self, exit_code: int) -> NoReturn:
        self.world.Abort(exit_code)
        raise SystemExit(exit_code)


class Messages:
    """Small things from one rank to another, on their own."""

    def __init__(self, comm: Any):
        self.comm, self.sent = comm, list[Any]()

    def send(self, rank: int, thing: Any) -> None:
        self.sent = [one for one in self.sent if not one.Test()]  # what is on its way needs its memory
        self.sent.append(self.comm.isend(thing, rank))

    def receive(self) -> list[tuple[int, Any]]:
        found, status = [], MPI.Status()
        while message := self.comm.improbe(status=status):
            found.append((status.Get_source(), message.recv()))
        return found


def _kind(array: np.ndarray) -> Any:
    return MPI.FLOAT if array.dtype == np.float32 else MPI.DOUBLE
