"""A learned factor and offset after a normalization."""

from __future__ import annotations

import numpy as np

from ...compute.channels import Channels, add_rounded
from ...compute.parallel import scratch
from ...net.fillers import Filler
from ...net.layer import Layer


class Affine:
    """y = w ŷ + b with two parameter blobs of a layer, w initially 1 and b initially 0.

    ``reshape`` says how a value of each lies in memory.
    """

    def __init__(self, layer: Layer, shape: tuple[int, ...]):
        self.layer, self.first = layer, len(layer.blobs)
        layer.add_blob(shape, Filler(value=1.0))
        layer.add_blob(shape, Filler())

    def reshape(self, channels: Channels) -> None:
        self.channels = channels

    def values(self, i: int) -> np.ndarray:
        return self.channels.spread(f"affine {i}", self.layer.blobs[self.first + i].data, self.layer.dtype)

    def forward(self, hat: np.ndarray, y: np.ndarray) -> None:
        def scale(hat, y, w, b):
            np.multiply(hat, w, out=y)
            y += b

        self.channels.each(scale, [hat, y], [self.values(0), self.values(1)])

    def backward(self, hat: np.ndarray, dy: np.ndarray) -> None:
        """dw += Σ dy ŷ, db += Σ dy."""

        def product(hat, dy):
            return np.multiply(hat, dy, out=scratch("dy y", dy.shape, dy.dtype))

        terms = [product, lambda hat, dy: dy]
        wanted = [i for i in (0, 1) if self.layer.param_propagate_down[self.first + i]]
        if not wanted:
            return
        sums = self.channels.sums([terms[i] for i in wanted], [hat, dy])
        for i, total in zip(wanted, sums, strict=True):
            blob = self.layer.blobs[self.first + i]
            add_rounded(total, blob.diff)

    def gradient(self, dy: np.ndarray, out: np.ndarray) -> np.ndarray:
        """dŷ = w dy."""
        self.channels.each(lambda dy, out, w: np.multiply(dy, w, out=out), [dy, out], [self.values(0)])
        return out
