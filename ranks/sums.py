"""The gradient of an update: those of its batches, added up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..compute.parallel import blockwise
from ..net.blob import Blob
from ..net.step import Step


class GradientSum:
    """Adds up the gradients of the ``rounds`` of an update in their order, g = ((g_0 + g_1) + g_2) + ….

    Each is computed from zero and then added as a whole, so that the sum does not depend on how a layer adds up the
    parts of its own, nor on who computed which batch. ``blocks`` are the parts of the flat array that are updated one
    by one. Alone a process computes one batch in a round, and all blocks are its own; for one round nothing is added,
    and no memory is taken.
    """

    def __init__(self, flat: Blob, blocks: Sequence[slice], rounds: int):
        self.flat, self.blocks, self.rounds = flat, blocks, rounds
        self.so_far = np.empty_like(flat.data) if rounds > 1 else None

    def begin(self) -> None:
        """The next batch begins."""
        self.flat.clear_diff()

    def ready(self, step: Step) -> None:
        """A layer has run backward in this batch, and all after it have."""

    def add(self, j: int) -> None:
        """Round j of the update has run backward. After the last one the sum is in ``flat.diff``, in our own blocks."""
        if self.so_far is None:
            return
        if j == 0:
            blockwise(np.copyto, self.so_far, self.flat.diff)
        elif j < self.rounds - 1:
            blockwise(np.add, self.so_far, self.flat.diff, self.so_far)
        else:
            blockwise(np.add, self.so_far, self.flat.diff, self.flat.diff)

    def owns(self, block: int) -> bool:
        """Whether this process updates a block."""
        return True

    def square(self) -> float:
        """Σ g², each block on its own and then added in their order."""
        return sum(self._squares([*range(len(self.blocks))]).values())

    def _squares(self, blocks: list[int]) -> dict[int, float]:
        g = self.flat.diff
        return {i: float(np.dot(g[self.blocks[i]], g[self.blocks[i]])) for i in blocks}

    def hand_round(self, flat: np.ndarray) -> None:
        """Give the others our own blocks of an array as long as all parameters, and take theirs."""
