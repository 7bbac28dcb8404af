"""SiLU."""

from __future__ import annotations

from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Nothing
from .swish import Swish


@register
class SiLU(Swish):
    """Sigmoid linear unit, elementwise: y = x σ(x), σ the logistic sigmoid.

    bottom[0]: x, any shape.    top[0]: y, x's shape.
    Backward: dx = dy (y + σ(x) (1 - y)), from y and σ, which is kept.
    Source: Elfwing et al. 2017; PyTorch's SiLU. Swish with β = 1.
    """

    Parameters = Nothing  # type: ignore[assignment]
    examples = (Example([(3, 4)]), Example([(2, 3, 2, 2)]))

    def setup(self, bottom, top):
        self.beta = 1.0
