"""A learned factor and offset after a normalization."""

from __future__ import annotations

import numpy as np

from ...compute.channels import Channels, add_rounded
from ...net.blob import Blob
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

    def values(self) -> list[np.ndarray]:
        """w and b, as they are spread over blocks."""
        return [self.channels.spread(f"affine {i}", blob.data, self.layer.dtype) for i, blob in enumerate(self.blobs)]

    @property
    def blobs(self) -> list[Blob]:
        return self.layer.blobs[self.first : self.first + 2]

    @property
    def factor(self) -> np.ndarray:
        return self.blobs[0].data

    @property
    def learns(self) -> bool:
        return any(self.layer.param_propagate_down[self.first : self.first + 2])

    def add(self, sums: np.ndarray) -> None:
        """dw += Σ dy ŷ, db += Σ dy, the two rows of ``sums``."""
        learned = self.layer.param_propagate_down[self.first : self.first + 2]
        for blob, total, learns in zip(self.blobs, sums, learned, strict=True):
            if learns:
                add_rounded(total, blob.diff)
