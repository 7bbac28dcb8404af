"""ELU by oneDNN."""

from __future__ import annotations

from ...compute.onednn import primitives as dnn
from ...layers.activation.elu import ELU
from .elementwise import Elementwise


class OneDNNELU(Elementwise, ELU):
    """y = x above zero, α (exp(x) - 1) below; dx from y. Where α < 0 the sign of y does not tell that of x."""

    from_y = True

    def function(self):
        return (dnn.ELU_FROM_DST, self.p.alpha, 0.0) if self.p.alpha >= 0 else "α below 0"
