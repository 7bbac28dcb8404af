"""What all layers over oneDNN share."""

from __future__ import annotations

from ...compute.onednn.library import UnimplementedError
from ...compute.onednn.stages import Passes
from ...net.layer import Layer


class OneDNNLayer(Layer):
    """Stands before the formulas' class: where ``prepare`` finds the case covered the passes are oneDNN's, else its.

    ``prepare`` makes primitives for the shapes and returns why the case is not covered; nothing when it is. It may
    raise UnimplementedError. ``forward`` and ``backward`` are the passes.
    """

    engine = "onednn"

    def prepare(self, bottom, top):
        raise NotImplementedError

    def forward(self, bottom, top):
        raise NotImplementedError

    def backward(self, top, propagate_down, bottom):
        raise NotImplementedError

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.passes = Passes()
        try:
            self.uncovered = self.prepare(bottom, top) if all(blob.count for blob in (*bottom, *top)) else "no values"
        except UnimplementedError as error:
            self.uncovered = str(error)

    def Forward_cpu(self, bottom, top):
        if self.uncovered:
            super().Forward_cpu(bottom, top)
        else:
            self.forward(bottom, top)

    def Backward_cpu(self, top, propagate_down, bottom):
        if self.uncovered:
            super().Backward_cpu(top, propagate_down, bottom)
        else:
            self.backward(top, propagate_down, bottom)
