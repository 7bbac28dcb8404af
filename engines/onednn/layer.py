"""What all layers over oneDNN share."""

from __future__ import annotations

from ...compute.onednn.library import UnimplementedError
from ...compute.stages import Passes
from ...net.layer import Layer


class OneDNNLayer(Layer):
    """Stands before the formulas' class: where ``prepare`` finds the case covered the passes are oneDNN's, else its.

    ``prepare`` makes primitives for the shapes and returns why the case is not covered; nothing when it is. It may
    raise UnimplementedError. The passes are ``forward_work`` and ``backward_work``, or, where values decide what is to
    be done, ``forward`` and ``backward``, with ``writes_work_down`` false.
    """

    engine = "onednn"
    writes_work_down = True

    def prepare(self, bottom, top):
        raise NotImplementedError

    def reshape(self, bottom, top):
        super().reshape(bottom, top)
        self.passes = Passes()
        try:
            self.uncovered = self.prepare(bottom, top) if all(blob.count for blob in (*bottom, *top)) else "no values"
        except UnimplementedError as error:
            self.uncovered = str(error)
        self.work_is_known = self.writes_work_down and not self.uncovered

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

    def forward(self, bottom, top):
        arrays = [blob.data for blob in (*bottom, *top, *self.blobs)]
        self.passes.run("forward", arrays, lambda *_: self.forward_work(bottom, top))

    def backward(self, top, propagate_down, bottom):
        cleared = tuple(
            flag and blob.take_cleared() for blob, flag in zip(self.blobs, self.param_propagate_down, strict=True)
        )
        arrays = [blob.data for blob in (*bottom, *top, *self.blobs)] + [blob.diff for blob in top]
        arrays += [blob.diff for blob, flag in zip(bottom, propagate_down, strict=True) if flag]
        arrays += [blob.diff for blob, flag in zip(self.blobs, self.param_propagate_down, strict=True) if flag]
        key = (cleared, tuple(propagate_down), tuple(self.param_propagate_down))
        self.passes.run(key, arrays, lambda *_: self.backward_work(top, propagate_down, bottom, cleared))
