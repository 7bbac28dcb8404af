"""Caffe's transform_param: (pixel - mean) * scale, with crop and mirror, for a whole batch at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..net.declare import Declared, param
from ..net.errors import NettrainError, format_shape


class Transform(Declared):
    """What is done to each example on its way into the net. Crop and mirror are random in TRAIN only."""

    scale: float = param(default=1.0, doc="multiplies every value, after the mean is taken off")
    mean_value: tuple[float, ...] = param(default=(), doc="taken off every value: one number, or one for each channel")
    crop_size: int = param(default=0, minimum=0, doc="side of a square cut out: at random in TRAIN, the centre in TEST")
    mirror: bool = param(default=False, doc="flip left and right with probability 1/2, in TRAIN")

    aliases = {"mean": "mean_value", "crop": "crop_size", "flip": "mirror"}

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a transformed example. Raises NettrainError when the transform does not fit the examples."""
        if len(self.mean_value) > 1 and (not shape or len(self.mean_value) != shape[0]):
            raise NettrainError(
                f"mean_value has {len(self.mean_value)} values, the examples ({format_shape(shape)}) have "
                f"{shape[0] if shape else 0} channel{'s' if shape[:1] != (1,) else ''}",
                key="transform",
            )
        if (self.crop_size or self.mirror) and len(shape) != 3:
            raise NettrainError(
                f"crop_size and mirror need C x H x W examples, got {format_shape(shape)}", key="transform"
            )
        if self.crop_size:
            if self.crop_size > min(shape[1:]):
                raise NettrainError(
                    f"crop_size {self.crop_size} is larger than the images ({format_shape(shape)})", key="transform"
                )
            return (shape[0], self.crop_size, self.crop_size)
        return shape

    def apply(self, data: Any, indices: np.ndarray, out: np.ndarray, rng: np.random.Generator | None) -> None:
        """Write the examples ``data[indices]``, transformed, into ``out``. ``rng`` None: nothing random."""
        if not isinstance(data, np.ndarray):  # what is not in memory is read once
            data, indices = data[indices], np.arange(len(indices))
        if self.crop_size or self.mirror:
            np.copyto(out, self._windows(data, indices, out, rng))
        else:
            np.copyto(out, data[indices])
        if self.mean_value:
            mean = np.asarray(self.mean_value, out.dtype)
            out -= mean.reshape(-1, *[1] * (out.ndim - 2)) if mean.size > 1 else mean
        if self.scale != 1:
            out *= self.scale

    def _windows(
        self, data: np.ndarray, indices: np.ndarray, out: np.ndarray, rng: np.random.Generator | None
    ) -> np.ndarray:
        """The cropped and flipped pixels, gathered by row and column numbers of each example."""
        count, (height, width), (rows, columns) = len(indices), data.shape[2:], out.shape[2:]
        if rng is not None:
            top = rng.integers(0, height - rows + 1, count)
            left = rng.integers(0, width - columns + 1, count)
        else:
            top = np.full(count, (height - rows) // 2)
            left = np.full(count, (width - columns) // 2)
        h = top[:, None] + np.arange(rows)
        w = left[:, None] + np.arange(columns)
        if self.mirror and rng is not None:
            flipped = rng.random(count) < 0.5
            w[flipped] = w[flipped, ::-1]
        channels = np.arange(data.shape[1])
        return data[indices[:, None, None, None], channels[:, None, None], h[:, None, :, None], w[:, None, None, :]]
