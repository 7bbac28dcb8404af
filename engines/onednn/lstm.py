"""LSTM by oneDNN."""

from __future__ import annotations

import numpy as np

from ...layers.recurrent.lstm import LSTM
from .recurrent import ByPrimitives, hand_on


class OneDNNLSTM(ByPrimitives, LSTM):
    """oneDNN's gates are i, f, g, o, those of the formulas i, f, o, g."""

    kind = "lstm"
    places = (0, 1, 3, 2)
    biases = 4

    def biases_from(self, learned, b):
        return [(np.copyto, (b[place], gate[:, 0])) for place, gate in self.gates_of(learned[1])]

    def biases_to(self, db, diffs, cleared):
        if diffs[1] is None:
            return []
        return [hand_on(db[place], gate[:, 0], cleared[1]) for place, gate in self.gates_of(diffs[1])]
