"""Layers whose formula in oneDNN is not made for every value."""

from __future__ import annotations

import numpy as np

from .layer import OneDNNLayer

LARGE = 1e30  # what Σ x² of a piece stays below where its values are ordinary


class CarefulLayer(OneDNNLayer):
    """oneDNN's passes where x has ordinary values only, else those of the formula, which keep NaN and infinity.

    oneDNN makes of NaN, infinity and numbers that overflow when they are squared what its instructions happen to make
    of them, and that would hide that a net has diverged. The forward pass looks at each piece of x while it is in the
    cache; since the formula may have to read x afterwards, the layer cannot run in place.
    """

    may_run_in_place = False
    writes_work_down = False  # the pass decides whether it is the formula's

    def expect(self, pieces: int) -> None:
        """Begin with that many pieces, all ordinary."""
        self.odd = np.zeros(pieces, bool)

    def look(self, x, number):
        self.odd[number] = not self.is_ordinary(x)

    def is_ordinary(self, x) -> bool:
        flat = x.reshape(-1)
        return bool(np.dot(flat, flat) < LARGE)

    def forward(self, bottom, top):
        self.fast_forward(bottom, top)
        if self.odd.any():
            super(OneDNNLayer, self).Forward_cpu(bottom, top)

    def backward(self, top, propagate_down, bottom):
        if self.odd.any():
            super(OneDNNLayer, self).Backward_cpu(top, propagate_down, bottom)
        else:
            self.fast_backward(top, propagate_down, bottom)

    def fast_forward(self, bottom, top):
        raise NotImplementedError

    def fast_backward(self, top, propagate_down, bottom):
        raise NotImplementedError
