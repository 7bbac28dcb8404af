"""Order: which examples come next. The order of an epoch follows from (seed, name, epoch) alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..net.fillers import stream
from ..spec.errors import NettrainError


class Order:
    """Walks over ``size`` examples again and again, reshuffled each epoch or in the file's order (Caffe's).

    A batch may span the end of an epoch. ``epoch`` and ``position`` are the whole state.
    """

    def __init__(self, size: int, shuffle: bool, seed: int, name: str):
        self.size, self.shuffle, self.seed, self.name = size, shuffle, seed, name
        self.epoch = self.position = 0
        self._shuffled: dict[tuple[int, int], np.ndarray] = {}  # the order by (seed, epoch)

    def next(self, count: int, stop_at_end: bool = False) -> np.ndarray:
        """Indices of the next examples; with ``stop_at_end`` fewer when the epoch ends sooner."""
        parts = []
        while count > 0:
            part = self._epoch_order()[self.position : self.position + count]
            parts.append(part)
            count -= len(part)
            self.position += len(part)
            if self.position == self.size:
                self.epoch, self.position = self.epoch + 1, 0
                if stop_at_end:
                    break
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def coming(self, count: int, stop_at_end: bool = False) -> np.ndarray:
        """Indices of the examples after those, no more than an epoch of them, and with ``stop_at_end`` of this one;
        changes nothing."""
        found = self._epoch_order()[self.position : self.position + count]
        more = min(count, self.size) - len(found)
        return found if more <= 0 or stop_at_end else np.concatenate([found, self._epoch_order(1)[:more]])

    def _epoch_order(self, later: int = 0) -> np.ndarray:
        epoch = self.epoch + later
        of = (self.seed, epoch) if self.shuffle else (0, 0)
        if of not in self._shuffled:
            rng = stream(self.seed, self.name, f"epoch {epoch}")
            while len(self._shuffled) > 1:  # this one, and the next
                del self._shuffled[next(iter(self._shuffled))]
            self._shuffled[of] = rng.permutation(self.size) if self.shuffle else np.arange(self.size)
        return self._shuffled[of]

    def state(self) -> dict[str, int]:
        return {"epoch": self.epoch, "position": self.position}

    def set_state(self, state: Mapping[str, int]) -> None:
        """Restore what ``state`` gave. Raises NettrainError for a place that is not in the data."""
        epoch, position = state["epoch"], state["position"]
        if type(epoch) is not int or type(position) is not int or epoch < 0 or not 0 <= position < self.size:
            raise NettrainError(
                f"it is at example {position!r} of epoch {epoch!r}, but the data has {self.size:,} examples"
            )
        self.epoch, self.position = epoch, position
