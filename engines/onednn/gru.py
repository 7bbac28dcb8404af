"""GRU by oneDNN."""

from __future__ import annotations

import numpy as np

from ...layers.recurrent.gru import GRU
from .recurrent import ByPrimitives, hand_on


class OneDNNGRU(ByPrimitives, GRU):
    """oneDNN's "linear before reset" GRU: its gates are z, r, n, and of h's biases it has only that of n, as a fourth.

    Those of z and r are added to x's, so their gradients are the same.
    """

    kind = "lbr_gru"
    places = (1, 0, 2)
    biases = 4

    def biases_from(self, learned, b):
        (r_x, z_x, n_x), (r_h, z_h, n_h) = (learned[k].reshape(3, self.H) for k in (1, -1))
        sums = [(np.add, (z_x, z_h, b[0])), (np.add, (r_x, r_h, b[1]))]
        return [*sums, (np.copyto, (b[2], n_x)), (np.copyto, (b[3], n_h))]

    def biases_to(self, db, diffs, cleared):
        works = []
        for k, rows in ((1, (1, 0, 2)), (len(diffs) - 1, (1, 0, 3))):
            if diffs[k] is not None:
                parts = diffs[k].reshape(3, self.H)
                works += [hand_on(db[row], part, cleared[k]) for row, part in zip(rows, parts, strict=True)]
        return works
