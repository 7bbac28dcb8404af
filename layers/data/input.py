"""Input: blobs that the user fills."""

from __future__ import annotations

from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Declared, param
from ..shape.shapes import Shapes
from .given import TakesRows


@register
class Input(TakesRows):
    """The net's inputs: blobs of given shapes that ``net.forward(name=…)`` fills.

    top[i]: of shape[i], or of the only shape given; a scalar when none is given. Nothing is computed.
    Source: Caffe's Input.
    """

    class Parameters(Declared):
        shape: Shapes = param(default=Shapes(), doc="shape of each top, or one for all: [1, 28, 28]")

        aliases = {"input_param": "write shape beside type", "dim": "shape"}

    num_bottoms = 0
    num_tops = (1, None)
    is_input = True
    no_gradient = "all"
    examples = (Example(params={"shape": [2, 3]}), Example(params={"shape": [[2, 3], [2]]}, tops=2))

    def setup(self, bottom, top):
        self.p.shape.check_count(len(top))
        for i, blob in enumerate(top):
            blob.reshape(self.p.shape.of(i))
        self.batch_size = top[0].shape[0] if self.serves and top[0].shape else 0

    def reshape(self, bottom, top):
        """The tops keep the shape the user gave them last."""

    def Forward_cpu(self, bottom, top):
        """The user fills the tops, or has given rows for them."""
        if self.rows is not None:
            self.next_rows(top)
