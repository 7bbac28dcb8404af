"""Caffe's transform_param: (pixel - mean) * scale, with crop and mirror, for a whole batch at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..spec.advice import say
from ..spec.declare import Declared, param
from ..spec.errors import NettrainError, blaming, format_shape
from .arrays import Check, read_mean
from .sources import find_file


class Transform(Declared):
    """What is done to each example on its way into the net. Crop and mirror are random in TRAIN only."""

    scale: float = param(default=1.0, doc="multiplies every value, after the mean is subtracted")
    mean_value: tuple[float, ...] = param(
        default=(), doc="subtracted from every value: one number, or one for each channel"
    )
    mean_file: str = param(
        default="", doc="a .npy, .npz or .binaryproto with an image C x H x W that is subtracted, before the crop"
    )
    crop_size: int = param(default=0, minimum=0, doc="side of a square cut out: at random in TRAIN, the centre in TEST")
    mirror: bool = param(default=False, doc="flip left and right with probability 1/2, in TRAIN")

    force_color: bool = param(default=False, doc="encoded records: three channels, grey ones too")
    force_gray: bool = param(default=False, doc="encoded records: one channel, coloured ones too")

    aliases = {
        "mean": "mean_value",
        "subtract": "mean_value",
        "std": say("values are divided by it with {}, 1 / std", "scale"),
        "rescale": "scale",
        "crop": "crop_size",
        "flip": "mirror",
        "horizontal_flip": "mirror",
        "resize": "images are resized by new_height and new_width of ImageData",
    }

    exclusive = (("mean_value", "mean_file"), ("force_color", "force_gray"))

    @property
    def color(self) -> bool | None:
        """How encoded images are decoded: in colour, in grey, or as they are stored (None)."""
        return True if self.force_color else False if self.force_gray else None

    def unforced(self, instead: str) -> Iterable[tuple[str, str]]:
        """That a layer which reads image files has no records, and what to write there ``instead``."""
        if self.color is not None:
            words = "force_color" if self.color else "force_gray"
            yield "transform", f"has {words}, which is for Data whose records are encoded images; {instead}"

    def mean(self, folder: Path, shape: tuple[int, ...] | None = None, check: Check | None = None) -> np.ndarray | None:
        """The array in mean_file, of an example's ``shape`` or of one that ``check`` takes; None without one.

        Raises NettrainError.
        """
        if not self.mean_file:
            return None

        def check_shape(found: tuple[int, ...]) -> None:
            if shape is not None and found != shape:
                raise NettrainError(
                    f"mean_file {path} holds {format_shape(found)}, the examples are {format_shape(shape)}"
                )

        with blaming("transform"):
            path = find_file(self.mean_file, folder)
            return read_mean(path, check_shape if shape is not None else check)

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

    def is_map(self, array: Any, shape: tuple[int, ...]) -> bool:
        """Whether labels have a value for each pixel of examples of this shape, which crop and mirror then move too."""
        moves = (self.crop_size or self.mirror) and len(shape) == 3
        return bool(moves and isinstance(array, np.ndarray) and array.ndim in (3, 4) and array.shape[-2:] == shape[1:])

    def apply(
        self,
        data: Any,
        indices: np.ndarray,
        out: np.ndarray,
        rng: np.random.Generator | None,
        mean: np.ndarray | None = None,
        maps: Sequence[tuple[np.ndarray, np.ndarray]] = (),
    ) -> None:
        """Write the examples ``data[indices]``, transformed, into ``out``. ``rng`` None: nothing random.

        ``mean`` is what ``mean()`` gave: it is cropped and flipped with each example. So are the label maps of the
        examples, in pairs of (maps, where to write).
        """
        with np.errstate(over="ignore", invalid="ignore"):  # an infinity then, which is found where it does harm
            self._apply(data, indices, out, rng, mean, maps)

    def _apply(
        self,
        data: Any,
        indices: np.ndarray,
        out: np.ndarray,
        rng: np.random.Generator | None,
        mean: np.ndarray | None,
        maps: Sequence[tuple[np.ndarray, np.ndarray]],
    ) -> None:
        examples = indices
        if not isinstance(data, np.ndarray):  # what is not in memory is read once
            data, indices = data[indices], np.arange(len(indices))
        if self.crop_size or self.mirror:
            rows, columns = self._places(data.shape, len(indices), out.shape, rng)
            np.copyto(out, _pixels(data, indices, rows, columns))
            if mean is not None:
                out -= _pixels(mean[None], np.zeros_like(indices), rows, columns)
            for array, place in maps:
                np.copyto(place, _pixels(array, examples, rows, columns))
        else:
            np.copyto(out, data[indices])
            if mean is not None:
                out -= mean
        if self.mean_value:
            values = np.asarray(self.mean_value, out.dtype)
            out -= values.reshape(-1, *[1] * (out.ndim - 2)) if values.size > 1 else values
        if self.scale != 1:
            out *= self.scale

    def _places(
        self, have: tuple[int, ...], count: int, wanted: tuple[int, ...], rng: np.random.Generator | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Row and column numbers of the cropped and flipped pixels of each example."""
        (height, width), (rows, columns) = have[2:], wanted[2:]
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
        return h, w


def _pixels(array: np.ndarray, indices: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The images N x C x H x W or maps N x H x W with these numbers, each at its own rows and columns."""
    if array.ndim == 3:
        return array[indices[:, None, None], rows[:, :, None], columns[:, None, :]]
    channels = np.arange(array.shape[1])[:, None, None]
    return array[indices[:, None, None, None], channels, rows[:, None, :, None], columns[:, None, None, :]]
