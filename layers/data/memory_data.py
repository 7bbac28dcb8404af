"""MemoryData: batches from arrays handed in by a program."""

from __future__ import annotations

import numpy as np

from ...data.order import Order
from ...net.example import Example
from ...net.registry import register
from ...spec.declare import Declared, param
from ...spec.errors import NettrainError, ShapeError, format_shape
from .given import TakesRows


@register
class MemoryData(TakesRows):
    """Batches from arrays given by ``net.layers[name].reset(data, labels)``, in order, starting over at the end.

    top[0]: data, batch_size x channels x height x width.    top[1]: labels, batch_size.
    Errors: a forward pass before ``reset``; a number of examples that is not a multiple of batch_size.
    Source: Caffe's MemoryData.
    """

    class Parameters(Declared):
        batch_size: int = param(minimum=1, doc="examples in a batch")
        channels: int = param(minimum=1, doc="C of an example")
        height: int = param(minimum=1, doc="H of an example")
        width: int = param(minimum=1, doc="W of an example")

        aliases = {"memory_data_param": "write its fields beside type"}

    num_bottoms = 0
    num_tops = 2
    no_gradient = "all"
    examples = (
        Example(
            params={"batch_size": 2, "channels": 1, "height": 3, "width": 4},
            tops=2,
            prepare=lambda layer: layer.reset(np.ones((4, 1, 3, 4)), np.arange(4)),
        ),
    )

    def setup(self, bottom, top):
        self.arrays = None
        self.batch_size = self.p.batch_size if self.serves else 0

    def reshape(self, bottom, top):
        p = self.p
        top[0].reshape((p.batch_size, p.channels, p.height, p.width))
        top[1].reshape((p.batch_size,))

    def reset(self, data: np.ndarray, labels: np.ndarray) -> None:
        """Use these examples (n x C x H x W, and n labels) from the next forward pass on."""
        data, labels = np.asarray(data), np.asarray(labels)
        expected = (self.p.channels, self.p.height, self.p.width)
        if (
            data.shape[1:] != expected
            or labels.shape != data.shape[:1]
            or len(data) % self.p.batch_size
            or not len(data)
        ):
            raise ShapeError(
                f"MemoryData `{self.name}` takes n x {format_shape(expected)} examples and n labels, n a multiple of "
                f"{self.p.batch_size}; got {format_shape(data.shape)} and {format_shape(labels.shape)}"
            )
        self.arrays = data, labels
        self.order = Order(len(data), False, self.seed, self.name)

    def row_shape(self, name):
        p = self.p
        return (p.channels, p.height, p.width) if name == self.top_names[0] else ()

    def skip(self, batches):
        for _ in range(batches if self.arrays else 0):
            self.order.next(self.p.batch_size)

    def state(self):
        return {"order": self.order.state()} if self.arrays else {}

    def set_state(self, state):
        if self.arrays and "order" in state:
            self.order.set_state(state["order"])

    def Forward_cpu(self, bottom, top):
        if self.rows is not None:
            self.next_rows(top)
            top[1].reshape(top[0].shape[:1])
            return
        if self.arrays is None:
            raise NettrainError("has no data yet: call net.layers[name].reset(data, labels) first")
        indices = self.order.next(self.p.batch_size)
        for blob, array in zip(top, self.arrays, strict=True):
            np.copyto(blob.data, array[indices])
