"""Teams whose members are threads of one process: what MPI does between processes, by a barrier between threads."""

import copy
import pickle
import threading

import numpy as np
from nettrain.compute import parallel
from nettrain.ranks.team import Team

WAIT = 60  # seconds, after which a member that does not come is an error of all


class Meeting:
    """Where the members of a team meet: everybody puts something down and takes what the others have put."""

    def __init__(self, size):
        self.size, self.things = size, [None] * size
        self.barrier = threading.Barrier(size, timeout=WAIT)

    def exchange(self, rank, thing):
        self.things[rank] = thing
        self.barrier.wait()
        found = list(self.things)
        self.barrier.wait()
        return found


class Post:
    """Messages from one member to another."""

    def __init__(self, rank, boxes):
        self.rank, self.boxes = rank, boxes

    def send(self, rank, thing):
        self.boxes[rank].put((self.rank, pickle.dumps(thing)))

    def receive(self):
        found = []
        while not self.boxes[self.rank].empty():
            rank, thing = self.boxes[self.rank].get()
            found.append((rank, pickle.loads(thing)))
        return found


class Member(Team):
    """One of a team of threads. What goes from one to another is copied, as between processes."""

    def __init__(self, rank, size, meetings, overlaps=False):
        self.rank, self.size, self.overlaps = rank, size, overlaps
        self.words, self.numbers = meetings

    def gather(self, thing):
        return [pickle.loads(one) for one in self.words.exchange(self.rank, pickle.dumps(thing))]

    def of_first(self, thing):
        return self.gather(thing if self.rank == 0 else None)[0]

    def exchange(self, flat, inbox, starts, counts):
        begin, count = starts[self.rank], counts[self.rank]
        for i, theirs in enumerate(self.numbers.exchange(self.rank, copy.copy(flat))):
            inbox[i] = theirs[begin : begin + count]

    def share(self, flat, starts, counts):
        begin, count = starts[self.rank], counts[self.rank]
        own = flat[begin : begin + count].copy()
        for i, theirs in enumerate(self.numbers.exchange(self.rank, own)):
            flat[starts[i] : starts[i] + counts[i]] = theirs

    def sum(self, flat):
        flat[...] = np.sum(self.numbers.exchange(self.rank, flat.copy()), axis=0)

    def end(self, exit_code):
        for meeting in (self.words, self.numbers):
            meeting.barrier.abort()
        raise SystemExit(exit_code)


def together(size, work, overlaps=False):
    """``work(team)`` of every member, each in a thread of its own; returns what they give. Raises the first error."""
    meetings = Meeting(size), Meeting(size)
    results, errors = [None] * size, []

    def run(rank):
        team = Member(rank, size, meetings, overlaps)
        try:
            results[rank] = work(team)
        except BaseException as error:
            errors.append(error)
            for meeting in meetings:
                meeting.barrier.abort()

    before = parallel.threads()
    parallel.use_threads(1)
    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parallel.use_threads(before)
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])
    return results
