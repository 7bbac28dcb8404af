"""Examples that are made when they are asked for, of which as many are kept as a share of the memory holds."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable

import numpy as np

from ...files.reading import memory
from . import ahead

SHARE = 4  # a quarter of the memory is the limit unless another is given


class Kept:
    """N examples of one shape, as bytes: ``make(i)`` gives example i, the same each time.

    What was made is kept while it fits into ``limit`` bytes; later examples are then made each time. Those that came
    first stay: in a new order each epoch any choice is as good, and nothing is moved. ``expect`` names examples that
    are asked for next, which threads make meanwhile; results do not depend on it.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, count: int, make: Callable[[int], np.ndarray], shape: tuple[int, ...], limit: int | None = None):
        self.shape = (count, *shape)
        self.make = make
        size = max(1, int(np.prod(shape)))
        limit = memory() // SHARE if limit is None else limit
        self.room = min(count, limit // size)
        self.store = np.empty((self.room, *shape), self.dtype)  # takes memory as it is filled
        self.place = np.full(count, -1, np.int64)  # in the store, of each example
        self.used = 0
        self.expected: OrderedDict[int, ahead.Task] = OrderedDict()
        self.lock, self.process = threading.RLock(), os.getpid()  # several nets may read the same examples

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def keeps_all(self) -> bool:
        """Whether every example has room."""
        return self.room == len(self)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        with self._mine():
            places = self.place[indices]
            if (places >= 0).all():
                return self.store[places]
            examples = np.empty((len(indices), *self.shape[1:]), self.dtype)
            for k, i in enumerate(indices.tolist()):
                place = self.place[i]  # a batch may have an example twice
                examples[k] = self._new(i) if place < 0 else self.store[place]
            return examples

    def _new(self, i: int) -> np.ndarray:
        task = self.expected.pop(i, None)
        example = task.get(i) if task is not None else None
        if example is None:
            example = self.make(i)
        self.keep(i, example)
        return example

    def keep(self, i: int, example: np.ndarray) -> None:
        """Keep a new example, if there is room."""
        if self.used < self.room:
            self.store[self.used] = example
            self.place[i] = self.used
            self.used += 1

    def expect(self, indices: np.ndarray) -> None:
        """These are asked for next, in this order."""
        with self._mine():
            wanted = dict.fromkeys(indices[self.place[indices] < 0].tolist())  # one of them perhaps in two epochs
            new = [i for i in wanted if i not in self.expected]
            tasks = [ahead.Task(self.make, new[k : k + ahead.AT_A_TIME]) for k in range(0, len(new), ahead.AT_A_TIME)]
            self.expected.update((i, task) for task in tasks for i in task.numbers)
            while len(self.expected) > 2 * len(indices):  # what nobody asked for after all, as after a jump
                self.expected.popitem(last=False)
            if tasks:
                ahead.begin(tasks)

    def _mine(self) -> threading.RLock:
        if self.process != os.getpid():  # a child of a process whose threads may have held the lock, or been at work
            self.lock, self.process = threading.RLock(), os.getpid()
            self.expected.clear()
        return self.lock
