"""The gradient of an update: those of its batches, added up."""

from __future__ import annotations

import numpy as np

from ..compute.parallel import blockwise
from ..net.blob import Blob


class GradientSum:
    """Adds up the gradients of the ``batches`` of an update in their order, g = ((g_0 + g_1) + g_2) + ….

    Each is computed from zero and then added as a whole, so that the sum does not depend on how a layer adds up the
    parts of its own, nor on who computed which batch. For one batch nothing is added, and no memory is taken.
    """

    def __init__(self, flat: Blob, batches: int):
        self.flat, self.batches = flat, batches
        self.so_far = np.empty_like(flat.data) if batches > 1 else None

    def begin(self) -> None:
        """The next batch begins."""
        self.flat.clear_diff()

    def add(self, j: int) -> None:
        """Batch j of the update has run backward. After the last one the sum is in ``flat.diff``."""
        if self.so_far is None:
            return
        if j == 0:
            blockwise(np.copyto, self.so_far, self.flat.diff)
        elif j < self.batches - 1:
            blockwise(np.add, self.so_far, self.flat.diff, self.so_far)
        else:
            blockwise(np.add, self.so_far, self.flat.diff, self.flat.diff)
